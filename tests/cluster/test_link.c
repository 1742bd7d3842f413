#include "tests/cluster/link_rig.h"
#include <pthread.h>
#include <sys/resource.h>

/* ---- frames ---- */

static const sk_link_frame example = {.kind = 0x102, .session = 0x1112131415161718, .seq = 0x2122232425262728,
                                      .line = 0x31323334, .generation = 0x41424344, .a = 0x5152535455565758,
                                      .b = 0x6162636465666768, .payload = "text", .size = 4};

static void write_example(uint8_t ret_bytes[SK_LINK_HEAD_SIZE + 5]) {
    memset(ret_bytes, 0, SK_LINK_HEAD_SIZE + 5);
    sk_link_write_head(&example, ret_bytes);
    memcpy(ret_bytes + SK_LINK_HEAD_SIZE, "text", 4);
}

Test(link, a_frame_reads_as_it_was_written) {
    uint8_t       bytes[SK_LINK_HEAD_SIZE + 5];
    sk_link_frame got;
    write_example(bytes);
    cr_assert_eq(sk_link_parse(bytes, sizeof bytes - 1, &got, NULL), SK_OK);
    cr_assert(got.kind == example.kind && got.session == example.session && got.seq == example.seq);
    cr_assert(got.line == example.line && got.generation == example.generation && got.a == example.a);
    cr_assert(got.b == example.b && got.size == 4 && got.payload == bytes + SK_LINK_HEAD_SIZE);
}

Test(link, a_frame_has_the_documented_layout) {
    static const uint8_t wanted[SK_LINK_HEAD_SIZE] = {
        'S',  'K',  'K',  'L',  1,    0,    2,    1,    0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21, 0x18,
        0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11, 0x34, 0x33, 0x32, 0x31, 0x44, 0x43, 0x42, 0x41, 0x58, 0x57,
        0x56, 0x55, 0x54, 0x53, 0x52, 0x51, 0x68, 0x67, 0x66, 0x65, 0x64, 0x63, 0x62, 0x61, 4};
    uint8_t got[SK_LINK_HEAD_SIZE + 5];
    write_example(got);
    cr_assert_eq(memcmp(got, wanted, sizeof wanted), 0);
}

Test(link, a_frame_of_any_other_length_is_refused) {
    uint8_t       bytes[SK_LINK_HEAD_SIZE + 5];
    sk_link_frame got;
    write_example(bytes);
    for (size_t size = 0; size <= sizeof bytes; size++)
        if (size != sizeof bytes - 1)
            cr_assert_eq(sk_link_parse(bytes, size, &got, NULL), SK_ECORRUPT, "%zu bytes", size);
}

static void expect_refused(size_t at, uint64_t value, size_t size, sk_status wanted, const char *text) {
    uint8_t       bytes[SK_LINK_HEAD_SIZE + 5];
    sk_link_frame got;
    sk_error      err = {0};
    write_example(bytes);
    memcpy(bytes + at, &value, size);
    cr_assert_eq(sk_link_parse(bytes, sizeof bytes - 1, &got, &err), wanted);
    cr_assert(strstr(err.msg, text), "wanted '%s' in '%s'", text, err.msg);
}

Test(link, a_frame_with_a_wrong_field_is_refused) {
    expect_refused(0, 0, 4, SK_ECORRUPT, "begins with 00000000");
    expect_refused(4, 2, 2, SK_EVERSION, "has version 2, wanted 1");
    expect_refused(48, 3, 4, SK_ECORRUPT, "says it carries 3 bytes, it has 4");
    expect_refused(48, UINT32_MAX, 4, SK_ECORRUPT, "it has 4");
    for (size_t i = 52; i < 64; i++) expect_refused(i, 1, 1, SK_ECORRUPT, "where 0 belongs");
}

Test(link, a_missing_frame_is_found_by_its_number) {
    sk_link_order order = {0};
    cr_assert(sk_link_order_take(&order, 0));
    cr_assert(sk_link_order_take(&order, 1));
    cr_assert_not(sk_link_order_take(&order, 3));
    cr_assert_not(sk_link_order_take(&order, 1));
    cr_assert(sk_link_order_take(&order, 2));
}

/* ---- both ways ---- */

