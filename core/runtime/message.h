/* message: what the driver and a worker process say to each other, in the rings of a line (board.h). All
 * little-endian, one head of 64 bytes, then a payload. Whoever reads checks every field first: a payload that does
 * not fit its head is refused as a whole.
 *
 * Arguments and answers are *packed*: records one after another, each a head of 16 bytes and a body padded to 16,
 * so that values lie aligned in the message and can be used in place.
 *
 * Threads: free of state. */
#ifndef SK_RUNTIME_MESSAGE_H
#define SK_RUNTIME_MESSAGE_H
#include "core/runtime/store.h"
#include "skiff/skiff.h"

/* Values above this lie in the store. */
enum { SK_INLINE_MAX = 4096 };

typedef enum sk_message_kind {
    /* driver to worker */
    SK_MSG_RUN = 1,  /* a task: job, function, n_args, n_returns; payload: packed arguments                           */
    SK_MSG_CREATE,   /* an actor: subject its id, function its class, n_args, a = concurrency, b = 1 if a state follows;
                        payload: packed name, arguments[, state]                                                      */
    SK_MSG_CALL,     /* subject, method, job, n_args, n_returns; payload: packed arguments                            */
    SK_MSG_VALUE,    /* subject an object: status; payload: one packed record, or an error text                       */
    SK_MSG_ANSWER,   /* to ALLOC, ASK, IDS: job = the request's; status; payload as that says, or an error text */
    SK_MSG_STOP,     /* destroy your actors and end                                                                   */
    /* worker to driver */
    SK_MSG_HELLO,    /* a = pid                                                                                       */
    SK_MSG_REPLY,    /* to RUN, CREATE, CALL: job, status, a = start_ns, b = duration_ns; payload: n_returns packed
                        records, then the state if method is 1; or an error text                                               */
    SK_MSG_BOUNCE,   /* job: not begun, because I wait in another one; run it elsewhere                               */
    SK_MSG_BLOCKED,  /* job waits for objects: its resources are free for others; a = VALUEs and ANSWERs read so far.
                        Sent again when it waits on after more of them                                               */
    SK_MSG_UNBLOCKED,
    SK_MSG_ALLOC,    /* a = size in the store; ANSWER payload: sk_extent                                              */
    SK_MSG_FREE,     /* payload: sk_extent that is not needed after all                                               */
    SK_MSG_PUT,      /* subject = new object; status; payload: one packed record, or an error text                    */
    SK_MSG_FETCH,    /* subject: send its VALUE when it has one                                                       */
    SK_MSG_ACQUIRE,  /* payload: u64 object ids                                                                       */
    SK_MSG_RELEASE,  /* payload: u64 object ids                                                                       */
    SK_MSG_IDS,      /* a = how many; ANSWER payload: u64 object ids that are mine now                                */
    SK_MSG_SUBMIT,   /* function, n_args, n_returns; payload: sk_submit_head, u64 return ids (padded to 16), resources
                        (sk_resource_wire each), packed arguments. Their VALUEs come by themselves                    */
    SK_MSG_SUBMIT_CALL, /* the same with subject and method                                                           */
    SK_MSG_CANCEL,   /* subject: object; a = sk_cancel_how                                                            */
    SK_MSG_ASK,      /* job = request; method = sk_ask; payload by it; answered by ANSWER                             */
    SK_MSG_BYE,      /* actors are destroyed, I end                                                                   */
    SK_MSG_N_KINDS
} sk_message_kind;

/* Rare requests of workers. */
typedef enum sk_ask {
    SK_ASK_ACTOR_CREATE = 1, /* payload: sk_actor_head, resources, packed args; answer: u64 actor id                  */
    SK_ASK_ACTOR_WAIT,       /* subject                                                                               */
    SK_ASK_ACTOR_FIND,       /* payload: name; answer: u64 actor id                                                   */
    SK_ASK_ACTOR_CHECK,      /* subject; answer: i64 pid                                                              */
    SK_ASK_ACTOR_STOP,       /* subject                                                                               */
    SK_ASK_ACTOR_KILL,       /* subject; a = sk_kill_how                                                              */
    SK_ASK_GROUP_CREATE,     /* a = strategy, n_args = bundles; payload: per bundle u64 n, resources; answer: u64 group */
    SK_ASK_GROUP_WAIT,       /* subject                                                                               */
    SK_ASK_GROUP_DESTROY     /* subject                                                                               */
} sk_ask;

