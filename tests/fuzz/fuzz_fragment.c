/* A fragment that a runner on another host answers with. The first byte says what kind of environment it is of. */
#include "rl/fragment.h"
#include "tests/fuzz/fuzz.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_STEPS = 3, N_ROWS = 5, FIRST_ROW = 2, OWN_ROWS = 2, RUNNER = 1, UNTOUCHED = 0xa5 };

/* Choices with masks and integers to observe; or floats for both. */
static const sk_policy_spaces kinds[2] = {
    {.obs_dim = 3, .n_runs = 2, .runs = {{.cols = 1}, {.cols = 2, .choices = 4, .low = -1}}, .action_slots = 2,
     .mask_size = 5, .n_parts = 2, .part_n = {2, 3}},
    {.obs_dim = 2, .action_slots = 1},
};

/* Everything that was taken is what a learner can work with. */
static void check_taken(const sk_policy_spaces *s, const sk_batch *b) {
    const sk_fragment *head = &b->fragment[RUNNER];
    FUZZ_CHECK(head->n_episodes >= 0 && head->n_episodes <= N_STEPS * OWN_ROWS && head->n_made >= 1);
    FUZZ_CHECK(isfinite(head->env_s) && isfinite(head->inference_s));
    for (int i = 0; i < head->n_episodes; i++) {
        const sk_batch_episode *ep = &b->episode[N_STEPS * FIRST_ROW + i];
        FUZZ_CHECK(ep->step >= 0 && ep->step < N_STEPS && ep->row >= FIRST_ROW && ep->row < FIRST_ROW + OWN_ROWS);
        FUZZ_CHECK(ep->length > 0 && (!ep->valid || isfinite(ep->ret)));
    }
    for (int t = 0; t < N_STEPS; t++)
        for (int at = t * N_ROWS + FIRST_ROW; at < t * N_ROWS + FIRST_ROW + OWN_ROWS; at++) {
            FUZZ_CHECK(b->terminated[at] <= 1 && b->truncated[at] <= 1 && b->valid[at] <= 1 && isfinite(b->reward[at]));
            for (int p = 0; p < s->n_parts; p++)
                FUZZ_CHECK(b->action[at * s->action_slots + p].i >= 0 &&
                           b->action[at * s->action_slots + p].i < s->part_n[p]);
            FUZZ_CHECK(isfinite(b->obs[at * s->obs_dim]));
        }
}

/* Rows of others. */
static void check_left_alone(const sk_batch *b) {
    for (int t = 0; t < N_STEPS; t++)
        for (int row = 0; row < N_ROWS; row++)
            if (row < FIRST_ROW || row >= FIRST_ROW + OWN_ROWS)
                FUZZ_CHECK(b->terminated[t * N_ROWS + row] == UNTOUCHED && b->valid[t * N_ROWS + row] == UNTOUCHED);
    FUZZ_CHECK(b->fragment[0].n_made == (int64_t)0xa5a5a5a5a5a5a5a5);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    const sk_policy_spaces *s = &kinds[data[0] & 1];
    sk_batch_shape          shape = {.n_steps = N_STEPS, .n_rows = N_ROWS, .obs_dim = s->obs_dim,
                                     .action_slots = s->action_slots, .mask_size = s->mask_size, .n_fragments = 2,
                                     .keep_final_obs = s->n_parts == 0};
    sk_fragment_wanted      wanted = {.spaces = s, .policy_version = 7, .first_step = 96, .env_seed = 21,
                                      .runner = RUNNER, .first_row = FIRST_ROW, .n_rows = OWN_ROWS};
    size_t   n = size - 1, bytes = (sk_batch_bytes(&shape) + 63) / 64 * 64;
    uint8_t *exact = malloc(n ? n : 1), *memory = aligned_alloc(64, bytes), *before = malloc(bytes);
    FUZZ_CHECK(exact && memory && before);
    if (n) memcpy(exact, data + 1, n);
    memset(memory, UNTOUCHED, bytes);
    memcpy(before, memory, bytes);
    sk_batch batch;
    sk_batch_map(&shape, memory, &batch);
    sk_error  err = {0};
    sk_status status = sk_fragment_scatter(&wanted, (sk_bytes){exact, n}, &batch, &err);
    fuzz_check_status(status, &err);
    if (status == SK_OK) check_taken(s, &batch);
    else FUZZ_CHECK(memcmp(memory, before, bytes) == 0);
    check_left_alone(&batch);
    free(exact), free(memory), free(before);
    return 0;
}
