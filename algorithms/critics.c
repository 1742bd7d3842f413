#include "algorithms/critics.h"

#include "core/base/log.h"

#include <math.h>
#include <stdlib.h>

static const char *const names[SK_CRITICS_MAX] = {"q1", "q2"};

sk_status sk_critics_begin(sk_critics *self, const sk_algorithm_context *x, int n, sk_error *reterr) {
    SK_ASSERT(n >= 1 && n <= SK_CRITICS_MAX);
    *self = (sk_critics){.x = *x, .spaces = sk_policy_spaces_get(x->policy), .n = n};
    self->error = calloc((size_t)x->shape.n_rows, sizeof *self->error);
    if (!self->error) return SK_FAIL(reterr, SK_ENOMEM, "critics: no memory for a batch of %d", x->shape.n_rows);
    SK_TRY(sk_trained_begin(&self->trained, reterr));
    self->in = sk_columns_all(self->trained.graph, self->spaces);
    return SK_OK;
}

/* ---- the graph -------------------------------------------------------------------------------------------- */

static int is_discrete(const sk_critics *self) { return self->spaces->n_parts > 0; }

/* Critic i of the group in use: of box actions, or of every choice. */
static sk_tensor value_of(const sk_critics *self, sk_graph *g, int i, sk_tensor x, sk_tensor action) {
    int discrete = is_discrete(self);
    return sk_net_critic(g, sk_policy_model(self->x.policy), names[i], x, discrete ? SK_NO_TENSOR : action,
                         discrete ? self->spaces->part_n[0] : 1);
}

sk_tensor sk_critics_first(const sk_critics *self, sk_graph *g, sk_tensor x, sk_tensor action) {
    return value_of(self, g, 0, x, action);
}

sk_tensor sk_critics_least(const sk_critics *self, sk_graph *g, sk_tensor x, sk_tensor action) {
    sk_tensor least = value_of(self, g, 0, x, action);
    for (int i = 1; i < self->n; i++) least = sk_graph_binary(g, SK_BINARY_MIN, least, value_of(self, g, i, x, action));
    return least;
}

void sk_critics_minimize(sk_critics *self, sk_tensor x, sk_tensor target, float coef) {
    sk_graph *g = self->trained.graph;
    sk_tensor loss = SK_NO_TENSOR, least = SK_NO_TENSOR;
    sk_graph_use_group(g, SK_CRITICS_OWN);
    for (int i = 0; i < self->n; i++) {
        sk_tensor q = value_of(self, g, i, x, self->in.action);
        if (is_discrete(self)) q = sk_graph_pick(g, q, self->in.action);
        self->td[i] = sk_graph_binary(g, SK_BINARY_SUB, q, target);
        sk_graph_output(g, self->td[i]);
        sk_tensor square = sk_graph_unary(g, SK_UNARY_SQUARE, self->td[i]);
        sk_tensor part = sk_graph_affine(g, sk_graph_binary(g, SK_BINARY_MUL, self->in.weight, square), coef, 0.0f);
        loss = i == 0 ? part : sk_graph_binary(g, SK_BINARY_ADD, loss, part);
        least = i == 0 ? q : sk_graph_binary(g, SK_BINARY_MIN, least, q);
    }
    self->loss = sk_graph_mean(g, loss);
    self->mean = sk_graph_mean(g, least);
    sk_graph_minimize(g, self->loss, 1.0f);
}

sk_status sk_critics_finish(sk_critics *self, const sk_net *net, double adam_epsilon, sk_error *reterr) {
    uint64_t seed = (uint64_t)self->x.config->seed ^ 0x9e3779b97f4a7c15u; /* another network's numbers */
    SK_TRY(sk_trained_finish(&self->trained, &self->x, net, NULL, adam_epsilon, reterr));
    sk_buffer *own = self->trained.params;
    SK_TRY(sk_buffer_create(self->x.device, sk_critics_n_floats(self) * sizeof(float), &self->targets, reterr));
    SK_TRY(sk_net_init_params(self->trained.graph, sk_policy_model(self->x.policy), seed, sk_buffer_host(own), reterr));
    sk_buffer_push(own);
    sk_critics_move_targets(self, 1.0);
    sk_plan_bind_group(self->trained.plan, SK_CRITICS_TARGETS, self->targets);
    return SK_OK;
}

