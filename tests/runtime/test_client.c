/* A worker and its client against a driver that the test plays. */
#include "core/base/clock.h"
#include "tests/runtime/fake_driver.h"
#include <criterion/criterion.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LARGE = 100000, LONG_MS = 20000 };

/* ---- functions for the worker ------------------------------------------------------------------------------------ */
static sk__client *client_of(sk_call *call) { return call->rt->client; }

static sk_status write_text(sk_call *call, const char *text, sk_error *reterr) {
    return sk_call_write(call, 0, text, strlen(text), reterr);
}

static sk_status echo(sk_call *call, sk_error *reterr) {
    sk_bytes arg = sk_call_arg(call, 0);
    return sk_call_write(call, 0, arg.data, arg.size, reterr);
}

/* How many arguments, how many bytes in all, are they all aligned. */
static sk_status measure(sk_call *call, sk_error *reterr) {
    char   text[64];
    size_t size = 0, aligned = 1;
    for (int i = 0; i < sk_call_n_args(call); i++) {
        size += sk_call_arg(call, i).size;
        aligned &= (uintptr_t)sk_call_arg(call, i).data % 16 == 0;
    }
    snprintf(text, sizeof text, "%d %zu %zu", sk_call_n_args(call), size, aligned);
    return write_text(call, text, reterr);
}

static sk_status fail(sk_call *call, sk_error *reterr) {
    void *place = NULL;
    SK_TRY(sk_call_alloc(call, 0, LARGE, &place, reterr)); /* has to be given back */
    return SK_FAIL(reterr, SK_EENV, "the world ended");
}

static sk_status odd_status(sk_call *call, sk_error *reterr) {
    (void)call, (void)reterr;
    return (sk_status)77;
}

/* Return 0 written and large, 1 filled in place and large, 2 filled in place and small. */
static sk_status large(sk_call *call, sk_error *reterr) {
    char  part[1000];
    void *place = NULL;
    memset(part, 'a', sizeof part);
    for (int i = 0; i < LARGE / 1000; i++) SK_TRY(sk_call_write(call, 0, part, sizeof part, reterr));
    SK_TRY(sk_call_alloc(call, 1, LARGE, &place, reterr));
    memset(place, 'b', LARGE);
    SK_TRY(sk_call_alloc(call, 2, 100, &place, reterr));
    memset(place, 'c', 100);
    return (uintptr_t)place % 64 == 0 ? SK_OK : SK_FAIL(reterr, SK_EINVAL, "not aligned");
}

static sk_status many(sk_call *call, sk_error *reterr) {
    char part[4000];
    for (int i = 0; i < call->n_returns; i++) {
        memset(part, 'a' + i % 26, sizeof part);
        SK_TRY(sk_call_write(call, i, part, sizeof part, reterr));
    }
    return SK_OK;
}

static sk_status misuse(sk_call *call, sk_error *reterr) {
    void *place;
    if (sk_call_write(call, 1, "", 0, NULL) != SK_EINVAL) return SK_FAIL(reterr, SK_EIO, "wrote a return that is not");
    if (sk_call_save(call, "", 0, NULL) != SK_EINVAL) return SK_FAIL(reterr, SK_EIO, "a task saved a state");
    SK_TRY(write_text(call, "x", reterr));
    if (sk_call_alloc(call, 0, 8, &place, NULL) != SK_EINVAL)
        return SK_FAIL(reterr, SK_EIO, "allocated what was written");
    return SK_OK;
}

/* The value of the object whose id is argument 0. */
static sk_status fetch(sk_call *call, sk_error *reterr) {
    sk_ref   ref;
    sk_bytes value;
    memcpy(&ref, sk_call_arg(call, 0).data, sizeof ref);
    SK_TRY(sk__client_get(client_of(call), ref, LONG_MS, &value, reterr));
    return sk_call_write(call, 0, value.data, value.size, reterr);
}

static sk_status fetch_briefly(sk_call *call, sk_error *reterr) {
    sk_ref ref;
    memcpy(&ref, sk_call_arg(call, 0).data, sizeof ref);
    return sk__client_get(client_of(call), ref, 0, NULL, reterr);
}

static sk_status fetch_twice(sk_call *call, sk_error *reterr) {
    SK_TRY(fetch(call, reterr));
    return fetch(call, reterr);
}

