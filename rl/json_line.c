#include "rl/json_line.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void append(sk_json_line *self, const char *bytes, size_t size) {
    if (self->broken) return;
    if (self->size + size + 1 > self->cap) {
        size_t cap = 2 * (self->size + size) + 512;
        char *grown = realloc(self->text, cap);
        if (!grown) {
            self->broken = true;
            return;
        }
        self->text = grown;
        self->cap = cap;
    }
    memcpy(self->text + self->size, bytes, size);
    self->size += size;
    self->text[self->size] = '\0';
}

/* Bytes of the UTF-8 character at `s`, or 0 if it is none (overlong forms and surrogates are none). */
static size_t utf8_size(const unsigned char *s) {
    if (s[0] < 0x80) return 1;
    size_t size = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4) return 0;
    for (size_t i = 1; i < size; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f)) return 0;
    if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f)) return 0;
    return size;
}

static void append_quoted(sk_json_line *self, const char *text) {
    append(self, "\"", 1);
    for (const unsigned char *s = (const unsigned char *)text; *s;) {
        char escape[8];
        size_t size = utf8_size(s);
        if (size == 0) {
            append(self, "\\ufffd", 6);
            size = 1;
        } else if (*s == '"' || *s == '\\') {
            append(self, (char[]){'\\', (char)*s}, 2);
        } else if (*s < 0x20 || *s == 0x7f) {
            append(self, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", *s));
        } else {
            append(self, (const char *)s, size);
        }
        s += size;
    }
    append(self, "\"", 1);
}

/* What stands before every value: a comma and the name. */
static void append_name(sk_json_line *self, const char *name) {
    if (!self->is_first) append(self, ",", 1);
    self->is_first = false;
    if (!name) return;
    append_quoted(self, name);
    append(self, ":", 1);
}

static void open_with(sk_json_line *self, const char *bracket) {
    append(self, bracket, 1);
    self->depth++;
    self->is_first = true;
}

static void close_with(sk_json_line *self, const char *bracket) {
    SK_ASSERT(self->depth > 0);
    append(self, bracket, 1);
    self->depth--;
    self->is_first = false;
}

void sk_json_line_init(sk_json_line *self) {
    *self = (sk_json_line){0};
    open_with(self, "{");
}

void sk_json_line_deinit(sk_json_line *self) {
    free(self->text);
    *self = (sk_json_line){0};
}

void sk_json_line_text(sk_json_line *self, const char *name, const char *text) {
    append_name(self, name);
    if (text)
        append_quoted(self, text);
    else
        append(self, "null", 4);
}

/* 15 digits are enough for what a person wrote, 17 for every double. The program's locale may have given it
 * another point than JSON's. */
int sk_json_number_text(double number, char ret_text[SK_JSON_NUMBER_TEXT]) {
    char *text = ret_text;
    SK_ASSERT(isfinite(number));
    if (fabs(number) < 0x1p53 && number == (double)(int64_t)number)
        return snprintf(text, SK_JSON_NUMBER_TEXT, "%" PRId64, (int64_t)number);
    int size = snprintf(text, SK_JSON_NUMBER_TEXT, "%.15g", number);
    if (strtod(text, NULL) != number) size = snprintf(text, SK_JSON_NUMBER_TEXT, "%.17g", number);
    int kept = 0;
    for (int i = 0; i < size; i++) {
        if (strchr("0123456789+-e", text[i]))
            text[kept++] = text[i];
        else if (kept > 0 && text[kept - 1] != '.')
            text[kept++] = '.';
    }
    text[kept] = '\0';
    return kept;
}

void sk_json_line_number(sk_json_line *self, const char *name, double number) {
    char text[SK_JSON_NUMBER_TEXT];
    append_name(self, name);
    if (isfinite(number))
        append(self, text, (size_t)sk_json_number_text(number, text));
    else
        append(self, "null", 4);
}

void sk_json_line_integer(sk_json_line *self, const char *name, int64_t integer) {
    char text[24];
    append_name(self, name);
    append(self, text, (size_t)snprintf(text, sizeof text, "%" PRId64, integer));
}

void sk_json_line_bool(sk_json_line *self, const char *name, bool value) {
    append_name(self, name);
    append(self, value ? "true" : "false", value ? 4 : 5);
}

void sk_json_line_null(sk_json_line *self, const char *name) { sk_json_line_text(self, name, NULL); }

void sk_json_line_begin(sk_json_line *self, const char *name) {
    append_name(self, name);
    open_with(self, "{");
}

void sk_json_line_end(sk_json_line *self) { close_with(self, "}"); }

void sk_json_line_begin_array(sk_json_line *self, const char *name) {
    append_name(self, name);
    open_with(self, "[");
}

void sk_json_line_end_array(sk_json_line *self) { close_with(self, "]"); }

sk_status sk_json_line_finish(sk_json_line *self, char **ret_text, sk_error *reterr) {
    close_with(self, "}");
    SK_ASSERT(self->depth == 0);
    if (self->broken) {
        sk_json_line_deinit(self);
        return SK_FAIL(reterr, SK_ENOMEM, "out of memory for a line of JSON");
    }
    *ret_text = self->text;
    *self = (sk_json_line){0};
    return SK_OK;
}
