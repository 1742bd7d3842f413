/* expression: the parser. Recursive descent over the grammar in expression.h; every rule returns where its value lies,
 * having appended the instructions that compute it. */
#include "envs/mujoco/expression.h"

#include "core/base/config.h"
#include "envs/mujoco/expression_program.h"

#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct parser {
    sk_expr             *out;
    const char          *text;
    const sk_expr_scope *scope;
    int                  at;    /* next byte of text */
    int                  depth;
    sk_error            *reterr;
} parser;

typedef sk_expr_place place;

static sk_status parse_or(parser *self, place *ret);

/* ---- messages ---- */

static bool is_letter(char c) { return c == '_' || (unsigned char)((c | 32) - 'a') < 26; }
static bool is_digit(char c) { return (unsigned char)(c - '0') < 10; }

/* "column 7: ..." of the byte `at`. */
static sk_status fail_at(const parser *self, int at, const char *fmt, ...) SK_PRINTF(3, 4);
static sk_status fail_at(const parser *self, int at, const char *fmt, ...) {
    char    words[sizeof(sk_error) - 64];
    int     column = 1;
    va_list args;
    for (int i = 0; i < at; i++) column += ((unsigned char)self->text[i] & 0xc0) != 0x80;
    va_start(args, fmt);
    vsnprintf(words, sizeof words, fmt, args);
    va_end(args);
    return SK_FAIL(self->reterr, SK_ECONFIG, "column %d: %.400s", column, words);
}

/* The word or sign at the parser's place, in quotes, or "the end". */
static void got_words(const parser *self, char *ret, size_t size) {
    const char *s = self->text + self->at;
    int         n = 0;
    while (n < 24 && (is_letter(s[n]) || is_digit(s[n]) || (unsigned char)s[n] >= 0x80)) n++;
    if (n == 0) n = 1 + (s[0] && s[1] == '=');
    if (!*s) snprintf(ret, size, "the end");
    else snprintf(ret, size, "\"%.*s\"", n, s);
}

static sk_status unexpected(const parser *self, const char *wanted) {
    char        got[40];
    const char *s = self->text + self->at, *hint = "";
    got_words(self, got, sizeof got);
    if (s[0] == '=' && s[1] != '=') hint = " (a comparison is ==)";
    else if (s[0] == '&') hint = " (write: and)";
    else if (s[0] == '|') hint = " (write: or)";
    else if (s[0] == '!' && s[1] != '=') hint = " (write: not)";
    else if (s[0] == '*' && self->at > 0 && s[-1] == '*') hint = " (a power is ^)";
    return fail_at(self, self->at, "got %s, wanted %s%s", got, wanted, hint);
}

static sk_status no_memory(const parser *self) {
    return SK_FAIL(self->reterr, SK_ENOMEM, "out of memory for an expression");
}

/* ---- words and signs ---- */

static void skip_space(parser *self) {
    while (self->text[self->at] == ' ' || self->text[self->at] == '\t' || self->text[self->at] == '\n') self->at++;
}

/* Go past `sign` if it is what comes next. */
static bool take(parser *self, const char *sign) {
    skip_space(self);
    size_t size = strlen(sign);
    if (strncmp(self->text + self->at, sign, size) != 0) return false;
    self->at += (int)size;
    return true;
}

/* Bytes of the word at `at`: a letter, then letters and digits. */
static int word_size(const parser *self, int at) {
    const char *s = self->text + at;
    int         n = 0;
    if (!is_letter(s[0])) return 0;
    while (is_letter(s[n]) || is_digit(s[n])) n++;
    return n;
}

static bool take_word(parser *self, const char *word) {
    skip_space(self);
    int n = word_size(self, self->at);
    if ((size_t)n != strlen(word) || strncmp(self->text + self->at, word, (size_t)n) != 0) return false;
    self->at += n;
    return true;
}