void sk_critics_deinit(sk_critics *self) {
    sk_trained_deinit(&self->trained);
    sk_buffer_destroy(&self->targets);
    free(self->error);
    *self = (sk_critics){0};
}

size_t sk_critics_n_floats(const sk_critics *self) { return sk_graph_param_floats(self->trained.graph); }

/* ---- learning --------------------------------------------------------------------------------------------- */

static sk_status tell_errors(sk_critics *self, sk_source *source, int rows, sk_critics_sums *sums, sk_error *reterr) {
    const float *td1 = sk_plan_output(self->trained.plan, self->td[0]);
    const float *td2 = sk_plan_output(self->trained.plan, self->td[self->n - 1]);
    double       sum = 0.0;
    for (int i = 0; i < rows; i++) {
        self->error[i] = 0.5f * (fabsf(td1[i]) + fabsf(td2[i])) + 1e-6f; /* a replay refuses 0 */
        sum += (double)self->error[i];
    }
    sums->error += sum / rows;
    return sk_source_feedback(source, self->error, rows, reterr);
}

sk_status sk_critics_update(sk_critics *self, sk_source *source, const sk_batch *b, double lr, double grad_clip,
                            sk_critics_sums *sums, sk_error *reterr) {
    sk_plan *plan = self->trained.plan;
    int      rows = b->shape.n_rows;
    sk_trained_push_constants(&self->trained, self->x.policy);
    sk_columns_bind(plan, &self->in, b);
    double norm = sk_plan_train(plan, rows, self->trained.adam, lr, grad_clip);
    sums->n_updates++;
    if (!isfinite(norm)) return SK_OK;
    sums->n_finite++;
    sums->grad_norm += norm;
    sums->loss += sk_plan_sum(plan, self->loss)[0];
    sums->mean += sk_plan_sum(plan, self->mean)[0];
    return tell_errors(self, source, rows, sums, reterr);
}

void sk_critics_move_targets(sk_critics *self, double tau) {
    sk_device_polyak(self->x.device, self->targets, self->trained.params, sk_critics_n_floats(self), tau);
}

void sk_critics_report(const sk_critics_sums *s, const char *name, sk_metrics *m) {
    double n = (double)s->n_finite; /* 0 makes the means absent */
    sk_metrics_set(m, SK_METRIC_QF_LOSS, s->loss / n);
    sk_metrics_set(m, SK_METRIC_QF_MEAN, s->mean / n);
    sk_metrics_set(m, SK_METRIC_TD_ERROR, s->error / n);
    sk_metrics_set(m, SK_METRIC_GRAD_NORM, s->grad_norm / n);
    sk_metrics_add(m, SK_METRIC_UPDATES, s->n_finite);
    sk_metrics_add(m, SK_METRIC_UPDATES_SKIPPED, s->n_updates - s->n_finite);
    if (s->n_finite < s->n_updates)
        sk_log(SK_LOG_WARN, "%s: %d of %d updates were left out: the gradient was not finite", name,
               s->n_updates - s->n_finite, s->n_updates);
}

/* ---- checkpoints ------------------------------------------------------------------------------------------ */

sk_status sk_critics_save(sk_critics *self, sk_pack_writer *writer, sk_error *reterr) {
    SK_TRY(sk_trained_save(&self->trained, "critic", writer, reterr));
    return sk_buffer_save(self->targets, sk_critics_n_floats(self), "targets", writer, reterr);
}

sk_status sk_critics_load(sk_critics *self, const sk_pack *pack, sk_error *reterr) {
    SK_TRY(sk_trained_load(&self->trained, "critic", pack, reterr));
    return sk_buffer_load(self->targets, sk_critics_n_floats(self), "targets", pack, reterr);
}
