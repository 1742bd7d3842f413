/* What a node says and does, frame by frame: the head is the test itself (fake_head.h), the workers are real ones. */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/runtime/registry.h"
#include "core/runtime/spawn.h"
#include "tests/cluster/fake_head.h"
#include "tests/runtime/harness.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MIB = 1024 * 1024 };

static int count_files(void) {
    int  n = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (readdir(dir)) n++;
    closedir(dir);
    return n;
}

/* ---- joining --------------------------------------------------------------------------------------------- */
Test(node, says_what_it_has_and_leaves_nothing_behind) {
    static const sk_resource own[] = {{"cpu", 3}, {"licence", 0.5}};
    int   before = count_files();
    head *self = head_create();
    head_start_node(self, (sk_node_params){.name = "n7", .resources = own, .n_resources = 2, .store_bytes = 8 * MIB});
    const sk_wire_join *join = head_expect_join(self);
    double              cpus = -1, licences = -1;
    cr_assert_str_eq(join->name, "n7");
    cr_assert_str_eq(join->build, HEAD_BUILD);
    cr_assert(join->pid == getpid() && join->store_bytes == 8 * MIB);
    for (int i = 0; i < join->n_resources; i++) {
        if (strcmp(join->resources[i].name, "cpu") == 0) cpus = join->resources[i].amount;
        if (strcmp(join->resources[i].name, "licence") == 0) licences = join->resources[i].amount;
    }
    cr_assert(cpus == 3 && licences == 0.5);
    head_welcome(self, NULL);
    head_expect(self, SK_WIRE_READY);
    sk_board_view board_seen = {0};
    cr_assert_eq(sk_board_open(getpid(), &board_seen, NULL), SK_OK);
    cr_assert_str_eq(board_seen.board->name, "node n7");
    sk_board_close(&board_seen);
    head_destroy(self, SK_OK);
    cr_assert_eq(count_files(), before);
}

Test(node, waits_for_a_head_that_starts_later) {
    head          *self = head_create();
    sk_link_params params = {.endpoint = self->endpoint};
    sk_link_destroy(&self->link, 0); /* the port stays free for us */
    head_start_node(self, (sk_node_params){0});
    usleep(700000);
    cr_assert_eq(sk_link_listen(&params, &self->link, NULL), SK_OK);
    head_expect_join(self);
    head_welcome(self, NULL);
    head_expect(self, SK_WIRE_READY);
    head_destroy(self, SK_OK);
}

Test(node, gives_up_when_no_head_answers) {
    head *self = head_create();
    head_start_node(self, (sk_node_params){.wait_s = 0.5});
    head_await_node(self);
    cr_assert(strstr(self->err.msg, self->endpoint) && strstr(self->err.msg, "0.5 s"), "%s", self->err.msg);
    head_destroy(self, SK_ENOTFOUND);
}

Test(node, that_is_refused_says_why) {
    head *self = head_start();
    head_expect_join(self);
    head_send(self, (sk_link_frame){.kind = SK_WIRE_REFUSE}, "of build x, wanted y", 20);
    head_await_node(self);
    cr_assert_str_eq(self->err.msg, "of build x, wanted y");
    head_destroy(self, SK_EVERSION);
}

/* WELCOME with one plugin; gives the text of the LEAVE that follows. */
static const char *leaves_over(head *self, const char *path, const char *hash) {
    static char text[SK_WIRE_TEXT_MAX + 1];
    const char *texts[] = {"1", path, hash, NULL};
    head_expect_join(self);
    head_welcome(self, texts);
    const sk_link_frame *frame = head_expect(self, SK_WIRE_LEAVE);
    snprintf(text, sizeof text, "%.*s", (int)frame->size, (const char *)frame->payload);
    head_await_node(self);
    cr_assert_str_eq(self->err.msg, text);
    head_destroy(self, SK_ECONFIG);
    return text;
}

