/* replay: steps in. See replay_internal.h for how they lie. */
#include "rl/replay_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- create ---- */

static sk_status check_params(const sk_replay_params *p, sk_error *reterr) {
    if (p->n_rows < 1 || p->obs_dim < 1 || p->action_slots < 1 || p->mask_size < 0)
        return SK_FAIL(reterr, SK_EINVAL, "replay: %d rows, %d numbers per observation, %d per action, %d per mask, "
                       "wanted at least 1, 1, 1 and 0", p->n_rows, p->obs_dim, p->action_slots, p->mask_size);
    if (p->capacity < 2 * (int64_t)p->n_rows)
        return SK_FAIL(reterr, SK_EINVAL, "replay: capacity %lld, wanted at least 2 steps of %d rows",
                       (long long)p->capacity, p->n_rows);
    if (p->capacity > SK__REPLAY_SLOTS_MAX - p->n_rows)
        return SK_FAIL(reterr, SK_EINVAL, "replay: capacity %lld, wanted at most %lld", (long long)p->capacity,
                       (long long)SK__REPLAY_SLOTS_MAX - p->n_rows);
    if (p->n_step < 1 || p->n_step > p->capacity / p->n_rows)
        return SK_FAIL(reterr, SK_EINVAL, "replay: n_step %d, wanted 1 to %lld (capacity / rows)", p->n_step,
                       (long long)(p->capacity / p->n_rows));
    if (p->max_draw < 1 || p->max_draw > 1 << 24)
        return SK_FAIL(reterr, SK_EINVAL, "replay: draws of up to %d transitions, wanted 1 to 2^24", p->max_draw);
    if (!(p->gamma >= 0.0 && p->gamma <= 1.0))
        return SK_FAIL(reterr, SK_EINVAL, "replay: gamma %g, wanted 0 to 1", p->gamma);
    if (p->prioritized && !(p->alpha >= 0.0 && p->alpha <= 1.0))
        return SK_FAIL(reterr, SK_EINVAL, "replay: alpha %g, wanted 0 to 1", p->alpha);
    if (p->env_name && strlen(p->env_name) >= SK_ENV_NAME_MAX)
        return SK_FAIL(reterr, SK_EINVAL, "replay: the environment's name has more than %d characters",
                       SK_ENV_NAME_MAX - 1);
    if (((double)p->obs_dim + p->mask_size + p->action_slots) * 16.0 * (double)p->capacity > 0x1p46)
        return SK_FAIL(reterr, SK_EINVAL, "replay: %lld transitions of %d numbers per observation are more than can be "
                       "addressed", (long long)p->capacity, p->obs_dim);
    return SK_OK;
}

/* The sizes of records; of parameters that were checked. */
static void lay_out(sk_replay *self, const sk_replay_params *p) {
    self->p = *p;
    self->n_keep = p->capacity / p->n_rows;
    self->ring = self->n_keep + 1;
    self->side_bytes = (size_t)p->obs_dim * sizeof(float);
    self->mask_at = self->side_bytes;
    self->action_at = self->mask_at + ((size_t)p->mask_size + 3) / 4 * 4;
    self->reward_at = self->action_at + (size_t)p->action_slots * sizeof(sk_env_slot);
    self->end_at = self->reward_at + sizeof(float);
    self->stride = self->end_at + sizeof(uint32_t);
}

static size_t bitmap_words(const sk_replay *self) {
    return ((size_t)self->p.n_rows * (size_t)self->ring + 63) / 64;
}

int64_t sk_replay_bytes(const sk_replay_params *params) {
    sk_replay r = {0};
    if (check_params(params, NULL) != SK_OK) return 0;
    lay_out(&r, params);
    int64_t slots = params->n_rows * r.ring;
    return SK__REPLAY_HEAD_BYTES + slots * (int64_t)r.stride + (int64_t)bitmap_words(&r) * 8 +
           (params->prioritized ? sk_sum_tree_bytes(slots) : 0);
}

