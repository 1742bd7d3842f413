#include "core/base/log.h"
#include "core/runtime/old_internal.h"
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

typedef struct hosted {
    uint64_t id;
    const sk_actor_class *cls;
    void *self;
} hosted;

/* One worker: a socket and the actors it serves, one call at a time. */
typedef struct server {
    sk_messenger *messenger;
    sk_socket *socket;
    const sk_actor_class *const *classes;
    int n_classes;
    hosted *actors;
    int n_actors, cap;
    sk_reply reply;    /* of the present call; kept for the next one     */
    atomic_bool ended; /* set from outside: serve nothing more           */
} server;

sk_status sk__class_find(const sk_actor_class *const *classes, int n_classes, const char *name,
                         const sk_actor_class **ret_class, sk_error *reterr) {
    char known[256] = "";
    size_t at = 0;
    for (int i = 0; i < n_classes; i++) {
        if (strcmp(classes[i]->name, name) == 0) {
            *ret_class = classes[i];
            return SK_OK;
        }
        int n = snprintf(known + at, sizeof known - at, "%s%s", i ? ", " : "", classes[i]->name);
        if (n > 0 && at + (size_t)n < sizeof known) at += (size_t)n;
    }
    return SK_FAIL(reterr, SK_ENOTFOUND, "there is no actor class '%s'; there are: %s", name, known);
}

/* ---- answers ---------------------------------------------------------------------------------------- */
static void send_frame(server *self, const sk_frame *frame) {
    sk_error err = {0};
    if (sk_socket_send(self->socket, 0, frame, &err) != SK_OK) sk_log(SK_LOG_ERROR, "worker: %s", err.msg);
}

/* Answer with a status and the text of its error, if it has one. */
static void send_error(server *self, sk_frame *answer, sk_status status, const sk_error *err) {
    bool told = err->msg[0] != 0;
    answer->status = sk_frame_status_is_known(status) ? status : SK_EINVAL;
    answer->payload = told ? err->msg : NULL;
    answer->size = told ? strlen(err->msg) : 0;
    send_frame(self, answer);
}

/* ---- actors ----------------------------------------------------------------------------------------- */
static hosted *find_actor(server *self, uint64_t id) {
    for (int i = 0; i < self->n_actors; i++)
        if (self->actors[i].id == id) return &self->actors[i];
    return NULL;
}

static sk_status reserve_actor(server *self, sk_error *reterr) {
    if (self->n_actors < self->cap) return SK_OK;
    int cap = self->cap ? 2 * self->cap : 1;
    hosted *grown = realloc(self->actors, (size_t)cap * sizeof *grown);
    if (!grown) return SK_FAIL(reterr, SK_ENOMEM, "no memory for an actor");
    self->actors = grown;
    self->cap = cap;
    return SK_OK;
}

/* `arg` is an aligned copy: an actor may read structs out of it. */
static sk_status make_actor(server *self, uint64_t id, const char *class_name, sk_bytes arg,
                            sk_error *reterr) {
    const sk_actor_class *cls = NULL;
    void *made = NULL;
    if (find_actor(self, id)) return SK_FAIL(reterr, SK_EINVAL, "the worker has an actor of this id already");
    SK_TRY(sk__class_find(self->classes, self->n_classes, class_name, &cls, reterr));
    SK_TRY(reserve_actor(self, reterr));
    SK_TRY(cls->create(arg, &made, reterr));
    self->actors[self->n_actors++] = (hosted){.id = id, .cls = cls, .self = made};
    return SK_OK;
}

static sk_status on_create(server *self, const sk_frame *frame, sk_error *reterr) {
    const char *class_name = frame->payload;
    size_t class_size = frame->size ? strnlen(class_name, frame->size) + 1 : 1;
    if (class_size > frame->size)
        return SK_FAIL(reterr, SK_ECORRUPT, "the order to create an actor has no class");
    const char *name = class_name + class_size;
    size_t left = frame->size - class_size;
    size_t name_size = left ? strnlen(name, left) + 1 : 1;
    if (name_size > left) return SK_FAIL(reterr, SK_ECORRUPT, "the order to create an actor has no name");

    /* What ps and top show: the first actor's name (15 characters fit). */
    if (self->n_actors == 0) prctl(PR_SET_NAME, name);
    sk_bytes arg = {NULL, left - name_size};
    void *copy = NULL;
    if (arg.size) {
        copy = malloc(arg.size);
        if (!copy) return SK_FAIL(reterr, SK_ENOMEM, "no memory for an argument of %zu bytes", arg.size);
        arg.data = memcpy(copy, name + name_size, arg.size);
    }
    sk_status status = make_actor(self, frame->actor_id, class_name, arg, reterr);
    free(copy);
    return status;
}

