/* Peers of a link that do not belong there, say what cannot be, or do not listen. */
#include "tests/cluster/link_rig.h"
#include <arpa/inet.h>
#include <sys/socket.h>

/* ---- who may come in ---- */

/* Whose connection it was, unless it was gone before anybody could look. */
static void expect_address(void) {
    bool is_known = strstr(trouble, "refused a connection from 127.0.0.1") != NULL;
    cr_assert(is_known || strstr(trouble, "refused a connection from somewhere"), "%s", trouble);
}

/* A stranger of this key (NULL: none) is kept out and told of; a node that belongs in is not disturbed. */
static void expect_kept_out(const sk_cluster_key *stranger_key, const char *wanted) {
    sk_link      *head = listen_at("tcp://127.0.0.1:*", the_key());
    sk_link      *node = connect_to(sk_link_endpoint(head), the_key(), SESSION);
    sk_link_order down = {0}, up = {0}, none = {0};
    expect_they_talk(head, node, SESSION, &down, &up);
    raw stranger = {0};
    sk_link *other = NULL;
    uint8_t  routing[9];
    write_routing(OTHER, routing);
    if (stranger_key) other = connect_to(sk_link_endpoint(head), stranger_key, OTHER);
    else stranger = raw_connect(sk_link_endpoint(head), NULL, routing, sizeof routing);
    if (other) send_text(other, OTHER, "let me in", &none);
    else raw_send_frame(&stranger, OTHER, 0, 0);
    await_refusal(head);
    expect_address();
    cr_assert(strstr(trouble, wanted), "wanted '%s' in '%s'", wanted, trouble);
    cr_assert_eq(try_send(head, OTHER, "x", 1, &none), SK_EDEAD);
    expect_they_talk(head, node, SESSION, &down, &up);
    if (other) sk_link_destroy(&other, 0);
    else raw_close(&stranger);
    sk_link_destroy(&node, 0);
    sk_link_destroy(&head, 0);
}

Test(link_peers, a_node_with_another_key_is_kept_out) {
    sk_cluster_key stranger, key = *the_key();
    sk_error       err = {0};
    cr_assert_eq(sk_cluster_key_create(&stranger, &err), SK_OK, "%s", err.msg);
    memcpy(stranger.head_public, key.head_public, sizeof key.head_public); /* it knows the head, which is no secret */
    expect_kept_out(&stranger, "does not have the cluster's key");
}

Test(link_peers, the_heads_own_key_lets_nobody_in) {
    sk_cluster_key stranger = *the_key();
    memcpy(stranger.node_public, stranger.head_public, sizeof stranger.head_public);
    memcpy(stranger.node_secret, stranger.head_secret, sizeof stranger.head_secret);
    expect_kept_out(&stranger, "does not have the cluster's key");
}

Test(link_peers, a_node_of_another_cluster_is_kept_out) {
    sk_cluster_key stranger;
    sk_error       err = {0};
    cr_assert_eq(sk_cluster_key_create(&stranger, &err), SK_OK, "%s", err.msg);
    expect_kept_out(&stranger, "has another key");
}

Test(link_peers, a_peer_without_any_key_is_kept_out) { expect_kept_out(NULL, ""); } /* who sees it first says why */

Test(link_peers, a_peer_that_is_kept_out_again_and_again_is_told_of_once_a_second) {
    enum { TIMES = 12 };
    sk_link      *head = listen_at("tcp://127.0.0.1:*", the_key());
    sk_link_frame got;
    int64_t       start_ns = sk_clock_now_ns(), end_ns = start_ns + (int64_t)PATIENCE_MS * 1000000;
    for (uint64_t i = 0; i < TIMES; i++) { /* libzmq itself gives up after one refusal, so another one each time */
        raw stranger = raw_connect(sk_link_endpoint(head), NULL, NULL, 0);
        while (sk_link_get_stats(head).n_refused <= i && sk_clock_now_ns() < end_ns)
            cr_assert_not(next_frame(head, &got, 1));
        raw_close(&stranger);
    }
    cr_assert_geq(sk_link_get_stats(head).n_refused, TIMES);
    cr_assert_geq(n_troubles, 1);
    cr_assert_leq(n_troubles, 1 + (sk_clock_now_ns() - start_ns) / 1000000000);
    sk_link_destroy(&head, 0);
}

