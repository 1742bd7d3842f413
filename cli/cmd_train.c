/* skiff train: one training run from a config file. */
#include "cli/args.h"
#include "cli/build_text.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/exit_code.h"
#include "cli/interrupt.h"
#include "core/base/config.h"
#include "rl/run_dir.h"
#include "rl/train.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct trainer {
    /* as asked for */
    const char *file; /* NULL: the run folder's config.yaml */
    const char *overrides[SK_POSITIONAL_MAX];
    int n_overrides;
    const char *run_dir, *init_from;
    bool resume, json;
    char *command; /* how the run was started            */
    /* at work */
    sk_console *console;
    sk_config *cfg;
    char *config_text;
    sk_run_dir *dir;
    bool started; /* the first report came              */
} trainer;

static void deinit(trainer *self) {
    if (self->console) sk_console_attach(self->console, NULL);
    sk_run_dir_destroy(&self->dir);
    sk_config_destroy(&self->cfg);
    sk_console_destroy(&self->console);
    free(self->config_text);
    free(self->command);
}

/* ---- the command line ---- */
/* The command as it can be typed again: words with anything unusual in them in quotes. */
static char *command_text(int argc, char **argv) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out) return NULL;
    fputs("skiff", out);
    for (int i = 0; i < argc; i++) {
        static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%";
        bool plain = argv[i][0] && argv[i][strspn(argv[i], safe)] == '\0';
        fputs(plain ? " " : " '", out);
        for (const char *s = argv[i]; *s; s++) fputs(*s == '\'' ? "'\\''" : (char[]){*s, '\0'}, out);
        if (!plain) fputc('\'', out);
    }
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

/* key=value is an override, unless it is a file's name. */
static bool is_override(const char *word) { return strchr(word, '=') && access(word, F_OK) != 0; }

static int usage_error(const sk_args *args, const char *message) {
    fprintf(stderr, "%s\nusage: %s\n", message, args->usage);
    return SK_EXIT_USAGE;
}

static int parse(trainer *self, int argc, char **argv) {
    sk_arg options[] = {
        {"--run-dir", SK_ARG_TEXT, &self->run_dir, 0, 0, "where the run is kept (runs/<config>_<date>)"},
        {"--resume", SK_ARG_FLAG, &self->resume, 0, 0, "go on from the newest checkpoint in --run-dir"},
        {"--init-from", SK_ARG_TEXT, &self->init_from, 0, 0,
         "a policy or checkpoint whose parameters to start with"},
        {"--json", SK_ARG_FLAG, &self->json, 0, 0, "progress and result as JSON lines on stdout"},
    };
    sk_args args = {
        .usage = "skiff train FILE.yaml [key.path=value ...] [--run-dir DIR] [--resume] [--init-from PATH] "
                 "[--json]\n       skiff train --run-dir DIR --resume [key.path=value ...]",
        .args = options,
        .n_args = SK_COUNT(options),
        .n_max = SK_POSITIONAL_MAX};
    int code = sk_args_parse(&args, argc, argv);
    if (code != SK_ARGS_GO) return code;
    for (int i = 0; i < args.n_positional; i++) {
        const char *word = args.positional[i];
        if (is_override(word))
            self->overrides[self->n_overrides++] = word;
        else if (!self->file)
            self->file = word;
        else
            return usage_error(&args, "wanted one config file, then overrides like training.lr=1e-3");
    }
    if (self->resume && !self->run_dir)
        return usage_error(&args, "--resume needs --run-dir, the folder of the run");
    if (!self->file && !self->resume) return usage_error(&args, "wanted a config file");
    if (self->resume && self->init_from)
        return usage_error(
            &args, "--init-from starts a new run and --resume goes on with an old one: wanted one of them");
    if (self->init_from && access(self->init_from, R_OK) != 0) {
        fprintf(stderr, "--init-from %s: %s\n", self->init_from, strerror(errno));
        return SK_EXIT_USAGE;
    }
    self->command = command_text(argc, argv);
    return SK_ARGS_GO;
}

/* ---- before the run ---- */
static sk_status open_config(trainer *self, sk_error *reterr) {
    char path[4096];
    int size = snprintf(path, sizeof path, "%s/config.yaml", self->run_dir ? self->run_dir : "");
    if (size < 0 || (size_t)size >= sizeof path)
        return SK_FAIL(reterr, SK_EINVAL, "the name of the run folder is too long");
    const char *file = self->file ? self->file : path;
    SK_TRY(sk_config_open(file, self->overrides, self->n_overrides, &self->cfg, reterr));
    return sk_train_resolve(self->cfg, &self->config_text, reterr);
}

/* The run's folder is named after the config file: cartpole_ppo. */
static sk_status open_folder(trainer *self, sk_error *reterr) {
    char stem[128] = "run";
    const char *slash = self->file ? strrchr(self->file, '/') : NULL;
    if (self->file) snprintf(stem, sizeof stem, "%s", slash ? slash + 1 : self->file);
    char *dot = strrchr(stem, '.');
    if (dot && dot != stem) *dot = '\0';
    sk_run_dir_params params = {.path = self->run_dir, .stem = stem, .resume = self->resume};
    SK_TRY(sk_run_dir_create(&params, &self->dir, reterr));
    sk_console_attach(self->console, self->dir);
    return SK_OK;
}

