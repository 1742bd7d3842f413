/* replay_store: the memory of a replay. Anonymous, without a claim on memory until it is touched; or a sparse file, of
 * which the disk gives room piece by piece before anything is written there, so that a full disk is an error where
 * steps are added and no signal later. A file is locked while it is in use. */
#include "rl/replay_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { VERSION = 1, GROW_BYTES = 16 << 20 };
static const char MAGIC[8] = {'S', 'K', 'I', 'F', 'F', 'R', 'P', 'L'};

/* What a file begins with. */
typedef struct file_head {
    char    magic[8];
    int32_t version;
    int32_t obs_dim, action_slots, mask_size;
    int32_t n_rows;
    int32_t stride; /* of a record [bytes] */
    int64_t ring;
    char    env_name[SK_ENV_NAME_MAX];
} file_head;

static sk_status fail_file(const sk_replay *self, const char *verb, int err, sk_error *reterr) {
    char text[128];
    return SK_FAIL(reterr, SK_EIO, "replay: cannot %s %s: %s", verb, self->store.path,
                   strerror_r(err, text, sizeof text));
}

static size_t records_bytes(const sk_replay *self) {
    return (size_t)self->p.n_rows * (size_t)self->ring * self->stride;
}

static size_t side_at(const sk_replay *self) {
    return (SK__REPLAY_HEAD_BYTES + records_bytes(self) + SK__REPLAY_HEAD_BYTES - 1) / SK__REPLAY_HEAD_BYTES *
           SK__REPLAY_HEAD_BYTES;
}

static file_head head_of(const sk_replay *self) {
    file_head head = {.version = VERSION, .obs_dim = self->p.obs_dim, .action_slots = self->p.action_slots,
                      .mask_size = self->p.mask_size, .n_rows = self->p.n_rows, .stride = (int32_t)self->stride,
                      .ring = self->ring};
    memcpy(head.magic, MAGIC, sizeof head.magic);
    memcpy(head.env_name, self->env_name, sizeof head.env_name);
    return head;
}

/* Is the file that is there already one of ours, left behind by a process that died? */
static sk_status check_takeover(const sk_replay *self, sk_error *reterr) {
    const char *path = self->store.path;
    struct stat st;
    file_head   head = {0}, own = head_of(self);
    if (fstat(self->store.fd, &st) != 0) return fail_file(self, "look at", errno, reterr);
    if (!S_ISREG(st.st_mode) || pread(self->store.fd, &head, sizeof head, 0) != (ssize_t)sizeof head ||
        memcmp(head.magic, MAGIC, sizeof MAGIC) != 0)
        return SK_FAIL(reterr, SK_ECONFIG, "replay: %s is there already and is no replay memory: it is left alone",
                       path);
    if (head.version != VERSION)
        return SK_FAIL(reterr, SK_ECONFIG, "replay: %s is there already, a replay memory of version %d, wanted %d: it "
                       "is left alone", path, head.version, VERSION);
    head.env_name[sizeof head.env_name - 1] = '\0';
    if (strcmp(head.env_name, own.env_name) != 0)
        return SK_FAIL(reterr, SK_ECONFIG, "replay: %s is there already and belongs to environment \"%s\", not to "
                       "\"%s\": it is left alone", path, head.env_name, own.env_name);
    if (head.obs_dim != own.obs_dim || head.action_slots != own.action_slots || head.mask_size != own.mask_size)
        return SK_FAIL(reterr, SK_ECONFIG, "replay: %s is there already, with %d numbers per observation, %d per "
                       "action, %d per mask, wanted %d, %d and %d: it is left alone", path, head.obs_dim,
                       head.action_slots, head.mask_size, own.obs_dim, own.action_slots, own.mask_size);
    return SK_OK;
}

/* Does the path still name the file that is open? Another process may have removed it in the meantime. */
static int is_at_path(const sk__replay_store *store) {
    struct stat at_path, open_one;
    return lstat(store->path, &at_path) == 0 && fstat(store->fd, &open_one) == 0 &&
           at_path.st_dev == open_one.st_dev && at_path.st_ino == open_one.st_ino;
}

