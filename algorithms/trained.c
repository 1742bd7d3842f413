#include "algorithms/trained.h"

#include "core/base/rng.h"

#include <stdio.h>
#include <string.h>

sk_status sk_trained_begin(sk_trained *self, sk_error *reterr) {
    *self = (sk_trained){0};
    return sk_graph_create(&self->graph, reterr);
}

sk_status sk_trained_finish(sk_trained *self, const sk_algorithm_context *x, const sk_net *net, sk_buffer *params,
                            double adam_epsilon, sk_error *reterr) {
    SK_TRY(sk_graph_finish(self->graph, reterr));
    size_t n_floats = sk_graph_param_floats(self->graph);
    self->params = params;
    if (!params) {
        SK_TRY(sk_buffer_create(x->device, n_floats * sizeof(float), &self->params, reterr));
        self->owns_params = 1;
    }
    int rows = x->shape.n_rows, half = (rows / 2 + SK_PAD - 1) / SK_PAD * SK_PAD;
    /* a small batch in two blocks, so that two threads have work; a function of its size alone, as the rounding is */
    sk_plan_params how = {.max_rows = rows, .backward = 1, .block_rows = rows < 128 && rows > SK_PAD ? half : 0};
    SK_TRY(sk_plan_create(x->device, self->graph, self->params, &how, &self->plan, reterr));
    sk_adam_params adam = {.beta1 = 0.9f, .beta2 = 0.999f, .eps = (float)adam_epsilon};
    SK_TRY(sk_adam_create(x->device, self->params, n_floats, &adam, &self->adam, reterr));
    if (net->obs_mean == SK_NO_TENSOR) return SK_OK;
    self->padded_obs = (x->shape.obs_dim + SK_PAD - 1) / SK_PAD * SK_PAD;
    size_t bytes = (size_t)self->padded_obs * sizeof(float);
    SK_TRY(sk_buffer_create(x->device, 2 * bytes, &self->constants, reterr));
    sk_plan_bind(self->plan, net->obs_mean, self->constants, 0);
    sk_plan_bind(self->plan, net->obs_inv_std, self->constants, bytes);
    return SK_OK;
}

void sk_trained_deinit(sk_trained *self) {
    sk_plan_destroy(&self->plan);
    sk_adam_destroy(&self->adam);
    sk_graph_destroy(&self->graph);
    sk_buffer_destroy(&self->constants);
    if (self->owns_params) sk_buffer_destroy(&self->params);
    *self = (sk_trained){0};
}

void sk_trained_push_constants(sk_trained *self, sk_policy *policy) {
    if (!self->constants) return;
    float *constants = sk_buffer_host(self->constants);
    sk_normalizer_constants(sk_policy_normalizer(policy), constants, constants + self->padded_obs);
    sk_buffer_push(self->constants);
}

sk_status sk_buffer_save(sk_buffer *buf, size_t n_floats, const char *name, sk_pack_writer *writer, sk_error *reterr) {
    sk_buffer_pull(buf);
    return sk_pack_writer_add(writer, name, sk_buffer_host(buf), n_floats * sizeof(float), reterr);
}

sk_status sk_buffer_load(sk_buffer *buf, size_t n_floats, const char *name, const sk_pack *pack, sk_error *reterr) {
    const void *bytes = NULL;
    SK_TRY(sk_pack_section(pack, name, n_floats * sizeof(float), &bytes, NULL, reterr));
    memcpy(sk_buffer_host(buf), bytes, n_floats * sizeof(float));
    sk_buffer_push(buf);
    return SK_OK;
}

sk_status sk_trained_save(sk_trained *self, const char *name, sk_pack_writer *writer, sk_error *reterr) {
    char    text[64];
    int64_t n_steps = sk_adam_n_steps(self->adam);
    size_t  n = sk_graph_param_floats(self->graph);
    snprintf(text, sizeof text, "%s_adam_steps", name);
    SK_TRY(sk_pack_writer_add(writer, text, &n_steps, sizeof n_steps, reterr));
    snprintf(text, sizeof text, "%s_adam", name);
    SK_TRY(sk_buffer_save(sk_adam_moments(self->adam), 2 * n, text, writer, reterr));
    return self->owns_params ? sk_buffer_save(self->params, n, name, writer, reterr) : SK_OK;
}

