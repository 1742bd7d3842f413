#include "core/base/pack.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEAD = 32, HASH = 32 };

/* ---- a folder of one's own, removed after the test ---- */

static char the_dir[64];

static void make_dir(void) {
    strcpy(the_dir, "/tmp/skiff_test_pack_XXXXXX");
    cr_assert_not_null(mkdtemp(the_dir));
}

/* How many entries the folder has; with `erase` they are unlinked. */
static int count_entries(int erase) {
    int  n = 0;
    DIR *dir = opendir(the_dir);
    cr_assert_not_null(dir);
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        n++;
        if (erase) unlinkat(dirfd(dir), e->d_name, 0);
    }
    closedir(dir);
    return n;
}

static void drop_dir(void) {
    count_entries(1);
    rmdir(the_dir);
}

static const char *in_dir(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", the_dir, name);
    return path;
}

/* The whole file in malloc'd memory. */
static uint8_t *slurp(const char *path, size_t *ret_size) {
    FILE *f = fopen(path, "rb");
    cr_assert_not_null(f, "%s", path);
    cr_assert_eq(fseek(f, 0, SEEK_END), 0);
    long size = ftell(f);
    rewind(f);
    uint8_t *bytes = malloc((size_t)size + 1);
    cr_assert_eq(fread(bytes, 1, (size_t)size, f), (size_t)size);
    fclose(f);
    *ret_size = (size_t)size;
    return bytes;
}

static void assert_file_is(const char *path, const char *want) {
    size_t   size = 0;
    uint8_t *bytes = slurp(path, &size);
    cr_assert_eq(size, strlen(want));
    cr_assert_arr_eq(bytes, want, size);
    free(bytes);
}

static int count_fds(void) {
    int  n = 0;
    DIR *dir = opendir("/proc/self/fd");
    cr_assert_not_null(dir);
    while (readdir(dir)) n++;
    closedir(dir);
    return n;
}

/* ---- files to read ---- */

static const float  the_weights[5] = {1.5f, -2.0f, 0.0f, 3.25f, 1e-30f};
static const char   the_blob[] = "seventy bytes: more than one step of the alignment, less than two.....";

/* Two sections and an empty one, at version 2. */
static sk_pack_writer *create_sample(void) {
    sk_pack_writer *writer = NULL;
    sk_error        err = {0};
    cr_assert_eq(sk_pack_writer_create(SK_PACK_POLICY, 2, &writer, &err), SK_OK, "%s", err.msg);
    json_t *json = sk_pack_writer_json(writer);
    cr_assert_eq(json_object_set_new(json, "env", json_string("CartPole-v1")), 0);
    cr_assert_eq(json_object_set_new(json, "gamma", json_real(0.1)), 0);
    cr_assert_eq(sk_pack_writer_add(writer, "params", the_weights, sizeof the_weights, &err), SK_OK);
    cr_assert_eq(sk_pack_writer_add(writer, "none", NULL, 0, &err), SK_OK);
    cr_assert_eq(sk_pack_writer_add(writer, "blob", the_blob, sizeof the_blob, &err), SK_OK);
    return writer;
}

static void save_sample(const char *path) {
    SK_AUTO(sk_pack_writer) writer = create_sample();
    sk_error err = {0};
    cr_assert_eq(sk_pack_writer_save(writer, path, &err), SK_OK, "%s", err.msg);
}

static void put_le(uint8_t *at, uint64_t value, int n) {
    for (int i = 0; i < n; i++) at[i] = (uint8_t)(value >> (8 * i));
}

/* A file written by hand, with a true checksum: `json` and `body_bytes` of 0x11. malloc'd. */
static uint8_t *craft(const char *json, size_t body_bytes, size_t *ret_size) {
    size_t   body_at = (HEAD + strlen(json) + 63) / 64 * 64, size = body_at + body_bytes + HASH;
    uint8_t *bytes = calloc(1, size);
    memcpy(bytes, "SKIFFPK1", 8);
    put_le(bytes + 8, SK_PACK_POLICY, 4);
    put_le(bytes + 12, 1, 4);
    put_le(bytes + 16, strlen(json), 8);
    put_le(bytes + 24, body_bytes, 8);
    memcpy(bytes + HEAD, json, strlen(json));
    memset(bytes + body_at, 0x11, body_bytes);
    crypto_hash_sha256(bytes + size - HASH, bytes, size - HASH);
    *ret_size = size;
    return bytes;
}

