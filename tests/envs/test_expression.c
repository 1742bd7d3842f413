/* Expressions: what they compute, what they refuse and in which words, and that no text harms the parser. */
#include "core/base/rng.h"
#include "envs/mujoco/expression.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- a world of three names: x = [1, 2, 3], y = [-4, 5], one = 7; tool/'left arm'.pos = [10, 20, 30] ---- */

enum { X = 1, Y, ONE, TOOL, N_BASES };

static double x_values[] = {1, 2, 3}, y_values[] = {-4, 5}, one_values[] = {7}, tool_values[] = {10, 20, 30};
static const char *const kinds[] = {"tool", NULL};

static sk_status find(void *of, const char *kind, const char *name, const char *part, sk_expr_place *ret,
                      sk_error *reterr) {
    (void)of;
    if (!*kind && !*part && strcmp(name, "x") == 0) *ret = (sk_expr_place){X, 0, 3};
    else if (!*kind && !*part && strcmp(name, "y") == 0) *ret = (sk_expr_place){Y, 0, 2};
    else if (!*kind && !*part && strcmp(name, "one") == 0) *ret = (sk_expr_place){ONE, 0, 1};
    else if (*kind && strcmp(name, "left arm") == 0 && strcmp(part, "pos") == 0) *ret = (sk_expr_place){TOOL, 0, 3};
    else if (*kind && strcmp(name, "drill") == 0 && !*part) *ret = (sk_expr_place){TOOL, 1, 1};
    else return SK_FAIL(reterr, SK_ENOTFOUND, "there is no %s \"%s\"", *kind ? kind : "name", name);
    return SK_OK;
}

static const sk_expr_scope scope = {.kinds = kinds, .find = find};

/* ---- running ---- */

enum { MEMORY_MAX = 4096 };

/* All memory is NaN before, so that what nobody wrote is seen. */
typedef struct rig {
    sk_expr      *expr;
    sk_expr_place place;
    double        memory[MEMORY_MAX], kept[MEMORY_MAX], *bases[N_BASES];
} rig;

static void rig_init(rig *self, const char *text) {
    sk_error error = {0};
    *self = (rig){0};
    for (int i = 0; i < MEMORY_MAX; i++) self->memory[i] = self->kept[i] = NAN;
    cr_assert_eq(sk_expr_create(&self->expr, &error), SK_OK);
    cr_assert_eq(sk_expr_add(self->expr, text, &scope, &self->place, &error), SK_OK, "\"%s\": %s", text, error.msg);
    cr_assert_leq(sk_expr_memory_size(self->expr), MEMORY_MAX);
    sk_expr_begin(self->expr, self->memory);
    double *bases[N_BASES] = {self->memory, x_values, y_values, one_values, tool_values};
    memcpy(self->bases, bases, sizeof bases);
}

static const double *rig_run(rig *self, bool first, double dt) {
    sk_expr_run_params params = {.bases = self->bases, .kept = self->kept, .dt = dt, .first = first};
    sk_expr_run(self->expr, &params);
    return self->bases[self->place.base] + self->place.offset;
}

static void gives(const char *text, int n, const double *wanted) {
    rig *self = malloc(sizeof *self);
    rig_init(self, text);
    cr_assert_eq(self->place.length, n, "\"%s\" has length %d, wanted %d", text, self->place.length, n);
    const double *got = rig_run(self, true, 1.0);
    for (int i = 0; i < n; i++) {
        cr_assert(fabs(got[i] - wanted[i]) <= 1e-15 * fabs(wanted[i]) || got[i] == wanted[i],
                  "\"%s\"[%d] is %.17g, wanted %.17g", text, i, got[i], wanted[i]);
    }
    sk_expr_destroy(&self->expr);
    free(self);
}

static void is(const char *text, double wanted) { gives(text, 1, &wanted); }

static void refuses(const char *text, const char *wanted) {
    sk_expr      *expr = NULL;
    sk_expr_place place;
    sk_error      error = {0};
    cr_assert_eq(sk_expr_create(&expr, &error), SK_OK);
    cr_assert_eq(sk_expr_add(expr, text, &scope, &place, &error), SK_ECONFIG, "\"%s\" is taken", text);
    cr_assert_str_eq(error.msg, wanted, "\"%s\": %s", text, error.msg);
    sk_expr_destroy(&expr);
}

