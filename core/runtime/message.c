#include "core/runtime/message.h"
#include <inttypes.h>
#include <stdalign.h>
#include <string.h>

/* What must be true of a message of each kind, besides what is true of all. */
typedef enum payload_rule {
    PAYLOAD_NONE,   /* there is none                  */
    PAYLOAD_ANY,    /* its reader knows               */
    PAYLOAD_PACKED, /* records, multiples of 16       */
    PAYLOAD_IDS,    /* u64 object ids                 */
    PAYLOAD_EXTENT  /* one sk_extent                  */
} payload_rule;

typedef struct kind_rule {
    const char   *name;
    sk_message_to to;
    bool          has_job, has_subject; /* may not be 0 */
    payload_rule  payload;
} kind_rule;

static const kind_rule rules[SK_MSG_N_KINDS] = {
    [SK_MSG_RUN] = {"RUN", SK_TO_WORKER, true, false, PAYLOAD_PACKED},
    [SK_MSG_CREATE] = {"CREATE", SK_TO_WORKER, true, true, PAYLOAD_PACKED},
    [SK_MSG_CALL] = {"CALL", SK_TO_WORKER, true, true, PAYLOAD_PACKED},
    [SK_MSG_VALUE] = {"VALUE", SK_TO_WORKER, false, true, PAYLOAD_ANY},
    [SK_MSG_ANSWER] = {"ANSWER", SK_TO_WORKER, true, false, PAYLOAD_ANY},
    [SK_MSG_STOP] = {"STOP", SK_TO_WORKER, false, false, PAYLOAD_NONE},
    [SK_MSG_HELLO] = {"HELLO", SK_TO_DRIVER, false, false, PAYLOAD_NONE},
    [SK_MSG_REPLY] = {"REPLY", SK_TO_DRIVER, true, false, PAYLOAD_ANY},
    [SK_MSG_BOUNCE] = {"BOUNCE", SK_TO_DRIVER, true, false, PAYLOAD_NONE},
    [SK_MSG_BLOCKED] = {"BLOCKED", SK_TO_DRIVER, true, false, PAYLOAD_NONE},
    [SK_MSG_UNBLOCKED] = {"UNBLOCKED", SK_TO_DRIVER, true, false, PAYLOAD_NONE},
    [SK_MSG_ALLOC] = {"ALLOC", SK_TO_DRIVER, true, false, PAYLOAD_NONE},
    [SK_MSG_FREE] = {"FREE", SK_TO_DRIVER, false, false, PAYLOAD_EXTENT},
    [SK_MSG_PUT] = {"PUT", SK_TO_DRIVER, false, true, PAYLOAD_ANY},
    [SK_MSG_FETCH] = {"FETCH", SK_TO_DRIVER, false, true, PAYLOAD_NONE},
    [SK_MSG_ACQUIRE] = {"ACQUIRE", SK_TO_DRIVER, false, false, PAYLOAD_IDS},
    [SK_MSG_RELEASE] = {"RELEASE", SK_TO_DRIVER, false, false, PAYLOAD_IDS},
    [SK_MSG_IDS] = {"IDS", SK_TO_DRIVER, true, false, PAYLOAD_NONE},
    [SK_MSG_SUBMIT] = {"SUBMIT", SK_TO_DRIVER, false, false, PAYLOAD_PACKED},
    [SK_MSG_SUBMIT_CALL] = {"SUBMIT_CALL", SK_TO_DRIVER, false, true, PAYLOAD_PACKED},
    [SK_MSG_CANCEL] = {"CANCEL", SK_TO_DRIVER, false, true, PAYLOAD_NONE},
    [SK_MSG_ASK] = {"ASK", SK_TO_DRIVER, true, false, PAYLOAD_ANY},
    [SK_MSG_BYE] = {"BYE", SK_TO_DRIVER, false, false, PAYLOAD_NONE},
};

/* One head and a body that lies aligned behind it. */
_Static_assert(sizeof(sk_packed) == 16 && sizeof(sk_extent) == 16, "the wire");

static size_t pad_16(size_t n) { return (n + 15) & ~(size_t)15; }

bool sk_message_status_is_known(int32_t status) {
    switch (status) {
#define STATUS_CASE(code, number, text) case number:
        SK_STATUS_LIST(STATUS_CASE)
#undef STATUS_CASE
        return true;
    default:
        return false;
    }
}

