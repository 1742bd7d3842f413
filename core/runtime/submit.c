#include "core/runtime/driver.h"
#include <stdio.h>
#include <string.h>

enum { RETURNS_MAX = 1024, ARGS_MAX = 65536, DEFAULT_RETRIES = 3 };

static sk_status check_counts(const char *name, int n_args, int n_returns, sk_error *reterr) {
    if (n_args < 0 || n_args > ARGS_MAX)
        return SK_FAIL(reterr, SK_EINVAL, "%s: 0 to %d arguments are possible, got %d", name, ARGS_MAX, n_args);
    if (n_returns < 0 || n_returns > RETURNS_MAX)
        return SK_FAIL(reterr, SK_EINVAL, "%s: up to %d return values are possible, got %d", name, RETURNS_MAX,
                       n_returns);
    return SK_OK;
}

sk_reach sk__group_reach(const sk__driver *d) { return d->hosts ? SK_REACH_HOSTS : SK_REACH_HERE; }

sk_status sk__choose_placement(const sk__driver *d, const sk_function *function, sk_placement wanted, sk_group group,
                               sk_placement *ret, sk_error *reterr) {
    bool        anywhere = function->in_plugin || d->params.worker_has_modules;
    bool        on_hosts = group.id != 0 && sk__group_reach(d) == SK_REACH_HOSTS;
    const char *kind = function->cls ? "class" : "function";
    *ret = wanted;
    if (wanted == SK_PLACE_DEFAULT)
        *ret = on_hosts ? SK_PLACE_REMOTE : anywhere ? SK_PLACE_PROCESS : SK_PLACE_THREAD;
    if ((int)wanted < SK_PLACE_DEFAULT || (int)wanted > SK_PLACE_REMOTE)
        return SK_FAIL(reterr, SK_EINVAL, "%s %s: a placement is 0 to %d, got %d", kind, function->name,
                       SK_PLACE_REMOTE, (int)wanted);
    if (sk__in_process(*ret) && !anywhere)
        return SK_FAIL(reterr, SK_EUNSUPPORTED,
                       "%s %s belongs to this program alone: it can run in its threads, and in processes only from a "
                       "plugin or if the worker program has it too (worker_has_modules)",
                       kind, function->name);
    if (*ret == SK_PLACE_REMOTE && !d->hosts)
        return SK_FAIL(reterr, SK_EUNSUPPORTED,
                       "%s %s cannot be placed on another host: this runtime has no cluster that hosts could join "
                       "(sk_runtime_params.cluster)",
                       kind, function->name);
    return SK_OK;
}

void sk__tell_where_hosts_join(const sk__driver *d, sk_status status, sk_error *reterr) {
    if (!reterr || status != SK_ELIMIT || !d->hosts || d->n.n_hosts > 0) return;
    size_t used = strlen(reterr->msg);
    snprintf(reterr->msg + used, sizeof reterr->msg - used, "; hosts can join at %s", d->board->endpoint);
}

sk_status sk__parse_request(const sk__driver *d, const char *name, const sk_resource *asked, int n,
                            sk_placement placement, sk_group group, int bundle, sk_demand *ret_demand,
                            sk_error *reterr) {
    sk_reach  reach = sk__reach_of(placement);
    sk_status status = sk_resources_parse(d->resources, asked, n, reach, group, bundle, ret_demand, reterr);
    if (status == SK_OK) return SK_OK;
    if (reach == SK_REACH_HOSTS && group.id == 0) sk__tell_where_hosts_join(d, status, reterr);
    sk_error_prefix(reterr, "%s", name);
    return status;
}

/* The queue of what the task asks for. */
static sk_status find_class(sk__driver *d, const sk_task *task, sk_placement placement, sk__class **ret_class,
                            sk_error *reterr) {
    static const sk_resource one_cpu = {"cpu", 1.0};
    bool                     none_named = !task->resources;
    sk_demand                demand;
    SK_TRY(sk__parse_request(d, task->name ? task->name : task->function, none_named ? &one_cpu : task->resources,
                             none_named ? 1 : task->n_resources, placement, task->group, task->bundle, &demand,
                             reterr));
    return sk__class_find(d, &demand, task->group, task->bundle, placement, ret_class, reterr);
}

