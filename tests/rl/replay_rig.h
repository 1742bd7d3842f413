/* replay_rig: random streams of batches, and beside the replay a plain list of all steps that ever came, from which any
 * transition is worked out anew. */
#ifndef SK_TESTS_RL_REPLAY_RIG_H
#define SK_TESTS_RL_REPLAY_RIG_H
#include "rl/replay.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { RIG_O = 3, RIG_S = 2, RIG_K_MAX = 5, RIG_STEPS_MAX = 4000, RIG_ROWS_MAX = 4, RIG_T_MAX = 7 };

typedef struct rig_step {
    float       obs[RIG_O], mask[RIG_K_MAX], final_obs[RIG_O], reward;
    sk_env_slot action[RIG_S];
    int         terminated, truncated, valid;
} rig_step;

typedef struct rig_odds { /* of 100 */
    unsigned terminated, truncated, invalid, dropped, breaks;
} rig_odds;

typedef struct rig {
    sk_replay_params p;
    sk_replay       *replay;
    rig_odds         odds;
    uint32_t         random;
    int              n_steps; /* of each row, so far                                */
    int              age[RIG_ROWS_MAX];
    rig_step        *step;    /* (RIG_STEPS_MAX x R); step n_steps holds the head   */
    void            *memory;
    sk_batch         batch;
} rig;

static inline uint32_t rig_random(rig *r) {
    r->random = r->random * 1664525u + 1013904223u;
    return r->random >> 8;
}
static inline int    rig_chance(rig *r, unsigned percent) { return rig_random(r) % 100 < percent; }
static inline float  rig_float(rig *r) { return (float)(rig_random(r) % 20001) * 1e-4f - 1.0f; }
static inline rig_step *rig_at(const rig *r, int step, int row) { return &r->step[step * r->p.n_rows + row]; }
/* The first number of an observation says whose it is. */
static inline float rig_id(const rig *r, int step, int row) { return (float)(step * r->p.n_rows + row); }

static inline void rig_open(rig *r, const sk_replay_params *p, rig_odds odds, uint32_t seed) {
    sk_error err = {0};
    *r = (rig){.p = *p, .odds = odds, .random = seed};
    r->p.obs_dim = RIG_O, r->p.action_slots = RIG_S;
    if (!r->p.env_name) r->p.env_name = "Rig-v0";
    r->step = calloc((size_t)RIG_STEPS_MAX * (size_t)p->n_rows, sizeof *r->step);
    sk_batch_shape most = {.n_steps = RIG_T_MAX, .n_rows = p->n_rows, .obs_dim = RIG_O, .action_slots = RIG_S,
                           .mask_size = p->mask_size, .n_fragments = 2, .keep_final_obs = 1};
    r->memory = aligned_alloc(64, (sk_batch_bytes(&most) + 63) / 64 * 64);
    cr_assert_eq(sk_replay_create(&r->p, &r->replay, &err), SK_OK, "%s", err.msg);
}

static inline void rig_close(rig *r) {
    sk_replay_destroy(&r->replay);
    free(r->step);
    free(r->memory);
}

static inline void rig_new_obs(rig *r, int step, int row) {
    rig_step *s = rig_at(r, step, row);
    s->obs[0] = rig_id(r, step, row);
    for (int i = 1; i < RIG_O; i++) s->obs[i] = rig_float(r);
    for (int i = 0; i < r->p.mask_size; i++) s->mask[i] = (float)(rig_random(r) % 2);
}

/* The step's end, as rl/vec.c gives it, and what a dropped episode takes with it. */
static inline void rig_new_end(rig *r, int t, int row, sk_batch_episode *list, int *n_list) {
    rig_step *s = rig_at(r, r->n_steps, row);
    int       dropped = rig_chance(r, r->odds.dropped);
    s->terminated = dropped || rig_chance(r, r->odds.terminated);
    s->truncated = !dropped && rig_chance(r, r->odds.truncated);
    s->valid = !dropped && !rig_chance(r, r->odds.invalid);
    r->age[row]++;
    if (!s->terminated && !s->truncated) return;
    for (int i = 0; i < RIG_O; i++) s->final_obs[i] = s->valid ? rig_float(r) : 0.0f;
    list[(*n_list)++] = (sk_batch_episode){.step = t, .row = row, .length = r->age[row], .valid = !dropped};
    for (int back = 1; dropped && back < r->age[row]; back++) rig_at(r, r->n_steps - back, row)->valid = 0;
    r->age[row] = 0;
}

/* Where a row does not go on from where it was, the step before was its episode's last. */
static inline void rig_break(rig *r, int row) {
    rig_step *head = rig_at(r, r->n_steps, row), *newest = r->n_steps ? rig_at(r, r->n_steps - 1, row) : NULL;
    float     was[RIG_O];
    memcpy(was, head->obs, sizeof was);
    rig_new_obs(r, r->n_steps, row);
    head->obs[1] = was[1] + 3.0f;
    if (!newest || newest->terminated || newest->truncated || !newest->valid) return;
    newest->truncated = 1;
    memcpy(newest->final_obs, was, sizeof was);
    r->age[row] = 0;
}

