/* config_value: one declared key read from a YAML tree, and what to say when it does not fit. */
#include "core/base/config_internal.h"

#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* glibc keeps one constant object for "C", so this neither allocates nor fails. */
sk__locale sk__locale_enter(void) {
    sk__locale self = {.c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0)};
    if (self.c_locale) self.old = uselocale((locale_t)self.c_locale);
    return self;
}

void sk__locale_leave(sk__locale *self) {
    if (!self->c_locale) return;
    uselocale((locale_t)self->old);
    freelocale((locale_t)self->c_locale);
}

size_t sk__key_size(sk_key_type type) {
    switch (type) {
    case SK_KEY_BOOL: return sizeof(bool);
    case SK_KEY_INT: return sizeof(int64_t);
    case SK_KEY_FLOAT: return sizeof(double);
    case SK_KEY_STRING: return sizeof(const char *);
    case SK_KEY_ENUM: return sizeof(int);
    case SK_KEY_LIST: return sizeof(sk_int_list);
    case SK_KEY_SCHEDULE: return sizeof(sk_schedule);
    case SK_KEY_NUMBERS:
    case SK_KEY_STRINGS: return sizeof(sk_pairs);
    case SK_KEY_TEXTS: return sizeof(sk_texts);
    }
    return 0;
}

/* --- numbers as text --- */

/* [+-] digits [. digits] [e [+-] digits], at least one digit before the e: nothing else is a number
 * (no hexadecimal, no 1_000, no nan or inf). */
bool sk__text_is_number(const char *text) {
    static const char digits[] = "0123456789";
    const char       *s = text + (*text == '+' || *text == '-');
    size_t            whole = strspn(s, digits), fraction = 0;
    s += whole;
    if (*s == '.') {
        fraction = strspn(s + 1, digits);
        s += 1 + fraction;
    }
    if (whole + fraction == 0) return false;
    if (*s == 'e' || *s == 'E') {
        s += 1 + (s[1] == '+' || s[1] == '-');
        size_t exponent = strspn(s, digits);
        if (exponent == 0) return false;
        s += exponent;
    }
    return *s == '\0';
}

static bool parse_number(const char *text, double *ret_number) {
    if (!sk__text_is_number(text)) return false;
    *ret_number = strtod(text, NULL);
    return isfinite(*ret_number);
}

/* Exactly, also when it is written like a float (1e5, 2.50e1): digits without the point, then as many
 * tens as the exponent says. False if it is no number, not whole or beyond int64. */
static bool parse_int(const char *text, int64_t *ret_integer) {
    if (!sk__text_is_number(text)) return false;
    bool        negative = *text == '-';
    uint64_t    limit = negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX, value = 0;
    long        tens = 0;  /* value * 10^tens                                            */
    long        zeros = 0; /* zeros seen and not yet multiplied in: 1.000 needs none     */
    bool        after_point = false;
    const char *s = text + (*text == '+' || *text == '-');
    for (; *s && *s != 'e' && *s != 'E'; s++) {
        if (*s == '.') {
            after_point = true;
            continue;
        }
        tens -= after_point;
        if (*s == '0') {
            zeros++;
            continue;
        }
        for (; zeros > 0 && value > 0; zeros--) /* stops by itself: value grows tenfold */
            if (__builtin_mul_overflow(value, 10u, &value)) return false;
        zeros = 0;
        if (__builtin_mul_overflow(value, 10u, &value)) return false;
        if (__builtin_add_overflow(value, (uint64_t)(*s - '0'), &value)) return false;
    }
    if (value == 0) {
        *ret_integer = 0;
        return true;
    }
    if (*s) { /* strtol clamps an absurd exponent, and so does this */
        long exponent = strtol(s + 1, NULL, 10);
        tens += exponent > 1 << 24 ? 1 << 24 : exponent < -(1 << 24) ? -(1 << 24) : exponent;
    }
    tens += zeros;
    if (tens < 0) return false;
    for (; tens > 0; tens--)
        if (__builtin_mul_overflow(value, 10u, &value)) return false;
    if (value > limit) return false;
    *ret_integer = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

void sk__number_text(double number, char text[SK__NUMBER_TEXT]) {
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, SK__NUMBER_TEXT, "%.*g", digits, number);
        if (strtod(text, NULL) == number) return;
    }
}

const char *sk__choice_at(const char *choices, int i, size_t *ret_size) {
    for (const char *s = choices; s && i >= 0; i--) {
        *ret_size = strcspn(s, "|");
        if (i == 0) return s;
        s = s[*ret_size] ? s + *ret_size + 1 : NULL;
    }
    return NULL;
}

