#include "core/runtime/message.h"
#include <criterion/criterion.h>
#include <string.h>

/* A message with room for a payload behind it. */
typedef struct letter {
    _Alignas(16) sk_message head;
    uint8_t payload[256];
} letter;

static letter write_letter(sk_message_kind kind) {
    return (letter){.head = {.magic = SK_MESSAGE_MAGIC, .kind = (uint16_t)kind, .job = 7, .subject = 9}};
}

static sk_status parse(const letter *mail, size_t payload, sk_message_to to, sk_error *err) {
    const sk_message *message = NULL;
    sk_bytes          got = {0};
    sk_status         status = sk_message_parse(mail, sizeof mail->head + payload, to, &message, &got, err);
    if (status == SK_OK) {
        cr_assert_eq(message, &mail->head);
        cr_assert_eq(got.data, mail->payload);
        cr_assert_eq(got.size, payload);
    }
    return status;
}

static void expect_refused(const letter *mail, size_t payload, sk_message_to to, const char *text) {
    sk_error err = {0};
    cr_assert_eq(parse(mail, payload, to, &err), SK_ECORRUPT, "wanted a refusal with '%s'", text);
    cr_assert(strstr(err.msg, text), "wanted '%s' in '%s'", text, err.msg);
}

static sk_message_to side_of(sk_message_kind kind) { return kind < SK_MSG_HELLO ? SK_TO_WORKER : SK_TO_DRIVER; }

Test(message, gives_head_and_payload) {
    letter mail = write_letter(SK_MSG_RUN);
    cr_assert_eq(parse(&mail, 0, SK_TO_WORKER, NULL), SK_OK);
    cr_assert_eq(parse(&mail, 48, SK_TO_WORKER, NULL), SK_OK);
}

Test(message, of_each_kind_goes_one_way_only) {
    for (int kind = 1; kind < SK_MSG_N_KINDS; kind++) {
        letter        mail = write_letter((sk_message_kind)kind);
        sk_message_to to = side_of(mail.head.kind);
        /* 16 bytes are a payload that suits all kinds which have one */
        if (kind == SK_MSG_ASK) mail.head.method = SK_ASK_ACTOR_FIND;
        cr_assert(parse(&mail, 0, to, NULL) == SK_OK || parse(&mail, 16, to, NULL) == SK_OK, "kind %d", kind);
        expect_refused(&mail, 16, to == SK_TO_WORKER ? SK_TO_DRIVER : SK_TO_WORKER, "which is for");
    }
}

Test(message, shorter_than_a_head_is_refused) {
    letter            mail = write_letter(SK_MSG_STOP);
    const sk_message *message = NULL;
    sk_bytes          payload = {0};
    for (size_t size = 0; size < sizeof mail.head; size++)
        cr_assert_eq(sk_message_parse(&mail, size, SK_TO_WORKER, &message, &payload, NULL), SK_ECORRUPT);
    cr_assert_null(message);
}

Test(message, with_a_wrong_field_is_refused_by_its_name) {
    letter mail = write_letter(SK_MSG_CALL);
    mail.head.magic++;
    expect_refused(&mail, 0, SK_TO_WORKER, "not a message");
    mail = write_letter(SK_MSG_N_KINDS);
    expect_refused(&mail, 0, SK_TO_WORKER, "unknown kind");
    mail = write_letter(0);
    expect_refused(&mail, 0, SK_TO_WORKER, "unknown kind 0");
    mail = write_letter(SK_MSG_CALL);
    mail.head.pad = 3;
    expect_refused(&mail, 0, SK_TO_WORKER, "where 0 belongs");
    mail = write_letter(SK_MSG_CALL);
    mail.head.status = 5;
    expect_refused(&mail, 0, SK_TO_WORKER, "unknown status 5");
    mail = write_letter(SK_MSG_CALL);
    mail.head.job = 0;
    expect_refused(&mail, 0, SK_TO_WORKER, "CALL message without a job");
    mail = write_letter(SK_MSG_CALL);
    mail.head.subject = 0;
    expect_refused(&mail, 0, SK_TO_WORKER, "CALL message without a subject");
    mail = write_letter(SK_MSG_CALL);
    mail.head.method = -1;
    expect_refused(&mail, 0, SK_TO_WORKER, "of method -1");
    mail = write_letter(SK_MSG_CALL);
    mail.head.n_returns = UINT32_MAX;
    expect_refused(&mail, 0, SK_TO_WORKER, "4294967295 returns");
    mail = write_letter(SK_MSG_RUN);
    mail.head.n_args = SK_MESSAGE_COUNT_MAX + 1;
    expect_refused(&mail, 0, SK_TO_WORKER, "1048577 arguments");
}