/* ---- values ---- */

Test(expression, binds_powers_before_signs_before_products_before_sums) {
    is("1 + 2 * 3", 7);
    is("(1 + 2) * 3", 9);
    is("8 - 3 - 2", 3);
    is("16 / 4 / 2", 2);
    is("-3^2", -9);
    is("2^3^2", 512);
    is("2^-1", 0.5);
    is("-2 * -3", 6);
    is("- - 3", 3);
    is("1.5e2 + .5", 150.5);
    is("2e-1", 0.2);
    is("pi", 3.141592653589793);
}

Test(expression, works_element_by_element_and_with_numbers) {
    gives("x", 3, (double[]){1, 2, 3});
    gives("x * 2 + 1", 3, (double[]){3, 5, 7});
    gives("10 - x", 3, (double[]){9, 8, 7});
    gives("one - x / x", 3, (double[]){6, 6, 6});
    gives("x ^ 2", 3, (double[]){1, 4, 9});
    gives("x ^ 3", 3, (double[]){1, 8, 27});
    gives("2 ^ x", 3, (double[]){2, 4, 8});
    gives("-y", 2, (double[]){4, -5});
    gives("clip(x, 1.5, 2.5)", 3, (double[]){1.5, 2, 2.5});
    gives("clip(0, -x, x)", 3, (double[]){0, 0, 0});
}

Test(expression, has_functions) {
    is("sum(x)", 6);
    is("mean(x)", 2);
    is("norm(y)", sqrt(41));
    gives("abs(y)", 2, (double[]){4, 5});
    is("min(x)", 1);
    is("max(x)", 3);
    gives("min(x, 2)", 3, (double[]){1, 2, 2});
    gives("max(2, x)", 3, (double[]){2, 2, 3});
    gives("sqrt(x)", 3, (double[]){1, sqrt(2), sqrt(3)});
    gives("exp(x)", 3, (double[]){exp(1), exp(2), exp(3)});
    gives("log(x)", 3, (double[]){0, log(2), log(3)});
    gives("tanh(y)", 2, (double[]){tanh(-4), tanh(5)});
    gives("sin(x)", 3, (double[]){sin(1), sin(2), sin(3)});
    gives("cos(x)", 3, (double[]){cos(1), cos(2), cos(3)});
    gives("square(y)", 2, (double[]){16, 25});
    is("atan2(one, -1)", atan2(7, -1));
    is("any(x > 2)", 1);
    is("any(x > 3)", 0);
    is("all(x > 0)", 1);
    is("all(x > 1)", 0);
}

Test(expression, lists_every_function_it_has) {
    int n = 0;
    for (const char *const *name = sk_expr_functions(); *name; name++, n++) {
        char one[64], two[64], three[64];
        snprintf(one, sizeof one, "%s(x)", *name);
        snprintf(two, sizeof two, "%s(x, x)", *name);
        snprintf(three, sizeof three, "%s(x, x, x)", *name);
        const char *texts[] = {one, two, three};
        int         taken = 0;
        for (int i = 0; i < 3; i++) {
            sk_expr      *expr = NULL;
            sk_expr_place place;
            cr_assert_eq(sk_expr_create(&expr, NULL), SK_OK);
            taken += sk_expr_add(expr, texts[i], &scope, &place, NULL) == SK_OK;
            sk_expr_destroy(&expr);
        }
        cr_assert_gt(taken, 0, "%s", *name);
    }
    cr_assert_eq(n, 18);
}

Test(expression, compares_and_joins_truths) {
    gives("x < 2", 3, (double[]){1, 0, 0});
    gives("x <= 2", 3, (double[]){1, 1, 0});
    gives("x > 2", 3, (double[]){0, 0, 1});
    gives("x >= 2", 3, (double[]){0, 1, 1});
    gives("x == 2", 3, (double[]){0, 1, 0});
    gives("x != 2", 3, (double[]){1, 0, 1});
    gives("x < 2 or x > 2", 3, (double[]){1, 0, 1});
    gives("x > 1 and x < 3", 3, (double[]){0, 1, 0});
    gives("not x > 1", 3, (double[]){1, 0, 0});
    is("not 0 and 0", 0);
    is("1 or 1 and 0", 1);
    is("not (1 or 0)", 0);
    is("3 and 2", 1);
    is("1 + 1 < 3", 1);
}

