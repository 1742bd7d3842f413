#include "core/runtime/board.h"
#include "core/runtime/wire.h"
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/* ---- frames ---- */

static _Alignas(16) uint8_t bytes[SK_LINK_PAYLOAD_MAX];

/* A good frame of each kind, as it goes to `to`; its payload is in `bytes`. */
static sk_link_frame good(int kind, sk_wire_to to) {
    sk_link_frame frame = {.kind = (uint16_t)kind, .session = 7, .line = 3, .generation = 2, .payload = bytes};
    memset(bytes, 0, sizeof bytes);
    switch (kind) {
    case SK_WIRE_JOIN: {
        sk_wire_join join = {.name = "left", .build = "1 abc", .store_bytes = 1 << 20, .pid = 99, .n_resources = 2,
                             .resources = {{"cpu", 4}, {"gpu", 0}}};
        memcpy(bytes, &join, frame.size = sizeof join);
        break;
    }
    case SK_WIRE_DEATH: {
        sk_wire_death death = {.pid = 100, .how = "exited with status 0"};
        memcpy(bytes, &death, frame.size = sizeof death);
        break;
    }
    case SK_WIRE_LEAVE:
    case SK_WIRE_REFUSE:
    case SK_WIRE_BYE:
    case SK_WIRE_SPAWN: memcpy(bytes, "worker", frame.size = 6); break;
    case SK_WIRE_WELCOME:
        frame.a = 1;
        frame.size = (size_t)(sk_packed_put_value(bytes, "head", 4) - bytes);
        break;
    case SK_WIRE_SIGNAL: frame.a = 9; break;
    case SK_WIRE_CANCEL: frame.a = 77; break;
    case SK_WIRE_COPY: frame.a = 64; frame.b = 100; break;
    case SK_WIRE_CHUNK: frame.a = 64; frame.size = 100; break;
    case SK_WIRE_MAIL: frame.size = sizeof(sk_message); break;
    default: break;
    }
    if (kind == SK_WIRE_CHUNK && to == SK_TO_NODE) frame.line = frame.generation = 0;
    return frame;
}

static bool goes_to(int kind, sk_wire_to to) {
    bool is_up = kind <= SK_WIRE_DEATH, is_both = kind >= SK_WIRE_BEAT;
    return is_both || is_up == (to == SK_TO_HEAD);
}

static void expect_bad(const sk_link_frame *frame, sk_wire_to to, const char *wanted) {
    sk_error err = {0};
    cr_assert_eq(sk_wire_check(frame, to, &err), SK_ECORRUPT, "%s: wanted '%s'", sk_wire_kind_text(frame->kind),
                 wanted);
    cr_assert(strstr(err.msg, wanted), "wanted '%s' in '%s'", wanted, err.msg);
}

static const sk_wire_to sides[] = {SK_TO_HEAD, SK_TO_NODE};

Test(wire, a_frame_of_each_kind_passes_on_its_own_way_only) {
    for (int kind = 1; kind < SK_WIRE_N_KINDS; kind++)
        for (int i = 0; i < 2; i++) {
            sk_link_frame frame = good(kind, sides[i]);
            sk_error      err = {0};
            if (goes_to(kind, sides[i]))
                cr_assert_eq(sk_wire_check(&frame, sides[i], &err), SK_OK, "%s", err.msg);
            else expect_bad(&frame, sides[i], sides[i] == SK_TO_HEAD ? "which is for nodes" : "which is for the head");
        }
}

Test(wire, an_unknown_kind_or_no_session_is_refused) {
    sk_link_frame frame = {.kind = 0, .session = 1};
    expect_bad(&frame, SK_TO_HEAD, "unknown kind 0");
    frame.kind = SK_WIRE_N_KINDS;
    expect_bad(&frame, SK_TO_NODE, "unknown kind 17");
    frame = good(SK_WIRE_BEAT, SK_TO_HEAD);
    frame.session = 0;
    expect_bad(&frame, SK_TO_HEAD, "without a session");
    cr_assert_str_eq(sk_wire_kind_text(SK_WIRE_MAIL), "MAIL");
    cr_assert_str_eq(sk_wire_kind_text(0), "unknown");
    cr_assert_str_eq(sk_wire_kind_text(-1), "unknown");
    cr_assert_str_eq(sk_wire_kind_text(SK_WIRE_N_KINDS), "unknown");
}

