/* plug: a plugin as a user would write it, for the tests: it knows skiff.h and nothing else. Built three times; the
 * spoiled ones differ in PLUG_ABI or PLUG_ENTRY. */
#include "skiff/skiff.h"
#include <stdlib.h>
#include <string.h>

#ifndef PLUG_ABI
#define PLUG_ABI SK_MODULE_ABI
#endif
#ifndef PLUG_ENTRY
#define PLUG_ENTRY skiff_module
#endif

static sk_status long_arg(const sk_call *call, int i, int64_t *ret_value, sk_error *reterr) {
    sk_bytes arg = sk_call_arg(call, i);
    if (arg.size != sizeof *ret_value)
        return SK_FAIL(reterr, SK_EINVAL, "argument %d has %zu bytes, wanted an int64_t", i, arg.size);
    memcpy(ret_value, arg.data, sizeof *ret_value);
    return SK_OK;
}

/* int64_t ... -> their sum */
static sk_status add(sk_call *call, sk_error *reterr) {
    int64_t sum = 0;
    for (int i = 0; i < sk_call_n_args(call); i++) {
        int64_t value = 0;
        SK_TRY(long_arg(call, i, &value, reterr));
        sum += value;
    }
    return sk_call_write(call, 0, &sum, sizeof sum, reterr);
}

/* bytes ... -> the same, one behind the other */
static sk_status echo(sk_call *call, sk_error *reterr) {
    for (int i = 0; i < sk_call_n_args(call); i++) {
        sk_bytes arg = sk_call_arg(call, i);
        SK_TRY(sk_call_write(call, 0, arg.data, arg.size, reterr));
    }
    return SK_OK;
}

/* ---- plug.counter: [int64_t start] ------------------------------------------------------------------------------- */
typedef struct counter {
    int64_t total;
} counter;
/* add: int64_t -> total. get: -> total. save: -> total, and keeps it for a restart. */
enum { COUNTER_ADD, COUNTER_GET, COUNTER_SAVE, COUNTER_N };
static const char *const counter_methods[COUNTER_N] = {"add", "get", "save"};

static sk_status counter_create(sk_call *call, void **ret_self, sk_error *reterr) {
    int64_t start = 0;
    if (sk_call_n_args(call) > 0) SK_TRY(long_arg(call, 0, &start, reterr));
    counter *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a counter");
    self->total = start;
    *ret_self = self;
    return SK_OK;
}

static sk_status counter_call(void *impl, int method, sk_call *call, sk_error *reterr) {
    counter *self = impl;
    int64_t value = 0;
    if (method == COUNTER_ADD) SK_TRY(long_arg(call, 0, &value, reterr));
    self->total += value;
    if (method == COUNTER_SAVE) SK_TRY(sk_call_save(call, &self->total, sizeof self->total, reterr));
    return sk_call_write(call, 0, &self->total, sizeof self->total, reterr);
}

static void counter_destroy(void *impl) { free(impl); }

static sk_status counter_restore(void *impl, sk_bytes state, sk_error *reterr) {
    counter *self = impl;
    if (state.size != sizeof self->total)
        return SK_FAIL(reterr, SK_ECORRUPT, "a counter's state has %zu bytes, wanted %zu", state.size,
                       sizeof self->total);
    memcpy(&self->total, state.data, sizeof self->total);
    return SK_OK;
}

static const sk_actor_class counter_class = {
    .name = "plug.counter", .methods = counter_methods, .n_methods = COUNTER_N, .create = counter_create,
    .call = counter_call, .destroy = counter_destroy, .restore = counter_restore,
};

/* ---- what it offers ---------------------------------------------------------------------------------------------- */
static const sk_task_def           tasks[] = {{"plug.add", add}, {"plug.echo", echo}};
static const sk_actor_class *const classes[] = {&counter_class};
static const sk_module             module = {
                .abi = PLUG_ABI, .struct_size = sizeof(sk_module), .name = "plug",
                .tasks = tasks, .n_tasks = SK_COUNT(tasks), .classes = classes, .n_classes = SK_COUNT(classes),
};

SK_API const sk_module *PLUG_ENTRY(void);
SK_API const sk_module *PLUG_ENTRY(void) { return &module; }
