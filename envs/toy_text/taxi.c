/* Taxi-v4 and Taxi-v3: fetch a passenger and bring it to its destination (Dietterich 2000).
 *
 * Same numbers as Gymnasium 1.4.0, random draws included (v3, which it no longer makes, is v4 without the config). The
 * action mask allows what changes the state, as Gymnasium's info["action_mask"]. The host ends episodes at 200 steps.
 *
 * State: ((row * 5 + column) * 5 + passenger) * 4 + destination; passenger 0 to 3 waits at a stop, 4 rides.
 * Config of v4: is_rainy (false): moves go as meant with probability rainy_probability (0.8), else to the left or
 * right of it; fickle_passenger (false): with probability fickle_probability (0.3) the passenger changes its
 * destination on the first move of the ride.
 * Threads: one instance, one thread at a time. */
#include "envs/toy_text/tabular.h"
#include <string.h>

enum { SOUTH, NORTH, EAST, WEST, PICKUP, DROPOFF, N_ACTIONS };
enum { SIZE = 5, N_STOPS = 4, RIDES = 4, N_STATES = SIZE * SIZE * (N_STOPS + 1) * N_STOPS };

/* Between columns c and c + 1 of a row: ':' is open, '|' a wall. */
static const char gates[SIZE][SIZE] = {":|::", ":|::", "::::", "|:|:", "|:|:"};
static const int  stops[N_STOPS][2] = {{0, 0}, {0, 4}, {4, 0}, {4, 3}}; /* row, column */

typedef struct place {
    int row, col, passenger, destination;
} place;

typedef struct settings {
    bool   rainy, fickle;
    double rainy_probability, fickle_probability;
} settings;

static int encode(place p) {
    return ((p.row * SIZE + p.col) * (N_STOPS + 1) + p.passenger) * N_STOPS + p.destination;
}

static place decode(int s) {
    return (place){.row = s / (N_STOPS * (N_STOPS + 1) * SIZE), .col = s / (N_STOPS * (N_STOPS + 1)) % SIZE,
                   .passenger = s / N_STOPS % (N_STOPS + 1), .destination = s % N_STOPS};
}

/* The stop at a cell, or -1. */
static int stop_at(int row, int col) {
    for (int i = 0; i < N_STOPS; i++)
        if (stops[i][0] == row && stops[i][1] == col) return i;
    return -1;
}

static bool can_move(int row, int col, int action) {
    switch (action) {
    case SOUTH: return row < SIZE - 1;
    case NORTH: return row > 0;
    case EAST: return col < SIZE - 1 && gates[row][col] == ':';
    default: return col > 0 && gates[row][col - 1] == ':';
    }
}

static void move(place *p, int action) {
    if (!can_move(p->row, p->col, action)) return;
    p->row += (action == SOUTH) - (action == NORTH);
    p->col += (action == EAST) - (action == WEST);
}

static sk__outcome act(int state, int action) {
    place       p = decode(state);
    int         stop = stop_at(p.row, p.col);
    sk__outcome ret = {.reward = -1.0f};
    if (action <= WEST) {
        move(&p, action);
    } else if (action == PICKUP) {
        if (p.passenger < N_STOPS && p.passenger == stop) p.passenger = RIDES;
        else ret.reward = -10.0f;
    } else if (p.passenger != RIDES || stop < 0) {
        ret.reward = -10.0f;
    } else {
        p.passenger = stop;
        ret.terminated = stop == p.destination;
        if (ret.terminated) ret.reward = 20.0f;
    }
    ret.next = encode(p);
    return ret;
}

static int read_config(const sk_env_config *config, settings *ret, char *err, size_t err_size) {
    static const char *const known[] = {"is_rainy", "rainy_probability", "fickle_passenger",
                                        "fickle_probability"};
    *ret = (settings){.rainy_probability = 0.8, .fickle_probability = 0.3};
    if (sk__env_config_known(config, known, 4, err, err_size) ||
        sk__env_config_bool(config, known[0], &ret->rainy, err, err_size) ||
        sk__env_config_unit(config, known[1], &ret->rainy_probability, err, err_size) ||
        sk__env_config_bool(config, known[2], &ret->fickle, err, err_size))
        return -1;
    return sk__env_config_unit(config, known[3], &ret->fickle_probability, err, err_size);
}

static int describe(const sk_env_config *config, sk_env_spec *spec, char *err, size_t err_size) {
    settings s;
    if (read_config(config, &s, err, err_size)) return -1;
    sk__tabular_describe(spec, N_STATES, "drive", N_ACTIONS);
    spec->mask_size = N_ACTIONS;
    spec->max_episode_steps = 200;
    spec->reward_low = -10.0f;
    spec->reward_high = 20.0f;
    return 0;
}

