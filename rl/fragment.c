#include "rl/fragment.h"

#include "core/base/numbers.h"

#include <math.h>
#include <string.h>

sk_batch_shape sk_fragment_shape(const sk_batch_shape *whole, int n_rows) {
    sk_batch_shape own = *whole;
    own.n_rows = n_rows;
    own.n_fragments = 1;
    return own;
}

size_t sk_fragment_bytes(const sk_batch_shape *own, int n_episodes) {
    size_t before = sk_batch_bytes_before_episodes(own);
    if (before == 0 || n_episodes < 0 || n_episodes > (int64_t)own->n_steps * own->n_rows) return 0;
    return before + (size_t)n_episodes * sizeof(sk_batch_episode);
}

/* A look at one: its block, mapped. Only n_episodes of its list are there. */
typedef struct view {
    const sk_fragment_wanted *wanted;
    sk_batch                  b;
    sk_fragment               head;
} view;

/* ---- looking --------------------------------------------------------------------------------------------- */

static sk_status check_head(view *v, sk_bytes bytes, const sk_batch_shape *own, sk_error *reterr) {
    const sk_fragment_wanted *w = v->wanted;
    const sk_fragment        *h = &v->head;
    size_t                    least = sk_fragment_bytes(own, 0);
    if (bytes.size < least)
        return SK_FAIL(reterr, SK_ECORRUPT, "%zu bytes, wanted at least %zu", bytes.size, least);
    memcpy(&v->head, bytes.data, sizeof v->head);
    if (h->layout_hash != sk_batch_hash(own))
        return SK_FAIL(reterr, SK_ECORRUPT, "another layout (%016llx) than the learner's (%016llx)",
                       (unsigned long long)h->layout_hash, (unsigned long long)sk_batch_hash(own));
    if (h->policy_version != w->policy_version || h->first_step != w->first_step)
        return SK_FAIL(reterr, SK_ECORRUPT, "of policy %lld at step %lld, wanted policy %lld at step %lld",
                       (long long)h->policy_version, (long long)h->first_step, (long long)w->policy_version,
                       (long long)w->first_step);
    if (h->runner != w->runner || h->first_row != w->first_row || h->n_rows != w->n_rows || h->env_seed != w->env_seed)
        return SK_FAIL(reterr, SK_ECORRUPT, "of runner-%d, rows %d and %d more, wanted runner-%d, rows %d and %d more",
                       h->runner, h->first_row, h->n_rows, w->runner, w->first_row, w->n_rows);
    size_t whole = sk_fragment_bytes(own, h->n_episodes);
    if (bytes.size != whole)
        return SK_FAIL(reterr, SK_ECORRUPT, "%zu bytes with %d episodes, wanted %zu", bytes.size, h->n_episodes, whole);
    if (h->n_made < 1 || !(h->env_s >= 0.0 && h->env_s < 1e9) || !(h->inference_s >= 0.0 && h->inference_s < 1e9))
        return SK_FAIL(reterr, SK_ECORRUPT, "made %lld times, %g s in environments, %g s in the policy",
                       (long long)h->n_made, h->env_s, h->inference_s);
    return SK_OK;
}

/* In the order they happened: by step, then by row; each row ends at most once in a step. */
static sk_status check_episodes(const view *v, sk_error *reterr) {
    const sk_fragment_wanted *w = v->wanted;
    for (int i = 0; i < v->head.n_episodes; i++) {
        const sk_batch_episode *ep = &v->b.episode[i], *last = i ? ep - 1 : NULL;
        int is_inside = ep->step >= 0 && ep->step < v->b.shape.n_steps && ep->row >= w->first_row &&
                        ep->row - w->first_row < w->n_rows;
        int is_later = !last || ep->step > last->step || (ep->step == last->step && ep->row > last->row);
        int makes_sense = ep->length >= 1 && (ep->valid == 0 || (ep->valid == 1 && isfinite(ep->ret)));
        if (is_inside && is_later && makes_sense) continue;
        return SK_FAIL(reterr, SK_ECORRUPT, "episode %d of its list: step %d, row %d, length %d, valid %d, return %g%s",
                       i, ep->step, ep->row, ep->length, ep->valid, ep->ret, is_later ? "" : "; out of order");
    }
    return SK_OK;
}

