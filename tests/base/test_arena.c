#include "core/base/arena.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_ASAN 1
#endif
#endif
#ifdef HAVE_ASAN
#include <sanitizer/asan_interface.h>
/* Under ASAN malloc must fail as it does without (ENOMEM is tested here). */
const char *__asan_default_options(void);
__attribute__((visibility("default"))) const char *__asan_default_options(void) {
    return "allocator_may_return_null=1";
}
#endif

/* An arena of nothing but scratch. */
static sk_arena *create_scratch(size_t bytes) {
    sk_arena_plan plan = {0};
    sk_arena     *arena = NULL;
    sk_error      err = {0};
    sk_arena_plan_scratch(&plan, bytes);
    cr_assert_eq(sk_arena_create(&plan, &arena, &err), SK_OK, "%s", err.msg);
    return arena;
}

Test(arena, gives_aligned_zeroed_arrays_that_do_not_overlap) {
    static const size_t bytes[] = {1, 7, 64, 4096, 3, 100, 8192, 0, 5};
    static const size_t aligns[] = {1, 4, 64, 4096, 2, 64, 256, 8, 1};
    enum { N = SK_COUNT(bytes) };
    sk_arena_plan  plan = {0};
    unsigned char *arrays[N];
    for (int i = 0; i < N; i++) sk_arena_plan_add(&plan, (void **)&arrays[i], bytes[i], aligns[i]);
    SK_AUTO(sk_arena) arena = NULL;
    cr_assert_eq(sk_arena_create(&plan, &arena, NULL), SK_OK);
    for (int i = 0; i < N; i++) {
        cr_assert_eq((uintptr_t)arrays[i] % aligns[i], 0, "array %d", i);
        for (size_t k = 0; k < bytes[i]; k++) cr_assert_eq(arrays[i][k], 0, "array %d byte %zu", i, k);
        memset(arrays[i], i + 1, bytes[i]);
    }
    for (int i = 0; i < N; i++) {
        for (size_t k = 0; k < bytes[i]; k++) cr_assert_eq(arrays[i][k], i + 1, "array %d byte %zu", i, k);
    }
    cr_assert_geq(sk_arena_total_bytes(arena), 1 + 7 + 64 + 4096 + 3 + 100 + 8192 + 5);
}

Test(arena, gives_unique_pointers_for_empty_arrays) {
    sk_arena_plan plan = {0};
    void         *p[3] = {NULL, NULL, NULL};
    for (int i = 0; i < 3; i++) sk_arena_plan_add(&plan, &p[i], 0, 1);
    SK_AUTO(sk_arena) arena = NULL;
    cr_assert_eq(sk_arena_create(&plan, &arena, NULL), SK_OK);
    cr_assert(p[0] && p[1] && p[2]);
    cr_assert(p[0] != p[1] && p[1] != p[2] && p[0] != p[2]);
}

Test(arena, accepts_an_empty_plan) {
    sk_arena_plan plan = {0};
    sk_arena     *arena = NULL;
    cr_assert_eq(sk_arena_create(&plan, &arena, NULL), SK_OK);
    cr_assert_eq(sk_arena_peak_bytes(arena), 0);
    sk_arena_destroy(&arena);
    cr_assert_null(arena);
}

Test(arena, destroy_accepts_null) {
    sk_arena *arena = NULL;
    sk_arena_destroy(&arena);
    sk_arena_destroy(NULL);
}

Test(arena, fills_the_most_arrays_and_refuses_one_more) {
    sk_arena_plan plan = {0};
    static void  *p[SK_ARENA_PLAN_MAX + 1];
    sk_arena     *arena = NULL;
    sk_error      err = {0};
    for (int i = 0; i < SK_ARENA_PLAN_MAX; i++) sk_arena_plan_add(&plan, &p[i], 4, 4);
    cr_assert_eq(sk_arena_create(&plan, &arena, &err), SK_OK, "%s", err.msg);
    sk_arena_destroy(&arena);
    memset(p, 0, sizeof p);
    sk_arena_plan_add(&plan, &p[SK_ARENA_PLAN_MAX], 4, 4);
    cr_assert_eq(sk_arena_create(&plan, &arena, &err), SK_EINVAL);
    cr_assert_not_null(strstr(err.msg, "512 arrays"), "%s", err.msg);
    cr_assert_null(arena);
    cr_assert_null(p[0], "a failed create leaves the slots alone");
}

Test(arena, refuses_sizes_that_would_wrap_round) {
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2, SIZE_MAX / 4 + 1};
    for (int i = 0; i < SK_COUNT(sizes); i++) {
        sk_arena_plan plan = {0}, scratch = {0};
        sk_arena     *arena = NULL;
        void         *p = NULL;
        sk_arena_plan_add(&plan, &p, sizes[i], 4096);
        cr_assert_eq(sk_arena_create(&plan, &arena, NULL), SK_EINVAL, "size %d", i);
        sk_arena_plan_scratch(&scratch, sizes[i]);
        cr_assert_eq(sk_arena_create(&scratch, &arena, NULL), SK_EINVAL, "size %d", i);
        cr_assert_null(arena);
    }
}

Test(arena, refuses_a_sum_that_would_wrap_round) {
    sk_arena_plan plan = {0}, scratch = {0};
    sk_arena     *arena = NULL;
    void         *p[8];
    for (int i = 0; i < 8; i++) sk_arena_plan_add(&plan, &p[i], SIZE_MAX / 4, 64);
    cr_assert_eq(sk_arena_create(&plan, &arena, NULL), SK_EINVAL);
    for (int i = 0; i < 8; i++) sk_arena_plan_scratch(&scratch, SIZE_MAX / 4);
    cr_assert_eq(sk_arena_create(&scratch, &arena, NULL), SK_EINVAL);
}

