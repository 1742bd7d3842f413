#include "core/runtime/store.h"
#include "core/runtime/space.h"
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define PAGE       ((uint64_t)4096)
#define BLOCK_HEAD ((uint64_t)64)       /* where a block's data begins in its file (block.h)                        */
#define STEP_MIN   ((uint64_t)2 << 20)  /* memory is had from the machine in such steps: few calls, little too much */
#define STEP_MAX   ((uint64_t)8 << 20)  /* 2 ms: a signal undoes no more than this                                  */
#define SPARE      ((uint64_t)64 << 20) /* left to the machine, so that the kernel does not have to end somebody    */

struct sk_store {
    void (*on_free)(void *arg, sk_extent extent); /* nullable */
    void *on_free_arg;
    sk_block *block;
    uint8_t  *data;
    sk_space  memory, file; /* file.size 0: no spilling                                                  */
    uint64_t  reserved;     /* [bytes] from the front: pages that the machine gave, touching cannot fail */
    uint64_t  peak, n_spills, n_unspills;
    char     *spill_dir;
    int       fd;           /* the file, -1 until it is needed                                           */
};

/* ---- lifecycle ------------------------------------------------------------------------------------------- */
static uint64_t whole_pages(uint64_t size) { return (size + PAGE - 1) / PAGE * PAGE; }

static const char *default_dir(void) {
    const char *dir = getenv("TMPDIR");
    return dir && *dir ? dir : "/tmp";
}

static sk_status init_store(sk_store *self, const sk_store_params *params, sk_error *reterr) {
    uint64_t bytes = whole_pages(params->bytes);
    SK_TRY(sk_space_init(&self->memory, bytes, reterr));
    if (params->spill_bytes > 0) SK_TRY(sk_space_init(&self->file, whole_pages(params->spill_bytes), reterr));
    self->spill_dir = strdup(params->spill_dir ? params->spill_dir : default_dir());
    if (!self->spill_dir) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a store");
    SK_TRY(sk_block_create(bytes, &self->block, reterr));
    self->data = sk_block_data(self->block);
    return SK_OK;
}

sk_status sk_store_create(const sk_store_params *params, sk_store **ret_store, sk_error *reterr) {
    SK_ASSERT(params && ret_store);
    const uint64_t most = (uint64_t)INT64_MAX / 2;
    if (params->bytes == 0 || params->bytes > most || params->spill_bytes > most)
        return SK_FAIL(reterr, SK_EINVAL, "a store has 1 to 2^62 - 1 bytes and spills as many, got %zu and %zu",
                       params->bytes, params->spill_bytes);
    SK_AUTO(sk_store) self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a store");
    self->fd = -1;
    SK_TRY(init_store(self, params, reterr));
    *ret_store = self;
    self = NULL;
    return SK_OK;
}

void sk_store_destroy(sk_store **self_p) {
    if (!self_p || !*self_p) return;
    sk_store *self = *self_p;
    *self_p = NULL;
    if (self->fd >= 0) close(self->fd); /* it has no name: it is gone with this */
    sk_block_destroy(&self->block);
    sk_space_deinit(&self->memory);
    sk_space_deinit(&self->file);
    free(self->spill_dir);
    free(self);
}

sk_block_ref sk_store_get_ref(const sk_store *self) {
    SK_ASSERT(self);
    return sk_block_get_ref(self->block);
}

void *sk_store_data(sk_store *self) {
    SK_ASSERT(self);
    return self->data;
}

sk_store_stats sk_store_get_stats(const sk_store *self) {
    SK_ASSERT(self);
    return (sk_store_stats){.bytes = self->memory.size, .used = self->memory.used, .peak = self->peak,
                            .spill_bytes = self->file.size, .spilled = self->file.used,
                            .n_spills = self->n_spills, .n_unspills = self->n_unspills};
}