/* Make up the next T steps and lay them out as a batch of two fragments, or one. */
static inline const sk_batch *rig_batch(rig *r, int n_t) {
    const int      rows = r->p.n_rows, k = r->p.mask_size, split = rows > 1 ? rows / 2 : rows;
    sk_batch_shape shape = {.n_steps = n_t, .n_rows = rows, .obs_dim = RIG_O, .action_slots = RIG_S, .mask_size = k,
                            .n_fragments = rows > 1 ? 2 : 1, .keep_final_obs = 1};
    sk_batch      *b = &r->batch;
    cr_assert_lt(r->n_steps + n_t, RIG_STEPS_MAX);
    memset(r->memory, 0xff, sk_batch_bytes(&shape));
    sk_batch_map(&shape, r->memory, b);
    for (int f = 0; f < shape.n_fragments; f++) b->fragment[f] = (sk_fragment){.first_row = f * split};
    for (int row = 0; row < rows; row++) {
        if (r->n_steps == 0) rig_new_obs(r, 0, row);
        else if (rig_chance(r, r->odds.breaks)) rig_break(r, row);
    }
    for (int t = 0; t < n_t; t++) {
        for (int row = 0; row < rows; row++) {
            rig_step    *s = rig_at(r, r->n_steps, row);
            sk_fragment *f = &b->fragment[shape.n_fragments == 2 && row >= split];
            s->reward = rig_float(r);
            for (int i = 0; i < RIG_S; i++) s->action[i].f = rig_float(r);
            rig_new_end(r, t, row, b->episode + n_t * f->first_row, &f->n_episodes);
            int at = t * rows + row;
            memcpy(b->obs + at * RIG_O, s->obs, sizeof s->obs);
            for (int i = 0; i < k; i++) b->mask[at * k + i] = s->mask[i];
            memcpy(b->action + at * RIG_S, s->action, sizeof s->action);
            b->reward[at] = s->reward;
            b->terminated[at] = (uint8_t)s->terminated;
            b->truncated[at] = (uint8_t)s->truncated;
            b->valid[at] = (uint8_t)s->valid;
            memcpy(b->final_obs + at * RIG_O, s->final_obs, sizeof s->final_obs);
        }
        r->n_steps++;
        for (int row = 0; row < rows; row++) {
            rig_new_obs(r, r->n_steps, row);
            memcpy(b->obs + ((t + 1) * rows + row) * RIG_O, rig_at(r, r->n_steps, row)->obs, RIG_O * 4);
            for (int i = 0; i < k; i++) b->mask[((t + 1) * rows + row) * k + i] = rig_at(r, r->n_steps, row)->mask[i];
        }
    }
    return b;
}

static inline void rig_add(rig *r, int n_t) {
    sk_error err = {0};
    cr_assert_eq(sk_replay_add(r->replay, rig_batch(r, n_t), &err), SK_OK, "%s", err.msg);
}

static inline int rig_oldest(const rig *r) {
    int kept = (int)(r->p.capacity / r->p.n_rows);
    return r->n_steps > kept ? r->n_steps - kept : 0;
}

static inline int rig_size(const rig *r) {
    int n = 0;
    for (int s = rig_oldest(r); s < r->n_steps; s++)
        for (int row = 0; row < r->p.n_rows; row++) n += rig_at(r, s, row)->valid;
    return n;
}

/* The n-step return from (step, row), by the definition. */
static inline void rig_transition(const rig *r, int step, int row, float *ret_reward, float *ret_discount,
                                  const float **ret_next, const float **ret_mask) {
    static const float all[RIG_K_MAX] = {1, 1, 1, 1, 1};
    double             sum = 0.0, gamma = 1.0;
    *ret_mask = all;
    for (int k = 0; k < r->p.n_step; k++) {
        const rig_step *s = rig_at(r, step + k, row);
        if (k > 0 && (!s->valid || step + k == r->n_steps)) break;
        sum += gamma * (double)s->reward;
        gamma *= r->p.gamma;
        *ret_next = s->final_obs;
        *ret_discount = s->terminated ? 0.0f : (float)gamma;
        *ret_mask = all;
        if (s->terminated || s->truncated) break;
        *ret_next = rig_at(r, step + k + 1, row)->obs;
        *ret_mask = rig_at(r, step + k + 1, row)->mask;
    }
    *ret_reward = (float)sum;
}

/* Everything drawn must be what the list says. ret_id (n), nullable: which were drawn. */
static inline void rig_check_drawn(const rig *r, const sk_batch *b, int n, int *ret_id) {
    const int k = r->p.mask_size;
    cr_assert(b->shape.n_rows == n && b->shape.n_steps == 1);
    for (int i = 0; i < n; i++) {
        int id = (int)b->obs[i * RIG_O], step = id / r->p.n_rows, row = id % r->p.n_rows;
        cr_assert(id >= 0 && step >= rig_oldest(r) && step < r->n_steps, "step %d of %d", step, r->n_steps);
        const rig_step *s = rig_at(r, step, row);
        float           reward = 0.0f, discount = 0.0f;
        const float    *next = NULL, *mask = NULL;
        rig_transition(r, step, row, &reward, &discount, &next, &mask);
        cr_assert(s->valid, "step %d of row %d", step, row);
        cr_assert_arr_eq(b->obs + i * RIG_O, s->obs, sizeof s->obs);
        cr_assert_arr_eq(b->action + i * RIG_S, s->action, sizeof s->action);
        cr_assert_eq(b->reward[i], reward, "step %d of row %d: %g, wanted %g", step, row, b->reward[i], reward);
        cr_assert_eq(b->discount[i], discount, "step %d of row %d", step, row);
        cr_assert_arr_eq(b->next_obs + i * RIG_O, next, sizeof s->obs, "step %d of row %d", step, row);
        for (int j = 0; j < k; j++) {
            cr_assert_eq(b->mask[i * k + j], s->mask[j]);
            cr_assert_eq(b->next_mask[i * k + j], mask[j]);
        }
        if (ret_id) ret_id[i] = id;
    }
}

static inline const sk_batch *rig_draw(rig *r, int n) {
    sk_error        err = {0};
    const sk_batch *b = NULL;
    cr_assert_eq(sk_replay_draw(r->replay, n, 0.4, &b, &err), SK_OK, "%s", err.msg);
    return b;
}

#endif
