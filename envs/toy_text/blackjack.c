/* Blackjack-v1: hit or stick against a dealer who plays by rule, with an endless deck (Sutton and Barto, example 5.1).
 *
 * Same numbers as Gymnasium 1.4.0, random draws included, also those that only choose the picture of a card. There is
 * no time limit.
 *
 * Config: sab (true): the book's rules, where a natural wins; natural (false), without sab: a natural that wins
 * pays 1.5.
 * Threads: one instance, one thread at a time. */
#include "core/base/rng.h"
#include "envs/common.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OBS_DIM = 3, SUITS = 4, PICTURES = 3, LIMIT = 21, DEALER_STICKS = 17 };

static const int deck[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10, 10}; /* ace, numbers, ten and pictures */

typedef struct hand {
    int32_t sum; /* an ace counts 1 */
    int32_t has_ace, n_cards, first_card;
} hand;

/* One game; this is also what is saved. */
typedef struct game {
    hand     player, dealer;
    sk_pcg64 rng;
} game;

typedef struct blackjack {
    bool sab, natural;
    game games[]; /* (n_envs) */
} blackjack;

static int read_config(const sk_env_config *config, bool *sab, bool *natural, char *err, size_t err_size) {
    static const char *const known[] = {"sab", "natural"};
    *sab = true;
    *natural = false;
    if (sk__env_config_known(config, known, 2, err, err_size) ||
        sk__env_config_bool(config, known[0], sab, err, err_size))
        return -1;
    return sk__env_config_bool(config, known[1], natural, err, err_size);
}

static int describe(const sk_env_config *config, sk_env_spec *spec, char *err, size_t err_size) {
    bool sab, natural;
    if (read_config(config, &sab, &natural, err, err_size)) return -1;
    spec->n_obs = 3;
    spec->obs[0] = (sk_env_field){.name = "player_sum", .dtype = SK_ENV_I32, .high = 31};
    spec->obs[1] = (sk_env_field){.name = "dealer_card", .dtype = SK_ENV_I32, .high = 10};
    spec->obs[2] = (sk_env_field){.name = "usable_ace", .dtype = SK_ENV_I32, .high = 1};
    spec->n_action = 1;
    spec->action[0] = (sk_env_action_part){.name = "hit", .kind = SK_ENV_DISCRETE, .n = 2};
    spec->n_agents = 1;
    spec->reward_low = -1.0f;
    spec->reward_high = natural && !sab ? 1.5f : 1.0f;
    return 0;
}

static void destroy(void *self_v) { free(self_v); }

static int create(const sk_env_config *config, int n_envs, void **ret_self, char *err, size_t err_size) {
    bool sab, natural;
    if (read_config(config, &sab, &natural, err, err_size)) return -1;
    blackjack *self = calloc(1, sizeof *self + (size_t)n_envs * sizeof(game));
    if (!self) {
        snprintf(err, err_size, "out of memory for %d environments", n_envs);
        return -1;
    }
    self->sab = sab;
    self->natural = natural;
    for (int i = 0; i < n_envs; i++) sk_pcg64_seed(&self->games[i].rng, (uint64_t)i);
    *ret_self = self;
    return 0;
}

static void draw(game *g, hand *to) {
    int card = deck[sk_pcg64_below(&g->rng, sizeof deck / sizeof deck[0])];
    if (to->n_cards++ == 0) to->first_card = card;
    to->sum += card;
    to->has_ace |= card == 1;
}

static bool usable_ace(const hand *h) { return h->has_ace && h->sum + 10 <= LIMIT; }
static int  total(const hand *h) { return usable_ace(h) ? h->sum + 10 : h->sum; }
static int  score(const hand *h) { return total(h) > LIMIT ? 0 : total(h); } /* 0 = bust */
static bool is_natural(const hand *h) { return h->n_cards == 2 && h->has_ace && h->sum == 11; }

static void observe(const game *g, int32_t *obs) {
    obs[0] = total(&g->player);
    obs[1] = g->dealer.first_card;
    obs[2] = usable_ace(&g->player);
}

static int reset(void *self_v, int env, const uint64_t *seed, void *obs, uint8_t *mask) {
    (void)mask;
    game *g = &((blackjack *)self_v)->games[env];
    if (seed) sk_pcg64_seed(&g->rng, *seed);
    g->player = g->dealer = (hand){0};
    for (int i = 0; i < 2; i++) draw(g, &g->dealer);
    for (int i = 0; i < 2; i++) draw(g, &g->player);
    /* Gymnasium draws what the dealer's open card looks like. */
    sk_pcg64_below(&g->rng, SUITS);
    if (g->dealer.first_card == 10) sk_pcg64_below(&g->rng, PICTURES);
    observe(g, obs);
    return 0;
}

/* The player sticks: the dealer draws, and the higher score wins. */
static float settle(const blackjack *self, game *g) {
    while (total(&g->dealer) < DEALER_STICKS) draw(g, &g->dealer);
    int   player = score(&g->player), dealer = score(&g->dealer);
    float reward = (float)((player > dealer) - (player < dealer));
    if (self->sab && is_natural(&g->player) && !is_natural(&g->dealer)) return 1.0f;
    if (!self->sab && self->natural && is_natural(&g->player) && reward == 1.0f) return 1.5f;
    return reward;
}

static int step(void *self_v, int first, int count, const sk_env_io *io) {
    blackjack *self = self_v;
    int32_t   *obs = io->obs;
    for (int i = 0; i < count; i++) {
        game *g = &self->games[first + i];
        if (io->action[i].i) {
            draw(g, &g->player);
            io->terminated[i] = score(&g->player) == 0;
            io->reward[i] = io->terminated[i] ? -1.0f : 0.0f;
        } else {
            io->terminated[i] = 1;
            io->reward[i] = settle(self, g);
        }
        io->truncated[i] = 0;
        observe(g, obs + (ptrdiff_t)i * OBS_DIM);
    }
    return 0;
}

static size_t state_size(void *self) {
    (void)self;
    return sizeof(game);
}

static int state_save(void *self_v, int env, void *bytes) {
    memcpy(bytes, &((blackjack *)self_v)->games[env], sizeof(game));
    return 0;
}

/* Can such a hand be held? Its numbers are observations, and with a sum far below zero the dealer would draw for ages. */
static bool can_be(const hand *h) {
    return h->sum >= 0 && h->sum <= 2 * LIMIT && h->n_cards >= 0 && h->n_cards <= 2 * LIMIT && h->first_card >= 0 &&
           h->first_card <= 10 && (h->has_ace == 0 || h->has_ace == 1);
}

static int state_load(void *self_v, int env, const void *bytes) {
    game saved;
    memcpy(&saved, bytes, sizeof saved);
    if (!can_be(&saved.player) || !can_be(&saved.dealer) || !sk_pcg64_is_sound(&saved.rng)) return -1;
    ((blackjack *)self_v)->games[env] = saved;
    return 0;
}

const sk_env_api sk_env_blackjack = {
    .abi_version = SK_ENV_ABI_VERSION, .struct_size = sizeof(sk_env_api), .name = "Blackjack-v1",
    .caps = SK_ENV_CAP_DETERMINISTIC | SK_ENV_CAP_STATE,
    .describe = describe, .create = create, .destroy = destroy, .reset = reset, .step = step,
    .state_size = state_size, .state_save = state_save, .state_load = state_load,
};
