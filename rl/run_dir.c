#include "rl/run_dir.h"
#include "core/base/pack.h"
#include "core/base/text.h"
#include "rl/json_line.h"
#include "rl/tensorboard.h"
#include "rl/version.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* What becomes of a line when the report of iteration `limit` comes; UNKNOWN: what becomes of the next one. */
typedef enum judgement { LINE_GOOD, LINE_CUT, LINE_UNKNOWN } judgement;

/* A file that grows line by line. */
typedef struct growing {
    char *path;
    int fd;
    bool told; /* a failure was returned already */
    /* if its lines are reports */
    judgement (*judge)(const char *line, size_t size, double limit);
    bool resumed;          /* the next report follows an earlier part */
    double last_iteration; /* of the last report here; 0 = none       */
    off_t last_start;      /* where its line begins                   */
} growing;

struct sk_run_dir {
    char *path;
    growing metrics, csv, log;
    sk_tensorboard *board;       /* NULL before its first report */
    bool board_told, board_lost; /* a failure was returned; there is no file to write to */
    bool resumed, begun;
    atomic_int n_failed;
};

#define NO_MEMORY(reterr) SK_FAIL(reterr, SK_ENOMEM, "out of memory for a run folder")

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
        char *path = n == 1 ? sk_text_new("runs/%s_%s", stem, date) : sk_text_new("runs/%s_%s-%d", stem, date, n);
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
    char *result = sk_text_new("%s/result.json", self->path),
         *checkpoints = sk_text_new("%s/checkpoints", self->path);
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
    file->path = sk_text_new("%s/%s", self->path, name);
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

/* Cut a file before the first line about iteration `limit` or later; a torn last line goes in any case, and what cannot
 * be read stands or falls with what follows. */