/* From a block of exactly `size` bytes, so that ASAN sees a read beyond it. */
static sk_status parse(const uint8_t *bytes, size_t size, sk_error *reterr) {
    uint8_t *exact = malloc(size ? size : 1);
    sk_pack *pack = NULL;
    memcpy(exact, bytes, size);
    sk_status status = sk_pack_parse(exact, size, "mem", SK_PACK_POLICY, 2, &pack, reterr);
    cr_assert_eq(status == SK_OK, pack != NULL);
    sk_pack_destroy(&pack);
    free(exact);
    return status;
}

static sk_status parse_crafted(const char *json, size_t body_bytes, sk_error *reterr) {
    size_t    size = 0;
    uint8_t  *bytes = craft(json, body_bytes, &size);
    sk_status status = parse(bytes, size, reterr);
    free(bytes);
    return status;
}

TestSuite(pack, .init = make_dir, .fini = drop_dir);

/* ---- what is written comes back ---- */

Test(pack, gives_back_what_was_written) {
    save_sample(in_dir("a.skiff"));
    SK_AUTO(sk_pack) pack = NULL;
    sk_error    err = {0};
    const void *bytes = NULL;
    size_t      size = 0;
    cr_assert_eq(sk_pack_load(in_dir("a.skiff"), SK_PACK_POLICY, 2, &pack, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(sk_pack_version(pack), 2);
    cr_assert_str_eq(json_string_value(json_object_get(sk_pack_json(pack), "env")), "CartPole-v1");
    cr_assert_eq(json_real_value(json_object_get(sk_pack_json(pack), "gamma")), 0.1, "no bit is lost");
    cr_assert_eq(sk_pack_section(pack, "params", sizeof the_weights, &bytes, NULL, &err), SK_OK);
    cr_assert_arr_eq(bytes, the_weights, sizeof the_weights);
    cr_assert_eq((uintptr_t)bytes % 64, 0);
    cr_assert_eq(sk_pack_section(pack, "blob", SIZE_MAX, &bytes, &size, &err), SK_OK);
    cr_assert_eq(size, sizeof the_blob);
    cr_assert_arr_eq(bytes, the_blob, sizeof the_blob);
    cr_assert_eq((uintptr_t)bytes % 64, 0);
    cr_assert_eq(sk_pack_section(pack, "none", 0, &bytes, &size, &err), SK_OK);
    cr_assert_eq(size, 0);
}

Test(pack, lays_the_file_out_as_documented) {
    save_sample(in_dir("a"));
    size_t   size = 0;
    uint8_t *bytes = slurp(in_dir("a"), &size);
    uint8_t  head[HEAD] = "SKIFFPK1";
    static const char json[] = "{\"sections\":{\"params\":[0,20],\"none\":[64,0],\"blob\":[64,71]},"
                               "\"env\":\"CartPole-v1\",\"gamma\":0.10000000000000001}";
    put_le(head + 8, SK_PACK_POLICY, 4);
    put_le(head + 12, 2, 4);
    put_le(head + 16, strlen(json), 8);
    put_le(head + 24, 64 + 128, 8);
    cr_assert_eq(size, 192 + 64 + 128 + HASH);
    cr_assert_arr_eq(bytes, head, HEAD);
    cr_assert_arr_eq(bytes + HEAD, json, strlen(json));
    for (size_t i = HEAD + strlen(json); i < 192; i++) cr_assert_eq(bytes[i], 0, "padding at %zu", i);
    cr_assert_arr_eq(bytes + 192, the_weights, sizeof the_weights);
    cr_assert_arr_eq(bytes + 192 + 64, the_blob, sizeof the_blob);
    uint8_t hash[HASH];
    crypto_hash_sha256(hash, bytes, size - HASH);
    cr_assert_arr_eq(bytes + size - HASH, hash, HASH);
    free(bytes);
}

Test(pack, an_empty_file_of_ours_is_fine) {
    sk_pack_writer *writer = NULL;
    sk_pack        *pack = NULL;
    cr_assert_eq(sk_pack_writer_create(SK_PACK_CHECKPOINT, 1, &writer, NULL), SK_OK);
    cr_assert_eq(sk_pack_writer_save(writer, in_dir("a"), NULL), SK_OK);
    cr_assert_eq(sk_pack_load(in_dir("a"), SK_PACK_CHECKPOINT, 1, &pack, NULL), SK_OK);
    sk_pack_destroy(&pack);
    sk_pack_writer_destroy(&writer);
    cr_assert_null(pack);
    cr_assert_null(writer);
}

Test(pack, destroy_accepts_null) {
    sk_pack        *pack = NULL;
    sk_pack_writer *writer = NULL;
    sk_pack_destroy(&pack);
    sk_pack_destroy(NULL);
    sk_pack_writer_destroy(&writer);
    sk_pack_writer_destroy(NULL);
}

Test(pack, holds_many_sections) {
    sk_pack_writer *writer = NULL;
    sk_pack        *pack = NULL;
    char            name[16];
    cr_assert_eq(sk_pack_writer_create(SK_PACK_POLICY, 1, &writer, NULL), SK_OK);
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "s%d", i);
        cr_assert_eq(sk_pack_writer_add(writer, name, &i, sizeof i, NULL), SK_OK);
    }
    cr_assert_eq(sk_pack_writer_save(writer, in_dir("a"), NULL), SK_OK);
    cr_assert_eq(sk_pack_load(in_dir("a"), SK_PACK_POLICY, 1, &pack, NULL), SK_OK);
    for (int i = 0; i < 100; i++) {
        const void *bytes = NULL;
        snprintf(name, sizeof name, "s%d", i);
        cr_assert_eq(sk_pack_section(pack, name, sizeof i, &bytes, NULL, NULL), SK_OK);
        cr_assert_eq(*(const int *)bytes, i);
    }
    sk_pack_destroy(&pack);
    sk_pack_writer_destroy(&writer);
}

