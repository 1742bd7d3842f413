/* Philox against the vectors published with Random123 (kat_vectors); PCG64 against NumPy 2.4.6:
 * g = numpy.random.Generator(PCG64(SeedSequence(seed))), then the draws named in numpy_row, in order. */
#include "core/base/rng.h"
#include "core/base/rng_ziggurat.h"
#include "core/base/status.h"

#include <criterion/criterion.h>
#include <math.h>
#include <signal.h>
#include <string.h>

static uint64_t join32(uint32_t hi, uint32_t lo) { return ((uint64_t)hi << 32) | lo; }

Test(philox, matches_the_published_vectors) {
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } rows[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}},
        {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu}},
        {{0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}, /* digits of pi */
         {0xa4093822u, 0x299f31d0u},
         {0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u}},
    };
    for (int i = 0; i < SK_COUNT(rows); i++) {
        const uint32_t *c = rows[i].counter, *k = rows[i].key;
        uint32_t        words[4] = {0};
        sk_philox(join32(k[1], k[0]), join32(c[3], c[2]), join32(c[1], c[0]), words);
        cr_assert_arr_eq(words, rows[i].want, sizeof words, "row %d", i);
    }
}

Test(philox, every_input_bit_changes_the_words) {
    uint32_t base[4], other[4];
    sk_philox(1, 2, 3, base);
    for (int bit = 0; bit < 64; bit++) {
        uint64_t flip = (uint64_t)1 << bit;
        sk_philox(1 ^ flip, 2, 3, other);
        cr_assert_arr_neq(base, other, sizeof base, "seed bit %d", bit);
        sk_philox(1, 2 ^ flip, 3, other);
        cr_assert_arr_neq(base, other, sizeof base, "stream bit %d", bit);
        sk_philox(1, 2, 3 ^ flip, other);
        cr_assert_arr_neq(base, other, sizeof base, "counter bit %d", bit);
    }
}

Test(stream, families_and_indices_do_not_meet) {
    cr_assert_eq(sk_stream_id(SK_STREAM_INIT, 0), (uint64_t)1 << 48);
    cr_assert_eq(sk_stream_id(SK_STREAM_ACTION, 7), ((uint64_t)3 << 48) + 7);
    cr_assert_eq(sk_stream_id(SK_STREAM_ACTION, UINT64_MAX) >> 48, SK_STREAM_ACTION);
}

Test(unit, covers_zero_to_just_below_one) {
    cr_assert_eq(sk_u32_to_unit(0), 0.0f);
    cr_assert_eq(sk_u32_to_unit(0x80000000u), 0.5f);
    cr_assert_eq(sk_u32_to_unit(UINT32_MAX), 1.0f - 0x1p-24f);
}

Test(below, stays_in_range_at_both_ends) {
    cr_assert_eq(sk_u32_below(0, 7), 0);
    cr_assert_eq(sk_u32_below(UINT32_MAX, 7), 6);
    cr_assert_eq(sk_u32_below(UINT32_MAX, 1), 0);
    cr_assert_eq(sk_u32_below(UINT32_MAX, UINT32_MAX), UINT32_MAX - 1);
}

Test(normal, is_finite_at_the_extreme_words) {
    static const uint32_t words[] = {0, 1, 255, 256, 0x7fffffffu, 0x80000000u, UINT32_MAX - 1, UINT32_MAX};
    for (int i = 0; i < SK_COUNT(words); i++) {
        for (int j = 0; j < SK_COUNT(words); j++) {
            float z[2] = {NAN, NAN};
            sk_u32_to_normal2(words[i], words[j], z);
            cr_assert(isfinite(z[0]) && isfinite(z[1]), "%u %u -> %g %g", words[i], words[j], z[0], z[1]);
        }
    }
    float z[2];
    sk_u32_to_normal2(0, 0, z); /* the furthest tail: sqrt(2 * 33 ln 2) */
    cr_assert_float_eq(z[0], 6.7637f, 1e-3f);
    cr_assert_float_eq(z[1], 0.0f, 1e-6f);
}

