/* ppo_reference: PPO once more, in double and as plainly as it can be written, for one hidden layer of tanh units:
 * the loss is a function of all parameters and its gradient comes from central differences. What no gradient goes
 * through, the features of state-dependent noise, is read with parameters that stand still. Only the places of the
 * parameters, the batch and the Philox generator are shared with the library. */
#ifndef SK_TESTS_ALGORITHMS_PPO_REFERENCE_H
#define SK_TESTS_ALGORITHMS_PPO_REFERENCE_H
#include "algorithms/ppo/ppo.h"
#include "core/base/rng.h"
#include "nn/graph.h"
#include "policies/net.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { REF_OBS = 3, REF_HIDDEN = 6, REF_OUT = 5, REF_STEPS = 40, REF_ROWS = 5, REF_N = REF_STEPS * REF_ROWS,
       REF_BATCHES = 8 };

typedef struct ref_places {
    const sk_node *pi_w, *pi_b, *vf_w, *vf_b;           /* hidden layers; the same two when shared  */
    const sk_node *out_w, *out_b, *std, *std_w, *std_b; /* std, or std_w and std_b, or none of them */
    const sk_node *sde;                                 /* instead: deviations by feature           */
    const sk_node *v_w, *v_b;
} ref_places;

typedef struct ref {
    const sk_ppo_config   *c;
    const sk_train_config *config;
    sk_policy_spaces       s;
    int                    filter;
    sk_graph              *g;
    ref_places             at;
    size_t                 n;           /* floats of parameters, padding included */
    double                *theta, *m, *v, *grad, *still; /* still: theta as it is between updates */
    double                 kl_coeff;
    long                   n_adam, n_shuffles;
    /* filters: all that was seen */
    double                 seen[REF_BATCHES * REF_N][REF_OBS], returns[REF_BATCHES * REF_N], run[REF_ROWS];
    int                    n_seen, n_returns;
    double                 mean[REF_OBS], inv_std[REF_OBS];
    /* of the present batch */
    double                 adv[REF_N], target[REF_N];
    /* of the present iteration */
    double                 kl, total, entropy, vf, policy, clip_fraction, grad_norm, first_kl;
    int                    n_updates, n_epochs;
} ref;

typedef struct ref_coef {
    double clip, entropy, adv_mean, adv_scale;
} ref_coef;

typedef struct ref_parts { /* means over the rows */
    double total, policy, vf, entropy, kl, clip_fraction;
} ref_parts;

static const sk_node *ref_param(const ref *f, const char *name) {
    sk_tensor t = sk_graph_find_param(f->g, name);
    return t < 0 ? NULL : sk_graph_node(f->g, t);
}

static void ref_open(ref *f, const sk_policy *policy, const sk_ppo_config *c, const sk_train_config *config) {
    const sk_model_config *model = sk_policy_model(policy);
    sk_net                 net;
    *f = (ref){.c = c, .config = config, .s = *sk_policy_spaces_get(policy), .filter = sk_policy_filter(policy),
               .kl_coeff = c->use_kl_loss ? c->kl_coeff : 0.0, .n = sk_policy_n_floats(policy)};
    cr_assert_eq(sk_graph_create(&f->g, NULL), SK_OK);
    sk_net_build(f->g, &f->s, model, sk_policy_filter(policy), sk_graph_input(f->g, "obs", REF_OBS), &net);
    cr_assert_eq(sk_graph_finish(f->g, NULL), SK_OK);
    const char *trunk = model->vf_share_layers ? "shared" : "pi", *vf = model->vf_share_layers ? "shared" : "vf";
    char        name[4][32];
    snprintf(name[0], 32, "%s/0/w", trunk), snprintf(name[1], 32, "%s/0/b", trunk);
    snprintf(name[2], 32, "%s/0/w", vf), snprintf(name[3], 32, "%s/0/b", vf);
    f->at = (ref_places){ref_param(f, name[0]), ref_param(f, name[1]), ref_param(f, name[2]), ref_param(f, name[3]),
                         ref_param(f, "pi/out/w"), ref_param(f, "pi/out/b"), ref_param(f, "pi/log_std"),
                         ref_param(f, "pi/log_std_out/w"), ref_param(f, "pi/log_std_out/b"),
                         ref_param(f, "pi/sde_log_std"), ref_param(f, "vf/out/w"), ref_param(f, "vf/out/b")};
    f->theta = calloc(5 * f->n, sizeof *f->theta);
    f->m = f->theta + f->n, f->v = f->m + f->n, f->grad = f->v + f->n, f->still = f->grad + f->n;
    for (size_t i = 0; i < f->n; i++) f->theta[i] = f->still[i] = (double)sk_policy_params_const(policy)[i];
    for (int i = 0; i < REF_OBS; i++) f->inv_std[i] = 1.0 / sqrt(1.0 + 1e-8);
}
static void ref_close(ref *f) {
    sk_graph_destroy(&f->g);
    free(f->theta);
}