/* ---- damaged and foreign files ---- */

Test(pack, refuses_every_flipped_bit) {
    save_sample(in_dir("a"));
    size_t   size = 0;
    uint8_t *bytes = slurp(in_dir("a"), &size);
    cr_assert_eq(parse(bytes, size, NULL), SK_OK);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        sk_error err = {0};
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert_eq(parse(bytes, size, &err), SK_ECORRUPT, "bit %zu", bit);
        cr_assert_neq(err.msg[0], '\0');
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    free(bytes);
}

Test(pack, refuses_every_other_length) {
    save_sample(in_dir("a"));
    size_t   size = 0;
    uint8_t *bytes = slurp(in_dir("a"), &size);
    for (size_t cut = 0; cut < size; cut++) cr_assert_eq(parse(bytes, cut, NULL), SK_ECORRUPT, "%zu", cut);
    bytes[size] = 0; /* slurp leaves room for one more */
    cr_assert_eq(parse(bytes, size + 1, NULL), SK_ECORRUPT);
    for (size_t cut = 0; cut < size; cut += 37) { /* the same through a file */
        sk_pack *pack = NULL;
        cr_assert_eq(truncate(in_dir("a"), (off_t)(size - 1 - cut)), 0);
        cr_assert_eq(sk_pack_load(in_dir("a"), SK_PACK_POLICY, 2, &pack, NULL), SK_ECORRUPT, "%zu", cut);
        cr_assert_null(pack);
    }
    free(bytes);
}

Test(pack, refuses_foreign_files_by_name) {
    char text[4096];
    memset(text, 'x', sizeof text);
    const char *path = in_dir("photo.png");
    sk_pack    *pack = NULL;
    sk_error    err = {0};
    int         n_fds = count_fds();
    for (size_t size = 0; size <= sizeof text; size += 1024) {
        cr_assert_eq(sk_file_write_atomic(path, text, size, NULL), SK_OK);
        cr_assert_eq(sk_pack_load(path, SK_PACK_POLICY, 1, &pack, &err), SK_ECORRUPT);
        cr_assert_not_null(strstr(err.msg, path), "%s", err.msg);
    }
    cr_assert_not_null(strstr(err.msg, "not a skiff file"), "%s", err.msg);
    cr_assert_eq(count_fds(), n_fds);
}

Test(pack, says_what_the_system_said_of_an_unreadable_path) {
    sk_pack *pack = NULL;
    sk_error err = {0};
    int      n_fds = count_fds();
    cr_assert_eq(sk_pack_load(in_dir("missing"), SK_PACK_POLICY, 1, &pack, &err), SK_EIO);
    cr_assert_not_null(strstr(err.msg, in_dir("missing: No such file")), "%s", err.msg);
    cr_assert_eq(sk_pack_load(the_dir, SK_PACK_POLICY, 1, &pack, &err), SK_EIO);
    cr_assert_not_null(strstr(err.msg, "not a regular file"), "%s", err.msg);
    cr_assert_eq(mkfifo(in_dir("pipe"), 0600), 0);
    cr_assert_eq(sk_pack_load(in_dir("pipe"), SK_PACK_POLICY, 1, &pack, &err), SK_EIO);
    cr_assert_not_null(strstr(err.msg, "not a regular file"), "%s", err.msg);
    cr_assert_eq(count_fds(), n_fds);
}

