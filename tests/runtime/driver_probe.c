/* A driver to be ended in hard ways: driver_probe MODE FOLDER. Creates two process actors, an object in its store and one
 * on the disk (in FOLDER, which also gets the workers' logs), prints its workers' pids on one line, and then, by MODE:
 * wait: sleeps until it is killed   exit: ends without destroying anything   call: waits in a call that takes long
 * busy: makes and takes tasks until it is killed */
#include "tests/runtime/probe_module.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATIENCE_MS = 60000, OBJECT_BYTES = 3 << 20 };

static void check(sk_status status, const sk_error *err) {
    if (status == SK_OK) return;
    fprintf(stderr, "driver_probe: %s\n", err->msg);
    exit(1);
}

static void stay_busy(sk_runtime *rt) {
    sk_error err = {0};
    int64_t  size = 200000;
    sk_arg   arg = sk_by_value(&size, sizeof size);
    sk_task  task = {.function = "probe.big", .args = &arg, .n_args = 1};
    for (;;) {
        sk_ref refs[16];
        for (int i = 0; i < 16; i++) check(sk_submit(rt, &task, &refs[i], &err), &err);
        check(sk_get_all(rt, refs, 16, PATIENCE_MS, &err), &err);
        for (int i = 0; i < 16; i++) sk_release(rt, &refs[i]);
    }
}

int main(int argc, char **argv) {
    static const sk_module *const modules[] = {&probe_module};
    const char       *mode = argc > 1 ? argv[1] : "wait", *folder = argc > 2 ? argv[2] : NULL;
    sk_runtime_params params = {.modules = modules, .n_modules = 1, .worker_has_modules = true,
                                .worker_path = probe_worker_path(), .store_bytes = 4 << 20,
                                .spill_dir = folder, .log_dir = folder};
    sk_runtime       *rt = NULL;
    sk_actor          actors[2];
    sk_ref            objects[2];
    sk_error          err = {0};
    int               pids[2];
    void             *data;
    check(sk_runtime_create(&params, &rt, &err), &err);
    for (int i = 0; i < 2; i++) {
        sk_actor_params actor = {.class_name = "probe", .placement = SK_PLACE_PROCESS};
        check(sk_actor_create(rt, &actor, &actors[i], &err), &err);
        check(sk_actor_wait(rt, actors[i], PATIENCE_MS, &err), &err);
        check(sk_actor_check(rt, actors[i], &pids[i], &err), &err);
        check(sk_put_begin(rt, OBJECT_BYTES, &objects[i], &data, &err), &err);
        probe_fill(data, OBJECT_BYTES);
        check(sk_put_end(rt, objects[i], &err), &err);
    }
    printf("%d %d\n", pids[0], pids[1]);
    fflush(stdout);
    if (strcmp(mode, "exit") == 0) exit(0);
    if (strcmp(mode, "busy") == 0) stay_busy(rt);
    if (strcmp(mode, "call") == 0) {
        int32_t   ms = PATIENCE_MS;
        sk_arg    arg = sk_by_value(&ms, sizeof ms);
        sk_method method = {.method = PROBE_SLEEP, .args = &arg, .n_args = 1};
        sk_ref    ref;
        check(sk_actor_call(rt, actors[0], &method, &ref, &err), &err);
        check(sk_get(rt, ref, PATIENCE_MS, NULL, &err), &err);
    }
    for (;;) pause();
}
