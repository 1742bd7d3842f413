/* zmq_lib: libzmq, opened when it is first needed: a program that makes no link does not load it. <zmq.h> gives types
 * and numbers only; its functions are called through the table, as zmq->socket(...) for zmq_socket(...). They set errno.
 *
 * Threads: any. */
#ifndef SK_TRANSPORT_ZMQ_LIB_H
#define SK_TRANSPORT_ZMQ_LIB_H
#include "core/base/status.h"
#include <zmq.h>

#define SK_ZMQ_FUNCTIONS(X)                                                                                  \
    X(ctx_new)                                                                                               \
    X(ctx_set)                                                                                               \
    X(ctx_shutdown)                                                                                          \
    X(ctx_term)                                                                                              \
    X(socket)                                                                                                \
    X(close)                                                                                                 \
    X(setsockopt)                                                                                            \
    X(getsockopt)                                                                                            \
    X(bind)                                                                                                  \
    X(connect)                                                                                               \
    X(send)                                                                                                  \
    X(poll)                                                                                                  \
    X(socket_monitor)                                                                                        \
    X(msg_init)                                                                                              \
    X(msg_init_size)                                                                                         \
    X(msg_data)                                                                                              \
    X(msg_size)                                                                                              \
    X(msg_more)                                                                                              \
    X(msg_send)                                                                                              \
    X(msg_recv)                                                                                              \
    X(msg_close)                                                                                             \
    X(strerror)                                                                                              \
    X(has)                                                                                                   \
    X(version)

typedef struct sk_zmq_lib {
#define SK_ZMQ_FIELD(name) __typeof__(&zmq_##name) name;
    SK_ZMQ_FUNCTIONS(SK_ZMQ_FIELD)
#undef SK_ZMQ_FIELD
} sk_zmq_lib;

/* The table, for as long as the program runs. SK_ENOTFOUND: there is no libzmq (names the package that has it);
 * SK_EVERSION: it is too old; SK_EUNSUPPORTED: it cannot encrypt. */
SK_NODISCARD sk_status sk_zmq_lib_get(const sk_zmq_lib **ret_lib, sk_error *reterr);

#endif
