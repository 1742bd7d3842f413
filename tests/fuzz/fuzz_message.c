/* A message between the driver and a worker process, as it lies in a ring, and the packed records in it. The first byte
 * says which side reads it. */
#include "core/runtime/message.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

/* Written again, a record is what was read but for its padding. */
static void check_record(const uint8_t *at, size_t size, const sk_record *record) {
    uint8_t *again = malloc(size), *end = again;
    FUZZ_CHECK(again);
    switch (record->kind) {
    case SK_PACKED_VALUE:
        FUZZ_CHECK(sk_packed_value_size(record->value.size) == size);
        end = sk_packed_put_value(again, record->value.data, record->value.size);
        break;
    case SK_PACKED_REF: end = sk_packed_put_ref(again, record->ref); break;
    case SK_PACKED_EXTENT: end = sk_packed_put_extent(again, record->extent); break;
    case SK_PACKED_BLOB: end = sk_packed_put_blob(again, record->extent); break;
    }
    FUZZ_CHECK((size_t)(end - again) == size);
    size_t told = record->kind == SK_PACKED_VALUE ? sizeof(sk_packed) + record->value.size : size;
    FUZZ_CHECK(memcmp(again, at, told) == 0);
    free(again);
}

/* Each record takes its bytes off the front; reading ends. */
static void read_records(sk_bytes rest) {
    while (rest.size > 0) {
        sk_bytes  before = rest;
        sk_record record;
        sk_error  err = {0};
        sk_status status = sk_packed_next(&rest, &record, &err);
        fuzz_check_status(status, &err);
        if (status != SK_OK) {
            FUZZ_CHECK(rest.data == before.data && rest.size == before.size);
            return;
        }
        size_t taken = before.size - rest.size;
        FUZZ_CHECK(taken >= sizeof(sk_packed) && taken % 16 == 0);
        FUZZ_CHECK((const uint8_t *)rest.data == (const uint8_t *)before.data + taken);
        check_record(before.data, taken, &record);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    /* exactly its size, and aligned, as in a ring */
    sk_message_to to = data[0] & 1 ? SK_TO_DRIVER : SK_TO_WORKER;
    size_t        n = size - 1;
    uint8_t      *bytes = malloc(n ? n : 1);
    FUZZ_CHECK(bytes);
    if (n) memcpy(bytes, data + 1, n);

    const sk_message *message = NULL;
    sk_bytes          payload = {0};
    sk_error          err = {0};
    sk_status         status = sk_message_parse(bytes, n, to, &message, &payload, &err);
    fuzz_check_status(status, &err);
    if (status == SK_OK) {
        FUZZ_CHECK((const void *)message == bytes && sk_message_status_is_known(message->status));
        FUZZ_CHECK(payload.data == bytes + sizeof *message && payload.size == n - sizeof *message);
        read_records(payload);
    } else
        FUZZ_CHECK(!message);
    free(bytes);
    return 0;
}
