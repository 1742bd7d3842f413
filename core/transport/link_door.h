/* link_door: who stands at a link's door. A thread hears what libzmq tells of connections that came to nothing, and at
 * the head it answers who may come in (ZAP, RFC 27): whoever proves to have the nodes' secret key.
 *
 * Threads: made and destroyed by the link's thread; the counters and the last trouble may be read by it at any time. */
#ifndef SK_TRANSPORT_LINK_DOOR_H
#define SK_TRANSPORT_LINK_DOOR_H
#include "core/transport/zmq_lib.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SK_DOOR_KEY_BYTES = 32, SK_DOOR_TEXT = 320 };
#define SK_DOOR_DOMAIN "skiff" /* of ZAP: with one, nobody comes in unasked */

typedef struct sk__door sk__door;

typedef struct sk__door_params {
    const sk_zmq_lib *zmq;
    void             *context, *socket; /* of the link; the door is made before the socket listens or connects */
    const uint8_t    *key;              /* head: the public key of those who may come in; NULL: does not ask   */
    bool              is_head;
    void (*on_news)(void *arg);         /* called by the door's thread: there is a trouble to be told          */
    void             *arg;
} sk__door_params;

/* Caller destroys, after it closed the link's socket and shut the context down: that ends the thread. */
SK_NODISCARD sk_status sk__door_create(const sk__door_params *params, sk__door **ret_door, sk_error *reterr);
void                   sk__door_destroy(sk__door **self_p);
uint64_t               sk__door_n_refused(const sk__door *self);
/* The newest trouble that was not taken yet, in words; false: none. Cheap where there is none. */
bool sk__door_take_trouble(sk__door *self, char ret_text[SK_DOOR_TEXT]);

#endif
