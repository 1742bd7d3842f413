/* graph: a computation written once, as tensors; run many times by a plan (nn/plan.h) that has laid out
 * every byte before. Tensors are float32 matrices, row-major.
 *
 * Where a tensor's rows come from is its *scope*:
 *   ROWS   (B x cols)  one row per sample of the batch; B is known only when the plan runs
 *   TABLE  (N x cols)  a data set of the caller's, from which ROWS are gathered by index
 *   PARAM  (r x cols)  a weight. Weights come in *groups*, each one contiguous buffer: group 0 is trained, the others
 *                      are only read (a target network, the critic while the actor learns); gradients flow through
 *                      them to what they are applied to, not into them
 *   CONST  (1 x cols)  given by the caller before a run (coefficients, normaliser statistics)
 *   SUM    (1 x cols)  summed (or averaged) over the rows of the batch
 *
 * Errors: a wrong shape makes the graph remember its first error and return tensor -1, which every op takes
 * and passes on; sk_graph_finish reports it. So a loss reads without a check on every line.
 * Threads: one owner while building; const once finished. */
#ifndef SK_NN_GRAPH_H
#define SK_NN_GRAPH_H
#include "core/base/status.h"
#include <stddef.h>
#include <stdint.h>

typedef struct sk_graph sk_graph;
typedef int32_t         sk_tensor; /* index of a node; -1 = error */

typedef enum sk_scope { SK_SCOPE_ROWS, SK_SCOPE_TABLE, SK_SCOPE_PARAM, SK_SCOPE_CONST, SK_SCOPE_SUM } sk_scope;

/* What a node computes. Unary ops are y = f(x); a, b are the node's numbers. */
typedef enum sk_op {
    SK_OP_INPUT,
    SK_OP_TABLE,
    SK_OP_PARAM,
    SK_OP_CONST,
    SK_OP_GATHER,      /* rows of a table by an index column                        */
    SK_OP_LINEAR,      /* act(x W + b)                                              */
    SK_OP_UNARY,       /* sk_unary                                                  */
    SK_OP_BINARY,      /* sk_binary                                                 */
    SK_OP_SOFTMAX,     /* by row                                                    */
    SK_OP_LOG_SOFTMAX, /* by row                                                    */
    SK_OP_PICK,        /* (B x 1) x[r, index[r]]                                    */
    SK_OP_ROW_SUM,     /* (B x 1)                                                   */
    SK_OP_SUM,         /* over the batch                                            */
    SK_OP_CONCAT,
    SK_OP_SLICE,
    SK_OP_LAYER_NORM,
    SK_OP_STOP_GRADIENT,
    SK_OP_NORMALIZE,   /* clip((x - mean) * inv_std, -a, a)                         */
    SK_OP_CATEGORICAL, /* (B x 2) log-prob and entropy                              */
    SK_OP_GAUSSIAN,    /* (B x 2) log-prob and entropy                              */
    SK_OP_PPO_LOSS,    /* SUM scope, SK_PPO_N statistics                            */
    SK_OP_SAMPLE_CATEGORICAL, /* (B x n_parts) int32 choices                        */
    SK_OP_SAMPLE_GAUSSIAN,    /* (B x cols) mean + std * noise                      */
    SK_OP_ENCODE,      /* raw columns to network input: normalised floats, one-hot integers */
    SK_OP_SQUASHED_GAUSSIAN,  /* (B x cols + 1) action in [-1, 1] and its log-prob          */
    SK_OP_SDE_LOG_STD,        /* (B x cols) of state-dependent exploration                  */
    SK_OP_SDE_SAMPLE,         /* (B x cols)                                                 */
    SK_OP_COLUMN_BINARY,      /* sk_binary with the same (B x 1) for every column           */
    SK_OP_DUELING,
    SK_OP_ARGMAX,             /* (B x 1) int32                                              */
    SK_OP_TAKE,               /* (B x K) a group of columns                                 */
    SK_OP_GROUP_MEAN,         /* (B x n)                                                    */
    SK_OP_ATOM_MEAN,          /* (B x n)                                                    */
    SK_OP_C51_TARGET,         /* (B x K) probabilities                                      */
    SK_OP_CROSS_ENTROPY,      /* (B x 1)                                                    */
    SK_OP_QUANTILE_HUBER,     /* (B x 1)                                                    */
    SK_OP_COUNT
} sk_op;

