#include "envs/external/python_worker.h"
#include "core/base/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* What the process finds open besides 0, 1 and 2; our own copies lie above all of them. */
enum { CONTROL_FD = 3, LIFE_FD = 4, MEMORY_FD = 5, FIRST_OTHER_FD = 6, OUR_FDS_FROM = 16 };
enum { TEXT_MAX = 16 << 20, HOW_SIZE = 96 };
static const double CLOSE_PATIENCE_S = 3.0; /* for environments that want to put things in order        */
static const double KILL_PATIENCE_S = 10.0; /* for the kernel to end it                                  */
static const double END_PATIENCE_S = 1.0;   /* a process that closed its socket is about to end          */

struct sk_pyworker {
    int    pid;
    int    pidfd;      /* -1: reaped                                */
    int    control_fd; /* our end of the socket                     */
    int    life_fd;    /* the pipe's writing side; never written to */
    int    memory_fd;
    void  *memory; /* mapped, or NULL                           */
    size_t memory_size;
    char  *text; /* of the last reply, ends with a NUL        */
    size_t text_size, text_cap;
    char   how[HOW_SIZE]; /* it ended, once reaped                  */
};

typedef struct reply_head {
    uint32_t status, n_text;
} reply_head;

/* ---- the end of the process ---- */

static void close_fd(int *fd) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

static void describe_end(const siginfo_t *info, bool known, char how[HOW_SIZE]) {
    if (!known) {
        snprintf(how, HOW_SIZE, "has ended (how is not known: the program reaped it elsewhere)");
    } else if (info->si_code == CLD_EXITED) {
        snprintf(how, HOW_SIZE, "exited with status %d", info->si_status);
    } else {
        const char *name = sigabbrev_np(info->si_status);
        snprintf(how, HOW_SIZE, "was killed by signal %d (SIG%s)", info->si_status, name ? name : "?");
    }
}

/* Wait so long for its end and reap it. False: it still runs. */
static bool reap(sk_pyworker *self, double patience_s) {
    if (self->pidfd < 0) return true;
    double        end_s = sk_clock_now_s() + patience_s;
    struct pollfd end = {.fd = self->pidfd, .events = POLLIN};
    int           rc;
    do {
        double left_s = end_s - sk_clock_now_s();
        rc = poll(&end, 1, left_s > 0 ? (int)ceil(left_s * 1e3) : 0);
    } while (rc < 0 && errno == EINTR);
    if (rc == 0) return false;
    siginfo_t info = {0};
    do rc = waitid(P_PIDFD, (id_t)self->pidfd, &info, WEXITED);
    while (rc != 0 && errno == EINTR);
    describe_end(&info, rc == 0 && info.si_pid != 0, self->how);
    close_fd(&self->pidfd);
    return true;
}

static void kill_and_reap(sk_pyworker *self) {
    if (self->pidfd < 0) return;
    pidfd_send_signal(self->pidfd, SIGKILL, NULL, 0);
    if (reap(self, KILL_PATIENCE_S)) return;
    snprintf(self->how, HOW_SIZE, "was killed but hangs in a system call");
    close_fd(&self->pidfd);
}

bool sk_pyworker_is_alive(sk_pyworker *self) { return !reap(self, 0.0); }

/* It closed its side or ended in the middle of `what`. */
static sk_status died(sk_pyworker *self, const char *what, sk_error *reterr) {
    if (!reap(self, END_PATIENCE_S)) kill_and_reap(self);
    return SK_FAIL(reterr, SK_EDEAD, "the Python process %d %s during %s", self->pid, self->how, what);
}

/* ---- the start ---- */

static bool move_up(int *fd) {
    int up = fcntl(*fd, F_DUPFD_CLOEXEC, OUR_FDS_FROM);
    close(*fd);
    *fd = up;
    return up >= 0;
}

