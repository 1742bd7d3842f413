/* The text that describes an environment to a runner. Plugins, Python processes and files to be hashed are left out: what
 * they do, or how long they are, is theirs. */
#include "rl/runner_arg.h"
#include "rl/vec.h"
#include "tests/fuzz/fuzz.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static int is_foreign(const uint8_t *data, size_t size) {
    json_t     *all = json_loadb((const char *)data, size, 0, NULL);
    const char *plugin = json_string_value(json_object_get(all, "plugin"));
    const char *name = json_string_value(json_object_get(all, "name"));
    int         foreign = (plugin && plugin[0]) || (name && strchr(name, ':')) ||
                  json_object_size(json_object_get(all, "files")) > 0;
    json_decref(all);
    return foreign;
}

/* One environment, reset and a few steps with random actions. */
static void play(const sk_env *env) {
    const sk_env_info *info = sk_env_info_get(env);
    sk_vec_params      params = {.env = env, .n_envs = 1, .seed = 1, .on_invalid = SK_INVALID_DROP};
    sk_vec            *vec = NULL;
    sk_error           err = {0};
    sk_status          status = sk_vec_create(&params, &vec, &err);
    fuzz_check_status(status, &err);
    if (status != SK_OK) return;
    size_t       rows = (size_t)info->n_agents, obs_dim = rows * (size_t)info->obs_dim;
    size_t       n_mask = rows * (size_t)info->mask_size + 1, n_slots = rows * (size_t)info->action_slots;
    float       *obs = calloc(2 * obs_dim + rows, sizeof *obs);
    uint8_t     *bytes = calloc(3 * rows + n_mask, 1);
    sk_env_slot *action = calloc(n_slots, sizeof *action);
    FUZZ_CHECK(obs && bytes && action);
    sk_vec_step step = {.action = action, .reward = obs + 2 * obs_dim, .terminated = bytes, .truncated = bytes + rows,
                        .valid = bytes + 2 * rows, .next_mask = bytes + 3 * rows, .next_obs = obs,
                        .final_obs = obs + obs_dim};
    status = sk_vec_reset(vec, obs, step.next_mask, &err);
    for (uint64_t t = 0; t < 20 && status == SK_OK; t++) {
        for (size_t row = 0; row < rows; row++)
            sk_env_action_random(sk_env_spec_get(env), 1, row, t,
                                 info->mask_size ? step.next_mask + row * (size_t)info->mask_size : NULL,
                                 action + row * (size_t)info->action_slots);
        status = sk_vec_step_run(vec, &step, &err);
    }
    fuzz_check_status(status, &err);
    sk_vec_destroy(&vec);
    free(obs), free(bytes), free(action);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    sk_env  *env = NULL;
    sk_error err = {0};
    if (size == 0 || is_foreign(data, size)) return 0;
    sk_status status = sk__env_text_open((const char *)data, size, &env, &err);
    fuzz_check_status(status, &err);
    if (status == SK_OK) play(env);
    sk_env_destroy(&env);
    return 0;
}
