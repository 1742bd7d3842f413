/* FrozenLake-v1 and FrozenLake8x8-v1: cross a frozen lake with holes on slippery ice.
 *
 * Same numbers as Gymnasium 1.4.0, random draws included. The host ends episodes at 100 and 200 steps.
 *
 * Config: map_name ("4x4" or "8x8"), is_slippery (true): the move goes as meant with probability success_rate
 * (1/3), else to the left or right of it, half each.
 * Threads: one instance, one thread at a time. */
#include "envs/toy_text/tabular.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LEFT, DOWN, RIGHT, UP, N_ACTIONS };

typedef struct lake {
    const char *name;
    int         size;
    const char *cells; /* (size x size): start, frozen, hole, goal */
} lake;

static const lake lakes[] = {
    {"4x4", 4, "SFFF" "FHFH" "FFFH" "HFFG"},
    {"8x8", 8, "SFFFFFFF" "FFFFFFFF" "FFFHFFFF" "FFFFFHFF" "FFFHFFFF" "FHHFFFHF" "FHFFHFHF" "FFFHFFFG"},
};
enum { N_LAKES = sizeof lakes / sizeof lakes[0], CELLS_MAX = 64 };

typedef struct settings {
    const lake *lake;
    bool        slippery;
    double      success_rate;
} settings;

static int read_config(const sk_env_config *config, const lake *fallback, settings *ret, char *err,
                       size_t err_size) {
    static const char *const known[] = {"map_name", "is_slippery", "success_rate"};
    *ret = (settings){.lake = fallback, .slippery = true, .success_rate = 1.0 / 3.0};
    if (sk__env_config_known(config, known, 3, err, err_size)) return -1;
    const char *name = sk__env_config_text(config, known[0]);
    for (int i = 0; name && i < N_LAKES; i++) {
        if (strcmp(lakes[i].name, name) == 0) ret->lake = &lakes[i];
    }
    if (name && strcmp(ret->lake->name, name) != 0) {
        snprintf(err, err_size, "config \"map_name\": got \"%s\", wanted 4x4 or 8x8", name);
        return -1;
    }
    if (sk__env_config_bool(config, known[1], &ret->slippery, err, err_size)) return -1;
    return sk__env_config_unit(config, known[2], &ret->success_rate, err, err_size);
}

static int describe(const sk_env_config *config, const lake *fallback, int max_steps, sk_env_spec *spec,
                    char *err, size_t err_size) {
    settings s;
    if (read_config(config, fallback, &s, err, err_size)) return -1;
    sk__tabular_describe(spec, s.lake->size * s.lake->size, "move", N_ACTIONS);
    spec->max_episode_steps = max_steps;
    spec->reward_low = 0.0f;
    spec->reward_high = 1.0f;
    return 0;
}

/* One step of a walker from a cell; the edge holds it back. */
static sk__outcome walk(const lake *on, int cell, int action) {
    int row = cell / on->size, col = cell % on->size, last = on->size - 1;
    if (action == LEFT && col > 0) col--;
    if (action == DOWN && row < last) row++;
    if (action == RIGHT && col < last) col++;
    if (action == UP && row > 0) row--;
    int  next = row * on->size + col;
    char letter = on->cells[next];
    return (sk__outcome){.next = next, .reward = letter == 'G' ? 1.0f : 0.0f,
                         .terminated = letter == 'G' || letter == 'H'};
}

static int create(const sk_env_config *config, const lake *fallback, int n_envs, void **ret_self, char *err,
                  size_t err_size) {
    settings s;
    double   start[CELLS_MAX] = {0};
    if (read_config(config, fallback, &s, err, err_size)) return -1;
    int          n_cells = s.lake->size * s.lake->size;
    sk__tabular *self = sk__tabular_create(n_envs, n_cells, N_ACTIONS, err, err_size);
    if (!self) return -1;
    double fail_rate = (1.0 - s.success_rate) / 2.0;
    for (int a = 0; a < N_ACTIONS; a++) {
        if (s.slippery) sk__tabular_set_odds(self, a, fail_rate, s.success_rate, fail_rate);
        for (int cell = 0; cell < n_cells; cell++) {
            sk__outcome *outcome = sk__tabular_outcomes(self, cell, a);
            if (s.slippery)
                for (int k = 0; k < 3; k++) outcome[k] = walk(s.lake, cell, (a + 3 + k) % N_ACTIONS);
            else outcome[0] = walk(s.lake, cell, a);
        }
    }
    for (int cell = 0; cell < n_cells; cell++) start[cell] = s.lake->cells[cell] == 'S' ? 1.0 : 0.0;
    sk__tabular_set_start(self, start);
    *ret_self = self;
    return 0;
}

static int describe_4x4(const sk_env_config *config, sk_env_spec *spec, char *err, size_t err_size) {
    return describe(config, &lakes[0], 100, spec, err, err_size);
}
static int create_4x4(const sk_env_config *config, int n_envs, void **ret_self, char *err, size_t err_size) {
    return create(config, &lakes[0], n_envs, ret_self, err, err_size);
}
static int describe_8x8(const sk_env_config *config, sk_env_spec *spec, char *err, size_t err_size) {
    return describe(config, &lakes[1], 200, spec, err, err_size);
}
static int create_8x8(const sk_env_config *config, int n_envs, void **ret_self, char *err, size_t err_size) {
    return create(config, &lakes[1], n_envs, ret_self, err, err_size);
}

const sk_env_api sk_env_frozen_lake = {
    .abi_version = SK_ENV_ABI_VERSION, .struct_size = sizeof(sk_env_api), .name = "FrozenLake-v1",
    .caps = SK_ENV_CAP_DETERMINISTIC | SK_ENV_CAP_STATE,
    .describe = describe_4x4, .create = create_4x4, .destroy = sk__tabular_destroy,
    .reset = sk__tabular_reset, .step = sk__tabular_step, .state_size = sk__tabular_state_size,
    .state_save = sk__tabular_state_save, .state_load = sk__tabular_state_load,
};
const sk_env_api sk_env_frozen_lake_8x8 = {
    .abi_version = SK_ENV_ABI_VERSION, .struct_size = sizeof(sk_env_api), .name = "FrozenLake8x8-v1",
    .caps = SK_ENV_CAP_DETERMINISTIC | SK_ENV_CAP_STATE,
    .describe = describe_8x8, .create = create_8x8, .destroy = sk__tabular_destroy,
    .reset = sk__tabular_reset, .step = sk__tabular_step, .state_size = sk__tabular_state_size,
    .state_save = sk__tabular_state_save, .state_load = sk__tabular_state_load,
};
