/* config_emit: structs -> the resolved YAML, and tables -> the Markdown reference. */
#include "core/base/config.h"
#include "core/base/config_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct writer {
    const sk_config_part *parts;
    int                   n_parts;
    FILE                 *out;
    sk_error             *reterr;
} writer;

/* The i-th key over all parts, or NULL; its struct. */
static const sk_key *key_at(const writer *w, int i, const void **ret_base) {
    for (int p = 0; p < w->n_parts; i -= w->parts[p].n_keys, p++) {
        if (i >= w->parts[p].n_keys) continue;
        *ret_base = w->parts[p].base;
        return &w->parts[p].keys[i];
    }
    return NULL;
}

/* --- scalars --- */

/* Can it stand without quotes and be read back as the same text? */
static bool is_plain(const char *text) {
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+-";
    return *text && text[strspn(text, safe)] == '\0' && *text != '-' && *text != '.' &&
           sk__choice_find("null|Null|NULL", text) < 0;
}

/* Would another reader of YAML take it for a number or a bool? */
static bool looks_typed(const char *text) {
    static const char words[] =
        "true|True|TRUE|false|False|FALSE|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF|y|n|Y|N";
    return strspn(text, "+-.0123456789") > 0 || sk__choice_find(words, text) >= 0;
}

/* In double quotes. Line breaks and invisible characters as escapes, other UTF-8 as it is. */
static void write_quoted(FILE *out, const char *text) {
    fputc('"', out);
    for (const unsigned char *s = (const unsigned char *)text; *s; s++) {
        if (*s == '"' || *s == '\\')
            fprintf(out, "\\%c", *s);
        else if (*s == '\n')
            fputs("\\n", out);
        else if (*s == '\t')
            fputs("\\t", out);
        else if (*s < 0x20 || *s == 0x7f)
            fprintf(out, "\\x%02x", *s);
        else if (*s == 0xc2 && s[1] < 0xa0)
            fprintf(out, "\\x%02x", *++s); /* C1 controls, next line */
        else if (*s == 0xe2 && s[1] == 0x80 && (s[2] == 0xa8 || s[2] == 0xa9)) {
            fprintf(out, "\\u20%02x", s[2] - 0x80u); /* line and paragraph separators */
            s += 2;
        } else if (*s == 0xef && ((s[1] == 0xbb && s[2] == 0xbf) || (s[1] == 0xbf && s[2] >= 0xbe))) {
            fprintf(out, "\\u%04x", 0xf000u | (s[1] & 63u) << 6 | (s[2] & 63u)); /* byte order mark */
            s += 2;
        } else
            fputc(*s, out);
    }
    fputc('"', out);
}

static sk_status write_text(const writer *w, const sk_key *key, const char *text, bool may_look_typed) {
    if (sk__utf8_check(text, strlen(text)) < strlen(text))
        return SK_FAIL(w->reterr, SK_EINVAL, "%s is not UTF-8 and cannot be written as YAML", key->path);
    if (is_plain(text) && (may_look_typed || !looks_typed(text)))
        fputs(text, w->out);
    else
        write_quoted(w->out, text);
    return SK_OK;
}

static sk_status write_number(const writer *w, const sk_key *key, double number) {
    char text[SK__NUMBER_TEXT];
    if (!isfinite(number))
        return SK_FAIL(w->reterr, SK_EINVAL, "%s is %g, which no configuration can hold", key->path, number);
    sk__number_text(number, text);
    fputs(text, w->out);
    return SK_OK;
}

/* --- values --- */

static sk_status write_list(const writer *w, const sk_key *key, const sk_int_list *list) {
    if (list->n < 0 || list->n > SK_LIST_MAX)
        return SK_FAIL(w->reterr, SK_EINVAL, "%s has %d elements, wanted 0 to %d", key->path, list->n,
                       SK_LIST_MAX);
    fputc('[', w->out);
    for (int i = 0; i < list->n; i++) fprintf(w->out, "%s%" PRId64, i > 0 ? ", " : "", list->v[i]);
    fputc(']', w->out);
    return SK_OK;
}

static sk_status write_schedule(const writer *w, const sk_key *key, const sk_schedule *schedule) {
    if (schedule->n < 1 || schedule->n > SK_LIST_MAX)
        return SK_FAIL(w->reterr, SK_EINVAL, "%s has %d points, wanted 1 to %d", key->path, schedule->n,
                       SK_LIST_MAX);
    if (schedule->n == 1 && schedule->step[0] == 0) return write_number(w, key, schedule->value[0]);
    for (int i = 0; i < schedule->n; i++) {
        fputs(i == 0 ? "[[" : ", [", w->out);
        SK_TRY(write_number(w, key, schedule->step[i]));
        fputs(", ", w->out);
        SK_TRY(write_number(w, key, schedule->value[i]));
        fputc(']', w->out);
    }
    fputc(']', w->out);
    return SK_OK;
}