int sk__choice_find(const char *choices, const char *text) {
    size_t      size = 0;
    const char *choice;
    for (int i = 0; (choice = sk__choice_at(choices, i, &size)); i++)
        if (strlen(text) == size && !strncmp(choice, text, size)) return i;
    return -1;
}

/* --- parts of sentences --- */

void sk__words_quoted(const char *text, char words[SK__WORDS_MAX]) {
    enum { SHOWN = 120 };
    size_t size = strlen(text), n = size > SHOWN ? SHOWN : size, at = 0;
    while (n < size && n > 0 && (unsigned char)text[n] >> 6 == 2) n--; /* not inside a character */
    words[at++] = '"';
    for (size_t i = 0; i < n; i++)
        words[at++] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i];
    snprintf(words + at, SK__WORDS_MAX - at, "%s\"", n < size ? "..." : "");
}

void sk__words_range(const sk_key *key, char words[SK__WORDS_MAX]) {
    char low[SK__NUMBER_TEXT], high[SK__NUMBER_TEXT];
    sk__number_text(key->min, low);
    sk__number_text(key->max, high);
    /* A bound that the type has anyway is not worth a word. */
    bool has_low = key->min > (key->type == SK_KEY_INT || key->type == SK_KEY_LIST ? -0x1p63 : -DBL_MAX);
    bool has_high = key->max < (key->type == SK_KEY_INT || key->type == SK_KEY_LIST ? 0x1p63 : DBL_MAX);
    words[0] = '\0';
    if (key->min == 0 && key->max == 0) return;
    if (has_low && has_high)
        snprintf(words, SK__WORDS_MAX, "in [%s, %s]", low, high);
    else if (has_low)
        snprintf(words, SK__WORDS_MAX, ">= %s", low);
    else if (has_high)
        snprintf(words, SK__WORDS_MAX, "<= %s", high);
}

static bool in_range(const sk_key *key, double number) {
    return (key->min == 0 && key->max == 0) || (number >= key->min && number <= key->max);
}

void sk__words_wanted(const sk_key *key, char words[SK__WORDS_MAX]) {
    char range[SK__WORDS_MAX];
    sk__words_range(key, range);
    const char *gap = range[0] ? " " : "";
    switch (key->type) {
    case SK_KEY_BOOL: snprintf(words, SK__WORDS_MAX, "true or false"); break;
    case SK_KEY_INT: snprintf(words, SK__WORDS_MAX, "an integer%s%.80s", gap, range); break;
    case SK_KEY_FLOAT: snprintf(words, SK__WORDS_MAX, "a number%s%.80s", gap, range); break;
    case SK_KEY_STRING: snprintf(words, SK__WORDS_MAX, "a string"); break;
    case SK_KEY_ENUM: {
        int at = snprintf(words, SK__WORDS_MAX, "one of ");
        for (const char *s = key->choices; *s && at < SK__WORDS_MAX - 3; s++) {
            if (*s == '|') words[at++] = ',';
            words[at++] = *s == '|' ? ' ' : *s;
        }
        words[at] = '\0';
        break;
    }
    case SK_KEY_LIST:
        snprintf(words, SK__WORDS_MAX, "a list of at most %d integers%s%.80s", SK_LIST_MAX, gap, range);
        break;
    case SK_KEY_SCHEDULE:
        snprintf(words, SK__WORDS_MAX, "a number%s%.80s or a list of at most %d [env step, number]", gap,
                 range, SK_LIST_MAX);
        break;
    case SK_KEY_NUMBERS:
        snprintf(words, SK__WORDS_MAX, "a map of at most %d numbers%s%.80s", SK_PAIRS_MAX, gap, range);
        break;
    case SK_KEY_STRINGS: snprintf(words, SK__WORDS_MAX, "a map of at most %d scalars", SK_PAIRS_MAX); break;
    case SK_KEY_TEXTS: snprintf(words, SK__WORDS_MAX, "a list of at most %d scalars", SK_LIST_MAX); break;
    }
}

void sk__words_got(const sk__node *node, char words[SK__WORDS_MAX]) {
    switch (node->kind) {
    case SK__NULL: snprintf(words, SK__WORDS_MAX, "nothing"); break;
    case SK__LIST: snprintf(words, SK__WORDS_MAX, "a list"); break;
    case SK__MAP: snprintf(words, SK__WORDS_MAX, "a map"); break;
    case SK__SCALAR:
        if (!node->quoted && sk__text_is_number(node->text))
            snprintf(words, SK__WORDS_MAX, "%.120s", node->text);
        else
            sk__words_quoted(node->text, words);
    }
}

