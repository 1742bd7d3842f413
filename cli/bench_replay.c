/* bench_replay: row 3 of the peers' table: one step added to a full replay of a million and 256 transitions drawn, on
 * one core; prioritised, their priorities set as well. */
#include "cli/bench.h"
#include "core/base/clock.h"
#include "rl/replay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_STEPS = 1000000, N_DRAWN = 256, N_FILL = 1000, EPISODE = 1000, MEASURE_MS = 200 };

typedef struct task {
    const char *row;
    int         obs_dim, action_slots, prioritized;
} task;

/* The next n_steps of a stream whose episodes are cut after EPISODE steps; the observation behind them begins the
 * next. */
static void make_up(sk_batch *b, int n_steps, int64_t first) {
    size_t o = (size_t)b->shape.obs_dim, n = (size_t)n_steps;
    memcpy(b->obs, b->obs + n * o, o * sizeof *b->obs);
    for (size_t i = o; i < (n + 1) * o; i++) b->obs[i] = 1e-3f * (float)((first * (int64_t)o + (int64_t)i) % 4093);
    for (size_t t = 0; t < n; t++) {
        b->reward[t] = (float)t;
        b->valid[t] = 1;
        b->truncated[t] = (first + (int64_t)t) % EPISODE == EPISODE - 1;
    }
}

static sk_status add(sk_replay *replay, sk_batch *b, int n_steps, int64_t *n_added, sk_error *reterr) {
    make_up(b, n_steps, *n_added);
    *n_added += n_steps;
    return sk_replay_add(replay, b, reterr);
}

/* A step in, 256 transitions out, again and again; microseconds of one such round. */
static sk_status time_rounds(sk_replay *replay, const task *what, sk_batch *one, int64_t *n_added, double *ret_us,
                             sk_error *reterr) {
    static float td_error[N_DRAWN];
    int64_t      n = 0;
    double       start_s = sk_clock_now_s(), now_s = start_s;
    while (now_s - start_s < MEASURE_MS * 1e-3) {
        for (int i = 0; i < 100; i++, n++) {
            const sk_batch *drawn = NULL;
            SK_TRY(add(replay, one, 1, n_added, reterr));
            SK_TRY(sk_replay_draw(replay, N_DRAWN, 0.4, &drawn, reterr));
            for (int j = 0; what->prioritized && j < N_DRAWN; j++) td_error[j] = 0.1f + drawn->obs[j * what->obs_dim];
            if (what->prioritized) SK_TRY(sk_replay_set_priorities(replay, td_error, N_DRAWN, reterr));
        }
        now_s = sk_clock_now_s();
    }
    *ret_us = (now_s - start_s) / (double)n * 1e6;
    return SK_OK;
}

/* The bytes of one draw copied from one place after another of as much memory [us]. */
static double time_memcpy(const char *from, size_t from_bytes, size_t bytes, char *to) {
    int64_t n = 0;
    size_t  at = 0;
    double  start_s = sk_clock_now_s(), now_s = start_s;
    while (now_s - start_s < 0.1) {
        for (int i = 0; i < 100; i++, n++) {
            memcpy(to, from + at, bytes);
            at = at + 2 * bytes <= from_bytes ? at + bytes : 0;
        }
        now_s = sk_clock_now_s();
    }
    return (now_s - start_s) / (double)n * 1e6;
}

/* Blocks of N_FILL steps and of one. */
static sk_status map_batch(const task *what, int n_steps, void **ret_memory, sk_batch *ret, sk_error *reterr) {
    sk_batch_shape shape = {.n_steps = n_steps, .n_rows = 1, .obs_dim = what->obs_dim,
                            .action_slots = what->action_slots, .n_fragments = 1, .keep_final_obs = 1};
    size_t         bytes = (sk_batch_bytes(&shape) + 63) / 64 * 64;
    *ret_memory = aligned_alloc(64, bytes);
    if (!*ret_memory) return SK_FAIL(reterr, SK_ENOMEM, "bench: no memory");
    memset(*ret_memory, 0, bytes);
    sk_batch_map(&shape, *ret_memory, ret);
    return SK_OK;
}

static sk_status bench_task(const sk_bench *self, const task *what, sk_error *reterr) {
    sk_replay_params params = {.capacity = N_STEPS, .n_rows = 1, .obs_dim = what->obs_dim, .n_step = 1, .gamma = 0.99,
                               .action_slots = what->action_slots, .max_draw = N_DRAWN, .alpha = 0.6, .seed = 1,
                               .prioritized = what->prioritized};
    size_t    bytes = N_DRAWN * (size_t)(2 * what->obs_dim + what->action_slots + 2) * sizeof(float);
    size_t    from_bytes = (size_t)200 << 20;
    char     *from = malloc(from_bytes), *to = malloc(bytes);
    void     *memory[2] = {NULL, NULL};
    sk_batch  fill, one;
    double    us[64], limit[64];
    int64_t   n_added = 0;
    sk_status status = SK_OK;
    SK_AUTO(sk_replay) replay = NULL;
    if (!from || !to) {
        status = SK_FAIL(reterr, SK_ENOMEM, "bench: no memory");
        goto fail;
    }
    memset(from, 1, from_bytes);
    SK_TRY_GOTO(map_batch(what, N_FILL, &memory[0], &fill, reterr));
    SK_TRY_GOTO(map_batch(what, 1, &memory[1], &one, reterr));
    SK_TRY_GOTO(sk_replay_create(&params, &replay, reterr));
    while (n_added < N_STEPS + N_FILL) SK_TRY_GOTO(add(replay, &fill, N_FILL, &n_added, reterr));
    memcpy(one.obs + what->obs_dim, fill.obs + (size_t)N_FILL * (size_t)what->obs_dim,
           (size_t)what->obs_dim * sizeof *one.obs);
    for (int r = 0; r < self->n_repeats; r++) {
        limit[r] = time_memcpy(from, from_bytes, bytes, to);
        SK_TRY_GOTO(time_rounds(replay, what, &one, &n_added, &us[r], reterr));
    }
    char settings[128];
    snprintf(settings, sizeof settings, "a step in, %d of %d transitions out, O %d, S %d, one core; limit: their memcpy",
             N_DRAWN, N_STEPS, what->obs_dim, what->action_slots);
    sk_bench_print(self, &(sk_bench_row){"replay", what->row, "us", sk_bench_median(us, self->n_repeats),
                                         sk_bench_median(limit, self->n_repeats), settings});
fail:
    free(from);
    free(to);
    free(memory[0]);
    free(memory[1]);
    return status;
}

sk_status sk_bench_replay(const sk_bench *self, sk_error *reterr) {
    static const task tasks[] = {{"3 replay uniform", 17, 6, 0}, {"3 replay prioritised", 17, 6, 1},
                                 {"3 replay uniform, humanoid", 348, 17, 0}};
    for (int i = 0; i < SK_COUNT(tasks); i++) SK_TRY(bench_task(self, &tasks[i], reterr));
    return SK_OK;
}
