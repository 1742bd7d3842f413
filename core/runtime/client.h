/* client: a worker process's side of its line: what its files know of each other. Nobody else includes this.
 *
 *   client_mail.c     sending, receiving, waiting
 *   client.c          the objects this process knows: put, get, wait, release
 *   client_request.c  what the driver is asked for: memory, ids, tasks, calls
 *   client_actor.c    the rarer requests: actors and placement groups
 *   worker_job.c      running one job: arguments out of a message, answers into one
 *   worker_process.c  the worker's life: actors, the loop, the process
 *
 * Whoever waits and finds nobody reading the line reads it, for all: values and answers find those who wait for them,
 * jobs are kept for the loop. A thread that waits while another one reads sleeps until that one has read something.
 *
 * Threads: all of it by the lock, but where a comment says otherwise. Only a reader (`reading`, or the lock while
 * nobody is) touches `down`. */
#ifndef SK_RUNTIME_CLIENT_H
#define SK_RUNTIME_CLIENT_H
#include "core/runtime/internal.h"

/* A job that came, until it has run. */
typedef struct sk__parcel {
    struct sk__parcel   *next;
    size_t               size, cap;
    _Alignas(16) uint8_t bytes[]; /* the message */
} sk__parcel;
typedef struct sk__parcels {
    sk__parcel *first, *last;
} sk__parcels;
void        sk__parcels_push(sk__parcels *self, sk__parcel *parcel);
sk__parcel *sk__parcels_pop(sk__parcels *self); /* NULL: none */

/* A thread that runs jobs, and the one it runs. Its own thread's, without the lock. */
typedef struct sk__work {
    struct sk__client *client;
    sk_call   call;
    uint64_t  job;            /* 0: none                                      */
    uint32_t  cancels_seen;
    int64_t   start_ns; /* of the job */
    bool      cancelled, blocked;
    bool      is_loop;        /* the thread that receives: its answers need no haste */
    int       n_waits;        /* nested                                       */
    int64_t   waits_since_ns;
    uint64_t *borrowed;       /* objects it reads without a count of its own  */
    int       n_borrowed, borrowed_cap;
} sk__work;

/* A request that waits for its ANSWER; on its thread's stack. */
typedef struct sk__asked {
    struct sk__asked *next;
    uint64_t  id;
    bool      done;
    sk_status status;
    size_t    size;
    _Alignas(16) uint8_t payload[640]; /* or the error's text */
} sk__asked;

typedef enum sk__known_state {
    SK__KNOWN_PENDING,
    SK__KNOWN_FILLING, /* between put_begin and put_end: the driver does not know it yet */
    SK__KNOWN_VALUE,
    SK__KNOWN_FAILED
} sk__known_state;

/* An object this process counts on. */
typedef struct sk__known {
    uint64_t  id;       /* 0: a free slot                                                 */
    uint64_t  function; /* hash of the name of what makes it; 0: unknown                  */
    void     *data;     /* the value; FAILED: the error's text, or NULL                   */
    size_t    size;
    sk_extent extent;   /* FILLING in the store                                           */
    uint32_t  n_counts;
    int16_t   status;   /* sk_status                                                      */
    uint8_t   state;    /* sk__known_state                                                */
    bool      asked : 1;    /* its VALUE comes: by itself, or after a FETCH               */
    bool      owns : 1;     /* data is malloc's                                           */
    bool      borrowed : 1; /* one of the counts is a job's, until that ends              */
} sk__known;

enum { SK__RELEASE_BATCH = 64 };

struct sk__client {
    sk_board          *board;
    sk_line           *line;
    int                line_number;
    uint8_t           *store;
    size_t             store_size;
    const sk_registry *registry;
    sk_runtime         rt; /* this process's */

    pthread_mutex_t lock;
    pthread_cond_t  changed; /* something was read, or the reader left */
    sk_ring_writer  up;
    sk_ring_reader  down;
    bool            reading, broken /* the ring, or no memory: the process must end */;
    int             n_followers;
    _Atomic bool    has_told_nobody; /* sent something that might not have woken the driver */
    bool            may_spin;
    int             n_spin_skips; /* waits that are still to sleep at once */
    uint64_t        n_malformed;  /* messages dropped */

    sk__parcels jobs;
    sk__parcel *spare; /* kept for the next jobs */
    int         n_spare, n_blocked /* jobs: others' tasks are not for us */;

