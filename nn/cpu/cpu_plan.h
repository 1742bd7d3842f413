/* cpu_plan: how the CPU lays out a graph. Only nn/cpu includes this.
 *
 * A batch is cut into blocks of `block_rows` rows. A member of the team takes a block through the whole graph,
 * forward and backward, in its own workspace that fits its cache; parameter gradients and sums go to the block's
 * slot. Nothing is allocated after create. */
#ifndef SK_NN_CPU_CPU_PLAN_H
#define SK_NN_CPU_CPU_PLAN_H
#include "nn/cpu/kernels.h"
#include "nn/cpu/team.h"
#include "nn/device.h"

typedef struct cpu_device {
    sk_device         base;
    const sk_kernels *kernels;
    sk_team          *team;
} cpu_device;

/* One member's workspace: where each node's rows of the present block lie. */
typedef struct cpu_worker {
    float **value; /* per node; INPUT and outputs move with the block */
    float **grad;  /* per node that needs a gradient, else NULL       */
    float  *scratch;
} cpu_worker;

enum { CHUNK_FLOATS = 2048 }; /* of parameters: unit of work when gradients are reduced */

typedef struct cpu_plan {
    sk_plan           base;
    const sk_kernels *k;
    sk_team          *team;
    int               n_nodes, n_workers, block_rows, n_slots, max_blocks;
    size_t            n_params;
    const float      *group[SK_GRAPH_GROUPS];      /* where each group's parameters lie; NULL = not bound */
    uint8_t           reads_group[SK_GRAPH_GROUPS]; /* 1 = a wanted node does                              */
    float            *params;    /* group 0                                                */
    const float     **bound;     /* per node: INPUT, TABLE, CONST                          */
    float           **full;      /* per node: outputs, (max_rows x ld)                     */
    float           **packed;    /* per weight of a LINEAR that passes a gradient on: W^T  */
    sk_tensor        *pack_list; /* (n_packed) those weights                               */
    int               n_packed;
    uint8_t          *wanted;    /* per node: an output or a sum depends on it             */
    sk_tensor        *steps;     /* (n_steps) wanted nodes that compute, in order          */
    int               n_steps;
    int              *live;      /* per node: a gradient arrives                           */
    uint8_t (*adds)[SK_GRAPH_MAX_IN]; /* per node and input: 1 = gradient is += , 0 = "="  */
    int              *sum_at;    /* per SUM node: first column in sums                     */
    int               n_sums;    /* columns of all SUM nodes                               */
    double           *slot_sums; /* (n_slots x n_sums)                                     */
    double           *sums;      /* (n_sums)                                               */
    float            *slot_grad; /* (n_slots x n_params)                                   */
    float            *grad;      /* (n_params)                                             */
    double           *chunk_norm;
    int               n_chunks;
    cpu_worker       *workers;
    size_t           *value_at, *grad_at, scratch_at; /* offsets in a workspace [floats]     */
    ptrdiff_t         half_scratch; /* floats of each of the two halves of the scratch, each as large as any
                                       node's rows; behind them lie tables of state-dependent exploration */
    size_t            worker_floats;
    float            *workspace; /* (n_workers x worker_floats)                            */
    struct sk_arena  *memory;    /* all float and double arrays above                      */

    /* of the present run */
    int          rows, n_used_slots, n_blocks, with_grad;
    double       grad_norm;
    sk_adam_step step; /* of all parameters; an item takes its chunk */
} cpu_plan;

/* A block on its way through the graph. */
typedef struct cpu_block {
    cpu_plan   *plan;
    cpu_worker *w;
    int         row0, rows, first_in_slot;
    float      *slot_grad;
    double     *slot_sums;
} cpu_block;

void sk__cpu_forward(const cpu_block *b);
void sk__cpu_backward(const cpu_block *b);

/* The plan's part of the device table (cpu_plan.c); device and buffers are in cpu_device.c. */
sk_status     sk__cpu_plan_create(sk_device *dev, const sk_graph *graph, sk_buffer *params, const sk_plan_params *how,
                                  sk_plan **ret_plan, sk_error *reterr);
void          sk__cpu_plan_destroy(sk_plan *plan);
void          sk__cpu_plan_bind(sk_plan *plan, sk_tensor t, sk_buffer *buf, size_t bytes_offset);
void          sk__cpu_plan_bind_group(sk_plan *plan, int group, sk_buffer *params);
void          sk__cpu_plan_bind_host(sk_plan *plan, sk_tensor t, const void *host);
void          sk__cpu_plan_forward(sk_plan *plan, int rows);
void          sk__cpu_plan_backward(sk_plan *plan, int rows);
double        sk__cpu_plan_train(sk_plan *plan, int rows, sk_adam *adam, double lr, double max_norm);
const float  *sk__cpu_plan_output(sk_plan *plan, sk_tensor t);
const double *sk__cpu_plan_sum(sk_plan *plan, sk_tensor t);
const float  *sk__cpu_plan_grad(sk_plan *plan);

#endif
