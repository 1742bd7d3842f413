/* skiff.h inside of a worker, against a driver that the test plays. */
#include "tests/runtime/client_rig.h"

/* ---- objects ----------------------------------------------------------------------------------------------------- */
Test(client, fetches_what_it_does_not_know_once) {
    fake    *driver = fake_start(&module);
    uint64_t id = 12;
    fake_run_with(driver, 7, "t.fetch_twice", &id, sizeof id, 1);
    cr_assert_eq(*(const uint64_t *)(fake_expect(driver, SK_MSG_ACQUIRE), driver->payload.data), 12);
    cr_assert_eq(fake_expect(driver, SK_MSG_FETCH)->subject, 12);
    fake_value(driver, 12, "value", 5);
    expect_done(driver, 7);
    cr_assert_eq(memcmp(fake_record(driver, 0).data, "valuevalue", 10), 0);
    /* it had no count of its own: what the job read goes with the job */
    fake_expect(driver, SK_MSG_RELEASE);
    cr_assert(driver->payload.size == 8 && *(const uint64_t *)driver->payload.data == 12);
    fake_stop(driver);
}

Test(client, gives_the_error_of_an_object_as_it_was) {
    fake    *driver = fake_start(&module);
    uint64_t id = 12;
    fake_run_with(driver, 7, "t.fetch", &id, sizeof id, 1);
    fake_expect(driver, SK_MSG_ACQUIRE);
    fake_expect(driver, SK_MSG_FETCH);
    fake_expect(driver, SK_MSG_BLOCKED);
    fake_send(driver, (sk_message){.kind = SK_MSG_VALUE, .subject = 12, .status = SK_ELOST}, "t.x: gone (a.c:3)", 17);
    fake_expect(driver, SK_MSG_UNBLOCKED);
    const sk_message *reply = fake_expect(driver, SK_MSG_REPLY);
    cr_assert_eq(reply->status, SK_ELOST);
    cr_assert(driver->payload.size == 17 && says(driver, "t.x: gone (a.c:3)"), "no second place is told");
    fake_expect(driver, SK_MSG_RELEASE);
    fake_stop(driver);
}

Test(client, times_out_naming_the_object) {
    fake    *driver = fake_start(&module);
    uint64_t id = 12;
    fake_run_with(driver, 7, "t.fetch_briefly", &id, sizeof id, 1);
    fake_expect(driver, SK_MSG_ACQUIRE);
    fake_expect(driver, SK_MSG_FETCH);
    expect_error(driver, 7, SK_ETIMEOUT, "object 12");
    fake_expect(driver, SK_MSG_RELEASE);
    fake_value(driver, 12, "late", 4); /* harms nobody */
    fake_run_with(driver, 8, "t.echo", "on", 2, 1);
    expect_text(driver, 8, "on");
    fake_stop(driver);
}

Test(client, drops_values_from_outside_of_the_store) {
    fake                *driver = fake_start(&module);
    uint64_t             id = 12;
    _Alignas(16) uint8_t packed[64];
    fake_run_with(driver, 7, "t.fetch", &id, sizeof id, 1);
    fake_expect(driver, SK_MSG_ACQUIRE);
    fake_expect(driver, SK_MSG_FETCH);
    sk_packed_put_extent(packed, (sk_extent){FAKE_STORE, 64});
    fake_send(driver, (sk_message){.kind = SK_MSG_VALUE, .subject = 12}, packed, SK_PACKED_EXTENT_SIZE);
    sk_packed_put_ref(packed, (sk_ref){3});
    fake_send(driver, (sk_message){.kind = SK_MSG_VALUE, .subject = 12}, packed, SK_PACKED_REF_SIZE);
    fake_expect(driver, SK_MSG_BLOCKED);
    sk_packed_put_extent(packed, fake_alloc(driver, 5000, 'v'));
    fake_send(driver, (sk_message){.kind = SK_MSG_VALUE, .subject = 12}, packed, SK_PACKED_EXTENT_SIZE);
    fake_expect(driver, SK_MSG_UNBLOCKED);
    expect_done(driver, 7);
    cr_assert_eq(fake_record(driver, 0).size, 5000);
    fake_expect(driver, SK_MSG_RELEASE);
    fake_stop(driver);
}

