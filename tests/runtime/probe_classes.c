#include "tests/runtime/probe_classes.h"
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct probe {
    int32_t n_counts;
    sk_block *block; /* what BLOCK_MAKE made */
} probe;

static sk_status probe_create(sk_bytes arg, void **ret_self, sk_error *reterr) {
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

static int32_t read_int(sk_bytes in) {
    int32_t value;
    SK_ASSERT(in.size == sizeof value);
    memcpy(&value, in.data, sizeof value);
    return value;
}

static int64_t read_long(sk_bytes in) {
    int64_t value;
    SK_ASSERT(in.size == sizeof value);
    memcpy(&value, in.data, sizeof value);
    return value;
}

static void sleep_ms(int32_t ms) {
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000L};
    while (nanosleep(&left, &left) != 0) {
    }
}

static sk_status fill_block(sk_bytes in, sk_error *reterr) {
    fill_order order;
    sk_block *block = NULL;
    SK_ASSERT(in.size == sizeof order);
    memcpy(&order, in.data, sizeof order);
    SK_TRY(sk_block_open(&order.ref, &block, reterr));
    memset(sk_block_data(block), order.byte, order.ref.size_bytes);
    sk_block_destroy(&block);
    return SK_OK;
}

static sk_status make_block(probe *self, int64_t size, sk_reply *out, sk_error *reterr) {
    sk_block_destroy(&self->block);
    SK_TRY(sk_block_create((size_t)size, &self->block, reterr));
    memset(sk_block_data(self->block), 0x5a, (size_t)size);
    sk_block_ref ref = sk_block_get_ref(self->block);
    return sk_reply_write(out, &ref, sizeof ref, reterr);
}

static sk_status write_big(int64_t size, sk_reply *out, sk_error *reterr) {
    uint8_t part[251 * 64];
    for (size_t i = 0; i < sizeof part; i++) part[i] = (uint8_t)(i % 251);
    for (int64_t left = size; left > 0; left -= (int64_t)sizeof part) {
        size_t n = left < (int64_t)sizeof part ? (size_t)left : sizeof part;
        SK_TRY(sk_reply_write(out, part, n, reterr));
    }
    return SK_OK;
}

/* What names an open descriptor: not counting the usual three and those that the worker opened by itself,
 * which all close on exec, as a driver's descriptors must. */
static int32_t count_inherited(void) {
    int32_t n = 0;
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        int fd = atoi(entry->d_name);
        if (fd > 2 && fd != dirfd(dir) && !(fcntl(fd, F_GETFD) & FD_CLOEXEC)) n++;
    }
    if (dir) closedir(dir);
    return n;
}

static sk_status probe_call(void *impl, int method, sk_bytes in, sk_reply *out, sk_error *reterr) {
    probe *self = impl;
    int32_t value;
    switch (method) {
    case PROBE_ECHO:
        return sk_reply_write(out, in.data, in.size, reterr);
    case PROBE_COUNT:
        value = self->n_counts++;
        break;
    case PROBE_FAIL:
        return SK_FAIL(reterr, SK_EENV, "%.*s", (int)in.size, (const char *)in.data);
    case PROBE_SLEEP:
        sleep_ms(value = read_int(in));
        break;
    case PROBE_EXIT:
        _exit(read_int(in));
    case PROBE_BLOCK_FILL:
        return fill_block(in, reterr);
    case PROBE_BLOCK_MAKE:
        return make_block(self, read_long(in), out, reterr);
    case PROBE_BIG:
        return write_big(read_long(in), out, reterr);
    case PROBE_ALIGNED:
        value = (uintptr_t)in.data % 16 == 0;
        break;
    case PROBE_RAISE:
        kill(getpid(), value = read_int(in));
        break;
    case PROBE_ODD:
        return (sk_status)4711;
    case PROBE_FDS:
        value = count_inherited();
        break;
    default:
        return SK_FAIL(reterr, SK_EUNSUPPORTED, "no method %d", method);
    }
    return sk_reply_write(out, &value, sizeof value, reterr);
}

static const char *const probe_methods[] = {"echo",       "count", "fail",    "sleep", "exit", "block_fill",
                                            "block_make", "big",   "aligned", "raise", "odd",  "fds"};
_Static_assert(SK_COUNT(probe_methods) == PROBE_N_METHODS, "a name for each method");

static sk_status exits_create(sk_bytes arg, void **ret_self, sk_error *reterr) {
    (void)ret_self, (void)reterr;
    _exit(read_int(arg));
}

static sk_status hangs_create(sk_bytes arg, void **ret_self, sk_error *reterr) {
    sleep_ms(read_int(arg));
    return probe_create((sk_bytes){0}, ret_self, reterr);
}

static const sk_actor_class probe_class = {.name = "probe",
                                           .methods = probe_methods,
                                           .n_methods = PROBE_N_METHODS,
                                           .create = probe_create,
                                           .call = probe_call,
                                           .destroy = probe_destroy};
static const sk_actor_class exits_class = {.name = "exits",
                                           .methods = probe_methods,
                                           .n_methods = PROBE_N_METHODS,
                                           .create = exits_create,
                                           .call = probe_call,
                                           .destroy = probe_destroy};
static const sk_actor_class hangs_class = {.name = "hangs",
                                           .methods = probe_methods,
                                           .n_methods = PROBE_N_METHODS,
                                           .create = hangs_create,
                                           .call = probe_call,
                                           .destroy = probe_destroy};
const sk_actor_class *const probe_classes[] = {&probe_class, &exits_class, &hangs_class};
const int probe_n_classes = SK_COUNT(probe_classes);

const char *probe_worker_path(void) {
    static char path[512];
    const char *build = getenv("SKIFF_BUILD_DIR");
    snprintf(path, sizeof path, "%s/tests/runtime/worker_probe", build ? build : "build");
    return path;
}