/* ---- memory ---------------------------------------------------------------------------------------------- */
/* One field of /proc/meminfo [bytes], 0 if it is not there. */
static uint64_t meminfo_field(const char *text, const char *name) {
    const char *at = strstr(text, name);
    return at ? strtoull(at + strlen(name), NULL, 10) * 1024 : 0;
}

/* What the machine can still give [bytes]. */
static uint64_t machine_available(void) {
    char text[4096] = "";
    int fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return UINT64_MAX;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) return UINT64_MAX;
    return meminfo_field(text, "MemAvailable:") + meminfo_field(text, "SwapFree:");
}

/* Have the pages up to `end` from the machine now: a page that it does not have when it is touched ends the
 * process. */
static sk_status reserve(sk_store *self, uint64_t end, sk_error *reterr) {
    if (end <= self->reserved) return SK_OK;
    uint64_t needed = end - self->reserved, available = machine_available();
    if (available < needed + SPARE)
        return SK_FAIL(reterr, SK_ENOMEM,
                       "the machine has no memory for %llu more bytes of the store: it can give %llu",
                       (unsigned long long)needed, (unsigned long long)available);
    int fd = sk_block_get_ref(self->block).fd;
    while (self->reserved < end) {
        uint64_t step = end - self->reserved;
        step = step < STEP_MIN ? STEP_MIN : step > STEP_MAX ? STEP_MAX : step;
        if (step > self->memory.size - self->reserved) step = self->memory.size - self->reserved;
        if (fallocate(fd, 0, (off_t)(BLOCK_HEAD + self->reserved), (off_t)step) == 0)
            self->reserved += step;
        else if (errno != EINTR)
            return SK_FAIL(reterr, SK_ENOMEM, "the machine has no memory for %llu more bytes of the store: %s",
                           (unsigned long long)(end - self->reserved), strerror(errno));
    }
    return SK_OK;
}

sk_status sk_store_alloc(sk_store *self, size_t size, sk_extent *ret_extent, sk_error *reterr) {
    SK_ASSERT(self && size > 0 && ret_extent);
    uint64_t offset;
    sk_status status = sk_space_take(&self->memory, size, &offset, reterr);
    if (status == SK_ELIMIT)
        return SK_FAIL(reterr, SK_ELIMIT,
                       "the store has no room for %zu bytes: %llu of %llu are used, the largest free piece has %llu",
                       size, (unsigned long long)self->memory.used, (unsigned long long)self->memory.size,
                       (unsigned long long)sk_space_largest(&self->memory));
    if (status != SK_OK) return status;
    status = reserve(self, offset + sk_space_round(size), reterr);
    if (status != SK_OK) {
        sk_space_give_back(&self->memory, offset, size);
        return status;
    }
    if (self->memory.used > self->peak) self->peak = self->memory.used;
    *ret_extent = (sk_extent){offset, size};
    return SK_OK;
}

void sk_store_free(sk_store *self, sk_extent extent) {
    SK_ASSERT(self && sk_store_owns(self, extent));
    if (self->on_free) self->on_free(self->on_free_arg, extent);
    sk_space_give_back(&self->memory, extent.offset, extent.size);
}

void sk_store_on_free(sk_store *self, void (*on_free)(void *arg, sk_extent extent), void *arg) {
    self->on_free = on_free;
    self->on_free_arg = arg;
}

bool sk_store_owns(const sk_store *self, sk_extent extent) {
    SK_ASSERT(self);
    return sk_space_owns(&self->memory, extent.offset, extent.size);
}