Test(pack, names_both_versions_of_a_newer_file) {
    save_sample(in_dir("a"));
    sk_pack *pack = NULL;
    sk_error err = {0};
    cr_assert_eq(sk_pack_load(in_dir("a"), SK_PACK_POLICY, 1, &pack, &err), SK_EVERSION);
    cr_assert_not_null(strstr(err.msg, "version 2"), "%s", err.msg);
    cr_assert_not_null(strstr(err.msg, "1 to 1"), "%s", err.msg);
    cr_assert_not_null(strstr(err.msg, in_dir("a")), "%s", err.msg);
    cr_assert_null(pack);
    cr_assert_eq(sk_pack_load(in_dir("a"), SK_PACK_POLICY, 9, &pack, &err), SK_OK, "an older one is read");
    sk_pack_destroy(&pack);
}

Test(pack, refuses_version_zero) {
    size_t   size = 0;
    uint8_t *bytes = craft("{\"sections\":{}}", 0, &size);
    put_le(bytes + 12, 0, 4);
    crypto_hash_sha256(bytes + size - HASH, bytes, size - HASH);
    cr_assert_eq(parse(bytes, size, NULL), SK_EVERSION);
    free(bytes);
}

Test(pack, names_both_kinds_of_a_wrong_file) {
    save_sample(in_dir("a"));
    sk_pack *pack = NULL;
    sk_error err = {0};
    cr_assert_eq(sk_pack_load(in_dir("a"), SK_PACK_CHECKPOINT, 2, &pack, &err), SK_ECORRUPT);
    cr_assert_not_null(strstr(err.msg, "is a policy file"), "%s", err.msg);
    cr_assert_not_null(strstr(err.msg, "wanted a checkpoint file"), "%s", err.msg);
}

Test(pack, names_the_section_that_is_not_as_wanted) {
    save_sample(in_dir("a"));
    SK_AUTO(sk_pack) pack = NULL;
    sk_error    err = {0};
    const void *bytes = &err;
    cr_assert_eq(sk_pack_load(in_dir("a"), SK_PACK_POLICY, 2, &pack, &err), SK_OK);
    cr_assert_eq(sk_pack_section(pack, "params", 24, &bytes, NULL, &err), SK_ECORRUPT);
    cr_assert_not_null(strstr(err.msg, "'params' has 20 bytes, wanted 24"), "%s", err.msg);
    cr_assert_eq(sk_pack_section(pack, "adam", 24, &bytes, NULL, &err), SK_ECORRUPT);
    cr_assert_not_null(strstr(err.msg, "no section 'adam'"), "%s", err.msg);
    cr_assert_eq(bytes, &err, "a failure leaves the result alone");
}

Test(pack, refuses_sections_out_of_place) {
    static const struct {
        const char *json;
        size_t      body_bytes;
    } rows[] = {
        {"{\"sections\":{\"a\":[0,64],\"b\":[0,64]}}", 128},                /* overlap                  */
        {"{\"sections\":{\"a\":[0,65],\"b\":[64,64]}}", 128},               /* overlap by one           */
        {"{\"sections\":{\"a\":[0,65]}}", 64},                              /* one beyond the body      */
        {"{\"sections\":{\"a\":[64,1]}}", 64},                              /* begins at its end        */
        {"{\"sections\":{\"a\":[0,64],\"b\":[64,9223372036854775807]}}", 128},
        {"{\"sections\":{\"a\":[9223372036854775807,64]}}", 128},
        {"{\"sections\":{\"a\":[0,9223372036854775744],\"b\":[9223372036854775744,9223372036854775744],"
         "\"c\":[-128,192]}}", 64},                                         /* round to the true end    */
        {"{\"sections\":{\"a\":[0,9223372036854775808]}}", 64},             /* beyond JSON's integers   */
        {"{\"sections\":{\"a\":[-64,64]}}", 64},
        {"{\"sections\":{\"a\":[0,-1]}}", 64},
        {"{\"sections\":{\"a\":[4,8]}}", 64},                               /* not aligned              */
        {"{\"sections\":{\"a\":[0,8],\"b\":[128,8]}}", 192},                /* a gap                    */
        {"{\"sections\":{\"a\":[0,8]}}", 128},                              /* bytes of nobody          */
        {"{\"sections\":{}}", 64},
        {"{\"sections\":{\"a\":[0,8]}}", 63},                               /* the body's own size      */
    };
    cr_assert_eq(parse_crafted("{\"sections\":{\"a\":[0,64],\"b\":[64,1]}}", 128, NULL), SK_OK);
    for (int i = 0; i < SK_COUNT(rows); i++)
        cr_assert_eq(parse_crafted(rows[i].json, rows[i].body_bytes, NULL), SK_ECORRUPT, "row %d", i);
}

