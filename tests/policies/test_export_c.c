/* Exported C: compiled by the plain system compiler it gives the library's bits, whatever the network is made of. */
#include "policies/export_c.h"

#include "nn/cpu/kernels.h"
#include "tests/policies/policy_fixture.h"

#include <dlfcn.h>

enum { ROWS = 1000, MAX_OBS = 17, MAX_ACTION = 6, MAX_MASK = 8 };

/* pilot_act as it is declared for discrete actions, with a mask, for box actions; dlsym knows objects only. */
typedef union pilot {
    void *symbol;
    void (*discrete)(const float *obs, int *action);
    void (*masked)(const float *obs, const unsigned char *mask, int *action);
    void (*box)(const float *obs, float *action);
    void (*grid)(const int *obs, int *action);
    void (*mixed)(const void *obs, float *action);
} pilot;

typedef struct rig {
    char        dir[64];
    void       *library;
    pilot       act;
    float       obs[ROWS * MAX_OBS], mask[ROWS * MAX_MASK];
    sk_env_slot action[ROWS * MAX_ACTION]; /* the library's, as the environment counts */
} rig;

static void remove_file(const rig *r, const char *file) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", r->dir, file);
    cr_assert_eq(unlink(path), 0, "%s", path);
}

static int run(const char *fmt, const char *dir) {
    char command[1024];
    for (int used = 0; *fmt; fmt++) { /* every @ is the folder */
        if (*fmt == '@') used += snprintf(command + used, sizeof command - (size_t)used, "%s", dir);
        else command[used++] = *fmt;
        command[used] = '\0';
    }
    return system(command);
}

static void open_rig(rig *r, const sk_policy *policy, const char *flags) {
    char     text[512];
    sk_error err = {0};
    strcpy(r->dir, "/tmp/skiff-test-XXXXXX");
    cr_assert(mkdtemp(r->dir));
    cr_assert_eq(sk_policy_export_c(policy, "pilot", r->dir, &err), SK_OK, "%s", err.msg);
    snprintf(text, sizeof text, "cc -Wall -Wextra -Wpedantic -Werror %s -fPIC -shared @/pilot.c -o @/pilot.so -lm", flags);
    cr_assert_eq(run(text, r->dir), 0, "the source does not compile with %s", flags);
    snprintf(text, sizeof text, "%s/pilot.so", r->dir);
    r->library = dlopen(text, RTLD_NOW | RTLD_LOCAL);
    cr_assert(r->library, "%s", dlerror());
    r->act.symbol = dlsym(r->library, "pilot_act");
    cr_assert(r->act.symbol);
}
static void close_rig(rig *r) {
    dlclose(r->library);
    remove_file(r, "pilot.c");
    remove_file(r, "pilot.h");
    remove_file(r, "pilot.so");
    cr_assert_eq(rmdir(r->dir), 0);
}

static void act_inside(rig *r, sk_policy *policy) {
    const sk_policy_spaces *s = sk_policy_spaces_get(policy);
    sk_device              *device = NULL;
    sk_inference           *inference = fix_inference(policy, ROWS, &device);
    uint64_t                seed = 7;
    fix_observe(s, ROWS, &seed, r->obs);
    for (int i = 0; i < ROWS * s->mask_size; i++) r->mask[i] = fix_uniform(&seed, 0.0f, 1.0f) > 0.5f;
    sk_inference_act(inference, &(sk_inference_io){.rows = ROWS, .obs = r->obs, .mask = r->mask, .deterministic = 1,
                                                   .action = r->action});
    sk_policy_to_env(s, sk_policy_model(policy), r->action, ROWS, r->action);
    sk_inference_destroy(&inference);
    sk_device_destroy(&device);
}

static void assert_same(rig *r, const sk_policy_spaces *s, const char *what) {
    sk_env_slot first = r->action[0];
    int         differ = 0;
    for (int row = 0; row < ROWS; row++) {
        union { int i[MAX_ACTION]; float f[MAX_ACTION]; } got;
        unsigned char mask[MAX_MASK];
        const float  *obs = r->obs + row * s->obs_dim;
        for (int i = 0; i < s->mask_size; i++) mask[i] = r->mask[row * s->mask_size + i] > 0.5f;
        if (s->mask_size > 0) r->act.masked(obs, mask, got.i);
        else if (s->n_parts > 0 && s->n_runs > 0) r->act.grid((const int *)(const void *)obs, got.i);
        else if (s->n_runs > 0) r->act.mixed(obs, got.f);
        else if (s->n_parts > 0) r->act.discrete(obs, got.i);
        else r->act.box(obs, got.f);
        for (int i = 0; i < s->action_slots; i++) {
            const sk_env_slot *want = &r->action[row * s->action_slots + i];
            cr_assert_eq(got.i[i], want->i, "%s, row %d: %d (%a), wanted %d (%a)", what, row, got.i[i],
                         (double)got.f[i], want->i, (double)want->f);
            differ |= want->i != first.i;
        }
    }
    cr_assert(differ, "%s: all actions are equal, so this shows nothing", what);
}