static sk_status check_payload(const kind_rule *rule, size_t size, sk_error *reterr) {
    bool fits = true;
    switch (rule->payload) {
    case PAYLOAD_NONE: fits = size == 0; break;
    case PAYLOAD_ANY: break;
    case PAYLOAD_PACKED: fits = size % 16 == 0; break;
    case PAYLOAD_IDS: fits = size > 0 && size % sizeof(uint64_t) == 0; break;
    case PAYLOAD_EXTENT: fits = size == sizeof(sk_extent); break;
    }
    if (!fits) return SK_FAIL(reterr, SK_ECORRUPT, "a %s message cannot have a payload of %zu bytes", rule->name, size);
    return SK_OK;
}

/* The fields that name a function's arguments, answers or method. */
static sk_status check_counts(const sk_message *message, const kind_rule *rule, sk_error *reterr) {
    if (message->n_args > SK_MESSAGE_COUNT_MAX || message->n_returns > SK_MESSAGE_COUNT_MAX)
        return SK_FAIL(reterr, SK_ECORRUPT, "a %s message with %" PRIu32 " arguments and %" PRIu32
                       " returns; up to %d are possible", rule->name, message->n_args, message->n_returns,
                       SK_MESSAGE_COUNT_MAX);
    bool is_call = message->kind == SK_MSG_CALL || message->kind == SK_MSG_SUBMIT_CALL;
    if (is_call && message->method < 0)
        return SK_FAIL(reterr, SK_ECORRUPT, "a %s message of method %" PRId32, rule->name, message->method);
    if (message->kind == SK_MSG_REPLY && (message->method < 0 || message->method > 1))
        return SK_FAIL(reterr, SK_ECORRUPT, "a REPLY message with %" PRId32 " states, wanted 0 or 1", message->method);
    if (message->kind == SK_MSG_ASK &&
        (message->method < SK_ASK_ACTOR_CREATE || message->method > SK_ASK_GROUP_DESTROY))
        return SK_FAIL(reterr, SK_ECORRUPT, "an ASK message of unknown question %" PRId32, message->method);
    return SK_OK;
}

sk_status sk_message_parse(const void *bytes, size_t size, sk_message_to to, const sk_message **ret_message,
                           sk_bytes *ret_payload, sk_error *reterr) {
    SK_ASSERT(bytes && (uintptr_t)bytes % alignof(sk_message) == 0 && ret_message && ret_payload);
    const sk_message *message = bytes;
    if (size < sizeof *message)
        return SK_FAIL(reterr, SK_ECORRUPT, "a message of %zu bytes; its head alone has %zu", size, sizeof *message);
    if (message->magic != SK_MESSAGE_MAGIC)
        return SK_FAIL(reterr, SK_ECORRUPT, "not a message: it begins with %08" PRIx32 ", wanted %08x",
                       message->magic, SK_MESSAGE_MAGIC);
    if (message->kind >= SK_MSG_N_KINDS || !rules[message->kind].name)
        return SK_FAIL(reterr, SK_ECORRUPT, "a message of unknown kind %d", message->kind);
    const kind_rule *rule = &rules[message->kind];
    if (rule->to != to)
        return SK_FAIL(reterr, SK_ECORRUPT, "a %s message, which is for %s", rule->name,
                       rule->to == SK_TO_WORKER ? "workers" : "drivers");
    if (message->pad != 0)
        return SK_FAIL(reterr, SK_ECORRUPT, "a %s message with %d where 0 belongs", rule->name, message->pad);
    if (!sk_message_status_is_known(message->status))
        return SK_FAIL(reterr, SK_ECORRUPT, "a %s message of unknown status %" PRId32, rule->name, message->status);
    if (rule->has_job && message->job == 0)
        return SK_FAIL(reterr, SK_ECORRUPT, "a %s message without a job", rule->name);
    if (rule->has_subject && message->subject == 0)
        return SK_FAIL(reterr, SK_ECORRUPT, "a %s message without a subject", rule->name);
    SK_TRY(check_counts(message, rule, reterr));
    SK_TRY(check_payload(rule, size - sizeof *message, reterr));
    *ret_message = message;
    *ret_payload = (sk_bytes){(const uint8_t *)bytes + sizeof *message, size - sizeof *message};
    return SK_OK;
}