/* Moments of 200,000 draws; the bounds are about five standard errors. */
Test(normal, has_the_moments_of_a_standard_normal) {
    enum { N = 100000 };
    double sum = 0, sum2 = 0, sum4 = 0, cross = 0;
    for (uint64_t i = 0; i < N; i++) {
        uint32_t words[4];
        float    z[2];
        sk_philox(7, sk_stream_id(SK_STREAM_TEST, 0), i, words);
        sk_u32_to_normal2(words[0], words[1], z);
        for (int k = 0; k < 2; k++) {
            double v = z[k];
            sum += v, sum2 += v * v, sum4 += v * v * v * v;
        }
        cross += (double)z[0] * (double)z[1];
    }
    cr_assert_float_eq(sum / (2 * N), 0.0, 0.012);
    cr_assert_float_eq(sum2 / (2 * N), 1.0, 0.016);
    cr_assert_float_eq(sum4 / (2 * N), 3.0, 0.11);
    cr_assert_float_eq(cross / N, 0.0, 0.016);
}

/* clang-format off */
static const struct numpy_row {
    uint64_t seed;
    uint64_t state[4];  /* bit_generator.state: state hi, lo, inc hi, lo                     */
    uint64_t raw[2];    /* random_raw(2)                                                     */
    double   random, uniform;   /* random(), uniform(-0.05, 0.05)                            */
    uint32_t u32[3];    /* integers(0, 2**32): a half of the second draw stays buffered      */
    double   random_after;      /* random(): does not touch the buffered half                */
    uint32_t below[6];  /* integers(0, n) for n of below_n                                   */
    uint64_t fold;      /* of 10,000 more, see fold_draws                                    */
} numpy_rows[] = {
    {0u,
     {0x1aa1b5345996452du, 0x09585eb7a69561e3u, 0x418ddadb3af71a82u, 0x588133bc447873a9u},
     {0xa30febcfd9c2825fu, 0x4510bdf882d9d721u}, 0x1.4fa7b529d9bd0p-5, -0x1.8c0f80ec8f29dp-5,
     {752767291u, 3492969080u, 2789219406u}, 0x1.3698f6e301db6p-1,
     {1u, 9u, 0u, 729498u, 2036686799u, 2334851558u}, 0xfd3e4a62618b7d6eu},
    {1u,
     {0x9c5b484bfedb756cu, 0x2a6e7d6f320fbc7eu, 0x922af2da2645f895u, 0xa19857b95740937bu},
     {0x8306bdf37922e4ffu, 0xf35196bbc152a866u}, 0x1.273d27b04760cp-3, 0x1.6f889bc9088e2p-5,
     {1070428841u, 1339305888u, 3732435016u}, 0x1.a7c8a2668bdcdp-1,
     {0u, 2u, 0u, 409200u, 2073918367u, 2360486913u}, 0xcc2155dee86cc1aeu},
    {42u,
     {0xcea44f6798798f2au, 0xacbc7c9d68860ac8u, 0xfa505436c9a8416eu, 0x66caf2e28d25abffu},
     {0xc621fbcd16d92688u, 0x705a5661a791ffc1u}, 0x1.b79a2584ddb42p-1, 0x1.435e26c08cd04p-6,
     {865305067u, 404488629u, 2261209996u}, 0x1.85b41a5f78b48p-1,
     {1u, 7u, 0u, 786066u, 1653218510u, 550243861u}, 0xed6e54d032da1a20u},
    {4294967295u,
     {0x4c233832246aa48cu, 0xc57a3ce19c86ba9au, 0xda9580daf0fe872cu, 0xad12d969e7b701fbu},
     {0x407f5fa930d8fd9fu, 0x3814b22eb9684802u}, 0x1.262df73ba3636p-2, 0x1.85e0c02921868p-7,
     {3037489634u, 4015847211u, 565913267u}, 0x1.0a7a79dfb08c7p-1,
     {0u, 5u, 0u, 275358u, 2485910948u, 3336988899u}, 0xd9ae725b2c276decu},
    {4294967296u,
     {0x24d060cf1520dbddu, 0x21bbf7fbff1ac5d4u, 0x77ff3ed86c5c5633u, 0x7b62eea7340ca9c7u},
     {0xe3c5ebe285ac1625u, 0x8ea09968fe31dbccu}, 0x1.9a109ff09b1bdp-1, 0x1.75f9e2f3ee8b8p-5,
     {3828018002u, 251750195u, 272133842u}, 0x1.935c1ed2806c8p-1,
     {0u, 2u, 0u, 308u, 124827645u, 3116956865u}, 0x939aeeb34cb4715au},
    {UINT64_MAX,
     {0xddc419442aebde79u, 0x4d8b0a3b048acdb0u, 0x37762aacb3cc854fu, 0x4ed623c7d18951edu},
     {0xae163a7a8c47568fu, 0xd86659f5f3382359u}, 0x1.e52b195bc2d00p-8, 0x1.433aeefd1ed3cp-5,
     {2597320476u, 553901464u, 1302921120u}, 0x1.2dcf94e79f20ep-1,
     {0u, 0u, 0u, 182688u, 2933410121u, 441515522u}, 0x3dd8605f58341387u},
};
/* clang-format on */