/* A nested block, one entry a line, or {}. */
static sk_status write_pairs(const writer *w, const sk_key *key, const sk_pairs *pairs, int depth) {
    if (pairs->n < 0 || pairs->n > SK_PAIRS_MAX)
        return SK_FAIL(w->reterr, SK_EINVAL, "%s has %d entries, wanted 0 to %d", key->path, pairs->n,
                       SK_PAIRS_MAX);
    if (pairs->n == 0) fputs(" {}", w->out);
    for (int i = 0; i < pairs->n; i++) {
        fprintf(w->out, "\n%*s", 2 * depth, "");
        SK_TRY(write_text(w, key, pairs->at[i].name, false));
        fputs(": ", w->out);
        if (key->type == SK_KEY_NUMBERS)
            SK_TRY(write_number(w, key, pairs->at[i].number));
        else
            SK_TRY(write_text(w, key, pairs->at[i].text, true));
    }
    return SK_OK;
}

/* A nested block, one text a line, or []. */
static sk_status write_texts(const writer *w, const sk_key *key, const sk_texts *texts, int depth) {
    if (texts->n < 0 || texts->n > SK_LIST_MAX)
        return SK_FAIL(w->reterr, SK_EINVAL, "%s has %d elements, wanted 0 to %d", key->path, texts->n, SK_LIST_MAX);
    if (texts->n == 0) fputs(" []", w->out);
    for (int i = 0; i < texts->n; i++) {
        fprintf(w->out, "\n%*s- ", 2 * depth, "");
        SK_TRY(write_text(w, key, texts->at[i], true));
    }
    return SK_OK;
}

/* What follows the colon. */
static sk_status write_value(const writer *w, const sk_key *key, const void *at, int depth) {
    if (key->type == SK_KEY_NUMBERS || key->type == SK_KEY_STRINGS) return write_pairs(w, key, at, depth);
    if (key->type == SK_KEY_TEXTS) return write_texts(w, key, at, depth);
    fputc(' ', w->out);
    switch (key->type) {
    case SK_KEY_BOOL: fputs(*(const bool *)at ? "true" : "false", w->out); return SK_OK;
    case SK_KEY_INT: fprintf(w->out, "%" PRId64, *(const int64_t *)at); return SK_OK;
    case SK_KEY_FLOAT: return write_number(w, key, *(const double *)at);
    case SK_KEY_STRING: {
        const char *text = *(const char *const *)at;
        return write_text(w, key, text ? text : "", false);
    }
    case SK_KEY_ENUM: {
        size_t      size = 0;
        int         i = *(const int *)at;
        const char *choice = sk__choice_at(key->choices, i, &size);
        if (!choice)
            return SK_FAIL(w->reterr, SK_EINVAL, "%s is choice %d, wanted one of %s", key->path, i,
                           key->choices);
        fprintf(w->out, "%.*s", (int)size, choice);
        return SK_OK;
    }
    case SK_KEY_LIST: return write_list(w, key, at);
    case SK_KEY_SCHEDULE: return write_schedule(w, key, at);
    case SK_KEY_NUMBERS:
    case SK_KEY_STRINGS:
    case SK_KEY_TEXTS: break;
    }
    return SK_OK;
}

/* --- nesting --- */

/* Does the path lie below the first `size` bytes of `prefix`? size == 0: the document. */
static bool is_below(const char *path, const char *prefix, size_t size) {
    return size == 0 || (!strncmp(path, prefix, size) && path[size] == '.');
}

/* All keys below a prefix in table order; a section stands where its first key stands, whichever part
 * its other keys come from. */
static sk_status write_section(const writer *w, const char *prefix, size_t prefix_size, int depth) {
    const void   *base = NULL, *unused = NULL;
    const sk_key *key, *earlier;
    for (int i = 0; (key = key_at(w, i, &base)); i++) {
        if (!is_below(key->path, prefix, prefix_size)) continue;
        const char *name = key->path + prefix_size + (prefix_size > 0);
        size_t      size = prefix_size + (prefix_size > 0) + strcspn(name, ".");
        bool        is_leaf = key->path[size] == '\0', done = false;
        for (int k = 0; k < i && !is_leaf && !done; k++)
            done = (earlier = key_at(w, k, &unused)) && is_below(earlier->path, key->path, size);
        if (done) continue;
        fprintf(w->out, "%*s%.*s:", 2 * depth, "", (int)strcspn(name, "."), name);
        if (is_leaf) SK_TRY(write_value(w, key, (const char *)base + key->offset, depth + 1));
        fputc('\n', w->out);
        if (!is_leaf) SK_TRY(write_section(w, key->path, size, depth + 1));
    }
    return SK_OK;
}

