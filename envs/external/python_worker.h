/* python_worker: a Python process that answers requests, one at a time: its start, its questions and
 * answers, its end.
 *
 * Started by posix_spawn with a socket (requests and replies), a pipe that tells it of our end (its kernel
 * kills it when the writing side closes, however we end), and an unnamed memory file that both map once
 * its size is known. Standard output of the process is our standard error. Every wait has a limit; a
 * process that was too slow is killed.
 *
 * Wire, little-endian, same host: request = sk_pyworker_request, then n_text bytes; reply = status (0 =
 * done) and n_text as two u32, then n_text bytes of UTF-8.
 * Threads: one owner at a time. */
#ifndef SK_ENVS_PYTHON_WORKER_H
#define SK_ENVS_PYTHON_WORKER_H
#include "core/base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct sk_pyworker sk_pyworker;

typedef struct sk_pyworker_request {
    uint32_t op, a, b, flag; /* what they mean is agreed with the script */
    uint64_t seed;
    uint64_t n_text; /* filled by call                           */
} sk_pyworker_request;

typedef struct sk_pyworker_call_params {
    sk_pyworker_request request;
    const char         *text; /* NULL, or what follows the request        */
    const char         *what; /* "step": for messages                     */
    double              timeout_s;
} sk_pyworker_call_params;

/* Start `python` (a path, or a name looked up in PATH) with `script`. SK_ENOTFOUND: there is no such
 * program. That it fell over is seen by the first call. Caller destroys. */
SK_NODISCARD sk_status sk_pyworker_create(const char *python, const char *script, sk_pyworker **ret_worker,
                                          sk_error *reterr);
/* Ask it to close its environments and wait a little, then kill; in any case it is gone and reaped
 * afterwards. */
void sk_pyworker_destroy(sk_pyworker **self_p);

/* Ask and wait for the answer. SK_EENV: it answered with a failure, whose text is the message; SK_ETIMEOUT
 * and SK_EDEAD: it is gone now, and why. */
SK_NODISCARD sk_status sk_pyworker_call(sk_pyworker *self, const sk_pyworker_call_params *params,
                                        sk_error *reterr);
/* The whole text of the last reply; borrowed until the next call. */
const char *sk_pyworker_text(const sk_pyworker *self, size_t *ret_size);

/* Size the memory file (once) and map it, zeroed. Borrowed until destroy. */
SK_NODISCARD sk_status sk_pyworker_map(sk_pyworker *self, size_t size_bytes, void **ret_memory,
                                       sk_error *reterr);
/* Has it not been found dead or killed? Looks at the process. */
bool sk_pyworker_is_alive(sk_pyworker *self);

#endif