static void talk(const sk_cluster_key *key, const char *endpoint) {
    sk_link      *head = listen_at(endpoint, key);
    sk_link      *node = connect_to(sk_link_endpoint(head), key, SESSION);
    sk_link_order down = {0}, up = {0};
    uint8_t      *large = malloc(SK_LINK_PAYLOAD_MAX);
    for (size_t i = 0; i < SK_LINK_PAYLOAD_MAX; i++) large[i] = (uint8_t)(i * 7);
    static const size_t sizes[] = {0, 1, 15, 16, 17, 4096, SK_LINK_PAYLOAD_MAX - 1, SK_LINK_PAYLOAD_MAX};
    for (int i = 0; i < SK_COUNT(sizes); i++) {
        cr_assert_eq(try_send(node, SESSION, large, sizes[i], &up), SK_OK);
        expect_frame(head, SESSION, (uint64_t)i, large, sizes[i]);
        cr_assert_eq(try_send(head, SESSION, large, sizes[i], &down), SK_OK);
        expect_frame(node, SESSION, (uint64_t)i, large, sizes[i]);
    }
    sk_link_stats at_head = sk_link_get_stats(head), at_node = sk_link_get_stats(node);
    cr_assert(at_head.n_sent == SK_COUNT(sizes) && at_head.n_received == SK_COUNT(sizes));
    cr_assert(at_head.bytes_sent == at_node.bytes_received && at_head.bytes_received == at_node.bytes_sent);
    cr_assert(at_head.bytes_sent > 2 * SK_LINK_PAYLOAD_MAX);
    cr_assert(at_head.n_refused == 0 && at_head.n_malformed == 0 && at_node.n_malformed == 0 && n_troubles == 0);
    free(large);
    sk_link_destroy(&node, 0);
    sk_link_destroy(&head, 0);
    cr_assert_null(head);
    sk_link_destroy(&head, 0);
    sk_link_destroy(NULL, 0);
}

Test(link, frames_go_both_ways_encrypted) { talk(the_key(), "tcp://127.0.0.1:*"); }
Test(link, frames_go_both_ways_in_plain_on_loopback) { talk(NULL, "tcp://127.0.0.1:0"); }
Test(link, a_name_and_ipv6_can_be_listened_at) {
    talk(NULL, "tcp://localhost:*");
    if (access("/proc/net/if_inet6", R_OK) == 0) talk(NULL, "tcp://[::1]:*");
}
Test(link, every_address_can_be_listened_at_with_a_key) {
    sk_link      *head = listen_at("tcp://*:*", the_key());
    sk_link_order down = {0}, up = {0};
    char          endpoint[64];
    const char   *port = strrchr(sk_link_endpoint(head), ':');
    cr_assert(port && atoi(port + 1) > 0, "%s", sk_link_endpoint(head));
    snprintf(endpoint, sizeof endpoint, "tcp://localhost%s", port);
    sk_link *node = connect_to(endpoint, the_key(), SESSION);
    expect_they_talk(head, node, SESSION, &down, &up);
    sk_link_destroy(&node, 0);
    sk_link_destroy(&head, 0);
}

Test(link, a_frame_comes_whole_with_all_its_fields) {
    sk_link      *head = listen_at("tcp://127.0.0.1:*", the_key());
    sk_link      *node = connect_to(sk_link_endpoint(head), the_key(), SESSION);
    sk_link_order up = {.n_sent = 9};
    sk_link_frame got = {0};
    cr_assert_eq(try_send(node, SESSION, "x", 1, &up), SK_OK);
    cr_assert(next_frame(head, &got, PATIENCE_MS));
    cr_assert(got.kind == 3 && got.line == 4 && got.generation == 5 && got.a == 6 && got.b == 7 && got.seq == 9);
    cr_assert_eq(up.n_sent, 10);
    sk_link_destroy(&node, 0);
    sk_link_destroy(&head, 0);
}

Test(link, what_was_sent_before_the_end_arrives) {
    sk_link      *head = listen_at("tcp://127.0.0.1:*", the_key());
    sk_link      *node = connect_to(sk_link_endpoint(head), the_key(), SESSION);
    sk_link_order up = {0};
    for (int i = 0; i < 100; i++) send_text(node, SESSION, "last words", &up);
    sk_link_destroy(&node, PATIENCE_MS);
    for (uint64_t i = 0; i < 100; i++) expect_frame(head, SESSION, i, "last words", 10);
    sk_link_destroy(&head, 0);
}