typedef enum sk_unary {
    SK_UNARY_IDENTITY,
    SK_UNARY_TANH,
    SK_UNARY_RELU,
    SK_UNARY_ELU, /* x > 0 ? x : exp(x) - 1                      */
    SK_UNARY_GELU, /* tanh form (Hendrycks & Gimpel 2016, eq. 2)  */
    SK_UNARY_SILU,
    SK_UNARY_SIGMOID,
    SK_UNARY_EXP,
    SK_UNARY_LOG,
    SK_UNARY_SQUARE,
    SK_UNARY_AFFINE, /* a x + b                                     */
    SK_UNARY_CLIP,   /* min(max(x, a), b); gradient 1 inside [a, b] */
    SK_UNARY_HUBER,  /* x^2 / 2, but a (|x| - a / 2) where |x| > a  */
    SK_UNARY_COUNT
} sk_unary;

typedef enum sk_binary {
    SK_BINARY_ADD,
    SK_BINARY_SUB,
    SK_BINARY_MUL,
    SK_BINARY_DIV,
    SK_BINARY_MIN, /* ties: the gradient goes to the first */
    SK_BINARY_MAX,
    SK_BINARY_COUNT
} sk_binary;

/* Columns of a PPO_LOSS result: batch means, weighted by the rows' weights. */
typedef enum sk_ppo_stat {
    SK_PPO_TOTAL,         /* what is minimised                                             */
    SK_PPO_POLICY,        /* -min(r A, clip(r, 1-eps, 1+eps) A)                            */
    SK_PPO_VF,            /* value loss before its coefficient                             */
    SK_PPO_ENTROPY,
    SK_PPO_KL,            /* (r - 1) - log r  (Schulman 2020, "k3"): >= 0                  */
    SK_PPO_CLIP_FRACTION, /* share of rows with |r - 1| > eps                              */
    SK_PPO_RATIO_DEV,     /* mean |r - 1|: 0 in the first minibatch of an iteration        */
    SK_PPO_WEIGHT,        /* sum of weights times inv_weight_sum: 1                        */
    SK_PPO_N
} sk_ppo_stat;

/* Columns of the PPO_LOSS coefficients (a CONST of SK_PPO_COEF_N columns). */
typedef enum sk_ppo_coef {
    SK_PPO_COEF_CLIP,       /* eps                                                          */
    SK_PPO_COEF_VF_CLIP,    /* range of the value's change; <= 0: no value clipping         */
    SK_PPO_COEF_VF,         /* vf_loss_coeff                                                */
    SK_PPO_COEF_ENTROPY,    /* entropy_coeff                                                */
    SK_PPO_COEF_KL,         /* kl_coeff                                                     */
    SK_PPO_COEF_ADV_MEAN,   /* subtracted from advantages                                   */
    SK_PPO_COEF_ADV_SCALE,  /* multiplies them                                              */
    SK_PPO_COEF_INV_WEIGHT, /* 1 / sum of the minibatch's weights                           */
    SK_PPO_COEF_N
} sk_ppo_coef;

/* Tensors of a PPO loss; each (B x 1) except dist (B x 2: log-prob, entropy). */
typedef struct sk_ppo_loss_in {
    sk_tensor dist, value;                      /* of the policy being trained             */
    sk_tensor logp_old, value_old, advantage, value_target, weight; /* no gradient         */
    sk_tensor coef;                             /* CONST (1 x SK_PPO_COEF_N)               */
} sk_ppo_loss_in;

enum { SK_GRAPH_MAX_IN = 8, SK_GRAPH_MAX_NODES = 256, SK_GRAPH_GROUPS = 4, SK_PAD = 16 };

