#include "policies/policy.h"

#include "nn/graph.h"
#include "policies/net.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sk_policy {
    sk_policy_spaces spaces;
    sk_model_config  model;
    sk_obs_filter    filter;
    sk_graph        *graph; /* the network alone: names and places of the parameters */
    float           *params;
    sk_normalizer    normalizer;
    int64_t          version;
    sk_exploration   exploration;
};

/* Append one slot; slots of one kind that follow each other make a run. Returns 0 if there is no room. */
static int append_slot(sk_policy_spaces *s, int choices, int low) {
    sk_encode_run *run = s->n_runs > 0 ? &s->runs[s->n_runs - 1] : NULL;
    if (run && run->choices == choices && run->low == low) return run->cols++, 1;
    if (s->n_runs == SK_POLICY_RUNS_MAX) return 0;
    s->runs[s->n_runs++] = (sk_encode_run){1, choices, low};
    return 1;
}

static sk_status describe_obs(const sk_env_spec *spec, sk_policy_spaces *s, sk_error *reterr) {
    int64_t encoded = 0;
    int     discrete = 0;
    for (int f = 0; f < spec->n_obs; f++) {
        const sk_env_field *field = &spec->obs[f];
        int                 size = 1, is_int = field->dtype == SK_ENV_I32;
        for (int d = 0; d < field->n_dims; d++) size *= field->shape[d];
        for (int i = 0; i < size; i++) {
            int low = !is_int ? 0 : (int)(field->lows ? field->lows[i] : field->low);
            int choices = !is_int ? 0 : (int)(field->highs ? field->highs[i] : field->high) - low + 1;
            if (!append_slot(s, choices, low))
                return SK_FAIL(reterr, SK_EUNSUPPORTED,
                               "environment \"%s\": at observation \"%s\" more than %d runs of slots of one kind",
                               s->env_name, field->name, SK_POLICY_RUNS_MAX);
            encoded += choices > 0 ? choices : 1;
        }
        s->obs_dim += size;
        discrete |= is_int;
    }
    if (!discrete) {
        s->n_runs = 0;
        memset(s->runs, 0, sizeof s->runs);
    }
    if (encoded <= 1 << 20) return SK_OK;
    return SK_FAIL(reterr, SK_EUNSUPPORTED, "environment \"%s\": the observation has %lld one-hot columns, at most %d do",
                   s->env_name, (long long)encoded, 1 << 20);
}

sk_status sk_policy_spaces_of(const sk_env_spec *spec, const char *env_name, sk_policy_spaces *ret_spaces,
                              sk_error *reterr) {
    sk_policy_spaces s = {.mask_size = spec->mask_size};
    int              n_box = 0;
    snprintf(s.env_name, sizeof s.env_name, "%s", env_name);
    SK_TRY(describe_obs(spec, &s, reterr));
    for (int i = 0; i < spec->n_action; i++) {
        const sk_env_action_part *part = &spec->action[i];
        if (part->kind == SK_ENV_DISCRETE) {
            s.part_n[s.n_parts] = part->n;
            s.part_start[s.n_parts++] = part->start;
        } else {
            for (int k = 0; k < part->n && n_box + k < SK_POLICY_BOX_MAX; k++) {
                s.box_low[n_box + k] = part->lows ? part->lows[k] : part->low;
                s.box_high[n_box + k] = part->highs ? part->highs[k] : part->high;
            }
            n_box += part->n;
        }
    }
    if (s.n_parts > 0 && n_box > 0)
        return SK_FAIL(reterr, SK_EUNSUPPORTED,
                       "environment \"%s\" has %d discrete and %d box actions at once; a policy acts in one kind",
                       env_name, s.n_parts, n_box);
    s.action_slots = s.n_parts > 0 ? s.n_parts : n_box;
    *ret_spaces = s;
    return SK_OK;
}

