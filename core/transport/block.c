#include "core/transport/block.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_MAGIC UINT64_C(0x314b4c4246494b53) /* "SKIFBLK1", little-endian */
#define BLOCK_SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

/* The first 64 bytes of the memory; the data follows, so it is 64-byte aligned. */
typedef struct block_head {
    uint64_t magic;
    uint64_t id;
    uint64_t size_bytes;
    uint8_t pad[40];
} block_head;

struct sk_block {
    block_head *head; /* the mapping, page aligned                      */
    size_t map_size;  /* head and data [bytes]                          */
    sk_block_ref ref; /* of the owner                                   */
    int fd;           /* own descriptor, -1 where mapped from elsewhere */
    int n_users;      /* create and open calls not yet destroyed        */
    sk_block *next;   /* in `own_blocks`                                */
};

/* Blocks this process owns: open() in the same process finds the live one, whatever thread asks. */
static pthread_mutex_t own_lock = PTHREAD_MUTEX_INITIALIZER;
static sk_block *own_blocks;

static void unmap_block(sk_block *self) {
    if (self->head) munmap(self->head, self->map_size);
    if (self->fd >= 0) close(self->fd);
    free(self);
}

static sk_status map_memory(int fd, size_t map_size, block_head **ret_head, sk_error *reterr) {
    void *map = mmap(NULL, map_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return SK_FAIL(reterr, SK_ENOMEM, "cannot map a block of %zu bytes: %s", map_size, strerror(errno));
    *ret_head = map;
    return SK_OK;
}

/* The memory itself: sized, sealed, mapped and headed. */
static sk_status make_memory(sk_block *self, size_t size_bytes, sk_error *reterr) {
    self->fd = memfd_create("skiff-block", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (self->fd < 0) return SK_FAIL(reterr, SK_EIO, "cannot create a memory file: %s", strerror(errno));
    self->map_size = sizeof(block_head) + size_bytes;
    int rc = ftruncate(self->fd, (off_t)self->map_size);
    struct rlimit limit;
    if (rc != 0 && errno == EFBIG && getrlimit(RLIMIT_FSIZE, &limit) == 0)
        return SK_FAIL(reterr, SK_ELIMIT, "cannot size a block to %zu bytes: the limit (ulimit -f) is %llu",
                       self->map_size, (unsigned long long)limit.rlim_cur);
    if (rc != 0)
        return SK_FAIL(reterr, SK_ENOMEM, "cannot size a block to %zu bytes: %s", self->map_size,
                       strerror(errno));
    if (fcntl(self->fd, F_ADD_SEALS, BLOCK_SEALS) != 0)
        return SK_FAIL(reterr, SK_EIO, "cannot seal the size of a block: %s", strerror(errno));
    SK_TRY(map_memory(self->fd, self->map_size, &self->head, reterr));

    uint64_t id = 0;
    if (getrandom(&id, sizeof id, 0) != (ssize_t)sizeof id)
        return SK_FAIL(reterr, SK_EIO, "cannot draw a random block id: %s", strerror(errno));
    *self->head = (block_head){.magic = BLOCK_MAGIC, .id = id, .size_bytes = size_bytes};
    self->ref = (sk_block_ref){.pid = getpid(), .fd = self->fd, .id = id, .size_bytes = size_bytes};
    return SK_OK;
}

sk_status sk_block_create(size_t size_bytes, sk_block **ret_block, sk_error *reterr) {
    SK_ASSERT(ret_block);
    if (size_bytes == 0 || size_bytes > (size_t)INT64_MAX - sizeof(block_head))
        return SK_FAIL(reterr, SK_EINVAL, "the size of a block must be 1 to 2^63 - 65 bytes, got %zu",
                       size_bytes);
    sk_block *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a block");
    self->fd = -1;
    self->n_users = 1;

    sk_status status = make_memory(self, size_bytes, reterr);
    if (status != SK_OK) {
        unmap_block(self);
        return status;
    }
    pthread_mutex_lock(&own_lock);
    self->next = own_blocks;
    own_blocks = self;
    pthread_mutex_unlock(&own_lock);
    *ret_block = self;
    return SK_OK;
}

static sk_status open_own(const sk_block_ref *ref, sk_block **ret_block, sk_error *reterr) {
    sk_block *block;
    pthread_mutex_lock(&own_lock);
    for (block = own_blocks; block; block = block->next)
        if (block->ref.id == ref->id) break;
    bool fits = block && block->ref.fd == ref->fd && block->ref.size_bytes == ref->size_bytes;
    if (fits) block->n_users++;
    pthread_mutex_unlock(&own_lock);

    if (!block) return SK_FAIL(reterr, SK_ENOTFOUND, "block %016lx is gone", (unsigned long)ref->id);
    if (!fits)
        return SK_FAIL(reterr, SK_ECORRUPT,
                       "reference to block %016lx does not fit it: descriptor or size differ",
                       (unsigned long)ref->id);
    *ret_block = block;
    return SK_OK;
}

/* Is `fd` a sealed memory file of the right size? Only then touching its mapping cannot fault. */
static sk_status check_file(int fd, const sk_block_ref *ref, sk_error *reterr) {
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || seals < 0 || (seals & BLOCK_SEALS) != BLOCK_SEALS)
        return SK_FAIL(reterr, SK_ECORRUPT, "descriptor %d of process %d is not a block", ref->fd, ref->pid);
    uint64_t limit = (uint64_t)INT64_MAX - sizeof(block_head);
    if (ref->size_bytes > limit || (uint64_t)st.st_size != sizeof(block_head) + ref->size_bytes)
        return SK_FAIL(reterr, SK_ECORRUPT,
                       "block in descriptor %d of process %d: its file has %lld bytes, wanted %llu", ref->fd,
                       ref->pid, (long long)st.st_size,
                       (unsigned long long)ref->size_bytes + sizeof(block_head));
    return SK_OK;
}

/* Open another process's descriptor by its path in /proc; the kernel lets only the same user do so. */
static sk_status open_descriptor(const sk_block_ref *ref, int *ret_fd, sk_error *reterr) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", ref->pid, ref->fd);
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && (errno == ENOENT || errno == ESRCH))
        return SK_FAIL(reterr, SK_ENOTFOUND, "block %016lx is gone: process %d has ended or has released it",
                       (unsigned long)ref->id, ref->pid);
    if (fd < 0 && errno == ENXIO)
        return SK_FAIL(reterr, SK_ECORRUPT, "descriptor %d of process %d is not a block", ref->fd, ref->pid);
    if (fd < 0) return SK_FAIL(reterr, SK_EIO, "cannot open a block through %s: %s", path, strerror(errno));
    *ret_fd = fd;
    return SK_OK;
}

