/* skiff cluster slurm, outside of an allocation: checks the run, hands it to Slurm as a job that runs the same command
 * inside, and follows it: Slurm's words about the job and the job's own, on standard error. */
#include "cli/cluster.h"
#include "cli/exit_code.h"
#include "core/base/clock.h"
#include "core/base/config.h"
#include "core/base/text.h"
#include "core/transport/keys.h"
#include "rl/run_dir.h"
#include "rl/train.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    SUBMIT_MS = 60000,
    LOOK_MS = 250,       /* at the log                                                              */
    ASK_SOON_MS = 2000,  /* between two questions to Slurm, when the job waits, or begins or ends   */
    ASK_LATE_MS = 10000, /* and else                                                                */
    TAIL_BYTES = 4096,   /* of its log that --follow begins with                                    */
    SBATCH_WORDS = 64
};

static int fail(int code, const sk_error *err) {
    fprintf(stderr, "error: %s\n", err->msg);
    return code;
}

/* ---- checks ---- */
/* What a run comes to, as the head will run it; also how many cpus a host needs so that all runners find room on the
 * fewest hosts there may be: as --nodes says, or when one is lost. */
static sk_status check_config(const sk_cluster_run *run, double *ret_n_cpus, sk_error *reterr) {
    const char *overrides[SK_CLUSTER_OVERRIDES_MAX + SK_CLUSTER_SETTINGS + 1];
    char n_hosts[48], path[SK_CLUSTER_PATH], runners[32], cpus[32];
    int n = 0;
    snprintf(n_hosts, sizeof n_hosts, "cluster.num_hosts=%" PRId64, run->n_nodes);
    overrides[n++] = n_hosts;
    for (int i = 0; i < run->n_overrides; i++) overrides[n++] = run->overrides[i];
    n += sk_cluster_add_settings(overrides + n, "cluster.bind=tcp://127.0.0.1:0");
    int size = snprintf(path, sizeof path, "%s/config.yaml", run->run_dir ? run->run_dir : "");
    if (size < 0 || (size_t)size >= sizeof path)
        return SK_FAIL(reterr, SK_EINVAL, "the name of the run folder is too long");
    SK_AUTO(sk_config) cfg = NULL;
    SK_TRY(sk_config_open(run->file ? run->file : path, overrides, n, &cfg, reterr));
    SK_TRY(sk_config_peek(cfg, "env_runners.num_env_runners", "2", runners, sizeof runners, reterr));
    SK_TRY(sk_config_peek(cfg, "env_runners.num_cpus_per_env_runner", "1", cpus, sizeof cpus, reterr));
    SK_TRY(sk_train_resolve(cfg, NULL, reterr));
    int64_t n_left = run->n_nodes_min < run->n_nodes || run->n_nodes == 1 ? run->n_nodes_min : run->n_nodes - 1;
    *ret_n_cpus = (double)((strtoll(runners, NULL, 10) + n_left - 1) / n_left) * strtod(cpus, NULL);
    return SK_OK;
}

static sk_status check_key(const char *path, sk_error *reterr) {
    sk_cluster_key key;
    char where[512];
    SK_TRY(sk_cluster_key_find(path, SK_KEY_MAKE, &key, where, reterr));
    sk_cluster_key_forget(&key);
    return SK_OK;
}

static void find_stem(const char *file, char ret_stem[128]) {
    const char *slash = file ? strrchr(file, '/') : NULL;
    snprintf(ret_stem, 128, "%s", file ? slash ? slash + 1 : file : "run");
    char *dot = strrchr(ret_stem, '.');
    if (dot && dot != ret_stem) *dot = '\0';
}

/* The folder is made now, so that every start of the job finds the same one. It is not kept open: the head locks it. */
static sk_status make_folder(const sk_cluster_run *run, const char *stem, char ret_path[SK_CLUSTER_PATH],
                             sk_error *reterr) {
    SK_AUTO(sk_run_dir) dir = NULL;
    sk_run_dir_params params = {.path = run->run_dir, .stem = stem, .resume = run->resume};
    SK_TRY(sk_run_dir_create(&params, &dir, reterr));
    char full[PATH_MAX];
    if (!realpath(sk_run_dir_path(dir), full))
        return SK_FAIL(reterr, SK_EIO, "%s: %s", sk_run_dir_path(dir), strerror(errno));
    /* in the name of a log \ and line breaks mean something to Slurm, and there is no way around them */
    if (strpbrk(full, "\\\n"))
        return SK_FAIL(reterr, SK_EINVAL, "the run folder %s has a backslash or a line break in its name", full);
    if (snprintf(ret_path, SK_CLUSTER_PATH, "%s", full) >= SK_CLUSTER_PATH)
        return SK_FAIL(reterr, SK_EINVAL, "the name of the run folder is too long");
    return SK_OK;
}

