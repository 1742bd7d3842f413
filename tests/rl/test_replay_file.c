/* Where a replay lies, and how it gets into checkpoints and out again. */
#include "tests/rl/replay_rig.h"
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static const rig_odds usual = {.terminated = 6, .truncated = 5, .invalid = 4, .dropped = 2, .breaks = 10};
static char           the_dir[64], the_path[128];

static void make_dir(void) {
    strcpy(the_dir, "/tmp/skiff_test_replay_XXXXXX");
    cr_assert_not_null(mkdtemp(the_dir));
    snprintf(the_path, sizeof the_path, "%s/replay", the_dir);
}

static void drop_dir(void) {
    unlink(the_path);
    rmdir(the_dir);
}

static sk_replay_params params_of(int64_t capacity, int rows, int prioritized, const char *path) {
    return (sk_replay_params){.capacity = capacity, .n_rows = rows, .n_step = 3, .gamma = 0.9, .max_draw = 64,
                              .seed = 7, .prioritized = prioritized, .alpha = 0.6, .path = path, .env_name = "Rig-v0",
                              .obs_dim = RIG_O, .action_slots = RIG_S, .mask_size = rows == 2 ? RIG_K_MAX : 0};
}

/* ---- the file ---- */

TestSuite(replay_file, .init = make_dir, .fini = drop_dir);

Test(replay_file, draws_the_same_as_memory_and_is_gone_afterwards) {
    for (int rows = 1; rows <= 3; rows++) {
        rig              file, memory;
        sk_replay_params p = params_of(100, rows, 0, NULL);
        rig_open(&memory, &p, usual, 1);
        p.path = the_path;
        rig_open(&file, &p, usual, 1);
        while (file.n_steps < 300) {
            int t = 1 + file.n_steps % RIG_T_MAX, a[64], b[64];
            rig_add(&file, t);
            rig_add(&memory, t);
            if (!rig_size(&file)) continue;
            rig_check_drawn(&file, rig_draw(&file, 64), 64, a);
            rig_check_drawn(&memory, rig_draw(&memory, 64), 64, b);
            cr_assert_arr_eq(a, b, sizeof a);
        }
        cr_assert_eq(access(the_path, F_OK), 0);
        rig_close(&file);
        rig_close(&memory);
        cr_assert_neq(access(the_path, F_OK), 0);
    }
}

Test(replay_file, takes_no_more_of_the_disk_than_is_used) {
    sk_replay_params p = params_of(100000000, 1, 0, the_path);
    rig              r;
    struct stat      st;
    rig_open(&r, &p, usual, 1);
    rig_add(&r, 7);
    cr_assert_eq(stat(the_path, &st), 0);
    cr_assert_gt(st.st_size, 3000000000);
    cr_assert_lt(st.st_blocks * 512, 64 << 20);
    rig_close(&r);
}

static void write_text(const char *text) {
    FILE *f = fopen(the_path, "wb");
    fputs(text, f);
    fclose(f);
}

