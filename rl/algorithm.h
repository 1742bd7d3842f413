/* algorithm: what every learning algorithm is to the rest: a const struct of functions, one folder under algorithms/
 * and one line in algorithms/registry.c. An algorithm owns its graphs, plans and optimizer; it reads experience from a
 * source and changes the policy's parameters.
 * Threads: one owner. */
#ifndef SK_RL_ALGORITHM_H
#define SK_RL_ALGORITHM_H
#include "core/base/config.h"
#include "core/base/pack.h"
#include "core/base/status.h"
#include "nn/plan.h"
#include "policies/policy.h"
#include "rl/metrics.h"
#include "rl/replay_config.h"
#include "rl/source.h"
#include "rl/train_config.h"

typedef struct sk_algorithm_context {
    sk_device             *device;
    sk_policy             *policy;  /* its parameters are trained in place */
    const sk_train_config *config;
    const void            *own;     /* the algorithm's bound config        */
    sk_batch_shape         shape;   /* of every batch                      */
} sk_algorithm_context;

typedef struct sk_algorithm_api {
    const char   *name;
    const sk_key *keys;        /* its config keys; offsets into a struct of config_size bytes */
    int           n_keys;
    size_t        config_size;
    int           keep_final_obs; /* needs that column of the stream's batches               */
    /* What it decides about common keys: the kind of network, defaults of its own for keys that were not given. May be
     * NULL. Called before all checks. */
    void (*prepare)(void *own, sk_train_config *config, const sk_config *cfg);
    /* Where its config keeps the settings of the replay it learns from; NULL: it reads the stream itself. */
    const sk_replay_config *(*replay)(const void *own);
    /* What keys cannot say one by one. SK_ECONFIG with the key's mark. */
    sk_status (*check)(const void *own, const sk_train_config *config, const sk_config *cfg, sk_error *reterr);
    sk_status (*create)(const sk_algorithm_context *context, void **ret_self, sk_error *reterr);
    void (*destroy)(void *self);
    /* One training iteration: take a batch, improve the policy, set learner/ metrics. `metrics` holds the counters so
     * far (schedules read num_env_steps_sampled_lifetime). */
    sk_status (*learn)(void *self, sk_source *source, sk_metrics *metrics, sk_error *reterr);
    /* Everything that decides the future besides the policy: into / from an open container. */
    sk_status (*save)(void *self, sk_pack_writer *writer, sk_error *reterr);
    sk_status (*load)(void *self, const sk_pack *pack, sk_error *reterr);
} sk_algorithm_api;

/* By name, or NULL; by index, or NULL past the end (algorithms/registry.c). */
const sk_algorithm_api *sk_algorithm_find(const char *name);
const sk_algorithm_api *sk_algorithm_at(int index);

#endif