static sk_status cut_lines(growing *file, double limit, sk_error *reterr) {
    int copy = fcntl(file->fd, F_DUPFD_CLOEXEC, 0);
    FILE *in = copy >= 0 ? fdopen(copy, "r") : NULL;
    if (!in || fseeko(in, 0, SEEK_SET) != 0) {
        sk_status status = SK_FAIL(reterr, SK_EIO, "cannot read %s: %s", file->path, strerror(errno));
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
    judgement line = LINE_GOOD;
    while (line != LINE_CUT && (size = getline(&text, &cap, in)) > 0) {
        line = text[size - 1] == '\n' ? file->judge(text, (size_t)size, limit) : LINE_UNKNOWN;
        at += size;
        if (line == LINE_GOOD) good = at;
    }
    int failed = ferror(in) ? EIO : 0;
    free(text);
    fclose(in);
    if (!failed && ftruncate(file->fd, good) != 0) failed = errno;
    if (failed) return SK_FAIL(reterr, SK_EIO, "cannot cut %s: %s", file->path, strerror(failed));
    return SK_OK;
}

static judgement judge_json(const char *text, size_t size, double limit) {
    json_t *line = json_loadb(text, size, 0, NULL);
    const json_t *value = json_object_get(line, sk_metric_info_get(SK_METRIC_TRAINING_ITERATION)->name);
    judgement result = json_is_number(value) && json_number_value(value) >= limit ? LINE_CUT : LINE_GOOD;
    if (!json_is_object(line)) result = LINE_UNKNOWN;
    json_decref(line);
    return result;
}

/* The iteration is the first column; a line that does not begin with a number is the head. */
static judgement judge_csv(const char *text, size_t size, double limit) {
    (void)size;
    char *end;
    double iteration = strtod(text, &end);
    return end != text && iteration >= limit ? LINE_CUT : LINE_GOOD;
}

/* Make room for the line of an iteration: what stands there about it or later ones goes. */
static sk_status cut_for(sk_run_dir *self, growing *file, const sk_metrics *metrics, sk_error *reterr) {
    double iteration = sk_metrics_get(metrics, SK_METRIC_TRAINING_ITERATION, 0);
    if (file->resumed) {
        file->resumed = false;
        SK_TRY(cut_lines(file, iteration, reterr));
    } else if (iteration > 0 && iteration == file->last_iteration &&
               ftruncate(file->fd, file->last_start) != 0) {
        return tell_failure(self, file, errno, reterr);
    }
    file->last_iteration = iteration;
    file->last_start = lseek(file->fd, 0, SEEK_END);
    return SK_OK;
}

/* ---- public ---- */
static sk_status enter(sk_run_dir *self, const sk_run_dir_params *params, sk_error *reterr) {
    struct stat st;
    if (params->path) {
        self->path = sk_text_new("%s", params->path);
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
    if (params->resume) SK_TRY(cut_lines(&self->metrics, INFINITY, reterr));
    self->resumed = self->metrics.resumed = params->resume;
    return open_growing(self, &self->log, "log.txt", reterr);
}

sk_status sk_run_dir_create(const sk_run_dir_params *params, sk_run_dir **ret_dir, sk_error *reterr) {
    SK_ASSERT(params && ret_dir && (params->path || params->stem));
    SK_AUTO(sk_run_dir) self = calloc(1, sizeof *self);
    if (!self) return NO_MEMORY(reterr);
    self->metrics.fd = self->csv.fd = self->log.fd = -1;
    self->metrics.judge = judge_json;
    self->csv.judge = judge_csv;
    SK_TRY(enter(self, params, reterr));
    *ret_dir = self;
    self = NULL;
    return SK_OK;
}

void sk_run_dir_destroy(sk_run_dir **self_p) {
    if (!self_p || !*self_p) return;
    sk_run_dir *self = *self_p;
    sk_tensorboard_destroy(&self->board);
    growing *files[] = {&self->metrics, &self->csv, &self->log};
    for (int i = 0; i < SK_COUNT(files); i++) {
        if (files[i]->fd >= 0) close(files[i]->fd);
        free(files[i]->path);
    }
    free(self->path);
    free(self);
    *self_p = NULL;
}

const char *sk_run_dir_path(const sk_run_dir *self) { return self->path; }

int sk_run_dir_n_failed(const sk_run_dir *self) { return atomic_load(&self->n_failed); }

/* A small file at once, atomically. */
static sk_status write_small(sk_run_dir *self, const char *name, const char *text, sk_error *reterr) {
    char *path = sk_text_new("%s/%s", self->path, name);
    if (!path) return NO_MEMORY(reterr);
    sk_status status = sk_file_write_atomic(path, text, strlen(text), reterr);
    if (status != SK_OK) atomic_fetch_add(&self->n_failed, 1);
    free(path);
    return status;
}

sk_status sk_run_dir_begin(sk_run_dir *self, const char *config_text, sk_error *reterr) {
    if (self->begun) return SK_OK;
    self->begun = true;
    char *result = sk_text_new("%s/result.json", self->path);
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

sk_status sk_run_dir_report(sk_run_dir *self, const sk_metrics *metrics, const char *line, sk_error *reterr) {
    SK_TRY(cut_for(self, &self->metrics, metrics, reterr));
    char *text = sk_text_new("%s\n", line);
    if (!text) return NO_MEMORY(reterr);
    sk_status status = append(self, &self->metrics, text, reterr);
    free(text);
    return status;
}

/* progress.csv with its head; a file that is there already must have the same columns. */
static sk_status open_csv(sk_run_dir *self, const sk_metrics *metrics, sk_error *reterr) {
    growing *file = &self->csv;
    char *wanted = NULL, *got = NULL;
    struct stat st;
    SK_TRY(open_growing(self, file, "progress.csv", reterr));
    file->resumed = fstat(file->fd, &st) == 0 && st.st_size > 0;
    SK_TRY(cut_for(self, file, metrics, reterr));
    SK_TRY(sk_metrics_csv_names(&wanted, reterr));
    size_t size = strlen(wanted);
    sk_status status = SK_OK;
    if (fstat(file->fd, &st) != 0 || st.st_size == 0) status = append(self, file, wanted, reterr);
    else if (!(got = malloc(size))) status = NO_MEMORY(reterr);
    else if (pread(file->fd, got, size, 0) != (ssize_t)size || memcmp(got, wanted, size) != 0)
        status = SK_FAIL(reterr, SK_EVERSION, "cannot go on with %s, its columns are not those of this version; move "
                         "it away for a new one", file->path);
    free(wanted);
    free(got);
    file->last_start = lseek(file->fd, 0, SEEK_END);
    return status;
}

sk_status sk_run_dir_report_csv(sk_run_dir *self, const sk_metrics *metrics, sk_error *reterr) {
    char *text = NULL;
    sk_status status = SK_OK;
    if (self->csv.path && self->csv.fd < 0) return SK_OK; /* it could not be opened, as was told */
    if (self->csv.path) SK_TRY(cut_for(self, &self->csv, metrics, reterr));
    else if ((status = open_csv(self, metrics, reterr)) != SK_OK) {
        if (!self->csv.told) atomic_fetch_add(&self->n_failed, 1);
        self->csv.told = true;
        if (self->csv.fd >= 0) close(self->csv.fd);
        self->csv.fd = -1;
    }
    SK_TRY(status);
    SK_TRY(sk_metrics_csv(metrics, &text, reterr));
    status = append(self, &self->csv, text, reterr);
    free(text);
    return status;
}

/* A failure of the event file is returned once. */
static sk_status tell_board(sk_run_dir *self, sk_status status) {
    if (status == SK_OK || self->board_told) return SK_OK;
    self->board_told = true;
    atomic_fetch_add(&self->n_failed, 1);
    return status;
}

sk_status sk_run_dir_report_events(sk_run_dir *self, const sk_metrics *metrics, sk_error *reterr) {
    int64_t step = (int64_t)sk_metrics_get(metrics, SK_METRIC_ENV_STEPS, 0);
    sk_status status = SK_OK;
    if (self->board_lost) return SK_OK;
    if (!self->board) {
        status = sk_tensorboard_create(self->path, &self->board, reterr);
        self->board_lost = status != SK_OK;
        if (status == SK_OK && self->resumed) status = sk_tensorboard_restart(self->board, step, reterr);
    }
    if (status == SK_OK) status = sk_tensorboard_add(self->board, metrics, step, reterr);
    return tell_board(self, status);
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
    char *text = sk_text_new("%s\n", result_text);
    if (!text) return NO_MEMORY(reterr);
    sk_error lost = {0};
    sk_status flushed = self->board ? tell_board(self, sk_tensorboard_flush(self->board, &lost)) : SK_OK;
    sk_status status = write_small(self, "result.json", text, reterr);
    free(text);
    if (status == SK_OK && flushed != SK_OK) status = SK_FAIL(reterr, flushed, "%s", lost.msg);
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