sk_status sk_policy_spaces_same(const sk_policy_spaces *policy, const sk_policy_spaces *env, sk_error *reterr) {
    const struct {
        const char *what;
        int         policy, env;
    } pairs[] = {{"observation size", policy->obs_dim, env->obs_dim},
                 {"number of runs of observation slots", policy->n_runs, env->n_runs},
                 {"number of action slots", policy->action_slots, env->action_slots},
                 {"number of discrete actions", policy->n_parts, env->n_parts},
                 {"action mask size", policy->mask_size, env->mask_size}};
    for (int i = 0; i < SK_COUNT(pairs); i++)
        if (pairs[i].policy != pairs[i].env)
            return SK_FAIL(reterr, SK_EINVAL, "the policy (made for \"%s\") does not fit \"%s\": %s is %d, wanted %d",
                           policy->env_name, env->env_name, pairs[i].what, pairs[i].policy, pairs[i].env);
    for (int i = 0; i < policy->n_runs; i++)
        if (memcmp(&policy->runs[i], &env->runs[i], sizeof policy->runs[i]) != 0)
            return SK_FAIL(reterr, SK_EINVAL,
                           "the policy (made for \"%s\") does not fit \"%s\": run %d of the observation is %d slots of "
                           "%d choices from %d, wanted %d of %d from %d", policy->env_name, env->env_name, i,
                           policy->runs[i].cols, policy->runs[i].choices, policy->runs[i].low, env->runs[i].cols,
                           env->runs[i].choices, env->runs[i].low);
    for (int i = 0; i < policy->n_parts; i++)
        if (policy->part_n[i] != env->part_n[i])
            return SK_FAIL(reterr, SK_EINVAL,
                           "the policy (made for \"%s\") does not fit \"%s\": action %d has %d choices, wanted %d",
                           policy->env_name, env->env_name, i, policy->part_n[i], env->part_n[i]);
    return SK_OK;
}

int sk_policy_scales_actions(const sk_policy_spaces *spaces, const sk_model_config *model) {
    if (spaces->n_parts > 0) return 0;
    return model->kind != SK_POLICY_ACTOR_CRITIC || model->squash_actions;
}

void sk_policy_to_env(const sk_policy_spaces *spaces, const sk_model_config *model, const sk_env_slot *action, int rows,
                      sk_env_slot *ret_action) {
    int slots = spaces->action_slots, n = rows * slots;
    if (spaces->n_parts > 0) {
        for (int i = 0; i < n; i++) ret_action[i].i = action[i].i + spaces->part_start[i % slots];
    } else if (!sk_policy_scales_actions(spaces, model)) {
        if (ret_action != action) memcpy(ret_action, action, (size_t)n * sizeof *action);
    } else {
        int squash = model->kind == SK_POLICY_ACTOR_CRITIC;
        for (int i = 0; i < n; i++) {
            float a = squash ? tanhf(action[i].f) : action[i].f;
            float low = spaces->box_low[i % slots], high = spaces->box_high[i % slots];
            ret_action[i].f = low + 0.5f * (a + 1.0f) * (high - low);
        }
    }
}

/* The kind of network must have actions that it can take: action values are of one choice, and what [-1, 1] is scaled
 * to must be there. */
static sk_status check_actions(const sk_policy_spaces *s, const sk_model_config *model, sk_error *reterr) {
    if (model->kind == SK_POLICY_Q && s->n_parts != 1)
        return SK_FAIL(reterr, SK_EUNSUPPORTED, s->n_parts == 0
                       ? "environment \"%s\" has box actions; dqn needs discrete actions"
                       : "environment \"%s\" has several discrete actions at once; dqn needs one", s->env_name);
    if (!sk_policy_scales_actions(s, model)) return SK_OK;
    if (s->action_slots > SK_POLICY_BOX_MAX)
        return SK_FAIL(reterr, SK_EUNSUPPORTED, "environment \"%s\" has %d box actions; this policy scales at most %d",
                       s->env_name, s->action_slots, SK_POLICY_BOX_MAX);
    for (int i = 0; i < s->action_slots; i++)
        if (!isfinite(s->box_low[i]) || !isfinite(s->box_high[i]) || !(s->box_low[i] < s->box_high[i]))
            return SK_FAIL(reterr, SK_EUNSUPPORTED,
                           "environment \"%s\": action %d has bounds [%g, %g]; this policy scales its actions from "
                           "[-1, 1], which needs finite ones", s->env_name, i, (double)s->box_low[i],
                           (double)s->box_high[i]);
    return SK_OK;
}

/* Everything but the values of the parameters. */
static sk_status create_empty(const sk_policy_spaces *spaces, const sk_model_config *model, sk_obs_filter filter,
                              sk_policy **ret_policy, sk_error *reterr) {
    sk_status  status = check_actions(spaces, model, reterr);
    if (status != SK_OK) return status;
    sk_policy *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "policy: no memory");
    self->spaces = *spaces;
    self->model = *model;
    self->filter = filter;
    sk_net net;
    SK_TRY_GOTO(sk_graph_create(&self->graph, reterr));
    sk_net_build(self->graph, spaces, model, filter, sk_graph_input(self->graph, "obs", spaces->obs_dim), &net);
    SK_TRY_GOTO(sk_graph_finish(self->graph, reterr));
    SK_TRY_GOTO(sk_normalizer_init(&self->normalizer, spaces->obs_dim, reterr));
    for (int r = 0, at = 0; r < spaces->n_runs; at += spaces->runs[r++].cols)
        if (spaces->runs[r].choices > 0) sk_normalizer_skip(&self->normalizer, at, spaces->runs[r].cols);
    size_t bytes = (sk_graph_param_floats(self->graph) * sizeof(float) + 63) / 64 * 64;
    self->params = aligned_alloc(64, bytes);
    if (!self->params) {
        status = SK_FAIL(reterr, SK_ENOMEM, "policy: no memory for %zu bytes of parameters", bytes);
        goto fail;
    }
    memset(self->params, 0, bytes);
    *ret_policy = self;
    return SK_OK;