Test(node, leaves_when_a_plugin_is_missing_or_differs) {
    char        hash[SK_SPAWN_HASH_TEXT], path[512];
    const char *text = leaves_over(head_start(), "/no/such/plugin.so", "00");
    cr_assert_str_eq(text, "plugin /no/such/plugin.so is not on this host");
    snprintf(path, sizeof path, "%s/tests/runtime/plug.so", getenv("SKIFF_BUILD_DIR"));
    cr_assert_eq(sk_spawn_hash_file(path, hash, NULL), SK_OK);
    hash[0] = hash[0] == '0' ? '1' : '0';
    text = leaves_over(head_start(), path, hash);
    cr_assert(strstr(text, path) && strstr(text, "has another content than the head's"), "%s", text);
}

Test(node, gives_its_workers_the_heads_plugins_and_environment) {
    char hash[SK_SPAWN_HASH_TEXT], path[512], env[65536];
    snprintf(path, sizeof path, "%s/tests/runtime/plug.so", getenv("SKIFF_BUILD_DIR"));
    cr_assert_eq(sk_spawn_hash_file(path, hash, NULL), SK_OK);
    setenv("NODE_TEST_REPLACED", "the node's", 1);
    setenv("NODE_TEST_KEPT", "the node's", 1);
    const char *texts[] = {"1", path, hash, "NODE_TEST_REPLACED=the head's", "NODE_TEST_NEW=1", NULL};
    head       *self = head_create();
    head_start_node(self, (sk_node_params){.worker_path = getenv("SKIFF_BIN")});
    head_expect_join(self);
    head_welcome(self, texts);
    head_expect(self, SK_WIRE_READY);
    int pid = head_spawn(self, HEAD_LINE, HEAD_GENERATION);
    head_run_long(self, 1, "plug.add", 12);
    cr_assert_eq(head_expect_long(self, 1), 12);
    snprintf(path, sizeof path, "/proc/%d/environ", pid);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    size_t n = fread(env, 1, sizeof env - 1, file);
    fclose(file);
    for (size_t i = 0; i < n; i++)
        if (!env[i]) env[i] = '\n';
    env[n] = 0;
    cr_assert(strstr(env, "NODE_TEST_REPLACED=the head's\n") && strstr(env, "NODE_TEST_NEW=1\n") &&
              strstr(env, "NODE_TEST_KEPT=the node's\n") && !strstr(env, "REPLACED=the node's"));
    cr_assert_str_eq(getenv("NODE_TEST_REPLACED"), "the node's");
    head_destroy(self, SK_OK);
}

/* ---- workers --------------------------------------------------------------------------------------------- */
Test(node, carries_messages_of_a_worker_and_tells_of_its_end) {
    head *self = head_start();
    int   pid = head_start_worker(self);
    cr_assert_not(process_has_ended(pid));
    for (int i = 1; i <= 3; i++) head_run_long(self, (uint64_t)i, "probe.add", 10 * i);
    for (int i = 1; i <= 3; i++) cr_assert_eq(head_expect_long(self, (uint64_t)i), 10 * i);
    cr_assert_eq(self->frame.a, 3, "it has begun %llu jobs", (unsigned long long)self->frame.a);
    head_mail(self, (sk_message){.kind = SK_MSG_STOP}, NULL, 0);
    head_expect_mail(self, SK_MSG_BYE);
    const sk_link_frame *frame = head_expect(self, SK_WIRE_DEATH);
    const sk_wire_death *death = frame->payload;
    cr_assert(frame->line == HEAD_LINE && frame->generation == HEAD_GENERATION && frame->a == 3);
    cr_assert(death->pid == pid && death->exit_status == 0);
    cr_assert(strstr(death->how, "exited with status 0"), "%s", death->how);
    cr_assert(process_has_ended(pid));
    /* The line can be used again. */
    head_spawn(self, HEAD_LINE, HEAD_GENERATION + 1);
    head_destroy(self, SK_OK);
}

Test(node, sends_all_that_a_worker_said_before_its_end) {
    enum { N = 300 };
    head *self = head_start();
    head_start_worker(self);
    for (int i = 1; i <= N; i++) head_run_long(self, (uint64_t)i, "probe.add", i);
    head_run_int(self, N + 1, "probe.exit", 5);
    for (int i = 1; i <= N; i++) cr_assert_eq(head_expect_long(self, (uint64_t)i), i);
    head_expect_death(self, HEAD_LINE, "exited with status 5");
    cr_assert_eq(self->frame.a, N + 1);
    head_destroy(self, SK_OK);
}