/* Outcomes in the rain: as meant, to the left, to the right. A blocked move slides nowhere. */
static void rain(sk__tabular *self, int state, int action) {
    static const int left[] = {[SOUTH] = EAST, [NORTH] = WEST, [EAST] = NORTH, [WEST] = SOUTH};
    static const int right[] = {[SOUTH] = WEST, [NORTH] = EAST, [EAST] = SOUTH, [WEST] = NORTH};
    sk__outcome     *outcome = sk__tabular_outcomes(self, state, action);
    place            p = decode(state);
    bool             moves = can_move(p.row, p.col, action);
    outcome[0] = act(state, action);
    outcome[1] = moves ? act(state, left[action]) : outcome[0];
    outcome[2] = moves ? act(state, right[action]) : outcome[0];
}

static int create(const sk_env_config *config, int n_envs, void **ret_self, char *err, size_t err_size) {
    settings s;
    double   start[N_STATES];
    if (read_config(config, &s, err, err_size)) return -1;
    sk__tabular *self = sk__tabular_create(n_envs, N_STATES, N_ACTIONS, err, err_size);
    if (!self) return -1;
    self->extra = s.fickle ? s.fickle_probability : -1.0;
    double aside = (1.0 - s.rainy_probability) / 2.0;
    for (int a = 0; a < N_ACTIONS; a++) {
        bool wet = s.rainy && a <= WEST;
        if (wet) sk__tabular_set_odds(self, a, s.rainy_probability, aside, aside);
        for (int state = 0; state < N_STATES; state++) {
            if (wet) rain(self, state, a);
            else sk__tabular_outcomes(self, state, a)[0] = act(state, a);
        }
    }
    /* The passenger waits at a stop that is not its destination: 300 states. */
    for (int state = 0; state < N_STATES; state++) {
        place p = decode(state);
        start[state] = p.passenger < N_STOPS && p.passenger != p.destination ? 1.0 / 300.0 : 0.0;
    }
    sk__tabular_set_start(self, start);
    *ret_self = self;
    return 0;
}

static void write_mask(int state, uint8_t *mask) {
    place p = decode(state);
    int   stop = stop_at(p.row, p.col);
    for (int a = SOUTH; a <= WEST; a++) mask[a] = can_move(p.row, p.col, a);
    mask[PICKUP] = p.passenger < N_STOPS && p.passenger == stop;
    mask[DROPOFF] = p.passenger == RIDES && stop >= 0;
}

static int reset(void *self_v, int env, const uint64_t *seed, void *obs, uint8_t *mask) {
    sk__tabular     *self = self_v;
    sk__tabular_env *e = &self->envs[env];
    sk__tabular_start(self, env, seed);
    e->extra = self->extra >= 0.0 && sk_pcg64_random(&e->rng) < self->extra; /* 1: will change its mind */
    memcpy(obs, &e->state, sizeof e->state);
    write_mask(e->state, mask);
    return 0;
}

/* The first move of the ride of a passenger who is to change its mind: another destination, drawn. */
static void change_mind(sk__tabular_env *e, int before) {
    place from = decode(before), p = decode(e->state);
    if (from.passenger != RIDES || (from.row == p.row && from.col == p.col)) return;
    int k = (int)sk_pcg64_below(&e->rng, N_STOPS - 1);
    e->extra = 0;
    p.destination = k + (k >= from.destination);
    e->state = encode(p);
}

static int step(void *self_v, int first, int count, const sk_env_io *io) {
    sk__tabular *self = self_v;
    int32_t     *obs = io->obs;
    for (int i = 0; i < count; i++) {
        sk__tabular_env   *e = &self->envs[first + i];
        int                before = e->state;
        const sk__outcome *outcome = sk__tabular_move(self, first + i, io->action[i].i);
        if (e->extra) change_mind(e, before);
        obs[i] = e->state;
        write_mask(e->state, io->mask + (ptrdiff_t)i * N_ACTIONS);
        io->reward[i] = outcome->reward;
        io->terminated[i] = (uint8_t)outcome->terminated;
        io->truncated[i] = 0;
    }
    return 0;
}

/* v3 has no config. */
static int describe_v3(const sk_env_config *config, sk_env_spec *spec, char *err, size_t err_size) {
    if (sk__env_config_known(config, NULL, 0, err, err_size)) return -1;
    return describe(config, spec, err, err_size);
}

const sk_env_api sk_env_taxi = {
    .abi_version = SK_ENV_ABI_VERSION, .struct_size = sizeof(sk_env_api), .name = "Taxi-v4",
    .caps = SK_ENV_CAP_DETERMINISTIC | SK_ENV_CAP_STATE,
    .describe = describe, .create = create, .destroy = sk__tabular_destroy, .reset = reset, .step = step,
    .state_size = sk__tabular_state_size, .state_save = sk__tabular_state_save,
    .state_load = sk__tabular_state_load,
};
const sk_env_api sk_env_taxi_v3 = {
    .abi_version = SK_ENV_ABI_VERSION, .struct_size = sizeof(sk_env_api), .name = "Taxi-v3",
    .caps = SK_ENV_CAP_DETERMINISTIC | SK_ENV_CAP_STATE,
    .describe = describe_v3, .create = create, .destroy = sk__tabular_destroy, .reset = reset, .step = step,
    .state_size = sk__tabular_state_size, .state_save = sk__tabular_state_save,
    .state_load = sk__tabular_state_load,
};
