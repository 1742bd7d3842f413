#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <ftw.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HEAD = 32, HASH = crypto_hash_sha256_BYTES, ALIGN = 64 };

static void put_le(uint8_t *at, uint64_t value, int n_bytes) {
    for (int i = 0; i < n_bytes; i++) at[i] = (uint8_t)(value >> (8 * i));
}

static size_t align_up(size_t n) { return (n + ALIGN - 1) / ALIGN * ALIGN; }

uint8_t *fuzz_pack(const uint8_t *data, size_t size, sk_pack_kind kind, size_t *ret_size) {
    uint8_t *file;
    size_t   total = size;
    if (size >= 8 && memcmp(data, "SKIFFPK1", 8) == 0) {
        file = malloc(size);
        FUZZ_CHECK(file);
        memcpy(file, data, size);
    } else {
        const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
        size_t json = zero ? (size_t)(zero - data) : size, body = zero ? size - json - 1 : 0;
        total = align_up(HEAD + json) + align_up(body) + HASH;
        file = calloc(1, total);
        FUZZ_CHECK(file);
        memcpy(file, "SKIFFPK1", 8);
        put_le(file + 8, kind, 4);
        put_le(file + 12, 1, 4);
        put_le(file + 16, json, 8);
        put_le(file + 24, align_up(body), 8);
        if (json) memcpy(file + HEAD, data, json);
        if (body) memcpy(file + align_up(HEAD + json), zero + 1, body);
    }
    if (total >= HEAD + HASH) crypto_hash_sha256(file + total - HASH, file, total - HASH);
    *ret_size = total;
    return file;
}

static char the_folder[256];

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static void remove_folder(void) { nftw(the_folder, remove_one, 8, FTW_DEPTH | FTW_PHYS); }

const char *fuzz_folder(void) {
    if (the_folder[0]) return the_folder;
    const char *base = getenv("TMPDIR");
    snprintf(the_folder, sizeof the_folder, "%.200s/skiff-fuzz-XXXXXX", base && *base ? base : "/tmp");
    FUZZ_CHECK(mkdtemp(the_folder));
    atexit(remove_folder);
    return the_folder;
}

void fuzz_write(const char *path, const void *bytes, size_t size) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    FUZZ_CHECK(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
    close(fd);
}

void fuzz_mute(void) {
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    FUZZ_CHECK(fd >= 0 && dup2(fd, 1) == 1);
    close(fd);
}
