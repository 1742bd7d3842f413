#include "rl/run_dir.h"
#include "core/base/pack.h"
#include "rl/json_line.h"
#include "rl/version.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A file that grows line by line. */
typedef struct growing {
    char *path;
    int fd;
    bool told; /* a failure was returned already */
} growing;

struct sk_run_dir {
    char *path;
    growing metrics, log;
    bool resumed;          /* the next report follows an earlier part */
    double last_iteration; /* of the last report here; 0 = none       */
    off_t last_start;      /* where its line begins                   */
    bool begun;
    atomic_int n_failed;
};

#define NO_MEMORY(reterr) SK_FAIL(reterr, SK_ENOMEM, "out of memory for a run folder")

SK_PRINTF(1, 2) static char *print_new(const char *fmt, ...) {
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    int size = vasprintf(&text, fmt, args);
    va_end(args);
    return size < 0 ? NULL : text;
}

/* ---- the folder ---- */
/* Like `mkdir -p`. `path` is written to on the way and restored. */
static sk_status make_folders(char *path, sk_error *reterr) {
    for (char *s = path + 1;; s++) {
        if (*s != '/' && *s) continue;
        char was = *s;
        *s = '\0';
        int failed = mkdir(path, 0777) != 0 && errno != EEXIST ? errno : 0;
        if (failed) {
            SK_FAIL(reterr, SK_EIO, "cannot make the folder %s: %s", path, strerror(failed));
            *s = was;
            return SK_EIO;
        }
        *s = was;
        if (!was) return SK_OK;
    }
}

/* A folder of our own that nobody else made. */
static sk_status make_new_folder(const char *stem, char **ret_path, sk_error *reterr) {
    char date[32];
    time_t now = time(NULL);
    struct tm tm;
    if (!localtime_r(&now, &tm) || strftime(date, sizeof date, "%Y%m%d-%H%M%S", &tm) == 0)
        strcpy(date, "run");
    if (mkdir("runs", 0777) != 0 && errno != EEXIST)
        return SK_FAIL(reterr, SK_EIO, "cannot make the folder runs: %s", strerror(errno));
    for (int n = 1;; n++) {
        char *path = n == 1 ? print_new("runs/%s_%s", stem, date) : print_new("runs/%s_%s-%d", stem, date, n);
        if (!path) return NO_MEMORY(reterr);
        if (mkdir(path, 0777) == 0) {
            *ret_path = path;
            return SK_OK;
        }
        sk_status status = SK_OK;
        if (errno != EEXIST || n == 1000)
            status = SK_FAIL(reterr, SK_EIO, "cannot make the folder %s: %s", path, strerror(errno));
        free(path);
        SK_TRY(status);
    }
}

static bool has_entries(const char *folder) {
    DIR *dir = opendir(folder);
    if (!dir) return false;
    struct dirent *entry;
    int n = 0;
    while ((entry = readdir(dir))) n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(dir);
    return n > 0;
}

/* A folder in which nothing has happened yet (a run that failed to start) may be used again. */
static sk_status check_unused(const sk_run_dir *self, sk_error *reterr) {
    struct stat st;
    char *result = print_new("%s/result.json", self->path),
         *checkpoints = print_new("%s/checkpoints", self->path);
    bool known = result && checkpoints;
    bool used = known && (access(result, F_OK) == 0 || has_entries(checkpoints) ||
                          (fstat(self->metrics.fd, &st) == 0 && st.st_size > 0));
    free(result);
    free(checkpoints);
    if (!known) return NO_MEMORY(reterr);
    if (used)
        return SK_FAIL(
            reterr, SK_EINVAL,
            "the folder %s holds a run already; go on with it by --resume, or name another by --run-dir",
            self->path);
    return SK_OK;
}