Test(expression, cuts_slices_of_any_value) {
    is("x[0]", 1);
    is("x[-1]", 3);
    gives("x[1:]", 2, (double[]){2, 3});
    gives("x[:2]", 2, (double[]){1, 2});
    gives("x[0:3]", 3, (double[]){1, 2, 3});
    gives("x[:]", 3, (double[]){1, 2, 3});
    gives("x[-2:-1]", 1, (double[]){2});
    is("x[1:][1]", 3);
    is("(x * 10)[2]", 30);
    is("abs(y)[0]", 4);
    is("x[ 1 ]^2", 4);
    gives("x[:2] + y", 2, (double[]){-3, 7});
}

Test(expression, finds_objects_by_word_or_in_quotes) {
    gives("tool/'left arm'.pos", 3, (double[]){10, 20, 30});
    is("tool/'left arm'.pos[2] - tool/drill", 10);
    is("tool/drill/2", 10);
    is("one/7", 1);
    is("x[2]/one", 3.0 / 7);
}

Test(expression, takes_a_nan_for_no_order) {
    one_values[0] = NAN;
    is("one < 1 or one > 1 or one == one", 0);
    is("min(one, 1) == min(one, 1)", 0);
    is("max(one + x) == max(one + x)", 0);
    is("clip(one, 0, 1) == clip(one, 0, 1)", 0);
}

/* ---- rate ---- */

Test(expression, rate_is_the_change_by_time_and_zero_at_first) {
    rig *self = malloc(sizeof *self);
    rig_init(self, "rate(x) + 100 * rate(sum(y))");
    const double *got = rig_run(self, true, 0.5);
    for (int i = 0; i < 3; i++) cr_assert_eq(got[i], 0.0);
    x_values[1] += 3;
    y_values[0] += 1;
    got = rig_run(self, false, 0.5);
    cr_assert_float_eq(got[0], 200, 1e-12);
    cr_assert_float_eq(got[1], 206, 1e-12);
    got = rig_run(self, false, 0.5);
    cr_assert_float_eq(got[1], 0, 1e-12);
    cr_assert_eq(sk_expr_kept_size(self->expr), 4);
    sk_expr_destroy(&self->expr);
    free(self);
}

/* The right side of an `or` that is true anyway still sees every step. */
Test(expression, rate_is_never_skipped) {
    rig *self = malloc(sizeof *self);
    rig_init(self, "1 or rate(one) > 0");
    rig_run(self, true, 1.0);
    one_values[0] = 9;
    rig_run(self, false, 1.0);
    cr_assert_eq(self->kept[0], 9.0);
    sk_expr_destroy(&self->expr);
    free(self);
}

Test(expression, several_share_a_program_and_keep_apart) {
    sk_expr      *expr = NULL;
    sk_expr_place places[3];
    const char   *texts[] = {"x + 1", "rate(one)", "2"};
    double        memory[64], kept[1];
    cr_assert_eq(sk_expr_create(&expr, NULL), SK_OK);
    for (int i = 0; i < 3; i++) cr_assert_eq(sk_expr_add(expr, texts[i], &scope, &places[i], NULL), SK_OK);
    sk_expr_begin(expr, memory);
    double *bases[N_BASES] = {memory, x_values, y_values, one_values, tool_values};
    sk_expr_run_params params = {.bases = bases, .kept = kept, .dt = 1.0, .first = true};
    sk_expr_run(expr, &params);
    one_values[0] = 8;
    params.first = false;
    sk_expr_run(expr, &params);
    cr_assert_eq(memory[places[0].offset + 2], 4.0);
    cr_assert_eq(memory[places[1].offset], 1.0);
    cr_assert_eq(memory[places[2].offset], 2.0);
    sk_expr_destroy(&expr);
}

/* ---- labels ---- */

static void has_label(const char *text, const char *label, const char *rest) {
    const char *got;
    int         size;
    const char *body = sk_expr_label(text, &got, &size);
    cr_assert_eq((size_t)size, strlen(label), "\"%s\"", text);
    cr_assert_eq(strncmp(got, label, strlen(label)), 0, "\"%s\"", text);
    cr_assert_str_eq(body, rest);
}

