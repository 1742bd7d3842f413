/* A driver to be ended in hard ways. Creates two process actors, prints its workers' pids on one line, and
 * then, as its argument says:  wait: sleeps until it is killed   exit: ends without destroying anything call:
 * the same in the middle of a call */
#include "tests/runtime/probe_classes.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int give_up(const sk_error *err) {
    fprintf(stderr, "driver_probe: %s\n", err->msg);
    return 1;
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "wait";
    sk_runtime_params params = {
        .classes = probe_classes, .n_classes = probe_n_classes, .worker_path = probe_worker_path()};
    sk_runtime *rt = NULL;
    sk_actor *actors[2] = {NULL, NULL};
    sk_error err = {0};
    if (sk_runtime_create(&params, &rt, &err) != SK_OK) return give_up(&err);
    for (int i = 0; i < 2; i++)
        if (sk_actor_create(rt, "probe", i ? "probe-1" : "probe-0", SK_PLACE_PROCESS, (sk_bytes){0}, 60000,
                            &actors[i], &err) != SK_OK)
            return give_up(&err);
    printf("%d %d\n", sk_actor_pid(actors[0]), sk_actor_pid(actors[1]));
    fflush(stdout);
    if (strcmp(mode, "exit") == 0) exit(0);
    if (strcmp(mode, "call") == 0) {
        int32_t ms = 60000;
        sk_future *future = NULL;
        if (sk_actor_call(actors[0], PROBE_SLEEP, (sk_bytes){&ms, sizeof ms}, &future, &err) != SK_OK)
            return give_up(&err);
        if (sk_future_wait(future, 60000, NULL, &err) != SK_OK) return give_up(&err);
    }
    for (;;) pause();
}
