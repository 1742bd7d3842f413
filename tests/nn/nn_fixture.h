/* nn_fixture: what the tests of nn share: random numbers, and memory that ends where a page begins that
 * nobody may touch, so that a kernel that reads or writes one float too far dies on the spot, with or without
 * ASAN. */
#ifndef SK_TESTS_NN_FIXTURE_H
#define SK_TESTS_NN_FIXTURE_H
#include "nn/cpu/kernels.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* SplitMix64 (Steele et al. 2014): small and good enough for test data. */
static inline uint64_t fix_next(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
static inline double fix_uniform(uint64_t *state, double low, double high) {
    return low + (high - low) * ((double)(fix_next(state) >> 11) * 0x1p-53);
}
static inline int fix_below(uint64_t *state, int n) { return (int)(fix_next(state) % (uint64_t)n); }
static inline void fix_fill(float *x, size_t n, uint64_t *state, double low, double high) {
    for (size_t i = 0; i < n; i++) x[i] = (float)fix_uniform(state, low, high);
}

/* Bits of a float; what memory holds before anyone has written: a NaN with a pattern of its own. */
static inline uint32_t fix_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
static inline float fix_from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
#define GUARD_BITS 0x7fc5a5a5u

enum { GUARD_MAX = 256 };
static struct guard {
    char *map;
    size_t bytes; /* writable part; a forbidden page follows */
    float *x;
} guards[GUARD_MAX];
static int n_guards;

/* n floats filled with NaN, ending at a forbidden page. Lives until guard_check_all. */
static inline float *guard_alloc(size_t n) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct guard *g = &guards[n_guards++];
    cr_assert_lt(n_guards, GUARD_MAX);
    g->bytes = (n * sizeof(float) + 64 + page - 1) / page * page;
    g->map = mmap(NULL, g->bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(g->map, MAP_FAILED);
    cr_assert_eq(mprotect(g->map + g->bytes, page, PROT_NONE), 0);
    for (size_t i = 0; i < g->bytes; i += 4) memcpy(g->map + i, &(uint32_t){GUARD_BITS}, 4);
    g->x = (float *)(void *)(g->map + g->bytes - n * sizeof(float));
    return g->x;
}
static inline float *guard_fill(size_t n, uint64_t *state, double low, double high) {
    float *x = guard_alloc(n);
    fix_fill(x, n, state, low, high);
    return x;
}
static inline float *guard_copy(const float *from, size_t n) {
    float *x = guard_alloc(n);
    memcpy(x, from, n * sizeof *x);
    return x;
}
/* Nothing before an array has been written either; then give all of them back. */
static inline void guard_check_all(void) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < n_guards; i++) {
        struct guard *g = &guards[i];
        for (char *at = g->map; at < (char *)g->x; at += 4) {
            uint32_t bits;
            memcpy(&bits, at, 4);
            cr_assert_eq(bits, GUARD_BITS, "array %d: written %td bytes before its start", i,
                         (char *)g->x - at);
        }
        munmap(g->map, g->bytes + page);
    }
    n_guards = 0;
}

static inline void assert_same_bits(const float *x, const float *y, size_t n, const char *what) {
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(fix_bits(x[i]), fix_bits(y[i]), "%s: float %zu of %zu is %a and %a", what, i, n,
                     (double)x[i], (double)y[i]);
}

/* Every level this machine runs, as k. */
#define FOR_LEVELS(level, k)                                                                                 \
    for (int level = 2; level <= 4; level++)                                                                 \
        for (const sk_kernels *k = sk_kernels_at(level); k; k = NULL)

#endif
