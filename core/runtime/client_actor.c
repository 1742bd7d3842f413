#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/runtime/client.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Who waits for actors to end looks this often, at first and at last. */
#define JOIN_FIRST_NS ((int64_t)500 * 1000)
#define JOIN_LAST_NS  ((int64_t)20 * 1000 * 1000)

/* ---- actors ---------------------------------------------------------------------------------------------- */
/* Head, resources, packed arguments. */
static sk_status send_create(sk__client *self, const sk_actor_params *params, const sk__packing *args, sk__asked *asked,
                             sk_error *reterr) {
    int           n_resources = params->resources ? params->n_resources : 0;
    sk_message    head = {.method = SK_ASK_ACTOR_CREATE, .n_args = (uint32_t)params->n_args};
    sk_actor_head body = {
        .placement = (int32_t)params->placement,
        .n_resources = n_resources,
        .n_args = params->n_args,
        .max_restarts = params->max_restarts,
        .restart_window_s = params->restart_window_s,
        .restart_backoff_ms = params->restart_backoff_ms,
        .max_task_retries = params->max_task_retries,
        .max_concurrency = params->max_concurrency,
        .max_pending_calls = params->max_pending_calls,
        .group = params->group.id,
        .bundle = params->bundle,
    };
    snprintf(body.class_name, sizeof body.class_name, "%s", params->class_name);
    snprintf(body.name, sizeof body.name, "%s", params->name ? params->name : "");
    size_t   size = sizeof body + (size_t)n_resources * sizeof(sk_resource_wire) + sk__packing_size(args);
    uint8_t *payload = aligned_alloc(16, size);
    if (!payload) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a request of %zu bytes", size);
    memcpy(payload, &body, sizeof body);
    sk__packing_write(args, sk__resources_write(payload + sizeof body, params->resources, n_resources));
    sk_status status = sk__client_send_ask(self, &head, payload, size, asked, reterr);
    free(payload);
    return status;
}

static sk_status create_locked(sk__client *self, const sk_actor_params *params, sk_actor *ret_actor, sk_error *reterr) {
    sk__packing args = {.args = params->args, .n = params->n_args};
    sk__asked   asked = {0};
    size_t      n_resources = params->resources ? (size_t)params->n_resources : 0;
    size_t      fixed = sizeof(sk_message) + sizeof(sk_actor_head) + n_resources * sizeof(sk_resource_wire);
    SK_TRY(sk__packing_begin(self, &args, SK_RING_MESSAGE_MAX - fixed, reterr));
    sk_status status = send_create(self, params, &args, &asked, reterr);
    sk__packing_end(self, &args, status == SK_OK);
    if (status == SK_OK)
        status = sk__client_await(self, &asked, INT64_MAX, SK__IMPATIENT, "answer to an actor's order", reterr);
    if (status != SK_OK) return status;
    if (asked.size != sizeof ret_actor->id)
        return SK_FAIL(reterr, SK_ECORRUPT, "the driver's answer for an actor has %zu bytes, wanted 8", asked.size);
    memcpy(&ret_actor->id, asked.payload, sizeof ret_actor->id);
    return SK_OK;
}

sk_status sk__client_actor_create(sk__client *self, const sk_actor_params *params, sk_actor *ret_actor,
                                  sk_error *reterr) {
    const size_t name_max = SK_BOARD_NAME - 1;
    if (!params->class_name || !*params->class_name) return SK_FAIL(reterr, SK_EINVAL, "an actor without a class");
    if (strlen(params->class_name) > name_max || (params->name && strlen(params->name) > name_max))
        return SK_FAIL(reterr, SK_EINVAL, "names of actors and classes have up to %zu bytes, got '%s' of class '%s'",
                       name_max, params->name ? params->name : "", params->class_name);
    if (params->placement == SK_PLACE_INLINE)
        return SK_FAIL(reterr, SK_EUNSUPPORTED, "inside of a worker process, class %s: an actor of the calling thread "
                       "is the driver's program's only", params->class_name);
    SK_TRY(sk__resources_check(params->resources, params->n_resources, reterr));
    pthread_mutex_lock(&self->lock);
    sk_status status = create_locked(self, params, ret_actor, reterr);
    pthread_mutex_unlock(&self->lock);
    return status;
}

