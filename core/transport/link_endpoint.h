/* link_endpoint: "tcp://ADDRESS:PORT", looked at before libzmq gets it.
 *
 * Threads: free of state. */
#ifndef SK_TRANSPORT_LINK_ENDPOINT_H
#define SK_TRANSPORT_LINK_ENDPOINT_H
#include "core/base/status.h"
#include <stdbool.h>

enum { SK_ENDPOINT_SIZE = 300 };

typedef struct sk__endpoint {
    char text[SK_ENDPOINT_SIZE]; /* as libzmq wants it: an address to listen at is in numbers */
    bool is_loopback;            /* nobody outside of this machine can reach it               */
    bool wants_ipv6;
} sk__endpoint;

typedef enum sk__endpoint_use { SK__TO_LISTEN, SK__TO_CONNECT } sk__endpoint_use;

/* Names are looked up, which can take a while: those to listen at, and "localhost". SK_EINVAL: it does not read so.
 * SK_ENOTFOUND: no such name (to listen at). */
SK_NODISCARD sk_status sk__endpoint_parse(const char *text, sk__endpoint_use use, sk__endpoint *ret_endpoint,
                                          sk_error *reterr);

#endif
