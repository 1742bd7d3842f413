/* policy_file: a policy as a file (docs/formats.md): JSON describes spaces, model and parameters; sections hold
 * "params" (the flat float buffer) and "normalizer" (mean and m2, doubles). */
#include "policies/policy.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *const activation_names[] = {"tanh", "relu", "elu", "gelu", "silu", "sigmoid", "linear"};
static const char *const kind_names[] = {"actor_critic", "squashed", "deterministic", "q"};
static const char *const distribution_names[] = {"none", "c51", "quantile"};
static const char *const filter_names[] = {"NoFilter", "MeanStdFilter"};

static json_t *int_array(const int *v, int n) {
    json_t *array = json_array();
    for (int i = 0; array && i < n; i++)
        if (json_array_append_new(array, json_integer(v[i]))) {
            json_decref(array);
            return NULL;
        }
    return array;
}

/* [[slots, choices, low], ...]; choices 0 = floats. */
static json_t *runs_json(const sk_policy_spaces *s) {
    json_t *array = json_array();
    for (int i = 0; array && i < s->n_runs; i++)
        if (json_array_append_new(array, int_array((int[]){s->runs[i].cols, s->runs[i].choices, s->runs[i].low}, 3))) {
            json_decref(array);
            return NULL;
        }
    return array;
}

static json_t *float_array(const float *v, int n) {
    json_t *array = json_array();
    for (int i = 0; array && i < n; i++)
        if (json_array_append_new(array, json_real((double)v[i]))) {
            json_decref(array);
            return NULL;
        }
    return array;
}

/* Bounds of actions are there only where the policy scales to them: they are finite then. */
static json_t *spaces_json(const sk_policy_spaces *s, const sk_model_config *model) {
    int n_box = sk_policy_scales_actions(s, model) ? s->action_slots : 0;
    return json_pack("{s:s, s:i, s:o, s:i, s:i, s:o, s:o, s:o, s:o}", "env", s->env_name, "obs_dim", s->obs_dim,
                     "obs_runs", runs_json(s), "action_slots", s->action_slots, "mask_size", s->mask_size, "discrete_n",
                     int_array(s->part_n, s->n_parts), "discrete_start", int_array(s->part_start, s->n_parts), "box_low",
                     float_array(s->box_low, n_box), "box_high", float_array(s->box_high, n_box));
}

static json_t *q_json(const sk_q_config *q) {
    return json_pack("{s:b, s:b, s:s, s:I, s:f, s:f}", "dueling", q->dueling, "noisy", q->noisy, "distribution",
                     distribution_names[q->distribution], "num_atoms", (json_int_t)q->num_atoms, "v_min", q->v_min,
                     "v_max", q->v_max);
}

static json_t *model_json(const sk_model_config *m) {
    int hiddens[SK_LIST_MAX];
    for (int i = 0; i < m->fcnet_hiddens.n; i++) hiddens[i] = (int)m->fcnet_hiddens.v[i];
    json_t *json = json_pack("{s:o, s:s, s:b, s:b, s:b, s:s, s:b, s:b, s:I}", "fcnet_hiddens",
                             int_array(hiddens, m->fcnet_hiddens.n), "fcnet_activation",
                             activation_names[m->fcnet_activation], "vf_share_layers", m->vf_share_layers,
                             "free_log_std", m->free_log_std, "layer_norm", m->layer_norm, "kind", kind_names[m->kind],
                             "squash_actions", m->squash_actions, "use_sde", m->use_sde, "sde_sample_freq",
                             (json_int_t)m->sde_sample_freq);
    if (json && m->kind == SK_POLICY_Q && json_object_set_new(json, "q", q_json(&m->q))) {
        json_decref(json);
        return NULL;
    }
    return json;
}

sk_status sk_policy_pack(const sk_policy *self, sk_pack_writer *writer, sk_error *reterr) {
    const sk_normalizer *norm = sk_policy_normalizer_const(self);
    json_t *policy = json_pack("{s:o, s:o, s:s, s:f, s:I}", "spaces",
                               spaces_json(sk_policy_spaces_get(self), sk_policy_model(self)), "model",
                               model_json(sk_policy_model(self)), "observation_filter",
                               filter_names[sk_policy_filter(self)], "normalizer_count", norm->count, "version",
                               (json_int_t)sk_policy_version(self));
    if (!policy || json_object_set_new(sk_pack_writer_json(writer), "policy", policy))
        return SK_FAIL(reterr, SK_ENOMEM, "policy: no memory for its description");
    SK_TRY(sk_pack_writer_add(writer, "params", sk_policy_params_const(self),
                              sk_policy_n_floats(self) * sizeof(float), reterr));
    return sk_pack_writer_add(writer, "normalizer", norm->mean, (size_t)norm->n * 2 * sizeof(double), reterr);
}

