/* off_policy_reference: what the references of SAC and TD3 share: batches from nowhere, a learner that is fed with
 * them, and networks of one hidden layer of tanh units in double, whose gradients come from central differences. Only
 * the places of the parameters, the batches and the Philox generator are shared with the library. */
#ifndef SK_TESTS_ALGORITHMS_OFF_POLICY_REFERENCE_H
#define SK_TESTS_ALGORITHMS_OFF_POLICY_REFERENCE_H
#include "core/base/rng.h"
#include "policies/net.h"
#include "rl/algorithm.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REF_HELPER __attribute__((unused)) static

/* More rows than a block has, so that sums over blocks are met. */
enum { REF_OBS = 3, REF_HIDDEN = 6, REF_ROWS = 70, REF_WIDE = 8, REF_BATCHES = 16 };

/* ---- batches from nowhere ---- */

typedef struct ref_source {
    _Alignas(64) float obs[REF_ROWS * REF_OBS];
    _Alignas(64) float next_obs[REF_ROWS * REF_OBS];
    _Alignas(64) float mask[REF_ROWS * REF_WIDE];
    _Alignas(64) float next_mask[REF_ROWS * REF_WIDE];
    _Alignas(64) float reward[REF_ROWS];
    _Alignas(64) float discount[REF_ROWS];
    _Alignas(64) float weight[REF_ROWS];
    _Alignas(64) sk_env_slot action[REF_ROWS * REF_WIDE];
    sk_source   base;
    sk_batch    batch;
    sk_policy  *policy; /* whose normaliser sees what the batches hold             */
    sk_metrics *metrics;
    uint64_t    state;
    int         n_batches, n_told;
    float       told[REF_ROWS];                 /* TD errors of the last batch     */
    void (*spoil)(sk_batch *batch);             /* nullable: last touch            */
    double      seen[REF_BATCHES * REF_ROWS][REF_OBS];
} ref_source;

