/* skiff logs: what an actor or a worker process printed, of a running program or, by folder, of one that has ended. */
#include "cli/args.h"
#include "cli/board_hosts.h"
#include "cli/board_view.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/report.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { POLL_US = 100000, CHUNK = 1 << 16 };

/* A log file and the process that writes it; 0: that one has ended. */
typedef struct found {
    char path[PATH_MAX];
    int  pid;
} found;

/* ---- by folder ---- */

/* Is `file` named "<who>-<number>.log"? The number counts the processes of that name. */
static bool fits(const char *file, const char *who) {
    size_t size = strlen(who);
    if (strncmp(file, who, size) != 0 || file[size] != '-') return false;
    const char *number = file + size + 1;
    size_t      n_digits = strspn(number, "0123456789");
    return n_digits > 0 && strcmp(number + n_digits, ".log") == 0;
}

static bool is_later(const struct timespec *a, const struct timespec *b) {
    return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

/* "PATH: WHY" on stderr. */
static void say(const char *path, const char *why) {
    static char text[4 * PATH_MAX];
    sk_text_safe(path, PATH_MAX, text, sizeof text);
    fprintf(stderr, "%s: %s\n", text, why);
}

/* The newest log of `who` in `dir`: a restarted actor has several. How many; -1: the folder cannot be read. */
static int search(const char *dir, const char *who, found *ret_found) {
    int             n = 0;
    struct timespec newest = {0};
    DIR            *folder = opendir(dir);
    if (!folder) return -1;
    for (struct dirent *entry; (entry = readdir(folder));) {
        char        path[PATH_MAX];
        struct stat st;
        if (!fits(entry->d_name, who)) continue;
        int size = snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        if (size >= (int)sizeof path || stat(path, &st) != 0 || !S_ISREG(st.st_mode)) continue;
        if (n++ > 0 && !is_later(&st.st_mtim, &newest)) continue;
        newest = st.st_mtim;
        memcpy(ret_found->path, path, sizeof path);
    }
    ret_found->pid = 0;
    closedir(folder);
    if (n > 1) say(ret_found->path, "this is the newest of several logs of that name");
    return n;
}

static int find_in_folder(const char *dir, const char *who, found *ret_found) {
    int n = search(dir, who, ret_found);
    if (n > 0) return SK_EXIT_DONE;
    if (n < 0) fprintf(stderr, "%s: %s\n", dir, strerror(errno));
    else fprintf(stderr, "%s: no log of \"%s\" is there; its name would be %s-N.log\n", dir, who, who);
    return SK_EXIT_USAGE;
}

/* ---- by program ---- */

/* A path of the board: a relative one is from where the program is. False: it is too long. */
static bool path_of(const sk_program *program, const char *field, size_t size, char ret_path[PATH_MAX]) {
    char text[512], cwd[64], base[PATH_MAX];
    snprintf(text, sizeof text, "%.*s", (int)size, field);
    snprintf(cwd, sizeof cwd, "/proc/%d/cwd", program->pid);
    ssize_t n = text[0] == '/' ? -1 : readlink(cwd, base, sizeof base - 1);
    base[n > 0 ? n : 0] = '\0';
    return snprintf(ret_path, PATH_MAX, "%s%s%s", base, n > 0 ? "/" : "", text) < PATH_MAX;
}

static bool is_named(const char *who, const char *name) {
    return strnlen(name, SK_BOARD_NAME) == strlen(who) && memcmp(name, who, strlen(who)) == 0;
}

/* The worker called `who`, or of that pid; of several (other hosts have their own pids) one of this host. */
static bool find_worker(const sk_program *program, const char *who, int pid, sk_board_worker *ret_worker) {
    sk_board_worker worker;
    bool            is_found = false;
    for (int i = 0; i < SK_BOARD_LINES; i++) {
        sk_board_read(&program->view, &program->view.board->workers[i], &worker, sizeof worker);
        if (worker.state == SK_WORKER_NONE || (is_found && worker.host != 0)) continue;
        if (!is_named(who, worker.name) && (pid <= 0 || pid != worker.pid)) continue;
        *ret_worker = worker;
        is_found = true;
        if (worker.host == 0) break;
    }
    return is_found;
}

/* What a worker on another host prints lies there. */
static int tell_where(const sk_program *program, const char *who, const sk_board_worker *worker) {
    char name[SK_BOARD_NAME + 1], host[4 * SK_BOARD_NAME], path[4 * sizeof worker->log_path];
    sk_board_host_name(&program->view, worker->host, name);
    sk_text_safe(name, sizeof name, host, sizeof host);
    sk_text_safe(worker->log_path, sizeof worker->log_path, path, sizeof path);
    fprintf(stderr, "\"%s\" runs on host %s (pid %d there), and its log is there too: %s\n", who, host,
            worker->pid, path[0] ? path : "in the node's --log-dir, or without that in its standard error");
    return SK_EXIT_FAILED;
}

/* Is it an actor of the driver's own process, or the driver? */
static bool is_inside(const sk_program *program, const char *who, int pid) {
    sk_board_actor actor;
    if (pid == program->pid) return true;
    for (int i = 0; i < SK_BOARD_ACTORS; i++) {
        sk_board_read(&program->view, &program->view.board->actors[i], &actor, sizeof actor);
        if (actor.state != SK_ACTOR_NONE && actor.pid == program->pid && actor.host == 0 && is_named(who, actor.name)) return true;
    }
    return false;
}

static int find_in_program(const sk_program *program, const char *who, found *ret_found) {
    const sk_board *board = program->view.board;
    sk_board_worker worker = {0};
    char           *end, dir[PATH_MAX];
    long            number = strtol(who, &end, 10);
    int             pid = *who && !*end && number > 0 && number <= INT_MAX ? (int)number : 0;
    bool            is_worker = find_worker(program, who, pid, &worker);
    if (is_worker && worker.host != 0) return tell_where(program, who, &worker);
    if (is_worker && worker.log_path[0]) {
        ret_found->pid = worker.pid;
        if (path_of(program, worker.log_path, sizeof worker.log_path, ret_found->path)) return SK_EXIT_DONE;
        fprintf(stderr, "the path of the log of \"%s\" is too long\n", who);
        return SK_EXIT_FAILED;
    }
    if (is_worker || is_inside(program, who, pid)) {
        fprintf(stderr, "what \"%s\" prints goes to the standard error of %s (pid %d)%s\n", who, program->name,
                program->pid, is_worker ? "; its runtime was made without a log_dir" : ", which it is a part of");
        return SK_EXIT_FAILED;
    }
    /* One that has ended left its file in the folder. */
    char field[sizeof board->log_dir];
    sk_board_read(&program->view, board->log_dir, field, sizeof field);
    if (field[0] && path_of(program, field, sizeof field, dir) && search(dir, who, ret_found) > 0) return SK_EXIT_DONE;
    fprintf(stderr, "%s (pid %d) has no actor or worker \"%s\"; `skiff list workers` shows them\n", program->name,
            program->pid, who);
    return SK_EXIT_USAGE;
}

/* ---- printing ---- */

/* Where the last n_lines begin; a last line without an end counts. -1: cannot be read. */
static off_t last_lines(int fd, off_t size, int64_t n_lines) {
    static char chunk[CHUNK];
    int64_t     n_ends = 0;
    if (n_lines == 0) return size;
    for (off_t end = size; end > 0;) {
        off_t   begin = end > CHUNK ? end - CHUNK : 0;
        ssize_t got = pread(fd, chunk, (size_t)(end - begin), begin);
        if (got != end - begin) return -1;
        for (off_t at = end - 1; at >= begin; at--)
            if (chunk[at - begin] == '\n' && at != size - 1 && ++n_ends == n_lines) return at + 1;
        end = begin;
    }
    return 0;
}

/* Print what is there behind *at, and move *at. False: reading or writing failed. */
static bool copy_rest(int fd, off_t *at) {
    static char chunk[CHUNK];
    ssize_t     got;
    while ((got = pread(fd, chunk, sizeof chunk, *at)) > 0) {
        if (fwrite(chunk, 1, (size_t)got, stdout) != (size_t)got) return false;
        *at += got;
    }
    return got == 0 && fflush(stdout) == 0;
}

/* Until the process has ended, and then all it left. A file that was cut is read from its start. */
static bool follow(int fd, int pid, off_t at) {
    sk_process  first, now;
    struct stat st;
    bool        lives = sk_process_look(pid, &first), ok = true;
    do { /* once more after its end: it may have written until then */
        if (lives) usleep(POLL_US);
        lives = lives && sk_process_look(pid, &now) && now.birth == first.birth;
        if (fstat(fd, &st) == 0 && st.st_size < at) at = 0;
        ok = copy_rest(fd, &at);
    } while (lives && ok);
    return ok;
}

static int print_log(const found *log, int64_t n_lines, bool follows) {
    struct stat st = {0};
    int fd = open(log->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        say(log->path, fd < 0 ? strerror(errno) : "not a file");
        if (fd >= 0) close(fd);
        return SK_EXIT_FAILED;
    }
    off_t at = n_lines < 0 ? 0 : last_lines(fd, st.st_size, n_lines);
    bool  ok = at >= 0 && copy_rest(fd, &at);
    if (ok && follows) ok = follow(fd, log->pid, at);
    int why = errno;
    close(fd);
    if (ok) return SK_EXIT_DONE;
    say(log->path, why ? strerror(why) : "changed while it was read");
    return SK_EXIT_FAILED;
}

/* ---- the command ---- */

int sk_cmd_logs(int argc, char **argv) {
    const char *dir = NULL;
    bool        follows = false;
    int64_t     pid = 0, n_lines = -1;
    sk_arg args[] = {{"--pid", SK_ARG_INT, &pid, 1, INT32_MAX, "of the program; not needed if only one runs"},
                     {"--dir", SK_ARG_TEXT, &dir, 0, 0, "look here, for a program that has ended"},
                     {"--follow", SK_ARG_FLAG, &follows, 0, 0, "go on until the process ends"},
                     {"--lines", SK_ARG_INT, &n_lines, 0, INT32_MAX, "the last ones only"}};
    sk_args parsed = {.usage = "skiff logs ACTOR|WORKER|PID [--pid PID] [--follow] [--lines N]\n"
                              "       skiff logs ACTOR|WORKER --dir DIR [--lines N]",
                      .args = args, .n_args = SK_COUNT(args), .n_min = 1, .n_max = 1};
    int code = sk_args_parse(&parsed, argc, argv);
    if (code != SK_ARGS_GO) return code;
    if (dir && (pid > 0 || follows)) {
        fprintf(stderr, "--dir is for programs that have ended: without --pid and --follow\nusage: %s\n", parsed.usage);
        return SK_EXIT_USAGE;
    }
    static found log;
    if (dir) {
        code = find_in_folder(dir, parsed.positional[0], &log);
    } else {
        sk_program program;
        code = sk_program_open(pid, &program);
        if (code != SK_EXIT_DONE) return code;
        code = find_in_program(&program, parsed.positional[0], &log);
        sk_program_close(&program);
    }
    return code == SK_EXIT_DONE ? print_log(&log, n_lines, follows) : code;
}