    int64_t n_heard, n_heard_told; /* VALUEs and ANSWERs read, ever; when it was last said that a job waits */

    sk__asked *asked;
    uint64_t   n_asked; /* ever */
    uint64_t  *stock;   /* ids for new objects */
    int        n_stock, stock_cap;
    bool       ids_under_way;
    sk_error   ids_err; /* status SK_OK: none */

    sk__known *known; /* open addressing */
    size_t     n_known, known_cap /* 0 or a power of 2 */;
    uint64_t   n_ended; /* objects, ever: whoever waits looks again when it grows */
    uint64_t   n_bad;   /* those of them that failed: who waits for all looks at all again */
    uint64_t   released[SK__RELEASE_BATCH]; /* not told yet */
    int        n_released;
};

/* ---- client_mail.c --------------------------------------------------------------------------------------- */
/* Without the lock: before and after all others. */
SK_NODISCARD sk_status sk__client_init(sk__client *self, sk_board *board, int line, void *store, size_t store_size,
                                       const sk_registry *registry, sk_error *reterr);
void sk__client_deinit(sk__client *self);

/* The head of a message of up to `size` bytes, its payload follows; zeroed but for the magic and kind. Waits for room.
 * NULL: there is none and the program is ending. */
sk_message *sk__mail_begin(sk__client *self, sk_message_kind kind, size_t payload_size);
void        sk__mail_send(sk__client *self, size_t payload_size, sk_urgency urgency);
/* Both for a payload that lies ready; `head` without magic. SK_EINTERRUPTED: the program is ending. */
SK_NODISCARD sk_status sk__mail_put(sk__client *self, const sk_message *head, const void *payload, size_t size,
                                    sk_urgency urgency, sk_error *reterr);
/* Before this thread sleeps, or goes its way: the driver takes what was said last even if nobody waits for it there.
 * Any thread, with or without the lock. */
void sk__mail_tell(sk__client *self);
/* Wait until is_done(arg). Without text: SK_ETIMEOUT; SK_EDEAD: the ring is damaged; and, if not `patient`,
 * SK_ECANCELED: the job is; SK_EINTERRUPTED: the program is ending. Unlocks meanwhile. */
typedef enum sk__patience { SK__IMPATIENT, SK__PATIENT } sk__patience;
SK_NODISCARD sk_status sk__mail_wait(sk__client *self, bool (*is_done)(sk__client *self, void *arg), void *arg,
                                     int64_t deadline_ns, sk__patience patience);
/* Several waits of one thread that are one to others. */
void sk__mail_enter_wait(sk__client *self);
void sk__mail_leave_wait(sk__client *self);
/* The text of a wait's end that is not OK; `what` was waited for. */
sk_status sk__mail_fail(sk__client *self, sk_status status, const char *what, sk_error *reterr);
/* The next job, waiting for it; NULL: broken. */
sk__parcel *sk__mail_next_job(sk__client *self);
void        sk__mail_give_parcel(sk__client *self, sk__parcel *parcel);

/* This thread's; NULL: it runs no jobs. Without the lock. */
sk__work *sk__work_current(void);
void      sk__work_set_current(sk__work *work);
bool      sk__work_is_cancelled(sk__work *self);

/* ---- client.c -------------------------------------------------------------------------------------------- */
void       sk__client_on_value(sk__client *self, const sk_message *message, sk_bytes payload);
/* Tell the driver what was released. */
void       sk__client_flush(sk__client *self);
/* Give back what a job has read without counting on it. */
void       sk__client_end_job(sk__client *self, sk__work *work);
sk__known *sk__known_find(const sk__client *self, uint64_t id);
/* With one count; NULL: no memory. It may move when others are added or removed. */
sk__known *sk__known_add(sk__client *self, uint64_t id);
void       sk__known_remove(sk__client *self, sk__known *known);
/* Where an extent lies here, or NULL: it is none of the store's. Without the lock. */
void      *sk__client_place(const sk__client *self, sk_extent extent);
void       sk__client_drop_objects(sk__client *self);

/* An object that has ended without a value; its text is copied. */
SK_NODISCARD sk_status sk__client_put_failure(sk__client *self, sk_ref ref, sk_status status, const char *text,
                                              sk_error *reterr);