/* y = W^T x + b for the layer at (w, b) of `theta`; returns the number of outputs. */
static int ref_layer_of(const double *theta, const sk_node *w, const sk_node *b, const double *x, double *y) {
    for (int o = 0; o < w->cols; o++) {
        y[o] = theta[b->offset + o];
        for (int i = 0; i < w->rows; i++) y[o] += x[i] * theta[w->offset + i * w->ld + o];
    }
    return w->cols;
}
static int ref_layer(const ref *f, const sk_node *w, const sk_node *b, const double *x, double *y) {
    return ref_layer_of(f->theta, w, b, x, y);
}

/* Raffin et al. 2021, eq. 5: the variance of an action is that of a sum over features. */
static void ref_sde(const ref *f, const double *x, double *log_std) {
    double h[REF_HIDDEN];
    ref_layer_of(f->still, f->at.pi_w, f->at.pi_b, x, h);
    for (int k = 0; k < f->at.sde->cols; k++) {
        double var = 1e-6;
        for (int i = 0; i < f->at.sde->rows; i++)
            var += pow(tanh(h[i]) * exp(f->theta[f->at.sde->offset + i * f->at.sde->ld + k]), 2);
        log_std[k] = 0.5 * log(var);
    }
}

/* What the network says about row i of the batch. */
static void ref_forward(const ref *f, const sk_batch *b, int i, double *out, double *log_std, double *value) {
    double x[REF_OBS], h[REF_HIDDEN], hv[REF_HIDDEN];
    for (int k = 0; k < REF_OBS; k++) {
        x[k] = (double)b->obs[i * REF_OBS + k];
        if (f->filter) x[k] = fmax(-10.0, fmin(10.0, (x[k] - f->mean[k]) * f->inv_std[k]));
    }
    ref_layer(f, f->at.pi_w, f->at.pi_b, x, h);
    ref_layer(f, f->at.vf_w, f->at.vf_b, x, hv);
    for (int k = 0; k < REF_HIDDEN; k++) h[k] = tanh(h[k]), hv[k] = tanh(hv[k]);
    int n = ref_layer(f, f->at.out_w, f->at.out_b, h, out);
    if (f->at.std_w) ref_layer(f, f->at.std_w, f->at.std_b, h, log_std);
    if (f->at.sde) ref_sde(f, x, log_std);
    for (int k = 0; f->at.std && k < n; k++) log_std[k] = f->theta[f->at.std->offset + k];
    ref_layer(f, f->at.v_w, f->at.v_b, hv, value);
}

/* log-prob of row i's action and the distribution's entropy. */
static void ref_distribution(const ref *f, const sk_batch *b, int i, double *logp, double *entropy, double *value) {
    double out[REF_OUT], log_std[REF_OUT];
    ref_forward(f, b, i, out, log_std, value);
    *logp = *entropy = 0.0;
    const sk_env_slot *a = b->action + i * f->s.action_slots;
    for (int p = 0, first = 0; p < f->s.n_parts; first += f->s.part_n[p++]) {
        double sum = 0.0;
        for (int j = first; j < first + f->s.part_n[p]; j++) {
            if (f->s.mask_size && b->mask[i * f->s.mask_size + j] == 0.0f) out[j] = -1e9;
            sum += exp(out[j]); /* logits are small here */
        }
        for (int j = first; j < first + f->s.part_n[p]; j++)
            if (out[j] > -1e8) *entropy -= exp(out[j]) / sum * (out[j] - log(sum));
        *logp += out[first + a[p].i] - log(sum);
    }
    for (int k = 0; f->s.n_parts == 0 && k < f->s.action_slots; k++) {
        double z = ((double)a[k].f - out[k]) / exp(log_std[k]);
        *logp += -0.5 * z * z - log_std[k] - 0.5 * log(2.0 * M_PI);
        *entropy += log_std[k] + 0.5 * log(2.0 * M_PI * M_E);
    }
}