/* Nothing came of it: a folder that was made for it goes. */
static void remove_folder(const char *folder) {
    static const char *const names[] = {"metrics.jsonl", "log.txt"};
    char path[SK_CLUSTER_PATH + 32];
    for (int i = 0; i < SK_COUNT(names); i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(folder); /* not if there is anything else */
}

/* ---- what is submitted ---- */
/* A word as the shell takes it back. */
static void put_word(FILE *out, const char *word) {
    fputc('\'', out);
    for (; *word; word++) fputs(*word == '\'' ? "'\\''" : (char[]){*word, '\0'}, out);
    fputs("' ", out);
}

static void put_option(FILE *out, const char *name, const char *value) {
    if (!value) return;
    put_word(out, name);
    put_word(out, value);
}

/* The script: this command again, inside. The shell hands SIGTERM on to it, outlives it, and asks for a new start where
 * it could not itself: when it was killed (its own codes are below 128, but 130). */
static sk_status write_script(const sk_cluster_run *run, const char *folder, char **ret_text, sk_error *reterr) {
    char program[SK_CLUSTER_PATH], file[PATH_MAX];
    size_t size = 0;
    SK_TRY(sk_process_program(program, reterr));
    if (run->file && !realpath(run->file, file))
        return SK_FAIL(reterr, SK_ENOTFOUND, "%s: %s", run->file, strerror(errno));
    FILE *out = open_memstream(ret_text, &size);
    if (!out) return SK_FAIL(reterr, SK_ENOMEM, "no memory for the job's script");
    fputs("#!/bin/sh\ntrap 'kill -TERM \"$child\"' TERM\n", out);
    put_word(out, program);
    fputs("cluster child $$ ", out);
    put_word(out, program);
    fputs("cluster slurm ", out);
    put_option(out, "--key", run->key_path);
    put_option(out, "--bind", run->bind);
    fputs("-- train ", out);
    if (run->file) put_word(out, file);
    for (int i = 0; i < run->n_overrides; i++) put_word(out, run->overrides[i]);
    put_option(out, "--run-dir", folder);
    put_option(out, "--init-from", run->init_from);
    if (run->resume) fputs("--resume ", out);
    fputs("&\nchild=$!\n"
          "while :; do\n    wait \"$child\"\n    code=$?\n    kill -0 \"$child\" 2>/dev/null || break\ndone\n"
          "if [ \"$code\" -gt 130 ] && [ \"${SLURM_RESTART_COUNT:-0}\" -lt 10 ]; then\n"
          "    scontrol requeue \"$SLURM_JOB_ID\"\nfi\nexit \"$code\"\n", out);
    if (fclose(out) != 0) {
        free(*ret_text);
        return SK_FAIL(reterr, SK_ENOMEM, "no memory for the job's script");
    }
    return SK_OK;
}

/* In names of files % begins a pattern of Slurm's. */
static char *log_option(const char *folder) {
    size_t size = 0;
    char *text = NULL;
    FILE *out = open_memstream(&text, &size);
    if (!out) return NULL;
    fputs("--output=", out);
    for (const char *s = folder; *s; s++) fputs(*s == '%' ? "%%" : (char[]){*s, '\0'}, out);
    fputs("/slurm.log", out);
    if (fclose(out) == 0) return text;
    free(text);
    return NULL;
}

/* What sbatch is told. `own` are ours to free, the rest is not. */
typedef struct submission {
    char *own[8];
    int n_own, n;
    const char *words[SBATCH_WORDS];
} submission;

/* Takes ownership of `text`, which is NULL if there was no memory for it. */
static bool add_own(submission *self, char *text) {
    if (text) self->words[self->n++] = self->own[self->n_own++] = text;
    return text != NULL;
}

/* A job goes on without hosts that Slurm loses (--no-kill), and is told a minute before its time is over. What the user
 * says comes last and wins. */
static sk_status describe(submission *self, const sk_cluster_run *run, const char *stem, const char *folder,
                          double n_cpus, sk_error *reterr) {
    static const char *const always[] = {"sbatch",  "--parsable", "--requeue", "--open-mode=append", "--no-kill",
                                         "--signal=B:TERM@60"};
    for (int i = 0; i < SK_COUNT(always); i++) self->words[self->n++] = always[i];
    bool good = add_own(self, sk_text_new("--job-name=skiff-%s", stem)) &&
                add_own(self, sk_text_new("--nodes=%s", run->nodes)) &&
                add_own(self, sk_text_new("--cpus-per-task=%.0f", n_cpus > 1.0 ? ceil(n_cpus) : 1.0)) &&
                add_own(self, log_option(folder)) &&
                (!run->partition || add_own(self, sk_text_new("--partition=%s", run->partition))) &&
                (!run->time || add_own(self, sk_text_new("--time=%s", run->time)));
    for (int i = 0; i < run->n_sbatch && self->n < SBATCH_WORDS - 1; i++) self->words[self->n++] = run->sbatch[i];
    self->words[self->n] = NULL;
    return good ? SK_OK : SK_FAIL(reterr, SK_ENOMEM, "no memory for what sbatch is told");
}

static sk_status submit(const sk_cluster_run *run, const char *stem, const char *folder, double n_cpus,
                        char ret_job[32], sk_error *reterr) {
    submission what = {0};
    sk_process_said said = {0};
    char *script = NULL;
    sk_status status = describe(&what, run, stem, folder, n_cpus, reterr);
    if (status == SK_OK) status = write_script(run, folder, &script, reterr);
    if (status == SK_OK) status = sk_process_run(what.words, script, SUBMIT_MS, &said, reterr);
    for (int i = 0; i < what.n_own; i++) free(what.own[i]);
    free(script);
    SK_TRY(status);
    if (*said.err) fputs(said.err, stderr); /* warnings, and why not */
    int n = (int)strspn(said.out, "0123456789"); /* "12" or "12;cluster" */
    if (said.code != 0 || n == 0 || n > 31)
        status = SK_FAIL(reterr, SK_EIO, "sbatch did not take the job%s",
                         said.code == 127 ? ": is Slurm installed here?" : "");
    else snprintf(ret_job, 32, "%.*s", n, said.out);
    sk_process_said_deinit(&said);
    return status;
}

/* ---- following ---- */
static volatile sig_atomic_t stopped;
static void on_signal(int signal_number) { stopped = signal_number; }

typedef struct follower {
    const char *job;
    char log[SK_CLUSTER_PATH];
    off_t at; /* of the log; -1: its last lines */
    sk_slurm_job was;
    bool asked, slurm_is_away;
    char last; /* character of the log that was shown */
} follower;

/* Show what is new in the log; true: the head's keeper, which says little, was among those who spoke. */
static bool show_log(follower *self) {
    char block[8192 + 1];
    bool keeper = false;
    int fd = *self->log ? open(self->log, O_RDONLY | O_CLOEXEC) : -1;
    struct stat st;
    if (fd < 0) return false;
    if (self->at < 0) self->at = fstat(fd, &st) == 0 && st.st_size > TAIL_BYTES ? st.st_size - TAIL_BYTES : 0;
    for (ssize_t n; (n = pread(fd, block, sizeof block - 1, self->at)) > 0; self->at += n) {
        fwrite(block, 1, (size_t)n, stderr);
        self->last = block[n - 1];
        block[n] = '\0';
        keeper |= strstr(block, " cluster: ") != NULL;
    }
    close(fd);
    return keeper;
}

SK_PRINTF(2, 3) static void tell(follower *self, const char *fmt, ...) {
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (self->last && self->last != '\n') fputc('\n', stderr);
    self->last = '\n';
    sk_cluster_say("%s", text);
}

/* Ask Slurm, and tell what has changed. SK_ENOTFOUND: it knows no such job. */
static sk_status ask(follower *self, sk_slurm_job *ret_job) {
    sk_error err = {0};
    sk_status status = sk_slurm_job_ask(self->job, ret_job, &err);
    bool is_away = status != SK_OK && status != SK_ENOTFOUND;
    if (is_away && !self->slurm_is_away) tell(self, "Slurm does not answer (%s); it is asked again", err.msg);
    self->slurm_is_away = is_away;
    SK_TRY(status);
    bool waits = strcmp(ret_job->state, "PENDING") == 0;
    if (strcmp(ret_job->reason, "None") == 0) strcpy(ret_job->reason, "new");
    if (sk_slurm_job_has_ended(ret_job)) return SK_OK;
    if (!self->asked || strcmp(self->was.state, ret_job->state) != 0 || self->was.restarts != ret_job->restarts ||
        (waits && strcmp(self->was.reason, ret_job->reason) != 0) || strcmp(self->was.hosts, ret_job->hosts) != 0)
        tell(self, "job %s is %s%s%s%s%s%s", self->job, ret_job->state, waits ? " (" : "", waits ? ret_job->reason : "",
             waits ? ")" : "", !waits && *ret_job->hosts ? " on " : "", waits ? "" : ret_job->hosts);
    if (!*self->log) memcpy(self->log, ret_job->log, sizeof self->log);
    self->was = *ret_job;
    self->asked = true;
    return SK_OK;
}

static int code_of(const sk_slurm_job *job) {
    if (strcmp(job->state, "COMPLETED") == 0) return SK_EXIT_DONE;
    if (strcmp(job->state, "CANCELLED") == 0) return SK_EXIT_INTERRUPTED;
    return job->exit_code > 0 && job->exit_code < 256 ? job->exit_code : SK_EXIT_FAILED;
}

static int leave(follower *self) {
    tell(self, "job %s goes on; to follow it again: skiff cluster slurm --follow %s; to end it: scancel %s", self->job,
         self->job, self->job);
    return SK_EXIT_INTERRUPTED;
}

/* Look at the log and at the job until that has ended, or a signal stops us. */
static sk_status look(follower *self, sk_slurm_job *ret_job) {
    int64_t asked_ns = -(int64_t)ASK_LATE_MS * 1000000, lively_ns = 0; /* something happens until then */
    while (!stopped) {
        int64_t now_ns = sk_clock_now_ns();
        if (show_log(self)) lively_ns = now_ns + (int64_t)ASK_LATE_MS * 1000000;
        int64_t pause_ms = now_ns < lively_ns ? ASK_SOON_MS : ASK_LATE_MS;
        if (now_ns - asked_ns >= pause_ms * 1000000) {
            sk_status status = ask(self, ret_job);
            if (status == SK_ENOTFOUND || (status == SK_OK && sk_slurm_job_has_ended(ret_job))) return status;
            asked_ns = sk_clock_now_ns();
            if (status == SK_OK && strcmp(ret_job->state, "RUNNING") != 0)
                lively_ns = asked_ns + (int64_t)ASK_LATE_MS * 1000000;
        }
        nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000L}, NULL);
    }
    return SK_EINTERRUPTED;
}