static sk_status expect(parser *self, const char *sign, const char *wanted) {
    return take(self, sign) ? SK_OK : unexpected(self, wanted);
}

static sk_status copy_word(const parser *self, int at, int n, char ret_word[SK_EXPR_WORD_MAX]) {
    if (n >= SK_EXPR_WORD_MAX)
        return fail_at(self, at, "the name is longer than %d bytes", SK_EXPR_WORD_MAX - 1);
    memcpy(ret_word, self->text + at, (size_t)n);
    ret_word[n] = '\0';
    return SK_OK;
}

/* ---- code ---- */

/* Room for one more of `size` bytes each in *items. */
static bool make_room(void **items, int n, int *room, size_t size) {
    if (n < *room) return true;
    int   wanted = *room ? 2 * *room : 32;
    void *grown = realloc(*items, (size_t)wanted * size);
    if (!grown) return false;
    *items = grown;
    *room = wanted;
    return true;
}

/* `n` doubles of memory that hold `value` at the beginning. */
static sk_status allot(parser *self, int n, double value, int *ret_offset) {
    sk_expr *out = self->out;
    if (n > SK_EXPR_SIZE_MAX - out->memory_size)
        return fail_at(self, self->at, "the expressions need more than %d numbers", SK_EXPR_SIZE_MAX);
    *ret_offset = out->memory_size;
    for (int i = 0; i < n; i++) {
        if (!make_room((void **)&out->image, out->memory_size, &out->image_room, sizeof *out->image))
            return no_memory(self);
        out->image[out->memory_size++] = value;
    }
    return SK_OK;
}

/* Append an instruction whose result has `length` elements. Arguments of length 1 go with every element. */
static sk_status emit(parser *self, sk_expr_op op, const place *args, int n_args, int length, place *ret) {
    sk_expr            *out = self->out;
    sk_expr_instruction in = {.op = op, .n = op >= SK_OP_SUM ? args[0].length : length};
    SK_TRY(allot(self, length, 0.0, &in.to));
    if (op == SK_OP_RATE) {
        in.kept = out->kept_size;
        out->kept_size += length; /* no more than memory_size */
    }
    for (int i = 0; i < n_args; i++)
        in.arg[i] = (sk_expr_operand){args[i].base, args[i].offset, args[i].length > 1};
    if (!make_room((void **)&out->code, out->n_code, &out->code_room, sizeof *out->code)) return no_memory(self);
    out->code[out->n_code++] = in;
    *ret = (place){SK_EXPR_MEMORY, in.to, length};
    return SK_OK;
}

/* The common length of arguments. `at`: the sign or function that joins them. */
static sk_status join_lengths(const parser *self, int at, const place *args, int n, int *ret_length) {
    *ret_length = 1;
    for (int i = 0; i < n; i++) {
        if (args[i].length == 1 || args[i].length == *ret_length) continue;
        if (*ret_length != 1)
            return fail_at(self, at, "lengths %d and %d do not go together, wanted the same, or one of them 1",
                           *ret_length, args[i].length);
        *ret_length = args[i].length;
    }
    return SK_OK;
}

static sk_status emit_joined(parser *self, int at, sk_expr_op op, const place *args, int n, place *ret) {
    int length;
    SK_TRY(join_lengths(self, at, args, n, &length));
    return emit(self, op, args, n, length, ret);
}

/* ---- functions ---- */

