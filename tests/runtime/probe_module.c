#include "tests/runtime/probe_module.h"
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- common -------------------------------------------------------------------------------------------------- */
int32_t probe_int(sk_bytes bytes) {
    int32_t value;
    SK_ASSERT(bytes.size == sizeof value);
    memcpy(&value, bytes.data, sizeof value);
    return value;
}

int64_t probe_long(sk_bytes bytes) {
    int64_t value;
    SK_ASSERT(bytes.size == sizeof value);
    memcpy(&value, bytes.data, sizeof value);
    return value;
}

uint64_t probe_sum(sk_bytes bytes) {
    uint64_t sum = 0;
    for (size_t i = 0; i < bytes.size; i++) sum += ((const uint8_t *)bytes.data)[i];
    return sum;
}

void probe_fill(void *data, size_t size) {
    for (size_t i = 0; i < size; i++) ((uint8_t *)data)[i] = (uint8_t)(i % 251);
}

bool probe_is_filled(sk_bytes bytes) {
    for (size_t i = 0; i < bytes.size; i++)
        if (((const uint8_t *)bytes.data)[i] != (uint8_t)(i % 251)) return false;
    return true;
}

void probe_sleep_ms(int32_t ms) {
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000L};
    while (nanosleep(&left, &left) != 0) {
    }
}

static sk_status write_int(sk_call *call, int32_t value, sk_error *reterr) {
    return sk_call_write(call, 0, &value, sizeof value, reterr);
}

/* ---- "probe" ------------------------------------------------------------------------------------------------- */
typedef struct probe {
    int32_t     n_counts;
    sk_block   *block; /* what BLOCK_MAKE made           */
    sk_ref      kept;  /* goes with the process or by DROP */
} probe;

static sk_status probe_create(sk_call *call, void **ret_self, sk_error *reterr) {
    sk_bytes arg = sk_call_n_args(call) > 0 ? sk_call_arg(call, 0) : (sk_bytes){0};
    if (arg.size && *(const char *)arg.data == '!')
        return SK_FAIL(reterr, SK_EENV, "%.*s", (int)arg.size - 1, (const char *)arg.data + 1);
    probe *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a probe");
    *ret_self = self;
    return SK_OK;
}

static void probe_destroy(void *impl) {
    probe *self = impl;
    sk_block_destroy(&self->block);
    free(self);
}

static sk_status fill_block(sk_bytes in, sk_error *reterr) {
    fill_order order;
    sk_block  *block = NULL;
    SK_ASSERT(in.size == sizeof order);
    memcpy(&order, in.data, sizeof order);
    SK_TRY(sk_block_open(&order.ref, &block, reterr));
    memset(sk_block_data(block), order.byte, order.ref.size_bytes);
    sk_block_destroy(&block);
    return SK_OK;
}

static sk_status make_block(probe *self, int64_t size, sk_call *call, sk_error *reterr) {
    sk_block_destroy(&self->block);
    SK_TRY(sk_block_create((size_t)size, &self->block, reterr));
    memset(sk_block_data(self->block), 0x5a, (size_t)size);
    sk_block_ref ref = sk_block_get_ref(self->block);
    return sk_call_write(call, 0, &ref, sizeof ref, reterr);
}

/* In parts, as a program that does not know the size beforehand. */
static sk_status write_big(int64_t size, sk_call *call, sk_error *reterr) {
    uint8_t part[251 * 64];
    probe_fill(part, sizeof part);
    for (int64_t left = size; left > 0; left -= (int64_t)sizeof part) {
        size_t n = left < (int64_t)sizeof part ? (size_t)left : sizeof part;
        SK_TRY(sk_call_write(call, 0, part, n, reterr));
    }
    return SK_OK;
}

/* Descriptors that stay open over exec; those that the worker opened by itself do not, as a driver's must not. */
static int32_t count_inherited(void) {
    int32_t        n = 0;
    DIR           *dir = opendir("/proc/self/fd");
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        int fd = atoi(entry->d_name);
        if (fd > 2 && fd != dirfd(dir) && !(fcntl(fd, F_GETFD) & FD_CLOEXEC)) n++;
    }
    if (dir) closedir(dir);
    return n;
}

static sk_status keep_ref(probe *self, sk_bytes in, sk_call *call, sk_error *reterr) {
    sk_ref   ref;
    sk_bytes value;
    SK_ASSERT(in.size == sizeof ref);
    memcpy(&ref, in.data, sizeof ref);
    sk_release(sk_runtime_current(), &self->kept);
    sk_acquire(sk_runtime_current(), ref);
    self->kept = ref;
    SK_TRY(sk_get(sk_runtime_current(), ref, 30000, &value, reterr));
    uint64_t sum = probe_sum(value);
    return sk_call_write(call, 0, &sum, sizeof sum, reterr);
}

