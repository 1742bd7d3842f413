/* A worker process against a driver that the test plays: what it runs, answers and refuses. */
#include "tests/runtime/client_rig.h"

/* ---- tasks ------------------------------------------------------------------------------------------------------- */
Test(worker, answers_a_task) {
    fake *driver = fake_start(&module);
    fake_run_with(driver, 7, "t.echo", "hello", 5, 1);
    const sk_message *reply = expect_text(driver, 7, "hello");
    cr_assert(reply->a > 0 && reply->b >= 0 && reply->method == 0);
    cr_assert_eq(atomic_load(&driver->line->n_started), 1);
    fake_stop(driver);
}

Test(worker, says_what_it_runs) {
    fake *driver = fake_start(&module);
    fake_run_with(driver, 7, "t.until_cancelled", "", 0, 1);
    while (n_loops == 0) sched_yield();
    cr_assert_eq(atomic_load(&driver->line->job), 7);
    cr_assert(atomic_load(&driver->line->job_since_ns) > 0);
    atomic_store(&driver->line->cancels[0], 7);
    atomic_store(&driver->line->n_cancels, 1);
    expect_error(driver, 7, SK_ECANCELED, "as you say (");
    while (atomic_load(&driver->line->job) != 0) sched_yield();
    fake_stop(driver);
}

Test(worker, does_not_begin_a_task_that_was_cancelled) {
    fake *driver = fake_start(&module);
    atomic_store(&driver->line->cancels[1], 8);
    atomic_store(&driver->line->n_cancels, 2);
    fake_run_with(driver, 8, "t.until_cancelled", "", 0, 1);
    expect_error(driver, 8, SK_ECANCELED, "before it began");
    fake_run_with(driver, 9, "t.echo", "next", 4, 1);
    expect_text(driver, 9, "next");
    cr_assert_eq(atomic_load(&driver->line->n_started), 2, "both count");
    fake_stop(driver);
}

Test(worker, tells_functions_that_the_program_is_ending) {
    fake *driver = fake_start(&module);
    fake_run_with(driver, 7, "t.until_cancelled", "", 0, 1);
    atomic_store(&driver->line->stopping, 1);
    expect_error(driver, 7, SK_ECANCELED, "as you say");
    fake_stop(driver);
}

Test(worker, tells_errors_with_their_text_and_place) {
    fake *driver = fake_start(&module);
    fake_run_with(driver, 7, "t.fail", "", 0, 1);
    expect_error(driver, 7, SK_EENV, "the world ended (");
    cr_assert(says(driver, "client_rig.h:"));
    cr_assert_eq(driver->n_allocs, 1);
    fake_run_with(driver, 8, "t.odd_status", "", 0, 1);
    expect_error(driver, 8, SK_EINVAL, "invalid argument");
    cr_assert_eq(driver->n_frees, 1, "what the failed task had in the store is given back");
    fake_run_with(driver, 9, "t.nowhere", "", 0, 1);
    expect_error(driver, 9, SK_ENOTFOUND, "no function of hash");
    fake_run_with(driver, 10, "t.counter", "", 0, 1);
    expect_error(driver, 10, SK_ENOTFOUND, "no function of hash");
    fake_run_with(driver, 11, "t.misuse", "", 0, 1);
    expect_text(driver, 11, "x");
    fake_stop(driver);
}

Test(worker, sends_large_returns_through_the_store) {
    fake *driver = fake_start(&module);
    fake_run_with(driver, 7, "t.large", "", 0, 3);
    expect_done(driver, 7);
    cr_assert_eq(driver->n_allocs, 2);
    cr_assert_eq(driver->payload.size, 2 * SK_PACKED_EXTENT_SIZE + sk_packed_value_size(100));
    const size_t sizes[] = {LARGE, LARGE, 100};
    for (int i = 0; i < 3; i++) {
        sk_bytes got = fake_record(driver, i);
        cr_assert_eq(got.size, sizes[i]);
        for (size_t k = 0; k < got.size; k++) cr_assert_eq(((const char *)got.data)[k], 'a' + i);
    }
    cr_assert_eq(driver->n_frees, 0);
    fake_stop(driver);
}