static void assert_refused(const sk_replay_params *p, sk_status want, const char *word) {
    sk_replay  *replay = NULL;
    sk_error    err = {0};
    struct stat before, after;
    cr_assert_eq(lstat(the_path, &before), 0);
    cr_assert_eq(sk_replay_create(p, &replay, &err), want, "%s", err.msg);
    cr_assert_null(replay);
    cr_assert(strstr(err.msg, word) && strstr(err.msg, the_path), "%s", err.msg);
    cr_assert_eq(lstat(the_path, &after), 0); /* still there, as it was */
    cr_assert(before.st_ino == after.st_ino && before.st_size == after.st_size &&
              before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
}

/* What a process that died leaves behind. */
static void leave_behind(const sk_replay_params *p) {
    sk_replay *replay = NULL;
    char       kept[160];
    snprintf(kept, sizeof kept, "%s.kept", the_path);
    cr_assert_eq(sk_replay_create(p, &replay, NULL), SK_OK);
    cr_assert_eq(link(the_path, kept), 0);
    sk_replay_destroy(&replay);
    cr_assert_eq(rename(kept, the_path), 0);
}

Test(replay_file, leaves_alone_what_is_not_its_own) {
    sk_replay_params p = params_of(100, 2, 0, the_path), other = p;
    write_text("");
    assert_refused(&p, SK_ECONFIG, "no replay memory");
    write_text("a diary, longer than the head of a replay memory, so that all of it can be read; but still a diary, "
               "and nothing that skiff may lay its hands upon");
    assert_refused(&p, SK_ECONFIG, "no replay memory");
    unlink(the_path);
    leave_behind(&p);
    other.env_name = "Other-v0";
    assert_refused(&other, SK_ECONFIG, "\"Rig-v0\", not to \"Other-v0\"");
    other = p, other.obs_dim = 4;
    assert_refused(&other, SK_ECONFIG, "numbers per observation");
    unlink(the_path);
    cr_assert_eq(symlink("elsewhere", the_path), 0);
    assert_refused(&p, SK_EIO, "there already");
    unlink(the_path);
    cr_assert_eq(mkfifo(the_path, 0600), 0);
    assert_refused(&p, SK_ECONFIG, "no replay memory");
}

Test(replay_file, takes_over_what_a_dead_process_left) {
    sk_replay_params p = params_of(100, 2, 0, the_path);
    leave_behind(&p);
    p.capacity = 1000; /* the same environment and shape: enough */
    rig r;
    rig_open(&r, &p, usual, 1);
    while (r.n_steps < 600) rig_add(&r, 7);
    rig_check_drawn(&r, rig_draw(&r, 64), 64, NULL);
    rig_close(&r);
    cr_assert_neq(access(the_path, F_OK), 0);
}

Test(replay_file, is_not_shared_with_another_one_alive) {
    sk_replay_params p = params_of(100, 2, 0, the_path);
    sk_replay       *first = NULL, *second = NULL;
    sk_error         err = {0};
    cr_assert_eq(sk_replay_create(&p, &first, NULL), SK_OK);
    cr_assert_eq(sk_replay_create(&p, &second, &err), SK_EIO);
    cr_assert(strstr(err.msg, "in use"), "%s", err.msg);
    cr_assert_eq(access(the_path, F_OK), 0);
    sk_replay_destroy(&first);
    p.path = "/nowhere/at/all";
    cr_assert_eq(sk_replay_create(&p, &second, &err), SK_EIO);
    cr_assert(strstr(err.msg, "/nowhere/at/all"), "%s", err.msg);
}

/* Stands in for the C library's: a disk with so much room. */
static off_t the_room = INT64_MAX;
int posix_fallocate(int fd, off_t at, off_t size) {
    if (size > the_room) return ENOSPC;
    the_room -= size;
    return fallocate(fd, 0, at, size) == 0 ? 0 : errno;
}

Test(replay_file, a_full_disk_is_an_error_and_changes_nothing) {
    for (int ends = 0; ends < 2; ends++) {
        sk_replay_params p = params_of(8000000, 2, 0, the_path);
        rig              r;
        sk_error         err = {0};
        sk_status        status = SK_OK;
        sk_batch_shape   shape = {.n_steps = 100000, .n_rows = 2, .obs_dim = RIG_O, .action_slots = RIG_S,
                                  .mask_size = RIG_K_MAX, .n_fragments = 1, .keep_final_obs = 1};
        void            *memory = aligned_alloc(64, (sk_batch_bytes(&shape) + 63) / 64 * 64);
        sk_batch         b;
        memset(memory, 0, sk_batch_bytes(&shape));
        sk_batch_map(&shape, memory, &b);
        memset(b.valid, 1, 200000);
        memset(b.truncated, ends, 200000);
        the_room = 50 << 20;
        rig_open(&r, &p, usual, 1);
        int64_t n = 0;
        for (; status == SK_OK && n < 8000000; n += 200000) {
            cr_assert_eq(sk_replay_size(r.replay), n);
            status = sk_replay_add(r.replay, &b, &err);
        }
        cr_assert_eq(status, SK_EIO);
        cr_assert(n > 400000 && strstr(err.msg, the_path) && strstr(err.msg, strerror(ENOSPC)), "%s", err.msg);
        cr_assert_eq(sk_replay_size(r.replay), n - 200000);
        the_room = INT64_MAX; /* room was made: it goes on */
        cr_assert_eq(sk_replay_add(r.replay, &b, &err), SK_OK);
        cr_assert_eq(sk_replay_size(r.replay), n);
        rig_close(&r);
        free(memory);
        sk_replay *replay = NULL;
        the_room = 100; /* not even its head */
        cr_assert_eq(sk_replay_create(&p, &replay, &err), SK_EIO);
        cr_assert_neq(access(the_path, F_OK), 0);
        the_room = INT64_MAX;
    }
}

/* ---- checkpoints ---- */

TestSuite(replay_save, .init = make_dir, .fini = drop_dir);

static sk_pack *saved(sk_replay *replay) {
    sk_pack_writer *writer = NULL;
    sk_pack        *pack = NULL;
    sk_error        err = {0};
    cr_assert_eq(sk_pack_writer_create(SK_PACK_CHECKPOINT, 1, &writer, &err), SK_OK);
    cr_assert_eq(sk_replay_save(replay, writer, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(sk_pack_writer_save(writer, the_path, &err), SK_OK, "%s", err.msg);
    sk_pack_writer_destroy(&writer);
    cr_assert_eq(sk_pack_load(the_path, SK_PACK_CHECKPOINT, 1, &pack, &err), SK_OK, "%s", err.msg);
    return pack;
}

static void set_priorities(rig *r, const sk_batch *b) {
    float td[64];
    for (int i = 0; i < 64; i++) td[i] = 0.01f + b->obs[i * RIG_O + 1] * b->obs[i * RIG_O + 1];
    cr_assert_eq(sk_replay_set_priorities(r->replay, td, 64, NULL), SK_OK);
}

static void play(rig *r, int n_steps) {
    for (int until = r->n_steps + n_steps; r->n_steps < until;) {
        rig_add(r, 1 + r->n_steps % RIG_T_MAX);
        if (rig_size(r) == 0) continue;
        const sk_batch *b = rig_draw(r, 64);
        rig_check_drawn(r, b, 64, NULL);
        set_priorities(r, b);
    }
}

/* Two that went the same way draw the same, to the bit, and go on doing so. */
static void assert_same(rig *a, rig *b, int n_steps) {
    for (int until = a->n_steps + n_steps; a->n_steps < until;) {
        cr_assert_eq(sk_replay_size(a->replay), sk_replay_size(b->replay));
        if (sk_replay_size(a->replay)) {
            const sk_batch *x = rig_draw(a, 64), *y = rig_draw(b, 64);
            rig_check_drawn(a, x, 64, NULL);
            cr_assert_arr_eq(x->obs, y->obs, 64 * RIG_O * sizeof(float));
            cr_assert_arr_eq(x->next_obs, y->next_obs, 64 * RIG_O * sizeof(float));
            cr_assert_arr_eq(x->weight, y->weight, 64 * sizeof(float));
            cr_assert_arr_eq(x->reward, y->reward, 64 * sizeof(float));
            set_priorities(a, x);
            set_priorities(b, y);
        }
        int t = 1 + a->n_steps % RIG_T_MAX;
        rig_add(a, t);
        rig_add(b, t);
    }
}

/* `b` gets what `a` has by way of a checkpoint, and knows the same steps. */
static void load_other(rig *a, rig *b) {
    sk_error err = {0};
    sk_pack *pack = saved(a->replay);
    rig      own = *b;
    cr_assert_eq(sk_replay_load(b->replay, pack, &err), SK_OK, "%s", err.msg);
    sk_pack_destroy(&pack);
    *b = *a;
    b->replay = own.replay, b->step = own.step, b->memory = own.memory;
    memcpy(b->step, a->step, (size_t)(a->n_steps + 1) * (size_t)a->p.n_rows * sizeof *a->step);
}

Test(replay_save, the_same_draws_follow) {
    static const int steps[] = {0, 20, 100, 731};
    for (int i = 0; i < 3 * 2 * 4 * 2; i++) {
        int              rows = 1 + i % 3, prioritized = i / 3 % 2, n = steps[i / 6 % 4], used = i / 24;
        rig              a, b;
        sk_replay_params p = params_of(100 * rows, rows, prioritized, NULL);
        rig_open(&a, &p, usual, 1);
        rig_open(&b, &p, usual, 2);
        play(&a, n);
        if (used) play(&b, 150); /* what it held before does not matter */
        load_other(&a, &b);
        assert_same(&a, &b, 250);
        rig_close(&a);
        rig_close(&b);
    }
}

Test(replay_save, writes_only_what_is_used) {
    sk_replay_params p = params_of(30000000, 3, 1, NULL);
    rig              r;
    struct stat      st;
    rig_open(&r, &p, usual, 1);
    play(&r, 30);
    sk_pack *pack = saved(r.replay);
    cr_assert_eq(stat(the_path, &st), 0);
    cr_assert_lt(st.st_size, 20000);
    sk_pack_destroy(&pack);
    rig_close(&r);
}

Test(replay_save, refuses_another_environment_shape_or_size_and_names_both) {
    rig              r;
    sk_replay_params p = params_of(100, 2, 1, NULL);
    rig_open(&r, &p, usual, 1);
    play(&r, 90);
    sk_pack         *pack = saved(r.replay);
    sk_replay_params other[6];
    const char      *words[][2] = {{"Rig-v0", "Other-v0"}, {"3 numbers", "4"}, {"room for 50", "60"},
                                   {"priority", "uniform"}, {"0.6", "0.5"}, {"2 rows", "1"}};
    for (int i = 0; i < 6; i++) other[i] = p;
    other[0].env_name = "Other-v0", other[1].obs_dim = 4, other[2].capacity = 120, other[3].prioritized = 0;
    other[4].alpha = 0.5, other[5].n_rows = 1, other[5].capacity = 50;
    for (int i = 0; i < 6; i++) {
        sk_replay *replay = NULL;
        sk_error   err = {0};
        cr_assert_eq(sk_replay_create(&other[i], &replay, &err), SK_OK, "%s", err.msg);
        cr_assert_eq(sk_replay_load(replay, pack, &err), SK_ECONFIG, "%d", i);
        cr_assert(strstr(err.msg, words[i][0]) && strstr(err.msg, words[i][1]), "%s", err.msg);
        sk_replay_destroy(&replay);
    }
    sk_pack_destroy(&pack);
    rig_close(&r);
}

/* Whatever is damaged behind a right checksum is refused, and then nothing is changed; or it is numbers like others. */
Test(replay_save, survives_any_damage) {
    static uint8_t bytes[1 << 16];
    int            n_refused = 0;
    for (int prioritized = 0; prioritized < 2; prioritized++) {
        rig              a, b;
        sk_replay_params p = params_of(60, 2, prioritized, NULL);
        rig_open(&a, &p, usual, 1);
        play(&a, prioritized ? 90 : 20);
        sk_pack *pack = saved(a.replay);
        sk_pack_destroy(&pack);
        FILE  *f = fopen(the_path, "rb");
        size_t size = fread(bytes, 1, sizeof bytes, f);
        fclose(f);
        cr_assert(size > 1000 && size < sizeof bytes);
        for (int i = 0; i < 2500; i++) {
            uint8_t *copy = malloc(size);
            memcpy(copy, bytes, size);
            for (uint32_t n = 1 + rig_random(&a) % 3; n > 0; n--) {
                uint32_t at = 32 + rig_random(&a) % (uint32_t)(size - 64);
                copy[at] = (uint8_t)(rig_random(&a) % 3 ? copy[at] ^ (1u << rig_random(&a) % 8) : rig_random(&a));
            }
            crypto_hash_sha256(copy + size - 32, copy, size - 32);
            sk_error  err = {0};
            sk_pack  *damaged = NULL;
            sk_status status = sk_pack_parse(copy, size, "damaged", SK_PACK_CHECKPOINT, 1, &damaged, &err);
            free(copy);
            if (status != SK_OK) continue;
            rig_open(&b, &p, usual, 2);
            rig_add(&b, 5);
            int before = (int)sk_replay_size(b.replay);
            status = sk_replay_load(b.replay, damaged, &err);
            n_refused += status != SK_OK;
            if (status != SK_OK) cr_assert(sk_replay_size(b.replay) == before && err.status == status && err.msg[0]);
            for (int k = 0; k < 12; k++) {
                const sk_batch *drawn = NULL;
                if (sk_replay_size(b.replay)) cr_assert_eq(sk_replay_draw(b.replay, 64, 0.4, &drawn, &err), SK_OK);
                if (status != SK_OK && drawn) rig_check_drawn(&b, drawn, 64, NULL);
                rig_add(&b, RIG_T_MAX);
            }
            sk_pack_destroy(&damaged);
            rig_close(&b);
        }
        rig_close(&a);
    }
    cr_assert_gt(n_refused, 500);
}

Test(replay_save, refuses_a_final_observation_that_two_steps_claim) {
    enum { STRIDE = RIG_O * 4 + RIG_S * 4 + 8 };
    rig              r, b;
    sk_replay_params p = params_of(60, 1, 0, NULL);
    sk_error         err = {0};
    const void      *bytes = NULL;
    size_t           size = 0;
    uint32_t         first = 0, end;
    rig_open(&r, &p, usual, 1);
    rig_open(&b, &p, usual, 1);
    play(&r, 100);
    sk_pack *pack = saved(r.replay);
    cr_assert_eq(sk_pack_section(pack, "replay_steps", 61 * STRIDE, &bytes, &size, &err), SK_OK, "%s", err.msg);
    char *record = (char *)(uintptr_t)bytes;
    for (int i = 0; i < 61; i++) {
        memcpy(&end, record + i * STRIDE + STRIDE - 4, 4);
        if ((end & 4) && (end & 3) && first) memcpy(record + i * STRIDE + STRIDE - 4, &first, 4);
        else if ((end & 4) && (end & 3)) first = end;
    }
    cr_assert_eq(sk_replay_load(b.replay, pack, &err), SK_ECORRUPT);
    cr_assert(strstr(err.msg, "not its own"), "%s", err.msg);
    sk_pack_destroy(&pack);
    rig_close(&r);
    rig_close(&b);
}

/* Side slots are used again: no more of them are touched than were ever alive at once. */
Test(replay_save, side_slots_are_used_again) {
    sk_replay_params p = params_of(50, 1, 0, NULL);
    rig              r;
    size_t           size = 0;
    const void      *bytes = NULL;
    rig_open(&r, &p, (rig_odds){.truncated = 20}, 1);
    int most = 0;
    while (r.n_steps < 2000) {
        rig_add(&r, 1);
        int alive = 0;
        for (int s = rig_oldest(&r); s < r.n_steps; s++) alive += rig_at(&r, s, 0)->truncated;
        if (alive > most) most = alive;
    }
    sk_pack *pack = saved(r.replay);
    cr_assert_eq(sk_pack_section(pack, "replay_side", SIZE_MAX, &bytes, &size, NULL), SK_OK);
    cr_assert_leq(size, (size_t)most * RIG_O * 4);
    cr_assert_gt(size, 0);
    sk_pack_destroy(&pack);
    rig_close(&r);
}