Test(client, tells_releases_in_lots) {
    fake *driver = fake_start(&module);
    int   n_acquired = 0, n_released = 0;
    fake_run_with(driver, 7, "t.count", "", 0, 1);
    for (;;) {
        const sk_message *message = fake_next(driver);
        if (message->kind == SK_MSG_REPLY) break;
        int n = (int)(driver->payload.size / sizeof(uint64_t));
        if (message->kind == SK_MSG_ACQUIRE) n_acquired += n;
        else {
            cr_assert_eq(message->kind, SK_MSG_RELEASE);
            cr_assert_eq(n, 64);
            n_released += n;
        }
    }
    cr_assert_eq(n_acquired, 80);
    cr_assert_eq(n_released, 64);
    fake_expect(driver, SK_MSG_RELEASE); /* the rest, with the job's end */
    cr_assert_eq(driver->payload.size, 16 * sizeof(uint64_t));
    cr_assert(fake_is_silent(driver));
    fake_stop(driver);
}

Test(client, puts_small_and_large_objects) {
    fake *driver = fake_start(&module);
    fake_run_with(driver, 7, "t.put", "", 0, 1);
    uint64_t small = fake_expect(driver, SK_MSG_PUT)->subject;
    cr_assert_eq(memcmp(fake_record(driver, 0).data, "small one", 9), 0);
    uint64_t huge = fake_expect(driver, SK_MSG_PUT)->subject;
    cr_assert(driver->payload.size == SK_PACKED_EXTENT_SIZE && fake_record(driver, 0).size == LARGE);
    cr_assert_eq(((const char *)fake_record(driver, 0).data)[LARGE - 1], 'p');
    uint64_t slow = fake_expect(driver, SK_MSG_PUT)->subject;
    cr_assert_eq(memcmp(fake_record(driver, 0).data, "abc", 3), 0);
    cr_assert(small != huge && huge != slow && small >= 1000 && huge >= 1000 && slow >= 1000);
    expect_done(driver, 7);
    cr_assert_eq(*(const uint64_t *)fake_record(driver, 0).data, small);
    fake_expect(driver, SK_MSG_RELEASE);
    const uint64_t *released = driver->payload.data;
    cr_assert(driver->payload.size == 16 && released[0] == huge && released[1] == slow);
    cr_assert_eq(driver->n_ids, 1, "ids come in lots");

    fake_run_with(driver, 8, "t.put_nothing", "", 0, 1);
    expect_done(driver, 8);
    cr_assert_eq(driver->n_frees, 1);
    cr_assert(fake_is_silent(driver), "nobody hears of an object that was never sealed");
    fake_stop(driver);
}

Test(client, waits_for_some_of_many) {
    fake          *driver = fake_start(&module);
    const uint64_t ids[] = {21, 22, 23};
    fake_run_with(driver, 7, "t.wait_two", ids, sizeof ids, 1);
    for (int i = 0; i < 3; i++) fake_expect(driver, SK_MSG_ACQUIRE);
    for (int i = 0; i < 3; i++) cr_assert_eq(fake_expect(driver, SK_MSG_FETCH)->subject, ids[i]);
    fake_expect(driver, SK_MSG_BLOCKED);
    fake_value(driver, 23, "c", 1);
    fake_send(driver, (sk_message){.kind = SK_MSG_VALUE, .subject = 21, .status = SK_EDEAD}, "no", 2);
    fake_expect(driver, SK_MSG_UNBLOCKED);
    expect_text(driver, 7, "2 101 -6"); /* get_all ends with the failed one */
    fake_expect(driver, SK_MSG_RELEASE);
    cr_assert_eq(driver->payload.size, sizeof ids);
    fake_stop(driver);
}