/* Schulman et al. 2017, eq. 7 and 9, value clipping as in baselines; over the rows of `index`. */
static ref_parts ref_loss(const ref *f, const sk_batch *b, const int *index, int n, const ref_coef *k) {
    ref_parts s = {0};
    for (int r = 0; r < n; r++) {
        int    i = index[r];
        double logp, entropy, value;
        ref_distribution(f, b, i, &logp, &entropy, &value);
        double log_ratio = logp - (double)b->logp[i], ratio = exp(log_ratio);
        double adv = (f->adv[i] - k->adv_mean) * k->adv_scale;
        double clipped = fmax(1.0 - k->clip, fmin(1.0 + k->clip, ratio));
        double error = pow(value - f->target[i], 2), old = (double)b->value[i], range = f->c->vf_clip_param;
        if (range > 0.0)
            error = fmax(error, pow(old + fmax(-range, fmin(range, value - old)) - f->target[i], 2));
        s.policy -= fmin(ratio * adv, clipped * adv) / n;
        s.vf += error / n;
        s.entropy += entropy / n;
        s.kl += (ratio - 1.0 - log_ratio) / n;
        s.clip_fraction += (fabs(ratio - 1.0) > k->clip) / (double)n;
    }
    s.total = s.policy + f->c->vf_loss_coeff * s.vf - k->entropy * s.entropy + f->kl_coeff * s.kl;
    return s;
}

/* Gradient by central differences; padding has none. */
static double ref_gradient(ref *f, const sk_batch *b, const int *index, int n, const ref_coef *k) {
    double norm2 = 0.0, h = 1e-5;
    memset(f->grad, 0, f->n * sizeof *f->grad);
    for (sk_tensor t = 0; t < sk_graph_n_nodes(f->g); t++) {
        const sk_node *p = sk_graph_node(f->g, t);
        for (int j = 0; p->op == SK_OP_PARAM && j < p->rows * p->cols; j++) {
            double *x = &f->theta[p->offset + j / p->cols * p->ld + j % p->cols], was = *x;
            *x = was + h;
            double up = ref_loss(f, b, index, n, k).total;
            *x = was - h;
            double down = ref_loss(f, b, index, n, k).total;
            *x = was;
            double g = (up - down) / (2.0 * h);
            f->grad[x - f->theta] = g;
            norm2 += g * g;
        }
    }
    return sqrt(norm2);
}

/* Kingma & Ba 2015, algorithm 1, after clipping to a global norm. */
static void ref_adam(ref *f, double norm, double lr) {
    double scale = f->c->grad_clip > 0.0 && norm > f->c->grad_clip ? f->c->grad_clip / (norm + 1e-6) : 1.0;
    double t = (double)++f->n_adam;
    for (size_t i = 0; i < f->n; i++) {
        double g = f->grad[i] * scale;
        f->m[i] = 0.9 * f->m[i] + 0.1 * g;
        f->v[i] = 0.999 * f->v[i] + 0.001 * g * g;
        double m = f->m[i] / (1.0 - pow(0.9, t)), v = f->v[i] / (1.0 - pow(0.999, t));
        f->still[i] = f->theta[i] -= lr * m / (sqrt(v) + f->c->adam_epsilon);
    }
}

/* Divided by the standard deviation of all discounted returns so far, then clipped. */
static void ref_scale_rewards(ref *f, const sk_batch *b, double *reward) {
    double scale = 1.0, clip = f->config->env_runners.clip_rewards;
    if (f->config->env_runners.normalize_rewards) {
        double mean = 0.0, var = 0.0;
        for (int i = 0; i < REF_N; i++) {
            double *run = &f->run[i % REF_ROWS];
            if (b->valid[i]) f->returns[f->n_returns++] = *run = f->c->gamma * *run + (double)b->reward[i];
            if (b->terminated[i] || b->truncated[i]) *run = 0.0;
        }
        for (int i = 0; i < f->n_returns; i++) mean += f->returns[i] / f->n_returns;
        for (int i = 0; i < f->n_returns; i++) var += pow(f->returns[i] - mean, 2) / f->n_returns;
        scale = 1.0 / sqrt(var + 1e-8);
    }
    for (int i = 0; i < REF_N; i++) {
        reward[i] = (double)b->reward[i] * scale;
        if (clip > 0.0) reward[i] = fmax(-clip, fmin(clip, reward[i]));
    }
}

/* A_t = sum over k of (gamma lambda)^k delta_{t+k}, up to the end of the episode or of the batch. */
static void ref_advantages(ref *f, const sk_batch *b) {
    double reward[REF_N];
    ref_scale_rewards(f, b, reward);
    for (int i = 0; i < REF_N; i++) {
        double weight = 1.0;
        f->adv[i] = 0.0;
        for (int j = i; j < REF_N; j += REF_ROWS) {
            double next = b->truncated[j]             ? (double)b->final_value[j]
                          : j + REF_ROWS < REF_N ? (double)b->value[j + REF_ROWS]
                                                      : (double)b->bootstrap[j % REF_ROWS];
            if (b->terminated[j]) next = 0.0;
            f->adv[i] += weight * (reward[j] + f->c->gamma * next - (double)b->value[j]);
            weight *= f->c->gamma * f->c->lambda;
            if (b->terminated[j] || b->truncated[j]) break;
        }
        f->target[i] = f->adv[i] + (double)b->value[i];
    }
}

