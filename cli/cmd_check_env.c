/* skiff check-env: does an environment keep the promises of skiff/env.h? Plays it in several ways with random
 * actions and compares. Exit code 1 if a promise is broken. */
#include "cli/args.h"
#include "cli/check.h"
#include "cli/commands.h"
#include "cli/env_arg.h"
#include "cli/exit_code.h"
#include "rl/json_line.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name, *promise;
    sk_verdict (*run)(sk_checker *);
} checks[] = {
    {"columns", "reset and step write all of their rows and nothing else", sk_check_columns},
    {"numbers", "observations, rewards and metrics are finite", sk_check_numbers},
    {"types", "observations are of the declared types", sk_check_types},
    {"bounds", "observations and rewards are within their bounds", sk_check_bounds},
    {"masks", "every mask leaves a choice", sk_check_masks},
    {"actions", "the most extreme actions do it no harm", sk_check_actions},
    {"reset", "a reset leaves nothing of what was before", sk_check_reset},
    {"determinism", "same seed and actions, same bits", sk_check_determinism},
    {"grouping", "an environment does not depend on its neighbours", sk_check_grouping},
    {"order", "nor on the order in which they are stepped", sk_check_order},
    {"state", "a saved state goes on bit for bit", sk_check_state},
    {"ends", "episodes end, and the host counts their steps", sk_check_ends},
    {"memory", "it does not grow", sk_check_memory},
    {"speed", "64 environments in one thread", sk_check_speed},
    /* Behind "memory": drivers of the graphics change the heap. */
    {"render", "its pictures are of one size and filled", sk_check_render},
};

typedef struct tester {
    sk_checker  check;
    sk_guard   *guard;
    int64_t     timeout_s; /* of each check */
    int         n[3];      /* by verdict    */
    size_t      printed;   /* bytes         */
    char        print[96]; /* the first of them, and in which check */
    const char *print_at;
} tester;

/* What a handler needs to say which check it was. */
static const char *volatile running = "";
static volatile bool as_json;

/* ---- telling ---- */

static void report(tester *self, const char *name, const char *promise, sk_verdict result) {
    static const char *const words[] = {"ok", "FAILED", "skipped"}, *const json_words[] = {"pass", "fail",
                                                                                           "skip"};
    const char *detail = self->check.detail;
    self->n[result]++;
    if (!as_json) {
        printf("%-8s%-12s %s%s%s\n", words[result], name, promise, detail[0] ? ": " : "", detail);
        fflush(stdout);
        return;
    }
    sk_json_line line;
    char        *text;
    sk_json_line_init(&line);
    sk_json_line_text(&line, "check", name);
    sk_json_line_text(&line, "result", json_words[result]);
    sk_json_line_text(&line, "detail", detail);
    if (sk_json_line_finish(&line, &text, NULL) != SK_OK) return;
    puts(text);
    fflush(stdout);
    free(text);
}

static void summarize(const tester *self, const char *env) {
    int n = self->n[0] + self->n[1] + self->n[2];
    if (!as_json) {
        printf("%s: %d checks, %d ok, %d failed, %d skipped\n", env, n, self->n[0], self->n[1], self->n[2]);
        return;
    }
    sk_json_line line;
    char        *text;
    sk_json_line_init(&line);
    sk_json_line_text(&line, "env", env);
    sk_json_line_integer(&line, "passed", self->n[0]);
    sk_json_line_integer(&line, "failed", self->n[1]);
    sk_json_line_integer(&line, "skipped", self->n[2]);
    if (sk_json_line_finish(&line, &text, NULL) != SK_OK) return;
    puts(text);
    free(text);
}

/* In a signal handler: the line of the check that will not come back. */
static void last_words(int out, const char *what) {
    char        line[256] = "";
    const char *parts[] = {as_json ? "{\"check\":\"" : "FAILED  ", running,
                           as_json ? "\",\"result\":\"fail\",\"detail\":\"" : "  ", what,
                           as_json ? "\"}\n" : "\n"};
    for (int i = 0; i < SK_COUNT(parts); i++) strncat(line, parts[i], sizeof line - strlen(line) - 1);
    if (write(out, line, strlen(line)) < 0) _exit(SK_EXIT_FAILED);
}

