/* A frame between the head of a cluster and a node, as it comes over the network, and the message in it, whose extents
 * are visited as a node does to translate them. The first byte says which side reads it. */
#include "core/runtime/wire.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

/* A message at its very size, whose extents may be rewritten. */
typedef struct visited {
    uint8_t *message;
    size_t   size;
    int      n;
} visited;

static sk_status visit(void *arg, sk_extent *extent, bool is_blob, sk_error *reterr) {
    visited  *self = arg;
    size_t    at = (size_t)((uint8_t *)extent - self->message);
    sk_extent was = *extent;
    (void)reterr;
    /* it lies in the message, aligned, and is one */
    FUZZ_CHECK(at >= sizeof(sk_message) && at % 16 == 0 && at + sizeof *extent <= self->size);
    FUZZ_CHECK(was.size > 0 && was.offset <= UINT64_MAX - was.size);
    FUZZ_CHECK(!is_blob || self->n == 0);
    *extent = (sk_extent){~was.offset, was.size}; /* anything: nobody may look at it again */
    self->n++;
    return SK_OK;
}

static void visit_message(const uint8_t *payload, size_t size, sk_message_to to) {
    visited self = {.message = malloc(size), .size = size};
    FUZZ_CHECK(self.message);
    memcpy(self.message, payload, size);
    const sk_message *message = NULL;
    sk_bytes          rest = {0};
    sk_error          err = {0};
    sk_status         status = sk_message_parse(self.message, size, to, &message, &rest, &err);
    fuzz_check_status(status, &err);
    if (status == SK_OK)
        for (int answers_alloc = 0; answers_alloc < 2; answers_alloc++) {
            sk_error visit_err = {0};
            memcpy(self.message, payload, size);
            self.n = 0;
            status = sk_wire_each_extent(self.message, size, to, answers_alloc, visit, &self, &visit_err);
            fuzz_check_status(status, &visit_err);
        }
    free(self.message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    sk_wire_to    to = data[0] & 1 ? SK_TO_HEAD : SK_TO_NODE;
    sk_link_frame frame = {0};
    sk_error      err = {0};
    uint8_t       head[SK_LINK_HEAD_SIZE];
    const void   *bytes = data + 1;
    sk_status     status = sk_link_parse(bytes, size - 1, &frame, &err);
    fuzz_check_status(status, &err);
    if (status != SK_OK) return 0;
    /* what it says is there, and nothing is lost: written again it is the same */
    FUZZ_CHECK(frame.size == size - 1 - SK_LINK_HEAD_SIZE && frame.payload == data + 1 + SK_LINK_HEAD_SIZE);
    sk_link_write_head(&frame, head);
    FUZZ_CHECK(memcmp(head, bytes, sizeof head) == 0);

    uint8_t *payload = aligned_alloc(16, (frame.size + 16) / 16 * 16); /* as a link gives it */
    FUZZ_CHECK(payload);
    if (frame.size) memcpy(payload, frame.payload, frame.size);
    frame.payload = payload;
    status = sk_wire_check(&frame, to, &err);
    fuzz_check_status(status, &err);
    FUZZ_CHECK(sk_wire_kind_text(frame.kind));
    if (status == SK_OK && frame.kind == SK_WIRE_MAIL)
        visit_message(payload, frame.size, to == SK_TO_HEAD ? SK_TO_DRIVER : SK_TO_WORKER);
    free(payload);
    return 0;
}
