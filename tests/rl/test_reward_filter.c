/* The reward filter against a plain version that keeps every discounted return it has seen. */
#include "core/base/rng.h"
#include "rl/reward_filter.h"
#include "tests/rl/rig.h"
#include <math.h>

enum { T = 20, R = 3, N = T * R, N_BATCHES = 6 };

typedef struct plate {
    sk_batch b;
    float    reward[N];
    uint8_t  terminated[N], truncated[N], valid[N];
} plate;

static void fill(plate *p, int batch) {
    uint32_t w[4];
    *p = (plate){.b = {.shape = {.n_steps = T, .n_rows = R}}};
    p->b.reward = p->reward, p->b.terminated = p->terminated, p->b.truncated = p->truncated, p->b.valid = p->valid;
    for (int i = 0; i < N; i++) {
        sk_philox(3, sk_stream_id(SK_STREAM_TEST, (uint64_t)batch), (uint64_t)i, w);
        p->reward[i] = 6.0f * sk_u32_to_unit(w[0]) - 1.0f + (float)(i % R);
        p->terminated[i] = w[1] % 9 == 0, p->truncated[i] = w[2] % 9 == 0, p->valid[i] = w[3] % 7 != 0;
    }
}

/* All discounted returns so far, and each row's present one. */
typedef struct naive {
    double returns[N * N_BATCHES], present[R];
    int    n;
} naive;

static double naive_scale(naive *s, const plate *p, double gamma) {
    double mean = 0.0, var = 0.0;
    for (int r = 0; r < R; r++) /* row by row: the order does not matter to a variance */
        for (int i = r; i < N; i += R) {
            if (p->valid[i]) s->returns[s->n++] = s->present[r] = gamma * s->present[r] + (double)p->reward[i];
            if (p->terminated[i] || p->truncated[i]) s->present[r] = 0.0;
        }
    for (int i = 0; i < s->n; i++) mean += s->returns[i] / s->n;
    for (int i = 0; i < s->n; i++) var += pow(s->returns[i] - mean, 2) / s->n;
    return 1.0 / sqrt(var + 1e-8);
}

static void check(const plate *p, const float *got, double scale, double clip) {
    for (int i = 0; i < N; i++) {
        double wanted = p->valid[i] ? (double)p->reward[i] * scale : 0.0;
        if (clip > 0.0) wanted = fmax(-clip, fmin(clip, wanted));
        cr_assert_float_eq(got[i], wanted, 1e-6 * (1.0 + fabs(wanted)), "%d: %.9g, wanted %.9g", i, (double)got[i],
                           wanted);
    }
}

Test(reward_filter, divides_by_the_deviation_of_all_discounted_returns) {
    static const double gammas[] = {0.0, 0.9, 1.0}, clips[] = {0.0, 0.7};
    for (int k = 0; k < 6; k++) {
        sk_reward_filter f;
        naive            s = {.n = 0};
        plate            p;
        float            out[N];
        cr_assert_eq(sk_reward_filter_init(&f, R, gammas[k % 3], NULL), SK_OK);
        for (int batch = 0; batch < N_BATCHES; batch++) {
            fill(&p, batch);
            sk_reward_filter_apply(&f, &p.b, (float)clips[k / 3], out);
            check(&p, out, naive_scale(&s, &p, gammas[k % 3]), clips[k / 3]);
            cr_assert_eq(f.count, s.n);
        }
        sk_reward_filter_deinit(&f);
    }
}

Test(reward_filter, never_sees_an_invalid_step) {
    sk_reward_filter clean, foul;
    plate            p;
    float            a[N], b[N];
    cr_assert_eq(sk_reward_filter_init(&clean, R, 0.9, NULL), SK_OK);
    cr_assert_eq(sk_reward_filter_init(&foul, R, 0.9, NULL), SK_OK);
    for (int batch = 0; batch < 3; batch++) {
        fill(&p, batch);
        sk_reward_filter_apply(&clean, &p.b, 5.0f, a);
        for (int i = 0; i < N; i++)
            if (!p.valid[i]) p.reward[i] = i % 2 ? NAN : -INFINITY;
        sk_reward_filter_apply(&foul, &p.b, 5.0f, b);
        cr_assert_eq(memcmp(a, b, sizeof a), 0);
    }
    sk_reward_filter_deinit(&clean);
    sk_reward_filter_deinit(&foul);
}

Test(reward_filter, leaves_a_first_lone_reward_as_it_is) {
    sk_reward_filter f;
    plate            p;
    float            out[N];
    cr_assert_eq(sk_reward_filter_init(&f, R, 0.9, NULL), SK_OK);
    fill(&p, 0);
    memset(p.valid, 0, sizeof p.valid);
    sk_reward_filter_apply(&f, &p.b, 0.0f, out); /* nothing to learn from */
    for (int i = 0; i < N; i++) cr_assert_eq(out[i], 0.0f);
    p.valid[4] = 1;
    sk_reward_filter_apply(&f, &p.b, 0.0f, out);
    cr_assert_float_eq(out[4], p.reward[4], 1e-6);
    sk_reward_filter_deinit(&f);
}

static sk_pack *saved(const sk_reward_filter *f, const char *path) {
    sk_pack_writer *writer = NULL;
    sk_pack        *pack = NULL;
    sk_error        e;
    cr_assert_eq(sk_pack_writer_create(SK_PACK_CHECKPOINT, 1, &writer, &e), SK_OK);
    cr_assert_eq(sk_reward_filter_save(f, writer, &e), SK_OK);
    cr_assert_eq(sk_pack_writer_save(writer, path, &e), SK_OK, "%s", e.msg);
    sk_pack_writer_destroy(&writer);
    cr_assert_eq(sk_pack_load(path, SK_PACK_CHECKPOINT, 1, &pack, &e), SK_OK, "%s", e.msg);
    return pack;
}

Test(reward_filter, goes_on_bit_for_bit_from_a_file) {
    char            *folder = rig_folder();
    const char      *path = rig_text("%s/filter", folder);
    sk_reward_filter f, g, other;
    plate            p;
    float            a[N], b[N];
    cr_assert_eq(sk_reward_filter_init(&f, R, 0.95, NULL), SK_OK);
    cr_assert_eq(sk_reward_filter_init(&g, R, 0.95, NULL), SK_OK);
    cr_assert_eq(sk_reward_filter_init(&other, R + 1, 0.95, NULL), SK_OK);
    for (int batch = 0; batch < 3; batch++) {
        fill(&p, batch);
        sk_reward_filter_apply(&f, &p.b, 0.0f, a);
    }
    sk_pack *pack = saved(&f, path);
    sk_error e = {0};
    cr_assert_eq(sk_reward_filter_load(&g, pack, &e), SK_OK, "%s", e.msg);
    cr_assert_eq(sk_reward_filter_load(&other, pack, &e), SK_ECORRUPT);
    rig_has(e.msg, "reward_filter_returns");
    for (int batch = 3; batch < N_BATCHES; batch++) {
        fill(&p, batch);
        sk_reward_filter_apply(&f, &p.b, 0.0f, a);
        sk_reward_filter_apply(&g, &p.b, 0.0f, b);
        cr_assert_eq(memcmp(a, b, sizeof a), 0);
    }
    sk_pack_destroy(&pack);
    sk_reward_filter_deinit(&f);
    sk_reward_filter_deinit(&g);
    sk_reward_filter_deinit(&other);
    rig_remove(&folder);
}