static int name_index(const char *name, const char *const *names, int n) {
    for (int i = 0; i < n; i++)
        if (strcmp(name, names[i]) == 0) return i;
    return -1;
}

static sk_status read_ints(const json_t *array, int *out, int max, int low, int high, const char *what, int *ret_n,
                           sk_error *reterr) {
    size_t n = json_array_size(array);
    if (!json_is_array(array) || n > (size_t)max)
        return SK_FAIL(reterr, SK_ECORRUPT, "policy file: %s must be a list of at most %d", what, max);
    for (size_t i = 0; i < n; i++) {
        json_t *item = json_array_get(array, i);
        if (!json_is_integer(item) || json_integer_value(item) < low || json_integer_value(item) > high)
            return SK_FAIL(reterr, SK_ECORRUPT, "policy file: %s[%zu] must be an integer in [%d, %d]", what, i, low,
                           high);
        out[i] = (int)json_integer_value(item);
    }
    *ret_n = (int)n;
    return SK_OK;
}

enum { SIZE_LIMIT = 1 << 20 };

static sk_status read_runs(json_t *json, sk_policy_spaces *s, sk_error *reterr) {
    int     n = (int)json_array_size(json), three = 0, run[3];
    int64_t slots = 0, columns = 0;
    if (!json_is_array(json) || json_array_size(json) > SK_POLICY_RUNS_MAX)
        return SK_FAIL(reterr, SK_ECORRUPT, "policy file: obs_runs must be a list of at most %d", SK_POLICY_RUNS_MAX);
    for (int i = 0; i < n; i++) {
        SK_TRY(read_ints(json_array_get(json, (size_t)i), run, 3, -(1 << 24), 1 << 24, "obs_runs", &three, reterr));
        if (three != 3 || run[0] < 1 || run[1] < 0 || run[0] > SIZE_LIMIT || run[1] > SIZE_LIMIT)
            return SK_FAIL(reterr, SK_ECORRUPT, "policy file: obs_runs[%d] must be slots, choices and the least one", i);
        s->runs[i] = (sk_encode_run){run[0], run[1], run[2]};
        slots += run[0];
        columns += (int64_t)run[0] * (run[1] > 0 ? run[1] : 1);
    }
    s->n_runs = n;
    if (n == 0 || (slots == s->obs_dim && columns <= SIZE_LIMIT)) return SK_OK;
    return SK_FAIL(reterr, SK_ECORRUPT, "policy file: obs_runs has %lld slots (%lld columns), wanted %d", (long long)slots,
                   (long long)columns, s->obs_dim);
}

/* Files of version 1 have no bounds of actions; policies that need them refuse to be made without. */
static sk_status read_floats(const json_t *array, float *out, int max, const char *what, sk_error *reterr) {
    size_t n = json_array_size(array);
    if (array && (!json_is_array(array) || n > (size_t)max))
        return SK_FAIL(reterr, SK_ECORRUPT, "policy file: %s must be a list of at most %d", what, max);
    for (size_t i = 0; i < n; i++) {
        if (!json_is_number(json_array_get(array, i)))
            return SK_FAIL(reterr, SK_ECORRUPT, "policy file: %s[%zu] must be a number", what, i);
        out[i] = (float)json_number_value(json_array_get(array, i));
    }
    return SK_OK;
}

