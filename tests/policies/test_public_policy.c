/* skiff/policy.h: the same bits as inside the library, in batches of any size, without allocating. */
#include "skiff/policy.h"

#include "tests/policies/policy_fixture.h"

#include <stdatomic.h>

#if defined(__SANITIZE_ADDRESS__)
#define HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_ASAN 1
#endif
#endif

static _Atomic long n_allocs;
#ifdef HAVE_ASAN
int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void *, size_t),
                                              void (*on_free)(const volatile void *));
static void on_malloc(const volatile void *p, size_t bytes) { (void)p, (void)bytes, n_allocs++; }
static void on_free(const volatile void *p) { (void)p; }
static void count_allocations(void) { __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free); }
#else
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t n, size_t bytes);
void *malloc(size_t bytes) {
    n_allocs++;
    return __libc_malloc(bytes);
}
void *calloc(size_t n, size_t bytes) {
    n_allocs++;
    return __libc_calloc(n, bytes);
}
static void count_allocations(void) {}
#endif

enum { ROWS = 150 }; /* more than one piece, the last one partly filled */

/* One policy in the library and through its file, and something to look at. */
typedef struct pair {
    sk_policy    *policy;
    sk_device    *device;
    sk_inference *inference; /* all rows at once */
    skiff_policy *loaded;
    float         obs[ROWS * 8], mask[ROWS * 8];
    uint8_t       mask_u8[ROWS * 8];
} pair;

static void open_pair(pair *p, const sk_policy_spaces *spaces, const sk_model_config *model, sk_obs_filter filter) {
    char     dir[64], path[96], why[256] = "";
    uint64_t seed = 9;
    *p = (pair){.policy = fix_policy(spaces, model, filter, 3)};
    p->inference = fix_inference(p->policy, ROWS, &p->device);
    fix_save(p->policy, dir, path);
    cr_assert_eq(skiff_policy_load(path, &p->loaded, why, sizeof why), 0, "%s", why);
    fix_remove(dir, path);
    fix_observe(spaces, ROWS, &seed, p->obs);
    for (int i = 0; i < ROWS * spaces->mask_size; i++) p->mask[i] = p->mask_u8[i] = fix_uniform(&seed, 0.0f, 1.0f) > 0.4f;
}
static void close_pair(pair *p) {
    skiff_policy_destroy(&p->loaded);
    sk_inference_destroy(&p->inference);
    sk_device_destroy(&p->device);
    sk_policy_destroy(&p->policy);
}

/* The library's action for all rows, as the environment counts choices. */
static void act_inside(pair *p, int deterministic, uint64_t counter, int64_t first_row, sk_env_slot *action) {
    const sk_policy_spaces *s = sk_policy_spaces_get(p->policy);
    float                   value[ROWS]; /* with the value asked for, the larger graph acts */
    sk_inference_act(p->inference,
                     &(sk_inference_io){.rows = ROWS, .obs = p->obs, .mask = p->mask, .deterministic = deterministic,
                                        .seed = 11, .counter = counter, .first_row = first_row, .action = action,
                                        .value = value});
    for (int i = 0; s->n_parts > 0 && i < ROWS * s->action_slots; i++)
        action[i].i += s->part_start[i % s->action_slots];
}

static void assert_same_actions(pair *p) {
    const sk_policy_spaces *s = sk_policy_spaces_get(p->policy);
    sk_env_slot             want[ROWS * 2];
    skiff_action_slot       got[ROWS * 2];
    const uint8_t          *mask = s->mask_size > 0 ? p->mask_u8 : NULL;
    size_t                  bytes = sizeof *want * (size_t)(ROWS * s->action_slots);
    act_inside(p, 1, 0, 0, want);
    skiff_policy_act(p->loaded, p->obs, mask, ROWS, got);
    cr_assert_eq(memcmp(got, want, bytes), 0, "the most probable action, %s", s->env_name);
    for (uint64_t counter = 0; counter < 3; counter++) {
        act_inside(p, 0, counter, 5, want);
        skiff_policy_sample(p->loaded, p->obs, mask, ROWS, 11, 5, counter, got);
        cr_assert_eq(memcmp(got, want, bytes), 0, "a drawn action, %s, counter %d", s->env_name, (int)counter);
    }
    float value_want[ROWS], value_got[ROWS];
    sk_inference_value(p->inference, p->obs, ROWS, value_want);
    skiff_policy_value(p->loaded, p->obs, ROWS, value_got);
    cr_assert_eq(memcmp(value_got, value_want, sizeof value_want), 0, "the value, %s", s->env_name);
}

static const sk_model_config tanh_net = {.fcnet_hiddens = {2, {32, 16}}, .fcnet_activation = SK_ACT_TANH,
                                         .free_log_std = true};
static const sk_model_config shared_net = {.fcnet_hiddens = {1, {24}}, .fcnet_activation = SK_ACT_GELU,
                                           .vf_share_layers = true, .layer_norm = true};