sk_status sk__client_actor_wait(sk__client *self, sk_actor actor, int timeout_ms, sk_error *reterr) {
    sk_message head = {.method = SK_ASK_ACTOR_WAIT, .subject = actor.id};
    char       what[64];
    snprintf(what, sizeof what, "actor %" PRIu64, actor.id);
    return sk__client_ask(self, &head, what, sk__deadline_ns(timeout_ms), NULL, 0, reterr);
}

sk_status sk__client_actor_find(sk__client *self, const char *name, sk_actor *ret_actor, sk_error *reterr) {
    sk_message head = {.method = SK_ASK_ACTOR_FIND};
    sk__asked  asked;
    size_t     size = strlen(name);
    if (size == 0 || size >= SK_BOARD_NAME)
        return SK_FAIL(reterr, SK_ENOTFOUND, "there is no actor '%.80s': names have 1 to %d bytes", name,
                       SK_BOARD_NAME - 1);
    pthread_mutex_lock(&self->lock);
    sk_status status = sk__client_send_ask(self, &head, name, size, &asked, reterr);
    if (status == SK_OK)
        status = sk__client_await(self, &asked, INT64_MAX, SK__IMPATIENT, "answer about an actor", reterr);
    pthread_mutex_unlock(&self->lock);
    if (status != SK_OK) return status;
    if (asked.size != sizeof ret_actor->id)
        return SK_FAIL(reterr, SK_ECORRUPT, "the driver's answer for actor '%s' has %zu bytes, wanted 8", name,
                       asked.size);
    memcpy(&ret_actor->id, asked.payload, sizeof ret_actor->id);
    return SK_OK;
}

sk_status sk__client_actor_check(sk__client *self, sk_actor actor, int *ret_pid, sk_error *reterr) {
    sk_message head = {.method = SK_ASK_ACTOR_CHECK, .subject = actor.id};
    int64_t    pid = 0;
    SK_TRY(sk__client_ask(self, &head, "answer about an actor", INT64_MAX, &pid, sizeof pid, reterr));
    if (ret_pid) *ret_pid = (int)pid;
    return SK_OK;
}

void sk__client_actor_stop(sk__client *self, sk_actor actor) {
    sk__client_tell(self, &(sk_message){.method = SK_ASK_ACTOR_STOP, .subject = actor.id});
}

void sk__client_actor_kill(sk__client *self, sk_actor actor, sk_kill_how how) {
    sk__client_tell(self, &(sk_message){.method = SK_ASK_ACTOR_KILL, .subject = actor.id, .a = how});
}

static bool never(sk__client *self, void *arg) {
    (void)self, (void)arg;
    return false;
}

/* Sleep, while mail is read. False: the time is up, or there is no point in waiting. */
static bool pause_until(sk__client *self, int64_t until_ns, int64_t deadline_ns) {
    pthread_mutex_lock(&self->lock);
    sk_status status = sk__mail_wait(self, never, NULL, until_ns < deadline_ns ? until_ns : deadline_ns, SK__IMPATIENT);
    pthread_mutex_unlock(&self->lock);
    return status == SK_ETIMEOUT && sk_clock_now_ns() < deadline_ns;
}

static bool is_dead(sk__client *self, sk_actor actor, int64_t deadline_ns) {
    sk_message head = {.method = SK_ASK_ACTOR_CHECK, .subject = actor.id};
    int64_t    pid;
    sk_status  status = sk__client_ask(self, &head, "answer about an actor", deadline_ns, &pid, sizeof pid, NULL);
    return status == SK_EDEAD || status == SK_ENOTFOUND;
}

