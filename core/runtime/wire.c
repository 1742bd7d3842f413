#include "core/runtime/wire.h"
#include "core/runtime/board.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* What must be true of a frame of each kind. */
typedef enum payload_rule {
    PAYLOAD_NONE,
    PAYLOAD_TEXT,    /* for people; may be empty          */
    PAYLOAD_NAME,    /* of a worker, not empty            */
    PAYLOAD_JOIN,    /* sk_wire_join                      */
    PAYLOAD_DEATH,   /* sk_wire_death                     */
    PAYLOAD_PACKED,  /* records                           */
    PAYLOAD_MESSAGE, /* one message of message.h          */
    PAYLOAD_BYTES    /* of an extent                      */
} payload_rule;

typedef enum way { UP = 1, DOWN = 2, BOTH = 3 } way;

typedef struct kind_rule {
    const char  *name;
    way          way;
    way          about_worker; /* where line and generation name one */
    payload_rule payload;
} kind_rule;

static const kind_rule rules[SK_WIRE_N_KINDS] = {
    [SK_WIRE_JOIN] = {"JOIN", UP, 0, PAYLOAD_JOIN},
    [SK_WIRE_READY] = {"READY", UP, 0, PAYLOAD_NONE},
    [SK_WIRE_LEAVE] = {"LEAVE", UP, 0, PAYLOAD_TEXT},
    [SK_WIRE_DEATH] = {"DEATH", UP, UP, PAYLOAD_DEATH},
    [SK_WIRE_WELCOME] = {"WELCOME", DOWN, 0, PAYLOAD_PACKED},
    [SK_WIRE_REFUSE] = {"REFUSE", DOWN, 0, PAYLOAD_TEXT},
    [SK_WIRE_SPAWN] = {"SPAWN", DOWN, DOWN, PAYLOAD_NAME},
    [SK_WIRE_SIGNAL] = {"SIGNAL", DOWN, DOWN, PAYLOAD_NONE},
    [SK_WIRE_CANCEL] = {"CANCEL", DOWN, DOWN, PAYLOAD_NONE},
    [SK_WIRE_STOPPING] = {"STOPPING", DOWN, 0, PAYLOAD_NONE},
    [SK_WIRE_COPY] = {"COPY", DOWN, 0, PAYLOAD_NONE},
    [SK_WIRE_DROP] = {"DROP", DOWN, 0, PAYLOAD_NONE},
    [SK_WIRE_BYE] = {"BYE", DOWN, 0, PAYLOAD_TEXT},
    [SK_WIRE_BEAT] = {"BEAT", BOTH, 0, PAYLOAD_NONE},
    [SK_WIRE_MAIL] = {"MAIL", BOTH, BOTH, PAYLOAD_MESSAGE},
    [SK_WIRE_CHUNK] = {"CHUNK", BOTH, UP, PAYLOAD_BYTES},
};
enum { SIGNALS_MAX = 64 };
_Static_assert(SK_CHUNK_BYTES <= SK_LINK_PAYLOAD_MAX && SK_RING_MESSAGE_MAX <= SK_LINK_PAYLOAD_MAX, "they fit a frame");

const char *sk_wire_kind_text(int kind) {
    return kind > 0 && kind < SK_WIRE_N_KINDS && rules[kind].name ? rules[kind].name : "unknown";
}

/* ---- frames ---------------------------------------------------------------------------------------------- */
static bool is_terminated(const char *text, size_t size) { return memchr(text, 0, size) != NULL; }