typedef struct sk_node {
    sk_op     op;
    int       kind;  /* sk_unary or sk_binary; LINEAR: the activation; SUM: 1 = mean; DUELING: n */
    sk_scope  scope;
    int       rows;  /* PARAM; 1 for CONST and SUM; 0 = the batch                              */
    int       cols;
    int       ld;    /* floats from row to row: cols for INPUT and TABLE, 1 if cols == 1, else
                        cols rounded up to SK_PAD (the padding is always zero)                 */
    int       n_in;
    sk_tensor in[SK_GRAPH_MAX_IN];
    float     a, b;  /* numbers of the op                                                     */
    int       offset;        /* SLICE: first column; PARAM: floats from the start of its group's buffer */
    int       group;         /* PARAM                                                          */
    int       needs_grad;    /* a parameter is upstream                                       */
    int       is_output;     /* kept for the caller: storage for the whole batch              */
    char      name[48];
} sk_node;

SK_NODISCARD sk_status sk_graph_create(sk_graph **ret_graph, sk_error *reterr);
void                   sk_graph_destroy(sk_graph **self_p);

/* Leaves. Names are for messages and files. */
sk_tensor sk_graph_input(sk_graph *g, const char *name, int cols);            /* ROWS, bound by the caller; ld = cols */
sk_tensor sk_graph_table(sk_graph *g, const char *name, int cols);            /* bound by the caller; ld = cols       */
sk_tensor sk_graph_const(sk_graph *g, const char *name, int cols);            /* bound by the caller                  */
/* The group that sk_graph_param uses from now on: 0 at first, less than SK_GRAPH_GROUPS. */
void      sk_graph_use_group(sk_graph *g, int group);
/* Next in the buffer of the group in use; a name that the group has already, with the same shape, is the same weight
 * again: a network can be applied to several inputs. Layout is by order of first mention, so two graphs that mention
 * the same weights in the same order can share a buffer, whichever group it is in each of them. */
sk_tensor sk_graph_param(sk_graph *g, const char *name, int rows, int cols);

sk_tensor sk_graph_gather(sk_graph *g, sk_tensor table, sk_tensor index); /* index: INPUT (B x 1) of int32 */
/* act(x W + b): x ROWS (B x k), W PARAM (k x n), b PARAM (1 x n) or SK_NO_TENSOR. */
#define SK_NO_TENSOR ((sk_tensor)-2)
sk_tensor sk_graph_linear(sk_graph *g, sk_tensor x, sk_tensor w, sk_tensor b, sk_unary act);
sk_tensor sk_graph_unary(sk_graph *g, sk_unary kind, sk_tensor x);
sk_tensor sk_graph_affine(sk_graph *g, sk_tensor x, float a, float b); /* a x + b */
sk_tensor sk_graph_clip(sk_graph *g, sk_tensor x, float low, float high);
sk_tensor sk_graph_huber(sk_graph *g, sk_tensor x, float delta); /* Huber 1964; delta > 0 */
/* x ROWS; y ROWS of the same cols, or PARAM / CONST (1 x cols) for every row, or ROWS (B x 1) for every column: a
 * number per row, as in r + discount * theta'. */
sk_tensor sk_graph_binary(sk_graph *g, sk_binary kind, sk_tensor x, sk_tensor y);
sk_tensor sk_graph_softmax(sk_graph *g, sk_tensor x);
sk_tensor sk_graph_log_softmax(sk_graph *g, sk_tensor x);
sk_tensor sk_graph_pick(sk_graph *g, sk_tensor x, sk_tensor index); /* index: (B x 1) of int32 */
sk_tensor sk_graph_row_sum(sk_graph *g, sk_tensor x);
sk_tensor sk_graph_sum(sk_graph *g, sk_tensor x);  /* SUM (1 x cols) */
sk_tensor sk_graph_mean(sk_graph *g, sk_tensor x); /* the same / B    */
sk_tensor sk_graph_concat(sk_graph *g, sk_tensor x, sk_tensor y);
sk_tensor sk_graph_slice(sk_graph *g, sk_tensor x, int first_col, int cols);
/* (x - mean) / sqrt(var + 1e-5) * gamma + beta, by row (Ba 2016); gamma, beta PARAM (1 x cols). */
sk_tensor sk_graph_layer_norm(sk_graph *g, sk_tensor x, sk_tensor gamma, sk_tensor beta);
sk_tensor sk_graph_stop_gradient(sk_graph *g, sk_tensor x);
/* clip((x - mean) * inv_std, -limit, limit); mean, inv_std CONST. No gradient flows to x. */
sk_tensor sk_graph_normalize(sk_graph *g, sk_tensor x, sk_tensor mean, sk_tensor inv_std, float limit);

