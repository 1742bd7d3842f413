/* harness: what the runtime's test programs share. Functions fail the test when something goes wrong. */
#ifndef SK_TESTS_RUNTIME_HARNESS_H
#define SK_TESTS_RUNTIME_HARNESS_H
#include "core/base/clock.h"
#include "core/base/log.h"
#include "tests/runtime/probe_classes.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READY_MS 60000 /* patience with starts and answers, on a busy machine and under a sanitizer */
#define HELPER   __attribute__((unused)) static
#define NO_BYTES ((sk_bytes){NULL, 0})

static int n_warnings; /* lines of the log at WARN or above         */
static char last_warning[1024];

HELPER void count_warnings(void *user, sk_log_level level, const char *line) {
    (void)user;
    if (level < SK_LOG_WARN) return;
    n_warnings++;
    snprintf(last_warning, sizeof last_warning, "%s", line);
}

HELPER sk_runtime *start_with(sk_runtime_params params) {
    sk_runtime *rt = NULL;
    sk_error err = {0};
    params.classes = probe_classes;
    params.n_classes = probe_n_classes;
    if (!params.worker_path) params.worker_path = probe_worker_path();
    n_warnings = 0;
    sk_log_set_sink(count_warnings, NULL);
    cr_assert_eq(sk_runtime_create(&params, &rt, &err), SK_OK, "%s", err.msg);
    return rt;
}

HELPER sk_runtime *start(void) { return start_with((sk_runtime_params){.stop_timeout_ms = READY_MS}); }

HELPER sk_actor *make(sk_runtime *rt, const char *name, sk_placement placement) {
    sk_actor *actor = NULL;
    sk_error err = {0};
    cr_assert_eq(sk_actor_create(rt, "probe", name, placement, NO_BYTES, READY_MS, &actor, &err), SK_OK, "%s",
                 err.msg);
    return actor;
}

HELPER sk_future *call(sk_actor *actor, int method, const void *in, size_t size) {
    sk_future *future = NULL;
    sk_error err = {0};
    cr_assert_eq(sk_actor_call(actor, method, (sk_bytes){in, size}, &future, &err), SK_OK, "%s", err.msg);
    return future;
}

HELPER sk_future *call_int(sk_actor *actor, int method, int32_t in) {
    return call(actor, method, &in, sizeof in);
}

HELPER sk_bytes wait_ok(sk_future *future) {
    sk_bytes out = {0};
    sk_error err = {0};
    cr_assert_eq(sk_future_wait(future, READY_MS, &out, &err), SK_OK, "%s", err.msg);
    return out;
}

/* Wait, take the int32_t answer, destroy. */
HELPER int32_t wait_int(sk_future *future) {
    int32_t value;
    sk_bytes out = wait_ok(future);
    cr_assert_eq(out.size, sizeof value);
    memcpy(&value, out.data, sizeof value);
    sk_future_destroy(&future);
    return value;
}

/* Wait for a failure, destroy, and give its text in a static buffer. */
HELPER const char *wait_error(sk_future *future, sk_status wanted) {
    static sk_error err;
    err = (sk_error){0};
    sk_status got = sk_future_wait(future, READY_MS, NULL, &err);
    cr_assert_eq(got, wanted, "wanted %s, got %s: %s", sk_status_text(wanted), sk_status_text(got), err.msg);
    sk_future_destroy(&future);
    return err.msg;
}

HELPER int count_entries(const char *folder) {
    int n = 0;
    DIR *dir = opendir(folder);
    cr_assert_not_null(dir, "%s: %s", folder, strerror(errno));
    while (readdir(dir)) n++;
    closedir(dir);
    return n;
}

/* Entries of /dev/shm, but for those of the test framework itself. */
HELPER int count_shm(void) {
    int n = 0;
    DIR *dir = opendir("/dev/shm");
    struct dirent *entry;
    cr_assert_not_null(dir);
    while ((entry = readdir(dir)))
        if (strncmp(entry->d_name, "bxf", 3) != 0) n++;
    closedir(dir);
    return n;
}

/* Is it gone, or a zombie that only its new parent has still to reap? */
HELPER bool process_has_ended(int pid) {
    char path[64], state = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file) return true;
    bool read_it = fscanf(file, "%*d (%*[^)]) %c", &state) == 1;
    fclose(file);
    return !read_it || state == 'Z' || state == 'X';
}

/* Poll until `pid` has ended; false: it still lives after `patience_ms`. */
HELPER bool wait_until_ended(int pid, int patience_ms) {
    int64_t end_ns = sk_clock_now_ns() + (int64_t)patience_ms * 1000000;
    while (!process_has_ended(pid)) {
        if (sk_clock_now_ns() > end_ns) return false;
        usleep(1000);
    }
    return true;
}

#endif