static sk_status put_ref(probe *self, int64_t size, sk_call *call, sk_error *reterr) {
    void *data;
    sk_release(sk_runtime_current(), &self->kept);
    SK_TRY(sk_put_begin(sk_runtime_current(), (size_t)size, &self->kept, &data, reterr));
    probe_fill(data, (size_t)size);
    SK_TRY(sk_put_end(sk_runtime_current(), self->kept, reterr));
    return sk_call_write(call, 0, &self->kept, sizeof self->kept, reterr);
}

static sk_status probe_call(void *impl, int method, sk_call *call, sk_error *reterr) {
    probe   *self = impl;
    sk_bytes in = sk_call_n_args(call) > 0 ? sk_call_arg(call, 0) : (sk_bytes){0};
    int32_t  value;
    switch (method) {
    case PROBE_ECHO: return sk_call_write(call, 0, in.data, in.size, reterr);
    case PROBE_COUNT: return write_int(call, self->n_counts++, reterr);
    case PROBE_FAIL: return SK_FAIL(reterr, SK_EENV, "%.*s", (int)in.size, (const char *)in.data);
    case PROBE_SLEEP: probe_sleep_ms(probe_int(in)); return write_int(call, probe_int(in), reterr);
    case PROBE_EXIT: _exit(probe_int(in));
    case PROBE_BLOCK_FILL: return fill_block(in, reterr);
    case PROBE_BLOCK_MAKE: return make_block(self, probe_long(in), call, reterr);
    case PROBE_BIG: return write_big(probe_long(in), call, reterr);
    case PROBE_ALIGNED: return write_int(call, (uintptr_t)in.data % 16 == 0, reterr);
    case PROBE_RAISE: kill(getpid(), probe_int(in)); return write_int(call, probe_int(in), reterr);
    case PROBE_ODD: return (sk_status)4711;
    case PROBE_FDS: return write_int(call, count_inherited(), reterr);
    case PROBE_PID: return write_int(call, getpid(), reterr);
    case PROBE_KEEP: return keep_ref(self, in, call, reterr);
    case PROBE_PUT: return put_ref(self, probe_long(in), call, reterr);
    case PROBE_DROP: sk_release(sk_runtime_current(), &self->kept); return SK_OK;
    case PROBE_PAIR:
        SK_TRY(write_int(call, probe_int(in), reterr));
        value = probe_int(in) + 1;
        return sk_call_write(call, 1, &value, sizeof value, reterr);
    default: return SK_FAIL(reterr, SK_EUNSUPPORTED, "no method %d", method);
    }
}

static const char *const probe_methods[] = {"echo", "count", "fail", "sleep", "exit", "block_fill",
                                            "block_make", "big", "aligned", "raise", "odd", "fds",
                                            "pid", "keep", "put", "drop", "pair"};
_Static_assert(SK_COUNT(probe_methods) == PROBE_N_METHODS, "a name for each method");

static sk_status exits_create(sk_call *call, void **ret_self, sk_error *reterr) {
    (void)ret_self, (void)reterr;
    _exit(probe_int(sk_call_arg(call, 0)));
}

static sk_status hangs_create(sk_call *call, void **ret_self, sk_error *reterr) {
    probe_sleep_ms(probe_int(sk_call_arg(call, 0)));
    probe *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a probe");
    *ret_self = self;
    return SK_OK;
}

static sk_status late_create(sk_call *call, void **ret_self, sk_error *reterr) {
    char     path[256];
    sk_bytes in = sk_call_arg(call, 0);
    snprintf(path, sizeof path, "%.*s", (int)in.size, (const char *)in.data);
    if (access(path, F_OK) != 0) _exit(7);
    probe *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a probe");
    *ret_self = self;
    return SK_OK;
}

/* ---- "counter": keeps its state over a restart ------------------------------------------------------------------- */
typedef struct counter {
    int64_t total;
    size_t  pad; /* [bytes] behind the total in what it saves */
} counter;

static sk_status counter_create(sk_call *call, void **ret_self, sk_error *reterr) {
    counter *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a counter");
    if (sk_call_n_args(call) > 0) self->total = probe_long(sk_call_arg(call, 0));
    if (sk_call_n_args(call) > 1) self->pad = (size_t)probe_long(sk_call_arg(call, 1));
    *ret_self = self;
    return SK_OK;
}

static sk_status counter_restore(void *impl, sk_bytes state, sk_error *reterr) {
    counter       *self = impl;
    const uint8_t *bytes = state.data;
    if (state.size != sizeof self->total + self->pad ||
        !probe_is_filled((sk_bytes){bytes + sizeof self->total, self->pad}))
        return SK_FAIL(reterr, SK_ECORRUPT, "a state of %zu bytes, wanted %zu", state.size,
                       sizeof self->total + self->pad);
    memcpy(&self->total, bytes, sizeof self->total);
    return SK_OK;
}

static sk_status counter_save(const counter *self, sk_call *call, sk_error *reterr) {
    uint8_t *state = malloc(sizeof self->total + self->pad);
    if (!state) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a state");
    memcpy(state, &self->total, sizeof self->total);
    probe_fill(state + sizeof self->total, self->pad);
    sk_status status = sk_call_save(call, state, sizeof self->total + self->pad, reterr);
    free(state);
    return status;
}