/* 80 objects of its own, counted in from data and given back one by one. */
static sk_status count(sk_call *call, sk_error *reterr) {
    (void)reterr;
    for (uint64_t id = 1; id <= 80; id++) {
        sk_ref ref = {id};
        sk__client_acquire(client_of(call), ref);
        sk__client_acquire(client_of(call), ref); /* this process's business */
        sk__client_release(client_of(call), &(sk_ref){id});
        sk__client_release(client_of(call), &ref);
    }
    return SK_OK;
}

static sk_status put(sk_call *call, sk_error *reterr) {
    sk__client *client = client_of(call);
    sk_ref      small = {0}, huge = {0}, slow = {0};
    sk_bytes    value;
    void       *place;
    static char bytes[LARGE];
    memset(bytes, 'p', sizeof bytes);
    SK_TRY(sk__client_put(client, "small one", 9, &small, reterr));
    SK_TRY(sk__client_put(client, bytes, sizeof bytes, &huge, reterr));
    SK_TRY(sk__client_put_begin(client, 3, &slow, &place, reterr));
    if (sk__client_get(client, slow, 0, NULL, NULL) != SK_ETIMEOUT)
        return SK_FAIL(reterr, SK_EIO, "read while it was filled");
    memcpy(place, "abc", 3);
    SK_TRY(sk__client_put_end(client, slow, reterr));
    SK_TRY(sk__client_get(client, small, 0, &value, reterr)); /* nobody is asked */
    if (value.size != 9 || memcmp(value.data, "small one", 9) != 0) return SK_FAIL(reterr, SK_EIO, "another value");
    SK_TRY(sk__client_get(client, slow, 0, &value, reterr));
    if (value.size != 3 || memcmp(value.data, "abc", 3) != 0) return SK_FAIL(reterr, SK_EIO, "another value");
    SK_TRY(sk_call_write(call, 0, &small, sizeof small, reterr));
    sk__client_release(client, &huge);
    sk__client_release(client, &slow);
    return small.id == 0 ? SK_FAIL(reterr, SK_EIO, "no id") : SK_OK;
}

static sk_status put_nothing(sk_call *call, sk_error *reterr) {
    void  *place;
    sk_ref ref;
    SK_TRY(sk__client_put_begin(client_of(call), LARGE, &ref, &place, reterr));
    sk__client_release(client_of(call), &ref); /* never sealed */
    return SK_OK;
}

/* A task of a task: with a value, a reference, and a large value. */
static sk_status nest(sk_call *call, sk_error *reterr) {
    static char bytes[LARGE];
    sk_ref      of_arg, results[2] = {{0}};
    sk_bytes    value;
    memset(bytes, 'n', sizeof bytes);
    memcpy(&of_arg, sk_call_arg(call, 0).data, sizeof of_arg);
    sk_arg      args[] = {sk_by_value("v", 1), sk_by_ref(of_arg), sk_by_value(bytes, sizeof bytes)};
    sk_resource want = {"cpu", 2};
    sk_task     task = {.function = "t.echo", .name = "nested", .args = args, .n_args = 3, .n_returns = 2,
                        .resources = &want, .n_resources = 1, .max_retries = 7, .bundle = -1};
    SK_TRY(sk__client_submit(client_of(call), &task, results, reterr));
    SK_TRY(sk__client_get(client_of(call), results[0], LONG_MS, &value, reterr));
    SK_TRY(sk_call_write(call, 0, value.data, value.size, reterr));
    sk_status second = sk__client_get(client_of(call), results[1], LONG_MS, &value, reterr);
    sk__client_release(client_of(call), &results[0]);
    sk__client_release(client_of(call), &results[1]);
    return second;
}

static sk_status nest_many(sk_call *call, sk_error *reterr) {
    char   text[4000];
    sk_arg args[40];
    sk_ref result;
    memset(text, 'm', sizeof text);
    for (int i = 0; i < 40; i++) args[i] = sk_by_value(text, sizeof text);
    SK_TRY(sk__client_submit(client_of(call), &(sk_task){.function = "t.measure", .args = args, .n_args = 40},
                             &result, reterr));
    sk__client_release(client_of(call), &result);
    return SK_OK;
}

