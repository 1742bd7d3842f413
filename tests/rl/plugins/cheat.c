/* Cheat: an environment that breaks one promise of skiff/env.h, chosen by the config pair `sin`, for the tests
 * of `skiff check-env`. Honest (without sin) it counts its steps: obs = {step / 10, a random number in [0, 1)},
 * ends after ten, reward 1. It has a discrete action of three choices with a mask, and a box. */
#include "skiff/env.h"
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef struct env {
    int      t, wind;
    uint64_t random;
} env;

typedef struct instance {
    char     sin[16];
    int      n;
    uint64_t shared; /* a random stream of all environments, which is a sin */
    env      envs[];
} instance;

enum { OBS = 2, CHOICES = 3 };

static int sins(const instance *self, const char *sin) { return strcmp(self->sin, sin) == 0; }

/* What is leaked on purpose; given back in the end, so that a sanitizer finds nothing. */
typedef struct leak {
    struct leak *next;
} leak;
static leak *leaks;

static void leak_some(size_t size) {
    leak *more = malloc(size);
    if (!more) return;
    more->next = leaks;
    leaks = more;
}

__attribute__((destructor)) static void give_back(void) {
    while (leaks) {
        leak *next = leaks->next;
        free(leaks);
        leaks = next;
    }
}

static void leak_pages(void) {
    enum { PAGES = 1 << 14 };
    char *pages = mmap(NULL, PAGES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages != MAP_FAILED) memset(pages, 1, PAGES);
}

static int describe(const sk_env_config *config, sk_env_spec *spec, char *err, size_t err_size) {
    (void)err, (void)err_size;
    const char *sin = config->n ? config->values[0] : "";
    spec->n_obs = OBS;
    spec->obs[0] = (sk_env_field){.name = "share", .low = 0, .high = 1};
    spec->obs[1] = (sk_env_field){.name = "noise", .low = 0, .high = 1};
    if (!strcmp(sin, "float")) spec->obs[0] = (sk_env_field){.name = "share", .dtype = SK_ENV_I32, .high = 2};
    spec->n_action = 2;
    spec->action[0] = (sk_env_action_part){.name = "gear", .kind = SK_ENV_DISCRETE, .n = CHOICES, .start = -1};
    spec->action[1] = (sk_env_action_part){.name = "pull", .kind = SK_ENV_BOX, .n = 1, .low = -2, .high = 2};
    spec->mask_size = CHOICES;
    spec->n_agents = 1;
    spec->reward_high = 1;
    spec->n_metrics = 1;
    strcpy(spec->metric_name[0], "luck");
    if (!strcmp(sin, "clock")) spec->max_episode_steps = 10;
    return 0;
}

static int create(const sk_env_config *config, int n_envs, void **ret_self, char *err, size_t err_size) {
    (void)err, (void)err_size;
    instance *self = calloc(1, sizeof *self + (size_t)n_envs * sizeof(env));
    if (!self) return 1;
    if (config->n) strncpy(self->sin, config->values[0], sizeof self->sin - 1);
    if (sins(self, "leak_life")) leak_some(24);
    self->n = n_envs;
    *ret_self = self;
    return 0;
}

static void destroy(void *self) { free(self); }

static void observe(instance *self, env *e, float *obs) {
    static uint64_t chance;
    int             t = e->t;
    e->random = e->random * 6364136223846793005u + 1442695040888963407u;
    if (sins(self, "chance")) e->random += ++chance;
    if (sins(self, "company")) e->random += (uint64_t)self->n;
    if (sins(self, "shared")) e->random += ++self->shared;
    obs[0] = (float)t / 10.0f;
    obs[1] = (float)(e->random >> 40) * 0x1p-24f;
    if (sins(self, "leftover")) obs[1] = (float)(e->wind % 7) / 7.0f;
    if (sins(self, "bounds") && t == 5) obs[0] = 1.5f;
    if (sins(self, "nan") && t == 5) obs[0] = NAN;
    if (sins(self, "integer")) memcpy(&obs[0], &t, sizeof t);
    if (sins(self, "endless")) obs[0] = 0.5f;
}