Test(node, tells_of_a_worker_that_cannot_be_started) {
    head *self = head_create();
    head_start_node(self, (sk_node_params){.worker_path = "/no/such/worker"});
    head_expect_join(self);
    head_welcome(self, NULL);
    head_expect(self, SK_WIRE_READY);
    for (uint32_t generation = 1; generation < 3; generation++) {
        head_send(self, (sk_link_frame){.kind = SK_WIRE_SPAWN, .line = 1, .generation = generation}, "w", 1);
        head_expect_death(self, 1, "/no/such/worker");
        cr_assert_eq(self->frame.generation, generation);
    }
    head_destroy(self, SK_OK);
}

Test(node, passes_signals_and_cancellations_on) {
    char  folder[] = "/tmp/skiff-node-XXXXXX", path[128];
    head *self = head_start();
    head_start_worker(self);
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/seen", folder);
    head_run_with(self, 77, "probe.cancellable", path, strlen(path));
    while (access(path, F_OK) != 0) usleep(1000);
    sk_link_frame frame = {.kind = SK_WIRE_CANCEL, .line = HEAD_LINE, .generation = HEAD_GENERATION + 1, .a = 77};
    head_send(self, frame, NULL, 0); /* of another generation */
    frame.generation = HEAD_GENERATION;
    head_send(self, frame, NULL, 0);
    const sk_message *reply = head_expect_mail(self, SK_MSG_REPLY);
    cr_assert(reply->job == 77 && reply->status == SK_ECANCELED);
    unlink(path);
    rmdir(folder);
    frame.kind = SK_WIRE_SIGNAL;
    frame.a = SIGKILL;
    head_send(self, frame, NULL, 0);
    head_expect_death(self, HEAD_LINE, "was killed by signal 9");
    head_destroy(self, SK_OK);
}

Test(node, tells_its_workers_that_the_program_ends) {
    head *self = head_start();
    head_start_worker(self);
    head_run_with(self, 1, "probe.cancellable", "/dev/null", 9);
    usleep(20000);
    head_send(self, (sk_link_frame){.kind = SK_WIRE_STOPPING}, NULL, 0);
    cr_assert_eq(head_expect_mail(self, SK_MSG_REPLY)->job, 1);
    head_destroy(self, SK_OK);
}

/* A frame about a worker that is gone is none about the one that has its line now. */
Test(node, passes_over_what_is_for_another_generation) {
    head      *self = head_start();
    sk_message run = {.kind = SK_MSG_RUN, .job = 9, .function = 1};
    head_start_worker(self);
    head_mail_to(self, HEAD_LINE, HEAD_GENERATION - 1, run, NULL, 0);
    head_mail_to(self, HEAD_LINE + 1, HEAD_GENERATION, run, NULL, 0);
    head_send(self, (sk_link_frame){.kind = SK_WIRE_SIGNAL, .line = HEAD_LINE, .generation = HEAD_GENERATION - 1,
                                    .a = SIGKILL}, NULL, 0);
    head_run_long(self, 10, "probe.add", 4);
    cr_assert_eq(head_expect_long(self, 10), 4);
    head_destroy(self, SK_OK);
}

/* A ring holds 256 KiB; what comes while it is full waits at the node, in order. */
Test(node, keeps_messages_for_which_a_ring_has_no_room) {
    enum { N = 40 };
    uint8_t *bytes = malloc(50000);
    head    *self = head_start();
    head_start_worker(self);
    head_run_int(self, 1, "probe.sleep", 300);
    for (int i = 2; i < N; i++) {
        memset(bytes, i, 50000);
        head_run_with(self, (uint64_t)i, "probe.sum", bytes, i % 2 ? 50000 : 10); /* a small one may not overtake */
    }
    cr_assert_eq(head_expect_int(self, 1), 300);
    for (int i = 2; i < N; i++)
        cr_assert_eq(head_expect_long(self, (uint64_t)i), INT64_C(1) * i * (i % 2 ? 50000 : 10));
    free(bytes);
    head_destroy(self, SK_OK);
}