static int ref_shuffle(ref *f, const sk_batch *b, int *index) {
    int      n = 0;
    uint32_t words[4];
    for (int i = 0; i < REF_N; i++)
        if (b->valid[i]) index[n++] = i;
    for (int i = n - 1, draw = 0; i > 0; i--, draw++) {
        sk_philox((uint64_t)f->config->seed, sk_stream_id(SK_STREAM_SHUFFLE, (uint64_t)f->n_shuffles),
                  (uint64_t)(draw / 4), words);
        int j = (int)sk_u32_below(words[draw % 4], (uint32_t)i + 1), swap = index[i];
        index[i] = index[j], index[j] = swap;
    }
    f->n_shuffles++;
    return n;
}

static ref_coef ref_coefs(const ref *f, const int *index, int n, double steps) {
    ref_coef k = {.clip = sk_schedule_at(&f->c->clip_param, steps),
                  .entropy = sk_schedule_at(&f->c->entropy_coeff, steps), .adv_scale = 1.0};
    double   mean = 0.0, var = 0.0;
    for (int r = 0; r < n; r++) mean += f->adv[index[r]] / n;
    if (!f->c->normalize_advantages || n == 1) return k; /* a single row has no deviation */
    for (int r = 0; r < n; r++) var += pow(f->adv[index[r]] - mean, 2) / (n - 1);
    k.adv_mean = mean;
    k.adv_scale = 1.0 / (sqrt(var) + 1e-8);
    return k;
}

static void ref_see(ref *f, const sk_batch *b) {
    for (int i = 0; i < REF_N; i++)
        if (b->valid[i]) {
            for (int k = 0; k < REF_OBS; k++) f->seen[f->n_seen][k] = (double)b->obs[i * REF_OBS + k];
            f->n_seen++;
        }
    for (int k = 0; k < REF_OBS; k++) {
        double mean = 0.0, var = 0.0;
        for (int i = 0; i < f->n_seen; i++) mean += f->seen[i][k] / f->n_seen;
        for (int i = 0; i < f->n_seen; i++) var += pow(f->seen[i][k] - mean, 2) / f->n_seen;
        f->mean[k] = mean;
        f->inv_std[k] = 1.0 / sqrt(var + 1e-8);
    }
}

/* One minibatch; 1 = the KL says stop. */
static int ref_minibatch(ref *f, const sk_batch *b, const int *index, int n, double steps) {
    ref_coef  k = ref_coefs(f, index, n, steps);
    ref_parts s = ref_loss(f, b, index, n, &k);
    double    norm = ref_gradient(f, b, index, n, &k);
    ref_adam(f, norm, sk_schedule_at(&f->c->lr, steps));
    if (f->n_updates++ == 0) f->first_kl = s.kl;
    f->total += s.total, f->policy += s.policy, f->vf += s.vf, f->entropy += s.entropy, f->kl += s.kl;
    f->clip_fraction += s.clip_fraction, f->grad_norm += norm;
    return f->c->target_kl > 0.0 && s.kl > 1.5 * f->c->target_kl;
}

/* One iteration on a batch, when `steps` environment steps have been taken in all. */
static void ref_learn(ref *f, const sk_batch *b, double steps) {
    int index[REF_N], stop = 0;
    f->total = f->policy = f->vf = f->entropy = f->kl = f->clip_fraction = f->grad_norm = 0.0;
    f->n_updates = f->n_epochs = 0;
    ref_advantages(f, b);
    for (int epoch = 0; epoch < f->c->num_epochs && !stop; epoch++) {
        int n = ref_shuffle(f, b, index);
        for (int first = 0, size; first < n && !stop; first += size) {
            size = n - first < (int)f->c->minibatch_size ? n - first : (int)f->c->minibatch_size;
            stop = ref_minibatch(f, b, index + first, size, steps);
        }
        f->n_epochs += !stop;
    }
    double kl = f->kl / f->n_updates;
    if (f->c->use_kl_loss && kl > 2.0 * f->c->kl_target) f->kl_coeff *= 1.5;
    else if (f->c->use_kl_loss && kl < 0.5 * f->c->kl_target) f->kl_coeff *= 0.5;
    ref_see(f, b);
}

#endif