/* Every choice but one. */
static void mask_out(const instance *self, const env *e, uint8_t *mask) {
    for (int c = 0; c < CHOICES; c++) mask[c] = c != e->t % CHOICES;
    if (sins(self, "mask_none") && e->t == 4) memset(mask, 0, CHOICES);
}

static int reset(void *self_v, int at, const uint64_t *seed, void *obs, uint8_t *mask) {
    instance *self = self_v;
    env      *e = &self->envs[at];
    float     row[OBS];
    if (seed) e->random = *seed;
    if (seed && sins(self, "shared")) self->shared = *seed;
    if (sins(self, "leak")) leak_some(16);
    if (sins(self, "leak_pages")) leak_pages();
    e->t = 0;
    observe(self, e, row);
    memcpy(obs, row, sins(self, "reset_obs") ? sizeof(float) : sizeof row);
    if (!sins(self, "reset_mask")) mask_out(self, e, mask);
    return 0;
}

static void misbehave(const instance *self, const env *e) {
    if (e->t != 3) return;
    if (sins(self, "print")) printf("step %d\n", e->t);
    if (sins(self, "complain")) fputs("oh dear", stderr);
    if (sins(self, "abort")) abort();
    if (sins(self, "exit")) exit(0);
    if (sins(self, "crash")) raise(SIGSEGV);
    while (sins(self, "hang")) {
    }
}

/* Some sins write where they must not: AddressSanitizer is to let that pass, check-env is to find it. */
__attribute__((no_sanitize("address", "undefined")))
static int step(void *self_v, int first, int count, const sk_env_io *io) {
    instance *self = self_v;
    float    *obs = io->obs;
    for (int i = 0; i < count; i++) {
        env  *e = &self->envs[first + i];
        float row[OBS], pull = io->action[2 * i + 1].f;
        int   gear = io->action[2 * i].i;
        e->t++, e->wind++;
        misbehave(self, e);
        observe(self, e, row);
        if (sins(self, "corner") && pull >= 2.0f && gear == 1) row[1] = INFINITY;
        memcpy(obs + OBS * i, row, sins(self, "obs") && e->t == 3 ? sizeof(float) : sizeof row);
        io->reward[i] = sins(self, "reward") && e->t == 4 ? 3.0f : 1.0f;
        if (sins(self, "inf_reward") && e->t == 4) io->reward[i] = INFINITY;
        io->metrics[i] = sins(self, "nan_metric") && e->t == 4 ? NAN : 0.0f;
        io->terminated[i] = e->t >= 10 && !sins(self, "endless");
        if (!sins(self, "flags")) io->truncated[i] = 0;
        if (!sins(self, "mask")) mask_out(self, e, io->mask + CHOICES * i);
    }
    if (sins(self, "neighbour") && first > 0) obs[-1] = 0.0f;
    if (sins(self, "overrun") && first + count == self->n) obs[OBS * count] = 0.0f;
    return 0;
}

static size_t state_size(void *self) { return (void)self, sizeof(env); }
static int state_save(void *self, int at, void *bytes) {
    memcpy(bytes, &((instance *)self)->envs[at], sizeof(env));
    return 0;
}
static int state_load(void *self_v, int at, const void *bytes) {
    instance *self = self_v;
    env       saved;
    memcpy(&saved, bytes, sizeof saved);
    self->envs[at].t = saved.t;
    if (!sins(self, "amnesia")) self->envs[at].random = saved.random;
    return 0;
}

static const sk_env_api cheat = {
    .abi_version = SK_ENV_ABI_VERSION, .struct_size = sizeof(sk_env_api), .name = "Cheat-v0",
    .caps = SK_ENV_CAP_DETERMINISTIC | SK_ENV_CAP_STATE,
    .describe = describe, .create = create, .destroy = destroy, .reset = reset, .step = step,
    .state_size = state_size, .state_save = state_save, .state_load = state_load,
};

SK_ENV_EXPORT const sk_env_api *skiff_env_plugin(int index);
SK_ENV_EXPORT const sk_env_api *skiff_env_plugin(int index) { return index == 0 ? &cheat : NULL; }
