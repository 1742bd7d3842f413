#include "core/runtime/worker_process.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/runtime/client.h"
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Threads that run the calls of one actor at the same time. */
typedef struct pool {
    struct hosted *actor;
    sk__client    *client;
    pthread_cond_t wake;
    sk__parcels    calls;  /* handed over, in order; by the client's lock */
    pthread_t     *threads; /* (n) */
    int            n;
    bool           stopping;
} pool;

typedef struct hosted {
    uint64_t              id;
    const sk_actor_class *cls;
    void                 *self;
    bool                  is_made;
    pool                 *pool; /* NULL: its calls run in the loop */
} hosted;

/* The loop: receives jobs and runs them, one at a time. */
typedef struct server {
    sk__client client;
    sk__work   work;
    hosted   **actors;
    int        n_actors, actors_cap;
} server;

/* ---- calls ----------------------------------------------------------------------------------------------- */
static hosted *find_actor(const server *self, uint64_t id) {
    for (int i = 0; i < self->n_actors; i++)
        if (self->actors[i]->id == id) return self->actors[i];
    return NULL;
}

static sk_status run_call(sk__work *work, const hosted *actor, const sk_message *message, sk_bytes payload,
                          sk_error *reterr) {
    sk_bytes rest;
    if (!actor) return SK_FAIL(reterr, SK_ENOTFOUND, "the worker has no such actor");
    if (message->method >= actor->cls->n_methods)
        return SK_FAIL(reterr, SK_EINVAL, "class %s has methods 0 to %d, got %d", actor->cls->name,
                       actor->cls->n_methods - 1, message->method);
    SK_TRY(sk__call_begin(&work->call, &work->client->rt, (int)message->n_args, (int)message->n_returns, reterr));
    SK_TRY(sk__work_open(work->client, payload, &rest, reterr));
    for (int i = 0; i < work->call.n_args; i++) SK_TRY(sk__work_next(work->client, &rest, &work->call.args[i], reterr));
    SK_TRY(sk__work_close(rest, reterr));
    return actor->cls->call(actor->self, message->method, &work->call, reterr);
}

static void read_parcel(const sk__parcel *parcel, const sk_message **ret_message, sk_bytes *ret_payload) {
    *ret_message = (const void *)parcel->bytes;
    *ret_payload = (sk_bytes){parcel->bytes + sizeof(sk_message), parcel->size - sizeof(sk_message)};
}

/* One call from its begin to its answer; it has begun. */
static void do_call(sk__work *work, const hosted *actor, const sk_message *message, sk_bytes payload) {
    sk_error  err = {0};
    sk_status status = sk__work_check(work, &err);
    if (status == SK_OK) status = run_call(work, actor, message, payload, &err);
    sk__work_end(work, message, status, &err);
}

/* ---- actors with threads of their own -------------------------------------------------------------------- */
static void *run_pool_thread(void *arg) {
    pool       *self = arg;
    sk__client *client = self->client;
    sk__work    work = {.client = client};
    sk__work_set_current(&work);
    sk__set_current(&client->rt);
    pthread_mutex_lock(&client->lock);
    for (;;) {
        sk__parcel *parcel = sk__parcels_pop(&self->calls);
        if (!parcel && self->stopping) break;
        if (!parcel) {
            pthread_cond_wait(&self->wake, &client->lock);
            continue;
        }
        const sk_message *message;
        sk_bytes          payload;
        read_parcel(parcel, &message, &payload);
        sk__work_begin(&work, message); /* with the lock: they begin in order */
        pthread_mutex_unlock(&client->lock);
        do_call(&work, self->actor, message, payload);
        pthread_mutex_lock(&client->lock);
        sk__mail_give_parcel(client, parcel);
    }
    pthread_mutex_unlock(&client->lock);
    sk__work_deinit(&work);
    return NULL;
}

/* Signals are for the main thread; those of faults must stay deliverable. */
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

