#include "rl/runner.h"

#include "core/base/clock.h"
#include "nn/cpu/kernels.h"
#include "nn/plan.h"
#include "policies/inference.h"
#include "rl/fragment.h"
#include "rl/runner_arg.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TIMED_EVERY = 8 }; /* steps of which one is timed: the clock costs as much as a small environment */

typedef struct runner {
    sk_runner_arg arg;
    sk_env       *env;
    sk_vec       *vec;
    sk_device    *device;
    sk_inference *inference;
    sk_block     *batch_block, *weights_block;
    void         *own_batch, *own_weights; /* remote: instead of those blocks           */
    sk_batch      batch;      /* the block it writes, with a shape of its own if remote */
    sk_weights    weights;
    size_t        weights_bytes;           /* remote                                    */
    int           first_row, n_rows;       /* its rows among all of the run             */
    int           block_row, block_fragment; /* where they and its head are in the block */
    int64_t       n_made;     /* this time included                                     */
    int           n_agents;
    int           changes_actions;   /* 1: the environment takes other numbers than the network gives */
    float        *next_obs;          /* (n_rows x O) what the next fragment starts from */
    uint8_t      *mask;              /* (n_rows x K) what the vec writes                */
    sk_env_slot  *env_action;        /* (n_rows x S) as the environment takes them      */
    float        *ou;                /* (n_rows x S) noise of SK_EXPLORE_OU             */
    float        *final_obs;         /* (n_rows x O)                                    */
    float        *cut_obs, *cut_value; /* truncated rows' final observations and values */
    int          *cut_row;
    char         *state;             /* what is kept, as saved last: sk_runner_kept, (n_envs) records */
} runner;

static size_t padded(size_t n_floats) { return (n_floats + 15) / 16 * 16; }

size_t sk_weights_bytes(size_t n_floats, int obs_dim, int n_runners) {
    return (padded(n_floats) + 2 * padded((size_t)obs_dim) + 16) * sizeof(float) + (size_t)n_runners * sizeof(uint64_t);
}

void sk_weights_map(void *memory, size_t n_floats, int obs_dim, sk_weights *ret_weights) {
    ret_weights->params = memory;
    ret_weights->obs_mean = ret_weights->params + padded(n_floats);
    ret_weights->obs_inv_std = ret_weights->obs_mean + padded((size_t)obs_dim);
    ret_weights->n_made = (_Atomic uint64_t *)(void *)(ret_weights->obs_inv_std + padded((size_t)obs_dim));
}

static void runner_destroy(void *self) {
    runner *r = self;
    if (!r) return;
    sk_inference_destroy(&r->inference);
    sk_device_destroy(&r->device);
    sk_vec_destroy(&r->vec);
    sk_env_destroy(&r->env);
    sk_block_destroy(&r->batch_block);
    sk_block_destroy(&r->weights_block);
    free(r->own_batch);
    free(r->own_weights);
    free(r->next_obs);
    free(r->mask);
    free(r->env_action);
    free(r->ou);
    free(r->final_obs);
    free(r->cut_obs);
    free(r->cut_value);
    free(r->cut_row);
    free(r->state);
    free(r);
}

/* Sizes of one environment's record: head, vec state, then observations and masks of its rows. */
static size_t state_bytes(const runner *r) { return sk_vec_has_state(r->vec) ? sk_vec_env_state_size(r->vec) : 0; }
static size_t ou_bytes(const runner *r) { return (size_t)(r->n_agents * r->arg.shape.action_slots) * sizeof(float); }
static size_t record_bytes(const runner *r) {
    size_t obs = (size_t)(r->n_agents * r->arg.shape.obs_dim) * sizeof(float);
    size_t mask = (size_t)(r->n_agents * r->arg.shape.mask_size);
    return (sizeof(sk_runner_env_head) + state_bytes(r) + obs + ou_bytes(r) + mask + 15) / 16 * 16;
}