Test(pack, refuses_json_of_another_shape) {
    static const char *rows[] = {
        "",
        "[]",
        "7",
        "{}",
        "{\"sections\":[]}",
        "{\"sections\":null}",
        "{\"sections\":{\"a\":0}}",
        "{\"sections\":{\"a\":[]}}",
        "{\"sections\":{\"a\":[0]}}",
        "{\"sections\":{\"a\":[0,0,0]}}",
        "{\"sections\":{\"a\":[0.0,0]}}",
        "{\"sections\":{\"a\":[\"0\",0]}}",
        "{\"sections\":{\"a\":{\"0\":0,\"1\":0}}}",
        "{\"sections\":{\"\":[0,0]}}",
        "{\"sections\":{\"a\\nb\":[0,0]}}",
        "{\"sections\":{},\"sections\":{}}",
        "{\"sections\":{\"a\":[0,0],\"a\":[0,0]}}",
        "{\"sections\":{}}x",
        "{\"sections\":{}",
        "{\"sections\":{},\"x\":\"\\u0000\"}",
        "{\"sections\":{},\"x\":\"\xff\"}",
        "{\"sections\":{},\"x\":1e999}",
    };
    cr_assert_eq(parse_crafted("{\"sections\":{}}", 0, NULL), SK_OK);
    for (int i = 0; i < SK_COUNT(rows); i++)
        cr_assert_eq(parse_crafted(rows[i], 0, NULL), SK_ECORRUPT, "row %d: %s", i, rows[i]);
}

Test(pack, refuses_deep_nesting_but_not_brackets_in_strings) {
    char     json[4096] = "{\"sections\":{},\"x\":";
    sk_error err = {0};
    size_t   at = strlen(json);
    memset(json + at, '[', 63), memset(json + at + 63, ']', 63), strcpy(json + at + 126, "}");
    cr_assert_eq(parse_crafted(json, 0, &err), SK_OK, "%s", err.msg);
    memset(json + at, '[', 64), memset(json + at + 64, ']', 64), strcpy(json + at + 128, "}");
    cr_assert_eq(parse_crafted(json, 0, &err), SK_ECORRUPT);
    cr_assert_not_null(strstr(err.msg, "nested deeper than 64"), "%s", err.msg);
    strcpy(json + at, "\"\\\""), memset(json + at + 3, '[', 200), strcpy(json + at + 203, "\"}");
    cr_assert_eq(parse_crafted(json, 0, &err), SK_OK, "%s", err.msg);
}

/* Sizes whose sum wraps round to the true size must not get through to an allocation. */
Test(pack, refuses_sizes_that_wrap_round) {
    size_t   size = 0;
    uint8_t *bytes = craft("{\"sections\":{}}", 0, &size);
    static const uint64_t sizes[] = {UINT64_MAX, UINT64_MAX - 31, UINT64_MAX - 63, UINT64_MAX - 127,
                                     (uint64_t)1 << 63, (uint64_t)1 << 32, (uint64_t)1 << 24, 0};
    for (int i = 0; i < SK_COUNT(sizes); i++) {
        for (int j = 0; j < SK_COUNT(sizes); j++) {
            put_le(bytes + 16, sizes[i], 8);
            put_le(bytes + 24, sizes[j], 8);
            crypto_hash_sha256(bytes + size - HASH, bytes, size - HASH);
            cr_assert_eq(parse(bytes, size, NULL), SK_ECORRUPT, "%d %d", i, j);
        }
    }
    free(bytes);
}

Test(pack, refuses_a_file_beyond_4_gib_unread) {
    int fd = open(in_dir("big"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, "SKIFFPK1", 8), 8);
    cr_assert_eq(ftruncate(fd, ((off_t)4 << 30) + 1), 0, "%s", strerror(errno)); /* a hole, takes no disk */
    close(fd);
    sk_pack *pack = NULL;
    sk_error err = {0};
    cr_assert_eq(sk_pack_load(in_dir("big"), SK_PACK_POLICY, 1, &pack, &err), SK_ECORRUPT);
    cr_assert_not_null(strstr(err.msg, "4294967297 bytes are too many"), "%s", err.msg);
}

