/* policy_fixture: policies with all their parts filled from a seed, and files of them, for the tests of policies. */
#ifndef SK_TESTS_POLICY_FIXTURE_H
#define SK_TESTS_POLICY_FIXTURE_H
#include "policies/inference.h"
#include "policies/net.h"
#include "policies/policy.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIX_HELPER __attribute__((unused)) static

/* Uniform in [low, high) (SplitMix64, Steele et al. 2014). */
FIX_HELPER float fix_uniform(uint64_t *state, float low, float high) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return low + (high - low) * ((float)((z ^ (z >> 31)) >> 40) * 0x1p-24f);
}

static const sk_policy_spaces fix_cartpole = {.env_name = "CartPole-v1", .obs_dim = 4, .action_slots = 1, .n_parts = 1,
                                              .part_n = {2}, .part_start = {0}};
static const sk_policy_spaces fix_pendulum = {.env_name = "Pendulum-v1", .obs_dim = 3, .action_slots = 1};
static const sk_policy_spaces fix_masked = {.env_name = "Masked-v0", .obs_dim = 5, .action_slots = 2, .n_parts = 2,
                                            .part_n = {3, 4}, .part_start = {-1, 10}, .mask_size = 7};

/* Integers alone; integers among floats, few and many columns. */
static const sk_policy_spaces fix_grid = {.env_name = "Grid-v0", .obs_dim = 1, .n_runs = 1, .runs = {{1, 500, 0}},
                                          .action_slots = 2, .n_parts = 2, .part_n = {6, 2}, .part_start = {0, 1}};
static const sk_policy_spaces fix_mixed = {.env_name = "Mixed-v0", .obs_dim = 4, .n_runs = 3,
                                           .runs = {{1, 16, 0}, {2, 0, 0}, {1, 3, -1}}, .action_slots = 2};
static const sk_policy_spaces fix_sparse = {.env_name = "Sparse-v0", .obs_dim = 4, .n_runs = 2,
                                            .runs = {{2, 0, 0}, {2, 40, 5}}, .action_slots = 1};

/* (rows x O) random observations; integers are out of their range now and then. */
FIX_HELPER void fix_observe(const sk_policy_spaces *s, int rows, uint64_t *seed, float *obs) {
    for (int r = 0; r < rows; r++)
        for (int run = 0; run < (s->n_runs > 0 ? s->n_runs : 1); run++) {
            int cols = s->n_runs > 0 ? s->runs[run].cols : s->obs_dim, choices = s->n_runs > 0 ? s->runs[run].choices : 0;
            for (int i = 0; i < cols; i++, obs++) {
                *obs = fix_uniform(seed, -3.0f, 3.0f) * (i % 7 ? 1.0f : 5.0f);
                if (choices == 0) continue;
                int32_t number = s->runs[run].low + (int32_t)fix_uniform(seed, 0.0f, (float)choices + 0.2f);
                memcpy(obs, &number, sizeof number);
            }
        }
}

/* Move every parameter, biases too; the padding stays 0. */
FIX_HELPER void fix_perturb(sk_policy *policy, uint64_t *seed) {
    sk_graph *g = NULL;
    sk_net    net;
    cr_assert_eq(sk_graph_create(&g, NULL), SK_OK);
    const sk_policy_spaces *spaces = sk_policy_spaces_get(policy);
    sk_net_build(g, spaces, sk_policy_model(policy), sk_policy_filter(policy), sk_graph_input(g, "obs", spaces->obs_dim),
                 &net);
    for (sk_tensor t = 0; t < sk_graph_n_nodes(g); t++) {
        const sk_node *n = sk_graph_node(g, t);
        if (n->op != SK_OP_PARAM) continue;
        for (int i = 0; i < n->rows * n->cols; i++)
            sk_policy_params(policy)[n->offset + i / n->cols * n->ld + i % n->cols] += fix_uniform(seed, -0.3f, 0.3f);
    }
    sk_graph_destroy(&g);
}

/* A policy whose every weight, bias and statistic differs from 0. Caller destroys. */
FIX_HELPER sk_policy *fix_policy(const sk_policy_spaces *spaces, const sk_model_config *model, sk_obs_filter filter,
                                 uint64_t seed) {
    sk_policy *policy = NULL;
    sk_error   err = {0};
    cr_assert_eq(sk_policy_create(spaces, model, filter, seed, &policy, &err), SK_OK, "%s", err.msg);
    fix_perturb(policy, &seed);
    float *rows = malloc(sizeof(float) * 50 * (size_t)spaces->obs_dim);
    cr_assert(rows);
    for (int i = 0; i < 50 * spaces->obs_dim; i++) rows[i] = fix_uniform(&seed, -1.0f, 3.0f);
    sk_normalizer_update(sk_policy_normalizer(policy), rows, NULL, 50);
    free(rows);
    return policy;
}

/* An inference over the policy's own parameters and statistics. Caller destroys both. */
FIX_HELPER sk_inference *fix_inference(sk_policy *policy, int max_rows, sk_device **ret_device) {
    sk_inference *inference = NULL;
    sk_error      err = {0};
    cr_assert_eq(sk_device_create_cpu(1, ret_device, &err), SK_OK, "%s", err.msg);
    sk_inference_params how = {.device = *ret_device, .spaces = sk_policy_spaces_get(policy),
                               .model = sk_policy_model(policy), .filter = sk_policy_filter(policy),
                               .params = sk_policy_params(policy), .n_floats = sk_policy_n_floats(policy),
                               .max_rows = max_rows};
    cr_assert_eq(sk_inference_create(&how, &inference, &err), SK_OK, "%s", err.msg);
    int    n = sk_policy_normalizer(policy)->n;
    float *constants = malloc(sizeof(float) * 2 * (size_t)n);
    cr_assert(constants);
    sk_normalizer_constants(sk_policy_normalizer(policy), constants, constants + n);
    sk_inference_set_normalizer(inference, constants, constants + n);
    free(constants);
    return inference;
}

/* A new folder in ret_dir and the policy's file in it; fix_remove takes both away. */
FIX_HELPER void fix_save(const sk_policy *policy, char ret_dir[64], char ret_path[96]) {
    sk_error err = {0};
    strcpy(ret_dir, "/tmp/skiff-test-XXXXXX");
    cr_assert(mkdtemp(ret_dir));
    snprintf(ret_path, 96, "%s/policy.skiff", ret_dir);
    cr_assert_eq(sk_policy_save(policy, ret_path, &err), SK_OK, "%s", err.msg);
}
FIX_HELPER void fix_remove(const char *dir, const char *path) {
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(rmdir(dir), 0);
}

#endif