/* "file:1:2: training.gamma must be a number in [0, 1], got "abc"": the sentence of every misfit. */
static sk_status misfit(const sk_key *key, const sk__node *node, sk_error *reterr) {
    char wanted[SK__WORDS_MAX], got[SK__WORDS_MAX];
    sk__words_wanted(key, wanted);
    sk__words_got(node, got);
    if (node->kind == SK__NULL)
        return SK_FAIL(reterr, SK_ECONFIG, "%s: %s has no value, it must be %s", node->mark, key->path,
                       wanted);
    static const char bools[] = "yes|no|on|off|Yes|No|On|Off|YES|NO|ON|OFF|True|False|TRUE|FALSE";
    const char       *hint = "";
    bool              scalar = node->kind == SK__SCALAR;
    if (scalar && node->quoted && key->type != SK_KEY_ENUM && key->type != SK_KEY_STRING)
        hint = " in quotes, which make it a string";
    else if (scalar && key->type == SK_KEY_BOOL &&
             sk__choice_find(bools, node->text) >= 0)
        hint = ", which YAML 1.2 takes for a plain word";
    return SK_FAIL(reterr, SK_ECONFIG, "%s: %s must be %s, got %s%s", node->mark, key->path, wanted, got,
                   hint);
}

/* The same for the i-th element of a list. */
static sk_status misfit_at(const sk_key *key, int i, const char *wanted, const sk__node *node,
                           sk_error *reterr) {
    char got[SK__WORDS_MAX];
    sk__words_got(node, got);
    return SK_FAIL(reterr, SK_ECONFIG, "%s: %s[%d] must be %s, got %s", node->mark, key->path, i, wanted,
                   got);
}

/* --- reading --- */

static bool read_number(const sk__node *node, double *ret_number) {
    return node->kind == SK__SCALAR && !node->quoted && parse_number(node->text, ret_number);
}

static bool read_int(const sk__node *node, int64_t *ret_integer) {
    return node->kind == SK__SCALAR && !node->quoted && parse_int(node->text, ret_integer);
}

static sk_status read_list(const sk_key *key, const sk__node *node, sk_int_list *ret_list, sk_error *reterr) {
    if (node->kind != SK__LIST) return misfit(key, node, reterr);
    char range[SK__WORDS_MAX], wanted[SK__WORDS_MAX];
    sk__words_range(key, range);
    snprintf(wanted, sizeof wanted, "an integer%s%.80s", range[0] ? " " : "", range);
    for (const sk__node *child = node->first; child; child = child->next) {
        if (ret_list->n == SK_LIST_MAX)
            return SK_FAIL(reterr, SK_ECONFIG, "%s: %s has more than %d elements", child->mark, key->path,
                           SK_LIST_MAX);
        int64_t *at = &ret_list->v[ret_list->n];
        if (!read_int(child, at) || !in_range(key, (double)*at))
            return misfit_at(key, ret_list->n, wanted, child, reterr);
        ret_list->n++;
    }
    return SK_OK;
}

static sk_status read_texts(const sk_key *key, const sk__node *node, sk_texts *ret_texts, sk_error *reterr) {
    if (node->kind == SK__SCALAR) {
        *ret_texts = (sk_texts){.n = 1, .at = {node->text}};
        return SK_OK;
    }
    if (node->kind != SK__LIST) return misfit(key, node, reterr);
    for (const sk__node *child = node->first; child; child = child->next) {
        if (ret_texts->n == SK_LIST_MAX)
            return SK_FAIL(reterr, SK_ECONFIG, "%s: %s has more than %d elements", child->mark, key->path,
                           SK_LIST_MAX);
        if (child->kind != SK__SCALAR) return misfit_at(key, ret_texts->n, "a scalar", child, reterr);
        ret_texts->at[ret_texts->n++] = child->text;
    }
    return SK_OK;
}

/* One [step, value] of a schedule. */
static sk_status read_point(const sk_key *key, const sk__node *point, sk_schedule *schedule,
                            sk_error *reterr) {
    int    i = schedule->n;
    double step = 0, value = 0;
    if (i == SK_LIST_MAX)
        return SK_FAIL(reterr, SK_ECONFIG, "%s: %s has more than %d points", point->mark, key->path,
                       SK_LIST_MAX);
    if (point->kind != SK__LIST || !point->first || !point->first->next || point->first->next->next)
        return misfit_at(key, i, "[env step, number]", point, reterr);
    if (!read_number(point->first, &step) || step < 0)
        return misfit_at(key, i, "[env step, number] with a step >= 0", point->first, reterr);
    if (i > 0 && !(step > schedule->step[i - 1])) {
        char before[SK__NUMBER_TEXT], wanted[SK__WORDS_MAX];
        sk__number_text(schedule->step[i - 1], before);
        snprintf(wanted, sizeof wanted, "[env step, number] with a step > %s (steps rise)", before);
        return misfit_at(key, i, wanted, point->first, reterr);
    }
    if (!read_number(point->first->next, &value) || !in_range(key, value)) {
        char range[SK__WORDS_MAX], wanted[SK__WORDS_MAX];
        sk__words_range(key, range);
        snprintf(wanted, sizeof wanted, "[env step, number] with a number%s%.80s", range[0] ? " " : "",
                 range);
        return misfit_at(key, i, wanted, point->first->next, reterr);
    }
    schedule->step[i] = step;
    schedule->value[i] = value;
    schedule->n++;
    return SK_OK;
}