static sk_status run_inline(sk_call *call, sk_error *reterr) {
    sk__client *client = client_of(call);
    sk_arg      arg = sk_by_value("here", 4);
    sk_ref      good, bad;
    sk_bytes    value;
    sk_error    err = {0};
    sk_task     task = {.function = "t.echo", .args = &arg, .n_args = 1, .placement = SK_PLACE_INLINE};
    SK_TRY(sk__client_submit(client, &task, &good, reterr));
    SK_TRY(sk__client_get(client, good, 0, &value, reterr));
    SK_TRY(sk_call_write(call, 0, value.data, value.size, reterr));
    task.function = "t.fail";
    SK_TRY(sk__client_submit(client, &task, &bad, reterr));
    if (sk__client_get(client, bad, 0, NULL, &err) != SK_EENV || !strstr(err.msg, "t.fail: the world ended"))
        return SK_FAIL(reterr, SK_EIO, "another error: %s", err.msg);
    sk__client_release(client, &good);
    sk__client_release(client, &bad);
    return SK_OK;
}

/* Wait for two of the three objects whose ids are argument 0. */
static sk_status wait_two(sk_call *call, sk_error *reterr) {
    sk_ref   refs[3];
    uint8_t  ended[3];
    int      n = 0;
    char     text[32];
    sk_error err = {0};
    memcpy(refs, sk_call_arg(call, 0).data, sizeof refs);
    if (sk__client_wait(client_of(call), refs, 3, 1, 0, ended, &n, &err) != SK_ETIMEOUT || n != 0)
        return SK_FAIL(reterr, SK_EIO, "%d have ended before", n);
    SK_TRY(sk__client_wait(client_of(call), refs, 3, 2, LONG_MS, ended, &n, reterr));
    sk_status all = sk__client_get_all(client_of(call), refs, 3, LONG_MS, NULL);
    snprintf(text, sizeof text, "%d %d%d%d %d", n, ended[0], ended[1], ended[2], all);
    return write_text(call, text, reterr);
}

static atomic_int n_loops;
static sk_status until_cancelled(sk_call *call, sk_error *reterr) {
    atomic_fetch_add(&n_loops, 1);
    while (!sk_call_cancelled(call)) sched_yield();
    return SK_FAIL(reterr, SK_ECANCELED, "as you say");
}

static sk_status ask_about_actors(sk_call *call, sk_error *reterr) {
    sk__client     *client = client_of(call);
    sk_arg          arg = sk_by_value("seed", 4);
    sk_actor_params params = {.class_name = "t.counter", .name = "my actor", .args = &arg, .n_args = 1};
    sk_actor        actor = {0}, found = {0};
    sk_error        err = {0};
    int             pid = 0;
    sk_ref          answer;
    SK_TRY(sk__client_actor_create(client, &params, &actor, reterr));
    SK_TRY(sk__client_actor_find(client, "my actor", &found, reterr));
    if (found.id != actor.id) return SK_FAIL(reterr, SK_EIO, "another actor");
    SK_TRY(sk__client_actor_call(client, actor, &(sk_method){.method = 2, .timeout_ms = 500}, &answer, reterr));
    SK_TRY(sk__client_actor_check(client, actor, &pid, reterr));
    if (pid != 4711) return SK_FAIL(reterr, SK_EIO, "another process");
    sk__client_release(client, &answer);
    if (sk__client_actor_wait(client, actor, LONG_MS, &err) != SK_EDEAD || strcmp(err.msg, "it died young") != 0)
        return SK_FAIL(reterr, SK_EIO, "another end: %s", err.msg);
    sk__client_actor_join(client, &actor, 1, LONG_MS);
    return SK_OK;
}

static const sk_task_def tasks[] = {
    {"t.echo", echo}, {"t.measure", measure}, {"t.fail", fail}, {"t.odd_status", odd_status}, {"t.large", large},
    {"t.many", many}, {"t.misuse", misuse}, {"t.fetch", fetch}, {"t.fetch_briefly", fetch_briefly},
    {"t.fetch_twice", fetch_twice}, {"t.count", count}, {"t.put", put}, {"t.put_nothing", put_nothing},
    {"t.nest", nest},
    {"t.nest_many", nest_many}, {"t.run_inline", run_inline}, {"t.wait_two", wait_two},
    {"t.until_cancelled", until_cancelled}, {"t.ask_about_actors", ask_about_actors}};

/* An actor: a number that grows. */
static atomic_int        n_counters;
static pthread_barrier_t both;

static sk_status create_counter(sk_call *call, void **ret_self, sk_error *reterr) {
    if (sk_call_n_args(call) > 1) return SK_FAIL(reterr, SK_EINVAL, "one seed is enough");
    int *self = malloc(sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "no memory");
    *self = sk_call_n_args(call) ? *(const char *)sk_call_arg(call, 0).data - '0' : 0;
    atomic_fetch_add(&n_counters, 1);
    *ret_self = self;
    return SK_OK;
}

