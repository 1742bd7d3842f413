#include "core/base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

static sk_log_sink     the_sink;
static void           *the_user;
static pthread_mutex_t the_lock = PTHREAD_MUTEX_INITIALIZER;

void sk_log_set_sink(sk_log_sink sink, void *user) {
    pthread_mutex_lock(&the_lock);
    the_sink = sink;
    the_user = user;
    pthread_mutex_unlock(&the_lock);
}

void sk_log(sk_log_level level, const char *fmt, ...) {
    char    line[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    pthread_mutex_lock(&the_lock);
    if (the_sink) the_sink(the_user, level, line);
    pthread_mutex_unlock(&the_lock);
}
