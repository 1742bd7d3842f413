#include "nn/plan.h"

#include "nn/device.h"

#include <stdlib.h>

void sk_device_destroy(sk_device **self_p) {
    if (!self_p || !*self_p) return;
    (*self_p)->ops->destroy(*self_p);
    *self_p = NULL;
}

const char *sk_device_name(const sk_device *self) { return self->name; }

sk_status sk_buffer_create(sk_device *dev, size_t bytes, sk_buffer **ret_buf, sk_error *reterr) {
    return dev->ops->buffer_create(dev, NULL, bytes, ret_buf, reterr);
}

sk_status sk_buffer_wrap(sk_device *dev, void *host, size_t bytes, sk_buffer **ret_buf, sk_error *reterr) {
    SK_ASSERT(host && (uintptr_t)host % 64 == 0);
    return dev->ops->buffer_create(dev, host, bytes, ret_buf, reterr);
}

void sk_buffer_destroy(sk_buffer **self_p) {
    if (!self_p || !*self_p) return;
    (*self_p)->dev->ops->buffer_destroy(*self_p);
    *self_p = NULL;
}

void *sk_buffer_host(sk_buffer *self) { return self->host; }
void  sk_buffer_push(sk_buffer *self) { self->dev->ops->buffer_push(self); }
void  sk_buffer_pull(sk_buffer *self) { self->dev->ops->buffer_pull(self); }

sk_status sk_plan_create(sk_device *dev, const sk_graph *graph, sk_buffer *params, const sk_plan_params *how,
                         sk_plan **ret_plan, sk_error *reterr) {
    if (how->max_rows <= 0) return SK_FAIL(reterr, SK_EINVAL, "plan: max_rows must be > 0, got %d", how->max_rows);
    size_t bytes = sk_graph_param_floats(graph) * sizeof(float);
    if (bytes && (!params || params->bytes < bytes))
        return SK_FAIL(reterr, SK_EINVAL, "plan: the graph has %zu bytes of parameters, the buffer %zu", bytes,
                       params ? params->bytes : 0);
    return dev->ops->plan_create(dev, graph, params, how, ret_plan, reterr);
}

void sk_plan_destroy(sk_plan **self_p) {
    if (!self_p || !*self_p) return;
    (*self_p)->dev->ops->plan_destroy(*self_p);
    *self_p = NULL;
}

void sk_plan_bind(sk_plan *self, sk_tensor t, sk_buffer *buf, size_t bytes_offset) {
    SK_ASSERT(bytes_offset <= buf->bytes);
    self->dev->ops->plan_bind(self, t, buf, bytes_offset);
}
void sk_plan_bind_group(sk_plan *self, int group, sk_buffer *params) {
    SK_ASSERT(group >= 1 && group < SK_GRAPH_GROUPS);
    SK_ASSERT(params->bytes >= sk_graph_group_floats(self->graph, group) * sizeof(float));
    self->dev->ops->plan_bind_group(self, group, params);
}
void sk_plan_bind_host(sk_plan *self, sk_tensor t, const void *host) {
    self->dev->ops->plan_bind_host(self, t, host);
}

void sk_plan_forward(sk_plan *self, int rows) {
    SK_ASSERT(rows > 0 && rows <= self->how.max_rows);
    self->dev->ops->plan_forward(self, rows);
}
void sk_plan_backward(sk_plan *self, int rows) {
    SK_ASSERT(rows > 0 && rows <= self->how.max_rows && self->how.backward);
    self->dev->ops->plan_backward(self, rows);
}
double sk_plan_train(sk_plan *self, int rows, sk_adam *adam, double lr, double max_norm) {
    SK_ASSERT(rows > 0 && rows <= self->how.max_rows && self->how.backward);
    return self->dev->ops->plan_train(self, rows, adam, lr, max_norm);
}
const float  *sk_plan_output(sk_plan *self, sk_tensor t) { return self->dev->ops->plan_output(self, t); }
const double *sk_plan_sum(sk_plan *self, sk_tensor t) { return self->dev->ops->plan_sum(self, t); }
const float  *sk_plan_grad(sk_plan *self) { return self->dev->ops->plan_grad(self); }

sk_status sk_adam_create(sk_device *dev, sk_buffer *params, size_t n_floats, const sk_adam_params *how,
                         sk_adam **ret_adam, sk_error *reterr) {
    if (params->bytes < n_floats * sizeof(float))
        return SK_FAIL(reterr, SK_EINVAL, "adam: %zu parameters, but a buffer of %zu bytes", n_floats, params->bytes);
    sk_adam *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "adam: no memory");
    *self = (sk_adam){.dev = dev, .params = params, .n_floats = n_floats, .how = *how};
    sk_status status = sk_buffer_create(dev, 2 * n_floats * sizeof(float), &self->moments, reterr);
    if (status != SK_OK) {
        free(self);
        return status;
    }
    *ret_adam = self;
    return SK_OK;
}

void sk_adam_destroy(sk_adam **self_p) {
    if (!self_p || !*self_p) return;
    sk_buffer_destroy(&(*self_p)->moments);
    free(*self_p);
    *self_p = NULL;
}

void sk_device_polyak(sk_device *dev, sk_buffer *target, const sk_buffer *source, size_t n_floats, double tau) {
    SK_ASSERT(target->bytes >= n_floats * sizeof(float) && source->bytes >= n_floats * sizeof(float));
    dev->ops->polyak(dev, target, source, n_floats, tau);
}

sk_buffer *sk_adam_moments(sk_adam *self) { return self->moments; }
int64_t    sk_adam_n_steps(const sk_adam *self) { return self->n_steps; }
void       sk_adam_set_n_steps(sk_adam *self, int64_t n_steps) { self->n_steps = n_steps; }
