#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/runtime/node_internal.h"
#include "core/runtime/supervisor.h"
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define MS             INT64_C(1000000)
#define TELL_NS        (5000 * MS) /* patience is told of so often */
#define BYE_NS         (5000 * MS) /* workers may take so long to stop */
#define EARS_NS        (250 * MS)  /* a worker that is stopped while it rings keeps others' mail from us so long */
#define STORE_SHARE    0.3
/* The store has so many times what the head may use: it counts bytes, and pieces leave gaps. What is not touched is not
 * taken from the machine. */
#define STORE_SPARE    2
enum {
    FRAMES_PER_TURN = 256,
    RETRY_MS = 1,     /* until a way that was full is tried again */
    RETRY_MAX_MS = 16, /* a worker that reads nothing is looked at ever less often */
    SLICE_MS = 250,   /* a signal that comes while nobody sleeps is seen after so long */
    PAUSE_MS = 200,   /* before joining anew */
    LINGER_MS = 1000, /* last words get so long */
};

static bool is_interrupted(const sk__node *self) { return self->params->interrupted && *self->params->interrupted; }

/* ---- sending --------------------------------------------------------------------------------------------- */
void sk__node_fail(sk__node *self, sk__node_end end, const sk_error *err) {
    if (self->end != SK__NODE_GOES_ON) return;
    self->end = end;
    if (err) self->err = *err;
}

static bool try_link(sk__node *self, const sk_link_frame *frame) {
    sk_error      err = {0};
    sk_link_frame ours = *frame;
    ours.session = self->session;
    sk_status status = sk_link_send(self->link, &ours, &self->order, &err);
    if (status == SK_OK) return true;
    self->is_full = true;
    /* Not connected now: it connects by itself, or the head's silence is noticed. */
    if (status != SK_ELIMIT && status != SK_EDEAD) sk__node_fail(self, SK__NODE_FAILED, &err);
    return false;
}

static void send_kept(sk__node *self) {
    while (self->out && try_link(self, &self->out->frame)) {
        sk__node_parcel *parcel = self->out;
        self->out = parcel->next;
        if (!self->out) self->out_last = NULL;
        free(parcel);
    }
}

bool sk__node_try_send(sk__node *self, const sk_link_frame *frame) {
    if (self->is_full) return false;
    send_kept(self);
    return !self->out && try_link(self, frame);
}

void sk__node_send(sk__node *self, const sk_link_frame *frame) {
    if (sk__node_try_send(self, frame)) return;
    sk__node_parcel *parcel = malloc(sizeof *parcel + frame->size);
    sk_error         err = {0};
    if (!parcel) {
        (void)SK_FAIL(&err, SK_ENOMEM, "no memory for a message to the head");
        sk__node_fail(self, SK__NODE_FAILED, &err);
        return;
    }
    parcel->next = NULL;
    parcel->frame = *frame;
    parcel->frame.payload = parcel->bytes;
    if (frame->size) memcpy(parcel->bytes, frame->payload, frame->size);
    *(self->out_last ? &self->out_last->next : &self->out) = parcel;
    self->out_last = parcel;
}

static void send_beat(sk__node *self, int64_t now_ns) {
    sk_link_frame beat = {.kind = SK_WIRE_BEAT, .a = (uint64_t)now_ns};
    if (self->beat_at_ns) beat.b = (uint64_t)(self->beat_a + now_ns - self->beat_at_ns);
    if (sk__node_try_send(self, &beat)) self->told_ns = now_ns; /* else with the next turn */
}

/* ---- receiving ------------------------------------------------------------------------------------------- */
static void on_refuse(sk__node *self, const sk_link_frame *frame) {
    sk_error err = {0};
    (void)sk_error_set(&err, frame->a ? SK_EDEAD : SK_EVERSION, NULL, 0, "%.*s", (int)frame->size,
                       (const char *)frame->payload);
    if (frame->a) sk_log(SK_LOG_WARN, "node: the head says: %s", err.msg);
    sk__node_fail(self, frame->a ? SK__NODE_JOINS_ANEW : SK__NODE_FAILED, &err);
}

