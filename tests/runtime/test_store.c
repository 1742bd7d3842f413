/* The store against a plain model: pieces never overlap, all memory comes back as one, what was spilled comes back as
 * it was or is reported. */
#include "core/runtime/store.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MIB = 1 << 20 };
static char folder[64]; /* of the spill file of the running test */

static void make_folder(void) {
    strcpy(folder, "/tmp/skiff-store-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}
/* Also shows that nothing was left in it. */
static void remove_folder(void) { cr_assert_eq(rmdir(folder), 0); }

static sk_store *store_of(size_t bytes, size_t spill_bytes) {
    sk_store_params params = {bytes, spill_bytes, folder};
    sk_store *self = NULL;
    sk_error err = {0};
    cr_assert_eq(sk_store_create(&params, &self, &err), SK_OK, "%s", err.msg);
    return self;
}

static sk_extent piece_of(sk_store *self, size_t size) {
    sk_extent extent;
    sk_error err = {0};
    cr_assert_eq(sk_store_alloc(self, size, &extent, &err), SK_OK, "%s", err.msg);
    return extent;
}

static uint8_t *bytes_of(sk_store *self, sk_extent extent) { return (uint8_t *)sk_store_data(self) + extent.offset; }

static uint8_t next_byte(unsigned *seed) {
    *seed = *seed * 1664525 + 1013904223;
    return (uint8_t)(*seed >> 24);
}

static void fill(sk_store *self, sk_extent extent, unsigned seed) {
    uint8_t *at = bytes_of(self, extent);
    for (uint64_t i = 0; i < extent.size; i++) at[i] = next_byte(&seed);
}

static bool is_filled(sk_store *self, sk_extent extent, unsigned seed) {
    const uint8_t *at = bytes_of(self, extent);
    for (uint64_t i = 0; i < extent.size; i++)
        if (at[i] != next_byte(&seed)) return false;
    return true;
}

static uint64_t rounded(uint64_t size) { return size < MIB ? (size + 63) & ~63ull : (size + 4095) & ~4095ull; }

/* Everything is free, in one piece. */
static void expect_empty(sk_store *self) {
    sk_store_stats stats = sk_store_get_stats(self);
    cr_assert_eq(stats.used, 0);
    cr_assert_eq(stats.spilled, 0);
    sk_extent whole = piece_of(self, stats.bytes);
    cr_assert_eq(whole.offset, 0);
    sk_store_free(self, whole);
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */
Test(store, refuses_sizes_that_cannot_be) {
    sk_store *self = NULL;
    sk_error err = {0};
    cr_assert_eq(sk_store_create(&(sk_store_params){0}, &self, &err), SK_EINVAL);
    cr_assert_str_eq(err.msg, "a store has 1 to 2^62 - 1 bytes and spills as many, got 0 and 0");
    cr_assert_eq(sk_store_create(&(sk_store_params){.bytes = SIZE_MAX}, &self, NULL), SK_EINVAL);
    cr_assert_eq(sk_store_create(&(sk_store_params){.bytes = 1, .spill_bytes = SIZE_MAX}, &self, NULL), SK_EINVAL);
    cr_assert_null(self);
    sk_store_destroy(&self);
    sk_store_destroy(NULL);
}

Test(store, gives_whole_cache_lines_and_rounds_large_pieces_to_pages) {
    sk_store *self = store_of(8 * MIB, 0);
    sk_extent a = piece_of(self, 1), b = piece_of(self, 65), c = piece_of(self, MIB + 1), d = piece_of(self, 64);
    cr_assert_eq(a.size, 1);
    cr_assert_eq(b.offset, 64);
    cr_assert_eq(c.offset, 192);
    cr_assert_eq(d.offset, 192 + MIB + 4096);
    cr_assert_eq((uintptr_t)bytes_of(self, d) % 64, 0);
    cr_assert_eq(sk_store_get_stats(self).used, 192 + MIB + 4096 + 64);
    cr_assert_eq(sk_store_get_stats(self).bytes, 8 * MIB);
    sk_store_free(self, b);
    sk_store_free(self, a);
    sk_store_free(self, d);
    sk_store_free(self, c);
    cr_assert_eq(sk_store_get_stats(self).peak, 192 + MIB + 4096 + 64);
    expect_empty(self);
    sk_store_destroy(&self);
    cr_assert_null(self);
}

Test(store, gives_the_same_place_again_and_the_lowest_that_fits) {
    sk_store *self = store_of(MIB, 0);
    sk_extent at[8];
    for (int i = 0; i < 8; i++) at[i] = piece_of(self, i % 2 ? 4096 : 8192);
    for (int i = 7; i >= 0; i--) {
        sk_store_free(self, at[i]);
        sk_extent again = piece_of(self, at[i].size);
        cr_assert_eq(again.offset, at[i].offset);
    }
    sk_store_free(self, at[1]);
    sk_store_free(self, at[4]);
    sk_store_free(self, at[6]);
    cr_assert_eq(piece_of(self, 8000).offset, at[4].offset); /* at[1] is too small */
    cr_assert_eq(piece_of(self, 64).offset, at[1].offset);
    cr_assert_eq(piece_of(self, 4096).offset, at[6].offset);
    sk_store_destroy(&self);
}

Test(store, joins_what_was_freed_in_any_order) {
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    sk_store *self = store_of(3 * 64 * 1024, 0);
    for (int i = 0; i < 6; i++) {
        sk_extent at[3];
        for (int j = 0; j < 3; j++) at[j] = piece_of(self, 64 * 1024);
        for (int j = 0; j < 3; j++) sk_store_free(self, at[orders[i][j]]);
        expect_empty(self);
    }
    sk_store_destroy(&self);
}

Test(store, names_what_it_has_when_it_is_full) {
    sk_store *self = store_of(MIB, 0);
    sk_extent low = piece_of(self, 300000), high = piece_of(self, 600000), none = {7, 7};
    sk_store_free(self, low);
    sk_error err = {0};
    cr_assert_eq(sk_store_alloc(self, 400000, &none, &err), SK_ELIMIT);
    char text[256];
    snprintf(text, sizeof text, "the store has no room for 400000 bytes: 600000 of 1048576 are used, the largest free "
             "piece has %d", 300032);
    cr_assert_str_eq(err.msg, text);
    cr_assert_eq(sk_store_alloc(self, SIZE_MAX, &none, NULL), SK_ELIMIT);
    cr_assert_eq(none.offset, 7);
    cr_assert_eq(piece_of(self, 300000).offset, 0);
    sk_store_free(self, (sk_extent){0, 300000});
    sk_store_free(self, high);
    expect_empty(self);
    sk_store_destroy(&self);
}

Test(store, fails_when_the_machine_has_no_memory) {
    size_t tebibyte = (size_t)1 << 40;
    sk_store *self = NULL;
    if (sk_store_create(&(sk_store_params){16 * tebibyte, 0, NULL}, &self, NULL) != SK_OK)
        cr_skip_test("the address space is too small for it");
    sk_extent none = {7, 7}, small = piece_of(self, 100);
    sk_error err = {0};
    cr_assert_eq(sk_store_alloc(self, 12 * tebibyte, &none, &err), SK_ENOMEM);
    cr_assert(strstr(err.msg, "the machine has no memory for 131") == err.msg, "%s", err.msg);
    cr_assert_eq(none.offset, 7);
    cr_assert_eq(sk_store_get_stats(self).used, 128);
    cr_assert_eq(sk_store_get_stats(self).peak, 128);
    sk_extent next = piece_of(self, 100);
    cr_assert_eq(next.offset, 128);
    cr_assert(sk_store_owns(self, small) && sk_store_owns(self, next));
    sk_store_destroy(&self);
}

Test(store, takes_from_the_machine_only_what_is_used) {
    sk_store *self = store_of((size_t)1 << 30, 0);
    int fd = sk_store_get_ref(self).fd;
    struct stat info;
    cr_assert_eq(fstat(fd, &info), 0);
    cr_assert_leq(info.st_blocks * 512, 4096);
    for (int i = 0; i < 100; i++) sk_store_free(self, piece_of(self, 3 * MIB));
    cr_assert_eq(fstat(fd, &info), 0);
    cr_assert(info.st_blocks * 512 >= 3 * MIB && info.st_blocks * 512 <= 4 * MIB, "%ld", (long)info.st_blocks);
    sk_store_destroy(&self);
}

Test(store, does_not_own_what_it_did_not_give) {
    sk_store *self = store_of(MIB, 0);
    sk_extent a = piece_of(self, 1000), b = piece_of(self, 1000);
    cr_assert(sk_store_owns(self, a) && sk_store_owns(self, b));
    const sk_extent foreign[] = {
        {0, 999}, {0, 1001}, {0, 1024}, {1, 1000}, {64, 936}, {1024, 0}, {2048, 1000}, {2048, 64}, {0, 2024}, {0, 0},
        {UINT64_MAX, 1000}, {UINT64_MAX - 63, 64}, {0, UINT64_MAX}, {(uint64_t)1 << 32, 1000},
    };
    for (int i = 0; i < SK_COUNT(foreign); i++) cr_assert(!sk_store_owns(self, foreign[i]), "extent %d", i);
    sk_store_free(self, a);
    cr_assert(!sk_store_owns(self, a));
    cr_assert(sk_store_owns(self, b));
    sk_store_destroy(&self);
}

Test(store, aborts_when_something_is_freed_twice, .signal = SIGABRT) {
    sk_store *self = store_of(MIB, 0);
    sk_extent a = piece_of(self, 1000);
    sk_store_free(self, a);
    sk_store_free(self, a);
}

Test(store, is_mapped_by_other_processes) {
    sk_store *self = store_of(MIB, 0);
    sk_extent skip = piece_of(self, 4096), extent = piece_of(self, 5000);
    fill(self, extent, 3);
    sk_block_ref ref = sk_store_get_ref(self);
    pid_t child = fork();
    if (child == 0) {
        sk_block *block = NULL;
        ref.pid = getppid();
        if (sk_block_open(&ref, &block, NULL) != SK_OK) _exit(1);
        const uint8_t *theirs = (const uint8_t *)sk_block_data(block) + extent.offset;
        _exit(memcmp(theirs, bytes_of(self, extent), extent.size) == 0 ? 0 : 2);
    }
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    sk_store_free(self, skip);
    sk_store_destroy(&self);
}

/* ---- against a model --------------------------------------------------------------------------------------------- */
enum { N_PIECES = 700, N_STEPS = 60000, MODEL_BYTES = 4 * MIB };
static uint64_t draw(uint64_t *state, uint64_t below) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (*state >> 33) % below;
}

/* One byte per cache line: whose it is. */
static uint16_t lines[MODEL_BYTES / 64];

static void mark(sk_extent extent, uint16_t from, uint16_t to) {
    cr_assert_eq(extent.offset % 64, 0);
    cr_assert_leq(extent.offset + rounded(extent.size), MODEL_BYTES);
    for (uint64_t i = extent.offset / 64; i < (extent.offset + rounded(extent.size)) / 64; i++) {
        if (lines[i] != from) cr_assert_fail("line %lu is of piece %d", (unsigned long)i, lines[i]);
        lines[i] = to;
    }
}

/* Where a piece of that size has to go: the lowest run of free lines; UINT64_MAX: nowhere. */
static uint64_t lowest_fit(uint64_t size) {
    uint64_t n = rounded(size) / 64, run = 0;
    for (uint64_t i = 0; i < MODEL_BYTES / 64; i++) {
        run = lines[i] == 0 ? run + 1 : 0;
        if (run == n) return (i + 1 - n) * 64;
    }
    return UINT64_MAX;
}

Test(store, agrees_with_a_plain_model) {
    sk_store *self = store_of(MODEL_BYTES, 0);
    static sk_extent pieces[N_PIECES];
    uint64_t state = 11, used = 0, peak = 0;
    int n_full = 0, n_given = 0;
    for (int step = 0; step < N_STEPS; step++) {
        int i = (int)draw(&state, N_PIECES);
        sk_extent *one = &pieces[i];
        if (one->size > 0) {
            cr_assert(sk_store_owns(self, *one));
            sk_store_free(self, *one);
            mark(*one, (uint16_t)(i + 1), 0);
            used -= rounded(one->size);
            one->size = 0;
            continue;
        }
        uint64_t kind = draw(&state, 200);
        size_t size = 1 + draw(&state, kind == 0 ? 2 * MIB : kind < 40 ? 60000 : 9000);
        sk_status status = sk_store_alloc(self, size, one, NULL);
        uint64_t wanted = lowest_fit(size);
        cr_assert_eq(status, wanted == UINT64_MAX ? SK_ELIMIT : SK_OK);
        n_full += status == SK_ELIMIT;
        if (status == SK_ELIMIT) continue;
        n_given++;
        cr_assert_eq(one->offset, wanted);
        cr_assert_eq(one->size, size);
        mark(*one, 0, (uint16_t)(i + 1));
        used += rounded(size);
        if (used > peak) peak = used;
        cr_assert_eq(sk_store_get_stats(self).used, used);
        cr_assert_eq(sk_store_get_stats(self).peak, peak);
    }
    cr_assert(n_full > 100 && n_given > 10000, "full %d, given %d", n_full, n_given);
    for (int i = 0; i < N_PIECES; i++)
        if (pieces[i].size > 0) sk_store_free(self, pieces[i]);
    expect_empty(self);
    sk_store_destroy(&self);
}

Test(store, keeps_many_pieces_apart) {
    enum { N = 102400 };
    sk_store *self = store_of(N * 64, 0);
    for (uint64_t i = 0; i < N; i++) cr_assert_eq(piece_of(self, 64).offset, i * 64);
    cr_assert_eq(sk_store_alloc(self, 1, &(sk_extent){0}, NULL), SK_ELIMIT);
    for (uint64_t i = 0; i < N; i += 2) sk_store_free(self, (sk_extent){i * 64, 64}); /* 51,200 holes */
    cr_assert_eq(sk_store_alloc(self, 65, &(sk_extent){0}, NULL), SK_ELIMIT);
    for (uint64_t i = 0; i < N; i++) cr_assert_eq(sk_store_owns(self, (sk_extent){i * 64, 64}), i % 2 == 1);
    for (uint64_t i = 1; i < N; i += 2) sk_store_free(self, (sk_extent){i * 64, 64});
    expect_empty(self);
    sk_store_destroy(&self);
}

/* ---- spilling ---------------------------------------------------------------------------------------------------- */
/* The open spill file of this process: the one descriptor whose file lies in `folder`. -1: none. */
static int find_spill_file(void) {
    int found = -1;
    DIR *dir = opendir("/proc/self/fd");
    for (struct dirent *entry; (entry = readdir(dir));) {
        char path[PATH_MAX], target[PATH_MAX];
        snprintf(path, sizeof path, "/proc/self/fd/%s", entry->d_name);
        ssize_t n = readlink(path, target, sizeof target - 1);
        if (n <= 0) continue;
        target[n] = '\0';
        if (strncmp(target, folder, strlen(folder)) == 0 && strstr(target, "(deleted)")) found = atoi(entry->d_name);
    }
    closedir(dir);
    return found;
}

TestSuite(spill, .init = make_folder, .fini = remove_folder);

Test(spill, gives_back_the_same_bytes) {
    sk_store *self = store_of(4 * MIB, 8 * MIB);
    cr_assert_eq(find_spill_file(), -1); /* not before it is needed */
    static const size_t sizes[] = {1, 64, 4097, 100000, MIB - 1, 2 * MIB + 5};
    sk_spilled spilled[SK_COUNT(sizes)];
    uint64_t total = 0;
    for (int i = 0; i < SK_COUNT(sizes); i++) {
        sk_extent extent = piece_of(self, sizes[i]);
        fill(self, extent, (unsigned)i);
        sk_error err = {0};
        cr_assert_eq(sk_store_spill(self, extent, &spilled[i], &err), SK_OK, "%s", err.msg);
        cr_assert(!sk_store_owns(self, extent));
        total += rounded(sizes[i]);
        cr_assert_eq(sk_store_get_stats(self).spilled, total);
        cr_assert_eq(sk_store_get_stats(self).used, 0);
    }
    cr_assert_geq(find_spill_file(), 0);
    cr_assert_eq(sk_store_get_stats(self).n_spills, SK_COUNT(sizes));
    memset(sk_store_data(self), 0xee, 4 * MIB);
    for (int i = SK_COUNT(sizes) - 1; i >= 0; i--) {
        sk_extent extent;
        sk_error err = {0};
        cr_assert_eq(sk_store_unspill(self, &spilled[i], &extent, &err), SK_OK, "%s", err.msg);
        cr_assert_eq(extent.size, sizes[i]);
        cr_assert(is_filled(self, extent, (unsigned)i));
        sk_store_free(self, extent);
    }
    cr_assert_eq(sk_store_get_stats(self).n_unspills, SK_COUNT(sizes));
    expect_empty(self);
    sk_store_destroy(&self);
    cr_assert_eq(find_spill_file(), -1);
}

Test(spill, holds_more_than_memory) {
    enum { N = 64, SIZE = 100000 };
    sk_store *self = store_of(4 * SIZE, N * (SIZE + 64));
    sk_spilled spilled[N];
    for (unsigned i = 0; i < N; i++) {
        sk_extent extent = piece_of(self, SIZE);
        fill(self, extent, i);
        cr_assert_eq(sk_store_spill(self, extent, &spilled[i], NULL), SK_OK);
    }
    for (unsigned i = 0; i < N; i += 3) sk_store_drop_spilled(self, &spilled[i]);
    for (unsigned i = 0; i < N; i++) {
        if (i % 3 == 0) continue;
        sk_extent extent;
        cr_assert_eq(sk_store_unspill(self, &spilled[i], &extent, NULL), SK_OK);
        cr_assert(is_filled(self, extent, i), "object %u", i);
        sk_store_free(self, extent);
    }
    cr_assert_eq(sk_store_get_stats(self).n_spills, N);
    cr_assert_eq(sk_store_get_stats(self).n_unspills, N - (N + 2) / 3);
    expect_empty(self);
    sk_store_destroy(&self);
}

Test(spill, names_its_limit) {
    sk_store *self = store_of(4 * MIB, 2 * MIB), *plain = store_of(MIB, 0);
    sk_extent first = piece_of(self, 1500000), second = piece_of(self, 1000000), other = piece_of(plain, 10);
    sk_spilled spilled;
    sk_error err = {0};
    cr_assert_eq(sk_store_spill(self, first, &spilled, NULL), SK_OK);
    cr_assert_eq(sk_store_spill(self, second, &(sk_spilled){0}, &err), SK_ELIMIT);
    cr_assert_str_eq(err.msg, "the spill file has no room for 1000000 bytes: 1503232 of 2097152 are used");
    cr_assert(sk_store_owns(self, second));
    sk_store_drop_spilled(self, &spilled);
    cr_assert_eq(sk_store_spill(self, second, &spilled, NULL), SK_OK);
    cr_assert_eq(sk_store_spill(plain, other, &(sk_spilled){0}, &err), SK_ELIMIT);
    cr_assert_str_eq(err.msg, "10 bytes cannot leave the store: there is no spill file");
    cr_assert(sk_store_owns(plain, other));
    cr_assert_eq(sk_store_get_stats(plain).n_spills, 0);
    sk_store_destroy(&self);
    sk_store_destroy(&plain);
}

Test(spill, stays_in_the_file_when_memory_is_full) {
    sk_store *self = store_of(MIB, MIB);
    sk_extent extent = piece_of(self, 500000), back = {7, 7};
    fill(self, extent, 9);
    sk_spilled spilled;
    sk_error err = {0};
    cr_assert_eq(sk_store_spill(self, extent, &spilled, NULL), SK_OK);
    sk_extent filler = piece_of(self, MIB - 4096);
    cr_assert_eq(sk_store_unspill(self, &spilled, &back, &err), SK_ELIMIT);
    cr_assert(strstr(err.msg, "the store has no room for 500000 bytes") == err.msg, "%s", err.msg);
    cr_assert_eq(sk_store_get_stats(self).spilled, rounded(500000));
    sk_store_free(self, filler);
    cr_assert_eq(sk_store_unspill(self, &spilled, &back, NULL), SK_OK);
    cr_assert(is_filled(self, back, 9));
    sk_store_destroy(&self);
}

/* Spill one object, harm the file, read: what came of it. */
static sk_status read_harmed(sk_store *self, void (*harm)(int fd, uint64_t offset), sk_error *ret_err) {
    sk_extent other = piece_of(self, 777), extent = piece_of(self, 300000), back;
    fill(self, other, 4);
    fill(self, extent, 5);
    sk_spilled first, second;
    cr_assert_eq(sk_store_spill(self, other, &first, NULL), SK_OK);
    cr_assert_eq(sk_store_spill(self, extent, &second, NULL), SK_OK);
    harm(find_spill_file(), second.offset);
    sk_status status = sk_store_unspill(self, &second, &back, ret_err);
    cr_assert_eq(sk_store_get_stats(self).used, 0);
    cr_assert_eq(sk_store_get_stats(self).spilled, rounded(777)); /* its place is free, the other's is not */
    cr_assert_eq(sk_store_unspill(self, &first, &back, NULL), SK_OK);
    cr_assert(is_filled(self, back, 4));
    sk_store_free(self, back);
    expect_empty(self);
    return status;
}

static void flip_a_bit(int fd, uint64_t offset) {
    uint8_t byte;
    cr_assert_eq(pread(fd, &byte, 1, (off_t)offset + 123456), 1);
    byte ^= 4;
    cr_assert_eq(pwrite(fd, &byte, 1, (off_t)offset + 123456), 1);
}
static void cut_short(int fd, uint64_t offset) { cr_assert_eq(ftruncate(fd, (off_t)offset + 1000), 0); }

Test(spill, notices_a_changed_file) {
    sk_store *self = store_of(MIB, MIB);
    sk_error err = {0};
    cr_assert_eq(read_harmed(self, flip_a_bit, &err), SK_ECORRUPT);
    char text[256];
    snprintf(text, sizeof text, "the spill file in %s was changed: the 300000 bytes at 832 are not what was written",
             folder);
    cr_assert_str_eq(err.msg, text);
    cr_assert_eq(sk_store_get_stats(self).n_unspills, 1);
    sk_store_destroy(&self);
}

Test(spill, notices_a_short_file) {
    sk_store *self = store_of(MIB, MIB);
    sk_error err = {0};
    cr_assert_eq(read_harmed(self, cut_short, &err), SK_ECORRUPT);
    char text[256];
    snprintf(text, sizeof text, "the spill file in %s ends after 1000 of 300000 bytes of an object", folder);
    cr_assert_str_eq(err.msg, text);
    sk_store_destroy(&self);
}

/* A limit on the size of files stands for a full disk; without the signal it is an error of write. */
Test(spill, keeps_the_object_when_the_disk_is_full) {
    sk_store *self = store_of(4 * MIB, 4 * MIB);
    sk_extent small = piece_of(self, 400000), large = piece_of(self, 1000000), back;
    fill(self, small, 1);
    fill(self, large, 2);
    sk_spilled spilled;
    sk_error err = {0};
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit before, limit;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = (struct rlimit){MIB, before.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(sk_store_spill(self, small, &spilled, NULL), SK_OK);
    cr_assert_eq(sk_store_spill(self, large, &(sk_spilled){0}, &err), SK_EIO);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);

    char start[160];
    snprintf(start, sizeof start, "cannot spill 1000000 bytes to %s: File too large (", folder);
    cr_assert_eq(strncmp(err.msg, start, strlen(start)), 0, "%s", err.msg);
    cr_assert(strstr(err.msg, " bytes are free there)") != NULL, "%s", err.msg);
    cr_assert(sk_store_owns(self, large) && is_filled(self, large, 2));
    cr_assert_eq(sk_store_get_stats(self).spilled, rounded(400000));
    cr_assert_eq(sk_store_get_stats(self).n_spills, 1);
    cr_assert_eq(sk_store_unspill(self, &spilled, &back, NULL), SK_OK);
    cr_assert(is_filled(self, back, 1));
    cr_assert_eq(sk_store_spill(self, large, &spilled, NULL), SK_OK); /* now there is room */
    sk_store_destroy(&self);
}

Test(spill, gives_the_disk_back) {
    sk_store *self = store_of(4 * MIB, 8 * MIB);
    sk_extent extent = piece_of(self, 2 * MIB);
    fill(self, extent, 6);
    sk_spilled spilled;
    struct stat info;
    cr_assert_eq(sk_store_spill(self, extent, &spilled, NULL), SK_OK);
    int fd = find_spill_file();
    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4 * MIB, 4096) == 0) { /* not all file systems can */
        cr_assert_eq(fdatasync(fd), 0);
        cr_assert(fstat(fd, &info) == 0 && info.st_blocks > 0);
        sk_store_drop_spilled(self, &spilled);
        cr_assert(fstat(fd, &info) == 0 && info.st_blocks == 0);
    }
    sk_store_destroy(&self);
}