static int fail(trainer *self, int code, const sk_error *err) {
    sk_console_fail(self->console, "%s", err->msg);
    return code;
}

/* ---- the run ---- */
/* A file of the run folder that cannot be written is no reason to lose the training: it is told, and the exit
 * code says so in the end. */
static void tell(trainer *self, sk_status status, const sk_error *err) {
    if (status != SK_OK) sk_console_fail(self->console, "%s", err->msg);
}

static void on_progress(void *user, const sk_train_progress *progress) {
    trainer *self = user;
    sk_error err = {0};
    char *line = NULL;
    self->started = true;
    tell(self, sk_run_dir_begin(self->dir, self->config_text, &err), &err);
    sk_status status = sk_metrics_json(progress->metrics, &line, &err);
    tell(self, status, &err);
    if (status == SK_OK) {
        tell(self, sk_run_dir_report(self->dir, progress->metrics, line, &err), &err);
        if (progress->config->logging.csv)
            tell(self, sk_run_dir_report_csv(self->dir, progress->metrics, &err), &err);
        if (progress->config->logging.tensorboard)
            tell(self, sk_run_dir_report_events(self->dir, progress->metrics, &err), &err);
        sk_console_json(self->console, "report", line);
    }
    free(line);
    sk_console_progress(self->console, progress);
}

static void on_waiting(void *user, const sk_train_waiting *waiting) {
    sk_console_waiting(((trainer *)user)->console, waiting);
}

/* Result to the folder, to programs and to people. */
static int finish(trainer *self, const sk_train_result *result) {
    sk_error err = {0};
    char *text = NULL;
    const sk_metrics *m = &result->metrics;
    tell(self, sk_run_dir_begin(self->dir, self->config_text, &err), &err);
    sk_status status = sk_run_result_json(result, self->command, &text, &err);
    tell(self, status, &err);
    if (status == SK_OK) {
        tell(self, sk_run_dir_finish(self->dir, text, &err), &err);
        sk_console_json(self->console, "result", text);
    }
    free(text);
    bool evaluated = m->present[SK_METRIC_EVAL_EPISODES], missed = result->goal_named && !result->goal_met;
    if (evaluated)
        sk_console_say(self->console, "evaluation: return %.4g +- %.3g over %.0f episodes",
                       m->value[SK_METRIC_EVAL_RETURN_MEAN], m->value[SK_METRIC_EVAL_RETURN_STD],
                       m->value[SK_METRIC_EVAL_EPISODES]);
    sk_console_say(self->console, "stopped: %s%s; %.2f s, kept in %s", result->stop_reason,
                   missed ? " (no goal met)" : "", result->wall_s, sk_run_dir_path(self->dir));
    if (result->kind == SK_STOP_INTERRUPTED) return SK_EXIT_INTERRUPTED;
    if (status != SK_OK || sk_run_dir_n_failed(self->dir) || sk_console_n_failed(self->console))
        return SK_EXIT_FAILED;
    return missed ? SK_EXIT_GOAL : SK_EXIT_DONE;
}

static int train(trainer *self, const volatile int *interrupted) {
    sk_error err = {0};
    sk_status status = open_config(self, &err);
    if (status != SK_OK) return fail(self, sk_exit_code_of_input(status), &err);
    status = open_folder(self, &err);
    if (status != SK_OK)
        return fail(self, status == SK_EIO ? SK_EXIT_FAILED : sk_exit_code_of_input(status), &err);
    sk_console_say(self->console, "%s", self->command);
    /* A run that goes on keeps its old config until it is known that the new one fits. */
    if (!self->resume) tell(self, sk_run_dir_begin(self->dir, self->config_text, &err), &err);

    sk_train_result result = {0};
    sk_train_params params = {.cfg = self->cfg,
                              .run_dir = sk_run_dir_path(self->dir),
                              .resume = self->resume,
                              .init_from = self->init_from,
                              .interrupted = interrupted,
                              .build = sk_build_text(),
                              .on_progress = on_progress,
                              .on_waiting = on_waiting,
                              .user = self};
    status = sk_train_run(&params, &result, &err);
    if (status == SK_OK) return finish(self, &result);
    bool failed_later = self->started || status == SK_EIO || status == SK_EDEAD || status == SK_ETIMEOUT;
    int code = status == SK_EINTERRUPTED ? SK_EXIT_INTERRUPTED : SK_EXIT_FAILED;
    return fail(self, status == SK_ECONFIG || !failed_later ? sk_exit_code_of_input(status) : code, &err);
}

int sk_cmd_train(int argc, char **argv) {
    trainer self = {0};
    sk_error err = {0};
    int code = parse(&self, argc, argv);
    if (code == SK_ARGS_GO && !self.command) {
        fprintf(stderr, "out of memory\n");
        code = SK_EXIT_FAILED;
    }
    if (code == SK_ARGS_GO && sk_console_create(self.json, &self.console, &err) != SK_OK) {
        fprintf(stderr, "%s\n", err.msg);
        code = SK_EXIT_FAILED;
    }
    if (code == SK_ARGS_GO)
        code = train(&self, sk_interrupt_install(
                                "\ninterrupted: ends after this iteration, with a checkpoint; once more "
                                "ends it at once\n"));
    deinit(&self);
    return code;
}