/* --- the reference --- */

/* A cell of a Markdown table: "|" and line breaks would end it. */
static void write_cell(FILE *out, const char *text) {
    for (; text && *text; text++) {
        if (*text == '|') fputc('\\', out);
        fputc(*text == '\n' ? ' ' : *text, out);
    }
}

static void write_type(FILE *out, const sk_key *key) {
    static const char *const names[] = {[SK_KEY_BOOL] = "bool",
                                        [SK_KEY_INT] = "integer",
                                        [SK_KEY_FLOAT] = "number",
                                        [SK_KEY_STRING] = "string",
                                        [SK_KEY_LIST] = "list of integers",
                                        [SK_KEY_SCHEDULE] = "number or schedule",
                                        [SK_KEY_NUMBERS] = "map of numbers",
                                        [SK_KEY_STRINGS] = "map of scalars",
                                        [SK_KEY_TEXTS] = "list of scalars"};
    if (key->type != SK_KEY_ENUM) {
        fputs(names[key->type], out);
        return;
    }
    size_t      size = 0;
    const char *choice;
    for (int i = 0; (choice = sk__choice_at(key->choices, i, &size)); i++)
        fprintf(out, "%s`%.*s`", i > 0 ? ", " : "", (int)size, choice);
}

static void write_row(FILE *out, const sk_key *key) {
    char range[SK__WORDS_MAX];
    sk__words_range(key, range);
    fputs("| `", out);
    write_cell(out, key->path);
    fputs("` | ", out);
    write_type(out, key);
    if (key->fallback) {
        fputs(" | `", out);
        write_cell(out, *key->fallback ? key->fallback : key->type == SK_KEY_STRING ? "\"\"" : "{}");
        fputc('`', out);
    } else
        fputs(" | required", out);
    fprintf(out, " | %s | ", range);
    write_cell(out, key->unit);
    fputs(" | ", out);
    write_cell(out, key->help);
    if (key->shorthand) fprintf(out, " Short form: `%s: VALUE`.", key->shorthand);
    fputs(" |\n", out);
}

/* --- public --- */

/* Write through `body` into a string. */
static sk_status to_text(const sk_config_part *parts, int n_parts, sk_status (*body)(const writer *),
                         char **ret_text, sk_error *reterr) {
    SK_ASSERT((parts || n_parts == 0) && ret_text);
    char  *text = NULL;
    size_t size = 0;
    writer w = {.parts = parts, .n_parts = n_parts, .reterr = reterr, .out = open_memstream(&text, &size)};
    if (!w.out) return SK_FAIL(reterr, SK_ENOMEM, "out of memory for a configuration's text");
    sk__locale locale = sk__locale_enter();
    sk_status  status = body(&w);
    sk__locale_leave(&locale);
    int broken = ferror(w.out);
    if ((fclose(w.out) != 0 || broken) && status == SK_OK)
        status = SK_FAIL(reterr, SK_ENOMEM, "out of memory for a configuration's text");
    if (status == SK_OK)
        *ret_text = text;
    else
        free(text);
    return status;
}

static sk_status write_document(const writer *w) {
    const void *base = NULL;
    if (!key_at(w, 0, &base)) fputs("{}\n", w->out);
    return write_section(w, "", 0, 0);
}

static sk_status write_reference(const writer *w) {
    fputs("| key | type | default | range | unit | meaning |\n|---|---|---|---|---|---|\n", w->out);
    const void   *base = NULL;
    const sk_key *key;
    for (int i = 0; (key = key_at(w, i, &base)); i++) write_row(w->out, key);
    return SK_OK;
}

sk_status sk_config_emit(const sk_config_part *parts, int n_parts, char **ret_text, sk_error *reterr) {
    return to_text(parts, n_parts, write_document, ret_text, reterr);
}

sk_status sk_config_reference(const sk_config_part *parts, int n_parts, char **ret_text, sk_error *reterr) {
    return to_text(parts, n_parts, write_reference, ret_text, reterr);
}