/* What a draw writes: the columns, and what it remembers. Whole vectors may be read behind the end of each. */
static sk_status create_columns(sk_replay *self, sk_error *reterr) {
    enum { ALIGN = 64 };
    const sk_replay_params *p = &self->p;
    size_t                  n = (size_t)p->max_draw, k = (size_t)p->mask_size;
    sk_batch               *b = &self->out;
    sk_arena_plan          *plan = calloc(1, sizeof *plan);
    if (!plan) return SK_FAIL(reterr, SK_ENOMEM, "replay: no memory");
    const struct {
        void **slot;
        size_t bytes;
    } columns[] = {
        {(void **)&b->obs, n * self->side_bytes},       {(void **)&b->next_obs, n * self->side_bytes},
        {(void **)&b->mask, n * k * sizeof(float)},     {(void **)&b->next_mask, n * k * sizeof(float)},
        {(void **)&b->action, n * (size_t)p->action_slots * sizeof(sk_env_slot)},
        {(void **)&b->reward, n * sizeof(float)},       {(void **)&b->discount, n * sizeof(float)},
        {(void **)&b->weight, n * sizeof(float)},       {(void **)&self->pick, n * sizeof *self->pick},
        {(void **)&self->leaf, n * sizeof(int64_t)},    {(void **)&self->leaf_scratch, n * sizeof(int64_t)},
        {(void **)&self->number, n * sizeof(double)},
        {(void **)&self->gamma_pow, ((size_t)p->n_step + 1) * sizeof(double)},
    };
    for (int i = 0; i < SK_COUNT(columns); i++)
        if (columns[i].bytes) sk_arena_plan_add(plan, columns[i].slot, columns[i].bytes + ALIGN, ALIGN);
    sk_status status = sk_arena_create(plan, &self->arena, reterr);
    free(plan);
    if (status != SK_OK) return status;
    for (int i = 0; i <= p->n_step; i++) self->gamma_pow[i] = i ? self->gamma_pow[i - 1] * p->gamma : 1.0;
    b->shape = (sk_batch_shape){.n_steps = 1, .obs_dim = p->obs_dim, .action_slots = p->action_slots,
                                .mask_size = p->mask_size};
    return SK_OK;
}

sk_status sk_replay_create(const sk_replay_params *params, sk_replay **ret_replay, sk_error *reterr) {
    SK_ASSERT(params && ret_replay);
    SK_TRY(check_params(params, reterr));
    SK_AUTO(sk_replay) self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "replay: no memory");
    self->store.fd = -1;
    lay_out(self, params);
    if (params->env_name) memcpy(self->env_name, params->env_name, strlen(params->env_name));
    self->p.env_name = self->env_name;
    self->side_free = -1;
    self->priority_max = 1.0;
    self->drawable = calloc(bitmap_words(self), sizeof *self->drawable);
    if (!self->drawable) return SK_FAIL(reterr, SK_ENOMEM, "replay: no memory");
    SK_TRY(create_columns(self, reterr));
    if (params->prioritized) SK_TRY(sk_sum_tree_create(params->n_rows * self->ring, &self->tree, reterr));
    SK_TRY(sk__replay_store_open(self, reterr));
    self->p.path = self->store.path;
    *ret_replay = self;
    self = NULL;
    return SK_OK;
}

void sk_replay_destroy(sk_replay **self_p) {
    if (!self_p || !*self_p) return;
    sk_replay *self = *self_p;
    sk__replay_store_close(self);
    sk_sum_tree_destroy(&self->tree);
    sk_arena_destroy(&self->arena);
    free(self->drawable);
    free(self);
    *self_p = NULL;
}

int64_t sk_replay_size(const sk_replay *self) { return self->n_drawable; }
int64_t sk_replay_capacity(const sk_replay *self) { return self->n_keep * self->p.n_rows; }

/* ---- side slots: a stack of those given back, linked through their first numbers ---- */

static uint32_t take_side(sk_replay *self) {
    int32_t slot = self->side_free;
    if (slot < 0) return (uint32_t)self->n_side++;
    memcpy(&self->side_free, self->side + (size_t)slot * self->side_bytes, sizeof self->side_free);
    self->n_side_free--;
    return (uint32_t)slot;
}

