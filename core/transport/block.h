/* block: a piece of shared memory that is written by one side and read by others of this host. Between
 * processes only its reference travels. It is a memfd: nothing appears in /dev/shm, and when the last
 * process that maps it is gone, so is the memory, whatever ended that process.
 *
 * Threads: create/open/destroy by one thread at a time; who may write which bytes when is agreed by messages. */
#ifndef SK_TRANSPORT_BLOCK_H
#define SK_TRANSPORT_BLOCK_H
#include "core/base/status.h"
#include <stddef.h>
#include <stdint.h>

typedef struct sk_block sk_block;

/* Plain bytes, valid on this host while the owner lives. */
typedef struct sk_block_ref {
    int32_t  pid, fd;    /* of the owner                              */
    uint64_t id;         /* random; checked against the block's head  */
    uint64_t size_bytes; /* of the data                               */
} sk_block_ref;

/* A zeroed block of size_bytes; size is sealed. Caller destroys (the memory lives while others map it). */
SK_NODISCARD sk_status sk_block_create(size_t size_bytes, sk_block **ret_block, sk_error *reterr);
/* Map a block by reference; in the owner's own process this is the same memory. SK_ENOTFOUND when the owner
 * is gone, SK_ECORRUPT when the reference does not fit the block. Caller destroys. */
SK_NODISCARD sk_status sk_block_open(const sk_block_ref *ref, sk_block **ret_block, sk_error *reterr);
void         sk_block_destroy(sk_block **self_p);
void        *sk_block_data(sk_block *self);       /* 64-byte aligned; borrowed until destroy */
sk_block_ref sk_block_get_ref(const sk_block *self);

#endif
