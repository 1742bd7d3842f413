/* bench_inference: one call of a 17-256-256-6 network (row 6 of the peers' table) on one core. */
#include "cli/bench.h"
#include "core/base/clock.h"
#include "policies/inference.h"

#include <stdio.h>
#include <stdlib.h>

static sk_status time_batch(const sk_bench *self, const sk_policy *policy, int rows, sk_error *reterr) {
    sk_device    *device = NULL;
    sk_inference *inference = NULL;
    float        *obs = calloc((size_t)rows * 17, sizeof *obs);
    sk_env_slot  *action = calloc((size_t)rows * 6, sizeof *action);
    double        us[64];
    sk_status     status = obs && action ? SK_OK : SK_FAIL(reterr, SK_ENOMEM, "bench: no memory");
    if (status == SK_OK) status = sk_device_create_cpu(1, &device, reterr);
    sk_inference_params how = {.device = device, .spaces = sk_policy_spaces_get(policy), .model = sk_policy_model(policy),
                               .filter = sk_policy_filter(policy), .n_floats = sk_policy_n_floats(policy),
                               .params = (float *)(uintptr_t)sk_policy_params_const(policy), .max_rows = rows};
    if (status == SK_OK) status = sk_inference_create(&how, &inference, reterr);
    for (int i = 0; status == SK_OK && i < rows * 17; i++) obs[i] = 0.01f * (float)(i % 100);
    for (int r = 0; r < self->n_repeats && status == SK_OK; r++) {
        double start_s = sk_clock_now_s();
        int    n = 40000 / rows + 100;
        for (int i = 0; i < n; i++)
            sk_inference_act(inference, &(sk_inference_io){.rows = rows, .obs = obs, .deterministic = 1, .action = action});
        us[r] = (sk_clock_now_s() - start_s) / n * 1e6;
    }
    if (status == SK_OK) {
        char name[32];
        snprintf(name, sizeof name, "6 batch %d", rows);
        double flop = 2.0 * rows * (17 * 256 + 256 * 256 + 256 * 6);
        sk_bench_print(self, &(sk_bench_row){"inference", name, "us/call", sk_bench_median(us, self->n_repeats),
                                             flop / (self->fma_gflops * 1e3),
                                             "17-256-256-6 tanh, deterministic action; "
                                             "limit: multiply-adds, without reading the weights"});
    }
    sk_inference_destroy(&inference);
    sk_device_destroy(&device);
    free(obs);
    free(action);
    return status;
}

sk_status sk_bench_inference(const sk_bench *self, sk_error *reterr) {
    sk_policy       *policy = NULL;
    sk_policy_spaces spaces = {.env_name = "bench", .obs_dim = 17, .action_slots = 6};
    sk_model_config  model = {.fcnet_hiddens = {2, {256, 256}}, .fcnet_activation = SK_ACT_TANH, .free_log_std = true};
    SK_TRY(sk_policy_create(&spaces, &model, SK_FILTER_NONE, 1, &policy, reterr));
    sk_status status = time_batch(self, policy, 1, reterr);
    if (status == SK_OK) status = time_batch(self, policy, 64, reterr);
    sk_policy_destroy(&policy);
    return status;
}