static void on_bye(sk__node *self, const sk_link_frame *frame) {
    if (self->bye_ns) return;
    sk_log(SK_LOG_INFO, "node: the head says goodbye: %.*s", (int)frame->size, (const char *)frame->payload);
    self->bye_ns = sk_clock_now_ns();
    sk__node_stop_workers(self);
}

static void on_store(sk__node *self, const sk_link_frame *frame) {
    sk__node_copy *copy = NULL;
    sk_error       err = {0};
    sk_status      status = SK_OK;
    if (frame->kind == SK_WIRE_DROP) {
        sk__node_copies_drop(&self->copies, frame->a);
    } else if (frame->kind == SK_WIRE_COPY) {
        status = sk__node_copies_add(&self->copies, (sk_extent){frame->a, frame->b}, &copy, &err);
        if (copy && status != SK_OK) { /* who needs it hears of it */
            sk_log(SK_LOG_WARN, "node: no copy: %s", err.msg);
            status = SK_OK;
        }
    } else {
        status = sk__node_copies_fill(&self->copies, frame->a, frame->b, (sk_bytes){frame->payload, frame->size}, &err);
    }
    if (status != SK_OK) sk__node_fail(self, SK__NODE_FAILED, &err);
}

static void on_frame(sk__node *self, const sk_link_frame *frame) {
    switch ((sk_wire_kind)frame->kind) {
    case SK_WIRE_SPAWN: sk__node_on_spawn(self, frame); break;
    case SK_WIRE_SIGNAL: sk__node_on_signal(self, frame); break;
    case SK_WIRE_CANCEL: sk__node_on_cancel(self, frame); break;
    case SK_WIRE_STOPPING: sk__node_on_stopping(self); break;
    case SK_WIRE_MAIL: sk__node_on_mail(self, frame); break;
    case SK_WIRE_COPY:
    case SK_WIRE_CHUNK:
    case SK_WIRE_DROP: on_store(self, frame); break;
    case SK_WIRE_REFUSE: on_refuse(self, frame); break;
    case SK_WIRE_BYE: on_bye(self, frame); break;
    case SK_WIRE_BEAT:
        self->beat_a = (int64_t)frame->a;
        self->beat_at_ns = sk_clock_now_ns();
        break;
    default: break; /* a second WELCOME says nothing new */
    }
}

/* The next frame, checked. False: there is none, or the session has ended. */
static bool next_frame(sk__node *self, sk_link_frame *ret_frame) {
    sk_error  err = {0};
    sk_status status = sk_link_recv(self->link, ret_frame, &err);
    if (status == SK_ENOTFOUND) return false;
    /* A head that does not know this session (any more) cannot number its frames. */
    bool is_refusal = status == SK_OK && ret_frame->kind == SK_WIRE_REFUSE;
    if (status == SK_OK && !is_refusal && !sk_link_order_take(&self->order, ret_frame->seq)) {
        (void)SK_FAIL(&err, SK_ECORRUPT, "something of the head's got lost on its way to this host");
        sk_log(SK_LOG_WARN, "node: %s", err.msg);
        sk__node_fail(self, SK__NODE_JOINS_ANEW, &err);
        return false;
    }
    if (status == SK_OK) status = sk_wire_check(ret_frame, SK_TO_NODE, &err);
    if (status != SK_OK) sk__node_fail(self, SK__NODE_FAILED, &err);
    else self->heard_ns = sk_clock_now_ns();
    return status == SK_OK;
}

static void read_frames(sk__node *self) {
    sk_link_frame frame;
    int           n = 0;
    while (self->end == SK__NODE_GOES_ON && next_frame(self, &frame)) {
        on_frame(self, &frame);
        if (++n == FRAMES_PER_TURN) {
            self->is_busy = true;
            break;
        }
    }
}

/* ---- the ears -------------------------------------------------------------------------------------------- */
static void note_line(void *arg, int line) {
    sk__node *self = arg;
    atomic_fetch_or(&self->mail[line / 64], UINT64_C(1) << (line % 64));
}

