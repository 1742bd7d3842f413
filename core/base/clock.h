/* clock: time since an arbitrary start, which never jumps. Any thread. */
#ifndef SK_BASE_CLOCK_H
#define SK_BASE_CLOCK_H
#include <stdint.h>
#include <time.h>

/* Monotonic time [ns]. */
static inline int64_t sk_clock_now_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Monotonic time [s]. */
static inline double sk_clock_now_s(void) { return (double)sk_clock_now_ns() * 1e-9; }

#endif
