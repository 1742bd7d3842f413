#include "core/runtime/spawn.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ARGS_MAX = 12, ARG_SIZE = 96, HASH_BYTES = 32 };

static void write_ref(sk_block_ref ref, char *ret_text) {
    snprintf(ret_text, ARG_SIZE, "%d,%d,%" PRIu64 ",%" PRIu64, ref.pid, ref.fd, ref.id, ref.size_bytes);
}

sk_status sk_spawn_worker(sk_supervisor *supervisor, const sk_spawn *params, int *ret_pid, sk_error *reterr) {
    SK_ASSERT(supervisor && params && ret_pid);
    char board[ARG_SIZE], store[ARG_SIZE], line[16], parent[16];
    write_ref(sk_block_get_ref(params->board), board);
    write_ref(sk_store_get_ref(params->store), store);
    snprintf(line, sizeof line, "%d", params->line);
    snprintf(parent, sizeof parent, "%d", getpid());
    const char **argv = calloc((size_t)(ARGS_MAX + 2 * params->n_plugins), sizeof *argv);
    if (!argv) return SK_FAIL(reterr, SK_ENOMEM, "no memory to start a worker");
    const char *fixed[] = {params->worker_path, "worker", "--board", board, "--store", store,
                           "--line",            line,     "--parent", parent};
    int         n = 0;
    for (int i = 0; i < SK_COUNT(fixed); i++) argv[n++] = fixed[i];
    for (int i = 0; i < params->n_plugins; i++) {
        argv[n++] = "--plugin";
        argv[n++] = params->plugins[i];
    }
    const char *log_path = params->log_path && *params->log_path ? params->log_path : NULL;
    sk_status   status = sk_supervisor_spawn(supervisor, params->id, params->worker_path,
                                             (char *const *)(uintptr_t)argv, log_path, ret_pid, reterr);
    free(argv);
    return status;
}

const char *sk_spawn_worker_path(const char *given) {
    const char *path = given && *given ? given : getenv("SKIFF_WORKER");
    return path && *path ? path : "/proc/self/exe";
}

static sk_status hash_all(int fd, const char *path, uint8_t ret_hash[HASH_BYTES], sk_error *reterr) {
    crypto_generichash_state state;
    uint8_t                  bytes[16384];
    int                      failed = crypto_generichash_init(&state, NULL, 0, HASH_BYTES);
    for (;;) {
        ssize_t n = read(fd, bytes, sizeof bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return SK_FAIL(reterr, SK_EIO, "cannot read %s: %s", path, strerror(errno));
        if (n == 0) break;
        failed |= crypto_generichash_update(&state, bytes, (unsigned long long)n);
    }
    failed |= crypto_generichash_final(&state, ret_hash, HASH_BYTES);
    SK_ASSERT(failed == 0); /* it does only for lengths that cannot be */
    return SK_OK;
}

sk_status sk_spawn_hash_file(const char *path, char ret_text[SK_SPAWN_HASH_TEXT], sk_error *reterr) {
    SK_ASSERT(path && ret_text);
    uint8_t hash[HASH_BYTES];
    if (sodium_init() < 0) return SK_FAIL(reterr, SK_EIO, "cannot start libsodium, which checks plugins");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return SK_FAIL(reterr, errno == ENOENT || errno == ENOTDIR ? SK_ENOTFOUND : SK_EIO, "cannot open %s: %s", path,
                       strerror(errno));
    sk_status status = hash_all(fd, path, hash, reterr);
    close(fd);
    if (status == SK_OK) sodium_bin2hex(ret_text, SK_SPAWN_HASH_TEXT, hash, HASH_BYTES);
    return status;
}
