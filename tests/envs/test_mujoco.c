/* Gymnasium's environments on MuJoCo against recordings of Gymnasium itself, and against their contract. Skipped where
 * skiff was built without MuJoCo. */
#include "core/base/rng.h"
#include "envs/mujoco_paths.h"
#include "envs/registry.h"
#include "rl/vec.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OBS_MAX = 400, ACTION_MAX = 32 };

static void skip_without_mujoco(void) {
#ifndef SK_HAS_MUJOCO
    cr_skip_test("skiff was built without MuJoCo");
#endif
}

/* ---- parity ---- */

/* FNV-1a over 32-bit words, as in tests/golden/make_goldens.py. */
static void hash_add(uint64_t *hash, const float *values, int n) {
    for (int i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        *hash = (*hash ^ bits) * 0x100000001B3u;
    }
}

typedef struct replay {
    const char *name;
    FILE       *file;
    int         line, n_lines_of_text;
    char        text[1 << 16];
    uint64_t    hash;
} replay;

/* The next line says the same about these numbers. */
static void same_line(replay *self, const float *values, int n) {
    self->line++;
    cr_assert_not_null(fgets(self->text, sizeof self->text, self->file), "%s ends too early", self->name);
    char *at;
    uint32_t wanted = (uint32_t)strtoul(self->text, &at, 16);
    for (int i = 0; *at == ' '; i++) {
        float want = strtof(at, &at);
        cr_assert_lt(i, n, "%s, line %d has too many numbers", self->name, self->line);
        cr_assert(memcmp(&want, &values[i], sizeof want) == 0,
                  "%s, line %d, number %d: got %a (%.9g), wanted %a (%.9g)", self->name, self->line, i,
                  (double)values[i], (double)values[i], (double)want, (double)want);
        if (i == n - 1) self->n_lines_of_text++;
    }
    hash_add(&self->hash, values, n);
    cr_assert_eq((uint32_t)(self->hash >> 32), wanted, "%s, line %d: other numbers than Gymnasium's", self->name,
                 self->line);
}

static int replay_run(replay *self, const sk_env *env, uint64_t seed, float amplitude) {
    sk_error error = {0};
    sk_vec  *vec = NULL;
    int      dim = sk_env_info_get(env)->obs_dim, n_action = sk_env_info_get(env)->action_slots, steps = 0;
    float    high = sk_env_spec_get(env)->action[0].high;
    float    numbers[3 + OBS_MAX], next[OBS_MAX], final[OBS_MAX], reward;
    uint8_t  terminated, truncated, valid;
    sk_env_slot action[ACTION_MAX];
    sk_pcg64    rng;
    sk_pcg64_seed(&rng, seed + 1000);
    sk_vec_params params = {.env = env, .n_envs = 1, .seed = seed, .seeding = SK_VEC_SEED_OFFSET};
    cr_assert_eq(sk_vec_create(&params, &vec, &error), SK_OK, "%s", error.msg);
    cr_assert_eq(sk_vec_reset(vec, next, NULL, &error), SK_OK, "%s", error.msg);
    self->hash = 0xCBF29CE484222325u;
    same_line(self, next, dim);
    for (; steps < 300; steps++) {
        for (int i = 0; i < n_action; i++) {
            action[i].f = (float)sk_pcg64_uniform(&rng, -(double)high, (double)high) * amplitude;
        }
        sk_vec_step step = {.action = action, .reward = &reward, .terminated = &terminated, .truncated = &truncated,
                            .valid = &valid, .next_obs = next, .final_obs = final};
        cr_assert_eq(sk_vec_step_run(vec, &step, &error), SK_OK, "%s", error.msg);
        numbers[0] = reward, numbers[1] = terminated, numbers[2] = truncated;
        memcpy(numbers + 3, terminated || truncated ? final : next, (size_t)dim * sizeof(float));
        same_line(self, numbers, 3 + dim);
        if (terminated || truncated) same_line(self, next, dim);
    }
    sk_vec_destroy(&vec);
    return steps;
}

static void equals_gymnasium(const char *name) {
    skip_without_mujoco();
    static replay self;
    sk_error      error = {0};
    sk_env       *env = NULL;
    self = (replay){.name = name};
    cr_assert_eq(sk_env_create(&(sk_env_params){.name = name}, &env, &error), SK_OK, "%s", error.msg);
    snprintf(self.text, sizeof self.text, "%s/tests/golden/%s.txt", getenv("SKIFF_SOURCE_DIR"), name);
    self.file = fopen(self.text, "r");
    cr_assert_not_null(self.file, "cannot open %s", self.text);
    int steps = 0;
    while (fgets(self.text, sizeof self.text, self.file)) {
        self.line++;
        unsigned long long seed;
        float amplitude;
        if (sscanf(self.text, "run %llu %f", &seed, &amplitude) == 2) steps += replay_run(&self, env, seed, amplitude);
    }
    fclose(self.file);
    cr_assert_eq(steps, 900);
    cr_assert_geq(self.n_lines_of_text, 21);
    sk_env_destroy(&env);
}

Test(mujoco, half_cheetah_equals_gymnasium_bit_for_bit) { equals_gymnasium("HalfCheetah-v5"); }
Test(mujoco, hopper_equals_gymnasium_bit_for_bit) { equals_gymnasium("Hopper-v5"); }
Test(mujoco, walker2d_equals_gymnasium_bit_for_bit) { equals_gymnasium("Walker2d-v5"); }
Test(mujoco, ant_equals_gymnasium_bit_for_bit) { equals_gymnasium("Ant-v5"); }
Test(mujoco, humanoid_equals_gymnasium_bit_for_bit) { equals_gymnasium("Humanoid-v5"); }
Test(mujoco, humanoid_standup_equals_gymnasium_bit_for_bit) { equals_gymnasium("HumanoidStandup-v5"); }
Test(mujoco, swimmer_equals_gymnasium_bit_for_bit) { equals_gymnasium("Swimmer-v5"); }
Test(mujoco, reacher_equals_gymnasium_bit_for_bit) { equals_gymnasium("Reacher-v5"); }
Test(mujoco, pusher_equals_gymnasium_bit_for_bit) { equals_gymnasium("Pusher-v5"); }
Test(mujoco, inverted_pendulum_equals_gymnasium_bit_for_bit) { equals_gymnasium("InvertedPendulum-v5"); }
Test(mujoco, inverted_double_pendulum_equals_gymnasium_bit_for_bit) { equals_gymnasium("InvertedDoublePendulum-v5"); }