/* So that the driver knows whether what it has sent may yet end the wait. */
Test(client, tells_again_that_it_waits_after_what_did_not_end_its_wait) {
    fake          *driver = fake_start(&module);
    const uint64_t ids[] = {21, 22, 23};
    fake_run_with(driver, 7, "t.wait_two", ids, sizeof ids, 1);
    for (int i = 0; i < 3; i++) fake_expect(driver, SK_MSG_ACQUIRE);
    for (int i = 0; i < 3; i++) fake_expect(driver, SK_MSG_FETCH);
    int64_t n_heard = fake_expect(driver, SK_MSG_BLOCKED)->a;
    cr_assert(fake_is_silent(driver), "once is enough");
    fake_value(driver, 23, "c", 1);
    const sk_message *again = fake_expect(driver, SK_MSG_BLOCKED);
    cr_assert_eq(again->job, 7);
    cr_assert_eq(again->a, n_heard + 1, "%lld, then %lld", (long long)n_heard, (long long)again->a);
    fake_value(driver, 21, "a", 1);
    fake_expect(driver, SK_MSG_UNBLOCKED);
    fake_value(driver, 22, "b", 1);
    fake_expect(driver, SK_MSG_REPLY);
    fake_expect(driver, SK_MSG_RELEASE);
    fake_stop(driver);
}

/* ---- waiting jobs and others ------------------------------------------------------------------------------------- */
Test(client, lets_others_have_tasks_while_it_waits) {
    fake    *driver = fake_start(&module);
    uint64_t id = 12;
    fake_run_with(driver, 7, "t.fetch", &id, sizeof id, 1);
    fake_run_with(driver, 8, "t.echo", "8", 1, 1); /* waits in the ring */
    fake_expect(driver, SK_MSG_ACQUIRE);
    fake_expect(driver, SK_MSG_FETCH);
    cr_assert_eq(fake_expect(driver, SK_MSG_BLOCKED)->job, 7);
    cr_assert_eq(fake_expect(driver, SK_MSG_BOUNCE)->job, 8);
    fake_run_with(driver, 9, "t.echo", "9", 1, 1); /* comes while it waits */
    cr_assert_eq(fake_expect(driver, SK_MSG_BOUNCE)->job, 9);
    fake_value(driver, 12, "v", 1);
    cr_assert_eq(fake_expect(driver, SK_MSG_UNBLOCKED)->job, 7);
    expect_text(driver, 7, "v");
    fake_expect(driver, SK_MSG_RELEASE);
    fake_run_with(driver, 10, "t.echo", "10", 2, 1);
    expect_text(driver, 10, "10");
    cr_assert_eq(atomic_load(&driver->line->n_started), 2, "those sent back have not begun");
    fake_stop(driver);
}

Test(client, a_cancelled_job_waits_no_longer) {
    fake    *driver = fake_start(&module);
    uint64_t id = 12;
    fake_run_with(driver, 7, "t.fetch", &id, sizeof id, 1);
    fake_expect(driver, SK_MSG_ACQUIRE);
    fake_expect(driver, SK_MSG_FETCH);
    fake_expect(driver, SK_MSG_BLOCKED);
    atomic_store(&driver->line->cancels[0], 7);
    atomic_store(&driver->line->n_cancels, 1);
    sk_bell_ring(&driver->line->bell);
    fake_expect(driver, SK_MSG_UNBLOCKED);
    expect_error(driver, 7, SK_ECANCELED, "object 12");
    fake_expect(driver, SK_MSG_RELEASE);
    fake_stop(driver);
}

