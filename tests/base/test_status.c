#include "core/base/log.h"
#include "core/base/status.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

Test(status, every_code_has_its_own_value_and_text) {
    static const struct {
        int         value;
        const char *text;
    } rows[] = {
#define ROW(code, value, text) {code, text},
        SK_STATUS_LIST(ROW)
#undef ROW
    };
    for (int i = 0; i < SK_COUNT(rows); i++) {
        cr_assert_str_eq(sk_status_text((sk_status)rows[i].value), rows[i].text);
        cr_assert_eq(rows[i].value, -i, "codes count down from SK_OK = 0; they are written into messages");
        for (int j = 0; j < i; j++) cr_assert_str_neq(rows[i].text, rows[j].text);
    }
}

Test(status, an_unknown_code_has_a_text_too) {
    cr_assert_str_eq(sk_status_text((sk_status)-99), "unknown status");
    cr_assert_str_eq(sk_status_text((sk_status)1), "unknown status");
}

Test(error, fail_fills_all_fields) {
    sk_error  err = {0};
    int       line = __LINE__ + 1;
    sk_status status = SK_FAIL(&err, SK_EINVAL, "n_envs must be > 0, got %d", -3);
    cr_assert_eq(status, SK_EINVAL);
    cr_assert_eq(err.status, SK_EINVAL);
    cr_assert_eq(err.line, line);
    cr_assert_str_eq(err.file, __FILE__);
    cr_assert_str_eq(err.msg, "n_envs must be > 0, got -3");
}

Test(error, null_is_accepted) {
    cr_assert_eq(SK_FAIL(NULL, SK_EIO, "unheard"), SK_EIO);
    sk_error_prefix(NULL, "nowhere");
}

Test(error, a_long_message_is_cut_and_ended) {
    sk_error err;
    memset(&err, 0x5a, sizeof err);
    (void)SK_FAIL(&err, SK_EIO, "%0700d", 1);
    cr_assert_eq(strlen(err.msg), sizeof err.msg - 1);
    cr_assert_eq(err.msg[0], '0');
}

Test(error, prefixes_pile_up_as_it_travels) {
    sk_error err = {0};
    (void)SK_FAIL(&err, SK_EIO, "no space");
    sk_error_prefix(&err, "run %d", 7);
    sk_error_prefix(&err, "train");
    cr_assert_str_eq(err.msg, "train: run 7: no space");
    cr_assert_eq(err.status, SK_EIO);
}

Test(error, a_prefix_never_writes_beyond_the_message) {
    sk_error err = {0};
    (void)SK_FAIL(&err, SK_EIO, "%0400d", 1);
    sk_error_prefix(&err, "%0200d", 2); /* does not fit with the old message: cut */
    cr_assert_eq(strlen(err.msg), sizeof err.msg - 1);
    sk_error_prefix(&err, "%0600d", 3); /* does not fit at all */
    cr_assert_eq(strlen(err.msg), sizeof err.msg - 1);
}

static sk_status fail_if(int fail, sk_error *reterr) {
    return fail ? SK_FAIL(reterr, SK_ETIMEOUT, "asked to") : SK_OK;
}

static sk_status try_both(int fail_first, int fail_second, int *ret_n_done, sk_error *reterr) {
    *ret_n_done = 0;
    SK_TRY(fail_if(fail_first, reterr));
    *ret_n_done = 1;
    SK_TRY(fail_if(fail_second, reterr));
    *ret_n_done = 2;
    return SK_OK;
}

static sk_status goto_fail(int fail, int *ret_cleaned, sk_error *reterr) {
    sk_status status = SK_OK;
    *ret_cleaned = 0;
    SK_TRY_GOTO(fail_if(fail, reterr));
    return SK_OK;
fail:
    *ret_cleaned = 1;
    return status;
}

Test(error, try_returns_at_the_first_failure) {
    sk_error err = {0};
    int      n_done = -1;
    cr_assert_eq(try_both(0, 0, &n_done, &err), SK_OK);
    cr_assert_eq(n_done, 2);
    cr_assert_eq(try_both(1, 0, &n_done, &err), SK_ETIMEOUT);
    cr_assert_eq(n_done, 0);
    cr_assert_eq(try_both(0, 1, &n_done, &err), SK_ETIMEOUT);
    cr_assert_eq(n_done, 1);
}