/* Ends after the calls that were handed over. */
static void pool_destroy(pool **self_p) {
    pool *self = *self_p;
    *self_p = NULL;
    if (!self) return;
    pthread_mutex_lock(&self->client->lock);
    self->stopping = true;
    pthread_cond_broadcast(&self->wake);
    pthread_mutex_unlock(&self->client->lock);
    for (int i = 0; i < self->n; i++) pthread_join(self->threads[i], NULL);
    pthread_cond_destroy(&self->wake);
    free(self->threads);
    free(self);
}

static sk_status pool_create(sk__client *client, hosted *actor, int64_t n, pool **ret_pool, sk_error *reterr) {
    pool *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "no memory for %" PRId64 " threads", n);
    *self = (pool){.actor = actor, .client = client, .threads = calloc((size_t)n, sizeof(pthread_t))};
    int rc = self->threads ? pthread_cond_init(&self->wake, NULL) : ENOMEM;
    if (rc != 0) {
        free(self->threads);
        free(self);
        return SK_FAIL(reterr, SK_ENOMEM, "no memory for %" PRId64 " threads: %s", n, strerror(rc));
    }
    while (rc == 0 && self->n < n) {
        rc = start_thread(&self->threads[self->n], run_pool_thread, self);
        if (rc == 0) self->n++;
    }
    if (rc != 0) {
        int n_started = self->n;
        pool_destroy(&self);
        return SK_FAIL(reterr, SK_ELIMIT, "cannot start thread %d of %" PRId64 " (max_concurrency): %s",
                       n_started + 1, n, strerror(rc));
    }
    *ret_pool = self;
    return SK_OK;
}

/* ---- actors ---------------------------------------------------------------------------------------------- */
static sk_status reserve_actor(server *self, sk_error *reterr) {
    if (self->n_actors < self->actors_cap) return SK_OK;
    int      cap = self->actors_cap ? 2 * self->actors_cap : 1;
    hosted **grown = realloc(self->actors, (size_t)cap * sizeof *grown);
    if (!grown) return SK_FAIL(reterr, SK_ENOMEM, "no memory for an actor");
    self->actors = grown;
    self->actors_cap = cap;
    return SK_OK;
}

static void destroy_actor(hosted *actor) {
    pool_destroy(&actor->pool);
    if (actor->is_made) actor->cls->destroy(actor->self);
    free(actor);
}

/* What ps and top show: the first actor's name (15 characters fit). */
static void show_name(const server *self, sk_bytes name) {
    char text[16] = "";
    if (self->n_actors > 0 || name.size == 0) return;
    memcpy(text, name.data, name.size < sizeof text - 1 ? name.size : sizeof text - 1);
    prctl(PR_SET_NAME, text);
}

/* Name, arguments, and the state to go on from. */
static sk_status read_create(server *self, const sk_message *message, sk_bytes payload, sk_bytes *ret_state,
                             sk_error *reterr) {
    sk__client *client = &self->client;
    sk_call    *call = &self->work.call;
    sk_bytes    rest, name;
    SK_TRY(sk__call_begin(call, &client->rt, (int)message->n_args, (int)message->n_returns, reterr));
    SK_TRY(sk__work_open(client, payload, &rest, reterr));
    SK_TRY(sk__work_next(client, &rest, &name, reterr));
    for (int i = 0; i < call->n_args; i++) SK_TRY(sk__work_next(client, &rest, &call->args[i], reterr));
    if (message->b == 1) SK_TRY(sk__work_next(client, &rest, ret_state, reterr));
    SK_TRY(sk__work_close(rest, reterr));
    show_name(self, name);
    return SK_OK;
}