static const uint32_t below_n[6] = {2, 10, 1, 1000003, 3u << 30, UINT32_MAX};

/* h <- h * 6364136223846793005 + integers(0, n), n cycling through ranges with and without rejections,
 * and random() * 2^53 added at every hundredth draw. */
static uint64_t fold_draws(sk_pcg64 *rng) {
    static const uint32_t ns[] = {1,   2,     3,        4,              6,        7,         52,
                                  500, 65537, 1u << 31, (1u << 31) + 1, 3u << 30, UINT32_MAX};
    uint64_t h = 0;
    for (int i = 0; i < 10000; i++) {
        h = h * 6364136223846793005u + sk_pcg64_below(rng, ns[i % SK_COUNT(ns)]);
        if (i % 100 == 0) h += (uint64_t)(sk_pcg64_random(rng) * 0x1p53);
    }
    return h;
}

Test(pcg64, seeds_like_numpy) {
    for (int i = 0; i < SK_COUNT(numpy_rows); i++) {
        sk_pcg64 rng;
        memset(&rng, 0xff, sizeof rng);
        sk_pcg64_seed(&rng, numpy_rows[i].seed);
        uint64_t got[4] = {rng.state_hi, rng.state_lo, rng.inc_hi, rng.inc_lo};
        cr_assert_arr_eq(got, numpy_rows[i].state, sizeof got, "row %d", i);
        cr_assert_eq(rng.has_u32, 0);
    }
}

Test(pcg64, draws_like_numpy) {
    for (int i = 0; i < SK_COUNT(numpy_rows); i++) {
        const struct numpy_row *row = &numpy_rows[i];
        sk_pcg64                rng;
        sk_pcg64_seed(&rng, row->seed);
        for (int k = 0; k < 2; k++) cr_assert_eq(sk_pcg64_next_u64(&rng), row->raw[k], "row %d", i);
        cr_assert_eq(sk_pcg64_random(&rng), row->random, "row %d", i);
        cr_assert_eq(sk_pcg64_uniform(&rng, -0.05, 0.05), row->uniform, "row %d", i);
        for (int k = 0; k < 3; k++) cr_assert_eq(sk_pcg64_next_u32(&rng), row->u32[k], "row %d", i);
        cr_assert_eq(rng.has_u32, 1);
        cr_assert_eq(sk_pcg64_random(&rng), row->random_after, "row %d", i);
        for (int k = 0; k < 6; k++) {
            uint32_t got = sk_pcg64_below(&rng, below_n[k]);
            cr_assert_eq(got, row->below[k], "row %d, n %u: got %u", i, below_n[k], got);
        }
        cr_assert_eq(fold_draws(&rng), row->fold, "row %d", i);
    }
}

