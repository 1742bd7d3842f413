/* plan: a graph laid out on a device, ready to run without allocating. A *device* owns kernels and memory; a
 * *buffer* is memory that both sides see: the caller writes its host side and pushes, or pulls and reads. On the
 * CPU the two sides are one and push and pull do nothing; code above never relies on that.
 *
 * Batches run in fixed blocks of rows; gradients are summed per *slot* (a fixed group of blocks) and the slots
 * in order, so results do not depend on the number of threads. A row's forward values do not depend on the
 * batch it is in. What leads to no output and no sum is not computed, and its inputs need not be bound.
 *
 * Threads: a device may be shared; a plan and its buffers belong to one thread at a time. */
#ifndef SK_NN_PLAN_H
#define SK_NN_PLAN_H
#include "nn/graph.h"

typedef struct sk_device sk_device;
typedef struct sk_buffer sk_buffer;
typedef struct sk_plan   sk_plan;
typedef struct sk_adam   sk_adam;

/* The CPU with a team of n_threads (>= 1, this one included). Caller destroys, after all plans and buffers. */
SK_NODISCARD sk_status sk_device_create_cpu(int n_threads, sk_device **ret_dev, sk_error *reterr);
void        sk_device_destroy(sk_device **self_p);
/* "cpu x86-64-v4": what computes, for version texts, bench rows and checkpoints. */
const char *sk_device_name(const sk_device *self);

/* Zeroed memory. Caller destroys. */
SK_NODISCARD sk_status sk_buffer_create(sk_device *dev, size_t bytes, sk_buffer **ret_buf, sk_error *reterr);
/* A buffer whose host side is the caller's memory (64-byte aligned), which must outlive it. */
SK_NODISCARD sk_status sk_buffer_wrap(sk_device *dev, void *host, size_t bytes, sk_buffer **ret_buf, sk_error *reterr);
void  sk_buffer_destroy(sk_buffer **self_p);
void *sk_buffer_host(sk_buffer *self);
void  sk_buffer_push(sk_buffer *self); /* host -> device */
void  sk_buffer_pull(sk_buffer *self); /* device -> host; waits for work that writes it */

typedef struct sk_plan_params {
    int max_rows;   /* of any run                                                              */
    int block_rows; /* 0 = the device's choice (64 on the CPU)                                 */
    int n_slots;    /* gradient sums kept apart; 0 = 4. Changes rounding: part of the algorithm */
    int backward;   /* 1 = sk_plan_train will be used                                          */
} sk_plan_params;

/* Lay out a finished graph, which must outlive the plan. `params` holds sk_graph_param_floats. Caller destroys. */
SK_NODISCARD sk_status sk_plan_create(sk_device *dev, const sk_graph *graph, sk_buffer *params,
                                      const sk_plan_params *how, sk_plan **ret_plan, sk_error *reterr);
void sk_plan_destroy(sk_plan **self_p);
/* Where an INPUT, TABLE or CONST lies: `bytes_offset` into a buffer. Cheap; rebind at will between runs. */
void sk_plan_bind(sk_plan *self, sk_tensor t, sk_buffer *buf, size_t bytes_offset);
/* The buffer of parameter group `group` >= 1 (sk_graph_group_floats), read in place; it must outlive the plan's runs.
 * To run a graph that reads a group which is not bound is a mistake (SK_ASSERT). */
void sk_plan_bind_group(sk_plan *self, int group, sk_buffer *params);
/* An INPUT straight from host memory for this run (the CPU reads it in place; others copy). */
void sk_plan_bind_host(sk_plan *self, sk_tensor t, const void *host);

/* Forward only, first `rows` rows of the inputs. */
void sk_plan_forward(sk_plan *self, int rows);
/* Values of an output tensor after a run: (rows x ld), ld = sk_graph_node()->ld. Host memory, borrowed until the
 * next run. */
const float *sk_plan_output(sk_plan *self, sk_tensor t);
/* Values of a SUM tensor after a run (cols doubles). Borrowed until the next run. */
const double *sk_plan_sum(sk_plan *self, sk_tensor t);
/* Forward and backward; gradients are left in the plan (see sk_plan_grad). */
void sk_plan_backward(sk_plan *self, int rows);
/* The flat gradient, laid out like the parameters. Host memory, borrowed until the next run. */
const float *sk_plan_grad(sk_plan *self);

/* Adam (Kingma & Ba 2015) over the flat parameters. State: step count, m, v. Caller destroys. */
typedef struct sk_adam_params {
    float beta1, beta2, eps; /* 0.9, 0.999, 1e-5 (baselines' PPO; PyTorch's default is 1e-8) */
} sk_adam_params;
SK_NODISCARD sk_status sk_adam_create(sk_device *dev, sk_buffer *params, size_t n_floats, const sk_adam_params *how,
                                      sk_adam **ret_adam, sk_error *reterr);
void       sk_adam_destroy(sk_adam **self_p);
sk_buffer *sk_adam_moments(sk_adam *self); /* m then v, 2 x n_floats; for checkpoints. Borrowed. */
int64_t    sk_adam_n_steps(const sk_adam *self);
void       sk_adam_set_n_steps(sk_adam *self, int64_t n_steps);

/* target += tau (source - target), over n_floats: a target network that follows slowly (Lillicrap et al. 2016). tau 1
 * copies the bits. */
void sk_device_polyak(sk_device *dev, sk_buffer *target, const sk_buffer *source, size_t n_floats, double tau);

/* Forward, backward, clip the global gradient norm to max_norm (<= 0: no clipping), one Adam step, as one
 * launch. Returns the gradient norm before clipping; when it is not finite the step is left out. */
double sk_plan_train(sk_plan *self, int rows, sk_adam *adam, double lr, double max_norm);

#endif
