/* skiff/status.h: how every function of skiff says that something went wrong. Stands alone.
 *
 * Three channels, never mixed (docs/design.md, "Errors"):
 *   1. a programmer's mistake      -> SK_ASSERT, always on, prints file:line and aborts
 *   2. a run-time failure          -> a negative sk_status, with its story in an sk_error
 *   3. numeric trouble in training -> counted in metrics, not an error code
 *
 * Threads: everything here is free of state; an sk_error belongs to its caller. */
#ifndef SKIFF_STATUS_H
#define SKIFF_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

/* What the installed headers declare can be seen from outside the library and by plugins. */
#define SK_API __attribute__((visibility("default")))

/* One line per status: code, value, what it means to a person. */
#define SK_STATUS_LIST(X)                                                                          \
    X(SK_OK, 0, "ok")                                                                              \
    X(SK_EINVAL, -1, "invalid argument")                                                           \
    X(SK_ENOMEM, -2, "out of memory")                                                              \
    X(SK_EIO, -3, "input/output error")                                                            \
    X(SK_ENOTFOUND, -4, "not found")                                                               \
    X(SK_ETIMEOUT, -5, "timed out")                                                                \
    X(SK_EDEAD, -6, "an actor or its process has died")                                            \
    X(SK_ECORRUPT, -7, "damaged or foreign data")                                                  \
    X(SK_EVERSION, -8, "made by an incompatible version")                                          \
    X(SK_ECONFIG, -9, "configuration error")                                                       \
    X(SK_EENV, -10, "the environment failed")                                                      \
    X(SK_ENUMERIC, -11, "not a finite number")                                                     \
    X(SK_EINTERRUPTED, -12, "interrupted")                                                         \
    X(SK_ELIMIT, -13, "a limit was reached")                                                       \
    X(SK_EUNSUPPORTED, -14, "not supported")                                                       \
    X(SK_ECANCELED, -15, "cancelled")                                                              \
    X(SK_ELOST, -16, "an object was lost and could not be made again")

typedef enum sk_status {
#define SK_STATUS_ENUM(code, value, text) code = (value),
    SK_STATUS_LIST(SK_STATUS_ENUM)
#undef SK_STATUS_ENUM
} sk_status;

typedef struct sk_error {
    sk_status   status; /* SK_OK until something failed                              */
    int         line;   /* where SK_FAIL stood                                       */
    const char *file;   /* static storage                                            */
    char        msg[512]; /* what, where, got, wanted; one line, no trailing newline */
} sk_error;

#define SK_NODISCARD __attribute__((warn_unused_result))
#define SK_PRINTF(fmt_at, args_at) __attribute__((format(printf, fmt_at, args_at)))

/* The static text of a status ("timed out"). Never NULL. */
SK_API const char *sk_status_text(sk_status status);

/* Write `*reterr` (NULL is fine) and return `status`. Use SK_FAIL. */
SK_API sk_status sk_error_set(sk_error *reterr, sk_status status, const char *file, int line,
                       const char *fmt, ...) SK_PRINTF(5, 6);

/* Put "where: " in front of an error's message, as it travels up. NULL is fine. */
SK_API void sk_error_prefix(sk_error *reterr, const char *fmt, ...) SK_PRINTF(2, 3);

/* Print file:line and the condition to stderr, then abort. Use SK_ASSERT. */
SK_API __attribute__((noreturn)) void sk_assert_fail(const char *file, int line, const char *cond);

/* return SK_FAIL(reterr, SK_EINVAL, "n_envs must be > 0, got %d", n); */
#define SK_FAIL(reterr, status, ...)                                                               \
    sk_error_set((reterr), (status), __FILE__, __LINE__, __VA_ARGS__)

/* Return from the enclosing function if `call` failed. */
#define SK_TRY(call)                                                                               \
    do {                                                                                           \
        sk_status sk_try_status_ = (call);                                                         \
        if (sk_try_status_ != SK_OK) return sk_try_status_;                                        \
    } while (0)

/* Jump to `fail:` if `call` failed; a local `sk_status status` keeps the reason. */
#define SK_TRY_GOTO(call)                                                                          \
    do {                                                                                           \
        status = (call);                                                                           \
        if (status != SK_OK) goto fail;                                                            \
    } while (0)

#define SK_ASSERT(cond)                                                                            \
    do {                                                                                           \
        if (!(cond)) sk_assert_fail(__FILE__, __LINE__, #cond);                                    \
    } while (0)

/* SK_AUTO(sk_env) env = NULL; destroys on leaving the scope (type_destroy takes type **). */
#define SK_AUTO(type) __attribute__((cleanup(type##_destroy))) type *

#define SK_COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

#ifdef __cplusplus
}
#endif
#endif
