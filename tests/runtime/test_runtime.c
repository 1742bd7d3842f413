#include "core/base/log.h"
#include "tests/runtime/probe_classes.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READY_MS 60000 /* patience with starts and answers, on a busy machine and under a sanitizer */

static const sk_placement placements[] = {SK_PLACE_INLINE, SK_PLACE_THREAD, SK_PLACE_PROCESS};
static const char *const placement_names[] = {"inline", "thread", "process"};

static int n_warnings; /* lines of the log at WARN or above */

static void count_warnings(void *user, sk_log_level level, const char *line) {
    (void)user;
    if (level < SK_LOG_WARN) return;
    n_warnings++;
    fprintf(stderr, "log: %s\n", line);
}

static sk_runtime *start(int stop_timeout_ms, const volatile int *interrupted) {
    sk_runtime_params params = {.classes = probe_classes,
                                .n_classes = probe_n_classes,
                                .worker_path = probe_worker_path(),
                                .stop_timeout_ms = stop_timeout_ms,
                                .interrupted = interrupted};
    sk_runtime *rt = NULL;
    sk_error err = {0};
    n_warnings = 0;
    sk_log_set_sink(count_warnings, NULL);
    cr_assert_eq(sk_runtime_create(&params, &rt, &err), SK_OK, "%s", err.msg);
    return rt;
}

static sk_actor *make(sk_runtime *rt, const char *name, sk_placement placement) {
    sk_actor *actor = NULL;
    sk_error err = {0};
    cr_assert_eq(sk_actor_create(rt, "probe", name, placement, (sk_bytes){0}, READY_MS, &actor, &err), SK_OK,
                 "%s", err.msg);
    return actor;
}

static sk_future *call(sk_actor *actor, int method, const void *in, size_t size) {
    sk_future *future = NULL;
    sk_error err = {0};
    cr_assert_eq(sk_actor_call(actor, method, (sk_bytes){in, size}, &future, &err), SK_OK, "%s", err.msg);
    return future;
}

static sk_bytes wait_ok(sk_future *future) {
    sk_bytes out = {0};
    sk_error err = {0};
    cr_assert_eq(sk_future_wait(future, READY_MS, &out, &err), SK_OK, "%s", err.msg);
    return out;
}

static int32_t wait_int(sk_future *future) {
    int32_t value;
    sk_bytes out = wait_ok(future);
    cr_assert_eq(out.size, sizeof value);
    memcpy(&value, out.data, sizeof value);
    sk_future_destroy(&future);
    return value;
}

static int count_entries(const char *folder) {
    int n = 0;
    DIR *dir = opendir(folder);
    cr_assert_not_null(dir, "%s: %s", folder, strerror(errno));
    while (readdir(dir)) n++;
    closedir(dir);
    return n;
}

Test(runtime, echoes_the_same_bytes_in_every_placement) {
    sk_runtime *rt = start(0, NULL);
    size_t sizes[] = {0, 1, 33, 40, 4096, 70001};
    for (int p = 0; p < 3; p++) {
        sk_actor *actor = make(rt, "probe-0", placements[p]);
        for (int s = 0; s < SK_COUNT(sizes); s++) {
            uint8_t *in = malloc(sizes[s] + 1);
            for (size_t i = 0; i < sizes[s]; i++) in[i] = (uint8_t)(i * 7 + (size_t)s);
            sk_future *future = call(actor, PROBE_ECHO, in, sizes[s]);
            sk_bytes out = wait_ok(future);
            cr_assert_eq(out.size, sizes[s], "%s", placement_names[p]);
            cr_assert(sizes[s] == 0 || memcmp(out.data, in, sizes[s]) == 0, "%s, %zu bytes",
                      placement_names[p], sizes[s]);
            sk_future_destroy(&future);
            free(in);
        }
        sk_actor_destroy(&actor);
        cr_assert_null(actor);
    }
    sk_runtime_destroy(&rt);
    cr_assert_null(rt);
    cr_assert_eq(n_warnings, 0);
}

Test(runtime, runs_calls_in_the_order_they_were_made) {
    sk_runtime *rt = start(0, NULL);
    for (int p = 0; p < 3; p++) {
        sk_actor *actor = make(rt, "probe-0", placements[p]);
        sk_future *futures[500];
        sk_error err = {0};
        for (int i = 0; i < 500; i++) futures[i] = call(actor, PROBE_COUNT, NULL, 0);
        cr_assert_eq(sk_future_wait_all(futures, 500, READY_MS, &err), SK_OK, "%s", err.msg);
        for (int i = 0; i < 500; i++) cr_assert_eq(wait_int(futures[i]), i, "%s", placement_names[p]);
        sk_actor_destroy(&actor);
    }
    sk_runtime_destroy(&rt);
}