/* Bytes to the head as they are, and the end of it. */
static int raw_tcp(const char *endpoint, const void *bytes, size_t size) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    at.sin_port = htons((uint16_t)atoi(strrchr(endpoint, ':') + 1));
    cr_assert_geq(fd, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    cr_assert_eq(send(fd, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
    return fd;
}

Test(link_peers, what_is_no_zeromq_at_all_is_told_of_with_its_address) {
    static const struct {
        const char *bytes;
        size_t      size;
    } cases[] = {{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27}, {"\0\0\0\0\0\0\0\0\0\0\0\0", 12},
                 /* a greeting as it should be, then a command of 4 GiB */
                 {"\xff\0\0\0\0\0\0\0\0\x7f\3\1CURVE\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                  "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                  "\6\0\0\0\1\0\0\0\0", 73}};
    sk_link      *head = listen_at("tcp://127.0.0.1:*", the_key());
    sk_link      *node = connect_to(sk_link_endpoint(head), the_key(), SESSION);
    sk_link_order down = {0}, up = {0};
    sk_link_frame got;
    expect_they_talk(head, node, SESSION, &down, &up);
    for (int i = 0; i < SK_COUNT(cases); i++) {
        int     fd = raw_tcp(sk_link_endpoint(head), cases[i].bytes, cases[i].size);
        int64_t end_ns = sk_clock_now_ns() + (int64_t)PATIENCE_MS * 1000000;
        while (sk_link_get_stats(head).n_refused <= (uint64_t)i && sk_clock_now_ns() < end_ns)
            cr_assert_not(next_frame(head, &got, 10));
        cr_assert_eq(sk_link_get_stats(head).n_refused, (uint64_t)i + 1);
        close(fd);
    }
    cr_assert_not(next_frame(head, &got, A_WHILE_MS));
    cr_assert_eq(sk_link_get_stats(head).n_refused, SK_COUNT(cases), "each once");
    expect_address();
    expect_they_talk(head, node, SESSION, &down, &up);
    sk_link_destroy(&node, 0);
    cr_assert_not(next_frame(head, &got, A_WHILE_MS));
    cr_assert_eq(sk_link_get_stats(head).n_refused, SK_COUNT(cases), "a node that leaves is none of them");
    sk_link_destroy(&head, 0);
}

Test(link_peers, a_node_is_told_that_it_has_the_wrong_key) {
    sk_cluster_key other;
    sk_error       err = {0};
    cr_assert_eq(sk_cluster_key_create(&other, &err), SK_OK, "%s", err.msg);
    memcpy(other.head_public, the_key()->head_public, sizeof other.head_public);
    sk_link *head = listen_at("tcp://127.0.0.1:*", the_key());
    sk_link *node = connect_to(sk_link_endpoint(head), &other, SESSION);
    await_refusal(node);
    cr_assert(strstr(trouble, "no connection with tcp://127.0.0.1:"), "%s", trouble);
    cr_assert(strstr(trouble, "does not accept our key"), "%s", trouble);
    sk_link_destroy(&node, 0);
    sk_link_destroy(&head, 0);
}

/* ---- bad peers ---- */

Test(link_peers, a_malformed_frame_is_dropped_and_told_of_and_nobody_else_notices) {
    sk_link      *head = listen_at("tcp://127.0.0.1:*", the_key());
    sk_link      *node = connect_to(sk_link_endpoint(head), the_key(), SESSION);
    sk_link_order down = {0}, up = {0};
    uint8_t       routing[9], frame[SK_LINK_HEAD_SIZE];
    write_routing(OTHER, routing);
    raw bad = raw_connect(sk_link_endpoint(head), the_key(), routing, sizeof routing);
    raw nobody = raw_connect(sk_link_endpoint(head), the_key(), NULL, 0);
    expect_they_talk(head, node, SESSION, &down, &up);

    raw_send(&bad, "nonsense", 8, 0);
    raw_send_frame(&bad, SESSION, 0, 0); /* in another's name */
    sk_link_write_head(&(sk_link_frame){.kind = 1, .session = OTHER}, frame);
    raw_send(&bad, frame, sizeof frame, ZMQ_SNDMORE);
    raw_send(&bad, frame, sizeof frame, 0);
    raw_send(&bad, "", 0, 0);
    frame[4]++; /* the version */
    raw_send(&bad, frame, sizeof frame, 0);
    raw_send_frame(&nobody, OTHER, 0, 0);
    raw_send_frame(&nobody, 0, 0, 0);
    raw_send_frame(&bad, OTHER, 5, 0); /* is well formed */

    sk_link_frame got = {0};
    int64_t       end_ns = sk_clock_now_ns() + (int64_t)PATIENCE_MS * 1000000;
    int           n_good = 0;
    while ((sk_link_get_stats(head).n_malformed < 7 || n_good == 0) && sk_clock_now_ns() < end_ns) {
        if (!next_frame(head, &got, 10)) continue;
        n_good++;
        cr_assert(got.session == OTHER && got.seq == 5);
    }
    cr_assert_eq(sk_link_get_stats(head).n_malformed, 7);
    cr_assert_eq(n_good, 1);
    cr_assert(n_troubles >= 2, "of both: %d", n_troubles);
    cr_assert(strstr(trouble, "dropped a frame of s"), "%s", trouble);
    expect_they_talk(head, node, SESSION, &down, &up);
    raw_close(&bad);
    raw_close(&nobody);
    sk_link_destroy(&node, 0);
    sk_link_destroy(&head, 0);
}

Test(link_peers, an_oversized_frame_costs_its_sender_alone_and_shows_as_a_gap) {
    sk_link      *head = listen_at("tcp://127.0.0.1:*", the_key());
    sk_link      *node = connect_to(sk_link_endpoint(head), the_key(), SESSION);
    sk_link_order down = {0}, up = {0}, other = {0};
    sk_link_frame got = {0};
    uint8_t       routing[9];
    write_routing(OTHER, routing);
    raw bad = raw_connect(sk_link_endpoint(head), the_key(), routing, sizeof routing);
    expect_they_talk(head, node, SESSION, &down, &up);
    raw_send_frame(&bad, OTHER, 0, SK_LINK_PAYLOAD_MAX);
    raw_send_frame(&bad, OTHER, 1, 1 << 20);
    raw_send_frame(&bad, OTHER, 2, 0);
    cr_assert(next_frame(head, &got, PATIENCE_MS));
    cr_assert(got.session == OTHER && sk_link_order_take(&other, got.seq));
    expect_they_talk(head, node, SESSION, &down, &up);
    bool came = next_frame(head, &got, A_WHILE_MS); /* perhaps it connects again */
    cr_assert(!came || (got.session == OTHER && !sk_link_order_take(&other, got.seq)));
    cr_assert_eq(sk_link_get_stats(head).n_malformed, 0, "no memory was taken for it");
    expect_they_talk(head, node, SESSION, &down, &up);
    raw_close(&bad);
    sk_link_destroy(&node, 0);
    sk_link_destroy(&head, 0);
}

Test(link_peers, a_peer_that_does_not_read_holds_up_nobody_else) {
    enum { MANY = 2000 };
    sk_link      *head = listen_at("tcp://127.0.0.1:*", the_key());
    sk_link      *slow = connect_to(sk_link_endpoint(head), the_key(), OTHER);
    sk_link      *node = connect_to(sk_link_endpoint(head), the_key(), SESSION);
    sk_link_order down = {0}, up = {0}, slow_down = {0}, slow_up = {0};
    static uint8_t payload[60000];
    expect_they_talk(head, slow, OTHER, &slow_down, &slow_up);
    sk_status status = SK_OK;
    int       n_full = 0; /* the kernel's buffers fill behind libzmq's queues */
    while (n_full < 50 && slow_down.n_sent < 100000) {
        status = try_send(head, OTHER, payload, sizeof payload, &slow_down);
        n_full = status == SK_ELIMIT ? n_full + 1 : 0;
        cr_assert(status == SK_OK || status == SK_ELIMIT, "%d", status);
        if (status == SK_ELIMIT) usleep(1000);
    }
    cr_assert_eq(status, SK_ELIMIT);
    for (int i = 0; i < MANY; i++) {
        expect_they_talk(head, node, SESSION, &down, &up);
        if (i % 100) continue;
        status = try_send(head, OTHER, payload, sizeof payload, &slow_down); /* the kernel may have taken one more */
        cr_assert(status == SK_OK || status == SK_ELIMIT, "%d", status);
    }
    sk_link_order seen = {.n_received = 1}; /* now it reads: all there, in order, whole */
    while (seen.n_received < slow_down.n_sent) {
        sk_link_frame got = {0};
        cr_assert(next_frame(slow, &got, PATIENCE_MS));
        cr_assert(sk_link_order_take(&seen, got.seq) && got.size == sizeof payload);
    }
    expect_they_talk(head, slow, OTHER, &slow_down, &slow_up);
    sk_link_destroy(&slow, 0);
    sk_link_destroy(&node, 0);
    sk_link_destroy(&head, 0);
}

Test(link_peers, a_head_that_does_not_read_is_full_at_last) {
    sk_link       *head = listen_at("tcp://127.0.0.1:*", NULL);
    sk_link       *node = connect_to(sk_link_endpoint(head), NULL, SESSION);
    sk_link_order  up = {0}, seen = {0};
    static uint8_t payload[60000];
    sk_status      status = SK_OK;
    int            n_full = 0;
    while (n_full < 50 && up.n_sent < 100000) {
        status = try_send(node, SESSION, payload, sizeof payload, &up);
        n_full = status == SK_ELIMIT ? n_full + 1 : 0;
        if (status == SK_ELIMIT) usleep(1000);
    }
    cr_assert_eq(status, SK_ELIMIT);
    while (seen.n_received < up.n_sent) {
        sk_link_frame got = {0};
        cr_assert(next_frame(head, &got, PATIENCE_MS));
        cr_assert(sk_link_order_take(&seen, got.seq));
    }
    sk_link_destroy(&node, 0);
    sk_link_destroy(&head, 0);
}

Test(link_peers, a_second_node_of_the_same_session_is_not_heard) {
    sk_link      *head = listen_at("tcp://127.0.0.1:*", the_key());
    sk_link      *node = connect_to(sk_link_endpoint(head), the_key(), SESSION);
    sk_link_order down = {0}, up = {0}, stolen = {0};
    sk_link_frame got = {0};
    expect_they_talk(head, node, SESSION, &down, &up);
    sk_link *thief = connect_to(sk_link_endpoint(head), the_key(), SESSION);
    send_text(thief, SESSION, "I am it", &stolen);
    cr_assert_not(next_frame(head, &got, A_WHILE_MS));
    expect_they_talk(head, node, SESSION, &down, &up);
    cr_assert_not(next_frame(thief, &got, 10));
    sk_link_destroy(&thief, 0);
    sk_link_destroy(&node, 0);
    sk_link_destroy(&head, 0);
}