Test(client, memory_that_comes_too_late_is_given_back) {
    fake *driver = fake_start(&module);
    driver->holds_allocs = true;
    fake_run_with(driver, 7, "t.put_nothing", "", 0, 1);
    uint64_t request = fake_expect(driver, SK_MSG_ALLOC)->job;
    fake_expect(driver, SK_MSG_BLOCKED);
    atomic_store(&driver->line->cancels[0], 7);
    atomic_store(&driver->line->n_cancels, 1);
    sk_bell_ring(&driver->line->bell);
    fake_expect(driver, SK_MSG_UNBLOCKED);
    expect_error(driver, 7, SK_ECANCELED, "100000 bytes of the store");
    sk_extent late = fake_alloc(driver, LARGE, 0);
    fake_send(driver, (sk_message){.kind = SK_MSG_ANSWER, .job = request}, &late, sizeof late);
    fake_run_with(driver, 8, "t.put_nothing", "", 0, 1);
    request = fake_expect(driver, SK_MSG_ALLOC)->job;
    cr_assert_eq(driver->n_frees, 1);
    fake_send(driver, (sk_message){.kind = SK_MSG_ANSWER, .job = request, .status = SK_ELIMIT}, "the store is small",
              18);
    expect_error(driver, 8, SK_ELIMIT, "the store is small");
    fake_stop(driver);
}

/* ---- tasks of tasks ---------------------------------------------------------------------------------------------- */
Test(client, submits_tasks_with_all_kinds_of_arguments) {
    fake    *driver = fake_start(&module);
    uint64_t id = 12;
    fake_run_with(driver, 7, "t.nest", &id, sizeof id, 1);
    const sk_message *submit = fake_expect(driver, SK_MSG_SUBMIT);
    cr_assert(submit->function == sk_function_hash("t.echo") && submit->n_args == 3 && submit->n_returns == 2);
    const uint8_t        *at = driver->payload.data;
    const sk_submit_head *head = (const void *)at;
    cr_assert_str_eq(head->name, "nested");
    cr_assert(head->n_resources == 1 && head->max_retries == 7 && head->bundle == -1 && head->placement == 0);
    uint64_t results[2];
    memcpy(results, at + sizeof *head, sizeof results);
    const sk_resource_wire *want = (const void *)(at + sizeof *head + sizeof results);
    cr_assert(strcmp(want->name, "cpu") == 0 && want->amount == 2);
    size_t    fixed = sizeof *head + sizeof results + sizeof *want;
    sk_bytes  rest = {at + fixed, driver->payload.size - fixed};
    sk_record record;
    cr_assert(sk_packed_next(&rest, &record, NULL) == SK_OK && record.kind == SK_PACKED_VALUE &&
              record.value.size == 1);
    cr_assert(sk_packed_next(&rest, &record, NULL) == SK_OK && record.kind == SK_PACKED_REF && record.ref.id == 12);
    cr_assert(sk_packed_next(&rest, &record, NULL) == SK_OK && record.kind == SK_PACKED_EXTENT);
    cr_assert(record.extent.size == LARGE && driver->store[record.extent.offset + LARGE - 1] == 'n' && rest.size == 0);

    fake_expect(driver, SK_MSG_BLOCKED);
    fake_value(driver, results[0], "done", 4);
    fake_value(driver, results[1], "too", 3);
    fake_expect(driver, SK_MSG_UNBLOCKED); /* their values come unasked */
    expect_text(driver, 7, "done");
    fake_expect(driver, SK_MSG_RELEASE);
    cr_assert_eq(driver->payload.size, sizeof results);
    fake_stop(driver);
}

Test(client, submits_more_arguments_than_fit_a_message) {
    fake *driver = fake_start(&module);
    fake_run_with(driver, 7, "t.nest_many", "", 0, 1);
    const sk_message *submit = fake_expect(driver, SK_MSG_SUBMIT);
    cr_assert_eq(submit->n_args, 40);
    const sk_submit_head *head = driver->payload.data;
    cr_assert_eq(head->n_resources, -1, "the default");
    cr_assert_str_eq(head->name, "t.measure");
    const size_t fixed = sizeof *head + 16;
    cr_assert_eq(driver->payload.size, fixed + SK_PACKED_EXTENT_SIZE);
    driver->payload = (sk_bytes){(const uint8_t *)driver->payload.data + fixed, SK_PACKED_EXTENT_SIZE};
    for (int i = 0; i < 40; i++) cr_assert_eq(fake_record(driver, i).size, 4000);
    expect_done(driver, 7);
    fake_expect(driver, SK_MSG_RELEASE);
    fake_stop(driver);
}