Test(wire, a_frame_about_a_worker_names_its_line_and_use) {
    static const int about[] = {SK_WIRE_DEATH,  SK_WIRE_SPAWN, SK_WIRE_SIGNAL,
                                SK_WIRE_CANCEL, SK_WIRE_MAIL,  SK_WIRE_CHUNK};
    for (int i = 0; i < SK_COUNT(about); i++)
        for (int k = 0; k < 2; k++) {
            if (!goes_to(about[i], sides[k]) || (about[i] == SK_WIRE_CHUNK && sides[k] == SK_TO_NODE)) continue;
            sk_link_frame frame = good(about[i], sides[k]);
            frame.line = SK_BOARD_LINES;
            expect_bad(&frame, sides[k], "line 2048");
            frame = good(about[i], sides[k]);
            frame.generation = 0;
            expect_bad(&frame, sides[k], "generation 0");
        }
}

Test(wire, a_payload_of_the_wrong_size_is_refused) {
    static const struct {
        int    kind;
        size_t bad[4]; /* 0 at the end: no more */
    } cases[] = {
        {SK_WIRE_JOIN, {1, sizeof(sk_wire_join) - 1, sizeof(sk_wire_join) + 1}},
        {SK_WIRE_READY, {1}},
        {SK_WIRE_DEATH, {1, sizeof(sk_wire_death) - 1, sizeof(sk_wire_death) + 1}},
        {SK_WIRE_WELCOME, {15, 17}},
        {SK_WIRE_SPAWN, {SK_BOARD_NAME}},
        {SK_WIRE_LEAVE, {SK_WIRE_TEXT_MAX + 1}},
        {SK_WIRE_REFUSE, {SK_WIRE_TEXT_MAX + 1}},
        {SK_WIRE_BYE, {SK_WIRE_TEXT_MAX + 1}},
        {SK_WIRE_SIGNAL, {1}},
        {SK_WIRE_CANCEL, {8}},
        {SK_WIRE_STOPPING, {1}},
        {SK_WIRE_COPY, {16}},
        {SK_WIRE_DROP, {16}},
        {SK_WIRE_BEAT, {16}},
        {SK_WIRE_MAIL, {63, SK_RING_MESSAGE_MAX + 1}},
        {SK_WIRE_CHUNK, {SK_CHUNK_BYTES + 1}},
    };
    static const int never_empty[] = {SK_WIRE_JOIN,  SK_WIRE_DEATH, SK_WIRE_WELCOME,
                                      SK_WIRE_SPAWN, SK_WIRE_MAIL,  SK_WIRE_CHUNK};
    for (int i = 0; i < SK_COUNT(cases); i++)
        for (int k = 0; k < 2; k++)
            for (int n = 0; n < 4 && cases[i].bad[n] && goes_to(cases[i].kind, sides[k]); n++) {
                sk_link_frame frame = good(cases[i].kind, sides[k]);
                memset(bytes, 'x', sizeof bytes);
                frame.size = cases[i].bad[n];
                expect_bad(&frame, sides[k], "payload");
            }
    for (int i = 0; i < SK_COUNT(never_empty); i++)
        for (int k = 0; k < 2; k++) {
            sk_link_frame frame = good(never_empty[i], sides[k]);
            frame.size = 0;
            if (goes_to(never_empty[i], sides[k])) expect_bad(&frame, sides[k], "(0 bytes)");
        }
    sk_link_frame frame = good(SK_WIRE_MAIL, SK_TO_HEAD), chunk = good(SK_WIRE_CHUNK, SK_TO_HEAD);
    frame.size = SK_RING_MESSAGE_MAX;
    chunk.size = SK_CHUNK_BYTES;
    cr_assert_eq(sk_wire_check(&frame, SK_TO_HEAD, NULL), SK_OK);
    cr_assert_eq(sk_wire_check(&chunk, SK_TO_HEAD, NULL), SK_OK);
}

