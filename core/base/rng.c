#include "core/base/rng.h"
#include "core/base/rng_ziggurat.h"
#include "core/base/status.h"

#include <math.h>

/* ISO C17 has no 128-bit integer; gcc and clang do on every 64-bit target. */
__extension__ typedef unsigned __int128 u128;

/* ---- Philox4x32-10 (Salmon et al. 2011, section 4.3) ---- */

enum { PHILOX_ROUNDS = 10 };

/* The paper's multipliers (found by search, table 2) and the Weyl steps of the key: the golden ratio and
 * sqrt(3) - 1 as 32-bit fractions. */
static const uint32_t PHILOX_M0 = 0xD2511F53u, PHILOX_M1 = 0xCD9E8D57u;
static const uint32_t PHILOX_W0 = 0x9E3779B9u, PHILOX_W1 = 0xBB67AE85u;

void sk_philox(uint64_t seed, uint64_t stream, uint64_t counter, uint32_t ret_words[4]) {
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    uint32_t c0 = (uint32_t)counter, c1 = (uint32_t)(counter >> 32);
    uint32_t c2 = (uint32_t)stream, c3 = (uint32_t)(stream >> 32);
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        uint64_t p0 = (uint64_t)PHILOX_M0 * c0, p1 = (uint64_t)PHILOX_M1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += PHILOX_W0;
        k1 += PHILOX_W1;
    }
    ret_words[0] = c0;
    ret_words[1] = c1;
    ret_words[2] = c2;
    ret_words[3] = c3;
}

/* Box-Muller: r = sqrt(-2 ln u), (r cos t, r sin t). u is in [2^-33, 1]: all 32 bits are used, so that the
 * tails reach 6.7 sigma; the half step keeps the logarithm off zero. */
void sk_u32_to_normal2(uint32_t word0, uint32_t word1, float ret_normal[2]) {
    float u = (float)word0 * 0x1p-32f + 0x1p-33f;
    float radius = sqrtf(-2.0f * logf(u));
    float angle = 6.28318530718f * sk_u32_to_unit(word1);
    ret_normal[0] = radius * cosf(angle);
    ret_normal[1] = radius * sinf(angle);
}

/* ---- NumPy's SeedSequence (O'Neill's seed_seq_fe with a pool of 4 words) ---- */

enum { POOL_WORDS = 4 };

static const uint32_t SEED_INIT_A = 0x43b0d7e5u, SEED_MULT_A = 0x931e8875u; /* absorbing entropy */
static const uint32_t SEED_INIT_B = 0x8b51f9ddu, SEED_MULT_B = 0x58f38dedu; /* producing output  */
static const uint32_t SEED_MIX_L = 0xca01f9ddu, SEED_MIX_R = 0x4973f715u;

/* One word through the multiplicative hash, whose constant moves with every use. */
static uint32_t seed_hash(uint32_t value, uint32_t *hash_const, uint32_t mult) {
    value ^= *hash_const;
    *hash_const *= mult;
    value *= *hash_const;
    return value ^ (value >> 16);
}

static uint32_t seed_mix(uint32_t x, uint32_t y) {
    uint32_t mixed = SEED_MIX_L * x - SEED_MIX_R * y;
    return mixed ^ (mixed >> 16);
}

/* SeedSequence(seed).generate_state(4, uint64). A missing entropy word hashes as zero, therefore a seed
 * below 2^32 (one word) and one above it (two words) need no separate cases. */
static void seed_state(uint64_t seed, uint64_t ret_state[4]) {
    uint32_t pool[POOL_WORDS] = {(uint32_t)seed, (uint32_t)(seed >> 32), 0, 0};
    uint32_t hash_const = SEED_INIT_A;
    for (int i = 0; i < POOL_WORDS; i++) pool[i] = seed_hash(pool[i], &hash_const, SEED_MULT_A);
    for (int src = 0; src < POOL_WORDS; src++) {
        for (int dst = 0; dst < POOL_WORDS; dst++) {
            if (src != dst) pool[dst] = seed_mix(pool[dst], seed_hash(pool[src], &hash_const, SEED_MULT_A));
        }
    }
    /* Output cycles through the pool; two 32-bit words make one of 64, the low half first. */
    hash_const = SEED_INIT_B;
    for (int i = 0; i < 4; i++) {
        uint64_t lo = seed_hash(pool[(2 * i) % POOL_WORDS], &hash_const, SEED_MULT_B);
        uint64_t hi = seed_hash(pool[(2 * i + 1) % POOL_WORDS], &hash_const, SEED_MULT_B);
        ret_state[i] = lo | (hi << 32);
    }
}