Test(worker, sends_returns_that_do_not_fit_a_message_in_one_piece) {
    fake *driver = fake_start(&module);
    fake_run_with(driver, 7, "t.many", "", 0, 30);
    expect_done(driver, 7);
    cr_assert_eq(driver->payload.size, SK_PACKED_EXTENT_SIZE);
    for (int i = 0; i < 30; i++) {
        sk_bytes got = fake_record(driver, i);
        cr_assert(got.size == 4000 && *(const char *)got.data == 'a' + i % 26);
    }
    fake_stop(driver);
}

Test(worker, reads_arguments_wherever_they_lie) {
    fake                *driver = fake_start(&module);
    _Alignas(16) uint8_t packed[256];
    uint8_t             *end = sk_packed_put_value(packed, "abc", 3);
    end = sk_packed_put_extent(end, fake_alloc(driver, LARGE, 'x'));
    fake_run(driver, 7, "t.measure", 2, (sk_bytes){packed, (size_t)(end - packed)}, 1);
    expect_text(driver, 7, "2 100003 1");

    sk_extent blob = fake_alloc(driver, (size_t)(end - packed), 0);
    memcpy(driver->store + blob.offset, packed, (size_t)(end - packed));
    sk_packed_put_blob(packed, blob);
    fake_run(driver, 8, "t.measure", 2, (sk_bytes){packed, SK_PACKED_EXTENT_SIZE}, 1);
    expect_text(driver, 8, "2 100003 1");
    fake_run(driver, 9, "t.measure", 0, (sk_bytes){0}, 1);
    expect_text(driver, 9, "0 0 1");
    fake_stop(driver);
}

Test(worker, refuses_arguments_that_cannot_be) {
    fake                *driver = fake_start(&module);
    _Alignas(16) uint8_t packed[128];
    sk_packed_put_extent(packed, (sk_extent){FAKE_STORE - 16, 17});
    fake_run(driver, 1, "t.echo", 1, (sk_bytes){packed, SK_PACKED_EXTENT_SIZE}, 1);
    expect_error(driver, 1, SK_ECORRUPT, "not in the store");
    sk_packed_put_blob(packed, (sk_extent){0, (uint64_t)FAKE_STORE + 1});
    fake_run(driver, 2, "t.echo", 1, (sk_bytes){packed, SK_PACKED_EXTENT_SIZE}, 1);
    expect_error(driver, 2, SK_ECORRUPT, "not in the store");
    sk_packed_put_ref(packed, (sk_ref){9});
    fake_run(driver, 3, "t.echo", 1, (sk_bytes){packed, SK_PACKED_REF_SIZE}, 1);
    expect_error(driver, 3, SK_ECORRUPT, "kind 2");
    sk_packed_put_value(packed, "a", 1);
    fake_run(driver, 4, "t.echo", 2, (sk_bytes){packed, 32}, 1);
    expect_error(driver, 4, SK_ECORRUPT, "record is missing");
    fake_run(driver, 5, "t.measure", 0, (sk_bytes){packed, 32}, 1);
    expect_error(driver, 5, SK_ECORRUPT, "follow the last argument");
    fake_stop(driver);
}

Test(worker, drops_messages_that_are_none) {
    fake      *driver = fake_start(&module);
    sk_message head = {.magic = SK_MESSAGE_MAGIC, .kind = SK_MSG_RUN, .job = 1};
    fake_send_raw(driver, &head, 40);
    head.magic++;
    fake_send_raw(driver, &head, sizeof head);
    fake_send(driver, (sk_message){.kind = 99, .job = 1}, NULL, 0);
    fake_send(driver, (sk_message){.kind = SK_MSG_HELLO}, NULL, 0);
    fake_send(driver, (sk_message){.kind = SK_MSG_ANSWER, .job = 4}, "what?", 5);
    fake_send(driver, (sk_message){.kind = SK_MSG_VALUE, .subject = 4}, "what?", 5);
    fake_run_with(driver, 2, "t.echo", "still here", 10, 1);
    expect_text(driver, 2, "still here");
    fake_stop(driver);
}