static size_t records_bytes(const runner *r) { return (size_t)r->arg.n_envs * record_bytes(r); }
static char  *records_of(const runner *r) { return r->state + sizeof(sk_runner_kept); }

static sk_status alloc_scratch(runner *r, sk_error *reterr) {
    size_t n = (size_t)r->n_rows, obs = n * (size_t)r->arg.shape.obs_dim;
    r->next_obs = calloc(obs, sizeof *r->next_obs);
    r->mask = calloc(n, (size_t)r->arg.shape.mask_size + 1);
    r->env_action = calloc(n * (size_t)r->arg.shape.action_slots, sizeof *r->env_action);
    r->ou = calloc(n * (size_t)r->arg.shape.action_slots, sizeof *r->ou);
    r->final_obs = calloc(obs, sizeof *r->final_obs);
    r->cut_obs = calloc(obs, sizeof *r->cut_obs);
    r->cut_value = calloc(n, sizeof *r->cut_value);
    r->cut_row = calloc(n, sizeof *r->cut_row);
    r->state = calloc(1, sizeof(sk_runner_kept) + records_bytes(r));
    if (!r->next_obs || !r->mask || !r->env_action || !r->ou || !r->final_obs || !r->cut_obs || !r->cut_value || !r->cut_row ||
        !r->state)
        return SK_FAIL(reterr, SK_ENOMEM, "no memory for %zu rows", n);
    return SK_OK;
}

/* Zeroed, 64-byte aligned memory. */
static sk_status alloc_block(size_t size, void **ret, sk_error *reterr) {
    size = (size + 63) / 64 * 64;
    *ret = aligned_alloc(64, size);
    if (!*ret) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a block of %zu bytes", size);
    memset(*ret, 0, size);
    return SK_OK;
}

/* What a remote runner has for itself alone. */
static sk_status make_blocks(runner *r, sk_error *reterr) {
    sk_batch_shape shape = sk_fragment_shape(&r->arg.shape, r->n_rows);
    if (r->arg.n_floats < 0 || r->arg.n_floats > INT32_MAX)
        return SK_FAIL(reterr, SK_EVERSION, "%lld parameters", (long long)r->arg.n_floats);
    r->weights_bytes = sk_weights_bytes((size_t)r->arg.n_floats, shape.obs_dim, 0);
    SK_TRY(alloc_block(sk_batch_bytes(&shape), &r->own_batch, reterr));
    SK_TRY(alloc_block(r->weights_bytes, &r->own_weights, reterr));
    sk_batch_map(&shape, r->own_batch, &r->batch);
    sk_weights_map(r->own_weights, (size_t)r->arg.n_floats, shape.obs_dim, &r->weights);
    r->n_made = 1; /* as far as is known before it is given its state back */
    return SK_OK;
}

/* All hosts must compute the same bits. */
static sk_status check_isa(const runner *r, sk_error *reterr) {
    const sk_kernels *kernels = sk_kernels_get();
    const char       *has = kernels ? kernels->level : "none of x86-64-v2 to v4";
    char              host[64] = "";
    size_t            n = strnlen(r->arg.isa, sizeof r->arg.isa);
    if (n == strlen(has) && memcmp(has, r->arg.isa, n) == 0) return SK_OK;
    if (gethostname(host, sizeof host - 1) != 0) host[0] = '\0';
    return SK_FAIL(reterr, SK_EUNSUPPORTED, "host %s computes with %s and the head with %.*s: results would not be the "
                   "same (set SKIFF_ISA at the head, as in SKIFF_ISA=v2, to what all hosts have)", host, has, (int)n,
                   r->arg.isa);
}