/* From here on nothing can go wrong any more. */
static void launch(sk__driver *d, sk__job *job) {
    d->n_open++;
    d->n.n_submitted++;
    sk__watch_row(d, job->function)->n_submitted++;
    if (job->placement != SK_PLACE_INLINE) sk__job_start(d, job);
}

static sk_status add_returns(sk__driver *d, sk__job *job, sk__peer *from, int n, const uint64_t *ids, sk_ref *ret_refs,
                             sk_error *reterr) {
    if (from) return sk__job_adopt_returns(d, job, from, n, ids, reterr);
    return sk__job_add_returns(d, job, n, ret_refs, reterr);
}

sk_status sk__submit_task(sk__driver *d, const sk_task *task, sk__peer *from, sk_bytes packed, const uint64_t *ids,
                          sk_ref *ret_refs, sk__job **ret_job, sk_error *reterr) {
    const sk_function *function;
    sk_placement       placement;
    sk__class         *cls = NULL;
    sk__job           *job = NULL;
    int                n_returns = task->n_returns ? task->n_returns : 1;
    SK_TRY(sk_registry_find_name(d->registry, SK_FUNCTION_TASK, task->function, &function, reterr));
    SK_TRY(check_counts(task->function, task->n_args, n_returns, reterr));
    SK_TRY(sk__choose_placement(d, function, task->placement, task->group, &placement, reterr));
    if (placement != SK_PLACE_INLINE) SK_TRY(find_class(d, task, placement, &cls, reterr));
    int       retries = task->max_retries < 0 ? 0 : task->max_retries == 0 ? DEFAULT_RETRIES : task->max_retries;
    sk__order order = {.name = task->name,
                       .function = function,
                       .method = -1,
                       .timeout_ms = task->timeout_ms,
                       .max_retries = retries,
                       .retry_errors = task->retry_errors,
                       .placement = placement,
                       .caller = from ? 1 + (uint32_t)from->line : 0,
                       .from = from};
    if (from) SK_TRY(sk__job_create_packed(d, SK__TASK, &order, task->n_args, packed, &job, reterr));
    else SK_TRY(sk__job_create(d, SK__TASK, &order, task->args, task->n_args, &job, reterr));
    job->cls = cls;
    sk_status status = add_returns(d, job, from, n_returns, ids, ret_refs, reterr);
    if (status != SK_OK) {
        sk__job_release(d, job);
        return status;
    }
    launch(d, job);
    if (ret_job) *ret_job = job;
    return SK_OK;
}

sk_status sk__submit_call(sk__driver *d, sk_actor id, const sk_method *method, sk__peer *from, sk_bytes packed,
                          const uint64_t *ids, sk_ref *ret_refs, sk__job **ret_job, sk_error *reterr) {
    sk__actor *actor = sk__actor_find(d, id.id);
    sk__job   *job = NULL;
    int        n_returns = method->n_returns ? method->n_returns : 1;
    if (!actor) return SK_FAIL(reterr, SK_ENOTFOUND, "there is no actor %llx (any more)", (unsigned long long)id.id);
    SK_TRY(sk__actor_accepts(d, actor, method->method, reterr));
    SK_TRY(check_counts(actor->name, method->n_args, n_returns, reterr));
    sk__order order = {.function = actor->function,
                       .method = method->method,
                       .timeout_ms = method->timeout_ms,
                       .max_retries = actor->max_task_retries,
                       .placement = actor->placement,
                       .caller = from ? 1 + (uint32_t)from->line : 0,
                       .from = from};
    if (from) SK_TRY(sk__job_create_packed(d, SK__METHOD, &order, method->n_args, packed, &job, reterr));
    else SK_TRY(sk__job_create(d, SK__METHOD, &order, method->args, method->n_args, &job, reterr));
    sk_status status = add_returns(d, job, from, n_returns, ids, ret_refs, reterr);
    if (status != SK_OK) {
        sk__job_release(d, job);
        return status;
    }
    job->actor = actor;
    actor->n_open++;
    launch(d, job);
    if (ret_job) *ret_job = job;
    return SK_OK;
}