/* ---- the process ------------------------------------------------------------------------------------------------- */
static int run_main(char *board, char *store, char *line, char *parent) {
    char             *argv[] = {"--board", board, "--store", store, "--line", line, "--parent", parent, NULL};
    const sk_module  *modules[] = {&module};
    return sk_worker_main(8, argv, modules, 1);
}

Test(worker, a_process_wants_its_arguments) {
    char parent[16];
    snprintf(parent, sizeof parent, "%d", getppid());
    cr_assert_eq(sk_worker_main(0, NULL, NULL, 0), SK__EXIT_FAILED);
    cr_assert_eq(run_main("1,2,3", "1,2,3,4", "0", parent), SK__EXIT_FAILED, "a reference is cut short");
    cr_assert_eq(run_main("1,2,3,4,5", "1,2,3,4", "0", parent), SK__EXIT_FAILED);
    cr_assert_eq(run_main("1,2,-3,4", "1,2,3,4", "0", parent), SK__EXIT_FAILED);
    cr_assert_eq(run_main("1,2,3,4", "1,2,3,4", "2048", parent), SK__EXIT_FAILED, "no such line");
    cr_assert_eq(run_main("1,2,3,4", "1,2,3,4", "0", "1x"), SK__EXIT_FAILED);
    cr_assert_eq(run_main("1,2,3,4", "1,2,3,4", "0", "2147483646"), SK__EXIT_FAILED, "not its parent");
    cr_assert_eq(run_main("1,2,3,4", "1,2,3,4", "0", parent), SK__EXIT_FAILED, "not a board");
    char            *twice[] = {"--line", "1", "--line", "2"};
    cr_assert_eq(sk_worker_main(4, twice, NULL, 0), SK__EXIT_FAILED);
}

/* The child runs what a spawned worker program would run. */
static pid_t fork_worker(fake *self, sk_block *store) {
    pid_t parent = getpid(), pid = fork();
    if (pid != 0) return pid;
    char         board_text[80], store_text[80], parent_text[16];
    sk_block_ref b = sk_block_get_ref(self->block), s = sk_block_get_ref(store);
    snprintf(board_text, sizeof board_text, "%d,%d,%" PRIu64 ",%" PRIu64, b.pid, b.fd, b.id, b.size_bytes);
    snprintf(store_text, sizeof store_text, "%d,%d,%" PRIu64 ",%" PRIu64, s.pid, s.fd, s.id, s.size_bytes);
    snprintf(parent_text, sizeof parent_text, "%d", parent);
    _exit(run_main(board_text, store_text, "3", parent_text));
}

Test(worker, a_process_serves_its_line_and_ends) {
    sk_block *store = NULL;
    fake     *driver = fake_create(&module);
    int       state = 0;
    cr_assert_eq(sk_block_create(FAKE_STORE, &store, NULL), SK_OK);
    free(driver->store);
    driver->store = sk_block_data(store);
    pid_t pid = fork_worker(driver, store);
    cr_assert_eq(fake_expect(driver, SK_MSG_HELLO)->a, pid);
    fake_run_with(driver, 7, "t.large", "", 0, 3);
    expect_done(driver, 7);
    cr_assert_eq(((const char *)fake_record(driver, 1).data)[LARGE - 1], 'b', "both see the same memory");
    cr_assert_eq(kill(pid, SIGINT), 0); /* not its business */
    cr_assert_eq(kill(pid, SIGTERM), 0); /* the driver's, the first time */
    fake_run_with(driver, 8, "t.echo", "alive", 5, 1);
    expect_text(driver, 8, "alive");
    fake_send(driver, (sk_message){.kind = SK_MSG_STOP}, NULL, 0);
    fake_expect(driver, SK_MSG_BYE);
    cr_assert_eq(waitpid(pid, &state, 0), pid);
    cr_assert(WIFEXITED(state) && WEXITSTATUS(state) == SK__EXIT_STOPPED);

    sk_board_clear_line(driver->board, FAKE_LINE);
    sk_ring_writer_init(&driver->down, &driver->line->down);
    sk_ring_reader_init(&driver->up, &driver->line->up);
    pid = fork_worker(driver, store);
    fake_expect(driver, SK_MSG_HELLO);
    kill(pid, SIGTERM);
    fake_run_with(driver, 9, "t.echo", "once", 4, 1);
    expect_text(driver, 9, "once");
    kill(pid, SIGTERM);
    cr_assert_eq(waitpid(pid, &state, 0), pid);
    cr_assert(WIFEXITED(state) && WEXITSTATUS(state) == SK__EXIT_SIGTERM);

    driver->board->version++; /* another skiff's */
    pid = fork_worker(driver, store);
    cr_assert_eq(waitpid(pid, &state, 0), pid);
    cr_assert(WIFEXITED(state) && WEXITSTATUS(state) == SK__EXIT_FAILED);
    driver->store = NULL;
    sk_block_destroy(&store);
    fake_destroy(driver);
}