static sk_status open_blocks(runner *r, sk_error *reterr) {
    const sk_runner_arg *a = &r->arg;
    if (a->remote) return make_blocks(r, reterr);
    if (a->batch_ref.size_bytes != sk_batch_bytes(&a->shape) || a->n_floats < 0 ||
        a->weights_ref.size_bytes != sk_weights_bytes((size_t)a->n_floats, a->shape.obs_dim, a->shape.n_fragments))
        return SK_FAIL(reterr, SK_EVERSION, "the experience or weights block has another layout than this program's");
    SK_TRY(sk_block_open(&a->batch_ref, &r->batch_block, reterr));
    SK_TRY(sk_block_open(&a->weights_ref, &r->weights_block, reterr));
    sk_batch_map(&a->shape, sk_block_data(r->batch_block), &r->batch);
    sk_weights_map(sk_block_data(r->weights_block), (size_t)a->n_floats, a->shape.obs_dim, &r->weights);
    r->block_row = r->first_row;
    r->block_fragment = a->runner;
    r->n_made = (int64_t)atomic_fetch_add(&r->weights.n_made[a->runner], 1) + 1;
    return SK_OK;
}

static sk_status open_env(runner *r, sk_bytes env_text, sk_error *reterr) {
    const sk_runner_arg *a = &r->arg;
    SK_TRY(sk__env_text_open(env_text.data, env_text.size, &r->env, reterr));
    r->n_agents = sk_env_info_get(r->env)->n_agents;
    r->n_rows = a->n_envs * r->n_agents;
    r->first_row = (int)a->first_env * r->n_agents;
    if (r->n_rows < 1 || r->first_row < 0 || r->first_row + r->n_rows > a->shape.n_rows || a->runner < 0 ||
        a->runner >= a->shape.n_fragments)
        return SK_FAIL(reterr, SK_EINVAL, "rows %d to %d do not lie in a block of %d rows", r->first_row,
                       r->first_row + r->n_rows, a->shape.n_rows);
    return SK_OK;
}

/* A runner made anew whose environments cannot be given their state back starts other episodes than those it has
 * played already. */
static sk_status create_vec(runner *r, sk_error *reterr) {
    const sk_runner_arg *a = &r->arg;
    uint64_t             n_former = (uint64_t)r->n_made - 1;
    int                  has_state = (sk_env_api_get(r->env)->caps & SK_ENV_CAP_STATE) != 0;
    sk_vec_params params = {.env = r->env, .n_envs = a->n_envs, .first_env = a->first_env, .n_total = a->n_total_envs,
                            .seed = a->seed + (has_state ? 0 : n_former * 0x9e3779b97f4a7c15u), /* 2^64 / phi */
                            .seeding = SK_VEC_SEED_DERIVED, .on_invalid = (sk_on_invalid)a->on_invalid};
    return sk_vec_create(&params, &r->vec, reterr);
}

/* Columns of step t at this runner's first row. */
static ptrdiff_t row_at(const runner *r, int t) { return (ptrdiff_t)t * r->batch.shape.n_rows + r->block_row; }
static float    *obs_at(const runner *r, int t) { return r->batch.obs + row_at(r, t) * r->arg.shape.obs_dim; }
static float    *mask_at(const runner *r, int t) { return r->batch.mask + row_at(r, t) * r->arg.shape.mask_size; }

/* The network reads masks as floats. */
static void publish_mask(const runner *r, int t) {
    if (!r->arg.shape.mask_size) return;
    float *to = mask_at(r, t);
    for (int i = 0; i < r->n_rows * r->arg.shape.mask_size; i++) to[i] = (float)r->mask[i];
}

/* The first episodes of all. */
static sk_status begin(runner *r, sk_error *reterr) {
    return sk_vec_reset(r->vec, r->next_obs, r->arg.shape.mask_size ? r->mask : NULL, reterr);
}

/* Argument i of a call; one that is not there is as good as an empty one. */
static sk_bytes argument_of(const sk_call *call, int i) {
    return i < sk_call_n_args(call) ? sk_call_arg(call, i) : (sk_bytes){0};
}