/* ---- packed records -------------------------------------------------------------------------------------- */
/* The body of an EXTENT or BLOB. */
static sk_status read_extent(const uint8_t *body, const sk_packed *head, size_t room, sk_extent *ret_extent,
                             sk_error *reterr) {
    if (head->size != sizeof *ret_extent || room < sizeof *ret_extent)
        return SK_FAIL(reterr, SK_ECORRUPT, "a place in the store takes %zu bytes, the record says %" PRIu64
                       " and %zu follow", sizeof *ret_extent, head->size, room);
    memcpy(ret_extent, body, sizeof *ret_extent);
    if (ret_extent->size == 0 || ret_extent->offset > UINT64_MAX - ret_extent->size)
        return SK_FAIL(reterr, SK_ECORRUPT, "no place in the store: %" PRIu64 " bytes at %" PRIu64,
                       ret_extent->size, ret_extent->offset);
    return SK_OK;
}

sk_status sk_packed_next(sk_bytes *rest, sk_record *ret_record, sk_error *reterr) {
    SK_ASSERT(rest && ret_record);
    sk_packed head;
    if (rest->size < sizeof head)
        return SK_FAIL(reterr, SK_ECORRUPT, "a record is missing: %zu bytes are left, its head has %zu", rest->size,
                       sizeof head);
    memcpy(&head, rest->data, sizeof head);
    const uint8_t *body = (const uint8_t *)rest->data + sizeof head;
    size_t         room = rest->size - sizeof head, taken = 0;
    if (head.pad != 0) return SK_FAIL(reterr, SK_ECORRUPT, "a record with %" PRIu32 " where 0 belongs", head.pad);
    *ret_record = (sk_record){.kind = (sk_packed_kind)head.kind};
    switch (head.kind) {
    case SK_PACKED_VALUE:
        if (head.size > room || pad_16((size_t)head.size) > room)
            return SK_FAIL(reterr, SK_ECORRUPT, "a record says that it has %" PRIu64 " bytes, %zu follow", head.size,
                           room);
        ret_record->value = (sk_bytes){body, (size_t)head.size};
        taken = pad_16((size_t)head.size);
        break;
    case SK_PACKED_REF:
        if (head.size == 0) return SK_FAIL(reterr, SK_ECORRUPT, "a record refers to object 0, which is none");
        ret_record->ref.id = head.size;
        break;
    case SK_PACKED_EXTENT:
    case SK_PACKED_BLOB:
        SK_TRY(read_extent(body, &head, room, &ret_record->extent, reterr));
        taken = sizeof(sk_extent);
        break;
    default: return SK_FAIL(reterr, SK_ECORRUPT, "a record of unknown kind %" PRIu32, head.kind);
    }
    *rest = (sk_bytes){body + taken, room - taken};
    return SK_OK;
}

size_t sk_packed_value_size(size_t size) { return sizeof(sk_packed) + pad_16(size); }

static uint8_t *put_head(uint8_t *at, sk_packed_kind kind, uint64_t size) {
    sk_packed head = {.kind = (uint32_t)kind, .size = size};
    memcpy(at, &head, sizeof head);
    return at + sizeof head;
}

uint8_t *sk_packed_put_value(uint8_t *at, const void *data, size_t size) {
    at = put_head(at, SK_PACKED_VALUE, size);
    if (size) memcpy(at, data, size);
    memset(at + size, 0, pad_16(size) - size);
    return at + pad_16(size);
}

uint8_t *sk_packed_put_ref(uint8_t *at, sk_ref ref) { return put_head(at, SK_PACKED_REF, ref.id); }

static uint8_t *put_place(uint8_t *at, sk_packed_kind kind, sk_extent extent) {
    at = put_head(at, kind, sizeof extent);
    memcpy(at, &extent, sizeof extent);
    return at + sizeof extent;
}

uint8_t *sk_packed_put_extent(uint8_t *at, sk_extent extent) { return put_place(at, SK_PACKED_EXTENT, extent); }

uint8_t *sk_packed_put_blob(uint8_t *at, sk_extent extent) { return put_place(at, SK_PACKED_BLOB, extent); }