static bool has_heard(sk__node *self) {
    for (int i = 0; i < SK_COUNT(self->mail); i++)
        if (atomic_load_explicit(&self->mail[i], memory_order_relaxed)) return true;
    return false;
}

/* A worker rings the board's bell when it has said something: this thread hears it and wakes the loop, which sleeps at
 * the link. The marks are taken off the board here, so that it can listen on before the loop has got to them. */
static void *listen_for_workers(void *arg) {
    sk__node *self = arg;
    sk_bell  *bell = &self->board->leader;
    pthread_setname_np(pthread_self(), "skiff-ears");
    for (;;) {
        uint32_t ticket = sk_bell_prepare(bell);
        bool     has_mail = sk_board_has_mail(self->board);
        if (has_mail || atomic_load(&self->ears_stop)) sk_bell_cancel(bell);
        else sk_bell_wait(bell, ticket, EARS_NS);
        if (atomic_load(&self->ears_stop)) return NULL;
        sk_board_take_mail(self->board, note_line, self);
        if (has_heard(self)) sk_link_wake(self->link);
    }
}

/* Called by the supervisor's thread. */
static void on_death(void *arg) {
    sk__node *self = arg;
    sk_bell_ring_again(&self->board->leader); /* it may have died while it rang */
    sk_link_wake(self->link);
}

static sk_status start_ears(sk__node *self, sk_error *reterr) {
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&self->ears, NULL, listen_for_workers, self);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc) return SK_FAIL(reterr, SK_ELIMIT, "cannot start the node's thread: %s", strerror(rc));
    self->has_ears = true;
    return SK_OK;
}

static void stop_ears(sk__node *self) {
    if (!self->has_ears) return;
    atomic_store(&self->ears_stop, true);
    sk_bell_ring_again(&self->board->leader);
    pthread_join(self->ears, NULL);
    self->has_ears = false;
}

/* ---- a session: joining ---------------------------------------------------------------------------------- */
static void on_trouble(void *arg, const char *text) {
    sk__node *self = arg;
    snprintf(self->trouble, sizeof self->trouble, "%s", text);
    sk_log(SK_LOG_WARN, "node: %s", text);
}

static sk_status open_link(sk__node *self, sk_error *reterr) {
    self->order = (sk_link_order){0};
    self->beat_a = self->beat_at_ns = 0;
    do {
        if (getrandom(&self->session, sizeof self->session, 0) != (ssize_t)sizeof self->session)
            return SK_FAIL(reterr, SK_EIO, "cannot draw a random number: %s", strerror(errno));
    } while (self->session == 0);
    sk_link_params params = {.key = self->params->plain ? NULL : &self->key, .endpoint = self->params->endpoint,
                             .session = self->session, .on_trouble = on_trouble, .arg = self};
    return sk_link_connect(&params, &self->link, reterr);
}

static sk_status fail_silence(const sk__node *self, sk_error *reterr) {
    if (self->trouble[0])
        return SK_FAIL(reterr, SK_ENOTFOUND, "no head has answered at %s within %.3g s: %s", self->params->endpoint,
                       self->params->wait_s, self->trouble);
    return SK_FAIL(reterr, SK_ENOTFOUND, "no head has answered at %s within %.3g s: is it running there%s%s?",
                   self->params->endpoint, self->params->wait_s,
                   self->params->plain ? "" : ", and has it the same key as ", self->key_where);
}