/* A value that lies in the store already, and which the object takes. */
SK_NODISCARD sk_status sk__client_put_extent(sk__client *self, sk_ref ref, sk_extent extent, sk_error *reterr);
/* The value of an argument, without a timeout. */
SK_NODISCARD sk_status sk__client_get_argument(sk__client *self, sk_ref ref, sk_bytes *ret_value, sk_error *reterr);

/* ---- client_request.c ------------------------------------------------------------------------------------ */
void sk__client_on_answer(sk__client *self, const sk_message *message, sk_bytes payload);
/* n new ids. Waits for the driver. */
SK_NODISCARD sk_status sk__client_take_ids(sk__client *self, int n, sk_ref *ret_refs, sk_error *reterr);
void sk__client_give_ids(sk__client *self, int n, const sk_ref *refs);
/* sk__client_store_alloc with the lock held. */
SK_NODISCARD sk_status sk__client_ask_extent(sk__client *self, size_t size, sk_extent *ret_extent, void **ret_data,
                                             sk_error *reterr);
void sk__client_free_extent(sk__client *self, sk_extent extent);
/* Send a question, `head` without magic and kind; its answer is dropped if nobody awaits it. */
SK_NODISCARD sk_status sk__client_send_ask(sk__client *self, const sk_message *head, const void *payload, size_t size,
                                           sk__asked *asked, sk_error *reterr);
/* Its status, with text. */
SK_NODISCARD sk_status sk__client_await(sk__client *self, sk__asked *asked, int64_t deadline_ns, sk__patience patience,
                                        const char *what, sk_error *reterr);
/* Without the lock: ask without a payload and wait for an answer of `size` bytes; or ask without waiting. */
SK_NODISCARD sk_status sk__client_ask(sk__client *self, const sk_message *head, const char *what, int64_t deadline_ns,
                                      void *ret_answer, size_t size, sk_error *reterr);
void sk__client_tell(sk__client *self, const sk_message *head);

/* Arguments on their way into a message: the large ones lie in the store already. */
typedef struct sk__packing {
    const sk_arg *args;
    int           n;
    sk_extent    *extents; /* (n) of those above SK_INLINE_MAX; NULL: there are none */
    size_t        size;    /* of all records                                         */
    sk_extent     blob;    /* size > 0: they lie there                               */
} sk__packing;
/* Get ready to write the records into a message that has `room` for them. Waits for memory in the store if need be. */
SK_NODISCARD sk_status sk__packing_begin(sk__client *client, sk__packing *self, size_t room, sk_error *reterr);
size_t   sk__packing_size(const sk__packing *self);
uint8_t *sk__packing_write(const sk__packing *self, uint8_t *at);
/* Done with it. What nobody took is given back. */
void     sk__packing_end(sk__client *client, sk__packing *self, bool taken);

SK_NODISCARD sk_status sk__resources_check(const sk_resource *resources, int n, sk_error *reterr);
uint8_t *sk__resources_write(uint8_t *at, const sk_resource *resources, int n);

/* ---- worker_job.c: without the lock ---------------------------------------------------------------------- */
/* A job's values, one after another, wherever they lie. */
SK_NODISCARD sk_status sk__work_open(const sk__client *client, sk_bytes payload, sk_bytes *ret_rest, sk_error *reterr);
SK_NODISCARD sk_status sk__work_next(const sk__client *client, sk_bytes *rest, sk_bytes *ret_value, sk_error *reterr);
SK_NODISCARD sk_status sk__work_close(sk_bytes rest, sk_error *reterr);
/* Take up the job of a message: it counts as begun. (May be called with the lock.) */
void sk__work_begin(sk__work *self, const sk_message *message);
/* Is it still wanted? SK_ECANCELED. */
SK_NODISCARD sk_status sk__work_check(sk__work *self, sk_error *reterr);
/* End it: send its answer, or the status and its error. */
void sk__work_end(sk__work *self, const sk_message *message, sk_status status, const sk_error *err);
/* Run a task. */
SK_NODISCARD sk_status sk__work_run_task(sk__work *self, const sk_message *message, sk_bytes payload, sk_error *reterr);
void sk__work_deinit(sk__work *self);
/* Run a task in the calling thread, its results become objects. */
SK_NODISCARD sk_status sk__client_run_inline(sk__client *self, const sk_task *task, sk_ref *ret_refs, sk_error *reterr);

#endif