/* All three columns of flags in turn. */
static sk_status check_flags(const view *v, sk_error *reterr) {
    const uint8_t *const columns[] = {v->b.terminated, v->b.truncated, v->b.valid};
    static const char *const names[] = {"terminated", "truncated", "valid"};
    size_t n = (size_t)v->b.shape.n_steps * (size_t)v->b.shape.n_rows;
    for (int c = 0; c < SK_COUNT(columns); c++) {
        unsigned any = 0;
        for (size_t i = 0; i < n; i++) any |= columns[c][i];
        if (any > 1) return SK_FAIL(reterr, SK_ECORRUPT, "a flag \"%s\" that is neither 0 nor 1", names[c]);
    }
    return SK_OK;
}

/* Columns of integers within their range, all others finite. `whole_numbers` 0: only the others. */
static int any_bad_obs(const sk_policy_spaces *s, const float *obs, size_t n_rows, int whole_numbers) {
    size_t dim = (size_t)s->obs_dim;
    int    bad = 0;
    if (s->n_runs == 0) return sk_any_nonfinite(obs, n_rows * dim);
    for (size_t row = 0; row < n_rows && !bad; row++, obs += dim) {
        const float *at = obs;
        for (int k = 0; k < s->n_runs; at += s->runs[k++].cols) {
            const sk_encode_run *run = &s->runs[k];
            if (run->choices == 0) bad |= sk_any_nonfinite(at, (size_t)run->cols);
            for (int i = 0; run->choices > 0 && whole_numbers && i < run->cols; i++) {
                int32_t number;
                memcpy(&number, &at[i], sizeof number);
                bad |= (uint32_t)number - (uint32_t)run->low >= (uint32_t)run->choices;
            }
        }
    }
    return bad;
}

/* Choices that exist; numbers that are some. */
static int any_bad_action(const sk_policy_spaces *s, const sk_env_slot *action, size_t n_rows) {
    uint32_t bad = 0;
    size_t   slots = (size_t)s->action_slots;
    for (size_t i = 0; s->n_parts == 0 && i < n_rows * slots; i++) bad |= action[i].f != action[i].f;
    for (size_t row = 0; row < n_rows; row++)
        for (int p = 0; p < s->n_parts; p++)
            bad |= (uint32_t)action[row * slots + (size_t)p].i >= (uint32_t)s->part_n[p];
    return bad != 0;
}

/* What an environment's byte can be: 0 to 255. */
static int any_bad_mask(const float *mask, size_t n) {
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++) bad |= !(mask[i] >= 0.0f && mask[i] <= 255.0f);
    return bad != 0;
}

static sk_status check_columns(const view *v, sk_error *reterr) {
    const sk_batch         *b = &v->b;
    const sk_policy_spaces *s = v->wanted->spaces;
    size_t rows = (size_t)b->shape.n_rows, n = rows * (size_t)b->shape.n_steps;
    SK_TRY(check_flags(v, reterr));
    if (any_bad_obs(s, b->obs, n + rows, 1))
        return SK_FAIL(reterr, SK_ECORRUPT, "an observation that is no finite number or out of its range");
    if (b->final_obs && any_bad_obs(s, b->final_obs, n, 0))
        return SK_FAIL(reterr, SK_ECORRUPT, "a final observation that is no finite number");
    if (sk_any_nonfinite(b->reward, n)) return SK_FAIL(reterr, SK_ECORRUPT, "a reward that is no finite number");
    if (any_bad_action(s, b->action, n)) return SK_FAIL(reterr, SK_ECORRUPT, "an action that does not exist");
    if (b->mask && any_bad_mask(b->mask, (n + rows) * (size_t)b->shape.mask_size))
        return SK_FAIL(reterr, SK_ECORRUPT, "a mask that is none");
    return SK_OK;
}