/* ---- workers that talk nonsense -------------------------------------------------------------------------- */
/* With $SKIFF_HOSTILE for the worker on HEAD_LINE; a good one on line 9. */
static head *start_hostile(const char *mode) {
    const char *texts[] = {"0", mode, NULL};
    head       *self = head_start();
    head_expect_join(self);
    head_welcome(self, texts);
    head_expect(self, SK_WIRE_READY);
    head_spawn(self, 9, 1);
    head_spawn(self, HEAD_LINE, HEAD_GENERATION);
    return self;
}

/* Until the hostile one has been ended. The other one goes on. */
static void end_hostile(head *self, const char *how) {
    while (head_next(self)->kind != SK_WIRE_DEATH) continue;
    const sk_wire_death *death = self->frame.payload;
    cr_assert_eq(self->frame.line, HEAD_LINE);
    cr_assert(strstr(death->how, how), "wanted '%s', got '%s'", how, death->how);
    head_mail_to(self, 9, 1, (sk_message){.kind = SK_MSG_STOP}, NULL, 0);
    head_expect_mail(self, SK_MSG_BYE);
    head_expect_death(self, 9, "exited with status 0");
    head_destroy(self, SK_OK);
}

Test(node, ends_a_worker_that_gives_away_what_is_not_its_own) {
    head *self = start_hostile("SKIFF_HOSTILE=answers:5:1");
    head_run_with(self, 1, "probe.echo", "x", 1);
    end_hostile(self, "was ended: it gave away memory that it was not given");
}

Test(node, ends_a_worker_whose_ring_is_damaged) {
    head *self = start_hostile("SKIFF_HOSTILE=ring:5:1");
    for (uint64_t job = 1; job < 5; job++) head_run_with(self, job, "probe.echo", "x", 1);
    end_hostile(self, "was ended: its messages are damaged");
}

/* ---- the head -------------------------------------------------------------------------------------------- */
Test(node, says_that_it_lives) {
    head *self = head_start();
    head_start_worker(self);
    int64_t end_ns = sk_clock_now_ns() + INT64_C(10000000000);
    while (self->n_beats < 3) {
        cr_assert_lt(sk_clock_now_ns(), end_ns, "%d signs of life in 10 s", self->n_beats);
        head_run_long(self, 1, "probe.add", 1);
        cr_assert_eq(head_expect_long(self, 1), 1);
        usleep(50000);
    }
    head_destroy(self, SK_OK);
}

Test(node, joins_anew_without_its_workers_when_it_was_given_up) {
    int      files = count_files();
    head    *self = head_start();
    int      pid = head_start_worker(self);
    uint64_t before = self->session;
    head_send(self, (sk_link_frame){.kind = SK_WIRE_REFUSE, .a = 1}, "was given up", 12);
    head_start_worker(self);
    cr_assert(self->session != before && process_has_ended(pid));
    head_run_long(self, 1, "probe.add", 1);
    cr_assert_eq(head_expect_long(self, 1), 1);
    head_destroy(self, SK_OK);
    cr_assert_eq(count_files(), files);
}

Test(node, joins_anew_when_something_got_lost) {
    head    *self = head_start();
    int      pid = head_start_worker(self);
    uint64_t before = self->session;
    self->order.n_sent++;
    head_run_long(self, 1, "probe.add", 1);
    head_expect(self, SK_WIRE_LEAVE);
    head_start_worker(self);
    cr_assert(self->session != before && process_has_ended(pid));
    head_destroy(self, SK_OK);
}

Test(node, ends_with_its_workers_when_the_head_falls_silent) {
    head *self = head_start();
    int   pid = head_start_worker(self);
    self->is_silent = true;
    int64_t silent_ns = sk_clock_now_ns();
    head_await_node(self);
    cr_assert(sk_clock_now_ns() - silent_ns < INT64_C(10000000000) && process_has_ended(pid));
    cr_assert(strstr(self->err.msg, "was lost: no sign of life for"), "%s", self->err.msg);
    head_destroy(self, SK_EDEAD);
}

Test(node, waits_for_another_head_if_it_is_told_to) {
    head *self = head_create();
    head_start_node(self, (sk_node_params){.rejoin = true});
    int      pid = head_start_worker(self);
    uint64_t before = self->session;
    self->is_silent = true;
    head_expect_join(self);
    cr_assert(self->session != before && process_has_ended(pid));
    self->is_silent = false;
    head_welcome(self, NULL);
    head_expect(self, SK_WIRE_READY);
    head_destroy(self, SK_OK);
}

