/* A policy file behind its checksum. What is accepted must act, and survive being written and read again. */
#include "nn/plan.h"
#include "policies/inference.h"
#include "policies/policy.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ACT_FLOATS_MAX = 1 << 14, ROWS = 3 };

static void act(sk_policy *policy) {
    static sk_device *dev;
    sk_error          err = {0};
    if (!dev) FUZZ_CHECK(sk_device_create_cpu(1, &dev, &err) == SK_OK);
    const sk_policy_spaces *s = sk_policy_spaces_get(policy);
    sk_inference           *inf = NULL;
    sk_inference_params     how = {.device = dev, .spaces = s, .model = sk_policy_model(policy),
                                   .filter = sk_policy_filter(policy), .params = sk_policy_params(policy),
                                   .n_floats = sk_policy_n_floats(policy), .max_rows = ROWS};
    sk_status status = sk_inference_create(&how, &inf, &err);
    fuzz_check_status(status, &err);
    if (status != SK_OK) return;
    float       *obs = calloc(ROWS * (size_t)s->obs_dim, sizeof *obs), *mean = calloc((size_t)s->obs_dim, sizeof *mean);
    float       *mask = calloc(ROWS * (size_t)s->mask_size + 1, sizeof *mask), *inv = calloc((size_t)s->obs_dim, sizeof *inv);
    sk_env_slot *action = calloc(ROWS * (size_t)s->action_slots, sizeof *action);
    float        logp[ROWS], value[ROWS];
    FUZZ_CHECK(obs && mean && mask && inv && action);
    for (int i = 0; i < ROWS * s->mask_size; i++) mask[i] = i % 2 ? 1.0f : 0.0f;
    sk_normalizer_constants(sk_policy_normalizer_const(policy), mean, inv);
    sk_inference_set_normalizer(inf, mean, inv);
    for (int deterministic = 0; deterministic <= 1; deterministic++) {
        sk_inference_io io = {.rows = ROWS, .obs = obs, .mask = s->mask_size ? mask : NULL, .action = action,
                              .deterministic = deterministic, .logp = logp, .value = value};
        sk_inference_act(inf, &io);
        for (int i = 0; i < ROWS * s->action_slots && s->n_parts > 0; i++)
            FUZZ_CHECK(action[i].i >= 0 && action[i].i < s->part_n[i % s->action_slots]);
    }
    sk_inference_destroy(&inf);
    free(obs), free(mean), free(mask), free(inv), free(action);
}

/* Written and read again, the parameters are the same. */
static void round_trip(const sk_policy *policy) {
    SK_AUTO(sk_policy) again = NULL;
    char     path[300], before[65], after[65];
    sk_error err = {0};
    snprintf(path, sizeof path, "%s/policy.skiff", fuzz_folder());
    FUZZ_CHECK(sk_policy_save(policy, path, &err) == SK_OK);
    FUZZ_CHECK(sk_policy_load(path, &again, &err) == SK_OK);
    sk_policy_sha256(policy, before);
    sk_policy_sha256(again, after);
    FUZZ_CHECK(strcmp(before, after) == 0 && sk_policy_same_network(policy, again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    SK_AUTO(sk_pack) pack = NULL;
    SK_AUTO(sk_policy) policy = NULL;
    sk_error  err = {0};
    size_t    n;
    uint8_t  *file = fuzz_pack(data, size, SK_PACK_POLICY, &n);
    sk_status status = sk_pack_parse(file, n, "fuzz", SK_PACK_POLICY, SK_POLICY_FILE_VERSION, &pack, &err);
    if (status == SK_OK) status = sk_policy_unpack(pack, &policy, &err);
    fuzz_check_status(status, &err);
    if (policy && sk_policy_n_floats(policy) <= ACT_FLOATS_MAX) {
        act(policy);
        round_trip(policy);
    }
    free(file);
    return 0;
}
