/* replay_save: the memory in a checkpoint (docs/formats.md). Only slots in use are written, straight from where they
 * lie; everything is checked before anything of it is taken over. */
#include "rl/replay_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION = 1 };
/* The largest priority there can be: a float's largest number to the power 1, and a little. */
#define PRIORITY_LIMIT 3.5e38

static const char KEY[] = "replay", STEPS[] = "replay_steps", SIDE[] = "replay_side", PRIORITY[] = "replay_priority";

/* What a checkpoint says of its memory. */
typedef struct saved {
    int64_t        n_added, n_side, n_draws;
    double         priority_max;
    int64_t        used;     /* slots of each row                     */
    const char    *step;     /* (R x used) records                    */
    const char    *side;     /* (n_side x O)                          */
    const double  *priority; /* (R x used), NULL                      */
    uint8_t       *is_taken; /* (n_side) 1 = a step's; owned          */
    int64_t        n_taken;
} saved;

/* Slots of a row that have been written, the head among them. */
static int64_t slots_used(const sk_replay *self, int64_t n_added) {
    return n_added == 0 ? 0 : n_added < self->ring ? n_added + 1 : self->ring;
}

sk_status sk_replay_save(sk_replay *self, sk_pack_writer *writer, sk_error *reterr) {
    SK_ASSERT(self && writer);
    const sk_replay_params *p = &self->p;
    size_t  used = (size_t)slots_used(self, self->n_added), ring = (size_t)self->ring, rows = (size_t)p->n_rows;
    json_t *json = json_pack("{s:i, s:s, s:i, s:i, s:i, s:i, s:I, s:b, s:f, s:I, s:I, s:I, s:f}", "version", VERSION,
                             "env", self->env_name, "obs_dim", p->obs_dim, "action_slots", p->action_slots, "mask_size",
                             p->mask_size, "n_rows", p->n_rows, "steps_per_row", (json_int_t)self->n_keep,
                             "prioritized", self->tree != NULL, "alpha", p->alpha, "n_added",
                             (json_int_t)self->n_added, "n_side", (json_int_t)self->n_side, "n_draws",
                             (json_int_t)self->n_draws, "priority_max", self->priority_max);
    if (!json || json_object_set_new(sk_pack_writer_json(writer), KEY, json))
        return SK_FAIL(reterr, SK_ENOMEM, "replay: no memory for a checkpoint");
    SK_TRY(sk_pack_writer_add_borrowed(writer, STEPS, self->record, used * self->stride, ring * self->stride, rows,
                                       reterr));
    SK_TRY(sk_pack_writer_add_borrowed(writer, SIDE, self->side, (size_t)self->n_side * self->side_bytes, 0, 1,
                                       reterr));
    if (!self->tree) return SK_OK;
    return sk_pack_writer_add_borrowed(writer, PRIORITY, sk_sum_tree_leaves(self->tree), used * sizeof(double),
                                       ring * sizeof(double), rows, reterr);
}

/* ---- reading ---- */

static sk_status corrupt(const char *what, int64_t row, int64_t slot, sk_error *reterr) {
    return SK_FAIL(reterr, SK_ECORRUPT, "the checkpoint's replay: %s in row %lld, slot %lld", what, (long long)row,
                   (long long)slot);
}

/* Is it this environment's, of this shape and size? */
static sk_status check_same(const sk_replay *self, const char *env, const int shape[4], int64_t n_keep, int prioritized,
                            double alpha, sk_error *reterr) {
    const sk_replay_params *p = &self->p;
    if (strcmp(env, self->env_name) != 0)
        return SK_FAIL(reterr, SK_ECONFIG, "the checkpoint's replay is of environment \"%.64s\", wanted \"%s\"", env,
                       self->env_name);
    if (shape[0] != p->obs_dim || shape[1] != p->action_slots || shape[2] != p->mask_size || shape[3] != p->n_rows)
        return SK_FAIL(reterr, SK_ECONFIG, "the checkpoint's replay has %d rows with %d numbers per observation, %d "
                       "per action, %d per mask, wanted %d, %d, %d and %d", shape[3], shape[0], shape[1], shape[2],
                       p->n_rows, p->obs_dim, p->action_slots, p->mask_size);
    if (n_keep != self->n_keep)
        return SK_FAIL(reterr, SK_ECONFIG, "the checkpoint's replay has room for %lld steps of each row, wanted %lld",
                       (long long)n_keep, (long long)self->n_keep);
    if (prioritized != (self->tree != NULL))
        return SK_FAIL(reterr, SK_ECONFIG, "the checkpoint's replay is drawn from %s, wanted %s",
                       prioritized ? "by priority" : "uniformly", self->tree ? "by priority" : "uniformly");
    if (prioritized && alpha != p->alpha)
        return SK_FAIL(reterr, SK_ECONFIG, "the checkpoint's replay has priorities to the power %g, wanted %g", alpha,
                       p->alpha);
    return SK_OK;
}