/* Fills what destroy_actor gives back, also when it fails. */
static sk_status make_actor(server *self, const sk_message *message, sk_bytes payload, hosted *actor,
                            sk_error *reterr) {
    sk_bytes              state = {0};
    const sk_actor_class *cls = actor->cls;
    void                 *made = NULL;
    SK_TRY(read_create(self, message, payload, &state, reterr));
    SK_TRY(cls->create(&self->work.call, &made, reterr));
    actor->self = made;
    actor->is_made = true;
    if (message->b == 1 && cls->restore) SK_TRY(cls->restore(actor->self, state, reterr));
    if (message->a > 1) SK_TRY(pool_create(&self->client, actor, message->a, &actor->pool, reterr));
    return SK_OK;
}

static sk_status create_actor(server *self, const sk_message *message, sk_bytes payload, sk_error *reterr) {
    if (find_actor(self, message->subject))
        return SK_FAIL(reterr, SK_EINVAL, "the worker has an actor of this id already");
    const sk_function *function = sk_registry_find(self->client.registry, message->function);
    if (!function || !function->cls)
        return SK_FAIL(reterr, SK_ENOTFOUND, "a worker process has no class of hash %016" PRIx64
                       " (a module of the program that its worker program lacks?)", message->function);
    SK_TRY(reserve_actor(self, reterr));
    hosted *actor = calloc(1, sizeof *actor);
    if (!actor) return SK_FAIL(reterr, SK_ENOMEM, "no memory for an actor");
    *actor = (hosted){.id = message->subject, .cls = function->cls};
    sk_status status = make_actor(self, message, payload, actor, reterr);
    if (status != SK_OK) destroy_actor(actor);
    else self->actors[self->n_actors++] = actor;
    return status;
}

static void destroy_actors(server *self) {
    while (self->n_actors > 0) destroy_actor(self->actors[--self->n_actors]);
    free(self->actors);
    self->actors = NULL;
}

/* ---- the loop -------------------------------------------------------------------------------------------- */
/* A task or a create, from its begin to its answer. */
static void do_job(server *self, const sk_message *message, sk_bytes payload) {
    sk__work *work = &self->work;
    sk_error  err = {0};
    sk_status status = sk__work_check(work, &err);
    if (status == SK_OK && message->kind == SK_MSG_RUN) status = sk__work_run_task(work, message, payload, &err);
    else if (status == SK_OK) status = create_actor(self, message, payload, &err);
    sk__work_end(work, message, status, &err);
}

static void hand_over(pool *self, sk__parcel *parcel) {
    sk__parcels_push(&self->calls, parcel);
    pthread_cond_signal(&self->wake);
}

/* Until STOP: SK_OK. */
static sk_status serve(server *self) {
    sk__client *client = &self->client;
    for (;;) {
        pthread_mutex_lock(&client->lock);
        sk__parcel *parcel = sk__mail_next_job(client);
        if (!parcel) {
            pthread_mutex_unlock(&client->lock);
            return SK_EDEAD;
        }
        const sk_message *message;
        sk_bytes          payload;
        read_parcel(parcel, &message, &payload);
        sk_message_kind kind = (sk_message_kind)message->kind;
        const hosted   *actor = kind == SK_MSG_CALL ? find_actor(self, message->subject) : NULL;
        if (actor && actor->pool) {
            hand_over(actor->pool, parcel);
            pthread_mutex_unlock(&client->lock);
            continue;
        }
        pthread_mutex_unlock(&client->lock);
        if (kind != SK_MSG_STOP) {
            sk__work_begin(&self->work, message);
            if (kind == SK_MSG_CALL) do_call(&self->work, actor, message, payload);
            else do_job(self, message, payload);
        }
        pthread_mutex_lock(&client->lock);
        sk__mail_give_parcel(client, parcel);
        pthread_mutex_unlock(&client->lock);
        if (kind == SK_MSG_STOP) return SK_OK;
    }
}

static void say(sk__client *client, const sk_message *head) {
    sk_error err = {0};
    pthread_mutex_lock(&client->lock);
    sk__client_flush(client);
    sk_status status = sk__mail_put(client, head, NULL, 0, SK_MAIL_URGENT, &err);
    pthread_mutex_unlock(&client->lock);
    if (status != SK_OK) sk_log(SK_LOG_WARN, "worker: %s", err.msg);
}