Test(expression, has_a_label_before_a_single_equals_sign) {
    has_label("forward = rate(x)", "forward", " rate(x)");
    has_label(" a_1=2", "a_1", "2");
    has_label("x == 2", "", "x == 2");
    has_label("x[0] = 2", "", "x[0] = 2");
    has_label("= 2", "", "= 2");
    has_label("", "", "");
}

/* ---- refusals ---- */

Test(expression, says_where_and_what_was_wanted) {
    refuses("", "column 1: got the end, wanted a number, a name, a function or \"(\"");
    refuses("1 +", "column 4: got the end, wanted a number, a name, a function or \"(\"");
    refuses("1 2", "column 3: got \"2\", wanted an operator or the end");
    refuses("(1", "column 3: got the end, wanted an operator or \")\"");
    refuses("x)", "column 2: got \")\", wanted an operator or the end");
    refuses("x = 2", "column 3: got \"=\", wanted an operator or the end (a comparison is ==)");
    refuses("x && 2", "column 3: got \"&\", wanted an operator or the end (write: and)");
    refuses("x || 2", "column 3: got \"|\", wanted an operator or the end (write: or)");
    refuses("!x", "column 1: got \"!\", wanted a number, a name, a function or \"(\" (write: not)");
    refuses("x ** 2", "column 4: got \"*\", wanted a number, a name, a function or \"(\" (a power is ^)");
    refuses("1 < one < 3", "column 9: comparisons do not chain; write: a < b and b < c");
    refuses("2x", "column 1: \"2x\" is not a number that can be used here");
    refuses("0x10", "column 1: \"0x\" is not a number that can be used here");
    refuses("1e999", "column 1: \"1e999\" is not a number that can be used here");
    refuses("z", "column 1: there is no name \"z\"");
    refuses("1 + tool/saw", "column 5: there is no tool \"saw\"");
    refuses("tool/.pos", "column 6: wanted the name of a tool behind \"tool/\", as a word or in 'quotes'");
    refuses("tool/'left", "column 6: the quote is not closed");
    refuses("x.", "column 2: wanted a word behind the point, as in body/torso.xpos");
    refuses("\xc3\xa4 + 1", "column 1: got \"\xc3\xa4\", wanted a number, a name, a function or \"(\"");
    refuses("tool/'\xc3\xa4' + 1", "column 1: there is no tool \"\xc3\xa4\"");
    refuses("0 * tool/'\xc3\xa4\xc3\xa4'.p + w", "column 5: there is no tool \"\xc3\xa4\xc3\xa4\"");
}

Test(expression, refuses_calls_that_do_not_fit) {
    refuses("clp(x, 0, 1)", "column 1: there is no function \"clp\"; did you mean \"clip\"?");
    refuses("frobnicate(x)", "column 1: there is no function \"frobnicate\"; known: sum mean norm abs clip min max "
                             "sqrt exp log tanh sin cos atan2 square rate any all");
    refuses("clip(x, 0)", "column 1: clip takes more arguments, wanted clip(x, low, high)");
    refuses("sum(x, y)", "column 1: sum takes fewer arguments, wanted sum(x)");
    refuses("min(x, 1, 2)", "column 1: min takes fewer arguments, wanted min(x or x, y)");
    refuses("sum x", "column 1: there is no name \"sum\"");
    refuses("sum()", "column 5: got \")\", wanted a number, a name, a function or \"(\"");
}

Test(expression, refuses_lengths_that_differ) {
    refuses("x + y", "column 3: lengths 3 and 2 do not go together, wanted the same, or one of them 1");
    refuses("1 + x * y", "column 7: lengths 3 and 2 do not go together, wanted the same, or one of them 1");
    refuses("x < y", "column 3: lengths 3 and 2 do not go together, wanted the same, or one of them 1");
    refuses("x and y", "column 3: lengths 3 and 2 do not go together, wanted the same, or one of them 1");
    refuses("clip(1, x, y)", "column 1: lengths 3 and 2 do not go together, wanted the same, or one of them 1");
    refuses("x ^ y", "column 3: lengths 3 and 2 do not go together, wanted the same, or one of them 1");
}