static void give_side(sk_replay *self, uint32_t slot) {
    memcpy(self->side + (size_t)slot * self->side_bytes, &self->side_free, sizeof self->side_free);
    self->side_free = (int32_t)slot;
    self->n_side_free++;
}

/* ---- one step ---- */

/* The transition in a slot, if there is one, cannot be drawn any more. How its step ended stays known. */
static void forget(sk_replay *self, int row, int64_t slot) {
    uint32_t *end = sk__replay_end(self, sk__replay_record(self, row, slot));
    size_t    at = sk__replay_at(self, row, slot);
    if (!(*end & SK__END_VALID)) return;
    if (*end & SK__END_KIND) give_side(self, *end >> SK__END_SIDE_BIT);
    *end &= SK__END_KIND;
    self->drawable[at / 64] &= ~((uint64_t)1 << (at % 64));
    self->n_drawable--;
    if (self->tree) sk_sum_tree_set(self->tree, (int64_t)at, 0.0);
}

static void put_obs(sk_replay *self, char *record, const sk_batch *b, size_t at) {
    const size_t k = (size_t)self->p.mask_size;
    memcpy(record, b->obs + at * (size_t)self->p.obs_dim, self->side_bytes);
    for (size_t i = 0; i < k; i++) record[self->mask_at + i] = b->mask[at * k + i] != 0.0f;
}

/* The end of a transition: where an episode ended its final observation goes aside. */
static uint32_t end_with(sk_replay *self, uint32_t kind, const void *final_obs) {
    if (!kind) return SK__END_VALID;
    uint32_t end = take_side(self) << SK__END_SIDE_BIT | kind | SK__END_VALID;
    memcpy(sk__replay_side(self, end), final_obs, self->side_bytes);
    return end;
}

/* Step t of a row into the head's slot, which is empty. */
static void put_step(sk_replay *self, const sk_batch *b, int t, int row, int64_t slot) {
    size_t   from = (size_t)t * (size_t)self->p.n_rows + (size_t)row, at = sk__replay_at(self, row, slot);
    char    *record = sk__replay_record(self, row, slot);
    uint32_t kind = b->terminated[from] ? SK__END_TERMINATED : b->truncated[from] ? SK__END_TRUNCATED : 0;
    put_obs(self, record, b, from);
    memcpy(record + self->action_at, b->action + from * (size_t)self->p.action_slots,
           (size_t)self->p.action_slots * sizeof *b->action);
    memcpy(record + self->reward_at, b->reward + from, sizeof *b->reward);
    if (!b->valid[from]) {
        *sk__replay_end(self, record) = kind;
        return;
    }
    *sk__replay_end(self, record) = end_with(self, kind, b->final_obs + from * (size_t)self->p.obs_dim);
    self->drawable[at / 64] |= (uint64_t)1 << (at % 64);
    self->n_drawable++;
    if (self->tree) sk_sum_tree_set(self->tree, (int64_t)at, self->priority_max);
}

/* ---- a batch ---- */

static sk_status check_batch(const sk_replay *self, const sk_batch *b, sk_error *reterr) {
    const sk_batch_shape   *s = &b->shape;
    const sk_replay_params *p = &self->p;
    if (s->n_steps < 1 || s->n_rows != p->n_rows || s->obs_dim != p->obs_dim || s->action_slots != p->action_slots ||
        s->mask_size != p->mask_size)
        return SK_FAIL(reterr, SK_EINVAL, "replay: a batch of %d rows with %d numbers per observation, %d per action, "
                       "%d per mask, wanted %d, %d, %d and %d", s->n_rows, s->obs_dim, s->action_slots, s->mask_size,
                       p->n_rows, p->obs_dim, p->action_slots, p->mask_size);
    if (!b->final_obs) return SK_FAIL(reterr, SK_EINVAL, "replay: a batch without the column final_obs");
    for (int f = 0; b->fragment && f < s->n_fragments; f++) {
        int64_t first = b->fragment[f].first_row, n = b->fragment[f].n_episodes, room = s->n_steps;
        if (first < 0 || first >= s->n_rows || n < 0 || n > room * (s->n_rows - first))
            return SK_FAIL(reterr, SK_EINVAL, "replay: a batch whose fragment %d begins at row %lld and ends %lld "
                           "episodes", f, (long long)first, (long long)n);
    }
    return SK_OK;
}