fail:
    sk_policy_destroy(&self);
    return status;
}

sk_status sk_policy_create(const sk_policy_spaces *spaces, const sk_model_config *model, sk_obs_filter filter,
                           uint64_t seed, sk_policy **ret_policy, sk_error *reterr) {
    sk_policy *self = NULL;
    SK_TRY(create_empty(spaces, model, filter, &self, reterr));
    sk_status status = sk_net_init_params(self->graph, model, seed, self->params, reterr);
    if (status != SK_OK) {
        sk_policy_destroy(&self);
        return status;
    }
    *ret_policy = self;
    return SK_OK;
}

void sk_policy_destroy(sk_policy **self_p) {
    if (!self_p || !*self_p) return;
    sk_graph_destroy(&(*self_p)->graph);
    sk_normalizer_deinit(&(*self_p)->normalizer);
    free((*self_p)->params);
    free(*self_p);
    *self_p = NULL;
}

const sk_policy_spaces *sk_policy_spaces_get(const sk_policy *self) { return &self->spaces; }
const sk_model_config  *sk_policy_model(const sk_policy *self) { return &self->model; }
sk_obs_filter           sk_policy_filter(const sk_policy *self) { return self->filter; }
float                  *sk_policy_params(sk_policy *self) { return self->params; }
const float            *sk_policy_params_const(const sk_policy *self) { return self->params; }
size_t                  sk_policy_n_floats(const sk_policy *self) { return sk_graph_param_floats(self->graph); }
sk_normalizer          *sk_policy_normalizer(sk_policy *self) { return &self->normalizer; }
const sk_normalizer    *sk_policy_normalizer_const(const sk_policy *self) { return &self->normalizer; }
sk_exploration         *sk_policy_exploration(sk_policy *self) { return &self->exploration; }
int64_t                 sk_policy_version(const sk_policy *self) { return self->version; }
void                    sk_policy_set_version(sk_policy *self, int64_t version) { self->version = version; }

/* Do the same logits stand for the same values? (What layers there are is seen in the graph.) */
static int same_atoms(const sk_q_config *a, const sk_q_config *b) {
    return a->distribution != SK_Q_C51 || (!(a->v_min < b->v_min) && !(a->v_min > b->v_min) && !(a->v_max < b->v_max) &&
                                           !(a->v_max > b->v_max));
}

int sk_policy_same_network(const sk_policy *a, const sk_policy *b) {
    int n = sk_graph_n_nodes(a->graph), same = n == sk_graph_n_nodes(b->graph) && a->filter == b->filter &&
                                               a->model.fcnet_activation == b->model.fcnet_activation &&
                                               a->model.kind == b->model.kind &&
                                               (a->model.kind != SK_POLICY_Q || same_atoms(&a->model.q, &b->model.q)) &&
                                               a->model.squash_actions == b->model.squash_actions &&
                                               a->spaces.n_runs == b->spaces.n_runs &&
                                               memcmp(a->spaces.runs, b->spaces.runs,
                                                      (size_t)a->spaces.n_runs * sizeof a->spaces.runs[0]) == 0;
    for (sk_tensor t = 0; same && t < n; t++) {
        const sk_node *x = sk_graph_node(a->graph, t), *y = sk_graph_node(b->graph, t);
        same = x->op == y->op && x->rows == y->rows && x->cols == y->cols && strcmp(x->name, y->name) == 0;
    }
    return same;
}

size_t sk_policy_n_params(const sk_policy *self) {
    size_t n = 0;
    for (sk_tensor t = 0; t < sk_graph_n_nodes(self->graph); t++) {
        const sk_node *node = sk_graph_node(self->graph, t);
        if (node->op == SK_OP_PARAM) n += (size_t)node->rows * (size_t)node->cols;
    }
    return n;
}

void sk_policy_sha256(const sk_policy *self, char ret_hex[65]) {
    sk_sha256_hex(self->params, sk_policy_n_floats(self) * sizeof *self->params, ret_hex);
}