static sk_status on_call(server *self, const sk_frame *frame, sk_error *reterr) {
    const hosted *actor = find_actor(self, frame->actor_id);
    if (!actor) return SK_FAIL(reterr, SK_ENOTFOUND, "the worker has no such actor");
    if (frame->method < 0 || frame->method >= actor->cls->n_methods)
        return SK_FAIL(reterr, SK_EINVAL, "class %s has methods 0 to %d, got %d", actor->cls->name,
                       actor->cls->n_methods - 1, frame->method);
    return actor->cls->call(actor->self, frame->method, (sk_bytes){frame->payload, frame->size}, &self->reply,
                            reterr);
}

static void destroy_actors(server *self) {
    while (self->n_actors > 0) {
        hosted *actor = &self->actors[--self->n_actors];
        actor->cls->destroy(actor->self);
    }
}

/* ---- the loop --------------------------------------------------------------------------------------- */
/* False: it was the order to stop. */
static bool serve_one(server *self, const sk_frame *frame) {
    sk_error err = {0};
    sk_frame answer = {.actor_id = frame->actor_id, .call_id = frame->call_id, .method = frame->method};
    sk_status status;
    switch (frame->kind) {
    case SK_FRAME_CREATE:
        answer.kind = SK_FRAME_READY;
        status = on_create(self, frame, &err);
        break;
    case SK_FRAME_CALL:
        answer.kind = SK_FRAME_REPLY;
        self->reply.size = 0;
        status = on_call(self, frame, &err);
        answer.payload = self->reply.data;
        answer.size = self->reply.size;
        break;
    case SK_FRAME_STOP:
        return false;
    default:
        sk_log(SK_LOG_WARN, "worker: dropped a message of kind %d, which is for drivers", frame->kind);
        return true;
    }
    if (status != SK_OK)
        send_error(self, &answer, status, &err);
    else
        send_frame(self, &answer);
    return true;
}

/* Serve until told to stop. Leaves no actor behind. */
static void serve(server *self) {
    send_frame(self, &(sk_frame){.kind = SK_FRAME_HELLO});
    while (!atomic_load(&self->ended)) {
        sk_frame frame;
        sk_error err = {0};
        sk_status status = sk_socket_recv(self->socket, NULL, &frame, &err);
        if (status == SK_OK) {
            if (!serve_one(self, &frame)) break;
        } else if (status == SK_ENOTFOUND) {
            if (!sk_socket_wait(self->socket, -1, -1)) break;
        } else if (status == SK_ECORRUPT || status == SK_EVERSION) {
            sk_log(SK_LOG_WARN, "worker: dropped a message: %s", err.msg);
        } else {
            if (status != SK_EINTERRUPTED) sk_log(SK_LOG_ERROR, "worker: %s", err.msg);
            break;
        }
    }
    destroy_actors(self);
    send_frame(self, &(sk_frame){.kind = SK_FRAME_BYE});
}

static void server_deinit(server *self) {
    sk_socket_destroy(&self->socket);
    sk_messenger_release(&self->messenger); /* gives what was sent last the time to leave */
    sk__reply_deinit(&self->reply);
    free(self->actors);
    self->actors = NULL;
}

/* ---- a worker that is a thread ---------------------------------------------------------------------- */
struct sk__thread_worker {
    pthread_t thread;
    server server;
    atomic_int n_left; /* sides that are through with it: the thread, and who gave up on it */
};

/* Frees it when the other side is through already. */
static void leave(sk__thread_worker *self) {
    if (atomic_fetch_add(&self->n_left, 1) == 1) free(self);
}

static void *run_thread(void *arg) {
    sk__thread_worker *self = arg;
    serve(&self->server);
    server_deinit(&self->server);
    leave(self);
    return NULL;
}

