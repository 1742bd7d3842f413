/* keys: what the hosts of a cluster know each other by. A cluster has two CURVE key pairs (CurveZMQ, RFC 26): the
 * head's and the nodes'. Both lie in one small file that its owner alone can read; who has it may join, and nobody else.
 *
 * The file, and the same text in $SKIFF_CLUSTER_KEY, is one line: "skiff-cluster-key-1", then the four keys in Z85 (40
 * characters each; head public, head secret, node public, node secret), with a blank before each.
 *
 * Threads: free of state. */
#ifndef SK_TRANSPORT_KEYS_H
#define SK_TRANSPORT_KEYS_H
#include "core/base/status.h"
#include <stdint.h>

#define SK_KEY_Z85      41  /* one key as text, with its end                       */
#define SK_KEY_TEXT_MAX 256 /* a whole cluster key as text, with its end           */

typedef struct sk_cluster_key {
    char head_public[SK_KEY_Z85], head_secret[SK_KEY_Z85];
    char node_public[SK_KEY_Z85], node_secret[SK_KEY_Z85];
} sk_cluster_key;

/* A new one. SK_EIO: no good random numbers. */
SK_NODISCARD sk_status sk_cluster_key_create(sk_cluster_key *ret_key, sk_error *reterr);
/* To and from text. SK_ECORRUPT: not a key (never prints the text itself): says which part; a public key that does not
 * belong to its secret is refused too. */
void sk_cluster_key_write(const sk_cluster_key *self, char ret_text[SK_KEY_TEXT_MAX]);
SK_NODISCARD sk_status sk_cluster_key_parse(const char *text, sk_cluster_key *ret_key, sk_error *reterr);
/* The nodes' public key as 32 bytes, which is how they prove who they are. SK_ECORRUPT: it is none. */
SK_NODISCARD sk_status sk_cluster_key_node_bytes(const sk_cluster_key *self, uint8_t ret_bytes[32], sk_error *reterr);
/* Find the key: `path` if given (NULL or "": not); else the text in $SKIFF_CLUSTER_KEY; else the file
 * $XDG_CONFIG_HOME/skiff/cluster.key or ~/.config/skiff/cluster.key. A file that others can read or write (mode & 077)
 * or of another owner is refused and named. With `make`, a file that is not there is made (folder 0700, file 0600,
 * whole or not at all; of two that make it at once one wins and both read the same). ret_where (nullable, 512 bytes):
 * where it was found, for messages. SK_ENOTFOUND says all places that were looked at. */
typedef enum sk_key_make { SK_KEY_MUST_EXIST, SK_KEY_MAKE } sk_key_make;
SK_NODISCARD sk_status sk_cluster_key_find(const char *path, sk_key_make make, sk_cluster_key *ret_key, char *ret_where,
                                           sk_error *reterr);
/* Overwrite it before its memory goes. */
void sk_cluster_key_forget(sk_cluster_key *self);

#endif