Test(arena, says_how_much_there_was_no_room_for) {
    sk_arena_plan plan = {0};
    sk_arena     *arena = NULL;
    sk_error      err = {0};
    void         *p = &plan;
    sk_arena_plan_add(&plan, &p, (size_t)1 << 60, 64);
    cr_assert_eq(sk_arena_create(&plan, &arena, &err), SK_ENOMEM);
    cr_assert_not_null(strstr(err.msg, "1152921504606"), "%s", err.msg);
    cr_assert_null(arena);
    cr_assert_eq(p, &plan, "a failed create leaves the slots alone");
}

Test(arena, bad_alignment_is_asserted, .signal = SIGABRT) {
    sk_arena_plan plan = {0};
    void         *p;
    sk_arena_plan_add(&plan, &p, 4, 24);
}

Test(arena, too_wide_alignment_is_asserted, .signal = SIGABRT) {
    sk_arena_plan plan = {0};
    void         *p;
    sk_arena_plan_add(&plan, &p, 4, 8192);
}

Test(scratch, frames_are_aligned_and_reused_after_rewind) {
    SK_AUTO(sk_arena) arena = create_scratch(1024);
    size_t mark = sk_arena_mark(arena);
    cr_assert_eq(mark, 0);
    char *a = sk_arena_push(arena, 10, 1);
    char *b = sk_arena_push(arena, 100, 64);
    cr_assert_eq((uintptr_t)b % 64, 0);
    cr_assert_geq(b, a + 10);
    memset(a, 1, 10);
    memset(b, 2, 100);
    cr_assert_eq(a[9], 1);
    sk_arena_rewind(arena, mark);
    cr_assert_eq(sk_arena_push(arena, 10, 1), a);
}

Test(scratch, inner_frames_leave_outer_ones_alone) {
    SK_AUTO(sk_arena) arena = create_scratch(256);
    int *outer = sk_arena_push(arena, sizeof *outer, sizeof *outer);
    *outer = 77;
    for (int i = 0; i < 10; i++) {
        size_t mark = sk_arena_mark(arena);
        memset(sk_arena_push(arena, 128, 8), i, 128);
        sk_arena_rewind(arena, mark);
    }
    cr_assert_eq(*outer, 77);
}

Test(scratch, planned_bytes_add_up_and_all_fit) {
    sk_arena_plan plan = {0};
    sk_arena_plan_scratch(&plan, 100);
    sk_arena_plan_scratch(&plan, 28);
    SK_AUTO(sk_arena) arena = NULL;
    cr_assert_eq(sk_arena_create(&plan, &arena, NULL), SK_OK);
    memset(sk_arena_push(arena, 128, 64), 1, 128);
    cr_assert_not_null(sk_arena_push(arena, 0, 1));
}

Test(scratch, counts_the_peak_not_the_sum) {
    SK_AUTO(sk_arena) arena = create_scratch(1000);
    (void)sk_arena_push(arena, 300, 1);
    size_t mark = sk_arena_mark(arena);
    (void)sk_arena_push(arena, 400, 1);
    sk_arena_rewind(arena, mark);
    (void)sk_arena_push(arena, 200, 1);
    sk_arena_rewind(arena, 0);
    cr_assert_eq(sk_arena_peak_bytes(arena), 700);
    (void)sk_arena_push(arena, 701, 1);
    cr_assert_eq(sk_arena_peak_bytes(arena), 701);
}

Test(scratch, a_push_that_does_not_fit_is_asserted, .signal = SIGABRT) {
    SK_AUTO(sk_arena) arena = create_scratch(128);
    (void)sk_arena_push(arena, 64, 1);
    (void)sk_arena_push(arena, 65, 1);
}

Test(scratch, a_push_whose_size_wraps_round_is_asserted, .signal = SIGABRT) {
    SK_AUTO(sk_arena) arena = create_scratch(128);
    (void)sk_arena_push(arena, 64, 1);
    (void)sk_arena_push(arena, SIZE_MAX - 32, 1);
}

Test(scratch, a_mark_ahead_of_what_is_used_is_asserted, .signal = SIGABRT) {
    SK_AUTO(sk_arena) arena = create_scratch(128);
    sk_arena_rewind(arena, 1);
}

#ifdef HAVE_ASAN
Test(arena, asan_sees_the_byte_after_each_array) {
    static const size_t bytes[] = {1, 7, 64, 100, 0};
    enum { N = SK_COUNT(bytes) };
    sk_arena_plan plan = {0};
    char         *arrays[N];
    for (int i = 0; i < N; i++) sk_arena_plan_add(&plan, (void **)&arrays[i], bytes[i], 64);
    SK_AUTO(sk_arena) arena = NULL;
    cr_assert_eq(sk_arena_create(&plan, &arena, NULL), SK_OK);
    for (int i = 0; i < N; i++) {
        cr_assert_null(__asan_region_is_poisoned(arrays[i], bytes[i]), "array %d", i);
        cr_assert(__asan_address_is_poisoned(arrays[i] + bytes[i]), "array %d", i);
    }
}

Test(scratch, asan_sees_what_lies_beyond_the_mark) {
    SK_AUTO(sk_arena) arena = create_scratch(256);
    size_t mark = sk_arena_mark(arena);
    char  *a = sk_arena_push(arena, 100, 8);
    cr_assert_null(__asan_region_is_poisoned(a, 100));
    cr_assert(__asan_address_is_poisoned(a + 100));
    sk_arena_rewind(arena, mark);
    cr_assert(__asan_address_is_poisoned(a));
    cr_assert(__asan_address_is_poisoned(a + 99));
}
#endif