static sk_status check_join(const void *payload, sk_error *reterr) {
    sk_wire_join join;
    memcpy(&join, payload, sizeof join);
    if (!is_terminated(join.name, sizeof join.name) || !is_terminated(join.build, sizeof join.build) || !join.name[0])
        return SK_FAIL(reterr, SK_ECORRUPT, "a JOIN frame whose name or build is none");
    for (const char *at = join.name; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            return SK_FAIL(reterr, SK_ECORRUPT, "a JOIN frame whose name has the character %d", *at);
    if (join.pid <= 0 || join.store_bytes == 0 || join.store_bytes > INT64_MAX || join.n_resources < 0 ||
        join.n_resources > SK_WIRE_RESOURCES_MAX)
        return SK_FAIL(reterr, SK_ECORRUPT, "a JOIN frame of process %" PRId32 " with a store of %" PRIu64
                       " bytes and %" PRId32 " resources", join.pid, join.store_bytes, join.n_resources);
    for (int i = 0; i < join.n_resources; i++) {
        const sk_resource_wire *resource = &join.resources[i];
        if (!is_terminated(resource->name, sizeof resource->name) || !resource->name[0])
            return SK_FAIL(reterr, SK_ECORRUPT, "a JOIN frame whose resource %d has no name", i);
        if (!isfinite(resource->amount) || resource->amount < 0)
            return SK_FAIL(reterr, SK_ECORRUPT, "a JOIN frame with %g of %s", resource->amount, resource->name);
    }
    return SK_OK;
}

static sk_status check_death(const void *payload, sk_error *reterr) {
    sk_wire_death death;
    memcpy(&death, payload, sizeof death);
    if (!is_terminated(death.how, sizeof death.how) || death.pid < 0)
        return SK_FAIL(reterr, SK_ECORRUPT, "a DEATH frame of process %" PRId32 ", or without an end of its text",
                       death.pid);
    return SK_OK;
}

static bool payload_fits(const sk_link_frame *frame, payload_rule rule) {
    switch (rule) {
    case PAYLOAD_NONE: return frame->size == 0;
    case PAYLOAD_TEXT:
        return frame->size == 0 || (frame->size <= SK_WIRE_TEXT_MAX && !memchr(frame->payload, 0, frame->size));
    case PAYLOAD_NAME:
        return frame->size > 0 && frame->size < SK_BOARD_NAME && !memchr(frame->payload, 0, frame->size);
    case PAYLOAD_JOIN: return frame->size == sizeof(sk_wire_join);
    case PAYLOAD_DEATH: return frame->size == sizeof(sk_wire_death);
    case PAYLOAD_PACKED: return frame->size > 0 && frame->size % 16 == 0;
    case PAYLOAD_MESSAGE: return frame->size >= sizeof(sk_message) && frame->size <= SK_RING_MESSAGE_MAX;
    case PAYLOAD_BYTES: return frame->size > 0 && frame->size <= SK_CHUNK_BYTES;
    }
    return false;
}

static bool numbers_fit(const sk_link_frame *frame) {
    switch ((sk_wire_kind)frame->kind) {
    case SK_WIRE_WELCOME: return frame->a >= 1 && frame->a < SK_BOARD_HOSTS;
    case SK_WIRE_REFUSE: return frame->a <= 1;
    case SK_WIRE_SIGNAL: return frame->a >= 1 && frame->a <= SIGNALS_MAX;
    case SK_WIRE_CANCEL: return frame->a != 0;
    case SK_WIRE_COPY: return frame->b > 0 && frame->a <= UINT64_MAX - frame->b;
    case SK_WIRE_CHUNK: return frame->a <= UINT64_MAX - frame->b && frame->a + frame->b <= UINT64_MAX - frame->size;
    default: return true;
    }
}

sk_status sk_wire_check(const sk_link_frame *frame, sk_wire_to to, sk_error *reterr) {
    SK_ASSERT(frame && (frame->payload || frame->size == 0));
    if (frame->kind >= SK_WIRE_N_KINDS || !rules[frame->kind].name)
        return SK_FAIL(reterr, SK_ECORRUPT, "a frame of unknown kind %d", frame->kind);
    const kind_rule *rule = &rules[frame->kind];
    way              here = to == SK_TO_HEAD ? UP : DOWN;
    if (!(rule->way & here))
        return SK_FAIL(reterr, SK_ECORRUPT, "a %s frame, which is for %s", rule->name,
                       to == SK_TO_HEAD ? "nodes" : "the head");
    if (frame->session == 0) return SK_FAIL(reterr, SK_ECORRUPT, "a %s frame without a session", rule->name);
    if ((rule->about_worker & here) && (frame->line >= SK_BOARD_LINES || frame->generation == 0))
        return SK_FAIL(reterr, SK_ECORRUPT, "a %s frame about line %" PRIu32 ", generation %" PRIu32 ", which is none",
                       rule->name, frame->line, frame->generation);
    if (!payload_fits(frame, rule->payload))
        return SK_FAIL(reterr, SK_ECORRUPT, "a %s frame cannot have such a payload (%zu bytes)", rule->name,
                       frame->size);
    if (!numbers_fit(frame))
        return SK_FAIL(reterr, SK_ECORRUPT,
                       "a %s frame with a = %" PRIu64 ", b = %" PRIu64 " and %zu bytes, which cannot be", rule->name,
                       frame->a, frame->b, frame->size);
    if (rule->payload == PAYLOAD_JOIN) return check_join(frame->payload, reterr);
    if (rule->payload == PAYLOAD_DEATH) return check_death(frame->payload, reterr);
    return SK_OK;
}

/* ---- extents in messages --------------------------------------------------------------------------------- */
typedef struct visitor {
    sk_wire_on_extent on_extent;
    void             *arg;
} visitor;

/* Not in a record: a place that a whole payload names. */
static sk_status visit_place(uint8_t *at, size_t size, const visitor *visit, sk_error *reterr) {
    sk_extent *extent = (void *)at;
    if (size != sizeof *extent || extent->size == 0 || extent->offset > UINT64_MAX - extent->size)
        return SK_FAIL(reterr, SK_ECORRUPT, "a message about a place in the store that is none");
    return visit->on_extent(visit->arg, extent, false, reterr);
}

/* Where there is a blob, it is the only record. */
static sk_status visit_records(uint8_t *at, size_t size, bool may_be_blob, const visitor *visit, sk_error *reterr) {
    sk_bytes rest = {at, size};
    while (rest.size > 0) {
        sk_record record;
        uint8_t  *body = at + (size - rest.size) + sizeof(sk_packed);
        bool      is_first = rest.size == size;
        SK_TRY(sk_packed_next(&rest, &record, reterr));
        bool is_blob = record.kind == SK_PACKED_BLOB;
        if (is_blob && !(may_be_blob && is_first && rest.size == 0))
            return SK_FAIL(reterr, SK_ECORRUPT, "a record that stands for all the others stands among them");
        if (is_blob || record.kind == SK_PACKED_EXTENT)
            SK_TRY(visit->on_extent(visit->arg, (void *)body, is_blob, reterr));
    }
    return SK_OK;
}

sk_status sk_wire_each_packed(void *packed, size_t size, sk_wire_on_extent on_extent, void *arg, sk_error *reterr) {
    SK_ASSERT((packed || size == 0) && (uintptr_t)packed % 16 == 0 && on_extent);
    const visitor visit = {on_extent, arg};
    return visit_records(packed, size, false, &visit, reterr);
}

/* What stands before the packed arguments. False: the payload is too short for it. */
static bool find_submitted(const sk_message *message, const uint8_t *payload, size_t size, size_t *ret_skip) {
    sk_submit_head head;
    if (size < sizeof head) return false;
    memcpy(&head, payload, sizeof head);
    uint64_t n_resources = head.n_resources > 0 ? (uint64_t)head.n_resources : 0;
    uint64_t ids = ((uint64_t)message->n_returns * sizeof(uint64_t) + 15) & ~UINT64_C(15);
    uint64_t skip = sizeof head + ids + n_resources * sizeof(sk_resource_wire);
    *ret_skip = (size_t)skip;
    return skip <= size;
}

static bool find_actor_args(const uint8_t *payload, size_t size, size_t *ret_skip) {
    sk_actor_head head;
    if (size < sizeof head) return false;
    memcpy(&head, payload, sizeof head);
    uint64_t n_resources = head.n_resources > 0 ? (uint64_t)head.n_resources : 0;
    uint64_t skip = sizeof head + n_resources * sizeof(sk_resource_wire);
    *ret_skip = (size_t)skip;
    return skip <= size;
}

sk_status sk_wire_each_extent(void *message, size_t size, sk_message_to to, bool answers_alloc,
                              sk_wire_on_extent on_extent, void *arg, sk_error *reterr) {
    SK_ASSERT(message && (uintptr_t)message % 16 == 0 && size >= sizeof(sk_message) && on_extent);
    const sk_message *head = message;
    const visitor     visit = {on_extent, arg};
    uint8_t          *payload = (uint8_t *)message + sizeof *head;
    bool              is_good = head->status == SK_OK;
    size_t            n = size - sizeof *head, skip = 0;
    (void)to; /* a kind belongs to one side only */
    switch ((sk_message_kind)head->kind) {
    case SK_MSG_RUN:
    case SK_MSG_CREATE:
    case SK_MSG_CALL: return visit_records(payload, n, true, &visit, reterr);
    case SK_MSG_VALUE:
    case SK_MSG_PUT:
    case SK_MSG_REPLY: return is_good ? visit_records(payload, n, true, &visit, reterr) : SK_OK;
    case SK_MSG_ANSWER: return is_good && answers_alloc ? visit_place(payload, n, &visit, reterr) : SK_OK;
    case SK_MSG_FREE: return visit_place(payload, n, &visit, reterr);
    case SK_MSG_SUBMIT:
    case SK_MSG_SUBMIT_CALL:
        if (!find_submitted(head, payload, n, &skip)) break;
        return visit_records(payload + skip, n - skip, true, &visit, reterr);
    case SK_MSG_ASK:
        if (head->method != SK_ASK_ACTOR_CREATE) return SK_OK;
        if (!find_actor_args(payload, n, &skip)) break;
        return visit_records(payload + skip, n - skip, true, &visit, reterr);
    default: return SK_OK;
    }
    return SK_FAIL(reterr, SK_ECORRUPT, "an order of %zu bytes, shorter than what it says it has", n);
}
