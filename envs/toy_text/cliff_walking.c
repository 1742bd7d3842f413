/* CliffWalking-v1 and CliffWalkingSlippery-v1: walk along a cliff (Sutton and Barto, example 6.6).
 *
 * Same numbers as Gymnasium 1.4.0, random draws included. There is no time limit.
 *
 * Config: is_slippery (false, true): the move goes as meant, or to the left or right of it, a third each.
 * Threads: one instance, one thread at a time. */
#include "envs/toy_text/tabular.h"

enum { UP, RIGHT, DOWN, LEFT, N_ACTIONS };
enum { ROWS = 4, COLS = 12, N_STATES = ROWS * COLS, START = 3 * COLS, GOAL = N_STATES - 1 };

static int read_config(const sk_env_config *config, bool *slippery, char *err, size_t err_size) {
    static const char *const known[] = {"is_slippery"};
    if (sk__env_config_known(config, known, 1, err, err_size)) return -1;
    return sk__env_config_bool(config, known[0], slippery, err, err_size);
}

static int describe(const sk_env_config *config, sk_env_spec *spec, char *err, size_t err_size) {
    bool slippery = false;
    if (read_config(config, &slippery, err, err_size)) return -1;
    sk__tabular_describe(spec, N_STATES, "move", N_ACTIONS);
    spec->reward_low = -100.0f;
    spec->reward_high = -1.0f;
    return 0;
}

/* One step from a cell; the edge holds the walker back, the cliff takes it to the start. */
static sk__outcome walk(int cell, int action) {
    int row = cell / COLS, col = cell % COLS;
    if (action == UP && row > 0) row--;
    if (action == RIGHT && col < COLS - 1) col++;
    if (action == DOWN && row < ROWS - 1) row++;
    if (action == LEFT && col > 0) col--;
    int next = row * COLS + col;
    if (next > START && next < GOAL) return (sk__outcome){.next = START, .reward = -100.0f};
    return (sk__outcome){.next = next, .reward = -1.0f, .terminated = next == GOAL};
}

static int create_as(bool slippery, const sk_env_config *config, int n_envs, void **ret_self, char *err,
                     size_t err_size) {
    double start[N_STATES] = {[START] = 1.0};
    if (read_config(config, &slippery, err, err_size)) return -1;
    sk__tabular *self = sk__tabular_create(n_envs, N_STATES, N_ACTIONS, err, err_size);
    if (!self) return -1;
    for (int a = 0; a < N_ACTIONS; a++) {
        if (slippery) sk__tabular_set_odds(self, a, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0);
        for (int cell = 0; cell < N_STATES; cell++) {
            sk__outcome *outcome = sk__tabular_outcomes(self, cell, a);
            if (slippery)
                for (int k = 0; k < 3; k++) outcome[k] = walk(cell, (a + 3 + k) % N_ACTIONS);
            else outcome[0] = walk(cell, a);
        }
    }
    sk__tabular_set_start(self, start);
    *ret_self = self;
    return 0;
}

static int create(const sk_env_config *config, int n_envs, void **ret_self, char *err, size_t err_size) {
    return create_as(false, config, n_envs, ret_self, err, err_size);
}
static int create_slippery(const sk_env_config *config, int n_envs, void **ret_self, char *err,
                           size_t err_size) {
    return create_as(true, config, n_envs, ret_self, err, err_size);
}

const sk_env_api sk_env_cliff_walking = {
    .abi_version = SK_ENV_ABI_VERSION, .struct_size = sizeof(sk_env_api), .name = "CliffWalking-v1",
    .caps = SK_ENV_CAP_DETERMINISTIC | SK_ENV_CAP_STATE,
    .describe = describe, .create = create, .destroy = sk__tabular_destroy, .reset = sk__tabular_reset,
    .step = sk__tabular_step, .state_size = sk__tabular_state_size, .state_save = sk__tabular_state_save,
    .state_load = sk__tabular_state_load,
};
const sk_env_api sk_env_cliff_walking_slippery = {
    .abi_version = SK_ENV_ABI_VERSION,
    .struct_size = sizeof(sk_env_api),
    .name = "CliffWalkingSlippery-v1",
    .caps = SK_ENV_CAP_DETERMINISTIC | SK_ENV_CAP_STATE,
    .describe = describe,
    .create = create_slippery,
    .destroy = sk__tabular_destroy,
    .reset = sk__tabular_reset,
    .step = sk__tabular_step,
    .state_size = sk__tabular_state_size,
    .state_save = sk__tabular_state_save,
    .state_load = sk__tabular_state_load,
};
