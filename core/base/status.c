#include "core/base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *sk_status_text(sk_status status) {
    switch (status) {
#define SK_STATUS_CASE(code, value, text)                                                          \
    case code: return text;
        SK_STATUS_LIST(SK_STATUS_CASE)
#undef SK_STATUS_CASE
    }
    return "unknown status";
}

sk_status sk_error_set(sk_error *reterr, sk_status status, const char *file, int line, const char *fmt, ...) {
    if (!reterr) return status;
    reterr->status = status;
    reterr->file = file;
    reterr->line = line;
    va_list args;
    va_start(args, fmt);
    vsnprintf(reterr->msg, sizeof reterr->msg, fmt, args);
    va_end(args);
    return status;
}

void sk_error_prefix(sk_error *reterr, const char *fmt, ...) {
    if (!reterr) return;
    char old[sizeof reterr->msg];
    memcpy(old, reterr->msg, sizeof old);
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(reterr->msg, sizeof reterr->msg, fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof reterr->msg) return;
    snprintf(reterr->msg + n, sizeof reterr->msg - (size_t)n, ": %s", old);
}

void sk_assert_fail(const char *file, int line, const char *cond) {
    fprintf(stderr, "skiff: %s:%d: this must hold and does not: %s\n", file, line, cond);
    fflush(stderr);
    abort();
}