static sk_status open_file(sk_replay *self, sk_error *reterr) {
    sk__replay_store *store = &self->store;
    int               is_new = 1;
    store->fd = open(store->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (store->fd < 0 && errno == EEXIST) {
        is_new = 0;
        store->fd = open(store->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK); /* a fifo would block */
    }
    if (store->fd < 0) return fail_file(self, is_new ? "make" : "open, though it is there already,", errno, reterr);
    sk_status status = SK_OK;
    int       err = 0;
    file_head head = head_of(self);
    if (flock(store->fd, LOCK_EX | LOCK_NB) != 0) {
        status = errno == EWOULDBLOCK
                     ? SK_FAIL(reterr, SK_EIO, "replay: %s is in use by another process", store->path)
                     : fail_file(self, "lock", errno, reterr);
        goto fail;
    }
    if (!is_new) SK_TRY_GOTO(check_takeover(self, reterr));
    if (!is_at_path(store)) {
        status = SK_FAIL(reterr, SK_EIO, "replay: %s was removed by another process just now", store->path);
        goto fail;
    }
    /* What an earlier one held is given up; the head stays there all the while, so that this one is known for what it
     * is whenever this process dies. */
    if (!is_new && ftruncate(store->fd, sizeof head) != 0) err = errno;
    is_new = 1; /* from here on it is ours to remove */
    if (!err) err = posix_fallocate(store->fd, 0, SK__REPLAY_HEAD_BYTES);
    if (!err && pwrite(store->fd, &head, sizeof head, 0) != (ssize_t)sizeof head) err = errno ? errno : ENOSPC;
    if (!err && ftruncate(store->fd, (off_t)store->bytes) != 0) err = errno;
    if (!err) return SK_OK;
    status = fail_file(self, "write", err, reterr);
fail:
    if (is_new && is_at_path(store)) unlink(store->path);
    close(store->fd);
    store->fd = -1;
    return status;
}

sk_status sk__replay_store_open(sk_replay *self, sk_error *reterr) {
    sk__replay_store *store = &self->store;
    store->fd = -1;
    store->bytes = side_at(self) + (size_t)self->p.n_rows * (size_t)self->n_keep * self->side_bytes;
    if (self->p.path) {
        store->path = strdup(self->p.path);
        if (!store->path) return SK_FAIL(reterr, SK_ENOMEM, "replay: no memory");
        SK_TRY(open_file(self, reterr));
    }
    int   flags = store->path ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *base = mmap(NULL, store->bytes, PROT_READ | PROT_WRITE, flags, store->fd, 0);
    if (base == MAP_FAILED && store->path) return fail_file(self, "map", errno, reterr);
    if (base == MAP_FAILED)
        return SK_FAIL(reterr, SK_ENOMEM, "replay: no room for %zu bytes of address space", store->bytes);
    store->base = base;
    self->record = store->base + SK__REPLAY_HEAD_BYTES;
    self->side = store->base + side_at(self);
    return SK_OK;
}

void sk__replay_store_close(sk_replay *self) {
    sk__replay_store *store = &self->store;
    if (store->base) munmap(store->base, store->bytes);
    if (store->path && store->fd >= 0) {
        if (is_at_path(store)) unlink(store->path);
        close(store->fd);
    }
    free(store->path);
    *store = (sk__replay_store){.fd = -1};
}

/* Room on the disk for bytes [from, to) of the file. */
static sk_status take_room(sk_replay *self, size_t from, size_t to, sk_error *reterr) {
    int err;
    if (to <= from) return SK_OK;
    do err = posix_fallocate(self->store.fd, (off_t)from, (off_t)(to - from));
    while (err == EINTR);
    return err ? fail_file(self, "take room on the disk for", err, reterr) : SK_OK;
}

/* The next size of something that grows by at least `step` and ends at `max`. */
static int64_t grown(int64_t wanted, int64_t step, int64_t max) {
    return wanted + step < max ? wanted + step : max;
}

sk_status sk__replay_store_reserve(sk_replay *self, int64_t n_steps, int64_t n_side, sk_error *reterr) {
    sk__replay_store *store = &self->store;
    if (!store->path) return SK_OK;
    if (n_steps > store->n_steps) {
        int64_t step = GROW_BYTES / ((int64_t)self->stride * self->p.n_rows);
        int64_t n = grown(n_steps, step, self->ring);
        for (int r = 0; r < self->p.n_rows; r++) {
            size_t at = SK__REPLAY_HEAD_BYTES + sk__replay_at(self, r, 0) * self->stride;
            SK_TRY(take_room(self, at + (size_t)store->n_steps * self->stride, at + (size_t)n * self->stride, reterr));
        }
        store->n_steps = n;
    }
    if (n_side > store->n_side) {
        int64_t n = grown(n_side, GROW_BYTES / 4 / (int64_t)self->side_bytes, self->p.n_rows * self->n_keep);
        SK_TRY(take_room(self, side_at(self) + (size_t)store->n_side * self->side_bytes,
                         side_at(self) + (size_t)n * self->side_bytes, reterr));
        store->n_side = n;
    }
    return SK_OK;
}