Test(message, to_the_driver_is_checked_as_well) {
    letter mail = write_letter(SK_MSG_REPLY);
    mail.head.method = 2;
    expect_refused(&mail, 0, SK_TO_DRIVER, "2 states");
    mail = write_letter(SK_MSG_ASK);
    expect_refused(&mail, 0, SK_TO_DRIVER, "unknown question 0");
    mail.head.method = SK_ASK_GROUP_DESTROY + 1;
    expect_refused(&mail, 0, SK_TO_DRIVER, "unknown question");
    mail.head.method = SK_ASK_GROUP_DESTROY;
    cr_assert_eq(parse(&mail, 0, SK_TO_DRIVER, NULL), SK_OK);
}

Test(message, a_payload_has_a_size_that_its_kind_can_have) {
    letter mail = write_letter(SK_MSG_STOP);
    expect_refused(&mail, 16, SK_TO_WORKER, "STOP message cannot have a payload of 16 bytes");
    mail = write_letter(SK_MSG_RUN);
    expect_refused(&mail, 24, SK_TO_WORKER, "24 bytes");
    mail = write_letter(SK_MSG_RELEASE);
    expect_refused(&mail, 0, SK_TO_DRIVER, "0 bytes");
    expect_refused(&mail, 12, SK_TO_DRIVER, "12 bytes");
    cr_assert_eq(parse(&mail, 24, SK_TO_DRIVER, NULL), SK_OK);
    mail = write_letter(SK_MSG_FREE);
    expect_refused(&mail, 8, SK_TO_DRIVER, "8 bytes");
    cr_assert_eq(parse(&mail, 16, SK_TO_DRIVER, NULL), SK_OK);
    mail = write_letter(SK_MSG_ANSWER); /* an error text has any length */
    cr_assert_eq(parse(&mail, 13, SK_TO_WORKER, NULL), SK_OK);
}

Test(message, knows_each_status_and_no_other) {
#define CHECK_KNOWN(code, value, text) cr_assert(sk_message_status_is_known(value), #code);
    SK_STATUS_LIST(CHECK_KNOWN)
#undef CHECK_KNOWN
    cr_assert_not(sk_message_status_is_known(1));
    cr_assert_not(sk_message_status_is_known(SK_ELOST - 1));
}

