/* replay_draw: transitions out. First all places are chosen, then all are copied, each fetched into the cache some
 * transitions ahead of its turn. */
#include "core/base/rng.h"
#include "rl/replay_internal.h"

#include <math.h>
#include <string.h>

enum { LINE_BYTES = 64, AHEAD_BYTES = 2048, AHEAD_MAX = 8 };
#define PRIORITY_EPS 1e-6 /* as Schaul et al. and Dopamine: nothing becomes impossible to draw */

/* ---- numbers of one draw, in order ---- */

typedef struct numbers {
    uint64_t seed, counter;
    uint32_t word[4];
    int      n_left;
} numbers;

/* A draw has 2^32 counters of its own. */
static numbers numbers_of(const sk_replay *self) {
    return (numbers){.seed = self->p.seed, .counter = self->n_draws << 32};
}

static uint32_t next_word(numbers *self) {
    if (self->n_left == 0) {
        sk_philox(self->seed, sk_stream_id(SK_STREAM_REPLAY, 0), self->counter++, self->word);
        self->n_left = 4;
    }
    return self->word[4 - self->n_left--];
}

/* In [0, n), without any bias (Lemire 2019). */
static uint32_t next_below(numbers *self, uint32_t n) {
    uint64_t wide = (uint64_t)next_word(self) * n;
    if ((uint32_t)wide < n) {
        uint32_t threshold = (0u - n) % n;
        while ((uint32_t)wide < threshold) wide = (uint64_t)next_word(self) * n;
    }
    return (uint32_t)(wide >> 32);
}

/* In [0, 1), 53 bits. */
static double next_unit(numbers *self) {
    uint64_t high = next_word(self) >> 5, low = next_word(self) >> 6;
    return (double)(high << 26 | low) * 0x1p-53;
}

/* ---- choosing ---- */

static sk__pick pick_at(const sk_replay *self, int row, int64_t slot) {
    int64_t back = self->n_added % self->ring - slot;
    return (sk__pick){.step = self->n_added - (back > 0 ? back : back + self->ring), .row = row, .slot = (int32_t)slot};
}

/* Place number k of those that can be drawn. */
static size_t place_of(const sk_replay *self, uint32_t k) {
    for (size_t w = 0;; w++) {
        uint64_t word = self->drawable[w];
        uint32_t n = (uint32_t)__builtin_popcountll(word);
        if (k < n) {
            for (; k > 0; k--) word &= word - 1;
            return w * 64 + (size_t)__builtin_ctzll(word);
        }
        k -= n;
    }
}

/* Any place in use, until it is one that can be drawn; where those are few, by counting. */
static void choose_uniform(sk_replay *self, int n) {
    numbers  from = numbers_of(self);
    uint32_t used = (uint32_t)(self->n_added < self->ring ? self->n_added : self->ring);
    uint32_t places = used * (uint32_t)self->p.n_rows, ring = (uint32_t)self->ring;
    int      count = self->n_drawable < places / 8;
    for (int i = 0; i < n; i++) {
        size_t at = count ? place_of(self, next_below(&from, (uint32_t)self->n_drawable)) : 0;
        while (!count) {
            uint32_t place = next_below(&from, places), row = place / used;
            at = (size_t)row * ring + (place - row * used);
            if (self->drawable[at / 64] >> (at % 64) & 1) break;
        }
        self->pick[i] = pick_at(self, (int)(at / ring), (int64_t)(at % ring));
        self->out.weight[i] = 1.0f;
    }
}

/* One from each of n equal parts of the sum. (size P(i))^-beta by the largest of them is (p_i / p_min)^-beta. */
static void choose_by_priority(sk_replay *self, int n, double beta) {
    numbers from = numbers_of(self);
    double  part = sk_sum_tree_total(self->tree) / n, smallest = INFINITY;
    for (int i = 0; i < n; i++) self->number[i] = (i + next_unit(&from)) * part;
    sk_sum_tree_find_many(self->tree, self->number, n, self->leaf);
    for (int i = 0; i < n; i++) {
        self->number[i] = sk_sum_tree_get(self->tree, self->leaf[i]);
        smallest = fmin(smallest, self->number[i]);
        self->pick[i] = pick_at(self, (int)(self->leaf[i] / self->ring), self->leaf[i] % self->ring);
    }
    for (int i = 0; i < n; i++) self->out.weight[i] = (float)pow(smallest / self->number[i], beta);
}

/* ---- copying ---- */

static void widen_mask(const sk_replay *self, const char *record, float *to) {
    for (int i = 0; i < self->p.mask_size; i++) to[i] = (float)record[self->mask_at + (size_t)i];
}