/* Until the job has ended: its exit code. */
static int follow(follower *self) {
    sk_slurm_job job;
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    sk_status status = look(self, &job);
    if (status == SK_EINTERRUPTED) return leave(self);
    if (status == SK_ENOTFOUND) {
        tell(self, "error: Slurm knows no job %s", self->job);
        return SK_EXIT_FAILED;
    }
    show_log(self);
    int code = code_of(&job);
    tell(self, "job %s has ended: %s, exit code %d", self->job, job.state, code);
    return code;
}

int sk_cluster_follow(const char *job) {
    follower self = {.job = job, .at = -1};
    if (!*job || job[strspn(job, "0123456789")]) {
        fprintf(stderr, "--follow: got \"%s\", wanted the number of a job\n", job);
        return SK_EXIT_USAGE;
    }
    return follow(&self);
}

int sk_cluster_submit(const sk_cluster_run *run) {
    sk_error err = {0};
    double n_cpus = 1;
    char stem[128], folder[SK_CLUSTER_PATH], job[32];
    find_stem(run->file, stem);
    sk_status status = check_config(run, &n_cpus, &err);
    if (status == SK_OK) status = check_key(run->key_path, &err);
    if (status == SK_OK) status = make_folder(run, stem, folder, &err);
    if (status != SK_OK) return fail(status == SK_EIO ? SK_EXIT_FAILED : sk_exit_code_of_input(status), &err);
    struct stat st;
    follower self = {.job = job};
    if (snprintf(self.log, sizeof self.log, "%s/slurm.log", folder) >= (int)sizeof self.log) self.log[0] = '\0';
    self.at = stat(self.log, &st) == 0 ? st.st_size : 0; /* what earlier jobs said is known */
    status = submit(run, stem, folder, n_cpus, job, &err);
    if (status != SK_OK) {
        if (!run->run_dir) remove_folder(folder);
        return fail(SK_EXIT_FAILED, &err);
    }
    sk_cluster_say("job %s; what it says is kept in %s", job, self.log);
    if (!run->no_wait) return follow(&self);
    printf("%s\n", job);
    return SK_EXIT_DONE;
}