/* Say JOIN until it is out, and wait for the answer. SK_ETIMEOUT (without text): there is none. */
static sk_status await_welcome(sk__node *self, int64_t until_ns, int64_t *tell_ns, sk_error *reterr) {
    sk_link_frame join = {.kind = SK_WIRE_JOIN, .payload = &self->join, .size = sizeof self->join}, frame;
    bool          is_sent = false;
    for (;;) {
        int64_t now_ns = sk_clock_now_ns();
        if (is_interrupted(self)) return SK_FAIL(reterr, SK_EINTERRUPTED, "was told to end");
        self->is_full = false;
        if (!is_sent) is_sent = sk__node_try_send(self, &join);
        while (self->end == SK__NODE_GOES_ON && next_frame(self, &frame)) {
            if (frame.kind == SK_WIRE_WELCOME) return sk__node_read_welcome(self, &frame, reterr);
            if (frame.kind == SK_WIRE_REFUSE) on_refuse(self, &frame);
            if (frame.kind == SK_WIRE_BYE) self->end = SK__NODE_BYE;
        }
        if (self->end != SK__NODE_GOES_ON) return SK_OK;
        if (now_ns >= until_ns) return SK_ETIMEOUT;
        if (now_ns >= *tell_ns) {
            sk_log(SK_LOG_INFO, "waiting for the head at %s", self->params->endpoint);
            *tell_ns = now_ns + TELL_NS;
        }
        int64_t left_ms = (until_ns - now_ns) / MS + 1;
        sk_link_wait(self->link, is_sent ? (int)(left_ms < SLICE_MS ? left_ms : SLICE_MS) : RETRY_MS);
    }
}

/* A JOIN that went to a head which ended meanwhile is lost: say it again now and then, with a new session. */
static sk_status join(sk__node *self, int64_t until_ns, sk_error *reterr) {
    int64_t tell_ns = sk_clock_now_ns() + TELL_NS;
    for (;;) {
        int64_t again_ns = sk_clock_now_ns() + SK_HEAD_LOST_MS * MS;
        SK_TRY(open_link(self, reterr));
        sk_status status = await_welcome(self, again_ns < until_ns ? again_ns : until_ns, &tell_ns, reterr);
        if (status != SK_ETIMEOUT) return status;
        sk_link_destroy(&self->link, 0);
        if (sk_clock_now_ns() >= until_ns) return fail_silence(self, reterr);
    }
}

/* ---- a session: serving ---------------------------------------------------------------------------------- */
/* Time to send, or to give up. */
static void look_at_clock(sk__node *self) {
    int64_t now_ns = sk_clock_now_ns();
    if (is_interrupted(self)) sk__node_fail(self, SK__NODE_INTERRUPTED, NULL);
    if (self->bye_ns) {
        if (self->n_workers == 0 || now_ns - self->bye_ns > BYE_NS) sk__node_fail(self, SK__NODE_BYE, NULL);
        return;
    }
    if (now_ns - self->heard_ns > SK_HEAD_LOST_MS * MS) {
        sk_error err = {0};
        (void)SK_FAIL(&err, SK_EDEAD, "the head at %s was lost: no sign of life for %.1f s", self->params->endpoint,
                      (double)(now_ns - self->heard_ns) / 1e9);
        sk__node_fail(self, SK__NODE_LOST, &err);
    }
    if (now_ns - self->told_ns < SK_BEAT_MS * MS) return;
    send_beat(self, now_ns);
    sk__node_show(self);
}

static int sleep_ms(const sk__node *self) {
    if (self->is_busy) return 0;
    if (self->is_full || self->out) return RETRY_MS;
    int64_t left_ms = (self->told_ns - sk_clock_now_ns()) / MS + SK_BEAT_MS, most_ms = SLICE_MS;
    if (self->has_letters) most_ms = self->letters_ms;
    return left_ms < 1 ? 1 : left_ms < most_ms ? (int)left_ms : (int)most_ms;
}

static void serve(sk__node *self) {
    sk_link_frame ready = {.kind = SK_WIRE_READY};
    sk__node_send(self, &ready);
    self->heard_ns = sk_clock_now_ns();
    self->told_ns = 0;
    sk_log(SK_LOG_INFO, "node: %s is host %d of %s at %s", self->name, self->number, self->head_name,
           self->params->endpoint);
    while (self->end == SK__NODE_GOES_ON) {
        self->is_full = self->is_busy = self->has_letters = false;
        send_kept(self);
        read_frames(self);
        sk__node_serve_workers(self);
        look_at_clock(self);
        int letters_ms = self->letters_ms ? 2 * self->letters_ms : RETRY_MS;
        self->letters_ms = letters_ms < RETRY_MAX_MS ? letters_ms : RETRY_MAX_MS;
        if (self->end == SK__NODE_GOES_ON) sk_link_wait(self->link, sleep_ms(self));
    }
}

