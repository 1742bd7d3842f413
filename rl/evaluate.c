#include "rl/evaluate.h"

#include "core/base/clock.h"
#include "policies/inference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_MAX = 64 }; /* environments side by side */

typedef struct evaluator {
    const sk_evaluate_params *p;
    const sk_env_info        *info;
    const sk_policy_spaces   *spaces;
    sk_vec                   *vec;
    sk_device                *device;
    sk_inference             *inference;
    int          n_envs, n_rows, n_ended; /* n_ended: (episode, agent) pairs that count  */
    void        *memory;
    float       *obs, *final_obs, *mask, *reward;
    uint8_t     *mask_u8, *terminated, *truncated, *valid;
    sk_env_slot *action;
    double      *ret, *length; /* (n_episodes) means over agents                          */
    uint8_t     *invalid;      /* (n_episodes)                                            */
} evaluator;

static void close_evaluator(evaluator *e) {
    sk_inference_destroy(&e->inference);
    sk_device_destroy(&e->device);
    sk_vec_destroy(&e->vec);
    free(e->memory);
}

static void *take(char **at, size_t bytes) {
    void *p = *at;
    *at += (bytes + 63) / 64 * 64;
    return p;
}

/* All arrays from one piece; called once to count (memory NULL) and once to place. */
static size_t place_arrays(evaluator *e, char *memory) {
    size_t rows = (size_t)e->n_rows, o = (size_t)e->info->obs_dim, k = (size_t)e->info->mask_size;
    size_t n = (size_t)e->p->n_episodes;
    char  *at = memory;
    e->obs = take(&at, rows * o * sizeof *e->obs);
    e->final_obs = take(&at, rows * o * sizeof *e->final_obs);
    e->mask = take(&at, rows * k * sizeof *e->mask + 64);
    e->mask_u8 = take(&at, rows * k + 64);
    e->reward = take(&at, rows * sizeof *e->reward);
    e->terminated = take(&at, rows);
    e->truncated = take(&at, rows);
    e->valid = take(&at, rows);
    e->action = take(&at, rows * (size_t)e->info->action_slots * sizeof *e->action);
    e->ret = take(&at, n * sizeof *e->ret);
    e->length = take(&at, n * sizeof *e->length);
    e->invalid = take(&at, n);
    return (size_t)(at - memory);
}

static sk_status open_evaluator(evaluator *e, sk_error *reterr) {
    const sk_evaluate_params *p = e->p;
    sk_policy_spaces          env_spaces;
    e->info = sk_env_info_get(p->env);
    e->spaces = sk_policy_spaces_get(p->policy);
    if (p->n_episodes <= 0) return SK_FAIL(reterr, SK_EINVAL, "evaluation of %d episodes; wanted at least 1", p->n_episodes);
    SK_TRY(sk_policy_spaces_of(sk_env_spec_get(p->env), e->info->name, &env_spaces, reterr));
    SK_TRY(sk_policy_spaces_same(e->spaces, &env_spaces, reterr));
    e->n_envs = p->n_episodes < ROWS_MAX ? p->n_episodes : ROWS_MAX;
    e->n_rows = e->n_envs * e->info->n_agents;
    static char nowhere; /* sizes are counted from any address */
    size_t      bytes = place_arrays(e, &nowhere);
    e->memory = aligned_alloc(64, bytes);
    if (!e->memory) return SK_FAIL(reterr, SK_ENOMEM, "evaluation: no memory for %zu bytes", bytes);
    memset(e->memory, 0, bytes);
    place_arrays(e, e->memory);
    sk_vec_params vec = {.env = p->env, .n_envs = e->n_envs, .n_total = e->n_envs, .seed = p->seed,
                         .seeding = SK_VEC_SEED_EPISODES, .on_invalid = p->on_invalid};
    SK_TRY(sk_vec_create(&vec, &e->vec, reterr));
    SK_TRY(sk_device_create_cpu(1, &e->device, reterr));
    sk_inference_params how = {.device = e->device, .spaces = e->spaces, .model = sk_policy_model(p->policy),
                               .filter = sk_policy_filter(p->policy),
                               .params = (float *)(uintptr_t)sk_policy_params_const(p->policy),
                               .n_floats = sk_policy_n_floats(p->policy), .max_rows = e->n_rows};
    SK_TRY(sk_inference_create(&how, &e->inference, reterr));
    float *constants = calloc((size_t)e->info->obs_dim * 2, sizeof *constants);
    if (!constants) return SK_FAIL(reterr, SK_ENOMEM, "evaluation: no memory");
    sk_normalizer_constants(sk_policy_normalizer_const(p->policy), constants, constants + e->info->obs_dim);
    sk_inference_set_normalizer(e->inference, constants, constants + e->info->obs_dim);
    free(constants);
    return SK_OK;
}

