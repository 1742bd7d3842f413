#include "core/base/text.h"
#include <stdarg.h>
#include <stdio.h>

char *sk_text_new(const char *fmt, ...) {
    char   *text = NULL;
    va_list args;
    va_start(args, fmt);
    int size = vasprintf(&text, fmt, args);
    va_end(args);
    return size < 0 ? NULL : text;
}
