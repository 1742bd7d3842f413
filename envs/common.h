/* common: small helpers for the built-in environments: reading the `env.config` texts, and NumPy's numbers.
 * Threads: free of state. */
#ifndef SK_ENVS_COMMON_H
#define SK_ENVS_COMMON_H
#include "skiff/env.h"
#include <math.h>
#include <stdbool.h>
#include <string.h>

/* 0 if every name of `config` is one of the `n` known ones, else -1 with a text in `err`. */
int sk__env_config_known(const sk_env_config *config, const char *const *known, int n, char *err,
                         size_t err_size);
/* *value = the number or bool (true, false) named `name`; untouched if it is not given. 0, or -1 and a text. */
int sk__env_config_number(const sk_env_config *config, const char *name, double *value, char *err,
                          size_t err_size);
int sk__env_config_bool(const sk_env_config *config, const char *name, bool *value, char *err,
                        size_t err_size);

/* The text of the last pair of that name, or NULL. */
const char *sk__env_config_text(const sk_env_config *config, const char *name);
/* As sk__env_config_number, for a number in [0, 1]. */
int sk__env_config_unit(const sk_env_config *config, const char *name, double *value, char *err,
                        size_t err_size);

/* x^2 as NumPy has it for a double scalar, which asks libm's pow. */
double sk__env_square_by_pow(double x);

/* The same, fast. For squares in [1e-60, 1e60] (and 0) glibc's pow errs by less than 0.513 ulp, so it is the rounded
 * product unless the exact square lies within 1/64 ulp of the middle of two doubles; only there pow is called. */
static inline double sk__env_square(double x) {
    uint64_t bits;
    double   product = x * x, high, ulp;
    memcpy(&bits, &x, sizeof bits);
    bits &= ~(uint64_t)0x7ffffff;
    memcpy(&high, &bits, sizeof high); /* x = high + low, 26 and 27 bits: all products below are exact */
    double low = x - high;
    double error = (high * high - product) + 2.0 * high * low + low * low;
    memcpy(&bits, &product, sizeof bits);
    bits &= (uint64_t)0x7ff << 52;
    memcpy(&ulp, &bits, sizeof ulp);
    return fabs(error) > 0x1.fp-54 * ulp ? sk__env_square_by_pow(x) : product;
}

#endif