static sk_status runner_create(sk_call *call, void **ret_self, sk_error *reterr) {
    sk_status status = SK_OK;
    sk_bytes  arg = argument_of(call, 0);
    runner   *r = calloc(1, sizeof *r);
    if (!r) return SK_FAIL(reterr, SK_ENOMEM, "runner: no memory");
    if (arg.size != sizeof r->arg) {
        status = SK_FAIL(reterr, SK_EVERSION, "runner: an argument of %zu bytes, wanted %zu", arg.size, sizeof r->arg);
        goto fail;
    }
    memcpy(&r->arg, arg.data, sizeof r->arg);
    if (sk_batch_bytes(&r->arg.shape) == 0) {
        status = SK_FAIL(reterr, SK_EVERSION, "runner: a block of experience of no known shape");
        goto fail;
    }
    if (r->arg.remote) SK_TRY_GOTO(check_isa(r, reterr));
    SK_TRY_GOTO(open_env(r, argument_of(call, 1), reterr));
    SK_TRY_GOTO(open_blocks(r, reterr));
    SK_TRY_GOTO(create_vec(r, reterr));
    SK_TRY_GOTO(alloc_scratch(r, reterr));
    SK_TRY_GOTO(sk_device_create_cpu(1, &r->device, reterr));
    sk_inference_params how = {.device = r->device, .spaces = &r->arg.spaces, .model = &r->arg.model,
                               .filter = (sk_obs_filter)r->arg.filter, .params = r->weights.params,
                               .n_floats = (size_t)r->arg.n_floats, .max_rows = r->n_rows};
    SK_TRY_GOTO(sk_inference_create(&how, &r->inference, reterr));
    r->changes_actions = sk_policy_scales_actions(&r->arg.spaces, &r->arg.model);
    for (int i = 0; i < r->arg.spaces.n_parts; i++) r->changes_actions |= r->arg.spaces.part_start[i] != 0;
    SK_TRY_GOTO(begin(r, reterr));
    *ret_self = r;
    return SK_OK;
fail:
    runner_destroy(r);
    return status;
}

static const sk_env_slot *env_actions(runner *r, const sk_env_slot *action) {
    if (!r->changes_actions) return action;
    sk_policy_to_env(&r->arg.spaces, &r->arg.model, action, r->n_rows, r->env_action);
    return r->env_action;
}

/* The process starts anew with an episode. */
static void reset_ou(runner *r, int t) {
    const ptrdiff_t at = row_at(r, t);
    const size_t    slots = (size_t)r->arg.shape.action_slots;
    for (int i = 0; i < r->n_rows; i++)
        if (r->batch.terminated[at + i] || r->batch.truncated[at + i]) memset(r->ou + (size_t)i * slots, 0, slots * sizeof *r->ou);
}

/* V(final observation) of the rows that were cut by the clock, also of agents that sat out the last step; 0 for all
 * others. (What a dropped episode ends with counts as terminated.) */
static void value_cut_rows(runner *r, int t) {
    const ptrdiff_t at = row_at(r, t);
    const size_t    obs_dim = (size_t)r->arg.shape.obs_dim;
    int             n = 0;
    for (int i = 0; i < r->n_rows; i++) {
        r->batch.final_value[at + i] = 0.0f;
        if (!r->batch.truncated[at + i] || r->batch.terminated[at + i]) continue;
        memcpy(r->cut_obs + (size_t)n * obs_dim, r->final_obs + (size_t)i * obs_dim, obs_dim * sizeof(float));
        r->cut_row[n++] = i;
    }
    if (!n) return;
    sk_inference_value(r->inference, r->cut_obs, n, r->cut_value);
    for (int k = 0; k < n; k++) r->batch.final_value[at + r->cut_row[k]] = r->cut_value[k];
}