Test(public_policy, acts_with_the_librarys_bits) {
    const sk_policy_spaces *const spaces[] = {&fix_cartpole, &fix_pendulum, &fix_masked,
                                              &fix_grid,     &fix_mixed,    &fix_sparse};
    for (int i = 0; i < SK_COUNT(spaces); i++)
        for (int variant = 0; variant < 2; variant++) {
            pair p;
            open_pair(&p, spaces[i], variant ? &shared_net : &tanh_net, variant ? SK_FILTER_MEAN_STD : SK_FILTER_NONE);
            assert_same_actions(&p);
            close_pair(&p);
        }
}

Test(public_policy, tells_its_spaces) {
    pair p;
    open_pair(&p, &fix_masked, &tanh_net, SK_FILTER_NONE);
    cr_assert_str_eq(skiff_policy_env_name(p.loaded), "Masked-v0");
    cr_assert_eq(skiff_policy_obs_slots(p.loaded), 5);
    cr_assert_eq(skiff_policy_action_slots(p.loaded), 2);
    cr_assert_eq(skiff_policy_mask_size(p.loaded), 7);
    cr_assert_eq(skiff_policy_is_discrete(p.loaded), 1);
    cr_assert_eq(skiff_policy_n_choices(p.loaded, 1), 4);
    cr_assert_eq(skiff_policy_first_choice(p.loaded, 0), -1);
    close_pair(&p);
    open_pair(&p, &fix_pendulum, &tanh_net, SK_FILTER_NONE);
    cr_assert_eq(skiff_policy_is_discrete(p.loaded), 0);
    cr_assert_eq(skiff_policy_n_choices(p.loaded, 0), 0);
    close_pair(&p);
}

Test(public_policy, never_takes_a_masked_choice_and_no_mask_allows_all) {
    pair              p;
    skiff_action_slot masked[ROWS * 2], all[ROWS * 2], open[ROWS * 2];
    uint8_t           ones[ROWS * 7];
    memset(ones, 1, sizeof ones);
    open_pair(&p, &fix_masked, &tanh_net, SK_FILTER_NONE);
    for (int r = 0; r < ROWS; r++) p.mask_u8[r * 7 + 1] = p.mask_u8[r * 7 + 4] = 1; /* one choice of each part at least */
    skiff_policy_act(p.loaded, p.obs, p.mask_u8, ROWS, masked);
    for (int r = 0; r < ROWS; r++) {
        cr_assert(p.mask_u8[r * 7 + masked[2 * r].i + 1], "row %d", r);
        cr_assert(p.mask_u8[r * 7 + 3 + masked[2 * r + 1].i - 10], "row %d", r);
    }
    skiff_policy_act(p.loaded, p.obs, NULL, ROWS, all);
    skiff_policy_act(p.loaded, p.obs, ones, ROWS, open);
    cr_assert_eq(memcmp(all, open, sizeof all), 0);
    cr_assert_neq(memcmp(all, masked, sizeof all), 0, "the masks of this test change nothing");
    close_pair(&p);
}

Test(public_policy, allocates_only_in_load) {
    pair              p;
    skiff_action_slot action[ROWS * 2];
    float             value[ROWS];
    count_allocations();
    long before_load = n_allocs;
    open_pair(&p, &fix_masked, &shared_net, SK_FILTER_MEAN_STD);
    cr_assert_gt(n_allocs, before_load, "the counter sees nothing");
    long before = n_allocs;
    for (int n = 1; n <= ROWS; n += 7) {
        skiff_policy_act(p.loaded, p.obs, p.mask_u8, n, action);
        skiff_policy_sample(p.loaded, p.obs, p.mask_u8, n, 1, 0, 0, action);
        skiff_policy_value(p.loaded, p.obs, n, value);
    }
    cr_assert_eq(n_allocs, before);
    close_pair(&p);
}

Test(public_policy, says_why_a_file_cannot_be_loaded) {
    skiff_policy *policy = NULL;
    char          why[256] = "", dir[64], path[96], tiny[4];
    cr_assert_neq(skiff_policy_load("/nowhere/policy.skiff", &policy, why, sizeof why), 0);
    cr_assert(strstr(why, "/nowhere/policy.skiff"), "%s", why);
    cr_assert_null(policy);
    cr_assert_neq(skiff_policy_load("/nowhere/policy.skiff", &policy, NULL, 0), 0);
    cr_assert_neq(skiff_policy_load("/nowhere/policy.skiff", &policy, tiny, sizeof tiny), 0);
    cr_assert_eq(strlen(tiny), 3);
    sk_policy *good = fix_policy(&fix_cartpole, &tanh_net, SK_FILTER_NONE, 1);
    fix_save(good, dir, path);
    FILE *file = fopen(path, "r+b");
    cr_assert(file && fseek(file, 500, SEEK_SET) == 0);
    int byte = fgetc(file);
    cr_assert(fseek(file, 500, SEEK_SET) == 0 && fputc(byte ^ 1, file) != EOF && fclose(file) == 0);
    cr_assert_neq(skiff_policy_load(path, &policy, why, sizeof why), 0);
    cr_assert(strstr(why, path), "%s", why);
    cr_assert_null(policy);
    fix_remove(dir, path);
    sk_policy_destroy(&good);
}

Test(public_policy, destroy_accepts_null) {
    skiff_policy *none = NULL;
    skiff_policy_destroy(&none);
    skiff_policy_destroy(NULL);
}