static const struct {
    const char *name, *wants; /* its arguments, for messages */
    sk_expr_op  op;
    int         n_min, n_max;
} functions[] = {
    {"sum", "x", SK_OP_SUM, 1, 1},       {"mean", "x", SK_OP_MEAN, 1, 1},
    {"norm", "x", SK_OP_NORM, 1, 1},     {"abs", "x", SK_OP_ABS, 1, 1},
    {"clip", "x, low, high", SK_OP_CLIP, 3, 3},
    {"min", "x or x, y", SK_OP_MIN, 1, 2}, {"max", "x or x, y", SK_OP_MAX, 1, 2},
    {"sqrt", "x", SK_OP_SQRT, 1, 1},     {"exp", "x", SK_OP_EXP, 1, 1},
    {"log", "x", SK_OP_LOG, 1, 1},       {"tanh", "x", SK_OP_TANH, 1, 1},
    {"sin", "x", SK_OP_SIN, 1, 1},       {"cos", "x", SK_OP_COS, 1, 1},
    {"atan2", "y, x", SK_OP_ATAN2, 2, 2}, {"square", "x", SK_OP_SQUARE, 1, 1},
    {"rate", "x", SK_OP_RATE, 1, 1},     {"any", "x", SK_OP_ANY, 1, 1},
    {"all", "x", SK_OP_ALL, 1, 1},
};

const char *const *sk_expr_functions(void) {
    static const char *const names[] = {"sum", "mean", "norm", "abs",    "clip",   "min",  "max", "sqrt", "exp", "log",
                                        "tanh", "sin", "cos",  "atan2", "square", "rate", "any", "all",  NULL};
    return names;
}

static int find_function(const char *name) {
    for (int f = 0; f < SK_COUNT(functions); f++) {
        if (strcmp(functions[f].name, name) == 0) return f;
    }
    return -1;
}

static sk_status unknown_function(const parser *self, int at, const char *name) {
    const char *near = sk_nearest_name(name, sk_expr_functions(), SK_COUNT(functions));
    if (near) return fail_at(self, at, "there is no function \"%s\"; did you mean \"%s\"?", name, near);
    char known[256] = "";
    for (int f = 0, used = 0; f < SK_COUNT(functions); f++)
        used += snprintf(known + used, sizeof known - (size_t)used, " %s", functions[f].name);
    return fail_at(self, at, "there is no function \"%s\"; known:%s", name, known);
}

/* Behind "name(". */
static sk_status parse_call(parser *self, int at, const char *name, place *ret) {
    place args[SK_EXPR_ARGS_MAX];
    int   n = 0, f = find_function(name);
    if (f < 0) return unknown_function(self, at, name);
    do {
        if (n == functions[f].n_max) break;
        SK_TRY(parse_or(self, &args[n++]));
    } while (take(self, ","));
    if (n < functions[f].n_min || self->text[self->at - 1] == ',')
        return fail_at(self, at, "%s takes %s arguments, wanted %s(%s)", name,
                       n < functions[f].n_min ? "more" : "fewer", name, functions[f].wants);
    SK_TRY(expect(self, ")", "\",\" or \")\""));
    sk_expr_op op = functions[f].op;
    if (n == 2 && op == SK_OP_MIN) op = SK_OP_MIN2;
    if (n == 2 && op == SK_OP_MAX) op = SK_OP_MAX2;
    if (op >= SK_OP_SUM) return emit(self, op, args, 1, 1, ret);
    return emit_joined(self, at, op, args, n, ret);
}

/* ---- numbers and names ---- */

/* Digits [. digits] [e [+-] digits], with a point whatever the program's locale is. */
static sk_status parse_number(parser *self, place *ret) {
    const char *s = self->text + self->at;
    char       *end;
    int         n = 0;
    while (is_digit(s[n])) n++;
    if (s[n] == '.') n++;
    while (is_digit(s[n])) n++;
    if ((s[n] | 32) == 'e') {
        int digits = n + 1 + (s[n + 1] == '+' || s[n + 1] == '-');
        if (is_digit(s[digits])) n = digits;
        while (n == digits && is_digit(s[digits])) n = ++digits;
    }
    locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* a constant object of the C library */
    if (!c_locale) return no_memory(self);
    double value = strtod_l(s, &end, c_locale);
    freelocale(c_locale);
    if (end != s + n || is_letter(s[n]) || !isfinite(value))
        return fail_at(self, self->at, "\"%.*s\" is not a number that can be used here", n + is_letter(s[n]), s);
    self->at += n;
    *ret = (place){SK_EXPR_MEMORY, 0, 1};
    return allot(self, 1, value, &ret->offset);
}