/* ---- running ---- */

/* Between these two, foreign code runs. */
static void enter(tester *self, const char *name) {
    self->check.detail[0] = '\0';
    running = name;
    sk_guard_begin(self->guard, (int)self->timeout_s);
}

static void leave(tester *self, const char *name) {
    char text[sizeof self->print];
    sk_guard_end(self->guard);
    size_t size = sk_guard_take(self->guard, text, sizeof text);
    if (size && !self->printed) {
        memcpy(self->print, text, sizeof text);
        self->print_at = name;
    }
    self->printed += size;
}

static void check_silence(tester *self) {
    self->check.detail[0] = '\0';
    if (self->printed)
        SK_CHECK_SAY(&self->check,
                     "%zu bytes on standard output or error, wanted none; first in \"%s\": \"%s\"",
                     self->printed, self->print_at, self->print);
    report(self, "silence", "it prints nothing", self->printed ? SK_CHECK_FAIL : SK_CHECK_PASS);
}

static int run_all(tester *self, const sk_args *parsed) {
    SK_AUTO(sk_env) env = NULL;
    sk_error error = {0};
    /* Opening is the first check: it describes the environment twice and looks at every number. */
    enter(self, "description");
    sk_status status = sk_env_arg_open(parsed->positional[0], parsed->n_positional - 1,
                                       parsed->positional + 1, 0, &env, &error);
    leave(self, "description");
    if (status == SK_EINVAL || status == SK_ENOTFOUND) return sk_env_arg_fail(&error);
    if (status != SK_OK) SK_CHECK_SAY(&self->check, "%s", error.msg);
    report(self, "description", "its spaces make sense", status == SK_OK ? SK_CHECK_PASS : SK_CHECK_FAIL);
    if (status == SK_OK) {
        self->check.env = env;
        self->check.info = sk_env_info_get(env);
        self->check.spec = sk_env_spec_get(env);
        for (int i = 0; i < SK_COUNT(checks); i++) {
            if (checks[i].run == sk_check_render && !(sk_env_api_get(env)->caps & SK_ENV_CAP_RENDER)) continue;
            enter(self, checks[i].name);
            sk_verdict result = checks[i].run(&self->check);
            leave(self, checks[i].name);
            report(self, checks[i].name, checks[i].promise, result);
        }
        check_silence(self);
    }
    summarize(self, env ? sk_env_info_get(env)->name : parsed->positional[0]);
    return self->n[SK_CHECK_FAIL] ? SK_EXIT_FAILED : SK_EXIT_DONE;
}

int sk_cmd_check_env(int argc, char **argv) {
    tester  self = {.timeout_s = 300};
    int64_t seed = 0, n_steps = 500;
    bool    json = false;
    sk_arg  args[] = {{"--seed", SK_ARG_INT, &seed, 0, INT64_MAX, "of environments and actions (0)"},
                      {"--steps", SK_ARG_INT, &n_steps, 1, INT32_MAX, "of each check (500)"},
                      {"--timeout", SK_ARG_INT, &self.timeout_s, 1, 86400, "of each check in seconds (300)"},
                      {"--json", SK_ARG_FLAG, &json, 0, 0, "one JSON object per check"}};
    sk_args parsed = {
        .usage = "skiff check-env NAME|PLUGIN.so[:NAME]|gymnasium:NAME [CONFIG=VALUE ...] [--seed S] "
                 "[--steps N] [--timeout S] [--json]",
        .args = args,
        .n_args = SK_COUNT(args),
        .n_min = 1,
        .n_max = SK_POSITIONAL_MAX};
    int code = sk_args_parse(&parsed, argc, argv);
    if (code != SK_ARGS_GO) return code;
    sk_error error = {0};
    if (sk_guard_create(last_words, &self.guard, &error) != SK_OK) {
        fprintf(stderr, "%s\n", error.msg);
        return SK_EXIT_FAILED;
    }
    as_json = json;
    self.check.seed = (uint64_t)seed;
    self.check.n_steps = n_steps;
    code = run_all(&self, &parsed);
    sk_guard_destroy(&self.guard);
    return code;
}
