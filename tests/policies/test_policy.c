/* Spaces, fresh parameters, and the file: round trips, damage of every byte, descriptions that lie, and where a policy
 * is looked for. */
#include "tests/policies/policy_fixture.h"

#include <dirent.h>
#include <math.h>
#include <sys/stat.h>

static const sk_model_config plain = {.fcnet_hiddens = {2, {8, 6}}, .free_log_std = true, .log_std_init = -0.25};

static void has(const char *text, const char *part) {
    cr_assert(strstr(text, part), "\"%s\" lacks \"%s\"", text, part);
}

/* ---- spaces ---- */

static sk_env_spec spec_of(int n_obs, int n_action) {
    sk_env_spec s = {.struct_size = sizeof s, .n_obs = n_obs, .n_action = n_action, .n_agents = 1};
    for (int i = 0; i < n_obs; i++)
        s.obs[i] = (sk_env_field){.name = "o", .n_dims = i, .shape = {2, 3, 4}, .low = -INFINITY, .high = INFINITY};
    return s;
}

Test(policy_spaces, are_those_of_the_environment) {
    sk_policy_spaces p;
    sk_env_spec      s = spec_of(3, 2); /* a scalar, 2 and 2 x 3 */
    s.action[0] = (sk_env_action_part){.name = "a", .kind = SK_ENV_DISCRETE, .n = 3, .start = -1};
    s.action[1] = (sk_env_action_part){.name = "b", .kind = SK_ENV_DISCRETE, .n = 5, .start = 2};
    s.mask_size = 8;
    cr_assert_eq(sk_policy_spaces_of(&s, "Some-v1", &p, NULL), SK_OK);
    cr_assert_str_eq(p.env_name, "Some-v1");
    cr_assert(p.obs_dim == 9 && p.action_slots == 2 && p.mask_size == 8 && p.n_parts == 2);
    cr_assert(p.part_n[0] == 3 && p.part_n[1] == 5 && p.part_start[0] == -1 && p.part_start[1] == 2);

    s = spec_of(1, 2);
    s.action[0] = (sk_env_action_part){.name = "a", .kind = SK_ENV_BOX, .n = 3, .low = -1, .high = 1};
    s.action[1] = (sk_env_action_part){.name = "b", .kind = SK_ENV_BOX, .n = 1, .low = 0, .high = 1};
    cr_assert_eq(sk_policy_spaces_of(&s, "Box-v0", &p, NULL), SK_OK);
    cr_assert(p.obs_dim == 1 && p.action_slots == 4 && p.n_parts == 0 && p.mask_size == 0);
}

Test(policy_spaces, refuse_choices_and_boxes_in_one_action) {
    sk_policy_spaces p;
    sk_error         e;
    sk_env_spec      s = spec_of(1, 3);
    s.action[0] = (sk_env_action_part){.name = "a", .kind = SK_ENV_DISCRETE, .n = 3};
    s.action[1] = (sk_env_action_part){.name = "b", .kind = SK_ENV_BOX, .n = 2, .high = 1};
    s.action[2] = (sk_env_action_part){.name = "c", .kind = SK_ENV_BOX, .n = 2, .high = 1};
    cr_assert_eq(sk_policy_spaces_of(&s, "Mixed-v0", &p, &e), SK_EUNSUPPORTED);
    has(e.msg, "\"Mixed-v0\" has 1 discrete and 4 box actions");
}