Test(link, many_nodes_at_once_are_told_apart) {
    enum { N = 60, ROUNDS = 5 };
    sk_link      *head = listen_at("tcp://127.0.0.1:*", the_key()), *nodes[N];
    sk_link_order up[N] = {0}, down[N] = {0};
    for (int i = 0; i < N; i++) nodes[i] = connect_to(sk_link_endpoint(head), the_key(), 1000 + (uint64_t)i);
    for (uint64_t round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < N; i++) send_text(nodes[i], 1000 + (uint64_t)i, "hello", &up[i]);
        for (int n = 0; n < N; n++) {
            sk_link_frame got = {0};
            cr_assert(next_frame(head, &got, PATIENCE_MS));
            cr_assert(got.session >= 1000 && got.session < 1000 + N);
            cr_assert(sk_link_order_take(&down[got.session - 1000], got.seq));
            char text[32];
            snprintf(text, sizeof text, "to %lu", got.session);
            send_text(head, got.session, text, &down[got.session - 1000]);
        }
        for (int i = 0; i < N; i++) {
            char text[32];
            snprintf(text, sizeof text, "to %d", 1000 + i);
            expect_frame(nodes[i], 1000 + (uint64_t)i, round, text, strlen(text));
        }
    }
    for (int i = 0; i < N; i++) sk_link_destroy(&nodes[i], 0);
    sk_link_destroy(&head, 0);
}

/* ---- endpoints ---- */

Test(link, without_a_key_nothing_but_loopback_is_used) {
    static const char *const refused[] = {"tcp://192.0.2.1:1", "tcp://*:7711",  "tcp://0.0.0.0:7711",
                                          "tcp://[::]:7711",   "tcp://10.0.0.1:80",
                                          "tcp://127.0.0.1.example.invalid:1", "tcp://128.0.0.1:1"};
    for (int i = 0; i < SK_COUNT(refused); i++)
        for (int k = 0; k < 2; k++) {
            sk_link_params params = {.endpoint = refused[i], .session = SESSION};
            sk_link       *link = NULL;
            sk_error       err = {0};
            if (k == 0 && strstr(refused[i], "invalid")) continue; /* it is looked up */
            if (k == 1 && strchr(refused[i], '*')) continue;
            sk_status status = k == 0 ? sk_link_listen(&params, &link, &err) : sk_link_connect(&params, &link, &err);
            cr_assert_eq(status, SK_EINVAL, "%s", refused[i]);
            cr_assert(strstr(err.msg, refused[i]) && strstr(err.msg, "without a key"), "%s", err.msg);
            cr_assert_null(link);
        }
    static const char *const fine[] = {"tcp://127.0.0.1:7711", "tcp://127.9.8.7:7711", "tcp://localhost:7711",
                                       "tcp://[::1]:7711"};
    for (int i = 0; i < SK_COUNT(fine); i++) {
        sk_link *node = connect_to(fine[i], NULL, SESSION);
        sk_link_destroy(&node, 0);
    }
}

Test(link, an_endpoint_that_is_none_is_refused) {
    static const char *const bad[] = {"",
                                      "127.0.0.1:1",
                                      "ipc://x",
                                      "inproc://x",
                                      "udp://127.0.0.1:1",
                                      "tcp://",
                                      "tcp://:1",
                                      "tcp://127.0.0.1",
                                      "tcp://127.0.0.1:",
                                      "tcp://127.0.0.1:x",
                                      "tcp://127.0.0.1:-1",
                                      "tcp://127.0.0.1:65536",
                                      "tcp://127.0.0.1:1;127.0.0.1:2",
                                      "tcp://::1:1",
                                      "tcp://a b:1"};
    for (int i = 0; i < SK_COUNT(bad); i++)
        for (int k = 0; k < 2; k++) {
            sk_link_params params = {.key = the_key(), .endpoint = bad[i], .session = SESSION};
            sk_link       *link = NULL;
            sk_error       err = {0};
            sk_status status = k == 0 ? sk_link_listen(&params, &link, &err) : sk_link_connect(&params, &link, &err);
            cr_assert_eq(status, SK_EINVAL, "%s", bad[i]);
            cr_assert(strstr(err.msg, "tcp://ADDRESS:PORT"), "%s", err.msg);
        }
    static const char *const nowhere[] = {"tcp://*:1", "tcp://127.0.0.1:0", "tcp://127.0.0.1:*"};
    for (int i = 0; i < SK_COUNT(nowhere); i++) {
        sk_link_params params = {.key = the_key(), .endpoint = nowhere[i], .session = SESSION};
        sk_link       *link = NULL;
        cr_assert_eq(sk_link_connect(&params, &link, NULL), SK_EINVAL, "%s", nowhere[i]);
    }
}

