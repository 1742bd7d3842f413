/* log: the one way out for what the library has to say. The library itself never prints:
 * it hands lines to a sink that the program chooses (cli/ writes them to stderr and log.txt).
 *
 * Threads: sk_log may be called from any thread; calls of the sink never overlap. The sink is
 * set once, before other threads start. */
#ifndef SK_BASE_LOG_H
#define SK_BASE_LOG_H
#include "core/base/status.h"

typedef enum sk_log_level { SK_LOG_DEBUG, SK_LOG_INFO, SK_LOG_WARN, SK_LOG_ERROR } sk_log_level;

/* Gets one finished line without newline. `line` is borrowed until the sink returns. */
typedef void (*sk_log_sink)(void *user, sk_log_level level, const char *line);

/* NULL drops everything, which is also the state at start. */
void sk_log_set_sink(sk_log_sink sink, void *user);

/* Lines are cut at 1,023 bytes. */
void sk_log(sk_log_level level, const char *fmt, ...) SK_PRINTF(2, 3);

#endif