static sk_status read_json(const sk_replay *self, const sk_pack *pack, saved *ret, sk_error *reterr) {
    json_t      *json = json_object_get(sk_pack_json(pack), KEY);
    json_error_t why;
    int          version = 0, shape[4] = {0}, prioritized = 0;
    json_int_t   n_keep = 0, n_added = 0, n_side = 0, n_draws = 0;
    const char  *env = "";
    double       alpha = 0.0, priority_max = 0.0;
    if (!json) return SK_FAIL(reterr, SK_ECORRUPT, "the checkpoint's replay: there is none");
    if (json_unpack_ex(json, &why, 0, "{s:i}", "version", &version))
        return SK_FAIL(reterr, SK_ECORRUPT, "the checkpoint's replay: %s", why.text);
    if (version != VERSION)
        return SK_FAIL(reterr, SK_EVERSION, "the checkpoint's replay is of version %d, wanted %d", version, VERSION);
    if (json_unpack_ex(json, &why, 0, "{s:s, s:i, s:i, s:i, s:i, s:I, s:b, s:F, s:I, s:I, s:I, s:F}", "env", &env,
                       "obs_dim", &shape[0], "action_slots", &shape[1], "mask_size", &shape[2], "n_rows", &shape[3],
                       "steps_per_row", &n_keep, "prioritized", &prioritized, "alpha", &alpha, "n_added", &n_added,
                       "n_side", &n_side, "n_draws", &n_draws, "priority_max", &priority_max))
        return SK_FAIL(reterr, SK_ECORRUPT, "the checkpoint's replay: %s", why.text);
    SK_TRY(check_same(self, env, shape, n_keep, prioritized, alpha, reterr));
    if (n_added < 0 || n_added > INT64_MAX / 2 || n_side < 0 || n_side > self->n_keep * self->p.n_rows || n_draws < 0 ||
        !(priority_max >= 1.0 && priority_max <= PRIORITY_LIMIT))
        return SK_FAIL(reterr, SK_ECORRUPT, "the checkpoint's replay: %lld steps, %lld final observations, %lld draws, "
                       "largest priority %g make no sense", (long long)n_added, (long long)n_side, (long long)n_draws,
                       priority_max);
    *ret = (saved){.n_added = n_added, .n_side = n_side, .n_draws = n_draws, .priority_max = priority_max,
                   .used = slots_used(self, n_added)};
    return SK_OK;
}

static sk_status find_sections(const sk_replay *self, const sk_pack *pack, saved *in, sk_error *reterr) {
    size_t      slots = (size_t)self->p.n_rows * (size_t)in->used;
    const void *bytes = NULL;
    SK_TRY(sk_pack_section(pack, STEPS, slots * self->stride, &bytes, NULL, reterr));
    in->step = bytes;
    SK_TRY(sk_pack_section(pack, SIDE, (size_t)in->n_side * self->side_bytes, &bytes, NULL, reterr));
    in->side = bytes;
    if (!self->tree) return SK_OK;
    SK_TRY(sk_pack_section(pack, PRIORITY, slots * sizeof(double), &bytes, NULL, reterr));
    in->priority = bytes;
    return SK_OK;
}

static uint32_t end_of(const sk_replay *self, const char *record) {
    uint32_t end;
    memcpy(&end, record + self->end_at, sizeof end);
    return end;
}