static sk_status read_schedule(const sk_key *key, const sk__node *node, sk_schedule *ret_schedule,
                               sk_error *reterr) {
    if (node->kind == SK__LIST && node->first) {
        for (const sk__node *point = node->first; point; point = point->next)
            SK_TRY(read_point(key, point, ret_schedule, reterr));
        return SK_OK;
    }
    if (node->kind == SK__LIST)
        return SK_FAIL(reterr, SK_ECONFIG,
                       "%s: %s is an empty list, wanted a number or [env step, number] points", node->mark,
                       key->path);
    if (!read_number(node, &ret_schedule->value[0]) || !in_range(key, ret_schedule->value[0]))
        return misfit(key, node, reterr);
    ret_schedule->n = 1;
    return SK_OK;
}

static sk_status read_pairs(const sk_key *key, const sk__node *node, sk_pairs *ret_pairs, sk_error *reterr) {
    if (node->kind == SK__NULL) return SK_OK;
    if (node->kind == SK__MAP && node->was) return misfit(key, node->was, reterr);
    if (node->kind != SK__MAP) return misfit(key, node, reterr);
    bool numbers = key->type == SK_KEY_NUMBERS;
    for (const sk__node *child = node->first; child; child = child->next) {
        int n = ret_pairs->n;
        if (n == SK_PAIRS_MAX)
            return SK_FAIL(reterr, SK_ECONFIG, "%s: %s has more than %d entries", child->name_mark, key->path,
                           SK_PAIRS_MAX);
        double number = 0;
        bool   fits = child->kind == SK__SCALAR;
        if (numbers) fits = read_number(child, &number) && in_range(key, number);
        if (!fits) {
            /* The entry's own sentence: its name, and what one entry must be. */
            char path[2 * SK__WORDS_MAX], name[SK__WORDS_MAX];
            sk__words_quoted(child->name, name);
            snprintf(path, sizeof path, "%.100s: %.150s", key->path, name);
            sk_key entry = *key;
            entry.path = path;
            entry.type = numbers ? SK_KEY_FLOAT : SK_KEY_STRING;
            return misfit(&entry, child, reterr);
        }
        ret_pairs->at[n].name = child->name;
        ret_pairs->at[n].text = numbers ? NULL : child->text;
        ret_pairs->at[n].mark = child->name_mark;
        ret_pairs->at[n].number = number;
        ret_pairs->n++;
    }
    return SK_OK;
}

sk_status sk__value_read(const sk_key *key, const sk__node *node, sk__value *ret_value, sk_error *reterr) {
    memset(ret_value, 0, sizeof *ret_value);
    bool scalar = node->kind == SK__SCALAR;
    switch (key->type) {
    case SK_KEY_BOOL:
        ret_value->flag = scalar && !strcmp(node->text, "true");
        if (!scalar || node->quoted || (!ret_value->flag && strcmp(node->text, "false") != 0)) break;
        return SK_OK;
    case SK_KEY_INT:
        if (!read_int(node, &ret_value->integer) || !in_range(key, (double)ret_value->integer)) break;
        return SK_OK;
    case SK_KEY_FLOAT:
        if (!read_number(node, &ret_value->number) || !in_range(key, ret_value->number)) break;
        return SK_OK;
    case SK_KEY_STRING:
        if (!scalar) break;
        ret_value->text = node->text;
        return SK_OK;
    case SK_KEY_ENUM:
        ret_value->choice = scalar ? sk__choice_find(key->choices, node->text) : -1;
        if (ret_value->choice < 0) break;
        return SK_OK;
    case SK_KEY_LIST: return read_list(key, node, &ret_value->list, reterr);
    case SK_KEY_SCHEDULE: return read_schedule(key, node, &ret_value->schedule, reterr);
    case SK_KEY_NUMBERS:
    case SK_KEY_STRINGS: return read_pairs(key, node, &ret_value->pairs, reterr);
    case SK_KEY_TEXTS: return read_texts(key, node, &ret_value->texts, reterr);
    }
    return misfit(key, node, reterr);
}