/* ---- a session: from beginning to end -------------------------------------------------------------------- */
/* What the head may use of it. */
static size_t store_bytes(const sk__node *self) {
    if (self->params->store_bytes) return self->params->store_bytes;
    return (size_t)(STORE_SHARE * (double)sysconf(_SC_PHYS_PAGES)) * (size_t)sysconf(_SC_PAGE_SIZE);
}

static sk_status open_shared(sk__node *self, sk_error *reterr) {
    char            name[SK_BOARD_NAME];
    sk_store_params store = {.bytes = STORE_SPARE * store_bytes(self)};
    const char     *log_dir = self->params->log_dir;
    snprintf(name, sizeof name, "node %.58s", self->name);
    SK_TRY(sk_board_create(name, &self->board_block, &self->board, reterr));
    if (log_dir && strlen(log_dir) + SK_BOARD_NAME + 24 >= sizeof self->board->workers[0].log_path)
        return SK_FAIL(reterr, SK_EINVAL, "the path of the log folder is too long: %.80s...", log_dir);
    if (log_dir) snprintf(self->board->log_dir, sizeof self->board->log_dir, "%s", log_dir);
    atomic_store(&self->board->has_leader, 1); /* somebody always listens */
    SK_TRY(sk_store_create(&store, &self->store, reterr));
    self->copies.store = self->store;
    self->store_bytes = store_bytes(self);
    return SK_OK;
}

static sk_status start_workers(sk__node *self, sk_error *reterr) {
    SK_TRY(sk_supervisor_create(on_death, self, &self->supervisor, reterr));
    sk_supervisor_set_env(self->supervisor, (char *const *)(uintptr_t)self->env);
    return start_ears(self, reterr);
}

_Static_assert(sizeof ((sk_error *)0)->msg <= SK_WIRE_TEXT_MAX, "why we leave fits a frame");

/* Leave nothing behind; the head hears why, if it is our doing. */
static void close_session(sk__node *self) {
    const char *why = self->end == SK__NODE_INTERRUPTED ? "was told to end" : self->err.msg;
    bool        is_ours = self->end == SK__NODE_INTERRUPTED ||
                   (self->end == SK__NODE_FAILED && self->err.status != SK_EVERSION) ||
                   (self->end == SK__NODE_JOINS_ANEW && self->err.status == SK_ECORRUPT);
    if (self->end == SK__NODE_INTERRUPTED && *self->params->interrupted == SIGTERM) why = "was told to end by SIGTERM";
    if (self->end == SK__NODE_INTERRUPTED && *self->params->interrupted == SIGINT) why = "was told to end by SIGINT";
    sk_supervisor_destroy(&self->supervisor); /* kills them */
    stop_ears(self);
    if (self->link && is_ours) {
        sk_link_frame leave = {.kind = SK_WIRE_LEAVE, .session = self->session, .payload = why,
                               .size = strlen(why)};
        sk_error      ignored = {0};
        self->is_full = false;
        if (sk_link_send(self->link, &leave, &self->order, &ignored) != SK_OK)
            sk_log(SK_LOG_WARN, "node: could not tell the head that it leaves");
    }
    sk_link_destroy(&self->link, is_ours ? LINGER_MS : 0);
    sk__node_forget_workers(self);
    sk__node_forget_welcome(self);
    sk__node_copies_deinit(&self->copies);
    for (sk__node_parcel *parcel = self->out, *next; parcel; parcel = next) {
        next = parcel->next;
        free(parcel);
    }
    sk_store_destroy(&self->store);
    sk_block_destroy(&self->board_block);
}

/* What a new session starts with. */
static void reset(sk__node *self) {
    const size_t from = offsetof(sk__node, board_block);
    memset((uint8_t *)self + from, 0, sizeof *self - from);
    self->trouble[0] = 0;
}