Test(wire, a_text_with_a_zero_byte_is_refused_and_an_empty_one_is_none) {
    static const int texts[] = {SK_WIRE_LEAVE, SK_WIRE_REFUSE, SK_WIRE_BYE, SK_WIRE_SPAWN};
    for (int i = 0; i < SK_COUNT(texts); i++) {
        sk_wire_to    to = texts[i] == SK_WIRE_LEAVE ? SK_TO_HEAD : SK_TO_NODE;
        sk_link_frame frame = good(texts[i], to);
        bytes[frame.size - 1] = 0;
        expect_bad(&frame, to, "payload");
        frame.size = 0;
        frame.payload = NULL;
        if (texts[i] != SK_WIRE_SPAWN) cr_assert_eq(sk_wire_check(&frame, to, NULL), SK_OK);
    }
}

Test(wire, a_number_out_of_range_is_refused) {
    static const struct {
        int      kind;
        uint64_t a, b;
    } cases[] = {
        {SK_WIRE_WELCOME, 0, 0},
        {SK_WIRE_WELCOME, SK_BOARD_HOSTS, 0},
        {SK_WIRE_REFUSE, 2, 0},
        {SK_WIRE_SIGNAL, 0, 0},
        {SK_WIRE_SIGNAL, 65, 0},
        {SK_WIRE_CANCEL, 0, 0},
        {SK_WIRE_COPY, 64, 0},
        {SK_WIRE_COPY, UINT64_MAX - 10, 11},
        {SK_WIRE_CHUNK, UINT64_MAX - 10, 11},
        {SK_WIRE_CHUNK, UINT64_MAX - 200, 101},
    };
    for (int i = 0; i < SK_COUNT(cases); i++) {
        sk_link_frame frame = good(cases[i].kind, SK_TO_NODE);
        frame.a = cases[i].a;
        frame.b = cases[i].b;
        expect_bad(&frame, SK_TO_NODE, "which cannot be");
    }
    sk_link_frame last = good(SK_WIRE_CHUNK, SK_TO_NODE);
    last.a = UINT64_MAX - 200;
    last.b = 100;
    cr_assert_eq(sk_wire_check(&last, SK_TO_NODE, NULL), SK_OK);
}

static void expect_bad_join(const sk_wire_join *join, const char *wanted) {
    sk_link_frame frame = good(SK_WIRE_JOIN, SK_TO_HEAD);
    memcpy(bytes, join, sizeof *join);
    expect_bad(&frame, SK_TO_HEAD, wanted);
}

Test(wire, a_join_with_a_damaged_field_is_refused) {
    sk_link_frame frame = good(SK_WIRE_JOIN, SK_TO_HEAD);
    sk_wire_join  fine, join;
    memcpy(&fine, frame.payload, sizeof fine);
    join = fine;
    memset(join.name, 'x', sizeof join.name);
    expect_bad_join(&join, "name or build");
    join = fine;
    memset(join.build, 'x', sizeof join.build);
    expect_bad_join(&join, "name or build");
    join = fine;
    join.name[0] = 0;
    expect_bad_join(&join, "name or build");
    join = fine;
    join.name[1] = '\033';
    expect_bad_join(&join, "character 27");
    join = fine;
    join.pid = 0;
    expect_bad_join(&join, "process 0");
    join = fine;
    join.store_bytes = 0;
    expect_bad_join(&join, "store of 0 bytes");
    join = fine;
    join.n_resources = -1;
    expect_bad_join(&join, "-1 resources");
    join = fine;
    join.n_resources = SK_WIRE_RESOURCES_MAX + 1;
    expect_bad_join(&join, "15 resources");
    join = fine;
    memset(join.resources[1].name, 'x', sizeof join.resources[1].name);
    expect_bad_join(&join, "resource 1 has no name");
    static const double amounts[] = {NAN, INFINITY, -1};
    for (int i = 0; i < SK_COUNT(amounts); i++) {
        join = fine;
        join.resources[0].amount = amounts[i];
        expect_bad_join(&join, "of cpu");
    }
}