static bool is_kind(const sk_expr_scope *scope, const char *word) {
    for (const char *const *kind = scope->kinds; *kind; kind++) {
        if (strcmp(*kind, word) == 0) return true;
    }
    return false;
}

/* The object behind "kind/": a word, or any text in single quotes. */
static sk_status parse_object(parser *self, const char *kind, char ret_name[SK_EXPR_WORD_MAX]) {
    const char *s = self->text + self->at;
    int         n = 0;
    if (*s != '\'') {
        while (is_letter(s[n]) || is_digit(s[n])) n++;
        if (n == 0)
            return fail_at(self, self->at, "wanted the name of a %s behind \"%s/\", as a word or in 'quotes'", kind,
                           kind);
        SK_TRY(copy_word(self, self->at, n, ret_name));
        self->at += n;
        return SK_OK;
    }
    while (s[n + 1] && s[n + 1] != '\'') n++;
    if (!s[n + 1]) return fail_at(self, self->at, "the quote is not closed");
    SK_TRY(copy_word(self, self->at + 1, n, ret_name));
    self->at += n + 2;
    return SK_OK;
}

static sk_status parse_name(parser *self, place *ret) {
    char     name[SK_EXPR_WORD_MAX], kind[SK_EXPR_WORD_MAX] = "", part[SK_EXPR_WORD_MAX] = "";
    sk_error why = {0};
    int      at = self->at, n = word_size(self, at);
    SK_TRY(copy_word(self, at, n, name));
    self->at += n;
    if (self->text[self->at] == '(') {
        self->at++;
        return parse_call(self, at, name, ret);
    }
    if (self->text[self->at] == '/' && is_kind(self->scope, name)) {
        self->at++;
        strcpy(kind, name);
        SK_TRY(parse_object(self, kind, name));
    }
    if (self->text[self->at] == '.') {
        n = word_size(self, self->at + 1);
        if (n == 0) return fail_at(self, self->at, "wanted a word behind the point, as in body/torso.xpos");
        SK_TRY(copy_word(self, self->at + 1, n, part));
        self->at += 1 + n;
    }
    if (strcmp(name, "pi") == 0 && !*kind && !*part) {
        *ret = (place){SK_EXPR_MEMORY, 0, 1};
        return allot(self, 1, 3.14159265358979323846, &ret->offset);
    }
    sk_status status = self->scope->find(self->scope->of, kind, name, part, ret, &why);
    if (status == SK_ENOMEM) return SK_FAIL(self->reterr, status, "%s", why.msg);
    if (status != SK_OK) return fail_at(self, at, "%s", why.msg);
    SK_ASSERT(ret->base > SK_EXPR_MEMORY && ret->length >= 1 && ret->length <= SK_EXPR_SIZE_MAX);
    return SK_OK;
}

/* ---- slices ---- */

/* An integer, if one is there. */
static sk_status parse_index(parser *self, bool *ret_there, int *ret_index) {
    bool negative = take(self, "-");
    skip_space(self);
    int at = self->at, value = 0;
    for (; is_digit(self->text[self->at]); self->at++) {
        if (value > 100000000) return fail_at(self, at, "the index is too large");
        value = 10 * value + (self->text[self->at] - '0');
    }
    *ret_there = self->at > at;
    if (negative && !*ret_there) return unexpected(self, "an index: a whole number");
    *ret_index = negative ? -value : value;
    return SK_OK;
}

/* From the end if negative. The ends of a range may be `length` itself. */
static sk_status check_index(const parser *self, int at, int length, int max, int *index) {
    int given = *index;
    if (given < 0) *index += length;
    if (*index >= 0 && *index <= max) return SK_OK;
    return fail_at(self, at, "index %d is outside, the value has length %d", given, length);
}