static sk_status look(view *v, sk_bytes bytes, const sk_batch_shape *own, sk_error *reterr) {
    SK_TRY(check_head(v, bytes, own, reterr));
    sk_batch_map(own, (void *)(uintptr_t)bytes.data, &v->b);
    SK_TRY(check_episodes(v, reterr));
    return check_columns(v, reterr);
}

/* ---- dealing out ----------------------------------------------------------------------------------------- */

/* A column's rows at all `n_times`, of row_bytes each. */
static void copy_rows(const view *v, const sk_batch *whole, void *to, const void *from, int n_times, size_t row_bytes) {
    size_t part = (size_t)v->wanted->n_rows * row_bytes, stride = (size_t)whole->shape.n_rows * row_bytes;
    char  *at = (char *)to + (size_t)v->wanted->first_row * row_bytes;
    for (int t = 0; part > 0 && t < n_times; t++, at += stride) memcpy(at, (const char *)from + (size_t)t * part, part);
}

static void deal_out(const view *v, sk_batch *whole) {
    const sk_batch       *b = &v->b;
    const sk_batch_shape *s = &whole->shape;
    const int             n = s->n_steps;
    const size_t          obs = (size_t)s->obs_dim * sizeof *b->obs;
    copy_rows(v, whole, whole->obs, b->obs, n + 1, obs);
    if (s->mask_size) copy_rows(v, whole, whole->mask, b->mask, n + 1, (size_t)s->mask_size * sizeof *b->mask);
    copy_rows(v, whole, whole->action, b->action, n, (size_t)s->action_slots * sizeof *b->action);
    copy_rows(v, whole, whole->logp, b->logp, n, sizeof *b->logp);
    copy_rows(v, whole, whole->value, b->value, n, sizeof *b->value);
    copy_rows(v, whole, whole->reward, b->reward, n, sizeof *b->reward);
    copy_rows(v, whole, whole->final_value, b->final_value, n, sizeof *b->final_value);
    copy_rows(v, whole, whole->bootstrap, b->bootstrap, 1, sizeof *b->bootstrap);
    copy_rows(v, whole, whole->terminated, b->terminated, n, 1);
    copy_rows(v, whole, whole->truncated, b->truncated, n, 1);
    copy_rows(v, whole, whole->valid, b->valid, n, 1);
    if (s->keep_final_obs) copy_rows(v, whole, whole->final_obs, b->final_obs, n, obs);
    memcpy(whole->episode + (ptrdiff_t)n * v->wanted->first_row, b->episode,
           (size_t)v->head.n_episodes * sizeof *b->episode);
    whole->fragment[v->wanted->runner] = v->head;
    whole->fragment[v->wanted->runner].layout_hash = sk_batch_hash(s);
}

sk_status sk_fragment_scatter(const sk_fragment_wanted *w, sk_bytes bytes, sk_batch *whole, sk_error *reterr) {
    view           v = {.wanted = w};
    sk_batch_shape own = sk_fragment_shape(&whole->shape, w->n_rows);
    SK_ASSERT(w->runner >= 0 && w->runner < whole->shape.n_fragments && w->n_rows > 0 && w->first_row >= 0 &&
              w->first_row + w->n_rows <= whole->shape.n_rows && w->spaces->obs_dim == own.obs_dim &&
              w->spaces->action_slots == own.action_slots);
    sk_status status = look(&v, bytes, &own, reterr);
    if (status == SK_OK) deal_out(&v, whole);
    else sk_error_prefix(reterr, "runner-%d sent a fragment that is none", w->runner);
    return status;
}
