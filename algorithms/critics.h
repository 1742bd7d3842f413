/* critics: the action values of an off-policy actor-critic: one critic or twins (Fujimoto et al. 2018) that share a
 * buffer of parameters, the targets that follow them, and the loss on a replay's batch. The algorithm writes what they
 * are moved towards; everything else is here. Threads: one owner. */
#ifndef SK_ALGORITHMS_CRITICS_H
#define SK_ALGORITHMS_CRITICS_H
#include "algorithms/trained.h"

enum { SK_CRITICS_MAX = 2 };

/* Parameter groups of the critics' graph. */
enum { SK_CRITICS_OWN, SK_CRITICS_POLICY, SK_CRITICS_TARGETS };

/* Start with {0}. */
typedef struct sk_critics {
    sk_algorithm_context   x;
    const sk_policy_spaces *spaces;
    int         n;                  /* 1 or 2                                                             */
    sk_trained  trained;            /* "q1", "q2"                                                         */
    sk_buffer  *targets;            /* laid out as the critics are                                        */
    sk_columns  in;
    sk_tensor   td[SK_CRITICS_MAX], loss, mean;
    float      *error;              /* (rows) as told to the source                                       */
} sk_critics;

/* Sums over an iteration's updates. */
typedef struct sk_critics_sums {
    double loss, mean, error, grad_norm;
    int    n_updates, n_finite;
} sk_critics_sums;

/* Start the graph with the batch's columns; then build the target; then sk_critics_minimize; then finish. */
SK_NODISCARD sk_status sk_critics_begin(sk_critics *self, const sk_algorithm_context *x, int n, sk_error *reterr);
/* The least of the n critics of the group in use, in any graph: of box actions (B x 1), or of all choices (B x n). */
sk_tensor sk_critics_least(const sk_critics *self, sk_graph *g, sk_tensor x, sk_tensor action);
/* The first one's alone, of a box action. */
sk_tensor sk_critics_first(const sk_critics *self, sk_graph *g, sk_tensor x, sk_tensor action);
/* Minimise the mean over rows of coef * weight * (Q(x, action) - target)^2, summed over the critics; x: encoded. */
void sk_critics_minimize(sk_critics *self, sk_tensor x, sk_tensor target, float coef);
/* Lay out; fresh parameters apart from the policy's and from each other's; targets start as they are. */
SK_NODISCARD sk_status sk_critics_finish(sk_critics *self, const sk_net *net, double adam_epsilon, sk_error *reterr);
void   sk_critics_deinit(sk_critics *self);
size_t sk_critics_n_floats(const sk_critics *self);

/* One step on a batch, and its TD errors (mean of the critics' absolute ones) back to where it came from. An update
 * whose gradient is not finite is left out, and told to nobody. SK_ENUMERIC. */
SK_NODISCARD sk_status sk_critics_update(sk_critics *self, sk_source *source, const sk_batch *batch, double lr,
                                         double grad_clip, sk_critics_sums *sums, sk_error *reterr);
/* targets += tau (critics - targets) */
void sk_critics_move_targets(sk_critics *self, double tau);
/* The means as metrics, and a line if updates were left out; `name` of the algorithm. */
void sk_critics_report(const sk_critics_sums *sums, const char *name, sk_metrics *metrics);

/* Sections "critic..." and "targets". SK_ECORRUPT. */
SK_NODISCARD sk_status sk_critics_save(sk_critics *self, sk_pack_writer *writer, sk_error *reterr);
SK_NODISCARD sk_status sk_critics_load(sk_critics *self, const sk_pack *pack, sk_error *reterr);

#endif
