/* client_rig: the tasks and the actor that the tests of a worker and its client run, and what those tests often say. */
#ifndef SK_TESTS_RUNTIME_CLIENT_RIG_H
#define SK_TESTS_RUNTIME_CLIENT_RIG_H
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

#define HELPER __attribute__((unused)) static

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
HELPER bool says(fake *driver, const char *text) {
    return driver->payload.size > 0 && memmem(driver->payload.data, driver->payload.size, text, strlen(text));
}

HELPER void expect_error(fake *driver, uint64_t job, sk_status status, const char *text) {
    const sk_message *reply = fake_expect(driver, SK_MSG_REPLY);
    cr_assert_eq(reply->job, job);
    cr_assert_eq(reply->status, status, "got %d: %.*s", reply->status, (int)driver->payload.size,
                 (const char *)driver->payload.data);
    cr_assert(says(driver, text), "wanted '%s' in '%.*s'", text, (int)driver->payload.size,
              (const char *)driver->payload.data);
}

HELPER const sk_message *expect_text(fake *driver, uint64_t job, const char *text) {
    const sk_message *reply = fake_expect(driver, SK_MSG_REPLY);
    cr_assert_eq(reply->job, job);
    cr_assert_eq(reply->status, SK_OK, "%.*s", (int)driver->payload.size, (const char *)driver->payload.data);
    sk_bytes got = fake_record(driver, 0);
    cr_assert(got.size == strlen(text) && memcmp(got.data, text, got.size) == 0, "wanted '%s', got '%.*s'", text,
              (int)got.size, (const char *)got.data);
    return reply;
}

HELPER void send_call(fake *driver, uint64_t job, int method, const void *data, size_t size) {
    uint8_t    packed[256];
    sk_message head = {.kind = SK_MSG_CALL, .job = job, .subject = 5, .method = method, .n_args = size > 0,
                       .n_returns = 1};
    if (size) sk_packed_put_value(packed, data, size);
    fake_send(driver, head, packed, size ? sk_packed_value_size(size) : 0);
}

/* Actor 5, named "me". */
HELPER void send_create(fake *driver, uint64_t job, int concurrency, const int *state) {
    uint8_t    packed[256], *end = sk_packed_put_value(packed, "me", 2);
    sk_message head = {.kind = SK_MSG_CREATE, .job = job, .subject = 5, .function = sk_function_hash("t.counter"),
                       .n_args = 1, .a = concurrency, .b = state != NULL};
    end = sk_packed_put_value(end, "4", 1);
    if (state) end = sk_packed_put_value(end, state, sizeof *state);
    fake_send(driver, head, packed, (size_t)(end - packed));
}

HELPER void expect_done(fake *driver, uint64_t job) {
    const sk_message *reply = fake_expect(driver, SK_MSG_REPLY);
    cr_assert_eq(reply->job, job);
    cr_assert_eq(reply->status, SK_OK, "%.*s", (int)driver->payload.size, (const char *)driver->payload.data);
}

#endif