/* Signals are for the program's own threads; those of faults must stay deliverable. */
static int start_thread(pthread_t *ret_thread, void *(*run)(void *), void *arg) {
    sigset_t blocked, old;
    sigfillset(&blocked);
    const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP};
    for (int i = 0; i < SK_COUNT(faults); i++) sigdelset(&blocked, faults[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, &old);
    int rc = pthread_create(ret_thread, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}

sk_status sk__thread_worker_start(sk_messenger *messenger, const char *endpoint, uint64_t id,
                                  const sk_actor_class *const *classes, int n_classes,
                                  sk__thread_worker **ret_worker, sk_error *reterr) {
    sk__thread_worker *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a thread");
    self->server = (server){.classes = classes, .n_classes = n_classes};
    /* The socket is made here, where its failure can be told, and handed over with the start of the thread.
     */
    sk_status status = sk_socket_create_dealer(messenger, id, endpoint, &self->server.socket, reterr);
    if (status == SK_OK) {
        self->server.messenger = sk_messenger_acquire(messenger);
        int rc = start_thread(&self->thread, run_thread, self);
        if (rc) status = SK_FAIL(reterr, SK_ELIMIT, "cannot start a thread: %s", strerror(rc));
    }
    if (status != SK_OK) {
        server_deinit(&self->server);
        free(self);
        return status;
    }
    *ret_worker = self;
    return SK_OK;
}

void sk__thread_worker_join(sk__thread_worker **self_p) {
    sk__thread_worker *self = *self_p;
    *self_p = NULL;
    pthread_join(self->thread, NULL);
    free(self);
}

void sk__thread_worker_abandon(sk__thread_worker **self_p) {
    sk__thread_worker *self = *self_p;
    *self_p = NULL;
    atomic_store(&self->server.ended, true);
    pthread_detach(self->thread);
    leave(self);
}

/* ---- a worker that is a process --------------------------------------------------------------------- */
/* A first SIGTERM is the driver's business: whoever ends a whole process group (timeout, systemd) reaches both, and the
 * driver wants to finish its iteration and write a checkpoint first. A second one ends the worker at once. */
static void on_sigterm(int signal_number) {
    static atomic_int n_before;
    (void)signal_number;
    if (atomic_fetch_add(&n_before, 1) > 0) _exit(SK__EXIT_SIGTERM);
}

static bool prepare_signals(void) {
    struct sigaction ignore = {.sa_handler = SIG_IGN}, term = {.sa_handler = on_sigterm};
    sigset_t none;
    sigemptyset(&none);
    return sigaction(SIGINT, &ignore, NULL) == 0 && sigaction(SIGPIPE, &ignore, NULL) == 0 &&
           sigaction(SIGTERM, &term, NULL) == 0 &&
           pthread_sigmask(SIG_SETMASK, &none, NULL) == 0;
}

typedef struct worker_args {
    const char *endpoint;
    uint64_t id;
    long parent;
} worker_args;

static bool parse_number(const char *text, uint64_t *ret_value) {
    char *end = NULL;
    errno = 0;
    *ret_value = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == 0 && errno == 0;
}

static bool parse_args(int argc, char **argv, worker_args *args) {
    uint64_t parent = 0;
    for (int i = 0; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--endpoint") == 0)
            args->endpoint = argv[i + 1];
        else if (strcmp(argv[i], "--id") == 0 && parse_number(argv[i + 1], &args->id))
            continue;
        else if (strcmp(argv[i], "--parent") == 0 && parse_number(argv[i + 1], &parent))
            continue;
        else
            return false;
    }
    args->parent = (long)parent;
    return argc % 2 == 0 && args->endpoint && args->id != 0 && parent != 0;
}

int sk_worker_main(int argc, char **argv, const sk_actor_class *const *classes, int n_classes) {
    /* First of all: when the driver goes, so do we; then see whether it went before this took hold. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return SK__EXIT_FAILED;
    worker_args args = {0};
    if (!parse_args(argc, argv, &args)) {
        sk_log(SK_LOG_ERROR,
               "worker: wants --endpoint ENDPOINT --id N --parent PID; it is started by skiff itself");
        return SK__EXIT_FAILED;
    }
    if (getppid() != args.parent) return SK__EXIT_FAILED;
    if (!prepare_signals()) {
        sk_log(SK_LOG_ERROR, "worker: cannot set up its signals: %s", strerror(errno));
        return SK__EXIT_FAILED;
    }

    server the_server = {.classes = classes, .n_classes = n_classes}, *self = &the_server;
    sk_error err = {0};
    sk_status status = sk_messenger_create(&self->messenger, &err);
    if (status == SK_OK)
        status = sk_socket_create_dealer(self->messenger, args.id, args.endpoint, &self->socket, &err);
    if (status == SK_OK)
        serve(self);
    else
        sk_log(SK_LOG_ERROR, "worker: %s", err.msg);
    server_deinit(self);
    if (status != SK_OK) return SK__EXIT_FAILED;
    return SK__EXIT_STOPPED;
}