Test(node, leaves_when_it_is_told_to_end) {
    head *self = head_start();
    int   pid = head_start_worker(self);
    self->interrupted = SIGTERM;
    const sk_link_frame *frame = head_expect(self, SK_WIRE_LEAVE);
    cr_assert(frame->size == 26 && memcmp(frame->payload, "was told to end by SIGTERM", 26) == 0, "%.*s",
              (int)frame->size, (const char *)frame->payload);
    head_await_node(self);
    cr_assert(process_has_ended(pid));
    head_destroy(self, SK_EINTERRUPTED);
}

Test(node, can_be_told_to_end_before_a_head_is_there) {
    head *self = head_create();
    head_start_node(self, (sk_node_params){0});
    usleep(100000);
    self->interrupted = SIGINT;
    head_await_node(self);
    head_destroy(self, SK_EINTERRUPTED);
}

Test(node, stops_its_workers_on_goodbye_and_waits_for_them) {
    head *self = head_start();
    int   pid = head_start_worker(self);
    head_run_int(self, 1, "probe.sleep", 500);
    head_mail(self, (sk_message){.kind = SK_MSG_STOP}, NULL, 0);
    head_send(self, (sk_link_frame){.kind = SK_WIRE_BYE}, "over", 4);
    head_expect_mail(self, SK_MSG_REPLY);
    head_expect_mail(self, SK_MSG_BYE);
    head_expect_death(self, HEAD_LINE, "exited with status 0");
    head_await_node(self);
    cr_assert(process_has_ended(pid));
    head_destroy(self, SK_OK);
}

/* What cannot be of a head: the node leaves, and says what it was. */
static void expect_leaves(head *self, const char *words) {
    char                 text[SK_WIRE_TEXT_MAX + 1];
    const sk_link_frame *frame = head_expect(self, SK_WIRE_LEAVE);
    snprintf(text, sizeof text, "%.*s", (int)frame->size, (const char *)frame->payload);
    cr_assert(strstr(text, words), "wanted '%s', got '%s'", words, text);
    head_await_node(self);
    head_destroy(self, SK_ECORRUPT);
}

Test(node, leaves_a_head_that_talks_nonsense) {
    head *self = head_start();
    head_start_worker(self);
    head_send(self, (sk_link_frame){.kind = SK_WIRE_CHUNK, .a = 64, .b = 0}, "x", 1);
    expect_leaves(self, "a copy at 64 that is not here");

    self = head_start();
    head_start_worker(self);
    head_send(self, (sk_link_frame){.kind = SK_WIRE_COPY, .a = 64, .b = 10}, NULL, 0);
    head_send(self, (sk_link_frame){.kind = SK_WIRE_CHUNK, .a = 64, .b = 0}, "01234567890", 11);
    expect_leaves(self, "a copy that has 0 of 10");

    self = head_start();
    head_start_worker(self);
    for (int i = 0; i < 2; i++) head_send(self, (sk_link_frame){.kind = SK_WIRE_COPY, .a = 64, .b = 10}, NULL, 0);
    expect_leaves(self, "there is one already");

    self = head_start();
    head_start_worker(self);
    head_mail(self, (sk_message){.kind = SK_MSG_HELLO}, NULL, 0);
    expect_leaves(self, "HELLO");

    self = head_start();
    head_start_worker(self);
    head_send(self, (sk_link_frame){.kind = SK_WIRE_SPAWN, .line = HEAD_LINE, .generation = 8}, "w", 1);
    expect_leaves(self, "which has one");
}

Test(node, leaves_a_head_whose_welcome_cannot_be) {
    static const struct {
        const char *texts[4], *words;
    } cases[] = {{{"many"}, "\"many\" plugins"},
                 {{"2", "/a"}, "\"2\" plugins"},
                 {{"-1"}, "\"-1\" plugins"},
                 {{"0", "A=1", "nothing"}, "\"nothing\" in the workers' environment"}};
    for (int i = 0; i < SK_COUNT(cases); i++) {
        head *self = head_start();
        head_expect_join(self);
        head_welcome(self, cases[i].texts);
        expect_leaves(self, cases[i].words);
    }
}
