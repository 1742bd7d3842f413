/* peer: a worker process as the driver sees it.
 *
 * Threads: all functions here are called with the driver's lock held, but where they say otherwise. */
#ifndef SK_RUNTIME_PEER_H
#define SK_RUNTIME_PEER_H
#include "core/runtime/actor.h"
#include "core/runtime/schedule.h"

/* A message that had no room in its ring. */
typedef struct sk__letter {
    struct sk__letter *next;
    size_t             size;
    _Alignas(16) uint8_t bytes[];
} sk__letter;

struct sk__host;
struct sk__peer {
    sk__driver    *d;
    struct sk__host *host; /* where it runs; NULL: here, a child of the driver (`down` and `up` are of no use else) */
    int            line, pid;
    uint32_t       generation; /* of the line's use: part of `id`             */
    uint64_t       id;         /* for the supervisor                          */
    char           name[SK_BOARD_NAME];
    bool           hello, asked_to_stop, said_bye, blocked, killed_by_us, has_lease, may_restart;
    sk__class     *cls;        /* whose tasks it runs now                     */
    int64_t        n_told, n_heard; /* VALUEs and ANSWERs to it, ever; those it had read when it said that it waits */
    int            n_alloc_waits; /* its requests for memory that wait       */
    sk_lease       lease;
    sk__actor     *actor;      /* or the actor it hosts                       */
    sk_ring_writer down;
    sk_ring_reader up;
    sk__list       sent;       /* in the order they were sent                 */
    uint64_t       n_sent, n_done, n_forgiven; /* forgiven: answers to jobs that ended before them */
    int64_t        load_ns;    /* expected, of those sent                     */
    size_t         sent_bytes; /* of those sent; with a host only             */
    int64_t        idle_ns;    /* since when it has had nothing               */
    sk__peer      *task_next, *task_prev; /* of those that run tasks           */
    sk__letter    *letters, *letters_last; /* waiting for room                */
    bool           wants_room; /* a job had none                              */
    sk__hold      *holds;
    sk_extent     *extents;    /* allocated for it, not yet part of an object */
    int            n_extents, cap_extents;
    char           kill_reason[160]; /* "" : none                             */
};
/* Spawn a worker process on a host (0: here); usable at once. */
SK_NODISCARD sk_status sk__peer_create(sk__driver *d, sk__actor *actor, int host, sk__peer **ret_peer,
                                       sk_error *reterr);
int sk__peer_host(const sk__peer *self); /* its number */
/* Can one more job be sent now? */
bool sk__peer_has_room(sk__peer *self, const sk__job *job);
/* An extent that ALLOC gave to the peer and that it now gives away; false: it has no such. */
bool sk__peer_claim(sk__peer *self, sk_extent extent);
/* Send a job whose arguments are pinned; ring for it afterwards. False: no room (nothing happened). */
bool sk__peer_send_job(sk__driver *d, sk__peer *self, sk__job *job);
void sk__peer_ring(sk__peer *self);
/* Send, or keep until there is room. */
void sk__peer_send(sk__peer *self, const sk_message *head, const void *payload, size_t size);
void sk__peer_send_value(sk__driver *d, sk__hold *hold); /* of an object that has ended */
void sk__peer_forget_job(sk__driver *d, sk__job *job);   /* takes a job off its peer      */
void sk__peer_cancel_job(sk__driver *d, sk__job *job);   /* tell the worker               */
bool sk__peer_has_begun(const sk__driver *d, const sk__job *job); /* of a SENT one        */
void sk__peer_stop(sk__driver *d, sk__peer *self);
/* `why` reads "did not stop in time"; becomes part of how it ended. */
void sk__peer_kill(sk__driver *d, sk__peer *self, const char *why);
void sk__peer_give_back(sk__driver *d, sk__peer *self); /* its lease */
void sk__peer_on_mail(sk__driver *d, sk__peer *self);
void sk__peers_on_deaths(sk__driver *d);
/* It has ended, `how` reads "was killed by signal 9 (SIGKILL)"; frees it. */
void sk__peer_on_end(sk__driver *d, sk__peer *self, const char *how);
/* A message it sent, from wherever it is. */
void sk__peer_on_message(sk__driver *d, sk__peer *self, const void *bytes, size_t size);
void sk__peers_send_letters(sk__driver *d);
void sk__peer_malformed(sk__driver *d, sk__peer *self, const char *why);
/* request.c: false: the message is not a request. */
bool sk__peer_on_request(sk__driver *d, sk__peer *self, const sk_message *m, sk_bytes payload);
void sk__requests_check(sk__driver *d); /* answers to requests that had to wait */
void sk__requests_forget(sk__driver *d, const sk__peer *peer);

#endif