static sk_status read_spaces(json_t *json, sk_policy_spaces *s, sk_error *reterr) {
    const char  *env = NULL;
    json_t      *n = NULL, *start = NULL, *runs = NULL;
    json_error_t why;
    int          n_start = 0;
    *s = (sk_policy_spaces){0};
    if (json_unpack_ex(json, &why, 0, "{s:s, s:i, s:o, s:i, s:i, s:o, s:o}", "env", &env, "obs_dim", &s->obs_dim,
                       "obs_runs", &runs, "action_slots", &s->action_slots, "mask_size", &s->mask_size, "discrete_n", &n,
                       "discrete_start", &start))
        return SK_FAIL(reterr, SK_ECORRUPT, "policy file: spaces: %s", why.text);
    snprintf(s->env_name, sizeof s->env_name, "%s", env);
    SK_TRY(read_ints(n, s->part_n, SK_POLICY_PARTS_MAX, 1, 4096, "discrete_n", &s->n_parts, reterr));
    SK_TRY(read_ints(start, s->part_start, SK_POLICY_PARTS_MAX, -SIZE_LIMIT, SIZE_LIMIT, "discrete_start", &n_start,
                     reterr));
    int choices = 0;
    for (int i = 0; i < s->n_parts; i++) choices += s->part_n[i];
    if (s->obs_dim < 1 || s->obs_dim > SIZE_LIMIT || s->action_slots < 1 || s->action_slots > 4096 ||
        n_start != s->n_parts || (s->n_parts > 0 && s->action_slots != s->n_parts) ||
        (s->mask_size != 0 && s->mask_size != choices))
        return SK_FAIL(reterr, SK_ECORRUPT, "policy file: the spaces contradict each other");
    SK_TRY(read_floats(json_object_get(json, "box_low"), s->box_low, SK_POLICY_BOX_MAX, "box_low", reterr));
    SK_TRY(read_floats(json_object_get(json, "box_high"), s->box_high, SK_POLICY_BOX_MAX, "box_high", reterr));
    return read_runs(runs, s, reterr);
}

static sk_status read_q(json_t *json, sk_q_config *q, sk_error *reterr) {
    const char  *distribution = NULL;
    int          dueling = 0, noisy = 0;
    json_int_t   atoms = 0;
    json_error_t why;
    if (!json || json_unpack_ex(json, &why, 0, "{s:b, s:b, s:s, s:I, s:F, s:F}", "dueling", &dueling, "noisy", &noisy,
                                "distribution", &distribution, "num_atoms", &atoms, "v_min", &q->v_min, "v_max",
                                &q->v_max))
        return SK_FAIL(reterr, SK_ECORRUPT, "policy file: model.q: %s", json ? why.text : "it is not there");
    q->distribution = name_index(distribution, distribution_names, SK_COUNT(distribution_names));
    q->dueling = dueling;
    q->noisy = noisy;
    q->num_atoms = atoms;
    if (q->distribution >= 0 && atoms >= 1 && atoms <= 4096 && isfinite(q->v_min) && isfinite(q->v_max) &&
        (q->distribution != SK_Q_C51 || (atoms >= 2 && q->v_min < q->v_max)))
        return SK_OK;
    return SK_FAIL(reterr, SK_ECORRUPT, "policy file: model.q makes no sense");
}

/* What files of version 1 do not say: they are all of one kind. */
static sk_status read_kind(json_t *json, sk_model_config *m, sk_error *reterr) {
    const char  *kind = kind_names[SK_POLICY_ACTOR_CRITIC];
    int          squash = 0, sde = 0;
    json_int_t   freq = -1;
    json_error_t why;
    if (json_unpack_ex(json, &why, 0, "{s?s, s?b, s?b, s?I}", "kind", &kind, "squash_actions", &squash, "use_sde", &sde,
                       "sde_sample_freq", &freq))
        return SK_FAIL(reterr, SK_ECORRUPT, "policy file: model: %s", why.text);
    m->kind = name_index(kind, kind_names, SK_COUNT(kind_names));
    m->squash_actions = squash;
    m->use_sde = sde;
    m->sde_sample_freq = freq;
    if (m->kind < 0) return SK_FAIL(reterr, SK_ECORRUPT, "policy file: unknown kind of policy \"%.40s\"", kind);
    if (freq < -1) return SK_FAIL(reterr, SK_ECORRUPT, "policy file: sde_sample_freq must be at least -1");
    return m->kind == SK_POLICY_Q ? read_q(json_object_get(json, "q"), &m->q, reterr) : SK_OK;
}

