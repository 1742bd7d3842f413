/* text: printing into memory of its own. Threads: free of state. */
#ifndef SK_BASE_TEXT_H
#define SK_BASE_TEXT_H
#include "core/base/status.h"

/* As printf; NULL: no memory. Caller frees. */
char *sk_text_new(const char *fmt, ...) SK_PRINTF(1, 2);

#endif