/* Behind "[". */
static sk_status parse_slice(parser *self, place *value) {
    bool has_first, has_last;
    int  at = self->at, first, last, length = value->length;
    SK_TRY(parse_index(self, &has_first, &first));
    if (!take(self, ":")) {
        if (!has_first) return unexpected(self, "an index: a whole number, or a range i:j");
        SK_TRY(check_index(self, at, length, length - 1, &first));
        SK_TRY(expect(self, "]", "\"]\" or \":\""));
        *value = (place){value->base, value->offset + first, 1};
        return SK_OK;
    }
    SK_TRY(parse_index(self, &has_last, &last));
    if (!has_first) first = 0;
    if (!has_last) last = length;
    SK_TRY(check_index(self, at, length, length, &first));
    SK_TRY(check_index(self, at, length, length, &last));
    if (first >= last) return fail_at(self, at, "the range is empty, the value has length %d", length);
    SK_TRY(expect(self, "]", "\"]\""));
    *value = (place){value->base, value->offset + first, last - first};
    return SK_OK;
}

/* ---- operators ---- */

static sk_status deeper(parser *self) {
    if (self->depth++ < SK_EXPR_DEPTH_MAX) return SK_OK;
    return fail_at(self, self->at, "it is nested deeper than %d", SK_EXPR_DEPTH_MAX);
}

static sk_status parse_piece(parser *self, place *ret) {
    skip_space(self);
    const char *s = self->text + self->at;
    if (is_digit(s[0]) || (s[0] == '.' && is_digit(s[1]))) SK_TRY(parse_number(self, ret));
    else if (is_letter(s[0])) SK_TRY(parse_name(self, ret));
    else if (take(self, "(")) {
        SK_TRY(parse_or(self, ret));
        SK_TRY(expect(self, ")", "an operator or \")\""));
    } else return unexpected(self, "a number, a name, a function or \"(\"");
    while (take(self, "[")) SK_TRY(parse_slice(self, ret));
    return SK_OK;
}

static sk_status parse_unary(parser *self, place *ret) {
    place value, args[2];
    SK_TRY(deeper(self));
    if (take(self, "-")) {
        SK_TRY(parse_unary(self, &value));
        SK_TRY(emit(self, SK_OP_NEG, &value, 1, value.length, ret));
    } else {
        SK_TRY(parse_piece(self, &args[0]));
        int at = self->at;
        if (take(self, "^")) {
            SK_TRY(parse_unary(self, &args[1]));
            bool two = args[1].base == SK_EXPR_MEMORY && args[1].length == 1 &&
                       self->out->image[args[1].offset] == 2.0; /* results are 0 there, so it is a constant */
            if (two) SK_TRY(emit(self, SK_OP_SQUARE, args, 1, args[0].length, ret));
            else SK_TRY(emit_joined(self, at, SK_OP_POW, args, 2, ret));
        } else *ret = args[0];
    }
    self->depth--;
    return SK_OK;
}

/* The sign and what it does; longer signs first. */
typedef struct infix {
    const char *sign;
    sk_expr_op  op;
} infix;
static const infix products[] = {{"*", SK_OP_MUL}, {"/", SK_OP_DIV}}, sums[] = {{"+", SK_OP_ADD}, {"-", SK_OP_SUB}},
                   comparisons[] = {{"<=", SK_OP_LE}, {">=", SK_OP_GE}, {"==", SK_OP_EQ},
                                    {"!=", SK_OP_NE}, {"<", SK_OP_LT},  {">", SK_OP_GT}};

static const infix *take_infix(parser *self, const infix *of, int n) {
    for (int i = 0; i < n; i++) {
        if (take(self, of[i].sign)) return &of[i];
    }
    return NULL;
}