Test(wire, a_death_without_an_end_of_its_text_is_refused) {
    sk_link_frame frame = good(SK_WIRE_DEATH, SK_TO_HEAD);
    memset(bytes + offsetof(sk_wire_death, how), 'x', sizeof((sk_wire_death *)0)->how);
    expect_bad(&frame, SK_TO_HEAD, "without an end");
}

/* ---- extents in messages ---- */

/* What was visited; every extent is moved by `shift`. */
typedef struct visits {
    int       n, n_blobs, fail_at; /* fail_at: 1 .. of the one that fails */
    sk_extent first;
    uint64_t  shift;
} visits;

static sk_status see(void *arg, sk_extent *extent, bool is_blob, sk_error *reterr) {
    visits *self = arg;
    if (self->n == 0) self->first = *extent;
    if (++self->n == self->fail_at) return SK_FAIL(reterr, SK_ELIMIT, "no room for %d", self->n);
    self->n_blobs += is_blob;
    extent->offset += self->shift;
    return SK_OK;
}

/* A message with a payload made by hand; `at` is where it goes on. */
static uint8_t *start_message(int kind) {
    memset(bytes, 0, sizeof bytes);
    sk_message message = {.magic = SK_MESSAGE_MAGIC, .kind = (uint16_t)kind, .job = 5, .subject = 6};
    memcpy(bytes, &message, sizeof message);
    return bytes + sizeof message;
}
static sk_message *head_of(void) { return (sk_message *)(void *)bytes; }

/* value, extent, reference, extent */
static uint8_t *put_records(uint8_t *at) {
    at = sk_packed_put_value(at, "abc", 3);
    at = sk_packed_put_extent(at, (sk_extent){64, 5000});
    at = sk_packed_put_ref(at, (sk_ref){9});
    return sk_packed_put_extent(at, (sk_extent){128, 6000});
}