/* A side slot belongs to one step at most. */
static sk_status check_record(const sk_replay *self, saved *in, int row, int64_t slot, sk_error *reterr) {
    const char *record = in->step + ((size_t)row * (size_t)in->used + (size_t)slot) * self->stride;
    uint32_t    end = end_of(self, record), kind = end & SK__END_KIND, side = end >> SK__END_SIDE_BIT;
    int         is_valid = (end & SK__END_VALID) != 0;
    for (int i = 0; i < self->p.mask_size; i++)
        if ((uint8_t)record[self->mask_at + (size_t)i] > 1)
            return corrupt("a mask that is neither 0 nor 1", row, slot, reterr);
    if (kind == SK__END_KIND || (slot == in->n_added % self->ring && end != 0) || (!(is_valid && kind) && side != 0))
        return corrupt("an end of no known kind", row, slot, reterr);
    if (is_valid && kind) {
        if (side >= in->n_side || in->is_taken[side])
            return corrupt("a final observation that is not its own", row, slot, reterr);
        in->is_taken[side] = 1;
        in->n_taken++;
    }
    if (!in->priority) return SK_OK;
    double priority = in->priority[(size_t)row * (size_t)in->used + (size_t)slot];
    if (is_valid ? !(priority > 0.0 && priority <= in->priority_max) : !(priority == 0.0))
        return corrupt("a priority that cannot be", row, slot, reterr);
    return SK_OK;
}

static sk_status check_records(const sk_replay *self, saved *in, sk_error *reterr) {
    for (int r = 0; r < self->p.n_rows; r++)
        for (int64_t s = 0; s < in->used; s++) SK_TRY(check_record(self, in, r, s, reterr));
    return SK_OK;
}

/* Empty, as after create. */
static void clear(sk_replay *self) {
    int64_t used = slots_used(self, self->n_added);
    for (int r = 0; r < self->p.n_rows; r++)
        for (int64_t s = 0; s < used; s++) {
            size_t at = sk__replay_at(self, r, s);
            *sk__replay_end(self, sk__replay_record(self, r, s)) = 0;
            self->drawable[at / 64] &= ~((uint64_t)1 << (at % 64));
            if (self->tree) sk_sum_tree_leaves(self->tree)[at] = 0.0;
        }
    self->n_drawable = self->n_picked = 0;
}

static void take_over(sk_replay *self, const saved *in) {
    clear(self);
    for (int r = 0; r < self->p.n_rows; r++) {
        if (in->used == 0) break;
        size_t from = (size_t)r * (size_t)in->used, to = sk__replay_at(self, r, 0), n = (size_t)in->used;
        memcpy(self->record + to * self->stride, in->step + from * self->stride, n * self->stride);
        if (self->tree) memcpy(sk_sum_tree_leaves(self->tree) + to, in->priority + from, n * sizeof(double));
        for (size_t at = to; at < to + n; at++) {
            if (!(end_of(self, self->record + at * self->stride) & SK__END_VALID)) continue;
            self->drawable[at / 64] |= (uint64_t)1 << (at % 64);
            self->n_drawable++;
        }
    }
    if (self->tree) sk_sum_tree_sum_up(self->tree);
    if (in->n_side) memcpy(self->side, in->side, (size_t)in->n_side * self->side_bytes);
    self->side_free = -1;
    for (int64_t i = in->n_side - 1; i >= 0; i--) {
        if (in->is_taken[i]) continue;
        memcpy(self->side + (size_t)i * self->side_bytes, &self->side_free, sizeof self->side_free);
        self->side_free = (int32_t)i;
    }
    self->n_added = in->n_added;
    self->n_side = in->n_side;
    self->n_side_free = in->n_side - in->n_taken;
    self->n_draws = (uint64_t)in->n_draws;
    self->priority_max = in->priority_max;
}

sk_status sk_replay_load(sk_replay *self, const sk_pack *pack, sk_error *reterr) {
    SK_ASSERT(self && pack);
    saved     in = {0};
    sk_status status = SK_OK;
    SK_TRY(read_json(self, pack, &in, reterr));
    SK_TRY(find_sections(self, pack, &in, reterr));
    in.is_taken = calloc((size_t)in.n_side + 1, 1);
    if (!in.is_taken) return SK_FAIL(reterr, SK_ENOMEM, "replay: no memory");
    SK_TRY_GOTO(check_records(self, &in, reterr));
    SK_TRY_GOTO(sk__replay_store_reserve(self, in.used, in.n_side, reterr));
    take_over(self, &in);
fail:
    free(in.is_taken);
    return status;
}