/* Makes the file if it is not there yet; true: it made it. */
static bool is_first_time(sk_bytes name) {
    char path[256];
    snprintf(path, sizeof path, "%.*s", (int)name.size, (const char *)name.data);
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    if (fd >= 0) close(fd);
    return fd >= 0;
}

static sk_status counter_call(void *impl, int method, sk_call *call, sk_error *reterr) {
    counter *self = impl;
    sk_bytes in = sk_call_n_args(call) > 0 ? sk_call_arg(call, 0) : (sk_bytes){0};
    switch (method) {
    case COUNTER_GET: break;
    case COUNTER_EXIT: _exit(probe_int(in));
    case COUNTER_SLEEP: probe_sleep_ms(probe_int(in)); return write_int(call, probe_int(in), reterr);
    default:
        self->total += probe_long(in);
        SK_TRY(counter_save(self, call, reterr));
        if (method == COUNTER_ADD_FAIL) return SK_FAIL(reterr, SK_EENV, "saved and failed");
        if (method == COUNTER_ADD_EXIT) _exit(5);
        if (method == COUNTER_EXIT_ONCE && is_first_time(sk_call_arg(call, 1))) _exit(6);
    }
    return sk_call_write(call, 0, &self->total, sizeof self->total, reterr);
}

static const char *const counter_methods[] = {"add", "get", "add_fail", "add_exit", "exit_once", "exit", "sleep"};
_Static_assert(SK_COUNT(counter_methods) == COUNTER_N_METHODS, "a name for each method");

/* ---- "meeting": calls at the same time --------------------------------------------------------------------------- */
typedef struct meeting {
    _Atomic int32_t n_inside, peak;
} meeting;

static sk_status meeting_create(sk_call *call, void **ret_self, sk_error *reterr) {
    (void)call;
    meeting *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a meeting");
    *ret_self = self;
    return SK_OK;
}

static sk_status meeting_call(void *impl, int method, sk_call *call, sk_error *reterr) {
    meeting *self = impl;
    int32_t  wanted = probe_int(sk_call_arg(call, 0)), inside = atomic_fetch_add(&self->n_inside, 1) + 1;
    int32_t  peak = atomic_load(&self->peak);
    while (inside > peak && !atomic_compare_exchange_weak(&self->peak, &peak, inside)) {
    }
    if (method == MEETING_STAY) probe_sleep_ms(wanted);
    for (int i = 0; method == MEETING_ENTER && atomic_load(&self->peak) < wanted && i < 30000; i++) probe_sleep_ms(1);
    atomic_fetch_sub(&self->n_inside, 1);
    if (method == MEETING_ENTER && atomic_load(&self->peak) < wanted)
        return SK_FAIL(reterr, SK_ETIMEOUT, "only %d met, wanted %d", atomic_load(&self->peak), wanted);
    return write_int(call, atomic_load(&self->peak), reterr);
}

static const char *const meeting_methods[] = {"enter", "stay"};
_Static_assert(SK_COUNT(meeting_methods) == MEETING_N_METHODS, "a name for each method");

/* ---- the module -------------------------------------------------------------------------------------------------- */
#define PROBE_LIKE(class_name, class_create)                                                                           \
    {.name = (class_name), .methods = probe_methods, .n_methods = PROBE_N_METHODS, .create = (class_create),           \
     .call = probe_call, .destroy = probe_destroy}
static const sk_actor_class probe_class = PROBE_LIKE("probe", probe_create);
static const sk_actor_class exits_class = PROBE_LIKE("exits", exits_create);
static const sk_actor_class hangs_class = PROBE_LIKE("hangs", hangs_create);
static const sk_actor_class late_class = PROBE_LIKE("late", late_create);
static const sk_actor_class counter_class = {.name = "counter",
                                             .methods = counter_methods,
                                             .n_methods = COUNTER_N_METHODS,
                                             .create = counter_create,
                                             .call = counter_call,
                                             .destroy = free,
                                             .restore = counter_restore};
static const sk_actor_class meeting_class = {.name = "meeting",
                                             .methods = meeting_methods,
                                             .n_methods = MEETING_N_METHODS,
                                             .create = meeting_create,
                                             .call = meeting_call,
                                             .destroy = free};
static const sk_actor_class *const classes[] = {&probe_class, &exits_class,   &hangs_class,
                                                &late_class,  &counter_class, &meeting_class};

const sk_module probe_module = {.abi = SK_MODULE_ABI,
                                .struct_size = sizeof(sk_module),
                                .name = "probe",
                                .tasks = probe_tasks,
                                .n_tasks = PROBE_N_TASKS,
                                .classes = classes,
                                .n_classes = SK_COUNT(classes)};

const char *probe_worker_path(void) {
    static char path[512];
    const char *build = getenv("SKIFF_BUILD_DIR");
    snprintf(path, sizeof path, "%s/tests/runtime/worker_probe", build ? build : "build");
    return path;
}
