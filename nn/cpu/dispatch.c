/* dispatch: which kernels this machine can run. */
#include "nn/cpu/kernels.h"

#include <stdlib.h>
#include <string.h>

extern const sk_kernels sk__v2_kernels, sk__v3_kernels, sk__v4_kernels;

static int has_v3(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2");
}
static int has_v4(void) {
    return has_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}

const sk_kernels *sk_kernels_at(int level) {
    __builtin_cpu_init();
    switch (level) {
    case 2: return __builtin_cpu_supports("sse4.2") ? &sk__v2_kernels : NULL;
    case 3: return has_v3() ? &sk__v3_kernels : NULL;
    case 4: return has_v4() ? &sk__v4_kernels : NULL;
    default: return NULL;
    }
}

const sk_kernels *sk_kernels_get(void) {
    const char *wanted = getenv("SKIFF_ISA");
    if (wanted && wanted[0] == 'v' && strlen(wanted) == 2) {
        const sk_kernels *asked = sk_kernels_at(wanted[1] - '0');
        if (asked) return asked;
    }
    for (int level = 4; level >= 2; level--) {
        const sk_kernels *found = sk_kernels_at(level);
        if (found) return found;
    }
    return NULL;
}