/* The same policy in the library, at every level with fused multiply-add, and as C. */
static void assert_exported(const sk_policy_spaces *spaces, const sk_model_config *model, sk_obs_filter filter,
                            const char *flags) {
    static rig r;
    char       what[128];
    sk_policy *policy = fix_policy(spaces, model, filter, 21);
    open_rig(&r, policy, flags);
    for (int level = 3; level <= 4; level++) {
        if (!sk_kernels_at(level)) continue;
        snprintf(what, sizeof what, "%s, activation %d, v%d, %s", spaces->env_name, model->fcnet_activation, level, flags);
        setenv("SKIFF_ISA", (const char[]){'v', (char)('0' + level), 0}, 1);
        act_inside(&r, policy);
        assert_same(&r, spaces, what);
    }
    close_rig(&r);
    sk_policy_destroy(&policy);
}

static const sk_model_config tanh_net = {.fcnet_hiddens = {2, {64, 64}}, .fcnet_activation = SK_ACT_TANH,
                                         .free_log_std = true};

Test(export_c, gives_the_same_bits_on_cartpole_and_pendulum) {
    assert_exported(&fix_cartpole, &tanh_net, SK_FILTER_NONE, "-O2");
    assert_exported(&fix_pendulum, &tanh_net, SK_FILTER_NONE, "-O2");
    assert_exported(&fix_pendulum, &tanh_net, SK_FILTER_MEAN_STD, "-O2");
}

Test(export_c, gives_the_same_bits_with_every_activation) {
    for (int activation = SK_ACT_TANH; activation <= SK_ACT_LINEAR; activation++)
        for (int norm = 0; norm < 2; norm++) {
            sk_model_config net = {.fcnet_hiddens = {2, {24, 20}}, .fcnet_activation = activation, .layer_norm = norm};
            assert_exported(&fix_pendulum, &net, SK_FILTER_MEAN_STD, "-O1");
        }
}

Test(export_c, gives_the_same_bits_with_masks_and_several_choices) {
    sk_model_config net = {.fcnet_hiddens = {1, {16}}, .fcnet_activation = SK_ACT_RELU, .vf_share_layers = true};
    assert_exported(&fix_masked, &net, SK_FILTER_MEAN_STD, "-O2");
}

Test(export_c, gives_the_same_bits_with_narrow_wide_and_no_layers) {
    static const sk_policy_spaces wide = {.env_name = "Wide-v0", .obs_dim = MAX_OBS, .action_slots = MAX_ACTION};
    sk_model_config none = {.fcnet_activation = SK_ACT_TANH}, narrow = {.fcnet_hiddens = {3, {5, 1, 33}}};
    sk_model_config large = {.fcnet_hiddens = {2, {256, 256}}, .free_log_std = true};
    assert_exported(&fix_pendulum, &none, SK_FILTER_NONE, "-O2");
    assert_exported(&wide, &none, SK_FILTER_NONE, "-O2");
    assert_exported(&wide, &narrow, SK_FILTER_NONE, "-O2");
    assert_exported(&wide, &large, SK_FILTER_NONE, "-O2");
}

Test(export_c, gives_the_same_bits_with_integers_in_the_observation) {
    static const sk_policy_spaces *const spaces[] = {&fix_grid, &fix_mixed, &fix_sparse};
    sk_model_config                      none = {.fcnet_activation = SK_ACT_TANH};
    for (int i = 0; i < SK_COUNT(spaces); i++)
        for (int filter = SK_FILTER_NONE; filter <= SK_FILTER_MEAN_STD; filter++) {
            assert_exported(spaces[i], &tanh_net, (sk_obs_filter)filter, "-O1");
            assert_exported(spaces[i], &none, (sk_obs_filter)filter, "-O1 -march=native");
        }
}

Test(export_c, gives_the_same_bits_however_it_is_compiled) {
    sk_model_config net = {.fcnet_hiddens = {2, {32, 32}}, .fcnet_activation = SK_ACT_GELU, .layer_norm = true};
    assert_exported(&fix_pendulum, &net, SK_FILTER_MEAN_STD, "-std=gnu11 -O3 -march=native");
    assert_exported(&fix_pendulum, &net, SK_FILTER_MEAN_STD, "-std=c99 -O0");
}

