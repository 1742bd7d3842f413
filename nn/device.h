/* device: what a backend gives the layer above (nn/plan.h); one const table per backend. Only nn includes this. */
#ifndef SK_NN_DEVICE_H
#define SK_NN_DEVICE_H
#include "nn/plan.h"

typedef struct sk_device_ops {
    void (*destroy)(sk_device *dev);
    /* host NULL: allocate both sides, zeroed; else the host side is the caller's */
    sk_status (*buffer_create)(sk_device *dev, void *host, size_t bytes, sk_buffer **ret_buf, sk_error *reterr);
    void (*buffer_destroy)(sk_buffer *buf);
    void (*buffer_push)(sk_buffer *buf);
    void (*buffer_pull)(sk_buffer *buf);
    void (*polyak)(sk_device *dev, sk_buffer *target, const sk_buffer *source, size_t n_floats, double tau);
    sk_status (*plan_create)(sk_device *dev, const sk_graph *graph, sk_buffer *params, const sk_plan_params *how,
                             sk_plan **ret_plan, sk_error *reterr);
    void (*plan_destroy)(sk_plan *plan);
    void (*plan_bind)(sk_plan *plan, sk_tensor t, sk_buffer *buf, size_t bytes_offset);
    void (*plan_bind_group)(sk_plan *plan, int group, sk_buffer *params);
    void (*plan_bind_host)(sk_plan *plan, sk_tensor t, const void *host);
    void (*plan_forward)(sk_plan *plan, int rows);
    void (*plan_backward)(sk_plan *plan, int rows);
    double (*plan_train)(sk_plan *plan, int rows, sk_adam *adam, double lr, double max_norm);
    const float *(*plan_output)(sk_plan *plan, sk_tensor t);
    const double *(*plan_sum)(sk_plan *plan, sk_tensor t);
    const float *(*plan_grad)(sk_plan *plan);
} sk_device_ops;

struct sk_device {
    const sk_device_ops *ops;
    char                 name[64];
};

struct sk_buffer {
    sk_device *dev;
    void      *host;
    size_t     bytes;
    int        owns_host;
};

struct sk_plan {
    sk_device      *dev;
    const sk_graph *graph;
    sk_plan_params  how;
};

struct sk_adam {
    sk_device     *dev;
    sk_buffer     *params, *moments;
    size_t         n_floats;
    sk_adam_params how;
    int64_t        n_steps;
};

#endif