/* Columns of one kind in a raw row: floats, or int32 numbers in [low, low + choices). */
typedef struct sk_encode_run {
    int cols;
    int choices; /* 0 = floats */
    int low;
} sk_encode_run;
/* What a network reads of raw rows (B x sum of cols), run by run: floats, normalised as above unless mean and inv_std
 * (CONST of x's columns) are SK_NO_TENSOR, and each integer as `choices` columns of which one is 1 (none, if it is out of
 * range). No gradient flows to x. */
sk_tensor sk_graph_encode(sk_graph *g, sk_tensor x, const sk_encode_run *runs, int n_runs, sk_tensor mean,
                          sk_tensor inv_std, float limit);

/* Discrete actions: `parts` consecutive groups of logits of `part_n` choices; action: (B x n_parts) int32
 * counted from 0; mask: (B x cols) of 0/1 floats or SK_NO_TENSOR: a masked logit becomes SK_MASKED_LOGIT.
 * Result (B x 2): sum over parts of log-prob and of entropy. */
#define SK_MASKED_LOGIT (-1e9f)
sk_tensor sk_graph_categorical(sk_graph *g, sk_tensor logits, sk_tensor action, sk_tensor mask, const int *part_n,
                               int n_parts);
/* Diagonal Gaussian: mean, log_std ROWS or log_std PARAM (1 x cols); action (B x cols). log_std is used as
 * clamped to [-20, 2] (gradient passes inside). Result (B x 2): log-prob and entropy, summed over columns. */
sk_tensor sk_graph_gaussian(sk_graph *g, sk_tensor mean, sk_tensor log_std, sk_tensor action);
/* Actions from noise, so that drawing is a pure function too. Categorical: noise (B x n_parts) uniform in [0, 1) picks
 * by the cumulative distribution, negative noise takes the most probable choice; a masked choice is never taken while
 * another is allowed. Gaussian: noise (B x cols) standard normal; 0 gives the mean. No gradient. */
sk_tensor sk_graph_sample_categorical(sk_graph *g, sk_tensor logits, sk_tensor noise, sk_tensor mask, const int *part_n,
                                      int n_parts);
sk_tensor sk_graph_sample_gaussian(sk_graph *g, sk_tensor mean, sk_tensor log_std, sk_tensor noise);
/* An action tanh(mean + exp(log_std) * noise) and its log-probability in [-1, 1] (Haarnoja et al. 2018, appendix C),
 * by the stable form log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2 u)). mean ROWS, log_std ROWS or PARAM (1 x cols),
 * used as clamped to [-20, 2]; noise ROWS standard normal, no gradient. Result (B x cols + 1): action, log-prob;
 * gradients of both flow to mean and log_std (the reparameterised ones). */
sk_tensor sk_graph_squashed_gaussian(sk_graph *g, sk_tensor mean, sk_tensor log_std, sk_tensor noise);
/* State-dependent exploration (Raffin et al. 2021): the noise of an action is x E with E ~ N(0, exp(log_std)^2), so its
 * log-deviation is 1/2 log(x^2 exp(log_std)^2 + 1e-6) (B x cols). x ROWS (B x k) features, no gradient to them (SB3's
 * learn_features = False); log_std PARAM (k x cols), used as clamped to [-20, 2]. */
sk_tensor sk_graph_sde_log_std(sk_graph *g, sk_tensor x, sk_tensor log_std);
/* mean + x (exp(log_std) * eps), the action of such a draw; eps ROWS (B x k * cols) standard normals, row-major
 * k x cols, each row its own. No gradient. */
sk_tensor sk_graph_sde_sample(sk_graph *g, sk_tensor mean, sk_tensor x, sk_tensor log_std, sk_tensor eps);
/* Schulman et al. 2017 eq. 7-9 with value clipping and a KL penalty. Result: SUM (1 x SK_PPO_N). */
sk_tensor sk_graph_ppo_loss(sk_graph *g, const sk_ppo_loss_in *in);

/* ---- Value-based learning. n actions with K numbers each (1, or the atoms or quantiles of a return's distribution)
 * are n K columns, action by action: number k of action a is column a K + k. ---- */