Test(expression, refuses_slices_outside) {
    refuses("x[3]", "column 3: index 3 is outside, the value has length 3");
    refuses("x[-4]", "column 3: index -4 is outside, the value has length 3");
    refuses("x[1:4]", "column 3: index 4 is outside, the value has length 3");
    refuses("x[2:1]", "column 3: the range is empty, the value has length 3");
    refuses("x[3:]", "column 3: the range is empty, the value has length 3");
    refuses("x[]", "column 3: got \"]\", wanted an index: a whole number, or a range i:j");
    refuses("x[1.5]", "column 4: got \".\", wanted \"]\" or \":\"");
    refuses("x[1", "column 4: got the end, wanted \"]\" or \":\"");
    refuses("x[99999999999]", "column 3: the index is too large");
}

Test(expression, bounds_depth_length_and_names) {
    static char deep[4000];
    memset(deep, '(', 1000);
    refuses(deep, "column 33: it is nested deeper than 64"); /* a parenthesis takes two */
    memset(deep, '-', 1000);
    refuses(deep, "column 64: it is nested deeper than 64");
    for (int i = 0; i < 100; i++) memcpy(deep + 4 * i, "not ", 4);
    deep[400] = '\0';
    refuses(deep, "column 256: it is nested deeper than 64");
    memset(deep, 'a', 200);
    deep[200] = '\0';
    refuses(deep, "column 1: the name is longer than 127 bytes");
    memset(deep, ' ', 3000);
    refuses(deep, "column 2001: an expression has at most 2000 bytes");
}

/* ---- any text at all ---- */

/* Random sequences of tokens and, now and then, random bytes: each is taken or refused with a column, and what is
 * taken can be run. The sanitizer builds look for what this does wrong. */
Test(expression, survives_random_texts) {
    static const char *const tokens[] = {
        "x", "y", "one", "pi", "tool/", "tool/drill", "tool/'left arm'.pos", "'", ".", ".pos", "1", "0", "2.5", "1e3",
        "e", "(", ")", "(", ")", "[", "]", "[0]", "[1:]", "[-1]", ":", ",", "+", "-", "*", "/", "^", "<", "<=", "==",
        "!=", "=", " and ", " or ", " not ", "sum(", "clip(", "min(", "rate(", "norm(", "atan2(", "clip(x, 0, 1)", " ",
        "rate(x)", "99999999999", "\xc3\xa4", "\n", "\t"};
    uint64_t seed = 0;
    sk_pcg64 rng;
    int      taken = 0;
    rig     *self = malloc(sizeof *self);
    sk_pcg64_seed(&rng, seed);
    for (int t = 0; t < 60000; t++) {
        char text[600] = "";
        int  n = 1 + (int)sk_pcg64_below(&rng, 12);
        if (t % 50 == 0) n = 60; /* long ones */
        for (int i = 0; i < n; i++) strcat(text, tokens[sk_pcg64_below(&rng, SK_COUNT(tokens))]);
        if (t % 7 == 0) text[sk_pcg64_below(&rng, (uint32_t)strlen(text))] = (char)(1 + sk_pcg64_below(&rng, 255));
        sk_error error = {0};
        *self = (rig){0};
        cr_assert_eq(sk_expr_create(&self->expr, &error), SK_OK);
        sk_status status = sk_expr_add(self->expr, text, &scope, &self->place, &error);
        if (status == SK_OK) {
            taken++;
            cr_assert_leq(sk_expr_memory_size(self->expr), MEMORY_MAX);
            sk_expr_begin(self->expr, self->memory);
            double *bases[N_BASES] = {self->memory, x_values, y_values, one_values, tool_values};
            memcpy(self->bases, bases, sizeof bases);
            cr_assert(self->place.length >= 1 && self->place.length <= 3);
            rig_run(self, true, 0.1);
            rig_run(self, false, 0.1);
        } else {
            cr_assert_eq(status, SK_ECONFIG, "\"%s\"", text);
            cr_assert_eq(strncmp(error.msg, "column ", 7), 0, "\"%s\": %s", text, error.msg);
        }
        sk_expr_destroy(&self->expr);
    }
    cr_assert_gt(taken, 1000);
    free(self);
}

Test(expression, destroy_accepts_null) {
    sk_expr *expr = NULL;
    sk_expr_destroy(&expr);
    sk_expr_destroy(NULL);
}