/* ---- packed records -------------------------------------------------------------------------------------------- */
Test(packed, records_read_as_they_were_written) {
    _Alignas(16) uint8_t bytes[256];
    sk_extent            there = {.offset = 4096, .size = 70000}, blob = {.offset = 64, .size = 1};
    memset(bytes, 0xff, sizeof bytes);
    uint8_t *end = sk_packed_put_value(bytes, "seventeen letters", 17);
    cr_assert_eq((size_t)(end - bytes), sk_packed_value_size(17));
    cr_assert_eq(sk_packed_value_size(17), 48);
    end = sk_packed_put_ref(end, (sk_ref){42});
    end = sk_packed_put_extent(end, there);
    end = sk_packed_put_value(end, NULL, 0);
    end = sk_packed_put_blob(end, blob);
    cr_assert_eq((size_t)(end - bytes), 48 + SK_PACKED_REF_SIZE + SK_PACKED_EXTENT_SIZE + 16 + SK_PACKED_EXTENT_SIZE);
    for (int i = 16 + 17; i < 48; i++) cr_assert_eq(bytes[i], 0, "padding at %d", i);

    sk_bytes  rest = {bytes, (size_t)(end - bytes)};
    sk_record record;
    cr_assert_eq(sk_packed_next(&rest, &record, NULL), SK_OK);
    cr_assert(record.kind == SK_PACKED_VALUE && record.value.size == 17 && record.value.data == bytes + 16);
    cr_assert_eq(memcmp(record.value.data, "seventeen letters", 17), 0);
    cr_assert_eq(sk_packed_next(&rest, &record, NULL), SK_OK);
    cr_assert(record.kind == SK_PACKED_REF && record.ref.id == 42);
    cr_assert_eq(sk_packed_next(&rest, &record, NULL), SK_OK);
    cr_assert(record.kind == SK_PACKED_EXTENT && record.extent.offset == 4096 && record.extent.size == 70000);
    cr_assert_eq(sk_packed_next(&rest, &record, NULL), SK_OK);
    cr_assert(record.kind == SK_PACKED_VALUE && record.value.size == 0);
    cr_assert_eq(sk_packed_next(&rest, &record, NULL), SK_OK);
    cr_assert(record.kind == SK_PACKED_BLOB && record.extent.offset == 64 && record.extent.size == 1);
    cr_assert_eq(rest.size, 0);
    cr_assert_eq(sk_packed_next(&rest, &record, NULL), SK_ECORRUPT);
}

static void expect_bad_record(sk_packed head, sk_extent extent, size_t size, const char *text) {
    _Alignas(16) uint8_t bytes[32];
    memcpy(bytes, &head, sizeof head);
    memcpy(bytes + 16, &extent, sizeof extent);
    sk_bytes  rest = {bytes, size};
    sk_record record;
    sk_error  err = {0};
    cr_assert_eq(sk_packed_next(&rest, &record, &err), SK_ECORRUPT, "wanted a refusal with '%s'", text);
    cr_assert(strstr(err.msg, text), "wanted '%s' in '%s'", text, err.msg);
    cr_assert(rest.data == bytes && rest.size == size, "a refused record takes nothing");
}

Test(packed, a_record_that_does_not_fit_is_refused) {
    const sk_extent one = {0, 1};
    expect_bad_record((sk_packed){.kind = SK_PACKED_VALUE}, one, 15, "record is missing");
    expect_bad_record((sk_packed){.kind = SK_PACKED_VALUE, .size = 17}, one, 32, "17 bytes, 16 follow");
    expect_bad_record((sk_packed){.kind = SK_PACKED_VALUE, .size = 9}, one, 31, "9 bytes, 15 follow");
    expect_bad_record((sk_packed){.kind = SK_PACKED_VALUE, .size = UINT64_MAX}, one, 32, "16 follow");
    expect_bad_record((sk_packed){.kind = SK_PACKED_VALUE, .pad = 1}, one, 32, "where 0 belongs");
    expect_bad_record((sk_packed){.kind = 0}, one, 32, "unknown kind 0");
    expect_bad_record((sk_packed){.kind = SK_PACKED_BLOB + 1}, one, 32, "unknown kind 5");
    expect_bad_record((sk_packed){.kind = SK_PACKED_REF, .size = 0}, one, 32, "object 0");
    expect_bad_record((sk_packed){.kind = SK_PACKED_EXTENT, .size = 16}, one, 24, "8 follow");
    expect_bad_record((sk_packed){.kind = SK_PACKED_BLOB, .size = 17}, one, 32, "says 17");
    expect_bad_record((sk_packed){.kind = SK_PACKED_EXTENT, .size = 16}, (sk_extent){64, 0}, 32, "no place");
    expect_bad_record((sk_packed){.kind = SK_PACKED_EXTENT, .size = 16}, (sk_extent){UINT64_MAX, 1}, 32, "no place");
}