/* V[k] + A[a, k] - mean over a of A[a, k]  (Wang et al. 2016, eq. 9): value (B x K), advantage (B x n K). */
sk_tensor sk_graph_dueling(sk_graph *g, sk_tensor value, sk_tensor advantage, int n);
/* Which column of q (B x n) is greatest: (B x 1) int32, the first of equals. mask: (B x n) of 0/1 floats or
 * SK_NO_TENSOR; a masked choice is never taken while another is allowed, NaN never while there is a number. No
 * gradient. */
sk_tensor sk_graph_argmax(sk_graph *g, sk_tensor q, sk_tensor mask);
/* The K columns of x (B x n K) that belong to the action: (B x 1) int32 in [0, n), an INPUT, gathered, or an ARGMAX. */
sk_tensor sk_graph_take(sk_graph *g, sk_tensor x, sk_tensor action, int k);
/* Mean of each action's columns: (B x n). */
sk_tensor sk_graph_group_mean(sk_graph *g, sk_tensor x, int n);
/* C51 (Bellemare et al. 2017): a return's distribution over K >= 2 atoms, evenly from v_min to v_max, by the softmax of
 * K logits. Expected values (B x n) of logits (B x n K). No gradient. */
sk_tensor sk_graph_atom_mean(sk_graph *g, sk_tensor logits, int n, float v_min, float v_max);
/* The distribution of reward + discount * z' projected onto the atoms (algorithm 1): next_logits (B x K) of the action
 * taken next; reward, discount (B x 1), the discount 0 where an episode ends. Result (B x K): rows sum to 1. No
 * gradient. */
sk_tensor sk_graph_c51_target(sk_graph *g, sk_tensor next_logits, sk_tensor reward, sk_tensor discount, float v_min,
                              float v_max);
/* - sum over k of target[k] log softmax(logits)[k]: (B x 1); target (B x K) probabilities, no gradient. */
sk_tensor sk_graph_cross_entropy(sk_graph *g, sk_tensor logits, sk_tensor target);
/* Quantile regression (Dabney et al. 2018, eq. 10): sum over i of mean over j of |tau_i - 1{u < 0}| H(u) with
 * u = target[j] - theta[i], tau_i = (2 i + 1) / (2 K) and H Huber's function with delta = kappa; |u| if kappa is 0.
 * theta (B x K), target (B x any) samples, no gradient. Result (B x 1). */
sk_tensor sk_graph_quantile_huber(sk_graph *g, sk_tensor theta, sk_tensor target, float kappa);

/* Keep a ROWS tensor's values for the caller (see sk_plan_output). */
void sk_graph_output(sk_graph *g, sk_tensor x);
/* Minimise coef times column 0 of a SUM tensor; several add up. */
void sk_graph_minimize(sk_graph *g, sk_tensor sum, float coef);

/* Check and close. SK_EINVAL with the first error made while building. */
SK_NODISCARD sk_status sk_graph_finish(sk_graph *g, sk_error *reterr);

/* Reading a graph. */
int            sk_graph_n_nodes(const sk_graph *g);
const sk_node *sk_graph_node(const sk_graph *g, sk_tensor t);       /* Borrowed until destroy. */
const int     *sk_graph_parts(const sk_graph *g, sk_tensor t, int *ret_n); /* groups of (SAMPLE_)CATEGORICAL */
const sk_encode_run *sk_graph_runs(const sk_graph *g, sk_tensor t, int *ret_n); /* of ENCODE */
/* Are the rows of `t` so empty (one-hot integers) that a layer had better add up the few rows of W that count? The order
 * of the sum is then bias, columns from left to right, multiplied and added in two roundings. */
int            sk_graph_is_sparse(const sk_graph *g, sk_tensor t);
float          sk_graph_loss_coef(const sk_graph *g, sk_tensor t);  /* 0 = not minimised */
size_t         sk_graph_param_floats(const sk_graph *g);            /* of group 0, padding included          */
size_t         sk_graph_group_floats(const sk_graph *g, int group); /* likewise; 0 = nothing in it           */
/* The parameter of group 0 called `name`, or -1. */
sk_tensor      sk_graph_find_param(const sk_graph *g, const char *name);

#endif
