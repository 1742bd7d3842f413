#include "core/runtime/supervisor.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

typedef struct child {
    uint64_t worker_id;
    int pid;
    int pidfd; /* a stable name of the process: its pid may be reused, this not */
} child;

typedef struct order {
    uint64_t worker_id;
    const char *path;
    char *const *argv;
    const char *log_path;
    char *const *env;
    int pid;          /* out */
    sk_status status; /* out */
    sk_error err;     /* out */
} order;

struct sk_supervisor {
    pthread_t thread;
    int wake_fd;  /* eventfd: there is an order, or `stopping`      */
    void (*on_death)(void *arg);
    void *arg;
    char *const *env;  /* of the children; NULL: this program's; the spawning thread's */
    atomic_int n_deaths;
    pthread_mutex_t lock; /* guards all below                                   */
    pthread_cond_t done;  /* the order was carried out                          */
    order *todo;
    bool stopping;
    child *children;
    sk_death *deaths;     /* oldest first                                     */
    int n_children, cap;  /* `deaths` has room for every child       */
    struct pollfd *polls; /* the thread's own: wake_fd, then one per child    */
};

/* ---- the supervisor's thread ----------------------------------------------------------------------------- */
static void describe_end(const siginfo_t *info, bool known, sk_death *death) {
    size_t room = sizeof death->how;
    if (!known) {
        snprintf(death->how, room, "has ended (how is not known: the program ignores SIGCHLD or reaped it)");
    } else if (info->si_code == CLD_EXITED) {
        death->exit_status = info->si_status;
        snprintf(death->how, room, "exited with status %d", info->si_status);
    } else {
        const char *name = sigabbrev_np(info->si_status);
        snprintf(death->how, room, "was killed by signal %d (SIG%s)", info->si_status, name ? name : "?");
    }
}

/* Reap child `i`, which has ended, and tell the runtime. Called with the lock held. */
static void reap(sk_supervisor *self, int i) {
    child ended = self->children[i];
    siginfo_t info = {0};
    int rc;
    do rc = waitid(P_PIDFD, (id_t)ended.pidfd, &info, WEXITED);
    while (rc != 0 && errno == EINTR);
    close(ended.pidfd);
    self->children[i] = self->children[--self->n_children];

    int at = atomic_load(&self->n_deaths);
    sk_death *death = &self->deaths[at];
    *death = (sk_death){.worker_id = ended.worker_id, .pid = ended.pid, .exit_status = -1};
    describe_end(&info, rc == 0 && info.si_pid != 0, death);
    atomic_store(&self->n_deaths, at + 1);
    self->on_death(self->arg);
}

/* Room for one child more, and for its death. */
static sk_status reserve(sk_supervisor *self, sk_error *reterr) {
    int needed = self->n_children + atomic_load(&self->n_deaths) + 1;
    if (needed <= self->cap) return SK_OK;
    int cap = 2 * needed;
    child *children = realloc(self->children, (size_t)cap * sizeof *children);
    if (children) self->children = children;
    sk_death *deaths = realloc(self->deaths, (size_t)cap * sizeof *deaths);
    if (deaths) self->deaths = deaths;
    struct pollfd *polls = realloc(self->polls, (size_t)(cap + 1) * sizeof *polls);
    if (polls) self->polls = polls;
    if (!children || !deaths || !polls)
        return SK_FAIL(reterr, SK_ENOMEM, "no memory to watch %d workers", needed);
    self->cap = cap;
    return SK_OK;
}

