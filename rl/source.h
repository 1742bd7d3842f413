/* source: where an algorithm's experience comes from. An on-policy algorithm reads a *stream* (rl/stream.h), an
 * off-policy one a *replay* that the stream fills (rl/replay_source.h); a dataset is to have the same face, so an
 * algorithm never knows whether a simulator or a file is behind it.
 * Threads: one owner. */
#ifndef SK_RL_SOURCE_H
#define SK_RL_SOURCE_H
#include "core/base/status.h"
#include "rl/batch.h"

typedef struct sk_source sk_source;

typedef struct sk_source_ops {
    sk_status (*next)(sk_source *self, const sk_batch **ret_batch, sk_error *reterr);
    sk_status (*feedback)(sk_source *self, const float *td_error, int n, sk_error *reterr); /* NULL: nobody asks */
} sk_source_ops;

struct sk_source {
    const sk_source_ops *ops;
};

/* The next batch, made with the policy as it is now. Borrowed until the next call. SK_EDEAD, SK_EENV, SK_ETIMEOUT,
 * SK_EINTERRUPTED. */
static inline SK_NODISCARD sk_status sk_source_next(sk_source *self, const sk_batch **ret_batch, sk_error *reterr) {
    return self->ops->next(self, ret_batch, reterr);
}

/* How wrong the value of each of the n rows of the last batch was; a prioritised replay draws by it. SK_ENUMERIC: one
 * of them is zero or no number. */
static inline SK_NODISCARD sk_status sk_source_feedback(sk_source *self, const float *td_error, int n,
                                                        sk_error *reterr) {
    return self->ops->feedback ? self->ops->feedback(self, td_error, n, reterr) : SK_OK;
}

#endif
