#include "cli/cluster.h"
#include "cli/exit_code.h"
#include "core/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { WORDS_MAX = 256, SAID_MAX = 4 << 20, NOT_FOUND = 127 };

void sk_cluster_say(const char *fmt, ...) {
    char text[2048], date[16] = "";
    time_t now = time(NULL);
    struct tm tm;
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (localtime_r(&now, &tm)) strftime(date, sizeof date, "%H:%M:%S", &tm);
    fprintf(stderr, "%s cluster: %s\n", date, text);
}

sk_status sk_process_program(char ret_path[SK_CLUSTER_PATH], sk_error *reterr) {
    const char *given = getenv("SKIFF_BIN");
    if (given && *given) {
        if (!realpath(given, ret_path))
            return SK_FAIL(reterr, SK_ENOTFOUND, "SKIFF_BIN %s: %s", given, strerror(errno));
        return SK_OK;
    }
    ssize_t size = readlink("/proc/self/exe", ret_path, SK_CLUSTER_PATH - 1);
    if (size < 0) return SK_FAIL(reterr, SK_EIO, "cannot read /proc/self/exe: %s", strerror(errno));
    ret_path[size] = '\0';
    return SK_OK;
}

sk_status sk_process_signals(int *ret_fd, sk_error *reterr) {
    sigset_t set;
    sigemptyset(&set);
    const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD};
    for (int i = 0; i < SK_COUNT(signals); i++) sigaddset(&set, signals[i]);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGCHLD, SIG_DFL); /* not ignored: the children's ends are wanted */
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return SK_FAIL(reterr, SK_EIO, "cannot block signals: %s", strerror(errno));
    *ret_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (*ret_fd < 0) return SK_FAIL(reterr, SK_ELIMIT, "cannot read signals: %s", strerror(errno));
    return SK_OK;
}

/* ---- starting ---- */
/* `skiff cluster child PARENT COMMAND ...`: becomes the command, after asking to be told when the parent ends. */
int sk_cluster_child(int argc, char **argv) {
    if (argc < 3) return SK_EXIT_USAGE;
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0) {
        fprintf(stderr, "cannot watch the parent: %s\n", strerror(errno));
        return SK_EXIT_FAILED;
    }
    if (getppid() != (pid_t)strtol(argv[1], NULL, 10)) return SK_EXIT_FAILED; /* it has ended meanwhile */
    execvp(argv[2], argv + 2);
    fprintf(stderr, "cannot run %s: %s\n", argv[2], strerror(errno));
    return NOT_FOUND;
}