static visits visit_all(const uint8_t *end, sk_message_to to, bool answers_alloc) {
    visits              seen = {.shift = 1000};
    sk_error          err = {0};
    const sk_message *message = NULL;
    sk_bytes          payload = {0};
    size_t            size = (size_t)(end - bytes);
    cr_assert_eq(sk_message_parse(bytes, size, to, &message, &payload, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(sk_wire_each_extent(bytes, size, to, answers_alloc, see, &seen, &err), SK_OK, "%s", err.msg);
    return seen;
}

/* The records of put_records at `at`, moved. */
static void expect_moved(const uint8_t *at) {
    sk_bytes  rest = {at, 16 + 16 + 32 + 16 + 32};
    sk_record record;
    cr_assert_eq(sk_packed_next(&rest, &record, NULL), SK_OK);
    cr_assert_eq(memcmp(record.value.data, "abc", 3), 0);
    cr_assert_eq(sk_packed_next(&rest, &record, NULL), SK_OK);
    cr_assert(record.extent.offset == 1064 && record.extent.size == 5000);
    cr_assert_eq(sk_packed_next(&rest, &record, NULL), SK_OK);
    cr_assert_eq(record.ref.id, 9);
    cr_assert_eq(sk_packed_next(&rest, &record, NULL), SK_OK);
    cr_assert(record.extent.offset == 1128 && record.extent.size == 6000 && rest.size == 0);
}

Test(wire, the_extents_of_packed_records_are_visited_and_changed_in_place) {
    static const struct {
        int           kind;
        sk_message_to to;
    } cases[] = {{SK_MSG_RUN, SK_TO_WORKER}, {SK_MSG_CREATE, SK_TO_WORKER}, {SK_MSG_CALL, SK_TO_WORKER},
                 {SK_MSG_VALUE, SK_TO_WORKER}, {SK_MSG_REPLY, SK_TO_DRIVER}, {SK_MSG_PUT, SK_TO_DRIVER}};
    for (int i = 0; i < SK_COUNT(cases); i++) {
        uint8_t *at = start_message(cases[i].kind);
        visits     seen = visit_all(put_records(at), cases[i].to, false);
        cr_assert(seen.n == 2 && seen.n_blobs == 0, "kind %d: %d", cases[i].kind, seen.n);
        expect_moved(at);
        seen = visit_all(at, cases[i].to, false); /* without any */
        cr_assert_eq(seen.n, 0);
        at = start_message(cases[i].kind);
        seen = visit_all(sk_packed_put_blob(at, (sk_extent){64, 70000}), cases[i].to, false);
        cr_assert(seen.n == 1 && seen.n_blobs == 1 && seen.first.size == 70000);
    }
}

Test(wire, the_text_of_a_failure_is_not_read_as_records) {
    static const struct {
        int           kind;
        sk_message_to to;
    } cases[] = {{SK_MSG_VALUE, SK_TO_WORKER}, {SK_MSG_ANSWER, SK_TO_WORKER}, {SK_MSG_REPLY, SK_TO_DRIVER},
                 {SK_MSG_PUT, SK_TO_DRIVER}};
    for (int i = 0; i < SK_COUNT(cases); i++) {
        uint8_t *at = start_message(cases[i].kind);
        head_of()->status = SK_ENOMEM;
        memcpy(at, "no memory for it", 16);
        cr_assert_eq(visit_all(at + 16, cases[i].to, true).n, 0);
    }
}

Test(wire, free_and_the_answer_to_alloc_are_one_place) {
    sk_extent place = {640, 10000}, got;
    uint8_t  *at = start_message(SK_MSG_FREE);
    memcpy(at, &place, sizeof place);
    cr_assert_eq(visit_all(at + sizeof place, SK_TO_DRIVER, false).first.offset, 640);
    memcpy(&got, at, sizeof got);
    cr_assert_eq(got.offset, 1640);
    at = start_message(SK_MSG_ANSWER);
    memcpy(at, &place, sizeof place);
    cr_assert_eq(visit_all(at + sizeof place, SK_TO_WORKER, false).n, 0, "ids, say");
    cr_assert_eq(visit_all(at + sizeof place, SK_TO_WORKER, true).first.size, 10000);
}

Test(wire, an_order_has_its_extents_behind_names_ids_and_resources) {
    for (uint32_t n_returns = 0; n_returns < 4; n_returns++)
        for (int n_resources = -1; n_resources < 3; n_resources++)
            for (int kind = SK_MSG_SUBMIT; kind <= SK_MSG_SUBMIT_CALL; kind++) {
                uint8_t       *at = start_message(kind);
                sk_submit_head submit = {.name = "f", .n_resources = n_resources};
                head_of()->n_returns = n_returns;
                memcpy(at, &submit, sizeof submit);
                at += sizeof submit + (n_returns * 8 + 15) / 16 * 16 +
                      (n_resources > 0 ? (size_t)n_resources : 0) * sizeof(sk_resource_wire);
                cr_assert_eq(visit_all(put_records(at), SK_TO_DRIVER, false).n, 2);
                expect_moved(at);
            }
    uint8_t      *at = start_message(SK_MSG_ASK);
    sk_actor_head actor = {.class_name = "c", .n_resources = 2};
    head_of()->method = SK_ASK_ACTOR_CREATE;
    memcpy(at, &actor, sizeof actor);
    at += sizeof actor + 2 * sizeof(sk_resource_wire);
    cr_assert_eq(visit_all(put_records(at), SK_TO_DRIVER, false).n, 2);
    expect_moved(at);
    at = start_message(SK_MSG_ASK);
    head_of()->method = SK_ASK_ACTOR_FIND;
    memcpy(at, "some name", 9);
    cr_assert_eq(visit_all(at + 9, SK_TO_DRIVER, false).n, 0);
}

Test(wire, messages_without_extents_are_left_alone) {
    static const int down[] = {SK_MSG_STOP}, up[] = {SK_MSG_HELLO, SK_MSG_BOUNCE, SK_MSG_BLOCKED, SK_MSG_UNBLOCKED,
                                                     SK_MSG_ALLOC, SK_MSG_FETCH, SK_MSG_IDS, SK_MSG_CANCEL, SK_MSG_BYE};
    for (int i = 0; i < SK_COUNT(down); i++) cr_assert_eq(visit_all(start_message(down[i]), SK_TO_WORKER, false).n, 0);
    for (int i = 0; i < SK_COUNT(up); i++) cr_assert_eq(visit_all(start_message(up[i]), SK_TO_DRIVER, false).n, 0);
    static const int ids[] = {SK_MSG_ACQUIRE, SK_MSG_RELEASE};
    for (int i = 0; i < SK_COUNT(ids); i++)
        cr_assert_eq(visit_all(start_message(ids[i]) + 24, SK_TO_DRIVER, false).n, 0);
}

static void expect_damaged(int kind, const uint8_t *end, sk_message_to to) {
    visits     seen = {0};
    sk_error err = {0};
    cr_assert_eq(sk_wire_each_extent(bytes, (size_t)(end - bytes), to, true, see, &seen, &err), SK_ECORRUPT, "kind %d",
                 kind);
    cr_assert(err.msg[0]);
}

Test(wire, a_message_with_damaged_extents_is_refused) {
    uint8_t *at = start_message(SK_MSG_RUN);
    expect_damaged(SK_MSG_RUN, put_records(at) - 16, SK_TO_WORKER);
    at = start_message(SK_MSG_RUN);
    at = sk_packed_put_value(at, "abc", 3);
    expect_damaged(SK_MSG_RUN, sk_packed_put_blob(at, (sk_extent){64, 100}), SK_TO_WORKER);
    at = start_message(SK_MSG_RUN);
    at = sk_packed_put_blob(at, (sk_extent){64, 100});
    expect_damaged(SK_MSG_RUN, sk_packed_put_value(at, "abc", 3), SK_TO_WORKER);
    sk_extent empty = {64, 0}, wraps = {UINT64_MAX, 64};
    at = start_message(SK_MSG_FREE);
    memcpy(at, &empty, sizeof empty);
    expect_damaged(SK_MSG_FREE, at + sizeof empty, SK_TO_DRIVER);
    memcpy(at, &wraps, sizeof wraps);
    expect_damaged(SK_MSG_FREE, at + sizeof wraps, SK_TO_DRIVER);
    at = start_message(SK_MSG_ANSWER);
    expect_damaged(SK_MSG_ANSWER, at + 8, SK_TO_WORKER);
    at = start_message(SK_MSG_SUBMIT);
    expect_damaged(SK_MSG_SUBMIT, at + sizeof(sk_submit_head) - 16, SK_TO_DRIVER);
    sk_submit_head submit = {.n_resources = INT32_MAX};
    memcpy(at, &submit, sizeof submit);
    expect_damaged(SK_MSG_SUBMIT, at + sizeof submit, SK_TO_DRIVER);
    at = start_message(SK_MSG_ASK);
    head_of()->method = SK_ASK_ACTOR_CREATE;
    expect_damaged(SK_MSG_ASK, at + sizeof(sk_actor_head) - 16, SK_TO_DRIVER);
}

Test(wire, a_blob_within_a_blob_is_refused_and_its_extents_are_visited) {
    visits     seen = {.shift = 1000};
    sk_error err = {0};
    uint8_t *end = put_records(bytes);
    cr_assert_eq(sk_wire_each_packed(bytes, (size_t)(end - bytes), see, &seen, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(seen.n, 2);
    expect_moved(bytes);
    end = sk_packed_put_blob(bytes, (sk_extent){64, 100});
    cr_assert_eq(sk_wire_each_packed(bytes, (size_t)(end - bytes), see, &seen, &err), SK_ECORRUPT);
    cr_assert_eq(sk_wire_each_packed(NULL, 0, see, &seen, &err), SK_OK);
}

Test(wire, a_callbacks_failure_ends_the_visit_and_is_given_back) {
    visits     seen = {.fail_at = 1};
    sk_error err = {0};
    uint8_t *end = put_records(start_message(SK_MSG_RUN));
    cr_assert_eq(sk_wire_each_extent(bytes, (size_t)(end - bytes), SK_TO_WORKER, false, see, &seen, &err), SK_ELIMIT);
    cr_assert_str_eq(err.msg, "no room for 1");
    cr_assert_eq(seen.n, 1);
}
