#include "nn/cpu/cpu_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void destroy(sk_device *dev) {
    cpu_device *self = (cpu_device *)dev;
    sk_team_destroy(&self->team);
    free(self);
}

static sk_status buffer_create(sk_device *dev, void *host, size_t bytes, sk_buffer **ret_buf, sk_error *reterr) {
    sk_buffer *buf = calloc(1, sizeof *buf);
    if (!buf) return SK_FAIL(reterr, SK_ENOMEM, "buffer: no memory");
    *buf = (sk_buffer){.dev = dev, .host = host, .bytes = bytes, .owns_host = !host};
    if (!host) {
        size_t padded = (bytes + 127) / 64 * 64; /* kernels may read to the end of a cache line */
        buf->host = aligned_alloc(64, padded);
        if (!buf->host) {
            free(buf);
            return SK_FAIL(reterr, SK_ENOMEM, "buffer: no memory for %zu bytes", bytes);
        }
        memset(buf->host, 0, padded);
    }
    *ret_buf = buf;
    return SK_OK;
}

static void buffer_destroy(sk_buffer *buf) {
    if (buf->owns_host) free(buf->host);
    free(buf);
}

/* Host and device are one here. */
static void buffer_sync(sk_buffer *buf) { (void)buf; }

enum { POLYAK_FLOATS = 16384 }; /* unit of work, unless that makes too many */

typedef struct polyak_job {
    const sk_kernels *k;
    float            *target;
    const float      *source;
    size_t            n, chunk;
    float             tau;
} polyak_job;

static void polyak_item(void *arg, int item, int member) {
    const polyak_job *job = arg;
    size_t            at = (size_t)item * job->chunk, n = job->n - at < job->chunk ? job->n - at : job->chunk;
    (void)member;
    if (job->tau == 1.0f) memcpy(job->target + at, job->source + at, n * sizeof(float));
    else job->k->polyak(job->tau, job->source + at, job->target + at, n);
}

static void polyak(sk_device *dev, sk_buffer *target, const sk_buffer *source, size_t n_floats, double tau) {
    cpu_device *self = (cpu_device *)dev;
    size_t      chunk = POLYAK_FLOATS;
    while (n_floats / chunk >= SK_TEAM_ITEMS_MAX) chunk *= 2;
    polyak_job job = {.k = self->kernels, .target = target->host, .source = source->host, .n = n_floats,
                      .chunk = chunk, .tau = (float)tau};
    sk_team_run(self->team, (int)((n_floats + chunk - 1) / chunk), polyak_item, &job);
}

static const sk_device_ops cpu_ops = {
    .destroy = destroy,
    .polyak = polyak,
    .buffer_create = buffer_create,
    .buffer_destroy = buffer_destroy,
    .buffer_push = buffer_sync,
    .buffer_pull = buffer_sync,
    .plan_create = sk__cpu_plan_create,
    .plan_destroy = sk__cpu_plan_destroy,
    .plan_bind = sk__cpu_plan_bind,
    .plan_bind_group = sk__cpu_plan_bind_group,
    .plan_bind_host = sk__cpu_plan_bind_host,
    .plan_forward = sk__cpu_plan_forward,
    .plan_backward = sk__cpu_plan_backward,
    .plan_train = sk__cpu_plan_train,
    .plan_output = sk__cpu_plan_output,
    .plan_sum = sk__cpu_plan_sum,
    .plan_grad = sk__cpu_plan_grad,
};

sk_status sk_device_create_cpu(int n_threads, sk_device **ret_dev, sk_error *reterr) {
    const sk_kernels *kernels = sk_kernels_get();
    if (!kernels) return SK_FAIL(reterr, SK_EUNSUPPORTED, "cpu: skiff needs at least x86-64-v2 (SSE4.2)");
    cpu_device *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "cpu: no memory");
    self->base.ops = &cpu_ops;
    self->kernels = kernels;
    snprintf(self->base.name, sizeof self->base.name, "cpu %s", kernels->level);
    sk_status status = sk_team_create(n_threads, &self->team, reterr);
    if (status != SK_OK) {
        free(self);
        return status;
    }
    *ret_dev = &self->base;
    return SK_OK;
}
