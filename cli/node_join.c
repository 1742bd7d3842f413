#include "cli/node_join.h"
#include "cli/build_text.h"
#include "cli/exit_code.h"
#include "cli/interrupt.h"
#include "core/base/log.h"
#include "core/runtime/node.h"
#include "core/transport/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RESOURCES_MAX = 48, NAME_SIZE = 32, KEY_IS_THERE = -1 };

/* "licence=2" */
static bool read_resource(const char *text, char ret_name[NAME_SIZE], double *ret_amount) {
    const char *equals = strchr(text, '=');
    char       *end = NULL;
    if (!equals || equals == text || (size_t)(equals - text) >= NAME_SIZE) return false;
    snprintf(ret_name, NAME_SIZE, "%.*s", (int)(equals - text), text);
    *ret_amount = strtod(equals + 1, &end);
    return end != equals + 1 && !*end;
}

static void say(void *user, sk_log_level level, const char *line) {
    char      at[16] = "";
    time_t    now = time(NULL);
    struct tm here;
    (void)user;
    if (level < SK_LOG_INFO) return;
    if (localtime_r(&now, &here)) strftime(at, sizeof at, "%H:%M:%S ", &here);
    fprintf(stderr, "%s%s\n", at, line);
}

static int exit_code_of(sk_status status) {
    switch (status) {
    case SK_OK: return SK_EXIT_DONE;
    case SK_EINTERRUPTED: return SK_EXIT_INTERRUPTED;
    case SK_EINVAL: return SK_EXIT_USAGE;
    default: return SK_EXIT_FAILED;
    }
}

/* A key that is not there is the command line's to correct: found out before there is a wait. */
static int check_key(const sk_node_join *params) {
    sk_cluster_key key = {0};
    sk_error       err = {0};
    if (params->plain) return KEY_IS_THERE;
    sk_status status = sk_cluster_key_find(params->key, SK_KEY_MUST_EXIST, &key, NULL, &err);
    sk_cluster_key_forget(&key);
    if (status == SK_OK) return KEY_IS_THERE;
    fprintf(stderr, "%s\n", err.msg);
    return sk_exit_code_of_input(status);
}

typedef struct given {
    int         n;
    sk_resource rows[RESOURCES_MAX];
    char        names[RESOURCES_MAX][NAME_SIZE];
} given;

static void add(given *self, const char *name, double amount) {
    self->rows[self->n++] = (sk_resource){name, amount};
}

/* False: said on standard error. */
static bool read_resources(const sk_node_join *params, given *self) {
    if (params->cpus >= 0) add(self, "cpu", (double)params->cpus);
    if (params->gpus >= 0) add(self, "gpu", (double)params->gpus);
    if (params->memory >= 0) add(self, "memory", (double)params->memory);
    for (int i = 0; i < params->n_resources; i++) {
        double amount = 0;
        if (self->n == RESOURCES_MAX || !read_resource(params->resources[i], self->names[i], &amount)) {
            fprintf(stderr, "--resource %s: wanted NAME=AMOUNT, at most %d times\n", params->resources[i],
                    RESOURCES_MAX - 3);
            return false;
        }
        add(self, self->names[i], amount);
    }
    return true;
}

int sk_node_join_run(const sk_node_join *params) {
    given     resources = {0};
    int       code = check_key(params);
    if (code != KEY_IS_THERE) return code;
    if (!read_resources(params, &resources)) return SK_EXIT_USAGE;
    sk_node_params node = {.endpoint = params->endpoint,
                           .key_path = params->key,
                           .plain = params->plain,
                           .name = params->name,
                           .build = params->build ? params->build : sk_build_text(),
                           .worker_path = params->worker,
                           .resources = resources.rows,
                           .n_resources = resources.n,
                           .store_bytes = (size_t)params->store,
                           .log_dir = params->log_dir,
                           .wait_s = (double)params->wait_s,
                           .rejoin = params->rejoin,
                           .interrupted = sk_interrupt_install("\ninterrupted: tells the program and ends\n")};
    sk_error       err = {0};
    sk_log_set_sink(say, NULL);
    sk_status status = sk_node_run(&node, &err);
    sk_log_set_sink(NULL, NULL);
    if (status != SK_OK) fprintf(stderr, "%s\n", err.msg);
    return exit_code_of(status);
}