/* Note finished episodes; a dropped one takes its earlier steps in this block with it. */
static void note_episodes(runner *r, int t, sk_fragment *head) {
    int                 n = 0;
    const sk_vec_event *event = sk_vec_events(r->vec, &n);
    sk_batch_episode   *list = r->batch.episode + (ptrdiff_t)r->arg.shape.n_steps * r->block_row;
    for (int i = 0; i < n; i++) {
        list[head->n_episodes++] = (sk_batch_episode){.step = t, .row = r->first_row + event[i].row,
                                                      .length = event[i].length, .valid = event[i].valid,
                                                      .ret = event[i].ret};
        for (int back = 1; !event[i].valid && back < event[i].length && back <= t; back++)
            r->batch.valid[row_at(r, t - back) + event[i].row] = 0;
    }
}

static sk_status sample_step(runner *r, const sk_sample_in *in, int t, sk_fragment *head, sk_error *reterr) {
    const ptrdiff_t at = row_at(r, t);
    const int       slots = r->arg.shape.action_slots, timed = t % TIMED_EVERY == 0;
    sk_env_slot    *action = r->batch.action + at * slots;
    double          t0 = timed ? sk_clock_now_s() : 0.0;
    const int64_t   now = in->first_step + t, sde_freq = r->arg.model.sde_sample_freq;
    sk_inference_act(r->inference,
                     &(sk_inference_io){.rows = r->n_rows, .obs = obs_at(r, t), .seed = r->arg.seed,
                                        .mask = r->arg.shape.mask_size ? mask_at(r, t) : NULL,
                                        .counter = (uint64_t)now, .first_row = r->first_row, .ou = r->ou,
                                        .explore = &in->explore,
                                        .sde_counter = (uint64_t)(sde_freq > 0 ? now / sde_freq : in->first_step),
                                        .action = action, .logp = r->batch.logp + at, .value = r->batch.value + at});
    double t1 = timed ? sk_clock_now_s() : 0.0;
    SK_TRY(sk_vec_step_run(r->vec,
                           &(sk_vec_step){.action = env_actions(r, action), .reward = r->batch.reward + at,
                                          .terminated = r->batch.terminated + at, .truncated = r->batch.truncated + at,
                                          .valid = r->batch.valid + at, .next_obs = obs_at(r, t + 1),
                                          .next_mask = r->arg.shape.mask_size ? r->mask : NULL,
                                          .final_obs = r->final_obs},
                           reterr));
    if (timed) {
        head->inference_s += t1 - t0;
        head->env_s += sk_clock_now_s() - t1;
    }
    publish_mask(r, t + 1);
    value_cut_rows(r, t);
    if (in->explore.kind == SK_EXPLORE_OU) reset_ou(r, t);
    note_episodes(r, t, head);
    if (r->batch.final_obs)
        memcpy(r->batch.final_obs + at * r->arg.shape.obs_dim, r->final_obs,
               (size_t)r->n_rows * (size_t)r->arg.shape.obs_dim * sizeof(float));
    return SK_OK;
}

/* Write every environment's record. */
static sk_status save(runner *r, sk_error *reterr) {
    size_t size = record_bytes(r), vec_bytes = state_bytes(r);
    size_t obs_bytes = (size_t)(r->n_agents * r->arg.shape.obs_dim) * sizeof(float);
    size_t mask_bytes = (size_t)(r->n_agents * r->arg.shape.mask_size);
    for (int e = 0; e < r->arg.n_envs; e++) {
        sk_runner_env_head head = {.bytes = size, .env = r->arg.first_env + e, .has_state = vec_bytes > 0};
        char              *at = records_of(r) + (size_t)e * size;
        memcpy(at, &head, sizeof head);
        at += sizeof head;
        if (vec_bytes) SK_TRY(sk_vec_env_state_save(r->vec, e, at, reterr));
        memcpy(at + vec_bytes, (const char *)r->next_obs + (size_t)e * obs_bytes, obs_bytes);
        memcpy(at + vec_bytes + obs_bytes, (const char *)r->ou + (size_t)e * ou_bytes(r), ou_bytes(r));
        memcpy(at + vec_bytes + obs_bytes + ou_bytes(r), r->mask + (size_t)e * mask_bytes, mask_bytes);
    }
    return SK_OK;
}