Test(link, a_port_in_use_is_named) {
    sk_link       *head = listen_at("tcp://127.0.0.1:*", the_key()), *second = NULL;
    sk_link_params params = {.key = the_key(), .endpoint = sk_link_endpoint(head)};
    sk_error       err = {0};
    char           wanted[128];
    cr_assert_eq(sk_link_listen(&params, &second, &err), SK_EIO);
    snprintf(wanted, sizeof wanted, "cannot listen at %s: address already in use", sk_link_endpoint(head));
    cr_assert_str_eq(err.msg, wanted);
    cr_assert_null(second);
    params.endpoint = "tcp://192.0.2.1:7711";
    cr_assert_eq(sk_link_listen(&params, &second, &err), SK_EIO);
    cr_assert(strstr(err.msg, "cannot listen at tcp://192.0.2.1:7711: "), "%s", err.msg);
    sk_link_destroy(&head, 0);
}

/* ---- ends and beginnings ---- */

Test(link, nobody_of_that_session_is_told) {
    sk_link      *head = listen_at("tcp://127.0.0.1:*", the_key());
    sk_link_order down = {0};
    cr_assert_eq(try_send(head, OTHER, "x", 1, &down), SK_EDEAD);
    cr_assert_eq(down.n_sent, 0);
    sk_link      *node = connect_to(sk_link_endpoint(head), the_key(), OTHER);
    sk_link_order up = {0};
    expect_they_talk(head, node, OTHER, &down, &up);
    sk_link_destroy(&node, 0);
    int64_t       end_ns = sk_clock_now_ns() + (int64_t)PATIENCE_MS * 1000000;
    sk_status     status = SK_OK;
    sk_link_frame got;
    while ((status = try_send(head, OTHER, "x", 1, &down)) != SK_EDEAD && sk_clock_now_ns() < end_ns)
        cr_assert_not(next_frame(head, &got, 1));
    cr_assert_eq(status, SK_EDEAD);
    sk_link_destroy(&head, 0);
}

Test(link, a_node_that_starts_first_is_heard_when_the_head_comes) {
    sk_link *head = listen_at("tcp://127.0.0.1:*", the_key());
    char     endpoint[128];
    snprintf(endpoint, sizeof endpoint, "%s", sk_link_endpoint(head));
    sk_link_destroy(&head, 0);
    sk_link      *node = connect_to(endpoint, the_key(), SESSION);
    sk_link_order up = {0}, down = {0};
    sk_link_frame got;
    send_text(node, SESSION, "early", &up);
    cr_assert_not(next_frame(node, &got, A_WHILE_MS));
    head = listen_at(endpoint, the_key());
    expect_frame(head, SESSION, 0, "early", 5);
    expect_they_talk(head, node, SESSION, &down, &up);
    sk_link_destroy(&node, 0);
    sk_link_destroy(&head, 0);
}

Test(link, a_head_that_starts_again_sees_that_it_does_not_know_the_session) {
    sk_link      *head = listen_at("tcp://127.0.0.1:*", the_key());
    sk_link      *node = connect_to(sk_link_endpoint(head), the_key(), SESSION);
    sk_link_order up = {0}, down = {0}, fresh = {0};
    char          endpoint[128];
    sk_link_frame got = {0};
    snprintf(endpoint, sizeof endpoint, "%s", sk_link_endpoint(head));
    expect_they_talk(head, node, SESSION, &down, &up);
    sk_link_destroy(&head, 0);
    head = listen_at(endpoint, the_key());
    bool came = false;
    for (int i = 0; i < PATIENCE_MS / 50 && !came; i++) {
        (void)try_send(node, SESSION, "beat", 4, &up);
        came = next_frame(head, &got, 50);
    }
    cr_assert(came && got.session == SESSION);
    cr_assert_not(sk_link_order_take(&fresh, got.seq));
    send_text(head, SESSION, "refused", &fresh);
    expect_frame(node, SESSION, 0, "refused", 7);
    /* and it begins anew */
    sk_link_destroy(&node, 0);
    node = connect_to(endpoint, the_key(), OTHER);
    up = down = (sk_link_order){0};
    send_text(node, OTHER, "join", &up);
    do cr_assert(next_frame(head, &got, PATIENCE_MS));
    while (got.session == SESSION);
    cr_assert(got.session == OTHER && sk_link_order_take(&down, got.seq));
    sk_link_destroy(&node, 0);
    sk_link_destroy(&head, 0);
}

/* ---- waking ---- */