/* ---- the file -------------------------------------------------------------------------------------------- */
/* A file without a name; where the file system has no such thing, one whose name is taken away at once. */
static sk_status open_file(sk_store *self, sk_error *reterr) {
    if (self->fd >= 0) return SK_OK;
    if (sodium_init() < 0) return SK_FAIL(reterr, SK_EIO, "cannot start libsodium, which checks what is spilled");
    self->fd = open(self->spill_dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (self->fd >= 0) return SK_OK;

    char path[4096];
    int n = snprintf(path, sizeof path, "%s/skiff-spill-XXXXXX", self->spill_dir);
    if (n < 0 || (size_t)n >= sizeof path)
        return SK_FAIL(reterr, SK_EIO, "the name of the spill folder is too long: %d bytes", n);
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return SK_FAIL(reterr, SK_EIO, "cannot make a spill file in %s: %s", self->spill_dir, strerror(errno));
    if (unlink(path) != 0) {
        int error = errno;
        close(fd);
        return SK_FAIL(reterr, SK_EIO, "cannot take the name of the spill file %s away: %s", path, strerror(error));
    }
    self->fd = fd;
    return SK_OK;
}

/* Free a place and let the disk have it, with what was not written to it yet. Not every file system can: then the
 * place stays with the file, to be used again. */
static void release_place(sk_store *self, uint64_t offset, uint64_t size) {
    sk_space_give_back(&self->file, offset, size);
    (void)fallocate(self->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)sk_space_round(size));
}

static sk_status fail_write(const sk_store *self, uint64_t size, int error, sk_error *reterr) {
    struct statvfs disk;
    if (fstatvfs(self->fd, &disk) != 0)
        return SK_FAIL(reterr, SK_EIO, "cannot spill %llu bytes to %s: %s", (unsigned long long)size, self->spill_dir,
                       strerror(error));
    return SK_FAIL(reterr, SK_EIO, "cannot spill %llu bytes to %s: %s (%llu bytes are free there)",
                   (unsigned long long)size, self->spill_dir, strerror(error),
                   (unsigned long long)disk.f_bavail * disk.f_frsize);
}

static sk_status write_all(sk_store *self, const uint8_t *data, uint64_t size, uint64_t offset, sk_error *reterr) {
    for (uint64_t done = 0; done < size;) {
        ssize_t n = pwrite(self->fd, data + done, size - done, (off_t)(offset + done));
        if (n > 0)
            done += (uint64_t)n;
        else if (n == 0 || errno != EINTR)
            return fail_write(self, size, n == 0 ? ENOSPC : errno, reterr);
    }
    return SK_OK;
}

static sk_status read_all(sk_store *self, uint8_t *ret_data, uint64_t size, uint64_t offset, sk_error *reterr) {
    for (uint64_t done = 0; done < size;) {
        ssize_t n = pread(self->fd, ret_data + done, size - done, (off_t)(offset + done));
        if (n > 0)
            done += (uint64_t)n;
        else if (n == 0)
            return SK_FAIL(reterr, SK_ECORRUPT, "the spill file in %s ends after %llu of %llu bytes of an object",
                           self->spill_dir, (unsigned long long)done, (unsigned long long)size);
        else if (errno != EINTR)
            return SK_FAIL(reterr, SK_EIO, "cannot read %llu spilled bytes from %s: %s", (unsigned long long)size,
                           self->spill_dir, strerror(errno));
    }
    return SK_OK;
}

static void checksum_of(const uint8_t *data, uint64_t size, uint8_t ret_checksum[16]) {
    int failed = crypto_generichash(ret_checksum, 16, data, size, NULL, 0);
    SK_ASSERT(failed == 0); /* it does only for lengths that cannot be */
}

sk_status sk_store_spill(sk_store *self, sk_extent extent, sk_spilled *ret_spilled, sk_error *reterr) {
    SK_ASSERT(self && sk_store_owns(self, extent) && ret_spilled);
    unsigned long long size = extent.size;
    if (self->file.size == 0)
        return SK_FAIL(reterr, SK_ELIMIT, "%llu bytes cannot leave the store: there is no spill file", size);
    SK_TRY(open_file(self, reterr));
    sk_spilled spilled = {.size = extent.size};
    sk_status status = sk_space_take(&self->file, extent.size, &spilled.offset, reterr);
    if (status == SK_ELIMIT)
        return SK_FAIL(reterr, SK_ELIMIT, "the spill file has no room for %llu bytes: %llu of %llu are used", size,
                       (unsigned long long)self->file.used, (unsigned long long)self->file.size);
    if (status != SK_OK) return status;
    const uint8_t *data = self->data + extent.offset;
    checksum_of(data, extent.size, spilled.checksum);
    status = write_all(self, data, extent.size, spilled.offset, reterr);
    if (status != SK_OK) {
        release_place(self, spilled.offset, spilled.size);
        return status;
    }
    sk_store_free(self, extent);
    self->n_spills++;
    *ret_spilled = spilled;
    return SK_OK;
}

