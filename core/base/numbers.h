/* numbers: looking for those that are none. Threads: free of state. */
#ifndef SK_BASE_NUMBERS_H
#define SK_BASE_NUMBERS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Is any of x (n) NaN or infinite? All exponent bits set; in integers, so that it vectorises. */
static inline bool sk_any_nonfinite(const float *x, size_t n) {
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bad |= (uint32_t)((bits & 0x7f800000u) == 0x7f800000u);
    }
    return bad != 0;
}

#endif
