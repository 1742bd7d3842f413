/* harness: what the runtime's test programs share. Functions fail the test when something goes wrong. */
#ifndef SK_TESTS_RUNTIME_HARNESS_H
#define SK_TESTS_RUNTIME_HARNESS_H
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/runtime/driver.h"
#include "tests/runtime/probe_module.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef READY_MS
#define READY_MS 60000 /* patience with starts and answers, on a busy machine and under a sanitizer */
#endif
#define HELPER   __attribute__((unused)) static

/* Poll until `cond` holds; fails after READY_MS. */
#define AWAIT(cond)                                                                                                    \
    do {                                                                                                               \
        int64_t await_end_ns_ = sk_clock_now_ns() + (int64_t)READY_MS * 1000000;                                       \
        while (nudge(), !(cond) && sk_clock_now_ns() < await_end_ns_) usleep(500);                                     \
        cr_assert((cond), "this did not come to be: %s", #cond);                                                       \
    } while (0)

/* The runtime of this process writes its board anew; else it does so once a second or so, or when it is idle not at all. */
static sk_runtime *the_runtime;
__attribute__((unused)) static void nudge(void) {
    if (!the_runtime) return;
    sk__driver_lock(the_runtime->driver);
    sk__driver_drain(the_runtime->driver);
    sk__watch_refresh(the_runtime->driver);
    sk__driver_unlock(the_runtime->driver);
}

/* ---- the log --------------------------------------------------------------------------------------------------- */
static _Atomic int n_warnings; /* lines of the log at WARN or above */
static char        last_warning[1024];

HELPER void count_warnings(void *user, sk_log_level level, const char *line) {
    (void)user;
    if (level < SK_LOG_WARN) return;
    snprintf(last_warning, sizeof last_warning, "%s", line);
    n_warnings++;
}

/* ---- a runtime --------------------------------------------------------------------------------------------------- */
/* With 4 cpu, so that a test sees the same on every machine, unless `params` says something else. */
HELPER sk_runtime *start_with(sk_runtime_params params) {
    static const sk_module *const modules[] = {&probe_module};
    static const sk_resource      four = {"cpu", 4};
    sk_runtime                   *rt = NULL;
    sk_error                      err = {0};
    params.modules = modules;
    params.n_modules = SK_COUNT(modules);
    params.worker_has_modules = true;
    if (!params.worker_path) params.worker_path = probe_worker_path();
    if (!params.stop_timeout_ms) params.stop_timeout_ms = READY_MS;
    if (!params.resources) {
        params.resources = &four;
        params.n_resources = 1;
    }
    n_warnings = 0;
    sk_log_set_sink(count_warnings, NULL);
    cr_assert_eq(sk_runtime_create(&params, &rt, &err), SK_OK, "%s", err.msg);
    the_runtime = rt;
    return rt;
}

HELPER sk_runtime *start(void) { return start_with((sk_runtime_params){0}); }

/* What it shows of itself; until leave. */
static sk_board_view view;
HELPER const sk_board *look(void) {
    sk_error err = {0};
    if (!view.board) cr_assert_eq(sk_board_open(getpid(), &view, &err), SK_OK, "%s", err.msg);
    nudge();
    return view.board;
}
HELPER const volatile sk_board_counters *seen(void) { return &look()->counters; }

/* Ends it. */
HELPER void leave(sk_runtime *rt) {
    if (view.board) sk_board_close(&view);
    view = (sk_board_view){0};
    the_runtime = NULL;
    sk_runtime_destroy(&rt);
}

/* Ends it, and what it had to say must have been nothing. */
HELPER void finish(sk_runtime *rt) {
    leave(rt);
    cr_assert_eq(n_warnings, 0, "%s", last_warning);
}

/* ---- tasks ----------------------------------------------------------------------------------------------------------- */
HELPER sk_ref submit(sk_runtime *rt, sk_task task) {
    sk_ref   ref = {0};
    sk_error err = {0};
    cr_assert_eq(sk_submit(rt, &task, &ref, &err), SK_OK, "%s: %s", task.function, err.msg);
    return ref;
}

HELPER sk_ref run(sk_runtime *rt, const char *function, const void *data, size_t size) {
    sk_arg arg = sk_by_value(data, size);
    return submit(rt, (sk_task){.function = function, .args = &arg, .n_args = 1});
}
HELPER sk_ref run_int(sk_runtime *rt, const char *function, int32_t value) {
    return run(rt, function, &value, sizeof value);
}
HELPER sk_ref run_long(sk_runtime *rt, const char *function, int64_t value) {
    return run(rt, function, &value, sizeof value);
}
HELPER sk_ref run_on(sk_runtime *rt, const char *function, sk_ref ref) {
    sk_arg arg = sk_by_ref(ref);
    return submit(rt, (sk_task){.function = function, .args = &arg, .n_args = 1});
}

/* The submission must be refused; gives its text in a static buffer. */
HELPER const char *refused(sk_runtime *rt, sk_task task, sk_status wanted) {
    static sk_error err;
    sk_ref          ref = {0};
    err = (sk_error){0};
    sk_status got = sk_submit(rt, &task, &ref, &err);
    cr_assert_eq(got, wanted, "wanted %s, got %s: %s", sk_status_text(wanted), sk_status_text(got), err.msg);
    cr_assert_eq(ref.id, 0);
    return err.msg;
}

/* ---- answers --------------------------------------------------------------------------------------------------------- */
HELPER sk_bytes value_of(sk_runtime *rt, sk_ref ref) {
    sk_bytes value = {0};
    sk_error err = {0};
    cr_assert_eq(sk_get(rt, ref, READY_MS, &value, &err), SK_OK, "%s", err.msg);
    return value;
}

HELPER void drop(sk_runtime *rt, sk_ref ref) { sk_release(rt, &ref); }

/* Wait, check the size, copy the value, release. */
HELPER void take(sk_runtime *rt, sk_ref ref, void *ret_value, size_t size) {
    sk_bytes value = value_of(rt, ref);
    cr_assert_eq(value.size, size, "got %zu bytes, wanted %zu", value.size, size);
    if (size) memcpy(ret_value, value.data, size);
    sk_release(rt, &ref);
    cr_assert_eq(ref.id, 0);
}
HELPER int32_t take_int(sk_runtime *rt, sk_ref ref) {
    int32_t value = 0;
    take(rt, ref, &value, sizeof value);
    return value;
}
HELPER int64_t take_long(sk_runtime *rt, sk_ref ref) {
    int64_t value = 0;
    take(rt, ref, &value, sizeof value);
    return value;
}

/* Wait for a failure, release, and give its text in a static buffer. */
HELPER const char *take_error(sk_runtime *rt, sk_ref ref, sk_status wanted) {
    static sk_error err;
    err = (sk_error){0};
    sk_status got = sk_get(rt, ref, READY_MS, NULL, &err);
    cr_assert_eq(got, wanted, "wanted %s, got %s: %s", sk_status_text(wanted), sk_status_text(got), err.msg);
    cr_assert(got == SK_OK || err.msg[0], "%s, without a word", sk_status_text(got));
    sk_release(rt, &ref);
    return err.msg;
}

HELPER bool has_ended(sk_runtime *rt, sk_ref ref) { return sk_get(rt, ref, 0, NULL, NULL) != SK_ETIMEOUT; }

HELPER sk_ref put(sk_runtime *rt, size_t size) {
    sk_ref   ref = {0};
    sk_error err = {0};
    void    *data = NULL;
    cr_assert_eq(sk_put_begin(rt, size, &ref, &data, &err), SK_OK, "%s", err.msg);
    probe_fill(data, size);
    cr_assert_eq(sk_put_end(rt, ref, &err), SK_OK, "%s", err.msg);
    return ref;
}

/* ---- actors ---------------------------------------------------------------------------------------------------------- */
HELPER sk_actor order(sk_runtime *rt, sk_actor_params params) {
    sk_actor actor = {0};
    sk_error err = {0};
    cr_assert_eq(sk_actor_create(rt, &params, &actor, &err), SK_OK, "%s", err.msg);
    return actor;
}
HELPER sk_actor make_with(sk_runtime *rt, sk_actor_params params) {
    sk_actor actor = order(rt, params);
    sk_error err = {0};
    cr_assert_eq(sk_actor_wait(rt, actor, READY_MS, &err), SK_OK, "%s", err.msg);
    return actor;
}
HELPER sk_actor make(sk_runtime *rt, const char *name, sk_placement placement) {
    return make_with(rt, (sk_actor_params){.class_name = "probe", .name = name, .placement = placement});
}
HELPER int pid_of(sk_runtime *rt, sk_actor actor) {
    int      pid = 0;
    sk_error err = {0};
    cr_assert_eq(sk_actor_check(rt, actor, &pid, &err), SK_OK, "%s", err.msg);
    return pid;
}

HELPER sk_ref call(sk_runtime *rt, sk_actor actor, int method, const void *in, size_t size) {
    sk_ref    ref = {0};
    sk_error  err = {0};
    sk_arg    arg = sk_by_value(in, size);
    sk_method params = {.method = method, .args = &arg, .n_args = 1};
    cr_assert_eq(sk_actor_call(rt, actor, &params, &ref, &err), SK_OK, "%s", err.msg);
    return ref;
}
HELPER sk_ref call_int(sk_runtime *rt, sk_actor actor, int method, int32_t value) {
    return call(rt, actor, method, &value, sizeof value);
}
HELPER sk_ref call_long(sk_runtime *rt, sk_actor actor, int method, int64_t value) {
    return call(rt, actor, method, &value, sizeof value);
}

/* ---- the machine ------------------------------------------------------------------------------------------------------ */
HELPER int count_entries(const char *folder) {
    int  n = 0;
    DIR *dir = opendir(folder);
    cr_assert_not_null(dir, "%s: %s", folder, strerror(errno));
    while (readdir(dir)) n++;
    closedir(dir);
    return n;
}

/* Entries of /dev/shm, but for those of the test framework itself. */
HELPER int count_shm(void) {
    int            n = 0;
    DIR           *dir = opendir("/dev/shm");
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

/* A folder of the test's own; removed with everything in it by remove_folder. */
HELPER const char *make_folder(void) {
    static char path[200];
    const char *base = getenv("TMPDIR");
    snprintf(path, sizeof path, "%.150s/skiff-runtime-XXXXXX", base && *base ? base : "/tmp");
    cr_assert_not_null(mkdtemp(path), "%s: %s", path, strerror(errno));
    return path;
}
HELPER int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)st, (void)kind, (void)at;
    return remove(path);
}
HELPER void remove_folder(const char *path) { cr_assert_eq(nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0); }

/* A file's size, -1: there is none. */
HELPER long file_size(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 ? (long)st.st_size : -1;
}

#endif