/* ---- the writer's own refusals ---- */

Test(pack, writer_refuses_a_name_twice_and_odd_names) {
    SK_AUTO(sk_pack_writer) writer = create_sample();
    char     name[130];
    sk_error err = {0};
    cr_assert_eq(sk_pack_writer_add(writer, "params", "x", 1, &err), SK_EINVAL);
    cr_assert_not_null(strstr(err.msg, "'params' was added before"), "%s", err.msg);
    cr_assert_eq(sk_pack_writer_add(writer, "", "x", 1, NULL), SK_EINVAL);
    cr_assert_eq(sk_pack_writer_add(writer, "a b", "x", 1, NULL), SK_EINVAL);
    cr_assert_eq(sk_pack_writer_add(writer, "a\n", "x", 1, NULL), SK_EINVAL);
    cr_assert_eq(sk_pack_writer_add(writer, "\xc3\xa9", "x", 1, NULL), SK_EINVAL);
    memset(name, 'n', sizeof name);
    name[129] = '\0';
    cr_assert_eq(sk_pack_writer_add(writer, name, "x", 1, NULL), SK_EINVAL);
    name[128] = '\0';
    cr_assert_eq(sk_pack_writer_add(writer, name, "x", 1, NULL), SK_OK);
}

Test(pack, borrowed_runs_become_one_section) {
    SK_AUTO(sk_pack_writer) writer = create_sample();
    SK_AUTO(sk_pack) pack = NULL;
    char        grid[] = "abc..def..ghi";
    const void *bytes = NULL;
    size_t      size = 0;
    sk_error    err = {0};
    cr_assert_eq(sk_pack_writer_add_borrowed(writer, "runs", grid, 3, 5, 3, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(sk_pack_writer_add_borrowed(writer, "nothing", NULL, 0, 5, 3, &err), SK_OK);
    cr_assert_eq(sk_pack_writer_add_borrowed(writer, "no_runs", NULL, 4, 5, 0, &err), SK_OK);
    cr_assert_eq(sk_pack_writer_add(writer, "after", "z", 1, &err), SK_OK);
    cr_assert_eq(sk_pack_writer_add_borrowed(writer, "runs", grid, 3, 5, 3, &err), SK_EINVAL);
    size = (size_t)1 << 33;
    cr_assert_eq(sk_pack_writer_add_borrowed(writer, "huge", grid, size, size, SIZE_MAX, &err), SK_ELIMIT);
    grid[0] = 'X'; /* it is read when the file is saved */
    cr_assert_eq(sk_pack_writer_save(writer, in_dir("runs"), &err), SK_OK, "%s", err.msg);
    cr_assert_eq(sk_pack_load(in_dir("runs"), SK_PACK_POLICY, 2, &pack, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(sk_pack_section(pack, "runs", 9, &bytes, NULL, &err), SK_OK, "%s", err.msg);
    cr_assert_arr_eq(bytes, "Xbcdefghi", 9);
    cr_assert_eq(sk_pack_section(pack, "nothing", 0, &bytes, &size, &err), SK_OK);
    cr_assert_eq(sk_pack_section(pack, "no_runs", 0, &bytes, &size, &err), SK_OK);
    cr_assert_eq(sk_pack_section(pack, "after", 1, &bytes, NULL, &err), SK_OK);
    cr_assert_eq(*(const char *)bytes, 'z');
}

Test(pack, writer_copies_what_it_gets) {
    SK_AUTO(sk_pack_writer) writer = NULL;
    SK_AUTO(sk_pack) pack = NULL;
    char        text[] = "before", name[] = "n1";
    const void *bytes = NULL;
    cr_assert_eq(sk_pack_writer_create(SK_PACK_POLICY, 1, &writer, NULL), SK_OK);
    cr_assert_eq(sk_pack_writer_add(writer, name, text, sizeof text, NULL), SK_OK);
    memset(text, 'x', sizeof text);
    memset(name, 'x', sizeof name);
    cr_assert_eq(sk_pack_writer_save(writer, in_dir("a"), NULL), SK_OK);
    cr_assert_eq(sk_pack_load(in_dir("a"), SK_PACK_POLICY, 1, &pack, NULL), SK_OK);
    cr_assert_eq(sk_pack_section(pack, "n1", 7, &bytes, NULL, NULL), SK_OK);
    cr_assert_str_eq(bytes, "before");
}

Test(pack, writer_refuses_more_than_a_file_may_hold) {
    SK_AUTO(sk_pack_writer) writer = create_sample();
    sk_error err = {0};
    cr_assert_eq(sk_pack_writer_add(writer, "huge", "", SIZE_MAX, &err), SK_ELIMIT);
    cr_assert_eq(sk_pack_writer_add(writer, "huge", "", (size_t)4 << 30, &err), SK_ELIMIT);
    cr_assert_not_null(strstr(err.msg, "'huge' with 4294967296 bytes"), "%s", err.msg);
    cr_assert_eq(sk_pack_writer_save(writer, in_dir("a"), &err), SK_OK, "what was refused left no trace");
}

Test(pack, writer_refuses_json_it_could_not_read) {
    SK_AUTO(sk_pack_writer) writer = create_sample();
    sk_error err = {0};
    json_t  *deep = json_array();
    for (int i = 0; i < 70; i++) {
        json_t *outer = json_array();
        json_array_append_new(outer, deep);
        deep = outer;
    }
    json_object_set_new(sk_pack_writer_json(writer), "deep", deep);
    cr_assert_eq(sk_pack_writer_save(writer, in_dir("a"), &err), SK_ELIMIT);
    cr_assert_not_null(strstr(err.msg, "nested deeper than 64"), "%s", err.msg);
    json_object_del(sk_pack_writer_json(writer), "deep");
    json_object_set_new(sk_pack_writer_json(writer), "sections", json_object());
    cr_assert_eq(sk_pack_writer_save(writer, in_dir("a"), &err), SK_EINVAL);
    cr_assert_not_null(strstr(err.msg, "\"sections\""), "%s", err.msg);
    cr_assert_eq(count_entries(0), 0);
}

/* ---- atomic writing ---- */

Test(pack, replaces_the_old_file_and_leaves_nothing_else) {
    struct stat st;
    int         n_fds = count_fds();
    cr_assert_eq(sk_file_write_atomic(in_dir("a"), "old", 3, NULL), SK_OK);
    cr_assert_eq(sk_file_write_atomic(in_dir("a"), "newer", 5, NULL), SK_OK);
    assert_file_is(in_dir("a"), "newer");
    cr_assert_eq(sk_file_write_atomic(in_dir("a"), NULL, 0, NULL), SK_OK);
    assert_file_is(in_dir("a"), "");
    cr_assert_eq(stat(in_dir("a"), &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0644);
    cr_assert_eq(count_entries(0), 1);
    cr_assert_eq(count_fds(), n_fds);
}

Test(pack, a_writer_may_save_again) {
    SK_AUTO(sk_pack_writer) writer = create_sample();
    size_t size_a = 0, size_b = 0;
    cr_assert_eq(sk_pack_writer_save(writer, in_dir("a"), NULL), SK_OK);
    cr_assert_eq(sk_pack_writer_save(writer, in_dir("b"), NULL), SK_OK);
    uint8_t *a = slurp(in_dir("a"), &size_a), *b = slurp(in_dir("b"), &size_b);
    cr_assert_eq(size_a, size_b);
    cr_assert_arr_eq(a, b, size_a);
    free(a);
    free(b);
}

Test(pack, writes_into_the_current_folder) {
    cr_assert_eq(chdir(the_dir), 0);
    cr_assert_eq(sk_file_write_atomic("plain", "text", 4, NULL), SK_OK);
    assert_file_is(in_dir("plain"), "text");
    cr_assert_eq(chdir("/"), 0);
}

Test(pack, names_the_path_when_the_folder_is_missing) {
    SK_AUTO(sk_pack_writer) writer = create_sample();
    sk_error err = {0};
    cr_assert_eq(sk_pack_writer_save(writer, in_dir("no/such"), &err), SK_EIO);
    cr_assert_not_null(strstr(err.msg, in_dir("no/such: No such file or directory")), "%s", err.msg);
    cr_assert_eq(sk_file_write_atomic("", "x", 1, &err), SK_EIO);
    cr_assert_eq(count_entries(0), 0);
}

Test(pack, leaves_nothing_when_the_path_is_a_folder) {
    sk_error err = {0};
    int      n_fds = count_fds();
    cr_assert_eq(mkdir(in_dir("sub"), 0700), 0);
    cr_assert_eq(sk_file_write_atomic(in_dir("sub"), "x", 1, &err), SK_EIO);
    cr_assert_not_null(strstr(err.msg, in_dir("sub")), "%s", err.msg);
    cr_assert_eq(count_entries(0), 1);
    cr_assert_eq(count_fds(), n_fds);
    cr_assert_eq(rmdir(in_dir("sub")), 0);
}

Test(pack, the_old_file_survives_a_read_only_folder) {
    sk_error err = {0};
    uid_t    me = geteuid();
    cr_assert_eq(sk_file_write_atomic(in_dir("a"), "old", 3, NULL), SK_OK);
    cr_assert_eq(chmod(the_dir, 0555), 0);
    if (me == 0) cr_assert_eq(seteuid(65534), 0); /* root may write anywhere; nobody may not */
    sk_status status = sk_file_write_atomic(in_dir("a"), "new", 3, &err);
    if (me == 0) cr_assert_eq(seteuid(0), 0);
    cr_assert_eq(chmod(the_dir, 0700), 0);
    cr_assert_eq(status, SK_EIO);
    cr_assert_not_null(strstr(err.msg, in_dir("a: Permission denied")), "%s", err.msg);
    assert_file_is(in_dir("a"), "old");
    cr_assert_eq(count_entries(0), 1);
}

/* A full disk, played by the limit on the size of a file: the write stops half way. */
Test(pack, the_old_file_survives_a_full_disk) {
    SK_AUTO(sk_pack_writer) writer = create_sample();
    struct rlimit limit, small;
    sk_error      err = {0};
    char         *big = calloc(1, 200000);
    int           n_fds = count_fds();
    cr_assert_eq(sk_pack_writer_add(writer, "big", big, 200000, NULL), SK_OK);
    free(big);
    cr_assert_eq(sk_file_write_atomic(in_dir("a"), "old", 3, NULL), SK_OK);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = limit;
    small.rlim_cur = 100000;
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    sk_status status = sk_pack_writer_save(writer, in_dir("a"), &err);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(status, SK_EIO);
    cr_assert_not_null(strstr(err.msg, in_dir("a: File too large")), "%s", err.msg);
    assert_file_is(in_dir("a"), "old");
    cr_assert_eq(count_entries(0), 1);
    cr_assert_eq(count_fds(), n_fds);
}

/* ---- no memory ---- */

static int allocs_left; /* JSON's allocations until one fails */

static void *failing_malloc(size_t size) { return allocs_left-- > 0 ? malloc(size) : NULL; }

/* Write and read, with no JSON memory after `n` allocations. */
static sk_status write_and_read(int n, sk_error *reterr) {
    SK_AUTO(sk_pack_writer) writer = NULL;
    SK_AUTO(sk_pack) pack = NULL;
    allocs_left = n;
    SK_TRY(sk_pack_writer_create(SK_PACK_POLICY, 1, &writer, reterr));
    SK_TRY(sk_pack_writer_add(writer, "params", the_weights, sizeof the_weights, reterr));
    SK_TRY(sk_pack_writer_save(writer, in_dir("a"), reterr));
    return sk_pack_load(in_dir("a"), SK_PACK_POLICY, 1, &pack, reterr);
}

Test(pack, reports_every_failing_json_allocation) {
    json_set_alloc_funcs(failing_malloc, free);
    sk_error  err = {0};
    sk_status status = SK_ENOMEM;
    int       n = 0;
    for (; n < 500 && status != SK_OK; n++) {
        status = write_and_read(n, &err);
        /* jansson's parser calls some failed allocations a syntax error: that is ECORRUPT then. */
        cr_assert(status == SK_OK || status == SK_ENOMEM || status == SK_ECORRUPT, "after %d: %s", n,
                  err.msg);
    }
    cr_assert_eq(status, SK_OK);
    cr_assert_gt(n, 10, "the failing allocator was not used");
    cr_assert_eq(count_entries(0), 1);
}

/* ---- SHA-256 ---- */

/* FIPS 180-2, appendix B. */
Test(sha256, matches_the_published_vectors) {
    char hex[65], million[1000];
    sk_sha256_hex("abc", 3, hex);
    cr_assert_str_eq(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sk_sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, hex);
    cr_assert_str_eq(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    sk_sha256_hex(NULL, 0, hex);
    cr_assert_str_eq(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    memset(million, 'a', sizeof million);
    sk_sha256_hex(million, sizeof million, hex);
    cr_assert_str_eq(hex, "41edece42d63e8d9bf515a9ba6932e1c20cbc9f5a5d134645adb5db1b9737ea3");
}