/* ---- files that grow ---- */
static sk_status open_growing(sk_run_dir *self, growing *file, const char *name, sk_error *reterr) {
    file->path = print_new("%s/%s", self->path, name);
    if (!file->path) return NO_MEMORY(reterr);
    file->fd = open(file->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (file->fd < 0) return SK_FAIL(reterr, SK_EIO, "cannot write %s: %s", file->path, strerror(errno));
    return SK_OK;
}

static sk_status tell_failure(sk_run_dir *self, growing *file, int error, sk_error *reterr) {
    if (file->told) return SK_OK;
    file->told = true;
    atomic_fetch_add(&self->n_failed, 1);
    return SK_FAIL(reterr, SK_EIO, "cannot write %s: %s", file->path, strerror(error));
}

/* All of it, or (disk full) none of it: half a line would spoil the file. */
static sk_status append(sk_run_dir *self, growing *file, const char *text, sk_error *reterr) {
    off_t start = lseek(file->fd, 0, SEEK_END);
    size_t size = strlen(text), done = 0;
    while (done < size) {
        ssize_t n = write(file->fd, text + done, size - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            int error = n < 0 ? errno : EIO;
            if (done > 0 && start >= 0 && ftruncate(file->fd, start) != 0) error = errno;
            return tell_failure(self, file, error, reterr);
        }
        done += (size_t)n;
    }
    return SK_OK;
}

/* Cut metrics.jsonl where `is_wanted` says no for the first time; a torn last line goes in any case. */
static sk_status cut_metrics(sk_run_dir *self, bool (*is_wanted)(const json_t *line, double limit),
                             double limit, sk_error *reterr) {
    int copy = fcntl(self->metrics.fd, F_DUPFD_CLOEXEC, 0);
    FILE *in = copy >= 0 ? fdopen(copy, "r") : NULL;
    if (!in || fseeko(in, 0, SEEK_SET) != 0) {
        sk_status status = SK_FAIL(reterr, SK_EIO, "cannot read %s: %s", self->metrics.path, strerror(errno));
        if (in)
            fclose(in);
        else if (copy >= 0)
            close(copy);
        return status;
    }
    char *text = NULL;
    size_t cap = 0;
    off_t at = 0, good = 0; /* end of the last wanted line */
    ssize_t size;
    bool wanted = true;
    while (wanted && (size = getline(&text, &cap, in)) > 0) {
        json_t *line = text[size - 1] == '\n' ? json_loadb(text, (size_t)size, 0, NULL) : NULL;
        at += size;
        wanted = !line || is_wanted(line, limit); /* what is no JSON stands or falls with what follows */
        if (wanted && line) good = at;
        json_decref(line);
    }
    int failed = ferror(in) ? EIO : 0;
    free(text);
    fclose(in);
    if (!failed && ftruncate(self->metrics.fd, good) != 0) failed = errno;
    if (failed) return SK_FAIL(reterr, SK_EIO, "cannot cut %s: %s", self->metrics.path, strerror(failed));
    return SK_OK;
}

static bool is_before(const json_t *line, double iteration) {
    const json_t *value = json_object_get(line, sk_metric_info_get(SK_METRIC_TRAINING_ITERATION)->name);
    return !json_is_number(value) || json_number_value(value) < iteration;
}

static bool is_object(const json_t *line, double unused) {
    (void)unused;
    return json_is_object(line);
}

/* ---- public ---- */
static sk_status enter(sk_run_dir *self, const sk_run_dir_params *params, sk_error *reterr) {
    struct stat st;
    if (params->path) {
        self->path = print_new("%s", params->path);
        if (!self->path) return NO_MEMORY(reterr);
        for (size_t size = strlen(self->path); size > 1 && self->path[size - 1] == '/'; size--)
            self->path[size - 1] = '\0';
        if (!*self->path) return SK_FAIL(reterr, SK_EINVAL, "the name of the run folder is empty");
        if (params->resume && (stat(self->path, &st) != 0 || !S_ISDIR(st.st_mode)))
            return SK_FAIL(reterr, SK_ENOTFOUND, "nothing to resume: there is no folder %s", self->path);
        SK_TRY(make_folders(self->path, reterr));
    } else {
        SK_TRY(make_new_folder(params->stem, &self->path, reterr));
    }
    SK_TRY(open_growing(self, &self->metrics, "metrics.jsonl", reterr));
    /* A file system without locks cannot warn of a second writer; that is no reason not to run. */
    if (flock(self->metrics.fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return SK_FAIL(reterr, SK_EINVAL, "another process is writing the run folder %s", self->path);
    if (!params->resume) SK_TRY(check_unused(self, reterr));
    if (params->resume) SK_TRY(cut_metrics(self, is_object, 0, reterr));
    self->resumed = params->resume;
    return open_growing(self, &self->log, "log.txt", reterr);
}

sk_status sk_run_dir_create(const sk_run_dir_params *params, sk_run_dir **ret_dir, sk_error *reterr) {
    SK_ASSERT(params && ret_dir && (params->path || params->stem));
    SK_AUTO(sk_run_dir) self = calloc(1, sizeof *self);
    if (!self) return NO_MEMORY(reterr);
    self->metrics.fd = self->log.fd = -1;
    SK_TRY(enter(self, params, reterr));
    *ret_dir = self;
    self = NULL;
    return SK_OK;
}

void sk_run_dir_destroy(sk_run_dir **self_p) {
    if (!self_p || !*self_p) return;
    sk_run_dir *self = *self_p;
    if (self->metrics.fd >= 0) close(self->metrics.fd);
    if (self->log.fd >= 0) close(self->log.fd);
    free(self->metrics.path);
    free(self->log.path);
    free(self->path);
    free(self);
    *self_p = NULL;
}

const char *sk_run_dir_path(const sk_run_dir *self) { return self->path; }

int sk_run_dir_n_failed(const sk_run_dir *self) { return atomic_load(&self->n_failed); }

/* A small file at once, atomically. */
static sk_status write_small(sk_run_dir *self, const char *name, const char *text, sk_error *reterr) {
    char *path = print_new("%s/%s", self->path, name);
    if (!path) return NO_MEMORY(reterr);
    sk_status status = sk_file_write_atomic(path, text, strlen(text), reterr);
    if (status != SK_OK) atomic_fetch_add(&self->n_failed, 1);
    free(path);
    return status;
}

sk_status sk_run_dir_begin(sk_run_dir *self, const char *config_text, sk_error *reterr) {
    if (self->begun) return SK_OK;
    self->begun = true;
    char *result = print_new("%s/result.json", self->path);
    if (!result) return NO_MEMORY(reterr);
    if (unlink(result) != 0 && errno != ENOENT) {
        sk_status status = SK_FAIL(reterr, SK_EIO, "cannot remove %s: %s", result, strerror(errno));
        atomic_fetch_add(&self->n_failed, 1);
        free(result);
        return status;
    }
    free(result);
    return write_small(self, "config.yaml", config_text, reterr);
}

/* Make room for the line of an iteration: what stands there about it or later ones goes. */
static sk_status cut_for(sk_run_dir *self, double iteration, sk_error *reterr) {
    if (self->resumed) {
        self->resumed = false;
        SK_TRY(cut_metrics(self, is_before, iteration, reterr));
    } else if (iteration > 0 && iteration == self->last_iteration &&
               ftruncate(self->metrics.fd, self->last_start) != 0) {
        return tell_failure(self, &self->metrics, errno, reterr);
    }
    self->last_iteration = iteration;
    self->last_start = lseek(self->metrics.fd, 0, SEEK_END);
    return SK_OK;
}

sk_status sk_run_dir_report(sk_run_dir *self, const sk_metrics *metrics, const char *line, sk_error *reterr) {
    SK_TRY(cut_for(self, sk_metrics_get(metrics, SK_METRIC_TRAINING_ITERATION, 0), reterr));
    char *text = print_new("%s\n", line);
    if (!text) return NO_MEMORY(reterr);
    sk_status status = append(self, &self->metrics, text, reterr);
    free(text);
    return status;
}

sk_status sk_run_dir_log(sk_run_dir *self, sk_log_level level, const char *line, sk_error *reterr) {
    static const char *const levels[] = {"debug", "info", "warning", "error"};
    char date[32] = "", text[1280];
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    if (localtime_r(&now.tv_sec, &tm)) strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", &tm);
    snprintf(text, sizeof text - 1, "%s.%03d %s: %s", date, (int)(now.tv_nsec / 1000000), levels[level],
             line);
    strcat(text, "\n");
    return append(self, &self->log, text, reterr);
}

sk_status sk_run_dir_finish(sk_run_dir *self, const char *result_text, sk_error *reterr) {
    char *text = print_new("%s\n", result_text);
    if (!text) return NO_MEMORY(reterr);
    sk_status status = write_small(self, "result.json", text, reterr);
    free(text);
    return status;
}

static void write_metric(sk_json_line *line, const char *name, const sk_metrics *metrics, sk_metric metric) {
    if (metrics->present[metric])
        sk_json_line_number(line, name, metrics->value[metric]);
    else
        sk_json_line_null(line, name);
}

sk_status sk_run_result_json(const sk_train_result *result, const char *command, char **ret_text,
                             sk_error *reterr) {
    static const char *const kinds[] = {
        [SK_STOP_BUDGET] = "budget", [SK_STOP_GOAL] = "goal", [SK_STOP_INTERRUPTED] = "interrupted"};
    const sk_metrics *m = &result->metrics;
    sk_json_line line;
    sk_json_line_init(&line);
    write_metric(&line, "num_env_steps_sampled_lifetime", m, SK_METRIC_ENV_STEPS);
    sk_json_line_number(&line, "wall_s", result->wall_s);
    write_metric(&line, "time_total_s", m, SK_METRIC_TIME_TOTAL);
    sk_json_line_text(&line, "stop_reason", result->stop_reason);
    sk_json_line_text(&line, "stop_kind", kinds[result->kind]);
    if (result->goal_named)
        sk_json_line_bool(&line, "goal_met", result->goal_met);
    else
        sk_json_line_null(&line, "goal_met");
    if (m->present[SK_METRIC_EVAL_EPISODES]) {
        sk_json_line_begin(&line, "evaluation");
        write_metric(&line, "episode_return_mean", m, SK_METRIC_EVAL_RETURN_MEAN);
        write_metric(&line, "episode_return_std", m, SK_METRIC_EVAL_RETURN_STD);
        write_metric(&line, "num_episodes", m, SK_METRIC_EVAL_EPISODES);
        sk_json_line_end(&line);
    } else {
        sk_json_line_null(&line, "evaluation");
    }
    sk_json_line_text(&line, "params_sha256", result->params_sha256);
    sk_json_line_text(&line, "skiff_version", sk_version());
    sk_json_line_text(&line, "device", result->device);
    sk_json_line_text(&line, "command", command);
    return sk_json_line_finish(&line, ret_text, reterr);
}