/* ---- actors ------------------------------------------------------------------------------------------------------ */
static void expect_number(fake *driver, uint64_t job, int wanted) {
    int got;
    expect_done(driver, job);
    cr_assert_eq(fake_record(driver, 0).size, sizeof got);
    memcpy(&got, fake_record(driver, 0).data, sizeof got);
    cr_assert_eq(got, wanted);
}

Test(worker, hosts_an_actor_until_it_stops) {
    fake *driver = fake_start(&module);
    send_create(driver, 1, 1, NULL);
    send_call(driver, 2, ADD, NULL, 0);
    send_call(driver, 3, ADD, NULL, 0);
    expect_done(driver, 1);
    expect_number(driver, 2, 5);
    expect_number(driver, 3, 6);
    send_call(driver, 4, N_METHODS, NULL, 0);
    expect_error(driver, 4, SK_EINVAL, "methods 0 to 5, got 6");
    send_create(driver, 5, 1, NULL);
    expect_error(driver, 5, SK_EINVAL, "has an actor of this id already");
    fake_send(driver, (sk_message){.kind = SK_MSG_CALL, .job = 6, .subject = 99}, NULL, 0);
    expect_error(driver, 6, SK_ENOTFOUND, "no such actor");
    cr_assert_eq(n_counters, 1);
    fake_stop(driver);
    cr_assert_eq(n_counters, 0);
}

Test(worker, an_actor_goes_on_from_its_state) {
    fake *driver = fake_start(&module);
    int   state = 40;
    send_create(driver, 1, 1, &state);
    expect_done(driver, 1);
    send_call(driver, 2, ADD, NULL, 0);
    expect_number(driver, 2, 41);
    send_call(driver, 3, SAVE, NULL, 0);
    const sk_message *reply = fake_expect(driver, SK_MSG_REPLY);
    cr_assert(reply->status == SK_OK && reply->method == 1, "a state follows the returns");
    cr_assert_eq(fake_record(driver, 0).size, 0);
    cr_assert_eq(*(const int *)fake_record(driver, 1).data, 41);
    send_call(driver, 4, SAVE_LARGE, NULL, 0);
    cr_assert_eq(fake_expect(driver, SK_MSG_REPLY)->method, 1);
    cr_assert(driver->n_allocs == 1 && fake_record(driver, 1).size == LARGE);
    send_call(driver, 5, SAVE_AND_FAIL, NULL, 0);
    expect_error(driver, 5, SK_EENV, "but");
    cr_assert_eq(((const sk_message *)driver->bytes)->method, 0, "a failed call keeps nothing");
    send_call(driver, 6, ADD, NULL, 0);
    cr_assert_eq(fake_expect(driver, SK_MSG_REPLY)->method, 0, "nor does the next one");
    cr_assert_eq(driver->n_frees, 0);
    fake_stop(driver);
}