/* The window of up to n_step steps from a record on. */
static void copy_window(sk_replay *self, int i, sk__pick pick) {
    const size_t o = (size_t)self->p.obs_dim, s = (size_t)self->p.action_slots, k = (size_t)self->p.mask_size;
    sk_batch    *out = &self->out;
    char        *record = sk__replay_record(self, pick.row, pick.slot);
    char        *row_end = sk__replay_record(self, pick.row, self->ring);
    double       sum = 0.0;
    memcpy(out->obs + (size_t)i * o, record, self->side_bytes);
    memcpy(out->action + (size_t)i * s, record + self->action_at, s * sizeof *out->action);
    if (k) widen_mask(self, record, out->mask + (size_t)i * k);
    for (int n = 1;; n++) {
        float    reward;
        uint32_t end = *sk__replay_end(self, record);
        memcpy(&reward, record + self->reward_at, sizeof reward);
        sum += self->gamma_pow[n - 1] * (double)reward;
        out->reward[i] = (float)sum;
        out->discount[i] = end & SK__END_TERMINATED ? 0.0f : (float)self->gamma_pow[n];
        if (end & SK__END_KIND) { /* nobody knows the mask of a final observation */
            memcpy(out->next_obs + (size_t)i * o, sk__replay_side(self, end), self->side_bytes);
            for (size_t j = 0; j < k; j++) out->next_mask[(size_t)i * k + j] = 1.0f;
            return;
        }
        record += self->stride;
        if (record == row_end) record = sk__replay_record(self, pick.row, 0);
        if (n < self->p.n_step && (*sk__replay_end(self, record) & SK__END_VALID)) continue; /* the head is not valid */
        memcpy(out->next_obs + (size_t)i * o, record, self->side_bytes);
        if (k) widen_mask(self, record, out->next_mask + (size_t)i * k);
        return;
    }
}

/* Ask for the lines of a window; one at the ring's end is rare enough to wait for its rest. */
static void fetch(const sk_replay *self, sk__pick pick, size_t bytes) {
    const char *at = sk__replay_record(self, pick.row, pick.slot);
    for (size_t b = 0; b < bytes; b += LINE_BYTES) __builtin_prefetch(at + b);
    __builtin_prefetch(at + bytes - 1);
}

static void copy_all(sk_replay *self, int n) {
    size_t window = (size_t)self->p.n_step * self->stride + self->action_at; /* with obs and mask behind it */
    int    ahead = window < AHEAD_BYTES ? (int)(AHEAD_BYTES / window) : 1;
    if (ahead > AHEAD_MAX) ahead = AHEAD_MAX;
    if (window > AHEAD_BYTES) window = AHEAD_BYTES;
    for (int i = 0; i < ahead && i < n; i++) fetch(self, self->pick[i], window);
    for (int i = 0; i < n; i++) {
        if (i + ahead < n) fetch(self, self->pick[i + ahead], window);
        copy_window(self, i, self->pick[i]);
    }
}

sk_status sk_replay_draw(sk_replay *self, int n, double beta, const sk_batch **ret_batch, sk_error *reterr) {
    SK_ASSERT(self && ret_batch);
    if (n < 1 || n > self->p.max_draw)
        return SK_FAIL(reterr, SK_EINVAL, "replay: a draw of %d, wanted 1 to %d", n, self->p.max_draw);
    if (self->p.prioritized && !(beta >= 0.0 && isfinite(beta)))
        return SK_FAIL(reterr, SK_EINVAL, "replay: beta %g, wanted at least 0", beta);
    if (self->n_drawable == 0) return SK_FAIL(reterr, SK_EINVAL, "replay: there is nothing to draw from");
    if (self->tree) choose_by_priority(self, n, beta);
    else choose_uniform(self, n);
    self->n_draws++;
    self->n_picked = n;
    copy_all(self, n);
    self->out.shape.n_rows = n;
    *ret_batch = &self->out;
    return SK_OK;
}

/* ---- priorities ---- */

sk_status sk_replay_set_priorities(sk_replay *self, const float *td_error, int n, sk_error *reterr) {
    SK_ASSERT(self && td_error);
    if (!self->tree) return SK_OK;
    if (n != self->n_picked)
        return SK_FAIL(reterr, SK_EINVAL, "replay: priorities for %d transitions, the last draw had %d", n,
                       self->n_picked);
    for (int i = 0; i < n; i++)
        if (!isfinite(td_error[i]) || td_error[i] == 0.0f)
            return SK_FAIL(reterr, SK_ENUMERIC, "replay: the error of drawn transition %d is %g, wanted a number other "
                           "than 0", i, (double)td_error[i]);
    int     n_set = 0;
    int64_t oldest = self->n_added - sk__replay_n_kept(self);
    for (int i = 0; i < n; i++) {
        const sk__pick *pick = &self->pick[i];
        size_t          at = sk__replay_at(self, pick->row, pick->slot);
        if (pick->step < oldest || !(self->drawable[at / 64] >> (at % 64) & 1)) continue; /* gone since */
        double leaf = pow(fabs((double)td_error[i]) + PRIORITY_EPS, self->p.alpha);
        self->leaf[n_set] = (int64_t)at;
        self->number[n_set++] = leaf;
        if (leaf > self->priority_max) self->priority_max = leaf;
    }
    sk_sum_tree_set_many(self->tree, self->leaf, self->number, n_set, self->leaf_scratch);
    return SK_OK;
}