static uint64_t ref_splitmix(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
static float ref_uniform(ref_source *s, double low, double high) {
    return (float)(low + (high - low) * ((double)(ref_splitmix(&s->state) >> 11) * 0x1p-53));
}

/* Some of n choices, the first of them always among those where `take` is. */
static void ref_fill_mask(ref_source *s, float *mask, int n, int take) {
    for (int k = 0; k < n; k++) mask[k] = k == take || ref_splitmix(&s->state) % 3 > 0 ? 1.0f : 0.0f;
}

static sk_status ref_next(sk_source *base, const sk_batch **ret_batch, sk_error *reterr) {
    ref_source             *s = (ref_source *)(void *)((char *)base - offsetof(ref_source, base));
    const sk_policy_spaces *spaces = sk_policy_spaces_get(s->policy);
    (void)reterr;
    cr_assert_lt(s->n_batches, REF_BATCHES);
    for (int i = 0; i < REF_ROWS * REF_OBS; i++) {
        s->obs[i] = ref_uniform(s, -2, 2 + i % REF_OBS);
        s->next_obs[i] = ref_uniform(s, -2, 2 + i % REF_OBS);
        s->seen[s->n_batches * REF_ROWS + i / REF_OBS][i % REF_OBS] = (double)s->obs[i];
    }
    for (int i = 0; i < REF_ROWS; i++) {
        int n = spaces->part_n[0], take = n ? (int)(ref_splitmix(&s->state) % (uint64_t)n) : 0;
        for (int k = 0; k < spaces->action_slots; k++)
            if (n) s->action[i].i = take;
            else s->action[i * spaces->action_slots + k].f = ref_uniform(s, -1, 1);
        ref_fill_mask(s, s->mask + i * spaces->mask_size, spaces->mask_size, take);
        ref_fill_mask(s, s->next_mask + i * spaces->mask_size, spaces->mask_size, (take + 1) % (n + !n));
        s->reward[i] = ref_uniform(s, -1, 2);
        s->discount[i] = i % 5 == 0 ? 0.0f : 0.9f; /* terminated, or not (a truncated step has a discount too) */
        s->weight[i] = ref_uniform(s, 0.2, 1);
    }
    if (s->spoil) s->spoil(&s->batch);
    if (sk_policy_filter(s->policy) == SK_FILTER_MEAN_STD)
        sk_normalizer_update(sk_policy_normalizer(s->policy), s->obs, NULL, REF_ROWS);
    s->n_batches++;
    sk_metrics_add(s->metrics, SK_METRIC_ENV_STEPS, 1);
    *ret_batch = &s->batch;
    return SK_OK;
}
static sk_status ref_feedback(sk_source *base, const float *td_error, int n, sk_error *reterr) {
    ref_source *s = (ref_source *)(void *)((char *)base - offsetof(ref_source, base));
    (void)reterr;
    cr_assert_eq(n, REF_ROWS);
    memcpy(s->told, td_error, sizeof s->told);
    s->n_told++;
    return SK_OK;
}
static const sk_source_ops ref_source_ops = {ref_next, ref_feedback};

/* ---- a learner ---- */

typedef struct ref_scene {
    ref_source              source;
    const sk_algorithm_api *api;
    const void             *own; /* its config */
    sk_train_config         config;
    sk_policy_spaces        spaces;
    sk_policy              *policy;
    sk_device              *device;
    void                   *learner;
    sk_metrics              metrics;
} ref_scene;

/* Two box actions, or with `choices` one discrete one, masked if `is_masked`. */
REF_HELPER ref_scene *ref_scene_make(const sk_algorithm_api *api, const void *own, int choices, int is_masked,
                                     sk_model_config model, sk_obs_filter filter) {
    ref_scene *s = aligned_alloc(64, (sizeof *s + 63) / 64 * 64);
    sk_error   e = {0};
    cr_assert_not_null(s);
    memset(s, 0, sizeof *s);
    s->api = api, s->own = own;
    s->config = (sk_train_config){.seed = 11, .algorithm = api->name};
    s->spaces = (sk_policy_spaces){.env_name = "Made-up", .obs_dim = REF_OBS, .action_slots = choices ? 1 : 2,
                                   .n_parts = choices > 0, .part_n = {choices}, .mask_size = is_masked ? choices : 0,
                                   .box_low = {-1, -1}, .box_high = {1, 1}};
    model.fcnet_hiddens = (sk_int_list){1, {REF_HIDDEN}};
    cr_assert_eq(sk_policy_create(&s->spaces, &model, filter, 7, &s->policy, &e), SK_OK, "%s", e.msg);
    for (size_t i = 0; i < sk_policy_n_floats(s->policy); i++) sk_policy_params(s->policy)[i] *= 1.5f;
    cr_assert_eq(sk_device_create_cpu(1, &s->device, &e), SK_OK, "%s", e.msg);
    ref_source *b = &s->source;
    b->base.ops = &ref_source_ops, b->policy = s->policy, b->metrics = &s->metrics, b->state = 5;
    b->batch = (sk_batch){.shape = {.n_steps = 1, .n_rows = REF_ROWS, .obs_dim = REF_OBS, .n_fragments = 1,
                                    .action_slots = s->spaces.action_slots, .mask_size = s->spaces.mask_size},
                          .obs = b->obs, .next_obs = b->next_obs, .action = b->action, .reward = b->reward,
                          .discount = b->discount, .weight = b->weight, .mask = is_masked ? b->mask : NULL,
                          .next_mask = is_masked ? b->next_mask : NULL};
    return s;
}
REF_HELPER sk_status ref_scene_try(ref_scene *s, sk_error *reterr) {
    sk_algorithm_context x = {.device = s->device, .policy = s->policy, .config = &s->config, .own = s->own,
                              .shape = s->source.batch.shape};
    return s->api->create(&x, &s->learner, reterr);
}
REF_HELPER void ref_scene_start(ref_scene *s) {
    sk_error e = {0};
    cr_assert_eq(ref_scene_try(s, &e), SK_OK, "%s", e.msg);
}
/* One iteration: one update, if the config's iterations are one step long. */
REF_HELPER void ref_scene_learn(ref_scene *s) {
    sk_error e = {0};
    cr_assert_eq(s->api->learn(s->learner, &s->source.base, &s->metrics, &e), SK_OK, "%s", e.msg);
}
REF_HELPER void ref_scene_destroy(ref_scene *s) {
    s->api->destroy(s->learner);
    sk_policy_destroy(&s->policy);
    sk_device_destroy(&s->device);
    free(s);
}
REF_HELPER double ref_metric(const ref_scene *s, sk_metric m) {
    cr_assert(s->metrics.present[m], "%s is absent", sk_metric_info_get(m)->name);
    return s->metrics.value[m];
}

/* What the learner would put into a checkpoint, as a container in memory. Caller destroys. */
REF_HELPER sk_pack *ref_scene_saved(ref_scene *s) {
    char            path[] = "/tmp/skiff-test-XXXXXX";
    int             fd = mkstemp(path);
    sk_pack_writer *writer = NULL;
    sk_pack        *pack = NULL;
    sk_error        e = {0};
    cr_assert_geq(fd, 0);
    close(fd);
    cr_assert_eq(sk_pack_writer_create(SK_PACK_CHECKPOINT, 1, &writer, &e), SK_OK);
    cr_assert_eq(s->api->save(s->learner, writer, &e), SK_OK, "%s", e.msg);
    cr_assert_eq(sk_pack_writer_save(writer, path, &e), SK_OK, "%s", e.msg);
    cr_assert_eq(sk_pack_load(path, SK_PACK_CHECKPOINT, 1, &pack, &e), SK_OK, "%s", e.msg);
    sk_pack_writer_destroy(&writer);
    unlink(path);
    return pack;
}
REF_HELPER const float *ref_section(const sk_pack *pack, const char *name, size_t n_floats) {
    const void *bytes = NULL;
    sk_error    e = {0};
    cr_assert_eq(sk_pack_section(pack, name, n_floats * sizeof(float), &bytes, NULL, &e), SK_OK, "%s", e.msg);
    return bytes;
}

/* ---- networks in double ---- */

typedef struct ref_net {
    sk_graph *g;                       /* says where parameters lie    */
    size_t    n;                       /* floats, padding included     */
    double   *theta, *m, *v, *grad, *target;
    long      n_adam;
    double    norm;                    /* of the last gradient         */
} ref_net;

/* Called with a graph that holds the network. */
static void ref_net_start(ref_net *f, const float *params) {
    cr_assert_eq(sk_graph_finish(f->g, NULL), SK_OK);
    f->n = sk_graph_param_floats(f->g);
    f->theta = calloc(5 * f->n, sizeof *f->theta);
    f->m = f->theta + f->n, f->v = f->m + f->n, f->grad = f->v + f->n, f->target = f->grad + f->n;
    for (size_t i = 0; i < f->n; i++) f->theta[i] = f->target[i] = (double)params[i];
}
REF_HELPER void ref_net_policy(ref_net *f, const sk_policy *p) {
    sk_net net;
    *f = (ref_net){0};
    cr_assert_eq(sk_graph_create(&f->g, NULL), SK_OK);
    sk_net_build(f->g, sk_policy_spaces_get(p), sk_policy_model(p), sk_policy_filter(p),
                 sk_graph_input(f->g, "obs", REF_OBS), &net);
    ref_net_start(f, sk_policy_params_const(p));
}
/* "q1" and, for two, "q2", as the learner says that they start. */
REF_HELPER void ref_net_critics(ref_net *f, ref_scene *s, int n_critics) {
    int       n = s->spaces.part_n[0];
    sk_pack  *pack = ref_scene_saved(s);
    *f = (ref_net){0};
    cr_assert_eq(sk_graph_create(&f->g, NULL), SK_OK);
    sk_tensor x = sk_graph_input(f->g, "x", REF_OBS), action = sk_graph_input(f->g, "action", 2);
    for (int i = 0; i < n_critics; i++)
        sk_net_critic(f->g, sk_policy_model(s->policy), i ? "q2" : "q1", x, n ? SK_NO_TENSOR : action, n ? n : 1);
    ref_net_start(f, ref_section(pack, "critic", sk_graph_param_floats(f->g)));
    const float *target = ref_section(pack, "targets", f->n);
    for (size_t i = 0; i < f->n; i++) cr_assert_eq((double)target[i], f->theta[i], "targets start elsewhere");
    sk_pack_destroy(&pack);
}
REF_HELPER void ref_net_close(ref_net *f) {
    sk_graph_destroy(&f->g);
    free(f->theta);
}

/* y = W^T x + b with the parameters theta of the layer `name/part`; returns the number of outputs. */
REF_HELPER int ref_layer(const ref_net *f, const double *theta, const char *name, const char *part, const double *x,
                         double *y) {
    char text[64];
    snprintf(text, sizeof text, "%s/%s/w", name, part);
    sk_tensor at_w = sk_graph_find_param(f->g, text);
    snprintf(text, sizeof text, "%s/%s/b", name, part);
    sk_tensor at_b = sk_graph_find_param(f->g, text);
    cr_assert(at_w >= 0 && at_b >= 0, "no layer %s", text);
    const sk_node *w = sk_graph_node(f->g, at_w), *b = sk_graph_node(f->g, at_b);
    for (int o = 0; o < w->cols; o++) {
        y[o] = theta[b->offset + o];
        for (int i = 0; i < w->rows; i++) y[o] += x[i] * theta[w->offset + i * w->ld + o];
    }
    return w->cols;
}
/* The hidden layer of `name`. */
REF_HELPER void ref_hidden(const ref_net *f, const double *theta, const char *name, const double *x, double *h) {
    int n = ref_layer(f, theta, name, "0", x, h);
    for (int k = 0; k < n; k++) h[k] = tanh(h[k]);
}
/* Hidden layer and output. */
REF_HELPER int ref_forward(const ref_net *f, const double *theta, const char *name, const double *x, double *y) {
    double h[REF_HIDDEN];
    ref_hidden(f, theta, name, x, h);
    return ref_layer(f, theta, name, "out", h, y);
}
/* Q of a box action (S of them after the observation). */
REF_HELPER double ref_q(const ref_net *f, const double *theta, const char *name, const double *x,
                        const double *action) {
    double in[REF_OBS + 2], q;
    memcpy(in, x, REF_OBS * sizeof *in);
    memcpy(in + REF_OBS, action, 2 * sizeof *in);
    ref_forward(f, theta, name, in, &q);
    return q;
}

/* Gradient of `loss` with regard to theta by central differences; padding has none. */
REF_HELPER void ref_gradient(ref_net *f, double (*loss)(void *user), void *user) {
    double norm2 = 0.0, h = 1e-5;
    memset(f->grad, 0, f->n * sizeof *f->grad);
    for (sk_tensor t = 0; t < sk_graph_n_nodes(f->g); t++) {
        const sk_node *p = sk_graph_node(f->g, t);
        for (int j = 0; p->op == SK_OP_PARAM && j < p->rows * p->cols; j++) {
            double *x = &f->theta[p->offset + j / p->cols * p->ld + j % p->cols], was = *x;
            *x = was + h;
            double up = loss(user);
            *x = was - h;
            double down = loss(user);
            *x = was;
            f->grad[x - f->theta] = (up - down) / (2.0 * h);
            norm2 += f->grad[x - f->theta] * f->grad[x - f->theta];
        }
    }
    f->norm = sqrt(norm2);
}
/* Kingma & Ba 2015, algorithm 1, after clipping to a norm; clip 0: none. */
REF_HELPER void ref_adam(ref_net *f, double lr, double clip, double epsilon) {
    double scale = clip > 0.0 && f->norm > clip ? clip / (f->norm + 1e-6) : 1.0, t = (double)++f->n_adam;
    for (size_t i = 0; i < f->n; i++) {
        double g = f->grad[i] * scale;
        f->m[i] = 0.9 * f->m[i] + 0.1 * g;
        f->v[i] = 0.999 * f->v[i] + 0.001 * g * g;
        double m = f->m[i] / (1.0 - pow(0.9, t)), v = f->v[i] / (1.0 - pow(0.999, t));
        f->theta[i] -= lr * m / (sqrt(v) + epsilon);
    }
}
REF_HELPER void ref_polyak(ref_net *f, double tau) {
    for (size_t i = 0; i < f->n; i++) f->target[i] += tau * (f->theta[i] - f->target[i]);
}

/* Row i of the batch's observations as networks see them: normalised by all that was seen, if there is a filter. */
REF_HELPER void ref_see(const ref_scene *s, const float *obs, int i, double *x) {
    const ref_source *b = &s->source;
    int               n = b->n_batches * REF_ROWS;
    for (int k = 0; k < REF_OBS; k++) {
        double mean = 0.0, var = 0.0;
        x[k] = (double)obs[i * REF_OBS + k];
        if (sk_policy_filter(s->policy) != SK_FILTER_MEAN_STD) continue;
        for (int r = 0; r < n; r++) mean += b->seen[r][k] / n;
        for (int r = 0; r < n; r++) var += pow(b->seen[r][k] - mean, 2) / n;
        x[k] = fmax(-10.0, fmin(10.0, (x[k] - mean) / sqrt(var + 1e-8)));
    }
}
/* Standard normal i of update `counter` in the learner's stream. */
REF_HELPER double ref_normal(const ref_scene *s, uint64_t stream, uint64_t counter, int i) {
    uint32_t words[4];
    float    pair[2];
    sk_philox((uint64_t)s->config.seed, sk_stream_id(SK_STREAM_LEARNER, stream), counter | (uint64_t)(i / 4) << 40,
              words);
    sk_u32_to_normal2(words[i % 4 / 2 * 2], words[i % 4 / 2 * 2 + 1], pair);
    return (double)pair[i % 2];
}

/* ---- together? ---- */

static double ref_worst; /* of all comparisons, for whoever wants to know how far the tolerance is away */

REF_HELPER void ref_near(const char *what, double got, double wanted, double relative) {
    double off = fabs(got - wanted) / (0.1 + fabs(wanted));
    ref_worst = fmax(ref_worst, off);
    cr_assert(off <= relative, "%s is %.9g, wanted %.9g (off by %.2g)", what, got, wanted, off);
}
REF_HELPER void ref_near_all(const char *what, const float *got, const double *wanted, size_t n, double relative) {
    char text[96];
    for (size_t i = 0; i < n; i++) {
        snprintf(text, sizeof text, "%s: parameter %zu", what, i);
        ref_near(text, (double)got[i], wanted[i], relative);
    }
}
REF_HELPER double ref_distance(const double *a, const float *b, size_t n) {
    double far = 0.0;
    for (size_t i = 0; i < n; i++) far = fmax(far, fabs(a[i] - (double)b[i]));
    return far;
}

#endif