sk_status sk_trained_load(sk_trained *self, const char *name, const sk_pack *pack, sk_error *reterr) {
    char        text[64];
    int64_t     n_steps = 0;
    const void *bytes = NULL;
    size_t      n = sk_graph_param_floats(self->graph);
    snprintf(text, sizeof text, "%s_adam_steps", name);
    SK_TRY(sk_pack_section(pack, text, sizeof n_steps, &bytes, NULL, reterr));
    memcpy(&n_steps, bytes, sizeof n_steps);
    if (n_steps < 0 || n_steps > INT64_MAX / 2)
        return SK_FAIL(reterr, SK_ECORRUPT, "the checkpoint says %lld updates of \"%s\"", (long long)n_steps, name);
    sk_adam_set_n_steps(self->adam, n_steps);
    snprintf(text, sizeof text, "%s_adam", name);
    SK_TRY(sk_buffer_load(sk_adam_moments(self->adam), 2 * n, text, pack, reterr));
    if (self->owns_params) return sk_buffer_load(self->params, n, name, pack, reterr);
    sk_buffer_push(self->params);
    return SK_OK;
}

sk_columns sk_columns_obs(sk_graph *g, const sk_policy_spaces *s) {
    return (sk_columns){.obs = sk_graph_input(g, "obs", s->obs_dim),
                        .mask = s->mask_size ? sk_graph_input(g, "mask", s->mask_size) : SK_NO_TENSOR,
                        .action = SK_NO_TENSOR, .reward = SK_NO_TENSOR, .next_obs = SK_NO_TENSOR,
                        .next_mask = SK_NO_TENSOR, .discount = SK_NO_TENSOR, .weight = SK_NO_TENSOR};
}

sk_columns sk_columns_all(sk_graph *g, const sk_policy_spaces *s) {
    sk_columns c = sk_columns_obs(g, s);
    c.action = sk_graph_input(g, "action", s->action_slots);
    c.reward = sk_graph_input(g, "reward", 1);
    c.next_obs = sk_graph_input(g, "next_obs", s->obs_dim);
    c.next_mask = s->mask_size ? sk_graph_input(g, "next_mask", s->mask_size) : SK_NO_TENSOR;
    c.discount = sk_graph_input(g, "discount", 1);
    c.weight = sk_graph_input(g, "weight", 1);
    return c;
}

void sk_columns_bind(sk_plan *plan, const sk_columns *c, const sk_batch *b) {
    const struct {
        sk_tensor   t;
        const void *column;
    } all[] = {{c->obs, b->obs},           {c->mask, b->mask},           {c->action, b->action},
               {c->reward, b->reward},     {c->next_obs, b->next_obs},   {c->next_mask, b->next_mask},
               {c->discount, b->discount}, {c->weight, b->weight}};
    for (int i = 0; i < SK_COUNT(all); i++)
        if (all[i].t >= 0) sk_plan_bind_host(plan, all[i].t, all[i].column);
}

void sk_fill_normal(uint64_t seed, uint64_t index, uint64_t counter, float *x, int n) {
    uint64_t stream = sk_stream_id(SK_STREAM_LEARNER, index);
    for (int i = 0; i < n; i += 4) {
        uint32_t words[4];
        float    four[4];
        sk_philox(seed, stream, counter | (uint64_t)(i / 4) << 40, words);
        sk_u32_to_normal2(words[0], words[1], four);
        sk_u32_to_normal2(words[2], words[3], four + 2);
        memcpy(x + i, four, (size_t)(n - i < 4 ? n - i : 4) * sizeof *x);
    }
}