/* For a restart: what is kept goes with this call's answer, so both are there or neither. */
static sk_status keep_state(runner *r, sk_call *call, sk_error *reterr) {
    if (!r->arg.keep_state) return SK_OK;
    sk_runner_kept kept = {.n_made = r->n_made, .n_bytes = sk_vec_has_state(r->vec) ? (int64_t)records_bytes(r) : 0};
    memcpy(r->state, &kept, sizeof kept);
    if (kept.n_bytes) SK_TRY(save(r, reterr));
    return sk_call_save(call, r->state, sizeof kept + (size_t)kept.n_bytes, reterr);
}

/* The policy as an argument, to where the network reads it. */
static sk_status take_weights(runner *r, sk_bytes bytes, sk_error *reterr) {
    if (bytes.size != r->weights_bytes)
        return SK_FAIL(reterr, SK_EVERSION, "sample: weights of %zu bytes, wanted %zu", bytes.size, r->weights_bytes);
    memcpy(r->own_weights, bytes.data, bytes.size);
    return SK_OK;
}

/* What of the own block is to travel. */
static sk_status answer_fragment(const runner *r, sk_call *call, sk_error *reterr) {
    void  *to = NULL;
    size_t size = sk_fragment_bytes(&r->batch.shape, r->batch.fragment[0].n_episodes);
    SK_TRY(sk_call_alloc(call, 0, size, &to, reterr));
    memcpy(to, r->own_batch, size);
    return SK_OK;
}

static sk_status sample(runner *r, sk_bytes bytes, sk_error *reterr) {
    sk_sample_in in;
    if (bytes.size != sizeof in) return SK_FAIL(reterr, SK_EVERSION, "sample: %zu bytes, wanted %zu", bytes.size, sizeof in);
    memcpy(&in, bytes.data, sizeof in);
    const int    n_steps = r->arg.shape.n_steps;
    const size_t obs_bytes = (size_t)r->n_rows * (size_t)r->arg.shape.obs_dim * sizeof(float);
    sk_fragment *head = &r->batch.fragment[r->block_fragment];
    *head = (sk_fragment){.layout_hash = sk_batch_hash(&r->batch.shape), .policy_version = in.policy_version,
                          .first_step = in.first_step, .env_seed = r->arg.seed, .runner = r->arg.runner,
                          .first_row = r->first_row, .n_rows = r->n_rows, .n_made = r->n_made};
    sk_inference_set_normalizer(r->inference, r->weights.obs_mean, r->weights.obs_inv_std);
    memcpy(obs_at(r, 0), r->next_obs, obs_bytes);
    publish_mask(r, 0);
    for (int t = 0; t < n_steps; t++) SK_TRY(sample_step(r, &in, t, head, reterr));
    memcpy(r->next_obs, obs_at(r, n_steps), obs_bytes);
    sk_inference_value(r->inference, obs_at(r, n_steps), r->n_rows, r->batch.bootstrap + r->block_row);
    double share = (double)n_steps / ((n_steps + TIMED_EVERY - 1) / TIMED_EVERY);
    head->env_s *= share;
    head->inference_s *= share;
    return SK_OK;
}