Test(worker, calls_run_in_order_even_if_one_waits) {
    fake    *driver = fake_start(&module);
    uint64_t id = 12;
    send_create(driver, 1, 1, NULL);
    expect_done(driver, 1);
    send_call(driver, 2, FETCH, &id, sizeof id);
    send_call(driver, 3, ADD, NULL, 0);
    fake_expect(driver, SK_MSG_ACQUIRE);
    fake_expect(driver, SK_MSG_FETCH);
    fake_expect(driver, SK_MSG_BLOCKED);
    send_call(driver, 4, ADD, NULL, 0);
    fake_run_with(driver, 9, "t.echo", "9", 1, 1);
    cr_assert_eq(fake_expect(driver, SK_MSG_BOUNCE)->job, 9, "a task may go elsewhere, a call may not");
    fake_value(driver, 12, "v", 1);
    fake_expect(driver, SK_MSG_UNBLOCKED);
    expect_text(driver, 2, "v");
    fake_expect(driver, SK_MSG_RELEASE);
    expect_number(driver, 3, 5);
    expect_number(driver, 4, 6);
    fake_stop(driver);
}

Test(worker, a_create_that_fails_leaves_nothing) {
    fake    *driver = fake_start(&module);
    uint8_t  packed[128], *end = sk_packed_put_value(packed, "me", 2);
    sk_message head = {.kind = SK_MSG_CREATE, .job = 1, .subject = 5, .function = sk_function_hash("t.counter"),
                       .n_args = 2};
    end = sk_packed_put_value(end, "1", 1);
    end = sk_packed_put_value(end, "2", 1);
    fake_send(driver, head, packed, (size_t)(end - packed));
    expect_error(driver, 1, SK_EINVAL, "one seed is enough");
    head.n_args = 1; /* and a state that is none */
    head.b = 1;
    head.job = 2;
    fake_send(driver, head, packed, (size_t)(end - packed));
    expect_error(driver, 2, SK_ECORRUPT, "not a counter's state");
    cr_assert_eq(n_counters, 0);
    head.function = sk_function_hash("t.echo");
    head.job = 3;
    fake_send(driver, head, packed, (size_t)(end - packed));
    expect_error(driver, 3, SK_ENOTFOUND, "no class of hash");
    fake_stop(driver);
}

Test(worker, an_actor_with_concurrency_runs_calls_at_the_same_time) {
    fake    *driver = fake_start(&module);
    uint64_t id = 12;
    pthread_barrier_init(&both, NULL, 2);
    send_create(driver, 1, 3, NULL);
    expect_done(driver, 1);
    send_call(driver, 2, FETCH, &id, sizeof id); /* waits in one thread ... */
    fake_expect(driver, SK_MSG_ACQUIRE);
    fake_expect(driver, SK_MSG_FETCH);
    fake_expect(driver, SK_MSG_BLOCKED);
    send_call(driver, 3, MEET, NULL, 0); /* ... while two others meet */
    send_call(driver, 4, MEET, NULL, 0);
    uint64_t first = fake_expect(driver, SK_MSG_REPLY)->job, second = fake_expect(driver, SK_MSG_REPLY)->job;
    cr_assert(first + second == 7 && (first == 3 || first == 4));
    fake_value(driver, 12, "v", 1);
    fake_expect(driver, SK_MSG_UNBLOCKED);
    expect_text(driver, 2, "v");
    fake_expect(driver, SK_MSG_RELEASE);
    cr_assert_eq(atomic_load(&driver->line->n_started), 4);
    send_call(driver, 5, MEET, NULL, 0); /* stop comes after the calls made before */
    send_call(driver, 6, MEET, NULL, 0);
    fake_send(driver, (sk_message){.kind = SK_MSG_STOP}, NULL, 0);
    fake_expect(driver, SK_MSG_REPLY);
    fake_expect(driver, SK_MSG_REPLY);
    fake_expect(driver, SK_MSG_BYE);
    pthread_join(driver->worker, NULL);
    cr_assert_eq(n_counters, 0);
    pthread_barrier_destroy(&both);
    fake_destroy(driver);
}
