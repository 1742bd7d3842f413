/* trained: what off-policy algorithms have in common: a loss graph with its plan, parameters and optimizer, and the
 * columns of a replay's batch as its inputs. Threads: one owner. */
#ifndef SK_ALGORITHMS_TRAINED_H
#define SK_ALGORITHMS_TRAINED_H
#include "nn/plan.h"
#include "policies/net.h"
#include "rl/algorithm.h"

/* A loss and the parameters it trains (group 0 of its graph). Start with {0}. */
typedef struct sk_trained {
    sk_graph  *graph;
    sk_plan   *plan;
    sk_adam   *adam;
    sk_buffer *params;      /* of group 0                             */
    sk_buffer *constants;   /* observation statistics; NULL: no filter */
    int        owns_params, padded_obs;
} sk_trained;

/* Start the graph; then build the loss in self->graph; then finish: lay it out for batches of the context's shape.
 * `params` NULL: own ones, zeroed; else group 0's buffer (borrowed for life). `net` names the constants of
 * observations. */
SK_NODISCARD sk_status sk_trained_begin(sk_trained *self, sk_error *reterr);
SK_NODISCARD sk_status sk_trained_finish(sk_trained *self, const sk_algorithm_context *x, const sk_net *net,
                                         sk_buffer *params, double adam_epsilon, sk_error *reterr);
void sk_trained_deinit(sk_trained *self);
/* The policy's observation statistics as they are now, for the next run. */
void sk_trained_push_constants(sk_trained *self, sk_policy *policy);
/* The optimizer, and the parameters where they are its own, under `name` in a container. SK_ECORRUPT. */
SK_NODISCARD sk_status sk_trained_save(sk_trained *self, const char *name, sk_pack_writer *writer, sk_error *reterr);
SK_NODISCARD sk_status sk_trained_load(sk_trained *self, const char *name, const sk_pack *pack, sk_error *reterr);

/* A buffer as a section, for targets. */
SK_NODISCARD sk_status sk_buffer_save(sk_buffer *buf, size_t n_floats, const char *name, sk_pack_writer *writer,
                                      sk_error *reterr);
SK_NODISCARD sk_status sk_buffer_load(sk_buffer *buf, size_t n_floats, const char *name, const sk_pack *pack,
                                      sk_error *reterr);

/* The columns of a replay's batch (rl/replay.h) as inputs; SK_NO_TENSOR where a graph has no use for one. */
typedef struct sk_columns {
    sk_tensor obs, mask, action, reward, next_obs, next_mask, discount, weight;
} sk_columns;
/* All that a transition has. */
sk_columns sk_columns_all(sk_graph *g, const sk_policy_spaces *spaces);
/* Observations (and masks) only. */
sk_columns sk_columns_obs(sk_graph *g, const sk_policy_spaces *spaces);
void       sk_columns_bind(sk_plan *plan, const sk_columns *columns, const sk_batch *batch);

/* Standard normals for update `counter` of stream `index` (Philox: the same whatever computes them). */
void sk_fill_normal(uint64_t seed, uint64_t index, uint64_t counter, float *ret_x, int n);

#endif