static sk_status load_one(runner *r, int e, const char *record, sk_error *reterr) {
    sk_runner_env_head head;
    size_t             size = record_bytes(r), vec_bytes = state_bytes(r);
    size_t obs_bytes = (size_t)(r->n_agents * r->arg.shape.obs_dim) * sizeof(float);
    size_t mask_bytes = (size_t)(r->n_agents * r->arg.shape.mask_size);
    memcpy(&head, record, sizeof head);
    if (head.bytes != size || head.env != r->arg.first_env + e || (head.has_state != 0) != (vec_bytes > 0))
        return SK_FAIL(reterr, SK_ECORRUPT, "the saved state of environment %lld is not one of this environment",
                       (long long)(r->arg.first_env + e));
    if (!vec_bytes) return SK_OK; /* it starts anew */
    const char *at = record + sizeof head;
    SK_TRY(sk_vec_env_state_load(r->vec, e, at, reterr));
    memcpy((char *)r->next_obs + (size_t)e * obs_bytes, at + vec_bytes, obs_bytes);
    memcpy((char *)r->ou + (size_t)e * ou_bytes(r), at + vec_bytes + obs_bytes, ou_bytes(r));
    memcpy(r->mask + (size_t)e * mask_bytes, at + vec_bytes + obs_bytes + ou_bytes(r), mask_bytes);
    return SK_OK;
}

static sk_status load(runner *r, sk_bytes in, sk_error *reterr) {
    size_t size = record_bytes(r);
    if (in.size != records_bytes(r))
        return SK_FAIL(reterr, SK_ECORRUPT, "saved environment states of %zu bytes, wanted %zu", in.size,
                       records_bytes(r));
    for (int e = 0; e < r->arg.n_envs; e++) SK_TRY(load_one(r, e, (const char *)in.data + (size_t)e * size, reterr));
    return SK_OK;
}

/* Other episodes than those it has played: environments without state, on a host that knows only now that there was
 * another runner before. */
static sk_status begin_others(runner *r, sk_error *reterr) {
    sk_vec_destroy(&r->vec);
    SK_TRY(create_vec(r, reterr));
    return begin(r, reterr);
}

static sk_status runner_restore(void *self, sk_bytes state, sk_error *reterr) {
    runner        *r = self;
    sk_runner_kept kept;
    if (state.size < sizeof kept)
        return SK_FAIL(reterr, SK_ECORRUPT, "a kept state of %zu bytes, wanted at least %zu", state.size, sizeof kept);
    memcpy(&kept, state.data, sizeof kept);
    if (kept.n_made < 1 || kept.n_bytes < 0 || (size_t)kept.n_bytes != state.size - sizeof kept)
        return SK_FAIL(reterr, SK_ECORRUPT, "a kept state of %zu bytes says that it has %lld", state.size,
                       (long long)kept.n_bytes);
    if (r->arg.remote) r->n_made = kept.n_made + 1;
    if (kept.n_bytes == 0) return begin_others(r, reterr);
    return load(r, (sk_bytes){(const char *)state.data + sizeof kept, (size_t)kept.n_bytes}, reterr);
}

static sk_status runner_call(void *self, int method, sk_call *call, sk_error *reterr) {
    runner *r = self;
    switch ((sk_runner_method)method) {
    case SK_RUNNER_SAMPLE:
        if (r->arg.remote) SK_TRY(take_weights(r, argument_of(call, 1), reterr));
        SK_TRY(sample(r, argument_of(call, 0), reterr));
        if (r->arg.remote) SK_TRY(answer_fragment(r, call, reterr));
        return keep_state(r, call, reterr);
    case SK_RUNNER_LOAD:
        SK_TRY(load(r, argument_of(call, 0), reterr));
        return keep_state(r, call, reterr);
    case SK_RUNNER_SAVE:
        SK_TRY(save(r, reterr));
        return sk_call_write(call, 0, records_of(r), records_bytes(r), reterr);
    }
    return SK_FAIL(reterr, SK_EINVAL, "runner: no method %d", method);
}

static const char *const method_names[] = {"sample", "save", "load"};
const sk_actor_class     sk_runner_class = {.name = "runner", .methods = method_names,
                                            .n_methods = SK_COUNT(method_names), .create = runner_create,
                                            .call = runner_call, .destroy = runner_destroy, .restore = runner_restore};