/* theirs: what the process gets (control, life, memory), each to be closed by the caller. */
static sk_status open_channels(sk_pyworker *self, int theirs[3], sk_error *reterr) {
    int pair[2], life[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return SK_FAIL(reterr, SK_EIO, "cannot open a socket pair: %s", strerror(errno));
    self->control_fd = pair[0];
    theirs[0] = pair[1];
    if (pipe2(life, O_CLOEXEC) != 0)
        return SK_FAIL(reterr, SK_EIO, "cannot open a pipe: %s", strerror(errno));
    theirs[1] = life[0];
    self->life_fd = life[1];
    self->memory_fd = memfd_create("skiff-python", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (self->memory_fd < 0)
        return SK_FAIL(reterr, SK_EIO, "cannot create a memory file: %s", strerror(errno));
    if (!move_up(&theirs[0]) || !move_up(&theirs[1]) || !move_up(&self->memory_fd))
        return SK_FAIL(reterr, SK_EIO, "cannot move a descriptor: %s", strerror(errno));
    theirs[2] = self->memory_fd;
    return SK_OK;
}

/* 0 or an errno. */
static int add_files(posix_spawn_file_actions_t *files, const int theirs[3]) {
    int rc = posix_spawn_file_actions_addopen(files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    /* Standard output is for our results alone. */
    if (!rc && fcntl(STDERR_FILENO, F_GETFD) >= 0)
        rc = posix_spawn_file_actions_adddup2(files, STDERR_FILENO, STDOUT_FILENO);
    for (int i = 0; !rc && i < 3; i++)
        rc = posix_spawn_file_actions_adddup2(files, theirs[i], CONTROL_FD + i);
    if (!rc) rc = posix_spawn_file_actions_addclosefrom_np(files, FIRST_OTHER_FD);
    return rc;
}

/* posix_spawn's own style: 0 or an errno. */
static int spawn(const char *python, const char *script, const int theirs[3], pid_t *ret_pid) {
    char    *argv[] = {(char *)(uintptr_t)python, (char *)(uintptr_t) "-u", (char *)(uintptr_t)script, NULL};
    sigset_t all, masked;
    posix_spawnattr_t          attr;
    posix_spawn_file_actions_t files;
    sigfillset(&all);
    sigemptyset(&masked);
    sigaddset(&masked,
              SIGINT); /* Ctrl-C goes to the whole terminal; the script is to ignore it from the start */
    int rc = posix_spawnattr_init(&attr);
    if (rc) return rc;
    rc = posix_spawn_file_actions_init(&files);
    if (rc) {
        posix_spawnattr_destroy(&attr);
        return rc;
    }
    rc = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    if (!rc) rc = posix_spawnattr_setsigdefault(&attr, &all);
    if (!rc) rc = posix_spawnattr_setsigmask(&attr, &masked);
    if (!rc) rc = add_files(&files, theirs);
    if (!rc) rc = posix_spawnp(ret_pid, python, &files, &attr, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    return rc;
}

static sk_status start(sk_pyworker *self, const char *python, const char *script, sk_error *reterr) {
    int       theirs[3] = {-1, -1, -1};
    pid_t     pid = 0;
    sk_status status = open_channels(self, theirs, reterr);
    int       rc = status == SK_OK ? spawn(python, script, theirs, &pid) : 0;
    close_fd(&theirs[0]); /* the memory's descriptor is ours as well */
    close_fd(&theirs[1]);
    SK_TRY(status);
    if (rc == ENOENT || rc == EACCES || rc == ENOTDIR)
        return SK_FAIL(reterr, SK_ENOTFOUND,
                       "cannot start Python as \"%s\": %s (env.python or $SKIFF_PYTHON names another one)",
                       python, strerror(rc));
    if (rc) return SK_FAIL(reterr, SK_EIO, "cannot start Python as \"%s\": %s", python, strerror(rc));
    self->pid = pid;
    self->pidfd = pidfd_open(pid, 0);
    if (self->pidfd >= 0) return SK_OK;
    rc = errno;
    kill(pid, SIGKILL); /* not reaped yet, so the pid is still its own */
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
    return SK_FAIL(reterr, SK_EIO, "cannot watch Python process %d: %s", (int)pid, strerror(rc));
}

sk_status sk_pyworker_create(const char *python, const char *script, sk_pyworker **ret_worker,
                             sk_error *reterr) {
    SK_ASSERT(python && script && ret_worker);
    sk_pyworker *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "out of memory for a Python process");
    self->pidfd = self->control_fd = self->life_fd = self->memory_fd = -1;
    sk_status status = start(self, python, script, reterr);
    if (status != SK_OK) {
        sk_pyworker_destroy(&self);
        return status;
    }
    *ret_worker = self;
    return SK_OK;
}

void sk_pyworker_destroy(sk_pyworker **self_p) {
    if (!self_p || !*self_p) return;
    sk_pyworker *self = *self_p;
    *self_p = NULL;
    close_fd(&self->control_fd); /* it reads the end of its requests, closes its environments and leaves */
    if (self->pidfd >= 0 && !reap(self, CLOSE_PATIENCE_S)) kill_and_reap(self);
    close_fd(&self->life_fd);
    if (self->memory) munmap(self->memory, self->memory_size);
    close_fd(&self->memory_fd);
    free(self->text);
    free(self);
}

sk_status sk_pyworker_map(sk_pyworker *self, size_t size_bytes, void **ret_memory, sk_error *reterr) {
    SK_ASSERT(self && size_bytes > 0 && !self->memory);
    if (ftruncate(self->memory_fd, (off_t)size_bytes) != 0)
        return SK_FAIL(reterr, SK_ENOMEM, "cannot size shared memory to %zu bytes: %s", size_bytes,
                       strerror(errno));
    /* Nobody can take mapped pages away from us. */
    if (fcntl(self->memory_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0)
        return SK_FAIL(reterr, SK_EIO, "cannot seal shared memory: %s", strerror(errno));
    void *map = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, self->memory_fd, 0);
    if (map == MAP_FAILED)
        return SK_FAIL(reterr, SK_ENOMEM, "cannot map %zu bytes of shared memory: %s", size_bytes,
                       strerror(errno));
    self->memory = map;
    self->memory_size = size_bytes;
    *ret_memory = map;
    return SK_OK;
}

/* ---- questions and answers ---- */

typedef struct conversation {
    sk_pyworker *worker;
    const char  *what;
    double       end_s, timeout_s;
} conversation;

/* Wait until the socket can be read (written). SK_ETIMEOUT: it was too slow and is dead now. */
static sk_status wait_for(const conversation *c, short events, sk_error *reterr) {
    sk_pyworker *self = c->worker;
    for (;;) {
        double        left_s = c->end_s - sk_clock_now_s();
        struct pollfd fds[] = {{.fd = self->control_fd, .events = events},
                               {.fd = self->pidfd, .events = POLLIN}};
        int           rc = poll(fds, 2, left_s > 0 ? (int)ceil(left_s < 1e6 ? left_s * 1e3 : 1e9) : 0);
        if (rc < 0 && errno == EINTR) continue;
        if (rc < 0)
            return SK_FAIL(reterr, SK_EIO, "waiting for the answer to %s: poll: %s", c->what,
                           strerror(errno));
        if (fds[0].revents) return SK_OK; /* its last words come before its death */
        if (fds[1].revents) return died(self, c->what, reterr);
        if (c->end_s > sk_clock_now_s()) continue;
        kill_and_reap(self);
        return SK_FAIL(reterr, SK_ETIMEOUT,
                       "the Python process %d had no answer to %s within %g s (env.timeout_s) and was killed",
                       self->pid, c->what, c->timeout_s);
    }
}

static bool is_for_later(ssize_t n) { return n < 0 && (errno == EAGAIN || errno == EINTR); }

static sk_status send_all(const conversation *c, const void *bytes, size_t size, sk_error *reterr) {
    const char *at = bytes;
    while (size > 0) {
        ssize_t n = send(c->worker->control_fd, at, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (is_for_later(n)) {
            SK_TRY(wait_for(c, POLLOUT, reterr));
            continue;
        }
        if (n <= 0) return died(c->worker, c->what, reterr);
        at += n;
        size -= (size_t)n;
    }
    return SK_OK;
}

static sk_status receive_all(const conversation *c, void *bytes, size_t size, sk_error *reterr) {
    char *at = bytes;
    while (size > 0) {
        SK_TRY(wait_for(c, POLLIN, reterr));
        ssize_t n = recv(c->worker->control_fd, at, size, MSG_DONTWAIT);
        if (is_for_later(n)) continue;
        if (n <= 0) return died(c->worker, c->what, reterr);
        at += n;
        size -= (size_t)n;
    }
    return SK_OK;
}

static sk_status reserve_text(sk_pyworker *self, size_t size, sk_error *reterr) {
    if (size < self->text_cap) return SK_OK;
    char *more = realloc(self->text, size + 1);
    if (!more) return SK_FAIL(reterr, SK_ENOMEM, "out of memory for a reply of %zu bytes", size);
    self->text = more;
    self->text_cap = size + 1;
    return SK_OK;
}

const char *sk_pyworker_text(const sk_pyworker *self, size_t *ret_size) {
    *ret_size = self->text_size;
    return self->text ? self->text : "";
}

sk_status sk_pyworker_call(sk_pyworker *self, const sk_pyworker_call_params *params, sk_error *reterr) {
    SK_ASSERT(self && params && params->what);
    conversation c = {.worker = self,
                      .what = params->what,
                      .timeout_s = params->timeout_s,
                      .end_s = sk_clock_now_s() + params->timeout_s};
    if (self->pidfd < 0)
        return SK_FAIL(reterr, SK_EDEAD, "the Python process %d %s before %s", self->pid, self->how, c.what);
    sk_pyworker_request request = params->request;
    reply_head          head;
    request.n_text = params->text ? strlen(params->text) : 0;
    SK_TRY(send_all(&c, &request, sizeof request, reterr));
    if (request.n_text) SK_TRY(send_all(&c, params->text, (size_t)request.n_text, reterr));
    SK_TRY(receive_all(&c, &head, sizeof head, reterr));
    if (head.status > 1 || head.n_text > TEXT_MAX) {
        kill_and_reap(self);
        return SK_FAIL(reterr, SK_ECORRUPT,
                       "the Python process answered %s by something that is no reply (%08x %08x)", c.what,
                       head.status, head.n_text);
    }
    SK_TRY(reserve_text(self, head.n_text, reterr));
    SK_TRY(receive_all(&c, self->text, head.n_text, reterr));
    self->text[head.n_text] = '\0';
    self->text_size = head.n_text;
    if (head.status) return SK_FAIL(reterr, SK_EENV, "%s", self->text);
    return SK_OK;
}
