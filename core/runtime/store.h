/* store: the shared memory of large objects, and the file they go to when it is full. It keeps bytes; which object
 * lies where, and which one has to leave, is decided by object.c.
 *
 * The memory is one sparse memfd (core/transport/block.h) that every process maps once; it is taken from the
 * machine as it is first used, lowest addresses first, and stays warm. The file is unlinked from the start
 * (O_TMPFILE): whatever ends the program, nothing stays.
 *
 * Threads: one at a time (the runtime's lock); the memory itself is read by all. */
#ifndef SK_RUNTIME_STORE_H
#define SK_RUNTIME_STORE_H
#include "core/base/status.h"
#include "core/transport/block.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct sk_store sk_store;

typedef struct sk_store_params {
    size_t      bytes;       /* capacity of the memory, > 0         */
    size_t      spill_bytes; /* of the file; 0: no file             */
    const char *spill_dir;   /* NULL: $TMPDIR, else /tmp            */
} sk_store_params;

/* Where an object lies. In memory, `offset` counts from sk_store_data. */
typedef struct sk_extent {
    uint64_t offset, size; /* [bytes]; size as asked for */
} sk_extent;

typedef struct sk_store_stats {
    uint64_t bytes, used, peak, spill_bytes, spilled; /* [bytes]; used, peak and spilled in whole cache lines,
                                                         pages from 1 MiB on */
    uint64_t n_spills, n_unspills;                    /* ever     */
} sk_store_stats;

/* Sizes are rounded up to pages. The file is opened when it is first needed. Caller destroys. */
SK_NODISCARD sk_status sk_store_create(const sk_store_params *params, sk_store **ret_store, sk_error *reterr);
void           sk_store_destroy(sk_store **self_p);
sk_block_ref   sk_store_get_ref(const sk_store *self); /* for other processes */
void          *sk_store_data(sk_store *self);
sk_store_stats sk_store_get_stats(const sk_store *self);
/* on_free(arg, extent) is called for every extent that gives its memory up: freed, spilled or exchanged. NULL: none. */
void           sk_store_on_free(sk_store *self, void (*on_free)(void *arg, sk_extent extent), void *arg);

/* `size` bytes (> 0), 64-byte aligned. SK_ELIMIT (with text: asked, largest free piece, used of total): something
 * has to leave first. SK_ENOMEM: the machine itself has no memory for it. O(log n) in the number of pieces. */
SK_NODISCARD sk_status sk_store_alloc(sk_store *self, size_t size, sk_extent *ret_extent, sk_error *reterr);
void sk_store_free(sk_store *self, sk_extent extent);
/* Is this an extent that alloc gave and nobody freed? (What a worker claims is checked.) */
bool sk_store_owns(const sk_store *self, sk_extent extent);

typedef struct sk_spilled {
    uint64_t offset, size;
    uint8_t  checksum[16];
} sk_spilled;
/* Write an extent to the file and free its memory. SK_ELIMIT: the file is full (asked, used of total). SK_EIO: the
 * disk is, or failed; the extent stays then. */
SK_NODISCARD sk_status sk_store_spill(sk_store *self, sk_extent extent, sk_spilled *ret_spilled, sk_error *reterr);
/* Read it back into memory and free its place in the file. SK_ELIMIT, SK_ENOMEM: as of alloc, it stays in the file.
 * SK_EIO, SK_ECORRUPT: it is lost, and its place is freed. */
SK_NODISCARD sk_status sk_store_unspill(sk_store *self, const sk_spilled *spilled, sk_extent *ret_extent,
                                        sk_error *reterr);
/* Both are full: exchange a spilled object with one in memory that is not smaller, through a buffer. SK_ELIMIT,
 * SK_ENOMEM: not possible, both are as they were (*in may lie elsewhere in the file). SK_EIO, SK_ECORRUPT: the
 * spilled one is lost, its place freed. */
SK_NODISCARD sk_status sk_store_swap(sk_store *self, sk_spilled *in, sk_extent out, sk_extent *ret_in,
                                     sk_spilled *ret_out, sk_error *reterr);
void sk_store_drop_spilled(sk_store *self, const sk_spilled *spilled);

#endif
