/* golden: replays a file of tests/golden/ through sk_vec (one environment) and compares every number bit for
 * bit. The file's lines are explained in tests/golden/make_goldens.py. */
#ifndef SK_TESTS_GOLDEN_H
#define SK_TESTS_GOLDEN_H
#include "rl/vec.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GOLDEN_DIM_MAX = 64 };

typedef struct golden_count {
    int steps, terminated, truncated;
} golden_count;

/* Parse the next number of a line; moves *at on. */
static inline float golden_number(char **at) {
    char *end;
    float x = strtof(*at, &end);
    cr_assert(end != *at, "the line ends too early");
    *at = end;
    return x;
}

/* The slots of an observation row, floats or integers. */
static inline void golden_same_obs(const sk_env_spec *spec, const float *got, char **wanted, const char *what,
                                   int line) {
    for (int f = 0, at = 0; f < spec->n_obs; f++) {
        for (int i = 0; i < sk_env_field_size(&spec->obs[f]); i++, at++) {
            float   want = golden_number(wanted);
            int32_t want_int = (int32_t)want;
            char    text[32];
            sk_env_slot_text(&spec->obs[f], &got[at], text, sizeof text);
            cr_assert(memcmp(&got[at], spec->obs[f].dtype == SK_ENV_I32 ? (void *)&want_int : (void *)&want,
                             4) == 0,
                      "line %d, %s[%d]: got %s, wanted %.9g", line, what, at, text, (double)want);
        }
    }
}

/* Masks are recorded as 0 and 1. */
static inline void golden_same_mask(const uint8_t *got, char **wanted, int n, int line) {
    for (int i = 0; i < n; i++)
        cr_assert_eq(got[i], (int)golden_number(wanted), "line %d, mask[%d]: got %d", line, i, got[i]);
}

static inline void golden_same(const float *got, char **wanted, int n, const char *what, int line) {
    for (int i = 0; i < n; i++) {
        float want = golden_number(wanted);
        cr_assert(memcmp(&got[i], &want, sizeof want) == 0, "line %d, %s[%d]: got %.9g, wanted %.9g", line,
                  what, i, (double)got[i], (double)want);
    }
}

/* Replay tests/golden/<name><label>.txt with up to two pairs of config. */
static inline golden_count golden_replay_with(const char *name, const char *label, int n_config,
                                              const char *const *names, const char *const *values) {
    sk_error error = {0};
    sk_env  *env = NULL;
    sk_vec  *vec = NULL;
    cr_assert_eq(sk_env_create(
                     &(sk_env_params){
                         .name = name, .n_config = n_config, .config_names = names, .config_values = values},
                     &env, &error),
                 SK_OK, "%s", error.msg);
    const sk_env_info *info = sk_env_info_get(env);
    const sk_env_spec *spec = sk_env_spec_get(env);
    char path[4096], line[4096];
    snprintf(path, sizeof path, "%s/tests/golden/%s%s.txt", getenv("SKIFF_SOURCE_DIR"), name, label);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file, "cannot open %s", path);

    float obs[GOLDEN_DIM_MAX], final_obs[GOLDEN_DIM_MAX], reward = 0;
    uint8_t terminated = 0, truncated = 0, valid = 0, mask[GOLDEN_DIM_MAX];
    sk_env_slot  action[GOLDEN_DIM_MAX];
    golden_count count = {0};
    for (int n = 1; fgets(line, sizeof line, file); n++) {
        char *at = line + 1;
        if (line[0] == 'r') { /* run SEED */
            sk_vec_destroy(&vec);
            sk_vec_params params = {.env = env, .n_envs = 1, .seed = strtoull(line + 4, NULL, 10),
                                    .seeding = SK_VEC_SEED_OFFSET};
            cr_assert_eq(sk_vec_create(&params, &vec, &error), SK_OK, "%s", error.msg);
            cr_assert_eq(sk_vec_reset(vec, obs, mask, &error), SK_OK, "%s", error.msg);
        } else if (line[0] == 'o') {
            golden_same_obs(spec, obs, &at, "obs after a reset", n);
            golden_same_mask(mask, &at, info->mask_size, n);
        } else if (line[0] == 's') {
            for (int i = 0; i < info->action_slots; i++) {
                if (info->n_box) action[i].f = golden_number(&at);
                else action[i].i = (int)golden_number(&at);
            }
            sk_vec_step step = {.action = action,
                                .reward = &reward,
                                .terminated = &terminated,
                                .truncated = &truncated,
                                .valid = &valid,
                                .next_obs = obs,
                                .next_mask = mask,
                                .final_obs = final_obs};
            cr_assert_eq(sk_vec_step_run(vec, &step, &error), SK_OK, "%s", error.msg);
            golden_same(&reward, &at, 1, "reward", n);
            cr_assert_eq(terminated, (int)golden_number(&at), "line %d: terminated", n);
            cr_assert_eq(truncated, (int)golden_number(&at), "line %d: truncated", n);
            golden_same_obs(spec, terminated || truncated ? final_obs : obs, &at, "obs", n);
            if (!terminated && !truncated) golden_same_mask(mask, &at, info->mask_size, n);
            count.steps++;
            count.terminated += terminated;
            count.truncated += truncated;
        }
    }
    fclose(file);
    sk_vec_destroy(&vec);
    sk_env_destroy(&env);
    return count;
}

static inline golden_count golden_replay(const char *name) {
    return golden_replay_with(name, "", 0, NULL, NULL);
}

#endif
