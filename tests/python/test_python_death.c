/* A Python process that dies between two requests: whoever sees it first, its end is what is told. */
#include "rl/env.h"
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROWS = 2, OBS = 4 };

/* The one child of this process that runs Python. */
static int find_child(void) {
    char  path[64], line[256];
    FILE *file;
    int   found = 0, pid;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
    cr_assert_not_null(file = fopen(path, "r"));
    while (fscanf(file, "%d", &pid) == 1) {
        snprintf(path, sizeof path, "/proc/%d/comm", pid);
        FILE *comm = fopen(path, "r");
        if (comm && fgets(line, sizeof line, comm) && strncmp(line, "python", 6) == 0) found = pid;
        if (comm) fclose(comm);
    }
    fclose(file);
    return found;
}

/* Until it has ended with all its threads; it is left to be reaped by who started it. */
static void await_end(int pid) {
    siginfo_t info;
    cr_assert_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
}

Test(python_death, seen_by_a_reset_is_told_by_the_next_step, .timeout = 120) {
    char        python[4096];
    const char *root = getenv("SKIFF_SOURCE_DIR"), *names[] = {"skiff.python"}, *values[] = {python};
    snprintf(python, sizeof python, "%s/.cache/python-test/bin/python", root ? root : ".");
    if (access(python, X_OK) != 0) cr_skip_test("there is no Gymnasium in .cache/python-test");
    sk_env_params params = {
        .name = "gymnasium:CartPole-v1", .n_config = 1, .config_names = names, .config_values = values};
    sk_env  *env = NULL;
    sk_error err = {0};
    cr_assert_eq(sk_env_create(&params, &env, &err), SK_OK, "%s", err.msg);
    const sk_env_api *api = sk_env_api_get(env);
    void             *self = NULL;
    char              text[512];
    float             obs[ROWS * OBS], reward[ROWS];
    uint8_t           flags[4][ROWS] = {{0}};
    sk_env_slot       action[ROWS];
    memset(action, 0, sizeof action);
    cr_assert_eq(api->create(sk_env_config_get(env), ROWS, &self, text, sizeof text), 0, "%s", text);
    sk_env_io io = {.struct_size = sizeof io, .action = action, .obs = obs, .reward = reward, .terminated = flags[0],
                    .truncated = flags[1], .active = flags[2], .failed = flags[3]};
    for (int i = 0; i < ROWS; i++) cr_assert_eq(api->reset(self, i, NULL, obs + i * OBS, NULL), 0);
    cr_assert_eq(api->step(self, 0, ROWS, &io), 0, "%s", api->last_error(self));

    int pid = find_child();
    cr_assert_gt(pid, 0);
    kill(pid, SIGKILL);
    await_end(pid);
    cr_assert_eq(api->reset(self, 0, NULL, obs, NULL), 0, "%s", api->last_error(self)); /* in a new process */
    cr_assert_neq(api->step(self, 0, ROWS, &io), 0, "row 1 was not reset there");
    cr_assert(strstr(api->last_error(self), "was killed by signal 9 (SIGKILL)"), "%s", api->last_error(self));

    for (int i = 0; i < ROWS; i++) cr_assert_eq(api->reset(self, i, NULL, obs + i * OBS, NULL), 0);
    cr_assert_eq(api->step(self, 0, ROWS, &io), 0, "%s", api->last_error(self));
    api->destroy(self);
    sk_env_destroy(&env);
}