/* posix_spawn sets its errors as return values; this collects the first one. */
static int spawn_process(const order *todo, pid_t *ret_pid) {
    posix_spawnattr_t attr;
    posix_spawn_file_actions_t files;
    sigset_t all, masked;
    sigfillset(&all);
    sigemptyset(&masked);
    sigaddset(&masked,
              SIGINT); /* Ctrl-C goes to the whole terminal; the worker is to ignore it from the start */
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
    if (!rc) rc = posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    /* The driver's standard output is for results alone. */
    if (!rc && todo->log_path)
        rc = posix_spawn_file_actions_addopen(&files, STDERR_FILENO, todo->log_path, O_WRONLY | O_CREAT | O_APPEND,
                                              0644);
    if (!rc && (todo->log_path || fcntl(STDERR_FILENO, F_GETFD) >= 0))
        rc = posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
    if (!rc) rc = posix_spawn(ret_pid, todo->path, &files, &attr, todo->argv, todo->env ? todo->env : environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    return rc;
}

/* Called with the lock held. */
static sk_status carry_out(sk_supervisor *self, order *todo) {
    sk_error *reterr = &todo->err;
    SK_TRY(reserve(self, reterr));
    int rc = spawn_process(todo, &todo->pid);
    if (rc)
        return SK_FAIL(reterr, SK_EIO, "cannot start the worker program %s: %s", todo->path, strerror(rc));
    int pidfd = pidfd_open(todo->pid, 0);
    if (pidfd < 0) {
        rc = errno;
        kill(todo->pid, SIGKILL); /* not reaped yet, so the pid is still its own */
        while (waitpid(todo->pid, NULL, 0) < 0 && errno == EINTR) {
        }
        return SK_FAIL(reterr, SK_EIO, "cannot watch worker process %d: %s", todo->pid, strerror(rc));
    }
    self->children[self->n_children++] =
        (child){.worker_id = todo->worker_id, .pid = todo->pid, .pidfd = pidfd};
    return SK_OK;
}

static void kill_all(sk_supervisor *self) {
    for (int i = 0; i < self->n_children; i++) pidfd_send_signal(self->children[i].pidfd, SIGKILL, NULL, 0);
}

/* Sleep until an order or a death comes. Called and left with the lock held. */
static void sleep_until_event(sk_supervisor *self) {
    int n = self->n_children; /* only this thread adds and removes children, so they stay put meanwhile */
    self->polls[0] = (struct pollfd){.fd = self->wake_fd, .events = POLLIN};
    for (int i = 0; i < n; i++)
        self->polls[i + 1] = (struct pollfd){.fd = self->children[i].pidfd, .events = POLLIN};
    pthread_mutex_unlock(&self->lock);
    int rc = poll(self->polls, (nfds_t)(n + 1), -1);
    pthread_mutex_lock(&self->lock);
    if (rc < 0) return; /* EINTR: look again */

    eventfd_t ignored;
    if (self->polls[0].revents) eventfd_read(self->wake_fd, &ignored);
    for (int i = n - 1; i >= 0; i--) /* downwards: reaping moves the last child into the gap */
        if (self->polls[i + 1].revents) reap(self, i);
}

static void *supervise(void *arg) {
    sk_supervisor *self = arg;
    pthread_mutex_lock(&self->lock);
    while (!self->stopping || self->n_children > 0) {
        sleep_until_event(self);
        if (self->todo) {
            self->todo->status = carry_out(self, self->todo);
            self->todo = NULL;
            pthread_cond_signal(&self->done);
        }
        if (self->stopping) kill_all(self);
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

/* ---- the runtime's side ---------------------------------------------------------------------------------- */
static sk_status open_events(sk_supervisor *self, sk_error *reterr) {
    self->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->wake_fd < 0)
        return SK_FAIL(reterr, SK_EIO, "cannot open an eventfd for the supervisor: %s", strerror(errno));
    return reserve(self, reterr);
}

static void free_all(sk_supervisor *self) {
    if (self->wake_fd >= 0) close(self->wake_fd);
    pthread_cond_destroy(&self->done);
    pthread_mutex_destroy(&self->lock);
    free(self->children);
    free(self->deaths);
    free(self->polls);
    free(self);
}

sk_status sk_supervisor_create(void (*on_death)(void *arg), void *arg, sk_supervisor **ret_supervisor,
                               sk_error *reterr) {
    SK_ASSERT(on_death && ret_supervisor);
    sk_supervisor *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "no memory for the supervisor");
    self->on_death = on_death;
    self->arg = arg;
    self->wake_fd = -1;
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->done, NULL);

    sk_status status = open_events(self, reterr);
    if (status == SK_OK) {
        /* Signals are for the program's own threads. */
        sigset_t all, old;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        int rc = pthread_create(&self->thread, NULL, supervise, self);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        if (rc) status = SK_FAIL(reterr, SK_ELIMIT, "cannot start the supervisor's thread: %s", strerror(rc));
    }
    if (status != SK_OK) {
        free_all(self);
        return status;
    }
    *ret_supervisor = self;
    return SK_OK;
}

void sk_supervisor_destroy(sk_supervisor **self_p) {
    if (!self_p || !*self_p) return;
    sk_supervisor *self = *self_p;
    *self_p = NULL;
    pthread_mutex_lock(&self->lock);
    self->stopping = true;
    pthread_mutex_unlock(&self->lock);
    eventfd_write(self->wake_fd, 1);
    pthread_join(self->thread, NULL);
    free_all(self);
}

void sk_supervisor_set_env(sk_supervisor *self, char *const *env) {
    SK_ASSERT(self);
    self->env = env;
}

sk_status sk_supervisor_spawn(sk_supervisor *self, uint64_t worker_id, const char *path, char *const *argv,
                              const char *log_path, int *ret_pid, sk_error *reterr) {
    SK_ASSERT(self && path && argv && ret_pid);
    order todo = {.worker_id = worker_id, .path = path, .argv = argv, .log_path = log_path, .env = self->env};
    pthread_mutex_lock(&self->lock);
    self->todo = &todo;
    eventfd_write(self->wake_fd, 1);
    while (self->todo) pthread_cond_wait(&self->done, &self->lock);
    pthread_mutex_unlock(&self->lock);
    if (todo.status != SK_OK) {
        if (reterr) *reterr = todo.err;
        return todo.status;
    }
    *ret_pid = todo.pid;
    return SK_OK;
}

void sk_supervisor_signal(sk_supervisor *self, uint64_t worker_id, int signal_number) {
    SK_ASSERT(self);
    pthread_mutex_lock(&self->lock);
    for (int i = 0; i < self->n_children; i++)
        if (self->children[i].worker_id == worker_id)
            pidfd_send_signal(self->children[i].pidfd, signal_number, NULL, 0);
    pthread_mutex_unlock(&self->lock);
}

bool sk_supervisor_has_death(const sk_supervisor *self) { return atomic_load(&self->n_deaths) > 0; }

bool sk_supervisor_pop_death(sk_supervisor *self, sk_death *ret_death) {
    SK_ASSERT(self && ret_death);
    pthread_mutex_lock(&self->lock);
    int n = atomic_load(&self->n_deaths);
    if (n > 0) {
        *ret_death = self->deaths[0];
        memmove(self->deaths, self->deaths + 1, (size_t)(n - 1) * sizeof *self->deaths);
        atomic_store(&self->n_deaths, n - 1);
    }
    pthread_mutex_unlock(&self->lock);
    return n > 0;
}
