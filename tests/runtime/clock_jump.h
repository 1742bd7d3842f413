/* clock_jump: a time of day that jumps. Included by one file of a program: all of the program that asks for the time comes
 * here. */
#ifndef SK_TESTS_RUNTIME_CLOCK_JUMP_H
#define SK_TESTS_RUNTIME_CLOCK_JUMP_H
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* While set, it is ten years off, in turns into the past and into the future. */
static _Atomic int clock_jumps, n_looks;

static int64_t jump_s(void) { return clock_jumps ? (n_looks++ % 2 ? 315360000 : -315360000) : 0; }

int clock_gettime(clockid_t id, struct timespec *ret) {
    if (syscall(SYS_clock_gettime, id, ret) != 0) return -1;
    if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) ret->tv_sec += jump_s();
    return 0;
}
time_t time(time_t *ret) {
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (ret) *ret = now.tv_sec;
    return now.tv_sec;
}
int gettimeofday(struct timeval *ret, void *zone) {
    struct timespec now = {0};
    (void)zone;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    *ret = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
    return 0;
}

#endif
