/* rng: the two random generators of skiff.
 *
 * Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") is for policies
 * and learners: a pure function of (seed, stream, counter), so a draw does not depend on which thread
 * makes it or when. PCG64 with NumPy's SeedSequence is for environments: bit for bit what
 * numpy.random.Generator(PCG64(SeedSequence(seed))) gives (O'Neill 2014; NumPy 2.x).
 *
 * Threads: Philox has no state; an sk_pcg64 belongs to its owner. */
#ifndef SK_BASE_RNG_H
#define SK_BASE_RNG_H
#include <stdbool.h>
#include <stdint.h>

/* Stream families: the top 16 bits of a stream id say what the numbers are for, the rest says for
 * whom (a global environment index, an epoch). Never reuse a value. */
typedef enum sk_stream {
    SK_STREAM_INIT = 1,     /* parameters                                  */
    SK_STREAM_ENV_SEED = 2, /* seeds of environments                       */
    SK_STREAM_ACTION = 3,   /* actions of a policy, by global row          */
    SK_STREAM_SHUFFLE = 4,  /* order of minibatches                        */
    SK_STREAM_ROLLOUT = 5,  /* `skiff rollout --random`, check-env actions */
    SK_STREAM_TEST = 6,
    SK_STREAM_REPLAY = 7,   /* draws from a replay                         */
    SK_STREAM_LEARNER = 8,  /* noise of an algorithm's updates             */
    SK_STREAM_EXPLORE = 9   /* exploration noise, by global row            */
} sk_stream;

static inline uint64_t sk_stream_id(sk_stream family, uint64_t index) {
    return ((uint64_t)family << 48) | (index & 0xffffffffffffu);
}

/* Four 32-bit words for (seed, stream, counter). */
void sk_philox(uint64_t seed, uint64_t stream, uint64_t counter, uint32_t ret_words[4]);
/* Word -> [0, 1) with 24 bits, exact in float. */
static inline float sk_u32_to_unit(uint32_t word) { return (float)(word >> 8) * 0x1p-24f; }
/* Two words -> two independent standard normals (Box-Muller; the first word is kept off zero). */
void sk_u32_to_normal2(uint32_t word0, uint32_t word1, float ret_normal[2]);
/* Word -> an integer in [0, n) without modulo bias beyond 2^-32 * n. n > 0. */
static inline uint32_t sk_u32_below(uint32_t word, uint32_t n) {
    return (uint32_t)(((uint64_t)word * n) >> 32);
}

typedef struct sk_pcg64 {
    uint64_t state_hi, state_lo; /* 128-bit LCG state                          */
    uint64_t inc_hi, inc_lo;     /* 128-bit odd increment                      */
    uint32_t has_u32, u32;       /* NumPy's buffered half of a 64-bit draw     */
} sk_pcg64;

/* As numpy.random.PCG64(SeedSequence(seed)). */
void sk_pcg64_seed(sk_pcg64 *self, uint64_t seed);
/* May this have come from a seed? For states read from files: one with an even increment can stand still, and
 * sk_pcg64_below draws again for ever. */
bool     sk_pcg64_is_sound(const sk_pcg64 *self);
uint64_t sk_pcg64_next_u64(sk_pcg64 *self);
uint32_t sk_pcg64_next_u32(sk_pcg64 *self);             /* buffered, low half first  */
double   sk_pcg64_random(sk_pcg64 *self);               /* Generator.random(): [0,1) */
double   sk_pcg64_uniform(sk_pcg64 *self, double low, double high); /* Generator.uniform */
double   sk_pcg64_standard_normal(sk_pcg64 *self);      /* Generator.standard_normal() */
/* Generator.integers(0, n) for n <= 2^32 (Lemire's method on buffered 32-bit words). n > 0. */
uint32_t sk_pcg64_below(sk_pcg64 *self, uint32_t n);

#endif