static void widen_mask(evaluator *e) {
    for (int i = 0; i < e->n_rows * e->info->mask_size; i++) e->mask[i] = (float)e->mask_u8[i];
}

/* Episodes beyond the last wanted one are played to keep rows busy and are not looked at. */
static void count_episodes(evaluator *e) {
    int                 n = 0;
    const sk_vec_event *event = sk_vec_events(e->vec, &n);
    for (int i = 0; i < n; i++) {
        if (event[i].episode >= e->p->n_episodes) continue;
        e->n_ended++;
        e->ret[event[i].episode] += event[i].ret / e->info->n_agents;
        e->length[event[i].episode] += (double)event[i].length / e->info->n_agents;
        e->invalid[event[i].episode] |= !event[i].valid;
    }
}

static sk_status play(evaluator *e, sk_evaluation *ret, sk_error *reterr) {
    const sk_evaluate_params *p = e->p;
    uint8_t                  *mask_u8 = e->info->mask_size ? e->mask_u8 : NULL;
    SK_TRY(sk_vec_reset(e->vec, e->obs, mask_u8, reterr));
    for (uint64_t t = 0; e->n_ended < p->n_episodes * e->info->n_agents; t++) {
        if (p->interrupted && *p->interrupted) return SK_FAIL(reterr, SK_EINTERRUPTED, "evaluation interrupted");
        widen_mask(e);
        sk_inference_act(e->inference, &(sk_inference_io){.rows = e->n_rows, .obs = e->obs, .mask = e->mask,
                                                          .deterministic = !p->stochastic, .seed = p->seed,
                                                          .counter = t, .action = e->action});
        sk_policy_to_env(e->spaces, sk_policy_model(p->policy), e->action, e->n_rows, e->action);
        SK_TRY(sk_vec_step_run(e->vec,
                               &(sk_vec_step){.action = e->action, .reward = e->reward, .terminated = e->terminated,
                                              .truncated = e->truncated, .valid = e->valid, .next_obs = e->obs,
                                              .next_mask = mask_u8, .final_obs = e->final_obs},
                               reterr));
        count_episodes(e);
        ret->env_steps += e->n_envs;
    }
    return SK_OK;
}

static void summarize(const evaluator *e, sk_evaluation *ret) {
    double sum = 0.0, squares = 0.0, length = 0.0;
    ret->return_min = INFINITY;
    ret->return_max = -INFINITY;
    for (int i = 0; i < e->p->n_episodes; i++) {
        if (e->p->ret_returns) e->p->ret_returns[i] = e->invalid[i] ? (double)NAN : e->ret[i];
        if (e->invalid[i]) {
            ret->n_invalid++;
            continue;
        }
        ret->n_episodes++;
        sum += e->ret[i];
        length += e->length[i];
        ret->return_min = fmin(ret->return_min, e->ret[i]);
        ret->return_max = fmax(ret->return_max, e->ret[i]);
    }
    ret->return_mean = sum / ret->n_episodes;
    ret->len_mean = length / ret->n_episodes;
    for (int i = 0; i < e->p->n_episodes; i++)
        if (!e->invalid[i]) squares += (e->ret[i] - ret->return_mean) * (e->ret[i] - ret->return_mean);
    ret->return_std = sqrt(squares / ret->n_episodes);
}

sk_status sk_evaluate_run(const sk_evaluate_params *params, sk_evaluation *ret, sk_error *reterr) {
    evaluator     e = {.p = params};
    sk_evaluation out = {0};
    double        start_s = sk_clock_now_s();
    sk_status     status = open_evaluator(&e, reterr);
    if (status == SK_OK) status = play(&e, &out, reterr);
    if (status == SK_OK) {
        summarize(&e, &out);
        out.wall_s = sk_clock_now_s() - start_s;
        if (out.n_episodes == 0)
            status = SK_FAIL(reterr, SK_EENV, "evaluation: all %d episodes were invalid", params->n_episodes);
        else *ret = out;
    }
    close_evaluator(&e);
    return status;
}