/* One session. self->end and self->err say how it ended; false: it was never joined. */
static bool run_session(sk__node *self, int64_t until_ns) {
    sk_error err = {0};
    bool     has_joined = false;
    reset(self);
    sk_status status = open_shared(self, &err);
    if (status == SK_OK) status = sk__node_write_join(self, &err);
    if (status == SK_OK) status = join(self, until_ns, &err);
    if (status == SK_OK && self->end == SK__NODE_GOES_ON) status = start_workers(self, &err);
    if (status == SK_EINTERRUPTED) sk__node_fail(self, SK__NODE_INTERRUPTED, &err);
    else if (status != SK_OK) sk__node_fail(self, SK__NODE_FAILED, &err);
    if (self->end == SK__NODE_GOES_ON) {
        has_joined = true;
        serve(self);
    }
    close_session(self);
    return has_joined;
}

static sk_status tell_end(const sk__node *self, sk_error *reterr) {
    if (self->end == SK__NODE_BYE) return SK_OK;
    if (self->end == SK__NODE_INTERRUPTED) return SK_FAIL(reterr, SK_EINTERRUPTED, "the node was told to end");
    if (self->end == SK__NODE_JOINS_ANEW) return fail_silence(self, reterr);
    if (reterr) *reterr = self->err;
    return self->err.status;
}

/* ---- life ------------------------------------------------------------------------------------------------ */
static sk_status find_name(sk__node *self, sk_error *reterr) {
    const char *name = self->params->name && *self->params->name ? self->params->name : getenv("SLURMD_NODENAME");
    char        host[256] = "";
    if ((!name || !*name) && gethostname(host, sizeof host - 1) == 0) name = host;
    if (!name || !*name) name = "unnamed";
    bool is_plain = true;
    for (const char *at = name; *at; at++) is_plain = is_plain && (unsigned char)*at >= ' ' && *at != 0x7f;
    if (!is_plain || strlen(name) >= sizeof self->name)
        return SK_FAIL(reterr, SK_EINVAL, "a host's name has up to %zu characters that can be printed, got %s",
                       sizeof self->name - 1, is_plain ? name : "one that cannot");
    memcpy(self->name, name, strlen(name) + 1);
    return SK_OK;
}

static void pause_ms(const sk__node *self, int ms) {
    for (; ms > 0 && !is_interrupted(self); ms -= 10) usleep(10000);
}

/* Join, serve, and join anew where that is due. */
static sk_status live(sk__node *self, sk_error *reterr) {
    int64_t patience_ns = (int64_t)(self->params->wait_s * 1e9);
    int64_t until_ns = sk_clock_now_ns() + patience_ns;
    for (;;) {
        bool has_joined = run_session(self, until_ns);
        bool again = self->end == SK__NODE_JOINS_ANEW || (self->end == SK__NODE_LOST && self->params->rejoin);
        if (!again) return tell_end(self, reterr);
        if (self->end == SK__NODE_LOST) sk_log(SK_LOG_WARN, "node: %s; waits for another one", self->err.msg);
        if (has_joined) until_ns = sk_clock_now_ns() + patience_ns;
        else if (sk_clock_now_ns() >= until_ns) return tell_end(self, reterr);
        pause_ms(self, PAUSE_MS);
    }
}

sk_status sk_node_run(const sk_node_params *params, sk_error *reterr) {
    SK_ASSERT(params && params->endpoint);
    if (!(params->wait_s >= 0 && params->wait_s < 1e9))
        return SK_FAIL(reterr, SK_EINVAL, "patience with the head must be 0 to 1e9 s, got %g", params->wait_s);
    sk__node *self = aligned_alloc(64, (sizeof *self + 63) / 64 * 64);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a node");
    memset(self, 0, sizeof *self);
    self->params = params;
    sk_status status = find_name(self, reterr);
    if (status == SK_OK && params->log_dir && access(params->log_dir, W_OK | X_OK) != 0)
        status = SK_FAIL(reterr, SK_EINVAL, "the log folder %s: %s", params->log_dir, strerror(errno));
    if (status == SK_OK && !params->plain)
        status = sk_cluster_key_find(params->key_path, SK_KEY_MUST_EXIST, &self->key, self->key_where, reterr);
    if (status == SK_OK) status = live(self, reterr);
    sk_cluster_key_forget(&self->key);
    free(self);
    return status;
}
