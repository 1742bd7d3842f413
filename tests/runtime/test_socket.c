#include "core/transport/socket.h"
#include "tests/runtime/harness.h"

static const sk_frame example = {.kind = SK_FRAME_REPLY,
                                 .actor_id = 7,
                                 .call_id = 9,
                                 .method = 2,
                                 .status = SK_EENV,
                                 .payload = "text",
                                 .size = 4};

/* The example as it travels. */
static void write_example(uint8_t ret_bytes[SK_FRAME_HEAD_SIZE + 4]) {
    sk_frame_write_head(&example, ret_bytes);
    memcpy(ret_bytes + SK_FRAME_HEAD_SIZE, "text", 4);
}

Test(socket, a_frame_reads_as_it_was_written) {
    uint8_t bytes[SK_FRAME_HEAD_SIZE + 4];
    sk_frame frame;
    write_example(bytes);
    cr_assert_eq(sk_frame_parse(bytes, sizeof bytes, &frame, NULL), SK_OK);
    cr_assert_eq(frame.kind, SK_FRAME_REPLY);
    cr_assert_eq(frame.actor_id, 7);
    cr_assert_eq(frame.call_id, 9);
    cr_assert_eq(frame.method, 2);
    cr_assert_eq(frame.status, SK_EENV);
    cr_assert_eq(frame.size, 4);
    cr_assert_eq(memcmp(frame.payload, "text", 4), 0);
}

Test(socket, a_frame_has_the_documented_layout) {
    static const uint8_t wanted[SK_FRAME_HEAD_SIZE] = {'S',  'K',  'F',  'F',  1, 0, 5, 0, 7, 0, 0, 0, 0, 0,
                                                       0,    0,    9,    0,    0, 0, 0, 0, 0, 0, 2, 0, 0, 0,
                                                       0xf6, 0xff, 0xff, 0xff, 4, 0, 0, 0, 0, 0, 0, 0};
    uint8_t got[SK_FRAME_HEAD_SIZE + 4];
    write_example(got);
    cr_assert_eq(memcmp(got, wanted, sizeof wanted), 0);
}

Test(socket, refuses_a_frame_of_any_other_length) {
    uint8_t bytes[SK_FRAME_HEAD_SIZE + 5] = {0};
    sk_frame frame;
    write_example(bytes);
    for (size_t size = 0; size <= sizeof bytes; size++) {
        if (size == SK_FRAME_HEAD_SIZE + 4) continue;
        cr_assert_eq(sk_frame_parse(bytes, size, &frame, NULL), SK_ECORRUPT, "%zu bytes", size);
    }
}

/* Set the bytes at `at` and expect the parser's refusal. */
static void expect_refused(size_t at, uint64_t value, size_t size, sk_status wanted, const char *text) {
    uint8_t bytes[SK_FRAME_HEAD_SIZE + 4];
    sk_frame frame;
    sk_error err = {0};
    write_example(bytes);
    memcpy(bytes + at, &value, size);
    cr_assert_eq(sk_frame_parse(bytes, sizeof bytes, &frame, &err), wanted);
    cr_assert(strstr(err.msg, text), "wanted '%s' in '%s'", text, err.msg);
}

Test(socket, refuses_a_frame_with_a_wrong_field) {
    expect_refused(0, 0, 4, SK_ECORRUPT, "begins with 00000000");
    expect_refused(4, 2, 2, SK_EVERSION, "has version 2, wanted 1");
    expect_refused(6, 0, 2, SK_ECORRUPT, "unknown kind 0");
    expect_refused(6, 8, 2, SK_ECORRUPT, "unknown kind 8");
    expect_refused(28, 1, 4, SK_ECORRUPT, "unknown status 1");
    expect_refused(28, UINT32_MAX - 99, 4, SK_ECORRUPT, "unknown status -100");
    expect_refused(32, 3, 8, SK_ECORRUPT, "says it carries 3 bytes, it has 4");
    expect_refused(32, UINT64_MAX, 8, SK_ECORRUPT, "it has 4");
}

Test(socket, a_router_tells_who_is_not_connected) {
    sk_messenger *messenger = NULL;
    sk_socket *router = NULL, *dealer = NULL;
    sk_error err = {0};
    sk_frame got;
    uint64_t peer = 0;
    cr_assert_eq(sk_messenger_create(&messenger, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(sk_socket_create_router(messenger, &router, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(sk_socket_bind(router, "inproc://test", &err), SK_OK, "%s", err.msg);
    cr_assert_eq(sk_socket_send(router, 5, &example, &err), SK_EDEAD);
    cr_assert_eq(sk_socket_recv(router, &peer, &got, &err), SK_ENOTFOUND);

    cr_assert_eq(sk_socket_create_dealer(messenger, 5, "inproc://test", &dealer, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(sk_socket_send(dealer, 0, &example, &err), SK_OK, "%s", err.msg);
    cr_assert(sk_socket_wait(router, -1, READY_MS));
    cr_assert_eq(sk_socket_recv(router, &peer, &got, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(peer, 5);
    cr_assert_eq(got.call_id, 9);
    cr_assert_eq(sk_socket_send(router, 5, &example, &err), SK_OK, "%s", err.msg);
    cr_assert(sk_socket_wait(dealer, -1, READY_MS));
    cr_assert_eq(sk_socket_recv(dealer, NULL, &got, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(memcmp(got.payload, "text", 4), 0);

    sk_messenger_shutdown(messenger);
    cr_assert_eq(sk_socket_recv(dealer, NULL, &got, &err), SK_EINTERRUPTED);
    cr_assert_not(sk_socket_wait(dealer, -1, READY_MS));
    sk_socket_destroy(&dealer);
    sk_socket_destroy(&router);
    sk_messenger_release(&messenger);
    cr_assert_null(messenger);
}

Test(socket, says_where_it_could_not_listen_or_connect) {
    sk_messenger *messenger = NULL;
    sk_socket *router = NULL, *dealer = NULL;
    sk_error err = {0};
    cr_assert_eq(sk_messenger_create(&messenger, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(sk_socket_create_router(messenger, &router, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(sk_socket_bind(router, "nonsense://x", &err), SK_EIO);
    cr_assert(strstr(err.msg, "cannot listen at nonsense://x"), "%s", err.msg);
    cr_assert_eq(sk_socket_create_dealer(messenger, 5, "nonsense://x", &dealer, &err), SK_EIO);
    cr_assert(strstr(err.msg, "cannot connect to nonsense://x"), "%s", err.msg);
    cr_assert_null(dealer);
    sk_socket_destroy(&router);
    sk_messenger_release(&messenger);
}