static sk_status parse_product(parser *self, place *ret) {
    place        args[2];
    const infix *found;
    SK_TRY(parse_unary(self, &args[0]));
    while ((found = take_infix(self, products, SK_COUNT(products)))) {
        int at = self->at - 1;
        SK_TRY(parse_unary(self, &args[1]));
        SK_TRY(emit_joined(self, at, found->op, args, 2, &args[0]));
    }
    *ret = args[0];
    return SK_OK;
}

static sk_status parse_sum(parser *self, place *ret) {
    place        args[2];
    const infix *found;
    SK_TRY(parse_product(self, &args[0]));
    while ((found = take_infix(self, sums, SK_COUNT(sums)))) {
        int at = self->at - 1;
        SK_TRY(parse_product(self, &args[1]));
        SK_TRY(emit_joined(self, at, found->op, args, 2, &args[0]));
    }
    *ret = args[0];
    return SK_OK;
}

static sk_status parse_compare(parser *self, place *ret) {
    place        args[2];
    const infix *found;
    SK_TRY(parse_sum(self, ret));
    skip_space(self);
    int at = self->at;
    if (!(found = take_infix(self, comparisons, SK_COUNT(comparisons)))) return SK_OK;
    args[0] = *ret;
    SK_TRY(parse_sum(self, &args[1]));
    SK_TRY(emit_joined(self, at, found->op, args, 2, ret));
    skip_space(self);
    at = self->at;
    if (!take_infix(self, comparisons, SK_COUNT(comparisons))) return SK_OK;
    return fail_at(self, at, "comparisons do not chain; write: a < b and b < c");
}

static sk_status parse_not(parser *self, place *ret) {
    if (!take_word(self, "not")) return parse_compare(self, ret);
    place value;
    SK_TRY(deeper(self));
    SK_TRY(parse_not(self, &value));
    self->depth--;
    return emit(self, SK_OP_NOT, &value, 1, value.length, ret);
}

static sk_status parse_and(parser *self, place *ret) {
    place args[2];
    SK_TRY(parse_not(self, &args[0]));
    while (take_word(self, "and")) {
        int at = self->at - 3;
        SK_TRY(parse_not(self, &args[1]));
        SK_TRY(emit_joined(self, at, SK_OP_AND, args, 2, &args[0]));
    }
    *ret = args[0];
    return SK_OK;
}

static sk_status parse_or(parser *self, place *ret) {
    place args[2];
    SK_TRY(deeper(self));
    SK_TRY(parse_and(self, &args[0]));
    while (take_word(self, "or")) {
        int at = self->at - 2;
        SK_TRY(parse_and(self, &args[1]));
        SK_TRY(emit_joined(self, at, SK_OP_OR, args, 2, &args[0]));
    }
    *ret = args[0];
    self->depth--;
    return SK_OK;
}

/* ---- public ---- */

sk_status sk_expr_add(sk_expr *self, const char *text, const sk_expr_scope *scope, sk_expr_place *ret_place,
                      sk_error *reterr) {
    SK_ASSERT(self && text && scope && scope->kinds && ret_place);
    parser p = {.out = self, .text = text, .scope = scope, .reterr = reterr};
    if (strlen(text) > SK_EXPR_TEXT_MAX)
        return fail_at(&p, SK_EXPR_TEXT_MAX, "an expression has at most %d bytes", SK_EXPR_TEXT_MAX);
    SK_TRY(parse_or(&p, ret_place));
    skip_space(&p);
    return text[p.at] ? unexpected(&p, "an operator or the end") : SK_OK;
}

const char *sk_expr_label(const char *text, const char **ret_label, int *ret_size) {
    parser p = {.text = text};
    skip_space(&p);
    int from = p.at, n = word_size(&p, from);
    *ret_label = text + from;
    *ret_size = 0;
    p.at += n;
    skip_space(&p);
    if (n == 0 || text[p.at] != '=' || text[p.at + 1] == '=') return text;
    *ret_size = n;
    return text + p.at + 1;
}