Test(client, runs_a_task_in_the_calling_thread) {
    fake *driver = fake_start(&module);
    fake_run_with(driver, 7, "t.run_inline", "", 0, 1);
    cr_assert_eq(fake_expect(driver, SK_MSG_PUT)->status, SK_OK);
    cr_assert_eq(memcmp(fake_record(driver, 0).data, "here", 4), 0);
    cr_assert_eq(fake_expect(driver, SK_MSG_PUT)->status, SK_EENV, "others may wait for what has failed here");
    cr_assert(says(driver, "t.fail: the world ended ("));
    expect_text(driver, 7, "here");
    fake_expect(driver, SK_MSG_RELEASE);
    cr_assert_eq(atomic_load(&driver->line->n_started), 1);
    fake_stop(driver);
}

static void expect_ask(fake *driver, sk_ask method, uint64_t actor, sk_status status, const void *answer, size_t size) {
    const sk_message *ask = fake_next(driver);
    while (ask->kind == SK_MSG_BLOCKED || ask->kind == SK_MSG_UNBLOCKED || ask->kind == SK_MSG_RELEASE)
        ask = fake_next(driver);
    cr_assert(ask->kind == SK_MSG_ASK && ask->method == (int)method, "wanted question %d, got %d of kind %d", method,
              ask->method, ask->kind);
    if (actor) cr_assert_eq(ask->subject, actor);
    fake_send(driver, (sk_message){.kind = SK_MSG_ANSWER, .job = ask->job, .status = status}, answer, size);
}

Test(client, asks_the_driver_about_actors) {
    fake          *driver = fake_start(&module);
    const uint64_t actor = 77;
    const int64_t  pid = 4711;
    fake_run_with(driver, 7, "t.ask_about_actors", "", 0, 1);
    expect_ask(driver, SK_ASK_ACTOR_CREATE, 0, SK_OK, &actor, sizeof actor);
    const sk_actor_head *head = driver->payload.data;
    cr_assert_str_eq(head->class_name, "t.counter");
    cr_assert_str_eq(head->name, "my actor");
    cr_assert_eq(head->n_args, 1);
    cr_assert_eq(driver->payload.size, sizeof *head + sk_packed_value_size(4));
    expect_ask(driver, SK_ASK_ACTOR_FIND, 0, SK_OK, &actor, sizeof actor);
    cr_assert(driver->payload.size == 8 && says(driver, "my actor"));
    const sk_message *call = fake_next(driver);
    while (call->kind != SK_MSG_SUBMIT_CALL) call = fake_next(driver);
    cr_assert(call->subject == actor && call->method == 2 && call->n_returns == 1);
    cr_assert_eq(((const sk_submit_head *)driver->payload.data)->timeout_ms, 500);
    expect_ask(driver, SK_ASK_ACTOR_CHECK, actor, SK_OK, &pid, sizeof pid);
    expect_ask(driver, SK_ASK_ACTOR_WAIT, actor, SK_EDEAD, "it died young", 13);
    expect_ask(driver, SK_ASK_ACTOR_STOP, actor, SK_OK, NULL, 0);
    expect_ask(driver, SK_ASK_ACTOR_CHECK, actor, SK_OK, &pid, sizeof pid);
    expect_ask(driver, SK_ASK_ACTOR_CHECK, actor, SK_EDEAD, NULL, 0); /* looks again until it is */
    const sk_message *reply = fake_next(driver);
    while (reply->kind != SK_MSG_REPLY) reply = fake_next(driver);
    cr_assert_eq(reply->status, SK_OK, "%.*s", (int)driver->payload.size, (const char *)driver->payload.data);
    fake_stop(driver);
}
