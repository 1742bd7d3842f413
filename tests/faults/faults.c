#include "tests/faults/faults.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* ---- counting ---- */

static atomic_long          left = -1; /* calls until one fails; negative = none will */
static atomic_int           armed_kind, was_hit;
static _Atomic(const char *) hit_what;
static _Atomic(void *)      hit_caller;

void fault_arm(fault_kind kind, long n) {
    was_hit = 0;
    hit_what = NULL;
    armed_kind = (int)kind;
    left = n;
}

int fault_disarm(const char **ret_what) {
    left = -1;
    if (ret_what) *ret_what = hit_what;
    return was_hit;
}

void *fault_caller(void) { return hit_caller; }

static int refused(fault_kind kind, const char *what, void *caller) {
    if (left < 0 || armed_kind != (int)kind || atomic_fetch_sub(&left, 1) != 0) return 0;
    hit_what = what;
    hit_caller = caller;
    was_hit = 1;
    return 1;
}
#define REFUSED(kind, what) refused(kind, what, __builtin_return_address(0))

/* ---- what is live ---- */

enum { ROOM = 1 << 18 }; /* pointers; a power of two, far more than a test has */
static void           *live[ROOM];
static long            n_live;
static pthread_mutex_t live_lock = PTHREAD_MUTEX_INITIALIZER;
static char            gone; /* &gone marks a place that was used */

static size_t place_of(const void *p) { return (size_t)((uintptr_t)p >> 4) * 2654435761u % ROOM; }

static void *note(void *p) {
    if (!p) return p;
    pthread_mutex_lock(&live_lock);
    size_t at = place_of(p);
    while (live[at] && live[at] != &gone) at = (at + 1) % ROOM;
    live[at] = p;
    n_live++;
    pthread_mutex_unlock(&live_lock);
    return p;
}

static void forget(const void *p) {
    if (!p) return;
    pthread_mutex_lock(&live_lock);
    for (size_t at = place_of(p); live[at]; at = (at + 1) % ROOM) {
        if (live[at] != p) continue;
        live[at] = &gone;
        n_live--;
        break;
    }
    pthread_mutex_unlock(&live_lock);
}

long fault_n_live(void) {
    pthread_mutex_lock(&live_lock);
    long n = n_live;
    pthread_mutex_unlock(&live_lock);
    return n;
}

/* ---- memory ---- */

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
int   __real_posix_memalign(void **ret, size_t align, size_t size);
char *__real_strdup(const char *text);
char *__real_realpath(const char *path, char *resolved);
int   __real_vasprintf(char **ret, const char *fmt, va_list args);
void  __real_free(void *p);

static void *no_memory(void) {
    errno = ENOMEM;
    return NULL;
}
void *__wrap_malloc(size_t size) { return REFUSED(FAULT_MEMORY, "malloc") ? no_memory() : note(__real_malloc(size)); }
void *__wrap_calloc(size_t n, size_t size) {
    return REFUSED(FAULT_MEMORY, "calloc") ? no_memory() : note(__real_calloc(n, size));
}
void *__wrap_realloc(void *p, size_t size) {
    if (REFUSED(FAULT_MEMORY, "realloc")) return no_memory();
    forget(p);
    void *moved = __real_realloc(p, size);
    note(moved ? moved : p);
    return moved;
}
void *__wrap_aligned_alloc(size_t align, size_t size) {
    return REFUSED(FAULT_MEMORY, "aligned_alloc") ? no_memory() : note(__real_aligned_alloc(align, size));
}
int __wrap_posix_memalign(void **ret, size_t align, size_t size) {
    if (REFUSED(FAULT_MEMORY, "posix_memalign")) return ENOMEM;
    int err = __real_posix_memalign(ret, align, size);
    if (err == 0) note(*ret);
    return err;
}
char *__wrap_strdup(const char *text) {
    return REFUSED(FAULT_MEMORY, "strdup") ? no_memory() : note(__real_strdup(text));
}
char *__wrap_realpath(const char *path, char *resolved) {
    if (resolved) return __real_realpath(path, resolved);
    return REFUSED(FAULT_MEMORY, "realpath") ? no_memory() : note(__real_realpath(path, NULL));
}
int __wrap_vasprintf(char **ret, const char *fmt, va_list args) {
    if (REFUSED(FAULT_MEMORY, "vasprintf")) {
        no_memory();
        return -1;
    }
    int n = __real_vasprintf(ret, fmt, args);
    if (n >= 0) note(*ret);
    return n;
}
int __wrap_asprintf(char **ret, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    int n = __wrap_vasprintf(ret, fmt, args);
    va_end(args);
    return n;
}
void __wrap_free(void *p) {
    forget(p);
    __real_free(p);
}


/* Its parser does not survive it: where the text of a token cannot grow, it leaves characters out, or crashes (2.14). */
static _Thread_local int is_parsing;
json_t *__real_json_loadb(const char *text, size_t size, size_t flags, json_error_t *err);
json_t *__wrap_json_loadb(const char *text, size_t size, size_t flags, json_error_t *err) {
    if (REFUSED(FAULT_MEMORY, "json_loadb")) {
        memset(err, 0, sizeof *err); /* as it is when the parser itself cannot be made */
        return NULL;
    }
    is_parsing = 1;
    json_t *json = __real_json_loadb(text, size, flags, err);
    is_parsing = 0;
    return json;
}
static void *jansson_malloc(size_t size) {
    if (!is_parsing && REFUSED(FAULT_MEMORY, "malloc in jansson")) return no_memory();
    return note(__real_malloc(size));
}
void fault_take_jansson(void) { json_set_alloc_funcs(jansson_malloc, __wrap_free); }

/* ---- the system ---- */

int   __real_pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*run)(void *), void *arg);
void *__real_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
void *__real_mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset);
int   __real_memfd_create(const char *name, unsigned flags);
int   __real_eventfd(unsigned count, int flags);
int   __real_pipe2(int *fds, int flags);

static int no_descriptor(void) {
    errno = EMFILE;
    return -1;
}
int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*run)(void *), void *arg) {
    return REFUSED(FAULT_SYSTEM, "pthread_create") ? EAGAIN : __real_pthread_create(ret, attr, run, arg);
}
void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
    if (!REFUSED(FAULT_SYSTEM, "mmap")) return __real_mmap(at, size, protection, flags, fd, offset);
    no_memory();
    return MAP_FAILED;
}
/* What mmap is called where files may be larger than 2 GB. */
void *__wrap_mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
    if (!REFUSED(FAULT_SYSTEM, "mmap")) return __real_mmap64(at, size, protection, flags, fd, offset);
    no_memory();
    return MAP_FAILED;
}
int __wrap_memfd_create(const char *name, unsigned flags) {
    return REFUSED(FAULT_SYSTEM, "memfd_create") ? no_descriptor() : __real_memfd_create(name, flags);
}
int __wrap_eventfd(unsigned count, int flags) {
    return REFUSED(FAULT_SYSTEM, "eventfd") ? no_descriptor() : __real_eventfd(count, flags);
}
int __wrap_pipe2(int *fds, int flags) {
    return REFUSED(FAULT_SYSTEM, "pipe2") ? no_descriptor() : __real_pipe2(fds, flags);
}