Test(policy_spaces, name_the_first_difference) {
    sk_policy_spaces env;
    sk_error         e;
    cr_assert_eq(sk_policy_spaces_same(&fix_masked, &fix_masked, &e), SK_OK);
#define DIFFERS(change, text)                                                                                          \
    do {                                                                                                               \
        env = fix_masked;                                                                                              \
        strcpy(env.env_name, "Other-v0");                                                                              \
        change;                                                                                                        \
        cr_assert_eq(sk_policy_spaces_same(&fix_masked, &env, &e), SK_EINVAL, "%s", #change);                          \
        has(e.msg, "(made for \"Masked-v0\") does not fit \"Other-v0\"");                                              \
        has(e.msg, text);                                                                                              \
    } while (0)
    DIFFERS(env.obs_dim = 6, "observation size is 5, wanted 6");
    DIFFERS(env.action_slots = 1, "action slots is 2, wanted 1");
    DIFFERS(env.n_parts = 0, "discrete actions is 2, wanted 0");
    DIFFERS(env.mask_size = 0, "mask size is 7, wanted 0");
    DIFFERS(env.part_n[1] = 5, "action 1 has 4 choices, wanted 5");
    env = fix_masked;
    strcpy(env.env_name, "Another-v2"); /* the name alone is no difference */
    cr_assert_eq(sk_policy_spaces_same(&fix_masked, &env, &e), SK_OK);
}

/* ---- fresh parameters ---- */

typedef struct place {
    sk_graph *g;
    sk_policy *policy;
} place;

static const sk_node *param(const place *p, const char *name) {
    sk_tensor t = sk_graph_find_param(p->g, name);
    cr_assert_geq(t, 0, "%s", name);
    return sk_graph_node(p->g, t);
}
static float at(const place *p, const sk_node *n, int r, int c) {
    return sk_policy_params(p->policy)[n->offset + r * n->ld + c];
}
/* Rows or columns, whichever are fewer, are orthogonal and as long as `gain`. */
static void orthogonal(const place *p, const char *name, double gain) {
    const sk_node *n = param(p, name);
    int            by_row = n->rows < n->cols, k = by_row ? n->rows : n->cols, m = by_row ? n->cols : n->rows;
    for (int i = 0; i < k; i++)
        for (int j = 0; j <= i; j++) {
            double dot = 0.0;
            for (int x = 0; x < m; x++)
                dot += by_row ? (double)at(p, n, i, x) * (double)at(p, n, j, x)
                              : (double)at(p, n, x, i) * (double)at(p, n, x, j);
            cr_assert_float_eq(dot, i == j ? gain * gain : 0.0, 1e-5 * gain * gain, "%s: %d, %d: %g", name, i, j, dot);
        }
}
static void constant(const place *p, const char *name, float value) {
    const sk_node *n = param(p, name);
    for (int i = 0; i < n->cols; i++) cr_assert_eq(at(p, n, 0, i), value, "%s[%d]", name, i);
}

Test(policy, starts_orthogonal_with_the_right_gains) {
    sk_model_config model = plain;
    model.layer_norm = true;
    place  p = {0};
    sk_net net;
    cr_assert_eq(sk_policy_create(&fix_pendulum, &model, SK_FILTER_NONE, 5, &p.policy, NULL), SK_OK);
    cr_assert_eq(sk_graph_create(&p.g, NULL), SK_OK);
    sk_net_build(p.g, &fix_pendulum, &model, SK_FILTER_NONE, sk_graph_input(p.g, "obs", 3), &net);
    orthogonal(&p, "pi/0/w", M_SQRT2), orthogonal(&p, "pi/1/w", M_SQRT2);
    orthogonal(&p, "vf/0/w", M_SQRT2), orthogonal(&p, "vf/1/w", M_SQRT2);
    orthogonal(&p, "pi/out/w", 0.01), orthogonal(&p, "vf/out/w", 1.0);
    constant(&p, "pi/0/b", 0), constant(&p, "vf/1/b", 0), constant(&p, "pi/out/b", 0), constant(&p, "vf/out/b", 0);
    constant(&p, "pi/log_std", -0.25f);
    constant(&p, "pi/0/ln_gamma", 1), constant(&p, "vf/1/ln_beta", 0);
    cr_assert_neq(at(&p, param(&p, "pi/0/w"), 0, 0), at(&p, param(&p, "vf/0/w"), 0, 0), "two layers are alike");
    /* (3 x 8 + 8 + 8 + 8) + (8 x 6 + 6 + 6 + 6), twice; heads 6 + 1 each; one log-std */
    cr_assert_eq(sk_policy_n_params(p.policy), 2 * (48 + 66) + 7 + 7 + 1);
    double sum = 0.0, real = 0.0; /* the padding is zero */
    for (size_t i = 0; i < sk_policy_n_floats(p.policy); i++) sum += fabs((double)sk_policy_params(p.policy)[i]);
    for (sk_tensor t = 0; t < sk_graph_n_nodes(p.g); t++) {
        const sk_node *n = sk_graph_node(p.g, t);
        for (int i = 0; n->op == SK_OP_PARAM && i < n->rows * n->cols; i++)
            real += fabs((double)at(&p, n, i / n->cols, i % n->cols));
    }
    cr_assert_float_eq(sum, real, 1e-9);
    sk_graph_destroy(&p.g);
    sk_policy_destroy(&p.policy);
}

Test(policy, starts_from_its_seed) {
    sk_policy *a = NULL, *b = NULL, *c = NULL;
    char       sha[3][65], direct[65];
    cr_assert_eq(sk_policy_create(&fix_cartpole, &plain, SK_FILTER_NONE, 5, &a, NULL), SK_OK);
    cr_assert_eq(sk_policy_create(&fix_cartpole, &plain, SK_FILTER_NONE, 5, &b, NULL), SK_OK);
    cr_assert_eq(sk_policy_create(&fix_cartpole, &plain, SK_FILTER_NONE, 6, &c, NULL), SK_OK);
    sk_policy_sha256(a, sha[0]), sk_policy_sha256(b, sha[1]), sk_policy_sha256(c, sha[2]);
    sk_sha256_hex(sk_policy_params(a), sk_policy_n_floats(a) * sizeof(float), direct);
    cr_assert_str_eq(sha[0], direct);
    cr_assert_str_eq(sha[0], sha[1]);
    cr_assert_str_neq(sha[0], sha[2]);
    cr_assert_eq((uintptr_t)sk_policy_params(a) % 64, 0);
    sk_policy_destroy(&a), sk_policy_destroy(&b), sk_policy_destroy(&c);
    sk_policy_destroy(&a);
    sk_policy_destroy(NULL);
}

Test(policy, tells_networks_apart) {
    sk_model_config models[6] = {plain, plain, plain, plain, plain, plain};
    models[1].fcnet_hiddens.v[1] = 7;
    models[2].fcnet_activation = SK_ACT_RELU;
    models[3].vf_share_layers = true;
    models[4].free_log_std = false;
    models[5].layer_norm = true;
    sk_policy *p[7] = {0}, *again = NULL;
    for (int i = 0; i < 6; i++)
        cr_assert_eq(sk_policy_create(&fix_pendulum, &models[i], SK_FILTER_NONE, 1, &p[i], NULL), SK_OK);
    cr_assert_eq(sk_policy_create(&fix_pendulum, &plain, SK_FILTER_MEAN_STD, 1, &p[6], NULL), SK_OK);
    models[0].log_std_init = 1; /* where it starts does not matter */
    cr_assert_eq(sk_policy_create(&fix_pendulum, &models[0], SK_FILTER_NONE, 2, &again, NULL), SK_OK);
    cr_assert(sk_policy_same_network(p[0], again));
    for (int i = 0; i < 7; i++)
        for (int j = 0; j < 7; j++) cr_assert_eq(!!sk_policy_same_network(p[i], p[j]), i == j, "%d and %d", i, j);
    for (int i = 0; i < 7; i++) sk_policy_destroy(&p[i]);
    sk_policy_destroy(&again);
}

/* ---- the file ---- */

static sk_policy *load_ok(const char *path) {
    sk_policy *p = NULL;
    sk_error   e = {0};
    cr_assert_eq(sk_policy_load(path, &p, &e), SK_OK, "%s", e.msg);
    return p;
}

static void same_policy(const sk_policy *a, const sk_policy *b) {
    const sk_normalizer   *x = sk_policy_normalizer_const(a), *y = sk_policy_normalizer_const(b);
    const sk_model_config *m = sk_policy_model(a), *n = sk_policy_model(b);
    char                   sha[2][65];
    cr_assert_eq(memcmp(sk_policy_spaces_get(a), sk_policy_spaces_get(b), sizeof(sk_policy_spaces)), 0);
    cr_assert(m->fcnet_activation == n->fcnet_activation && m->vf_share_layers == n->vf_share_layers &&
              m->free_log_std == n->free_log_std && m->layer_norm == n->layer_norm &&
              m->fcnet_hiddens.n == n->fcnet_hiddens.n &&
              memcmp(m->fcnet_hiddens.v, n->fcnet_hiddens.v, (size_t)m->fcnet_hiddens.n * sizeof(int64_t)) == 0);
    cr_assert_eq(sk_policy_filter(a), sk_policy_filter(b));
    cr_assert_eq(sk_policy_version(a), sk_policy_version(b));
    cr_assert_eq(sk_policy_n_floats(a), sk_policy_n_floats(b));
    cr_assert_eq(memcmp(sk_policy_params_const(a), sk_policy_params_const(b), sk_policy_n_floats(a) * 4), 0);
    sk_policy_sha256(a, sha[0]), sk_policy_sha256(b, sha[1]);
    cr_assert_str_eq(sha[0], sha[1]);
    cr_assert(x->n == y->n && x->count == y->count);
    cr_assert_eq(memcmp(x->mean, y->mean, 2 * (size_t)x->n * sizeof(double)), 0);
    cr_assert(sk_policy_same_network(a, b));
}

Test(policy_file, brings_back_everything) {
    sk_model_config models[] = {plain,
                                {.fcnet_hiddens = {0}},
                                {.fcnet_hiddens = {1, {5}}, .fcnet_activation = SK_ACT_SILU, .vf_share_layers = true},
                                {.fcnet_hiddens = {3, {4, 3, 2}}, .layer_norm = true,
                                 .fcnet_activation = SK_ACT_LINEAR}};
    const sk_policy_spaces *spaces[] = {&fix_cartpole, &fix_pendulum, &fix_masked};
    for (int k = 0; k < 3 * SK_COUNT(models); k++) {
        char       dir[64], path[96];
        sk_policy *a = fix_policy(spaces[k % 3], &models[k / 3], (sk_obs_filter)(k % 2), (uint64_t)k);
        sk_policy_set_version(a, (int64_t)k << 33);
        fix_save(a, dir, path);
        sk_policy *b = load_ok(path);
        same_policy(a, b);
        sk_policy_params(a)[3] += 1.0f; /* written over */
        cr_assert_eq(sk_policy_save(a, path, NULL), SK_OK);
        sk_policy_destroy(&b);
        b = load_ok(path);
        same_policy(a, b);
        fix_remove(dir, path);
        sk_policy_destroy(&a);
        sk_policy_destroy(&b);
    }
}

/* A policy file's bytes; the caller frees. */
static unsigned char *file_bytes(size_t *ret_size) {
    char       dir[64], path[96];
    sk_policy *p = fix_policy(&fix_cartpole, &plain, SK_FILTER_MEAN_STD, 3);
    fix_save(p, dir, path);
    FILE *f = fopen(path, "rb");
    cr_assert(f);
    fseek(f, 0, SEEK_END);
    *ret_size = (size_t)ftell(f);
    rewind(f);
    unsigned char *bytes = malloc(*ret_size);
    cr_assert(bytes && fread(bytes, 1, *ret_size, f) == *ret_size);
    fclose(f);
    fix_remove(dir, path);
    sk_policy_destroy(&p);
    return bytes;
}

static sk_status parse(const void *bytes, size_t size, sk_error *e) {
    sk_pack   *pack = NULL;
    sk_policy *policy = NULL;
    sk_status  status = sk_pack_parse(bytes, size, "test", SK_PACK_POLICY, SK_POLICY_FILE_VERSION, &pack, e);
    if (status == SK_OK) status = sk_policy_unpack(pack, &policy, e);
    cr_assert_eq(status == SK_OK, policy != NULL);
    sk_policy_destroy(&policy);
    sk_pack_destroy(&pack);
    return status;
}

Test(policy_file, refuses_every_truncation_and_every_flipped_byte) {
    size_t         size;
    sk_error       e;
    unsigned char *bytes = file_bytes(&size);
    cr_assert_eq(parse(bytes, size, &e), SK_OK, "%s", e.msg);
    for (size_t n = 0; n < size; n++) {
        unsigned char *part = malloc(n + 1); /* so that a read past the end is seen */
        memcpy(part, bytes, n);
        cr_assert_eq(parse(part, n, &e), SK_ECORRUPT, "%zu of %zu bytes", n, size);
        free(part);
    }
    for (size_t at_byte = 0; at_byte < size; at_byte++) {
        unsigned char was = bytes[at_byte];
        bytes[at_byte] ^= (unsigned char)(1u << at_byte % 8);
        sk_status status = parse(bytes, size, &e);
        cr_assert(status == SK_ECORRUPT || status == SK_EVERSION, "byte %zu: %s", at_byte, sk_status_text(status));
        bytes[at_byte] = was;
    }
    unsigned char *longer = calloc(1, size + 9);
    memcpy(longer, bytes, size);
    cr_assert_eq(parse(longer, size + 9, &e), SK_ECORRUPT);
    free(longer);
    free(bytes);
}

/* A file whose description was changed by `change`, otherwise whole and with a right checksum. */
typedef struct forged {
    sk_pack_kind kind;
    uint32_t     version;
    void (*change)(json_t *policy);
    const char *leave_out; /* a section */
} forged;

static sk_status load_forged(forged f, sk_error *e) {
    char            dir[64] = "/tmp/skiff-test-XXXXXX", path[96];
    sk_pack_writer *writer = NULL, *real = NULL;
    sk_policy      *p = fix_policy(&fix_masked, &plain, SK_FILTER_MEAN_STD, 3), *got = NULL;
    cr_assert_eq(sk_pack_writer_create(SK_PACK_POLICY, 1, &real, e), SK_OK);
    cr_assert_eq(sk_policy_pack(p, real, e), SK_OK);
    cr_assert_eq(sk_pack_writer_create(f.kind ? f.kind : SK_PACK_POLICY, f.version ? f.version : 1, &writer, e), SK_OK);
    json_t *policy = json_object_get(sk_pack_writer_json(real), "policy");
    if (f.change) f.change(policy);
    json_object_set(sk_pack_writer_json(writer), "policy", policy);
    const sk_normalizer *norm = sk_policy_normalizer_const(p);
    if (!f.leave_out || strcmp(f.leave_out, "params") != 0)
        cr_assert_eq(sk_pack_writer_add(writer, "params", sk_policy_params(p), sk_policy_n_floats(p) * 4, e), SK_OK);
    if (!f.leave_out || strcmp(f.leave_out, "normalizer") != 0)
        cr_assert_eq(sk_pack_writer_add(writer, "normalizer", norm->mean, (size_t)norm->n * 16, e), SK_OK);
    cr_assert(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/policy.skiff", dir);
    cr_assert_eq(sk_pack_writer_save(writer, path, e), SK_OK);
    sk_status status = sk_policy_load(path, &got, e);
    if (status != SK_OK) has(e->msg, path);
    cr_assert_eq(status == SK_OK, got != NULL);
    fix_remove(dir, path);
    sk_policy_destroy(&got);
    sk_policy_destroy(&p);
    sk_pack_writer_destroy(&real);
    sk_pack_writer_destroy(&writer);
    return status;
}

Test(policy_file, refuses_foreign_and_newer_files) {
    sk_error e = {0};
    cr_assert_eq(load_forged((forged){0}, &e), SK_OK, "%s", e.msg);
    cr_assert_eq(load_forged((forged){.kind = SK_PACK_CHECKPOINT}, &e), SK_ECORRUPT);
    has(e.msg, "checkpoint");
    cr_assert_eq(load_forged((forged){.version = SK_POLICY_FILE_VERSION + 1}, &e), SK_EVERSION);
    has(e.msg, "version 3");
    cr_assert_eq(load_forged((forged){.leave_out = "params"}, &e), SK_ECORRUPT);
    has(e.msg, "params");
    cr_assert_eq(load_forged((forged){.leave_out = "normalizer"}, &e), SK_ECORRUPT);
    has(e.msg, "normalizer");
}

/* The largest piece of memory asked for, where malloc can be watched. */
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define WATCHES_MEMORY 0
static size_t largest;
#else
#define WATCHES_MEMORY 1
static size_t largest;
static void watch(size_t size) { largest = size > largest ? size : largest; }
void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_memalign(size_t, size_t);
void *malloc(size_t size) { return watch(size), __libc_malloc(size); }
void *calloc(size_t n, size_t size) { return watch(n * size), __libc_calloc(n, size); }
void *aligned_alloc(size_t align, size_t size) { return watch(size), __libc_memalign(align, size); }
#endif

static void set(json_t *policy, const char *group, const char *key, json_t *value) {
    cr_assert_eq(json_object_set_new(group ? json_object_get(policy, group) : policy, key, value), 0);
}
static json_t *list(int n, json_int_t value) {
    json_t *a = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(a, json_integer(value));
    return a;
}
#define FORGE(name, group, key, value)                                                                                 \
    static void name(json_t *policy) { set(policy, group, key, value); }
FORGE(wider, "model", "fcnet_hiddens", json_pack("[i, i]", 8, 7))
FORGE(much_wider, "model", "fcnet_hiddens", json_pack("[i, i]", 1 << 16, 1 << 14))
FORGE(huge, "model", "fcnet_hiddens", json_pack("[i, i]", 1 << 16, 1 << 16))
FORGE(huge_and_deep, "model", "fcnet_hiddens", list(16, 1 << 16))
FORGE(too_wide, "model", "fcnet_hiddens", json_pack("[I]", (json_int_t)1 << 40))
FORGE(too_deep, "model", "fcnet_hiddens", list(17, 1))
FORGE(no_width, "model", "fcnet_hiddens", json_pack("[i]", 0))
FORGE(negative_width, "model", "fcnet_hiddens", json_pack("[i, i]", 8, -6))
FORGE(worded_width, "model", "fcnet_hiddens", json_pack("[s]", "eight"))
FORGE(no_list, "model", "fcnet_hiddens", json_integer(8))
FORGE(no_hiddens, "model", "fcnet_hiddens", json_null())
FORGE(odd_activation, "model", "fcnet_activation", json_string("softsign"))
FORGE(shared, "model", "vf_share_layers", json_true())
FORGE(not_shared, "model", "vf_share_layers", json_string("no"))
FORGE(normed, "model", "layer_norm", json_true())
FORGE(no_model, NULL, "model", json_array())
FORGE(no_spaces, NULL, "spaces", json_string("large"))
FORGE(odd_filter, NULL, "observation_filter", json_string("Filter"))
FORGE(minus_count, NULL, "normalizer_count", json_real(-1.0))
FORGE(minus_version, NULL, "version", json_integer(-1))
FORGE(worded_version, NULL, "version", json_string("1"))
FORGE(more_obs, "spaces", "obs_dim", json_integer(6))
FORGE(many_obs, "spaces", "obs_dim", json_integer(1 << 20))
FORGE(too_many_obs, "spaces", "obs_dim", json_integer((1 << 20) + 1))
FORGE(no_obs, "spaces", "obs_dim", json_integer(0))
FORGE(minus_obs, "spaces", "obs_dim", json_integer(-5))
FORGE(slots, "spaces", "action_slots", json_integer(3))
FORGE(no_slots, "spaces", "action_slots", json_integer(0))
FORGE(odd_mask, "spaces", "mask_size", json_integer(6))
FORGE(more_choices, "spaces", "discrete_n", json_pack("[i, i]", 3, 5))
FORGE(many_choices, "spaces", "discrete_n", json_pack("[i, i]", 4096, 4097))
FORGE(no_choice, "spaces", "discrete_n", json_pack("[i, i]", 3, 0))
FORGE(many_parts, "spaces", "discrete_n", list(SK_POLICY_PARTS_MAX + 1, 2))
FORGE(odd_start, "spaces", "discrete_start", json_pack("[i]", 3))
FORGE(far_start, "spaces", "discrete_start", json_pack("[i, I]", 3, (json_int_t)1 << 31))
FORGE(no_name, "spaces", "env", json_integer(3))
static void many_obs_and_wide(json_t *policy) {
    many_obs(policy);
    much_wider(policy);
}
static void many_boxes(json_t *policy) {
    set(policy, "spaces", "discrete_n", json_array());
    set(policy, "spaces", "discrete_start", json_array());
    set(policy, "spaces", "mask_size", json_integer(0));
    set(policy, "spaces", "action_slots", json_integer(4096));
    much_wider(policy);
}
static void wide_head(json_t *policy) { /* the hidden layer alone would fit */
    set(policy, "spaces", "discrete_n", list(SK_POLICY_PARTS_MAX, 4096));
    set(policy, "spaces", "discrete_start", list(SK_POLICY_PARTS_MAX, 0));
    set(policy, "spaces", "mask_size", json_integer(0));
    set(policy, "spaces", "action_slots", json_integer(SK_POLICY_PARTS_MAX));
    set(policy, "model", "fcnet_hiddens", json_pack("[i]", 100));
}

Test(policy_file, refuses_descriptions_that_lie_without_believing_them_first) {
    static const struct {
        const char *name;
        void (*change)(json_t *policy);
    } lies[] = {
#define LIE(name) {#name, name}
        LIE(wider), LIE(much_wider), LIE(huge), LIE(huge_and_deep), LIE(too_wide), LIE(too_deep), LIE(no_width),
        LIE(negative_width), LIE(worded_width), LIE(no_list), LIE(no_hiddens), LIE(odd_activation), LIE(shared),
        LIE(not_shared), LIE(normed), LIE(no_model), LIE(no_spaces), LIE(odd_filter), LIE(minus_count),
        LIE(minus_version), LIE(worded_version), LIE(more_obs), LIE(many_obs), LIE(too_many_obs), LIE(no_obs),
        LIE(minus_obs), LIE(slots), LIE(no_slots), LIE(odd_mask), LIE(more_choices), LIE(many_choices), LIE(no_choice),
        LIE(many_parts), LIE(odd_start), LIE(far_start), LIE(no_name), LIE(many_obs_and_wide), LIE(many_boxes),
        LIE(wide_head)};
    sk_error e;
    for (int i = 0; i < SK_COUNT(lies); i++) {
        largest = 0;
        cr_assert_eq(load_forged((forged){.change = lies[i].change}, &e), SK_ECORRUPT, "%s: %s", lies[i].name, e.msg);
        cr_assert_leq(largest, (size_t)1 << 20, "%s: took %zu bytes", lies[i].name, largest);
        cr_assert_eq(largest > 0, WATCHES_MEMORY);
    }
}

/* ---- where it is looked for ---- */

static void make_folder(const char *path) { cr_assert_eq(mkdir(path, 0755), 0, "%s", path); }

/* A policy of version `version`, written to a new folder `path` as policy.skiff. */
static void put(const char *path, int64_t version) {
    char       file[300];
    sk_policy *p = fix_policy(&fix_cartpole, &plain, SK_FILTER_NONE, 3);
    sk_policy_set_version(p, version);
    make_folder(path);
    snprintf(file, sizeof file, "%s/policy.skiff", path);
    cr_assert_eq(sk_policy_save(p, file, NULL), SK_OK);
    sk_policy_destroy(&p);
}
static int64_t version_at(const char *path) {
    sk_policy *p = load_ok(path);
    int64_t    version = sk_policy_version(p);
    sk_policy_destroy(&p);
    return version;
}
static void remove_tree(const char *path) {
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        char child[512];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        snprintf(child, sizeof child, "%s/%s", path, e->d_name);
        remove_tree(child);
    }
    if (dir) closedir(dir);
    remove(path);
}

Test(policy_file, is_found_in_files_checkpoints_and_run_folders) {
    char     root[64] = "/tmp/skiff-test-XXXXXX", path[256];
    sk_policy *p = NULL;
    sk_error  e;
    cr_assert(mkdtemp(root));
#define AT(...) (snprintf(path, sizeof path, __VA_ARGS__), path)
    cr_assert_eq(sk_policy_load(root, &p, &e), SK_ENOTFOUND); /* an empty folder */
    has(e.msg, root);
    make_folder(AT("%s/checkpoints", root));
    cr_assert_eq(sk_policy_load(root, &p, &e), SK_ENOTFOUND);
    put(AT("%s/checkpoints/900", root), 1);
    put(AT("%s/checkpoints/1100", root), 2); /* newer by number, not by name */
    put(AT("%s/checkpoints/.tmp-2000", root), 3);
    put(AT("%s/checkpoints/3000x", root), 4);
    cr_assert_eq(version_at(root), 2);
    cr_assert_eq(version_at(AT("%s/checkpoints/900", root)), 1);
    cr_assert_eq(version_at(AT("%s/checkpoints/900/policy.skiff", root)), 1);
    put(AT("%s/checkpoints/best", root), 5);
    cr_assert_eq(version_at(root), 5);
    cr_assert_eq(version_at(AT("%s/", root)), 5);
    cr_assert_eq(version_at(AT("%s/checkpoints/1100", root)), 2);
    cr_assert_eq(sk_policy_load(AT("%s/checkpoints", root), &p, &e), SK_ENOTFOUND);
    cr_assert_eq(sk_policy_load(AT("%s/nowhere", root), &p, &e), SK_EIO);
    has(e.msg, "nowhere");
    FILE *f = fopen(AT("%s/text", root), "w");
    cr_assert(f && fputs("hello", f) >= 0 && fclose(f) == 0);
    cr_assert_eq(sk_policy_load(path, &p, &e), SK_ECORRUPT);
    has(e.msg, path);
    char *endless = malloc(5000);
    memset(endless, 'x', 4999);
    endless[4999] = '\0';
    cr_assert_eq(sk_policy_load(endless, &p, &e), SK_EINVAL);
    free(endless);
    cr_assert_null(p);
    remove_tree(root);
}
