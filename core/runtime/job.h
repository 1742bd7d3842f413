/* job: a task, a call or an actor's creation, from its beginning to its end.
 *
 * Threads: all functions here are called with the driver's lock held, but where they say otherwise. */
#ifndef SK_RUNTIME_JOB_H
#define SK_RUNTIME_JOB_H
#include "core/runtime/object.h"
#include "core/runtime/resources.h"

typedef struct sk__list {
    sk__job *first, *last;
    int64_t  n;
} sk__list;

typedef enum sk__job_kind { SK__TASK, SK__CREATE, SK__METHOD, SK__DESTROY /* of a thread's actor */ } sk__job_kind;
typedef enum sk__job_state {
    SK__WAITING, /* for arguments                     */
    SK__QUEUED,
    SK__SENT,    /* to a process                      */
    SK__RUNNING, /* in a thread, or on its way there  */
    SK__ENDED
} sk__job_state;

enum { SK__JOB_ARG_BYTES = 64 };

struct sk__job {
    uint64_t           id;
    void              *slab_free;
    sk__job           *prev, *next;
    sk__list          *list;     /* the queue it is in, or NULL                       */
    uint8_t            kind, state, placement;
    bool               has_refs; /* among its arguments                               */
    bool               retry_errors, pinned /* its arguments are */, remake /* its results can be made again */;
    _Atomic bool       canceled; /* its references have failed already; looked at by running threads */
    uint32_t           n_users;  /* 1 while it has not ended, + objects that it can make again */
    uint32_t           n_args, n_missing /* arguments without a value */;
    uint32_t           n_returns;
    int32_t            method, retries_left, timeout_ms;
    const sk_function *function; /* task, or class                                    */
    sk__actor         *actor;    /* METHOD, CREATE                                    */
    sk__peer          *peer;     /* SENT: where to                                    */
    sk__class         *cls;      /* TASK                                              */
    uint32_t           caller;   /* 0: the driver's program, else 1 + line            */
    uint32_t           sent_size; /* [bytes] of its message, while sent to another host */
    int64_t            deadline_ns;  /* 0: none                                       */
    int64_t            sent_ns;
    int64_t            expected_ns;  /* counted in its peer's load                    */
    uint64_t           sent_index;   /* its number among what the peer was sent       */
    sk_lease          *lease;        /* of a task on its way into a thread; nullable  */
    sk_extent          blob;         /* size > 0: its packed arguments, while sent    */
    char              *name;         /* NULL: the function's                          */
    uint8_t           *packed;       /* VALUE and REF records, 16-byte aligned        */
    size_t             packed_size;
    uint64_t           first_return; /* object ids                                    */
    uint64_t          *more_returns; /* (n_returns - 1)                               */
    sk__job           *deadline_prev, *deadline_next;
    _Alignas(16) uint8_t small[SK__JOB_ARG_BYTES];
};

/* What a submission says, from the driver's program or from a worker. */
typedef struct sk__order {
    const char        *name; /* nullable */
    const sk_function *function;
    int                method, timeout_ms, max_retries;
    bool               retry_errors;
    sk_placement       placement;
    uint32_t           caller;
    sk__peer          *from; /* the worker that orders it; NULL: the driver's program */
} sk__order;
/* A job with its arguments copied; those above SK_INLINE_MAX become objects. */
SK_NODISCARD sk_status sk__job_create(sk__driver *d, sk__job_kind kind, const sk__order *order, const sk_arg *args,
                                      int n_args, sk__job **ret_job, sk_error *reterr);
/* The same from packed records (VALUE, REF, EXTENT: taken). SK_ECORRUPT. */
SK_NODISCARD sk_status sk__job_create_packed(sk__driver *d, sk__job_kind kind, const sk__order *order, int n_args,
                                             sk_bytes packed, sk__job **ret_job, sk_error *reterr);
/* It makes n new objects for the driver's program. */
SK_NODISCARD sk_status sk__job_add_returns(sk__driver *d, sk__job *self, int n, sk_ref *ret_refs, sk_error *reterr);
/* It makes these, which the worker `from` was granted. SK_ECORRUPT. */
SK_NODISCARD sk_status sk__job_adopt_returns(sk__driver *d, sk__job *self, sk__peer *from, int n, const uint64_t *ids,
                                             sk_error *reterr);