static void destroy_counter(void *self) {
    atomic_fetch_sub(&n_counters, 1);
    free(self);
}

static sk_status restore_counter(void *self, sk_bytes state, sk_error *reterr) {
    if (state.size != sizeof(int)) return SK_FAIL(reterr, SK_ECORRUPT, "not a counter's state");
    memcpy(self, state.data, sizeof(int));
    return SK_OK;
}

enum { ADD, SAVE, SAVE_LARGE, SAVE_AND_FAIL, FETCH, MEET, N_METHODS };
static sk_status call_counter(void *self_p, int method, sk_call *call, sk_error *reterr) {
    int *self = self_p;
    static char state[LARGE];
    switch (method) {
    case ADD: (*self)++; return sk_call_write(call, 0, self, sizeof *self, reterr);
    case SAVE: return sk_call_save(call, self, sizeof *self, reterr);
    case SAVE_LARGE: memset(state, 's', sizeof state); return sk_call_save(call, state, sizeof state, reterr);
    case SAVE_AND_FAIL: SK_TRY(sk_call_save(call, self, sizeof *self, reterr)); return SK_FAIL(reterr, SK_EENV, "but");
    case FETCH: return fetch(call, reterr);
    default: pthread_barrier_wait(&both); return SK_OK; /* ends only if another one runs at the same time */
    }
}

static const char *const     methods[N_METHODS] = {"add", "save", "save_large", "save_and_fail", "fetch", "meet"};
static const sk_actor_class  counter = {"t.counter", methods, N_METHODS, create_counter, call_counter, destroy_counter,
                                        restore_counter};
static const sk_actor_class *classes[] = {&counter};
static const sk_module       module = {SK_MODULE_ABI, sizeof(sk_module), "t", tasks, SK_COUNT(tasks), classes, 1};

/* ---- what tests often say ---------------------------------------------------------------------------------------- */
static bool says(fake *driver, const char *text) {
    return driver->payload.size > 0 && memmem(driver->payload.data, driver->payload.size, text, strlen(text));
}

static void expect_error(fake *driver, uint64_t job, sk_status status, const char *text) {
    const sk_message *reply = fake_expect(driver, SK_MSG_REPLY);
    cr_assert_eq(reply->job, job);
    cr_assert_eq(reply->status, status, "got %d: %.*s", reply->status, (int)driver->payload.size,
                 (const char *)driver->payload.data);
    cr_assert(says(driver, text), "wanted '%s' in '%.*s'", text, (int)driver->payload.size,
              (const char *)driver->payload.data);
}

static const sk_message *expect_text(fake *driver, uint64_t job, const char *text) {
    const sk_message *reply = fake_expect(driver, SK_MSG_REPLY);
    cr_assert_eq(reply->job, job);
    cr_assert_eq(reply->status, SK_OK, "%.*s", (int)driver->payload.size, (const char *)driver->payload.data);
    sk_bytes got = fake_record(driver, 0);
    cr_assert(got.size == strlen(text) && memcmp(got.data, text, got.size) == 0, "wanted '%s', got '%.*s'", text,
              (int)got.size, (const char *)got.data);
    return reply;
}

static void send_call(fake *driver, uint64_t job, int method, const void *data, size_t size) {
    uint8_t    packed[256];
    sk_message head = {.kind = SK_MSG_CALL, .job = job, .subject = 5, .method = method, .n_args = size > 0,
                       .n_returns = 1};
    if (size) sk_packed_put_value(packed, data, size);
    fake_send(driver, head, packed, size ? sk_packed_value_size(size) : 0);
}

/* Actor 5, named "me". */
static void send_create(fake *driver, uint64_t job, int concurrency, const int *state) {
    uint8_t    packed[256], *end = sk_packed_put_value(packed, "me", 2);
    sk_message head = {.kind = SK_MSG_CREATE, .job = job, .subject = 5, .function = sk_function_hash("t.counter"),
                       .n_args = 1, .a = concurrency, .b = state != NULL};
    end = sk_packed_put_value(end, "4", 1);
    if (state) end = sk_packed_put_value(end, state, sizeof *state);
    fake_send(driver, head, packed, (size_t)(end - packed));
}

static void expect_done(fake *driver, uint64_t job) {
    const sk_message *reply = fake_expect(driver, SK_MSG_REPLY);
    cr_assert_eq(reply->job, job);
    cr_assert_eq(reply->status, SK_OK, "%.*s", (int)driver->payload.size, (const char *)driver->payload.data);
}

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
    cr_assert(says(driver, "test_client.c:"));
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
