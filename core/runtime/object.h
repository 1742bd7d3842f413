/* object: immutable bytes under a reference: who counts on them, where they lie, who waits for them.
 *
 * Threads: all functions here are called with the driver's lock held, but where they say otherwise. */
#ifndef SK_RUNTIME_OBJECT_H
#define SK_RUNTIME_OBJECT_H
#include "core/runtime/internal.h"

/* Why there is no value. Shared and counted. */
typedef struct sk__failure {
    int       n_users;
    sk_status status;
    char      text[]; /* one line */
} sk__failure;

/* A worker process that counts on an object. */
typedef struct sk__hold {
    struct sk__hold *next;               /* of the object             */
    struct sk__hold *peer_next, **peer_link; /* of the peer           */
    sk__peer        *peer;
    sk__object      *object;
    bool             wants_value; /* send it when there is one        */
    bool             pins;        /* it reads the store               */
} sk__hold;

typedef struct sk__dependent {
    struct sk__dependent *next;
    uint64_t              job; /* id */
} sk__dependent;

typedef enum sk__object_state {
    SK__PENDING,
    SK__READY,
    SK__FAILED,
    SK__FILLING /* between put_begin and put_end */
} sk__object_state;
typedef enum sk__object_place { SK__NOWHERE, SK__IN_ITEM, SK__IN_HEAP, SK__IN_STORE, SK__SPILLED } sk__object_place;

enum { SK__ITEM_BYTES = 48 };

struct sk__object {
    uint64_t       id;
    void          *slab_free;
    uint8_t        state, place;
    bool           program_pins; /* the driver's program has seen its address        */
    bool           in_stock;     /* a worker may use it for something new; not counted */
    uint32_t       n_program;    /* counts of the driver's program                   */
    uint32_t       n_jobs;       /* jobs that take it as an argument                 */
    uint32_t       n_pins;       /* readers of its memory: it must stay where it is  */
    int32_t        board_row;    /* -1: not shown                                    */
    uint64_t       size;
    sk__job       *maker;        /* PENDING: makes it. In the store: can make it again; counted. Nullable */
    sk__hold      *holds;
    sk__dependent *dependents;
    sk__failure   *failure;
    sk__object    *lru_prev, *lru_next; /* those in the store, least recently used first */
    sk__object    *tell_next; /* those whose end is being told */
    union {
        _Alignas(16) uint8_t item[SK__ITEM_BYTES];
        uint8_t   *heap;
        sk_extent  extent;
        sk_spilled spilled;
    } at;
};

/* A pending object; n_program as given. NULL: no memory. */
sk__object *sk__object_create(sk__driver *d, uint32_t n_program);
sk__object *sk__object_find(sk__driver *d, uint64_t id);
/* One from a worker's stock is used: it counts from now on. */
void sk__object_count(sk__driver *d, sk__object *self);
/* Store a copy as its value; above SK_INLINE_MAX in the store. Does not announce. */
SK_NODISCARD sk_status sk__object_fill(sk__driver *d, sk__object *self, const void *data, size_t size,
                                       sk_error *reterr);
/* Its value lies in an extent, which it takes. */
void sk__object_take_extent(sk__driver *d, sk__object *self, sk_extent extent);
/* It has a value now, or will never have one: tell everyone who waits. */
void sk__object_announce(sk__driver *d, sk__object *self);
void sk__object_fail(sk__driver *d, sk__object *self, sk__failure *failure); /* and announce; counts the failure */
/* Give it up if nobody counts on it. */
void sk__object_settle(sk__driver *d, sk__object *self);
/* Make its bytes readable where they are: reads a spilled one back, asks for a lost one to be made again (it is
 * PENDING then). SK_ELIMIT: no room now. Only READY ones. */
SK_NODISCARD sk_status sk__object_load(sk__driver *d, sk__object *self, sk_error *reterr);
sk_bytes sk__object_bytes(sk__driver *d, const sk__object *self); /* loaded ones */
void sk__object_pin(sk__driver *d, sk__object *self);
void sk__object_unpin(sk__driver *d, sk__object *self);
/* Room in the store, spilling others if need be. */
SK_NODISCARD sk_status sk__objects_alloc(sk__driver *d, size_t size, sk_extent *ret_extent, sk_error *reterr);
void sk__objects_deinit(sk__driver *d);

sk__hold *sk__hold_find(sk__object *object, const sk__peer *peer);
/* Note that the peer counts on it (once). NULL: no memory. */
sk__hold *sk__hold_add(sk__driver *d, sk__object *object, sk__peer *peer);
void sk__hold_remove(sk__driver *d, sk__hold *hold); /* may end the object */

/* Never NULL: without memory a static one. */
sk__failure *sk__failure_create(sk_status status, const char *fmt, ...) SK_PRINTF(2, 3);
sk__failure *sk__failure_acquire(sk__failure *self);
void         sk__failure_release(sk__failure *self);
const char  *sk__failure_text(const sk__failure *self);
sk_status    sk__failure_tell(const sk__failure *self, sk_error *reterr); /* its status */

#endif