uint64_t sk__job_return(const sk__job *self, uint32_t i);
const char *sk__job_name(const sk__job *self);
/* Let it wait for its arguments, then give it to the scheduler or its actor. */
void sk__job_start(sk__driver *d, sk__job *self);
void sk__job_on_argument(sk__driver *d, uint64_t job_id, const sk__object *object);
/* All its arguments had values: make them readable and pin them. */
typedef enum sk__pinned {
    SK__PINNED,
    SK__PIN_LATER, /* the store has no room now; it stays as it is                                    */
    SK__PIN_GONE   /* it waits for one that is made again, or it has failed: it is the caller's no more */
} sk__pinned;
sk__pinned sk__job_pin(sk__driver *d, sk__job *self);
void sk__job_unpin(sk__driver *d, sk__job *self);
/* It has run well: packed returns from a worker, or a finished call in a thread. */
void sk__job_succeed(sk__driver *d, sk__job *self, sk_bytes packed);
void sk__job_succeed_call(sk__driver *d, sk__job *self, sk_call *call);
/* It ran and failed; may run again. `text` gets its name in front. */
void sk__job_error(sk__driver *d, sk__job *self, sk_status status, const char *text, size_t text_size);
/* Its worker died while it ran; may run again. */
void sk__job_died(sk__driver *d, sk__job *self, const char *how);
/* It ends without a value. Takes the failure. */
void sk__job_fail(sk__driver *d, sk__job *self, sk__failure *failure);
void sk__job_cancel(sk__driver *d, sk__job *self, sk_cancel_how how);
/* Of one that runs: its references fail now; it may go on for a while. Does not take the failure. */
void sk__job_end_early(sk__driver *d, sk__job *self, sk__failure *failure);
void sk__job_release(sk__driver *d, sk__job *self); /* one user less */
void sk__job_set_deadline(sk__driver *d, sk__job *self);
void sk__jobs_check_deadlines(sk__driver *d, int64_t now_ns);
void sk__list_push(sk__list *list, sk__job *job);
void sk__list_push_front(sk__list *list, sk__job *job);
void sk__list_remove(sk__job *job);
sk__job *sk__list_pop(sk__list *list);

/* ---- submit.c: orders of the program and of workers ---- */
/* In a worker process, wherever? */
static inline bool sk__in_process(sk_placement placement) {
    return placement == SK_PLACE_PROCESS || placement == SK_PLACE_REMOTE;
}
static inline sk_reach sk__reach_of(sk_placement placement) {
    return placement == SK_PLACE_REMOTE ? SK_REACH_HOSTS : SK_REACH_HERE;
}
/* Where the groups of this runtime lie. */
sk_reach sk__group_reach(const sk__driver *d);
/* Where a function or class runs; SK_EUNSUPPORTED: not in a process, not on other hosts, not in that group. */
SK_NODISCARD sk_status sk__choose_placement(const sk__driver *d, const sk_function *function, sk_placement wanted,
                                            sk_group group, sk_placement *ret, sk_error *reterr);
/* Behind the text of a request that no host can meet, if none has joined. */
void sk__tell_where_hosts_join(const sk__driver *d, sk_status status, sk_error *reterr);
/* sk_resources_parse for that placement; `name` is whose request it is. */
SK_NODISCARD sk_status sk__parse_request(const sk__driver *d, const char *name, const sk_resource *asked, int n,
                                         sk_placement placement, sk_group group, int bundle, sk_demand *ret_demand,
                                         sk_error *reterr);
/* A task. From the program: `from` NULL, new references. From a worker: packed arguments, ids it was granted. */
SK_NODISCARD sk_status sk__submit_task(sk__driver *d, const sk_task *task, sk__peer *from, sk_bytes packed,
                                       const uint64_t *ids, sk_ref *ret_refs, sk__job **ret_job, sk_error *reterr);
SK_NODISCARD sk_status sk__submit_call(sk__driver *d, sk_actor actor, const sk_method *method, sk__peer *from,
                                       sk_bytes packed, const uint64_t *ids, sk_ref *ret_refs, sk__job **ret_job,
                                       sk_error *reterr);

#endif