Test(pcg64, goes_on_from_a_copied_state) {
    sk_pcg64 rng, copy;
    sk_pcg64_seed(&rng, 3);
    (void)sk_pcg64_next_u32(&rng); /* the copy must carry the buffered half too */
    copy = rng;
    cr_assert_eq(fold_draws(&rng), fold_draws(&copy));
}

Test(pcg64, below_zero_is_asserted, .signal = SIGABRT) {
    sk_pcg64 rng;
    sk_pcg64_seed(&rng, 0);
    (void)sk_pcg64_below(&rng, 0);
}

Test(pcg64, a_state_that_no_seed_leads_to_is_not_sound) {
    sk_pcg64 rng;
    sk_pcg64_seed(&rng, 7);
    cr_assert(sk_pcg64_is_sound(&rng));
    (void)sk_pcg64_next_u32(&rng);
    cr_assert(sk_pcg64_is_sound(&rng), "half a word is left");
    sk_pcg64 even = rng, flag = rng;
    even.inc_lo &= ~UINT64_C(1);
    flag.has_u32 = 2;
    cr_assert(!sk_pcg64_is_sound(&even) && !sk_pcg64_is_sound(&flag));
}

/* The first draws and a checksum of default_rng(7).standard_normal(200000), 46 of which lie in the tail beyond r. */
Test(pcg64, draws_normals_like_numpy) {
    static const double first[] = {0x1.427a31c1ffc58p-10, 0x1.31ea59a5b303ep-2, -0x1.18b7980d81558p-2};
    sk_pcg64 rng;
    uint64_t hash = 0xcbf29ce484222325u;
    int      in_tail = 0;
    double   largest = 0.0;
    sk_pcg64_seed(&rng, 7);
    for (int i = 0; i < 200000; i++) {
        double   x = sk_pcg64_standard_normal(&rng);
        uint64_t bits;
        if (i < 3) cr_assert_eq(x, first[i], "draw %d: got %a", i, x);
        memcpy(&bits, &x, sizeof bits);
        hash = (hash ^ bits) * 0x100000001b3u;
        in_tail += fabs(x) > 3.654;
        largest = fmax(largest, fabs(x));
    }
    cr_assert_eq(in_tail, 46);
    cr_assert_eq(largest, 0x1.21760a901fee4p+2);
    cr_assert_eq(hash, 0xa5ced82f338d1d62u);
}

/* The tables are NumPy's numbers; to 12 digits they are those of the formulas in rng_ziggurat.h. */
Test(pcg64, normals_have_the_ziggurat_of_256_equal_areas) {
    double area = ZIGGURAT_R * exp(-0.5 * ZIGGURAT_R * ZIGGURAT_R) + sqrt(acos(-1.0) / 2) * erfc(ZIGGURAT_R / sqrt(2.0));
    double x = ZIGGURAT_R;
    for (int i = 255; i >= 1; i--) {
        double height = exp(-0.5 * x * x), inner = i > 1 ? sqrt(-2.0 * log(area / x + height)) : 0.0;
        cr_assert_float_eq(ZIGGURAT_WIDTH[i] * 0x1p52, x, 1e-12, "width %d", i);
        cr_assert_float_eq(ZIGGURAT_HEIGHT[i], height, 1e-12, "height %d", i);
        cr_assert_float_eq((double)ZIGGURAT_INSIDE[i] * 0x1p-52, inner / x, 1e-12, "inside %d", i);
        x = inner;
    }
    double edge = exp(-0.5 * ZIGGURAT_R * ZIGGURAT_R);
    cr_assert_float_eq(ZIGGURAT_WIDTH[0] * 0x1p52, area / edge, 1e-12);
    cr_assert_float_eq((double)ZIGGURAT_INSIDE[0] * 0x1p-52, ZIGGURAT_R * edge / area, 1e-12);
    cr_assert_float_eq(ZIGGURAT_R_INVERSE * ZIGGURAT_R, 1.0, 1e-15);
}
