/* A message of the runtime, as it comes from a socket. */
#include "core/transport/socket.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    sk_frame  frame = {0};
    sk_error  err = {0};
    uint8_t   head[SK_FRAME_HEAD_SIZE];
    sk_status status = sk_frame_parse(data, size, &frame, &err);
    fuzz_check_status(status, &err);
    if (status != SK_OK) return 0;
    /* what it says is there, and nothing is lost: written again it is the same */
    FUZZ_CHECK(frame.size == size - SK_FRAME_HEAD_SIZE && frame.payload == data + SK_FRAME_HEAD_SIZE);
    FUZZ_CHECK(sk_frame_status_is_known(frame.status));
    sk_frame_write_head(&frame, head);
    FUZZ_CHECK(memcmp(head, data, sizeof head) == 0);
    return 0;
}