static sk_status read_model(json_t *json, sk_model_config *m, sk_error *reterr) {
    json_t      *hiddens = NULL;
    const char  *activation = NULL;
    int          share = 0, free_log_std = 0, layer_norm = 0, widths[SK_LIST_MAX], n = 0;
    json_error_t why;
    *m = (sk_model_config){0};
    if (json_unpack_ex(json, &why, 0, "{s:o, s:s, s:b, s:b, s:b}", "fcnet_hiddens", &hiddens, "fcnet_activation",
                       &activation, "vf_share_layers", &share, "free_log_std", &free_log_std, "layer_norm",
                       &layer_norm))
        return SK_FAIL(reterr, SK_ECORRUPT, "policy file: model: %s", why.text);
    SK_TRY(read_ints(hiddens, widths, SK_LIST_MAX, 1, 1 << 16, "fcnet_hiddens", &n, reterr));
    m->fcnet_hiddens.n = n;
    for (int i = 0; i < n; i++) m->fcnet_hiddens.v[i] = widths[i];
    m->fcnet_activation = name_index(activation, activation_names, SK_COUNT(activation_names));
    if (m->fcnet_activation < 0)
        return SK_FAIL(reterr, SK_ECORRUPT, "policy file: unknown activation \"%.40s\"", activation);
    m->vf_share_layers = share;
    m->free_log_std = free_log_std;
    m->layer_norm = layer_norm;
    return read_kind(json, m, reterr);
}

/* Parameters and statistics into a policy whose sizes are known now. */
static sk_status read_values(const sk_pack *pack, sk_policy *policy, double count, sk_error *reterr) {
    const void    *bytes = NULL;
    sk_normalizer *norm = sk_policy_normalizer(policy);
    size_t         size = sk_policy_n_floats(policy) * sizeof(float);
    SK_TRY(sk_pack_section(pack, "params", size, &bytes, NULL, reterr));
    memcpy(sk_policy_params(policy), bytes, size);
    size = (size_t)norm->n * 2 * sizeof(double);
    SK_TRY(sk_pack_section(pack, "normalizer", size, &bytes, NULL, reterr));
    memcpy(norm->mean, bytes, size);
    norm->count = count;
    return SK_OK;
}

/* A network like this has at least so many floats of parameters. */
static double least_floats(const sk_policy_spaces *s, const sk_model_config *m) {
    double floats = 0.0, width = s->n_runs > 0 ? 0.0 : s->obs_dim, outputs = s->n_parts > 0 ? 0.0 : s->action_slots;
    for (int i = 0; i < s->n_parts; i++) outputs += s->part_n[i];
    if (m->kind == SK_POLICY_Q && m->q.distribution != SK_Q_MEAN) outputs *= (double)m->q.num_atoms;
    for (int i = 0; i < s->n_runs; i++)
        width += (double)s->runs[i].cols * (s->runs[i].choices > 0 ? s->runs[i].choices : 1);
    for (int i = 0; i < m->fcnet_hiddens.n; i++) {
        floats += width * (double)m->fcnet_hiddens.v[i];
        width = (double)m->fcnet_hiddens.v[i];
    }
    return floats + width * outputs; /* one trunk and the policy's head */
}

/* Are there parameters for what the file describes? Looked at before memory is taken for it. */
static sk_status check_size(const sk_pack *pack, const sk_policy_spaces *s, const sk_model_config *m, sk_error *reterr) {
    const void *bytes = NULL;
    size_t      size = 0;
    SK_TRY(sk_pack_section(pack, "params", SIZE_MAX, &bytes, &size, reterr));
    if ((double)(size / sizeof(float)) >= least_floats(s, m)) return SK_OK;
    return SK_FAIL(reterr, SK_ECORRUPT, "policy file: %zu bytes of parameters, its network has at least %.0f", size,
                   sizeof(float) * least_floats(s, m));
}