static const sk_policy_spaces arm = {.env_name = "Arm-v0", .obs_dim = 6, .action_slots = 3,
                                     .box_low = {-2, 0.1f, -0.4f}, .box_high = {2, 7, 0.3f}};

Test(export_c, gives_the_same_bits_with_actions_scaled_to_their_bounds) {
    sk_model_config net = {.fcnet_hiddens = {2, {24, 20}}, .fcnet_activation = SK_ACT_RELU};
    for (int kind = SK_POLICY_ACTOR_CRITIC; kind <= SK_POLICY_DETERMINISTIC; kind++)
        for (int tanh = 0; tanh < 2; tanh++) {
            net.kind = kind, net.squash_actions = kind == SK_POLICY_ACTOR_CRITIC;
            net.fcnet_activation = tanh ? SK_ACT_TANH : SK_ACT_RELU;
            assert_exported(&arm, &net, tanh ? SK_FILTER_MEAN_STD : SK_FILTER_NONE, "-O2");
        }
    net.fcnet_hiddens.n = 0; /* a head alone */
    assert_exported(&arm, &net, SK_FILTER_NONE, "-O2 -march=native");
    net.kind = SK_POLICY_SQUASHED;
    assert_exported(&fix_masked, &net, SK_FILTER_NONE, "-O2");
    net.use_sde = true;
    assert_exported(&arm, &net, SK_FILTER_NONE, "-O2");
}

static const sk_policy_spaces five = {.env_name = "Five-v0", .obs_dim = 4, .action_slots = 1, .n_parts = 1,
                                      .part_n = {5}, .part_start = {-2}};
static const sk_policy_spaces five_masked = {.env_name = "Five-v1", .obs_dim = 4, .action_slots = 1, .n_parts = 1,
                                             .part_n = {5}, .mask_size = 5};
Test(export_c, gives_the_same_choices_by_action_values) {
    sk_model_config net = {.kind = SK_POLICY_Q, .q = {.num_atoms = 1}, .fcnet_hiddens = {2, {24, 20}},
                           .fcnet_activation = SK_ACT_RELU};
    assert_exported(&five, &net, SK_FILTER_NONE, "-O2");
    assert_exported(&five_masked, &net, SK_FILTER_MEAN_STD, "-O2");
}

Test(export_c, refuses_the_parts_of_rainbow_that_have_no_c_form) {
    const sk_q_config parts[] = {{.num_atoms = 1, .dueling = true}, {.num_atoms = 1, .noisy = true},
                                 {.num_atoms = 5, .distribution = SK_Q_QUANTILE},
                                 {.num_atoms = 5, .distribution = SK_Q_C51, .v_max = 1}};
    for (int i = 0; i < SK_COUNT(parts); i++) {
        sk_model_config net = {.kind = SK_POLICY_Q, .q = parts[i], .fcnet_hiddens = {1, {8}}};
        sk_policy      *policy = fix_policy(&five, &net, SK_FILTER_NONE, 1);
        sk_error        err = {0};
        cr_assert_eq(sk_policy_export_c(policy, "pilot", "/tmp", &err), SK_EUNSUPPORTED);
        cr_assert(strstr(err.msg, "have no C form"), "%s", err.msg);
        sk_policy_destroy(&policy);
    }
}

Test(export_c, refuses_what_cannot_be_exported) {
    static const char *const names[] = {"", "9lives", "a-b", "a b", "\xc3\xa4", "../up"};
    char       dir[64] = "/tmp/skiff-test-XXXXXX";
    sk_error   err = {0};
    sk_policy *policy = fix_policy(&fix_cartpole, &tanh_net, SK_FILTER_NONE, 1);
    cr_assert(mkdtemp(dir));
    for (int i = 0; i < SK_COUNT(names); i++)
        cr_assert_eq(sk_policy_export_c(policy, names[i], dir, &err), SK_EINVAL, "%s", names[i]);
    cr_assert_eq(sk_policy_export_c(policy, "pilot", "/nowhere", &err), SK_EIO);
    cr_assert(strstr(err.msg, "/nowhere"), "%s", err.msg);
    sk_policy_params(policy)[0] = 0.0f / 0.0f;
    cr_assert_eq(sk_policy_export_c(policy, "pilot", dir, &err), SK_ENUMERIC);
    cr_assert(strstr(err.msg, "pi/0/w[0, 0]"), "%s", err.msg);
    cr_assert_eq(rmdir(dir), 0, "a refused export left a file");
    sk_policy_destroy(&policy);
}