typedef struct sleeper {
    sk_link    *link;
    _Atomic int n_wakes;
    int64_t     until_ns;
} sleeper;

static void *run_sleeper(void *arg) {
    sleeper *self = arg;
    sk_link_wait(self->link, PATIENCE_MS);
    self->until_ns = sk_clock_now_ns();
    return NULL;
}

Test(link, a_sleeping_thread_is_woken) {
    sleeper   self = {.link = listen_at("tcp://127.0.0.1:*", NULL)};
    pthread_t thread;
    int64_t   start_ns = sk_clock_now_ns();
    for (int i = 0; i < 20; i++) {
        cr_assert_eq(pthread_create(&thread, NULL, run_sleeper, &self), 0);
        usleep((useconds_t)(i % 4) * 5000);
        sk_link_wake(self.link);
        pthread_join(thread, NULL);
    }
    cr_assert_lt(sk_clock_now_ns() - start_ns, (int64_t)PATIENCE_MS * 1000000);
    sk_link_destroy(&self.link, 0);
}

Test(link, a_wake_up_before_the_wait_ends_that_one_and_no_other) {
    sk_link *link = listen_at("tcp://127.0.0.1:*", NULL);
    int64_t  start_ns = sk_clock_now_ns();
    for (int i = 0; i < 1000; i++) sk_link_wake(link);
    sk_link_wait(link, PATIENCE_MS);
    cr_assert_lt(sk_clock_now_ns() - start_ns, (int64_t)PATIENCE_MS * 1000000);
    start_ns = sk_clock_now_ns();
    sk_link_wait(link, 50);
    cr_assert_geq(sk_clock_now_ns() - start_ns, (int64_t)45 * 1000000);
    sk_link_destroy(&link, 0);
}

Test(link, a_frame_ends_the_wait) {
    sk_link      *head = listen_at("tcp://127.0.0.1:*", NULL);
    sk_link      *node = connect_to(sk_link_endpoint(head), NULL, SESSION);
    sk_link_order up = {0};
    sk_link_frame got = {0};
    int64_t       start_ns = sk_clock_now_ns();
    send_text(node, SESSION, "x", &up);
    sk_status status;
    while ((status = sk_link_recv(head, &got, NULL)) == SK_ENOTFOUND) sk_link_wait(head, PATIENCE_MS);
    cr_assert_eq(status, SK_OK);
    cr_assert_lt(sk_clock_now_ns() - start_ns, (int64_t)PATIENCE_MS * 1000000);
    sk_link_destroy(&node, 0);
    sk_link_destroy(&head, 0);
}

/* ---- what it takes ---- */

static bool has_libzmq(void) {
    char  line[512];
    bool  found = false;
    FILE *maps = fopen("/proc/self/maps", "r");
    cr_assert(maps);
    while (fgets(line, sizeof line, maps)) found |= strstr(line, "libzmq") != NULL;
    fclose(maps);
    return found;
}

Test(link, the_library_is_loaded_by_the_first_link) {
    cr_assert_not(has_libzmq());
    the_key();
    cr_assert_not(has_libzmq(), "a key needs none");
    sk_link_params params = {.endpoint = "tcp://192.0.2.1:1"};
    sk_link       *link = NULL;
    cr_assert_eq(sk_link_listen(&params, &link, NULL), SK_EINVAL);
    cr_assert_not(has_libzmq());
    link = listen_at("tcp://127.0.0.1:*", NULL);
    cr_assert(has_libzmq());
    sk_link_destroy(&link, 0);
}

Test(link, without_room_for_its_files_none_is_made) {
    sk_link_params params = {.key = the_key(), .endpoint = "tcp://127.0.0.1:*"};
    struct rlimit  old, few;
    sk_link       *link = NULL;
    sk_error       err = {0};
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    link = listen_at("tcp://127.0.0.1:*", the_key()); /* the library is there */
    sk_link_destroy(&link, 0);
    few = old;
    for (rlim_t limit = 3; limit < 48; limit++) {
        few.rlim_cur = limit;
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
        sk_status status = sk_link_listen(&params, &link, &err);
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
        if (status == SK_OK) sk_link_destroy(&link, 0);
        else cr_assert(status == SK_ELIMIT && strstr(err.msg, "open files"), "%d: %s", (int)limit, err.msg);
        cr_assert(status != SK_OK || limit > 24);
        cr_assert(status == SK_OK || limit < 40, "%d: %s", (int)limit, err.msg);
    }
}