sk_status sk_policy_unpack(const sk_pack *pack, sk_policy **ret_policy, sk_error *reterr) {
    json_t          *json = json_object_get(sk_pack_json(pack), "policy"), *spaces_at = NULL, *model_at = NULL;
    const char      *filter_name = NULL;
    double           count = 0.0;
    json_int_t       version = 0;
    json_error_t     why;
    sk_policy_spaces spaces;
    sk_model_config  model;
    if (!json || json_unpack_ex(json, &why, 0, "{s:o, s:o, s:s, s:F, s:I}", "spaces", &spaces_at, "model", &model_at,
                                "observation_filter", &filter_name, "normalizer_count", &count, "version", &version))
        return SK_FAIL(reterr, SK_ECORRUPT, "policy file: %s", json ? why.text : "it describes no policy");
    SK_TRY(read_spaces(spaces_at, &spaces, reterr));
    SK_TRY(read_model(model_at, &model, reterr));
    int filter = name_index(filter_name, filter_names, SK_COUNT(filter_names));
    if (filter < 0 || !(count >= 0.0) || version < 0)
        return SK_FAIL(reterr, SK_ECORRUPT, "policy file: observation_filter, count or version make no sense");
    if (model.kind == SK_POLICY_Q && spaces.n_parts != 1)
        return SK_FAIL(reterr, SK_ECORRUPT, "policy file: action values for %d discrete actions, wanted 1", spaces.n_parts);
    if (model.kind == SK_POLICY_DETERMINISTIC && spaces.n_parts != 0)
        return SK_FAIL(reterr, SK_ECORRUPT, "policy file: a deterministic policy with discrete actions");
    SK_TRY(check_size(pack, &spaces, &model, reterr));
    sk_policy *policy = NULL;
    SK_TRY(sk_policy_create(&spaces, &model, (sk_obs_filter)filter, 0, &policy, reterr));
    sk_policy_set_version(policy, version);
    sk_status status = read_values(pack, policy, count, reterr);
    if (status != SK_OK) {
        sk_policy_destroy(&policy);
        return status;
    }
    *ret_policy = policy;
    return SK_OK;
}

sk_status sk_policy_save(const sk_policy *self, const char *path, sk_error *reterr) {
    SK_AUTO(sk_pack_writer) writer = NULL;
    SK_TRY(sk_pack_writer_create(SK_PACK_POLICY, SK_POLICY_FILE_VERSION, &writer, reterr));
    SK_TRY(sk_policy_pack(self, writer, reterr));
    return sk_pack_writer_save(writer, path, reterr);
}

static int is_file(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* The newest of checkpoints/<env steps>/, -1 if there is none. */
static long long newest_checkpoint(const char *run_dir) {
    char      path[4096];
    long long newest = -1;
    int       n = snprintf(path, sizeof path, "%s/checkpoints", run_dir);
    DIR      *dir = n > 0 && (size_t)n < sizeof path ? opendir(path) : NULL;
    for (struct dirent *e; dir && (e = readdir(dir));) {
        char     *end = NULL;
        long long steps = strtoll(e->d_name, &end, 10);
        if (end != e->d_name && *end == '\0' && steps > newest) newest = steps;
    }
    if (dir) closedir(dir);
    return newest;
}

/* A folder stands for the policy in it: a checkpoint's, else a run's best, else a run's newest. */
static sk_status find_file(const char *path, char *ret_path, size_t size, sk_error *reterr) {
    struct stat st;
    int         n = snprintf(ret_path, size, "%s", path);
    if (n < 0 || (size_t)n + 64 > size) return SK_FAIL(reterr, SK_EINVAL, "the path is too long: %.100s...", path);
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) return SK_OK;
    snprintf(ret_path, size, "%s/policy.skiff", path);
    if (is_file(ret_path)) return SK_OK;
    snprintf(ret_path, size, "%s/checkpoints/best/policy.skiff", path);
    if (is_file(ret_path)) return SK_OK;
    snprintf(ret_path, size, "%s/checkpoints/%lld/policy.skiff", path, newest_checkpoint(path));
    if (is_file(ret_path)) return SK_OK;
    return SK_FAIL(reterr, SK_ENOTFOUND, "\"%s\" holds no policy: neither policy.skiff nor checkpoints/*/policy.skiff",
                   path);
}

sk_status sk_policy_load(const char *path, sk_policy **ret_policy, sk_error *reterr) {
    char file[4096];
    SK_AUTO(sk_pack) pack = NULL;
    SK_TRY(find_file(path, file, sizeof file, reterr));
    SK_TRY(sk_pack_load(file, SK_PACK_POLICY, SK_POLICY_FILE_VERSION, &pack, reterr));
    sk_status status = sk_policy_unpack(pack, ret_policy, reterr);
    if (status != SK_OK) sk_error_prefix(reterr, "%s", file);
    return status;
}