int sk__worker_serve(sk_board *board, int line, sk__store_view store, const sk_registry *registry) {
    server    it = {0}, *self = &it;
    sk_error  err = {0};
    sk_status status = sk__client_init(&self->client, board, line, store.data, store.size, registry, &err);
    if (status != SK_OK) {
        sk_log(SK_LOG_ERROR, "worker: %s", err.msg);
        return SK__EXIT_FAILED;
    }
    self->work = (sk__work){.client = &self->client, .is_loop = true};
    sk__work_set_current(&self->work);
    sk_runtime *before = sk__set_current(&self->client.rt);
    say(&self->client, &(sk_message){.kind = SK_MSG_HELLO, .a = getpid()});
    status = serve(self);
    destroy_actors(self);
    if (status == SK_OK) say(&self->client, &(sk_message){.kind = SK_MSG_BYE});
    sk__set_current(before);
    sk__work_set_current(NULL);
    sk__work_deinit(&self->work);
    sk__client_deinit(&self->client);
    return status == SK_OK ? SK__EXIT_STOPPED : SK__EXIT_FAILED;
}

/* ---- the process ----------------------------------------------------------------------------------------- */
/* A first SIGTERM is the driver's business: whoever ends a whole process group (timeout, systemd) reaches both, and
 * the driver wants to finish what it does first. A second one ends the worker at once. */
static void on_sigterm(int signal_number) {
    static atomic_int n_before;
    (void)signal_number;
    if (atomic_fetch_add(&n_before, 1) > 0) _exit(SK__EXIT_SIGTERM);
}

static bool prepare_signals(void) {
    struct sigaction ignore = {.sa_handler = SIG_IGN}, term = {.sa_handler = on_sigterm};
    sigset_t         none;
    sigemptyset(&none);
    return sigaction(SIGINT, &ignore, NULL) == 0 && sigaction(SIGPIPE, &ignore, NULL) == 0 &&
           sigaction(SIGTERM, &term, NULL) == 0 && pthread_sigmask(SIG_SETMASK, &none, NULL) == 0;
}

typedef struct worker_args {
    sk_block_ref board, store;
    uint64_t     line, parent;
    int          n_seen[4]; /* of each option but --plugin */
} worker_args;

/* Digits up to `end_char`; moves on behind it. */
static bool parse_number(const char **text, char end_char, uint64_t max, uint64_t *ret_value) {
    char *end = NULL;
    if (**text < '0' || **text > '9') return false;
    errno = 0;
    *ret_value = strtoull(*text, &end, 10);
    if (errno != 0 || *end != end_char || *ret_value > max) return false;
    *text = end + (end_char != 0);
    return true;
}

/* PID,FD,ID,SIZE */
static bool parse_ref(const char *text, sk_block_ref *ret_ref) {
    uint64_t pid, fd;
    if (!parse_number(&text, ',', INT32_MAX, &pid) || !parse_number(&text, ',', INT32_MAX, &fd) ||
        !parse_number(&text, ',', UINT64_MAX, &ret_ref->id) ||
        !parse_number(&text, 0, UINT64_MAX, &ret_ref->size_bytes))
        return false;
    ret_ref->pid = (int32_t)pid;
    ret_ref->fd = (int32_t)fd;
    return true;
}

static bool parse_args(int argc, char **argv, worker_args *args) {
    for (int i = 0; i + 1 < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        bool        good = true;
        if (strcmp(name, "--board") == 0) args->n_seen[0]++, good = parse_ref(value, &args->board);
        else if (strcmp(name, "--store") == 0) args->n_seen[1]++, good = parse_ref(value, &args->store);
        else if (strcmp(name, "--line") == 0)
            args->n_seen[2]++, good = parse_number(&value, 0, SK_BOARD_LINES - 1, &args->line);
        else if (strcmp(name, "--parent") == 0)
            args->n_seen[3]++, good = parse_number(&value, 0, INT32_MAX, &args->parent);
        else good = strcmp(name, "--plugin") == 0 && *value;
        if (!good) return false;
    }
    bool all = argc % 2 == 0;
    for (int i = 0; i < SK_COUNT(args->n_seen); i++) all = all && args->n_seen[i] == 1;
    return all;
}