static sk_status open_foreign(const sk_block_ref *ref, sk_block *self, sk_error *reterr) {
    if (ref->pid <= 0 || ref->fd < 0)
        return SK_FAIL(reterr, SK_ECORRUPT, "not a block reference: process %d, descriptor %d", ref->pid,
                       ref->fd);
    SK_TRY(open_descriptor(ref, &self->fd, reterr));
    SK_TRY(check_file(self->fd, ref, reterr));
    self->map_size = sizeof(block_head) + ref->size_bytes;
    SK_TRY(map_memory(self->fd, self->map_size, &self->head, reterr));
    if (self->head->magic != BLOCK_MAGIC || self->head->id != ref->id ||
        self->head->size_bytes != ref->size_bytes)
        return SK_FAIL(reterr, SK_ECORRUPT, "descriptor %d of process %d is another block than %016lx",
                       ref->fd, ref->pid, (unsigned long)ref->id);

    /* The mapping keeps the memory; the descriptor is the owner's business. */
    close(self->fd);
    self->fd = -1;
    self->ref = *ref;
    return SK_OK;
}

sk_status sk_block_open(const sk_block_ref *ref, sk_block **ret_block, sk_error *reterr) {
    SK_ASSERT(ref && ret_block);
    if (ref->pid == getpid()) return open_own(ref, ret_block, reterr);
    sk_block *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a block");
    self->fd = -1;
    self->n_users = 1;
    sk_status status = open_foreign(ref, self, reterr);
    if (status != SK_OK) {
        unmap_block(self);
        return status;
    }
    *ret_block = self;
    return SK_OK;
}

void sk_block_destroy(sk_block **self_p) {
    if (!self_p || !*self_p) return;
    sk_block *self = *self_p;
    *self_p = NULL;

    pthread_mutex_lock(&own_lock);
    bool last = --self->n_users == 0;
    if (last && self->fd >= 0) { /* own blocks are listed */
        sk_block **link = &own_blocks;
        while (*link && *link != self) link = &(*link)->next;
        if (*link) *link = self->next;
    }
    pthread_mutex_unlock(&own_lock);
    if (last) unmap_block(self);
}

void *sk_block_data(sk_block *self) {
    SK_ASSERT(self);
    return self->head + 1;
}

sk_block_ref sk_block_get_ref(const sk_block *self) {
    SK_ASSERT(self);
    return self->ref;
}