void sk__client_actor_join(sk__client *self, const sk_actor *actors, int n, int timeout_ms) {
    int64_t deadline_ns = sk__deadline_ns(timeout_ms), pause_ns = JOIN_FIRST_NS;
    for (int i = 0; i < n; i++) sk__client_actor_stop(self, actors[i]);
    pthread_mutex_lock(&self->lock);
    sk__mail_enter_wait(self);
    pthread_mutex_unlock(&self->lock);
    int  n_dead = 0; /* the first so many of them have ended */
    bool goes_on = true;
    while (goes_on) {
        while (n_dead < n && is_dead(self, actors[n_dead], deadline_ns)) n_dead++;
        if (n_dead == n) break;
        goes_on = pause_until(self, sk_clock_now_ns() + pause_ns, deadline_ns);
        if (pause_ns < JOIN_LAST_NS) pause_ns *= 2;
    }
    pthread_mutex_lock(&self->lock);
    sk__mail_leave_wait(self);
    pthread_mutex_unlock(&self->lock);
    for (int i = n_dead; i < n; i++) sk__client_actor_kill(self, actors[i], SK_KILL_FOR_GOOD);
}

/* ---- placement groups ------------------------------------------------------------------------------------ */
/* Per bundle: how many, then the resources. Caller frees. */
static sk_status pack_bundles(const sk_bundle *bundles, int n, uint8_t **ret_payload, size_t *ret_size,
                              sk_error *reterr) {
    size_t size = 0;
    for (int i = 0; i < n; i++) {
        SK_TRY(sk__resources_check(bundles[i].resources, bundles[i].n_resources, reterr));
        size += sizeof(uint64_t) + (size_t)bundles[i].n_resources * sizeof(sk_resource_wire);
    }
    uint8_t *payload = malloc(size), *at = payload;
    if (!payload) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a request of %zu bytes", size);
    for (int i = 0; i < n; i++) {
        uint64_t n_resources = (uint64_t)bundles[i].n_resources;
        memcpy(at, &n_resources, sizeof n_resources);
        at = sk__resources_write(at + sizeof n_resources, bundles[i].resources, bundles[i].n_resources);
    }
    *ret_payload = payload;
    *ret_size = size;
    return SK_OK;
}

sk_status sk__client_group_create(sk__client *self, const sk_bundle *bundles, int n, sk_strategy strategy,
                                  sk_group *ret_group, sk_error *reterr) {
    sk_message head = {.method = SK_ASK_GROUP_CREATE, .n_args = (uint32_t)n, .a = strategy};
    uint8_t   *payload = NULL;
    size_t     size = 0;
    sk__asked  asked;
    if (n < 1) return SK_FAIL(reterr, SK_EINVAL, "a placement group has 1 or more bundles, got %d", n);
    SK_TRY(pack_bundles(bundles, n, &payload, &size, reterr));
    pthread_mutex_lock(&self->lock);
    sk_status status = sk__client_send_ask(self, &head, payload, size, &asked, reterr);
    if (status == SK_OK)
        status = sk__client_await(self, &asked, INT64_MAX, SK__IMPATIENT, "answer to a group's order", reterr);
    pthread_mutex_unlock(&self->lock);
    free(payload);
    if (status != SK_OK) return status;
    if (asked.size != sizeof ret_group->id)
        return SK_FAIL(reterr, SK_ECORRUPT, "the driver's answer for a group has %zu bytes, wanted 8", asked.size);
    memcpy(&ret_group->id, asked.payload, sizeof ret_group->id);
    return SK_OK;
}

sk_status sk__client_group_wait(sk__client *self, sk_group group, int timeout_ms, sk_error *reterr) {
    sk_message head = {.method = SK_ASK_GROUP_WAIT, .subject = group.id};
    char       what[64];
    snprintf(what, sizeof what, "placement group %" PRIu64, group.id);
    return sk__client_ask(self, &head, what, sk__deadline_ns(timeout_ms), NULL, 0, reterr);
}

void sk__client_group_destroy(sk__client *self, sk_group *group) {
    uint64_t id = group->id;
    group->id = 0;
    if (id) sk__client_tell(self, &(sk_message){.method = SK_ASK_GROUP_DESTROY, .subject = id});
}