/* ---- PCG64 XSL-RR 128/64 (O'Neill 2014) ---- */

static u128 join(uint64_t hi, uint64_t lo) { return ((u128)hi << 64) | lo; }

/* state <- state * multiplier + inc (mod 2^128) */
static void pcg_step(sk_pcg64 *self) {
    const u128 mult = join(0x2360ED051FC65DA4u, 0x4385DF649FCCF645u);
    u128 state = join(self->state_hi, self->state_lo) * mult + join(self->inc_hi, self->inc_lo);
    self->state_hi = (uint64_t)(state >> 64);
    self->state_lo = (uint64_t)state;
}

void sk_pcg64_seed(sk_pcg64 *self, uint64_t seed) {
    uint64_t words[4];
    seed_state(seed, words);
    u128 inc = (join(words[2], words[3]) << 1) | 1;
    *self = (sk_pcg64){.inc_hi = (uint64_t)(inc >> 64), .inc_lo = (uint64_t)inc};
    /* O'Neill's srandom: a step from zero, add the initial state, a step. */
    pcg_step(self);
    u128 state = join(self->state_hi, self->state_lo) + join(words[0], words[1]);
    self->state_hi = (uint64_t)(state >> 64);
    self->state_lo = (uint64_t)state;
    pcg_step(self);
}

bool sk_pcg64_is_sound(const sk_pcg64 *self) { return (self->inc_lo & 1) && (self->has_u32 == 0 || self->has_u32 == 1); }

/* Step, then output: fold the halves, rotate right by the top six bits. */
uint64_t sk_pcg64_next_u64(sk_pcg64 *self) {
    pcg_step(self);
    uint64_t folded = self->state_hi ^ self->state_lo;
    unsigned rotate = (unsigned)(self->state_hi >> 58);
    return (folded >> rotate) | (folded << ((64 - rotate) & 63));
}

uint32_t sk_pcg64_next_u32(sk_pcg64 *self) {
    if (self->has_u32) {
        self->has_u32 = 0;
        return self->u32;
    }
    uint64_t word = sk_pcg64_next_u64(self);
    self->has_u32 = 1;
    self->u32 = (uint32_t)(word >> 32);
    return (uint32_t)word;
}

double sk_pcg64_random(sk_pcg64 *self) { return (double)(sk_pcg64_next_u64(self) >> 11) * 0x1p-53; }

double sk_pcg64_uniform(sk_pcg64 *self, double low, double high) {
    return low + (high - low) * sk_pcg64_random(self);
}

/* Lemire 2019: the high half of word * n is the answer; words whose low half falls into the short first
 * interval (2^32 mod n of them) are drawn again. */
uint32_t sk_pcg64_below(sk_pcg64 *self, uint32_t n) {
    SK_ASSERT(n > 0);
    if (n == 1) return 0; /* NumPy draws nothing here */
    uint64_t product = (uint64_t)sk_pcg64_next_u32(self) * n;
    if ((uint32_t)product < n) {
        uint32_t threshold = (0u - n) % n;
        while ((uint32_t)product < threshold) product = (uint64_t)sk_pcg64_next_u32(self) * n;
    }
    return (uint32_t)(product >> 32);
}

/* Beyond r (Marsaglia 1964): x = -ln(u1) / r is kept if 2 (-ln u2) > x^2. */
static double normal_tail(sk_pcg64 *self) {
    for (;;) {
        double x = -ZIGGURAT_R_INVERSE * log1p(-sk_pcg64_random(self));
        double y = -log1p(-sk_pcg64_random(self));
        if (y + y > x * x) return ZIGGURAT_R + x;
    }
}

/* One word gives the layer (8 bits), the sign (1) and the place in the layer (52). */
double sk_pcg64_standard_normal(sk_pcg64 *self) {
    for (;;) {
        uint64_t word = sk_pcg64_next_u64(self);
        int      layer = (int)(word & 0xff);
        uint64_t place = (word >> 9) & 0xfffffffffffffu;
        double   x = (double)place * ZIGGURAT_WIDTH[layer];
        if ((word >> 8) & 1) x = -x;
        if (place < ZIGGURAT_INSIDE[layer]) return x;
        if (layer == 0) {
            double far = normal_tail(self);
            return (place >> 8) & 1 ? -far : far; /* the sign is another bit here, as in NumPy */
        }
        double low = ZIGGURAT_HEIGHT[layer], high = ZIGGURAT_HEIGHT[layer - 1];
        if ((high - low) * sk_pcg64_random(self) + low < exp(-0.5 * x * x)) return x;
    }
}