/* What the process has mapped and loaded. */
typedef struct process {
    sk_block    *board_block, *store_block;
    sk_board    *board;
    sk_registry *registry;
} process;

static sk_status open_board(process *self, const sk_block_ref *ref, sk_error *reterr) {
    if (ref->size_bytes < sizeof(sk_board))
        return SK_FAIL(reterr, SK_EVERSION, "the board has %" PRIu64 " bytes, wanted %zu", ref->size_bytes,
                       sizeof(sk_board));
    SK_TRY(sk_block_open(ref, &self->board_block, reterr));
    self->board = sk_block_data(self->board_block);
    if (memcmp(self->board->magic, SK_BOARD_MAGIC, sizeof SK_BOARD_MAGIC) != 0)
        return SK_FAIL(reterr, SK_ECORRUPT, "the board is none");
    if (self->board->version != SK_BOARD_VERSION || self->board->size != sizeof(sk_board))
        return SK_FAIL(reterr, SK_EVERSION, "the board is of version %u with %" PRIu64 " bytes, wanted %u with %zu: "
                       "the worker program was built with another skiff", self->board->version, self->board->size,
                       SK_BOARD_VERSION, sizeof(sk_board));
    return SK_OK;
}

static sk_status load_modules(process *self, const sk_module *const *modules, int n_modules, int argc, char **argv,
                              sk_error *reterr) {
    SK_TRY(sk_registry_create(&self->registry, reterr));
    for (int i = 0; i < n_modules; i++) SK_TRY(sk_registry_add_module(self->registry, modules[i], reterr));
    for (int i = 0; i + 1 < argc; i += 2)
        if (strcmp(argv[i], "--plugin") == 0) SK_TRY(sk_registry_add_plugin(self->registry, argv[i + 1], reterr));
    return SK_OK;
}

static void process_deinit(process *self) {
    sk_registry_destroy(&self->registry);
    sk_block_destroy(&self->store_block);
    sk_block_destroy(&self->board_block);
}

int sk_worker_main(int argc, char **argv, const sk_module *const *modules, int n_modules) {
    /* First of all: when the driver goes, so do we; then see whether it went before this took hold. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return SK__EXIT_FAILED;
    worker_args args = {0};
    if (!parse_args(argc, argv, &args)) {
        sk_log(SK_LOG_ERROR, "worker: wants --board PID,FD,ID,SIZE --store PID,FD,ID,SIZE --line N --parent PID "
                             "[--plugin PATH]...; it is started by skiff itself");
        return SK__EXIT_FAILED;
    }
    if ((uint64_t)getppid() != args.parent) return SK__EXIT_FAILED;
    if (!prepare_signals()) {
        sk_log(SK_LOG_ERROR, "worker: cannot set up its signals: %s", strerror(errno));
        return SK__EXIT_FAILED;
    }
    process   it = {0};
    sk_error  err = {0};
    int       exit_status = SK__EXIT_FAILED;
    sk_status status = open_board(&it, &args.board, &err);
    if (status == SK_OK) status = sk_block_open(&args.store, &it.store_block, &err);
    if (status == SK_OK) status = load_modules(&it, modules, n_modules, argc, argv, &err);
    if (status == SK_OK) {
        sk__store_view store = {sk_block_data(it.store_block), (size_t)args.store.size_bytes};
        exit_status = sk__worker_serve(it.board, (int)args.line, store, it.registry);
    } else
        sk_log(SK_LOG_ERROR, "worker: %s", err.msg);
    process_deinit(&it);
    return exit_status;
}