Test(error, try_goto_keeps_the_status) {
    int cleaned = -1;
    cr_assert_eq(goto_fail(1, &cleaned, NULL), SK_ETIMEOUT);
    cr_assert_eq(cleaned, 1);
    cr_assert_eq(goto_fail(0, &cleaned, NULL), SK_OK);
    cr_assert_eq(cleaned, 0);
}

/* A class with the destroy that SK_AUTO expects. */
typedef struct thing {
    int *n_destroyed;
} thing;

static void thing_destroy(thing **self_p) {
    if (!*self_p) return;
    ++*(*self_p)->n_destroyed;
    free(*self_p);
    *self_p = NULL;
}

static void make_thing(int *n_destroyed, thing **ret_thing) {
    SK_AUTO(thing) made = malloc(sizeof *made);
    cr_assert_not_null(made);
    made->n_destroyed = n_destroyed;
    if (!ret_thing) return;
    *ret_thing = made; /* given away: the cleanup then sees NULL */
    made = NULL;
}

Test(status, auto_destroys_unless_given_away) {
    int    n_destroyed = 0;
    thing *kept = NULL;
    make_thing(&n_destroyed, NULL);
    cr_assert_eq(n_destroyed, 1);
    make_thing(&n_destroyed, &kept);
    cr_assert_eq(n_destroyed, 1);
    thing_destroy(&kept);
    cr_assert_eq(n_destroyed, 2);
}

Test(status, assert_aborts, .signal = SIGABRT) { SK_ASSERT(1 + 1 == 3); }

Test(status, assert_does_not_steal_a_following_else) {
    int reached = 0;
    if (reached) SK_ASSERT(0);
    else reached = 1;
    cr_assert_eq(reached, 1);
}

/* ---- log ---- */

typedef struct heard {
    int          n, n_inside;
    sk_log_level level;
    char         line[2048];
} heard;

static void hear(void *user, sk_log_level level, const char *line) {
    heard *self = user;
    cr_assert_eq(++self->n_inside, 1, "calls of the sink overlap");
    self->n++;
    self->level = level;
    strcpy(self->line, line);
    self->n_inside--;
}

Test(log, drops_everything_at_start, .init = cr_redirect_stderr) {
    sk_log(SK_LOG_ERROR, "nobody hears %d", 1);
    fflush(stderr);
    cr_assert_stderr_eq_str("");
}

Test(log, hands_finished_lines_to_the_sink) {
    heard ears = {0};
    sk_log_set_sink(hear, &ears);
    sk_log(SK_LOG_WARN, "env %s: %d steps", "CartPole-v1", 500);
    cr_assert_eq(ears.n, 1);
    cr_assert_eq(ears.level, SK_LOG_WARN);
    cr_assert_str_eq(ears.line, "env CartPole-v1: 500 steps");
    sk_log_set_sink(NULL, NULL);
    sk_log(SK_LOG_WARN, "after");
    cr_assert_eq(ears.n, 1);
}

Test(log, cuts_a_long_line_at_1023_bytes) {
    heard ears = {0};
    sk_log_set_sink(hear, &ears);
    sk_log(SK_LOG_INFO, "%01500d", 1);
    cr_assert_eq(strlen(ears.line), 1023);
    sk_log_set_sink(NULL, NULL);
}

static void *talk(void *unused) {
    for (int i = 0; i < 1000; i++) sk_log(SK_LOG_DEBUG, "line %d", i);
    return unused;
}

Test(log, never_overlaps_calls_from_several_threads) {
    heard     ears = {0};
    pthread_t threads[4];
    sk_log_set_sink(hear, &ears);
    for (int i = 0; i < 4; i++) cr_assert_eq(pthread_create(&threads[i], NULL, talk, NULL), 0);
    for (int i = 0; i < 4; i++) cr_assert_eq(pthread_join(threads[i], NULL), 0);
    cr_assert_eq(ears.n, 4000);
    sk_log_set_sink(NULL, NULL);
}