Test(spill, says_that_its_folder_is_not_there) {
    sk_store_params params = {MIB, MIB, "/nowhere/at/all"};
    sk_store *self = NULL;
    sk_error err = {0};
    cr_assert_eq(sk_store_create(&params, &self, &err), SK_OK, "%s", err.msg);
    sk_extent extent = piece_of(self, 1000);
    cr_assert_eq(sk_store_spill(self, extent, &(sk_spilled){0}, &err), SK_EIO);
    cr_assert_str_eq(err.msg, "cannot make a spill file in /nowhere/at/all: No such file or directory");
    cr_assert(sk_store_owns(self, extent));
    cr_assert_eq(sk_store_get_stats(self).spilled, 0);
    sk_store_destroy(&self);
}

Test(spill, goes_to_tmpdir_by_default) {
    cr_assert_eq(setenv("TMPDIR", folder, 1), 0);
    sk_store_params params = {MIB, MIB, NULL};
    sk_store *self = NULL;
    cr_assert_eq(sk_store_create(&params, &self, NULL), SK_OK);
    sk_spilled spilled;
    cr_assert_eq(sk_store_spill(self, piece_of(self, 1000), &spilled, NULL), SK_OK);
    cr_assert_geq(find_spill_file(), 0);
    sk_store_destroy(&self);
}