/* fds: standard input, output and error; -1: /dev/null for input, ours for the others. */
static sk_status spawn(const char *const *argv, const int fds[3], pid_t *ret_pid, sk_error *reterr) {
    char parent[24], skiff[] = "skiff", cluster[] = "cluster", child[] = "child";
    char *words[WORDS_MAX] = {skiff, cluster, child, parent};
    int n = 4;
    snprintf(parent, sizeof parent, "%ld", (long)getpid());
    for (; *argv; argv++) {
        if (n == WORDS_MAX - 1) return SK_FAIL(reterr, SK_ELIMIT, "a command of more than %d words", WORDS_MAX - 5);
        words[n++] = (char *)(uintptr_t)*argv; /* posix_spawn does not change them */
    }
    sigset_t none, all;
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigemptyset(&none);
    sigfillset(&all);
    if (posix_spawn_file_actions_init(&files) != 0) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a process");
    if (posix_spawnattr_init(&attr) != 0) {
        posix_spawn_file_actions_destroy(&files);
        return SK_FAIL(reterr, SK_ENOMEM, "no memory for a process");
    }
    int rc = fds[0] >= 0 ? posix_spawn_file_actions_adddup2(&files, fds[0], 0)
                         : posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    for (int i = 1; i < 3; i++)
        if (rc == 0 && fds[i] >= 0) rc = posix_spawn_file_actions_adddup2(&files, fds[i], i);
    if (rc == 0) rc = posix_spawnattr_setsigmask(&attr, &none);
    if (rc == 0) rc = posix_spawnattr_setsigdefault(&attr, &all);
    if (rc == 0) rc = posix_spawnattr_setpgroup(&attr, 0);
    if (rc == 0)
        rc = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    if (rc == 0) rc = posix_spawn(ret_pid, "/proc/self/exe", &files, &attr, words, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    if (rc != 0) return SK_FAIL(reterr, SK_ELIMIT, "cannot start %s: %s", words[4], strerror(rc));
    return SK_OK;
}

sk_status sk_process_start(const char *const *argv, pid_t *ret_pid, sk_error *reterr) {
    return spawn(argv, (const int[]){-1, -1, -1}, ret_pid, reterr);
}

int sk_process_code(int wait_status) {
    return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

void sk_process_how(int wait_status, char ret_text[64]) {
    if (WIFEXITED(wait_status)) snprintf(ret_text, 64, "exit code %d", WEXITSTATUS(wait_status));
    else snprintf(ret_text, 64, "killed by signal %d (%s)", WTERMSIG(wait_status), strsignal(WTERMSIG(wait_status)));
}

/* ---- running to the end ---- */
void sk_process_said_deinit(sk_process_said *self) {
    free(self->out);
    free(self->err);
    *self = (sk_process_said){0};
}

/* A pipe or file that a text comes through. */
typedef struct stream {
    int fd; /* -1: it has ended */
    char *text;
    size_t size;
} stream;

static sk_status take(stream *self, sk_error *reterr) {
    char block[4096];
    ssize_t n = read(self->fd, block, sizeof block);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return SK_OK;
    if (n <= 0) {
        close(self->fd);
        self->fd = -1;
        return SK_OK;
    }
    if (self->size + (size_t)n > SAID_MAX) return SK_FAIL(reterr, SK_ELIMIT, "it says more than %d bytes", SAID_MAX);
    char *grown = realloc(self->text, self->size + (size_t)n + 1);
    if (!grown) return SK_FAIL(reterr, SK_ENOMEM, "no memory for what it says");
    memcpy(grown + self->size, block, (size_t)n);
    self->text = grown;
    self->size += (size_t)n;
    self->text[self->size] = '\0';
    return SK_OK;
}

/* Read both to their ends. */
static sk_status listen_to(stream streams[2], int64_t deadline_ns, sk_error *reterr) {
    while (streams[0].fd >= 0 || streams[1].fd >= 0) {
        int64_t left_ms = (deadline_ns - sk_clock_now_ns()) / 1000000;
        if (left_ms <= 0) return SK_ETIMEOUT;
        struct pollfd fds[2] = {{streams[0].fd, POLLIN, 0}, {streams[1].fd, POLLIN, 0}};
        if (poll(fds, 2, (int)left_ms) < 0 && errno != EINTR)
            return SK_FAIL(reterr, SK_EIO, "poll: %s", strerror(errno));
        for (int i = 0; i < 2; i++)
            if (streams[i].fd >= 0 && fds[i].revents) SK_TRY(take(&streams[i], reterr));
    }
    return SK_OK;
}

/* A file without a name that holds `text`, to be read from its beginning. */
static sk_status open_text(const char *text, int *ret_fd, sk_error *reterr) {
    int fd = memfd_create("input", MFD_CLOEXEC);
    size_t size = strlen(text), done = 0;
    while (fd >= 0 && done < size) {
        ssize_t n = write(fd, text + done, size - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        done += (size_t)n;
    }
    if (fd < 0 || done < size || lseek(fd, 0, SEEK_SET) != 0) {
        sk_status status = SK_FAIL(reterr, SK_ELIMIT, "cannot keep %zu bytes in memory: %s", size, strerror(errno));
        if (fd >= 0) close(fd);
        return status;
    }
    *ret_fd = fd;
    return SK_OK;
}

static sk_status wait_for_end(pid_t pid, int64_t deadline_ns, int *ret_status) {
    for (;;) {
        pid_t got = waitpid(pid, ret_status, WNOHANG);
        if (got == pid) return SK_OK;
        if (got < 0 && errno != EINTR) return SK_EIO;
        if (sk_clock_now_ns() > deadline_ns) return SK_ETIMEOUT;
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
}

sk_status sk_process_run(const char *const *argv, const char *input, int timeout_ms, sk_process_said *ret_said,
                         sk_error *reterr) {
    int64_t deadline_ns = sk_clock_now_ns() + (int64_t)timeout_ms * 1000000;
    int in = -1, out[2] = {-1, -1}, err[2] = {-1, -1}, wait_status = 0;
    pid_t pid = 0;
    sk_error why = {0};
    sk_status status = input ? open_text(input, &in, &why) : SK_OK;
    if (status == SK_OK && (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0))
        status = SK_FAIL(&why, SK_ELIMIT, "cannot make a pipe: %s", strerror(errno));
    if (status == SK_OK) status = spawn(argv, (const int[]){in, out[1], err[1]}, &pid, &why);
    const int ours[] = {in, out[1], err[1]};
    for (int i = 0; i < SK_COUNT(ours); i++)
        if (ours[i] >= 0) close(ours[i]);
    stream streams[2] = {{.fd = out[0]}, {.fd = err[0]}};
    if (status == SK_OK) status = listen_to(streams, deadline_ns, &why);
    if (pid > 0) {
        sk_status end = status == SK_OK ? wait_for_end(pid, deadline_ns, &wait_status) : status;
        if (end != SK_OK) { /* too late for it */
            kill(-pid, SIGKILL);
            kill(pid, SIGKILL);
            while (waitpid(pid, &wait_status, 0) < 0 && errno == EINTR) continue;
        }
        status = end;
    }
    for (int i = 0; i < 2; i++)
        if (streams[i].fd >= 0) close(streams[i].fd);
    sk_process_said said = {streams[0].text ? streams[0].text : strdup(""),
                            streams[1].text ? streams[1].text : strdup(""), sk_process_code(wait_status)};
    if (status == SK_OK && (!said.out || !said.err)) status = SK_FAIL(&why, SK_ENOMEM, "no memory for what it says");
    if (status == SK_OK) {
        *ret_said = said;
        return SK_OK;
    }
    sk_process_said_deinit(&said);
    if (status == SK_ETIMEOUT) return SK_FAIL(reterr, SK_ETIMEOUT, "%s did not end within %d ms", argv[0], timeout_ms);
    return SK_FAIL(reterr, status, "%s: %s", argv[0], why.msg);
}