/* Does a row go on with another observation than the one the newest step led to? (Its runner began anew.) */
static int is_break(const sk_replay *self, const sk_batch *b, int row) {
    if (self->n_added == 0) return 0;
    const uint32_t *end = sk__replay_end(self, sk__replay_record(self, row, (self->n_added - 1) % self->ring));
    if ((*end & SK__END_KIND) || !(*end & SK__END_VALID)) return 0;
    return memcmp(sk__replay_record(self, row, self->n_added % self->ring),
                  b->obs + (size_t)row * (size_t)self->p.obs_dim, self->side_bytes) != 0;
}

/* Then its episode was cut there, and what it led to goes aside. */
static void cut_breaks(sk_replay *self, const sk_batch *b) {
    for (int r = 0; r < self->p.n_rows; r++) {
        if (!is_break(self, b, r)) continue;
        char *newest = sk__replay_record(self, r, (self->n_added - 1) % self->ring);
        *sk__replay_end(self, newest) = end_with(self, SK__END_TRUNCATED,
                                                 sk__replay_record(self, r, self->n_added % self->ring));
    }
}

/* Room for all that the batch brings, before anything is changed. */
static sk_status reserve(sk_replay *self, const sk_batch *b, sk_error *reterr) {
    int64_t n_steps = self->n_added + b->shape.n_steps + 1, n_ends = 0, most = self->p.n_rows * self->n_keep;
    if (!self->store.path) return SK_OK;
    for (size_t i = 0; i < (size_t)b->shape.n_steps * (size_t)b->shape.n_rows; i++)
        n_ends += b->valid[i] && (b->terminated[i] || b->truncated[i]);
    for (int r = 0; r < self->p.n_rows; r++) n_ends += is_break(self, b, r);
    int64_t n_side = self->n_side + (n_ends > self->n_side_free ? n_ends - self->n_side_free : 0);
    return sk__replay_store_reserve(self, n_steps < self->ring ? n_steps : self->ring, n_side < most ? n_side : most,
                                    reterr);
}

/* A dropped episode's earlier steps go, as far back as they are here. `first` is the batch's first step. */
static void drop_episode(sk_replay *self, const sk_batch_episode *e, int64_t first) {
    int64_t oldest = self->n_added - sk__replay_n_kept(self), last = first + e->step;
    for (int64_t step = last; step >= oldest && step > last - e->length; step--)
        forget(self, e->row, step % self->ring);
}

static void drop_episodes(sk_replay *self, const sk_batch *b, int64_t first) {
    for (int f = 0; b->fragment && f < b->shape.n_fragments; f++) {
        const sk_batch_episode *e = b->episode + (size_t)b->shape.n_steps * (size_t)b->fragment[f].first_row;
        for (int i = 0; i < b->fragment[f].n_episodes; i++)
            if (!e[i].valid && e[i].row >= 0 && e[i].row < self->p.n_rows && e[i].step < b->shape.n_steps)
                drop_episode(self, &e[i], first);
    }
}

sk_status sk_replay_add(sk_replay *self, const sk_batch *b, sk_error *reterr) {
    SK_ASSERT(self && b);
    SK_TRY(check_batch(self, b, reterr));
    SK_TRY(reserve(self, b, reterr));
    const int64_t first = self->n_added;
    cut_breaks(self, b);
    for (int t = 0; t < b->shape.n_steps; t++) {
        int64_t slot = self->n_added % self->ring, next = (self->n_added + 1) % self->ring;
        for (int r = 0; r < self->p.n_rows; r++) { /* the oldest step makes place for the new head */
            forget(self, r, next);
            *sk__replay_end(self, sk__replay_record(self, r, next)) = 0;
            put_step(self, b, t, r, slot);
        }
        self->n_added++;
    }
    for (int r = 0; r < self->p.n_rows; r++)
        put_obs(self, sk__replay_record(self, r, self->n_added % self->ring), b,
                (size_t)b->shape.n_steps * (size_t)self->p.n_rows + (size_t)r);
    drop_episodes(self, b, first);
    return SK_OK;
}