typedef struct sk_message {
    uint32_t magic; /* SK_MESSAGE_MAGIC                                   */
    uint16_t kind;  /* sk_message_kind                                    */
    uint16_t pad;
    uint64_t job;
    uint64_t subject;
    uint64_t function;
    int32_t  method, status;
    uint32_t n_args, n_returns;
    int64_t  a, b;
} sk_message;
#define SK_MESSAGE_MAGIC 0x47534b53u /* "SKSG" */
enum { SK_MESSAGE_COUNT_MAX = 1 << 20 }; /* arguments, and returns, of one run */
_Static_assert(sizeof(sk_message) == 64, "the wire");

/* Is it a message, and of a kind that this side may get? SK_ECORRUPT says which field is wrong. The payload is what
 * follows the head. */
typedef enum sk_message_to { SK_TO_WORKER, SK_TO_DRIVER } sk_message_to;
SK_NODISCARD sk_status sk_message_parse(const void *bytes, size_t size, sk_message_to to,
                                        const sk_message **ret_message, sk_bytes *ret_payload, sk_error *reterr);
bool sk_message_status_is_known(int32_t status);

/* ---- packed records -------------------------------------------------------------------------------------- */
typedef enum sk_packed_kind {
    SK_PACKED_VALUE = 1, /* size bytes follow, padded to 16                    */
    SK_PACKED_REF,       /* size is an object's id; no body                    */
    SK_PACKED_EXTENT,    /* 16 bytes follow: sk_extent in the store            */
    SK_PACKED_BLOB       /* 16 bytes follow: sk_extent that holds all the records: they did not fit a message */
} sk_packed_kind;
typedef struct sk_packed {
    uint32_t kind, pad;
    uint64_t size;
} sk_packed;

/* One record, read. */
typedef struct sk_record {
    sk_packed_kind kind;
    sk_bytes       value;  /* VALUE: borrowed from the payload */
    sk_ref         ref;    /* REF                              */
    sk_extent      extent; /* EXTENT, BLOB                     */
} sk_record;
/* Take the next record off the front of *rest. SK_ECORRUPT. */
SK_NODISCARD sk_status sk_packed_next(sk_bytes *rest, sk_record *ret_record, sk_error *reterr);

size_t sk_packed_value_size(size_t size); /* head and padded body                         */
#define SK_PACKED_REF_SIZE    ((size_t)16)
#define SK_PACKED_EXTENT_SIZE ((size_t)32)
/* Write one record at `at` (16-byte aligned, with room); gives where the next one goes. Padding is zeroed. */
uint8_t *sk_packed_put_value(uint8_t *at, const void *data, size_t size);
uint8_t *sk_packed_put_ref(uint8_t *at, sk_ref ref);
uint8_t *sk_packed_put_extent(uint8_t *at, sk_extent extent);
uint8_t *sk_packed_put_blob(uint8_t *at, sk_extent extent);

/* ---- structs of payloads --------------------------------------------------------------------------------- */
typedef struct sk_resource_wire {
    char   name[24];
    double amount;
} sk_resource_wire;
typedef struct sk_submit_head {
    char     name[48];
    int32_t  placement, n_resources; /* n_resources -1: the default          */
    int32_t  max_retries, retry_errors, timeout_ms, bundle;
    uint64_t group;
} sk_submit_head;
typedef struct sk_actor_head {
    char     class_name[64], name[64];
    int32_t  placement, n_resources, n_args, max_restarts;
    double   restart_window_s;
    int32_t  restart_backoff_ms, max_task_retries, max_concurrency, max_pending_calls;
    uint64_t group;
    int32_t  bundle, pad[3];
} sk_actor_head;
_Static_assert(sizeof(sk_submit_head) == 80 && sizeof(sk_actor_head) % 16 == 0, "what follows stays aligned");

#endif