static sk_status read_checked(sk_store *self, const sk_spilled *spilled, uint8_t *ret_data, sk_error *reterr) {
    uint8_t checksum[16];
    SK_TRY(read_all(self, ret_data, spilled->size, spilled->offset, reterr));
    checksum_of(ret_data, spilled->size, checksum);
    if (memcmp(checksum, spilled->checksum, sizeof checksum) != 0)
        return SK_FAIL(reterr, SK_ECORRUPT,
                       "the spill file in %s was changed: the %llu bytes at %llu are not what was written",
                       self->spill_dir, (unsigned long long)spilled->size, (unsigned long long)spilled->offset);
    return SK_OK;
}

sk_status sk_store_unspill(sk_store *self, const sk_spilled *spilled, sk_extent *ret_extent, sk_error *reterr) {
    SK_ASSERT(self && spilled && ret_extent && sk_space_owns(&self->file, spilled->offset, spilled->size));
    sk_extent extent;
    SK_TRY(sk_store_alloc(self, spilled->size, &extent, reterr));
    sk_status status = read_checked(self, spilled, self->data + extent.offset, reterr);
    release_place(self, spilled->offset, spilled->size); /* it is in memory now, or lost */
    if (status != SK_OK) {
        sk_store_free(self, extent);
        return status;
    }
    self->n_unspills++;
    *ret_extent = extent;
    return SK_OK;
}

/* What was read from the file goes back, since the exchange failed for `why`. */
static sk_status write_back(sk_store *self, sk_spilled *in, const uint8_t *bytes, const sk_error *why,
                            sk_error *reterr) {
    sk_status status = sk_space_take(&self->file, in->size, &in->offset, reterr); /* its old place is free */
    if (status == SK_OK && (status = write_all(self, bytes, in->size, in->offset, reterr)) != SK_OK)
        release_place(self, in->offset, in->size);
    if (status != SK_OK) return SK_EIO;
    return SK_FAIL(reterr, SK_ELIMIT, "%s", why->msg);
}

sk_status sk_store_swap(sk_store *self, sk_spilled *in, sk_extent out, sk_extent *ret_in, sk_spilled *ret_out,
                        sk_error *reterr) {
    SK_ASSERT(self && in && out.size >= in->size && sk_space_owns(&self->file, in->offset, in->size));
    uint8_t *bytes = malloc(in->size);
    if (!bytes) return SK_FAIL(reterr, SK_ENOMEM, "no memory to exchange %llu bytes", (unsigned long long)in->size);
    sk_error  err = {0};
    sk_status status = read_checked(self, in, bytes, reterr);
    release_place(self, in->offset, in->size);
    if (status == SK_OK && sk_store_spill(self, out, ret_out, &err) != SK_OK) {
        status = write_back(self, in, bytes, &err, reterr);
    } else if (status == SK_OK) {
        status = sk_store_alloc(self, in->size, ret_in, reterr); /* what left is not smaller */
        SK_ASSERT(status == SK_OK);
        memcpy(self->data + ret_in->offset, bytes, in->size);
        self->n_unspills++;
    }
    free(bytes);
    return status;
}

void sk_store_drop_spilled(sk_store *self, const sk_spilled *spilled) {
    SK_ASSERT(self && spilled && sk_space_owns(&self->file, spilled->offset, spilled->size));
    release_place(self, spilled->offset, spilled->size);
}
