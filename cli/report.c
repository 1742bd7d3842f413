#include "cli/report.h"
#include "cli/console_text.h"
#include "cli/exit_code.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CELL_MAX = 1280 }; /* the longest field (256 bytes), every byte of it shown as \xNN */

/* ---- texts ---- */

/* Bytes of the UTF-8 character at `s` of which n are there; 0: none, or one that steers a terminal (C0, DEL, C1). */
static size_t shown_size(const unsigned char *s, size_t n) {
    if (s[0] < 0x80) return s[0] >= 0x20 && s[0] != 0x7f;
    size_t size = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || size > n) return 0;
    for (size_t i = 1; i < size; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    bool is_c1 = s[0] == 0xc2 && s[1] < 0xa0;
    bool is_overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    /* Marks that turn the direction of a line or break it: U+2028 to U+202E, U+2066 to U+2069. */
    bool turns = s[0] == 0xe2 && ((s[1] == 0x80 && s[2] >= 0xa8 && s[2] <= 0xae) ||
                                  (s[1] == 0x81 && s[2] >= 0xa6 && s[2] <= 0xa9));
    return is_c1 || is_overlong || turns ? 0 : size;
}

void sk_text_safe(const char *field, size_t n, char *ret_text, size_t size) {
    const unsigned char *s = (const unsigned char *)field;
    size_t used = 0;
    for (size_t i = 0; i < n && s[i];) {
        size_t shown = shown_size(s + i, n - i);
        if (used + (shown ? shown : 4) >= size) break;
        if (shown) memcpy(ret_text + used, s + i, shown);
        else snprintf(ret_text + used, size - used, "\\x%02x", s[i]);
        used += shown ? shown : 4;
        i += shown ? shown : 1;
    }
    ret_text[used] = '\0';
}

void sk_text_bytes(double bytes, char ret_text[SK_REPORT_TEXT]) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    int u = 0;
    for (; u < SK_COUNT(units) - 1 && bytes >= 1024; u++) bytes /= 1024;
    int decimals = u == 0 || bytes >= 100 ? 0 : bytes >= 10 ? 1 : 2; /* three digits */
    snprintf(ret_text, SK_REPORT_TEXT, "%.*f %s", decimals, bytes, units[u]);
}

void sk_text_byte_rate(double bytes_per_s, char ret_text[SK_REPORT_TEXT]) {
    char bytes[SK_REPORT_TEXT];
    sk_text_bytes(bytes_per_s, bytes);
    snprintf(ret_text, SK_REPORT_TEXT, "%.*s/s", SK_REPORT_TEXT - 3, bytes);
}

void sk_text_span(double seconds, char ret_text[SK_REPORT_TEXT]) {
    static const struct {
        double      from;
        const char *unit;
    } units[] = {{1, "s"}, {1e-3, "ms"}, {1e-6, "us"}, {1e-9, "ns"}};
    if (!(seconds > 0)) {
        snprintf(ret_text, SK_REPORT_TEXT, "0 s");
        return;
    }
    if (seconds >= 99.5) {
        sk_console_duration(seconds, ret_text);
        return;
    }
    int u = 0;
    while (u < SK_COUNT(units) - 1 && seconds < units[u].from) u++;
    double shown = seconds / units[u].from;
    snprintf(ret_text, SK_REPORT_TEXT, "%.*f %s", shown >= 10 || u == 3 ? 0 : 1, shown, units[u].unit);
}

int64_t sk_json_count(uint64_t count) { return count > INT64_MAX ? INT64_MAX : (int64_t)count; }

/* Columns that a safe text takes: its characters. */
static int width_of(const char *text) {
    int width = 0;
    for (; *text; text++) width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

/* ---- rows ---- */

void sk_report_init(sk_report *self, bool json) { *self = (sk_report){.json = json}; }

static void append(sk_report *self, const char *bytes, size_t size) {
    if (!self->broken && self->size + size > self->cap) {
        size_t cap = 2 * (self->size + size) + 4096;
        char  *grown = realloc(self->text, cap);
        self->broken = !grown;
        if (grown) {
            self->text = grown;
            self->cap = cap;
        }
    }
    if (self->broken) return;
    memcpy(self->text + self->size, bytes, size);
    self->size += size;
}

static bool is_dropped(const sk_report *self) { return self->max_rows > 0 && self->n_rows >= self->max_rows; }

/* The next cell of a table. */
static void cell(sk_report *self, const char *head, const char *text, bool right) {
    if (is_dropped(self)) return;
    SK_ASSERT(self->at < SK_REPORT_COLUMNS);
    int c = self->at++, width = width_of(text);
    if (self->n_rows == 0) {
        self->heads[c] = head;
        self->right[c] = right;
        self->widths[c] = width_of(head);
        self->n_columns = self->at;
    }
    if (width > self->widths[c]) self->widths[c] = width;
    append(self, text, strlen(text) + 1);
}

/* The row in JSON, begun by its first cell. */
static sk_json_line *line_of(sk_report *self) {
    if (self->at++ == 0) sk_json_line_init(&self->line);
    return &self->line;
}

void sk_report_field(sk_report *self, const char *key, const char *head, const char *field, size_t size) {
    char text[CELL_MAX];
    if (!self->json) {
        sk_text_safe(field, size, text, sizeof text);
        cell(self, head, text[0] ? text : "-", false);
        return;
    }
    snprintf(text, sizeof text, "%.*s", (int)(size < sizeof text ? size : sizeof text - 1), field);
    sk_json_line_text(line_of(self), key, text);
}

void sk_report_text(sk_report *self, const char *key, const char *head, const char *text) {
    sk_report_field(self, key, head, text, strlen(text));
}

void sk_report_count(sk_report *self, const char *key, const char *head, uint64_t count) {
    char text[SK_CONSOLE_TEXT];
    if (self->json) {
        sk_json_line_integer(line_of(self), key, sk_json_count(count));
        return;
    }
    sk_console_count((double)count, text);
    cell(self, head, text, true);
}

void sk_report_number(sk_report *self, const char *key, const char *head, int64_t number) {
    char text[SK_REPORT_TEXT];
    if (self->json) {
        sk_json_line_integer(line_of(self), key, number);
        return;
    }
    snprintf(text, sizeof text, "%" PRId64, number);
    cell(self, head, text, true);
}

void sk_report_bytes(sk_report *self, const char *key, const char *head, uint64_t bytes) {
    char text[SK_REPORT_TEXT];
    if (self->json) {
        sk_json_line_integer(line_of(self), key, sk_json_count(bytes));
        return;
    }
    sk_text_bytes((double)bytes, text);
    cell(self, head, text, true);
}

void sk_report_byte_rate(sk_report *self, const char *key, const char *head, double bytes_per_s) {
    char text[SK_REPORT_TEXT];
    if (self->json) {
        sk_json_line_number(line_of(self), key, bytes_per_s);
        return;
    }
    sk_text_byte_rate(bytes_per_s, text);
    cell(self, head, text, true);
}

void sk_report_seconds(sk_report *self, const char *key, const char *head, double seconds) {
    char text[SK_REPORT_TEXT];
    if (self->json) {
        sk_json_line_number(line_of(self), key, seconds);
        return;
    }
    sk_text_span(seconds, text);
    cell(self, head, text, true);
}

/* A text in JSON too: most of its readers keep only 53 bits of a number. */
void sk_report_id(sk_report *self, const char *key, const char *head, uint64_t id) {
    char text[SK_REPORT_TEXT];
    snprintf(text, sizeof text, "%" PRIx64, id);
    if (self->json) sk_json_line_text(line_of(self), key, text);
    else cell(self, head, text, true);
}

void sk_report_none(sk_report *self, const char *key, const char *head) {
    if (self->json) sk_json_line_null(line_of(self), key);
    else cell(self, head, "-", true);
}

void sk_report_end_row(sk_report *self) {
    char    *text;
    sk_error error = {0};
    if (self->json && sk_json_line_finish(&self->line, &text, &error) == SK_OK) {
        append(self, text, strlen(text));
        append(self, "\n", 1);
        free(text);
    } else if (self->json) {
        self->broken = true;
    }
    SK_ASSERT(self->json || is_dropped(self) || self->at == self->n_columns);
    self->at = 0;
    self->n_rows++;
}

/* ---- out ---- */

/* One cell, `column` from the left; the last one is not followed by blanks. */
static void print_cell(const sk_report *self, FILE *out, int column, const char *text) {
    int  pad = self->widths[column] - width_of(text);
    bool is_last = column == self->n_columns - 1;
    if (self->right[column]) fprintf(out, "%*s%s", pad, "", text);
    else fprintf(out, "%s%*s", text, is_last ? 0 : pad, "");
    fputs(is_last ? "\n" : "  ", out);
}

static void print_table(const sk_report *self, FILE *out) {
    const char *text = self->text;
    int         n_kept = self->max_rows > 0 && self->n_rows > self->max_rows ? self->max_rows : self->n_rows;
    for (int c = 0; c < self->n_columns; c++) print_cell(self, out, c, self->heads[c]);
    for (int r = 0; r < n_kept; r++) {
        for (int c = 0; c < self->n_columns; c++, text += strlen(text) + 1) print_cell(self, out, c, text);
    }
    if (self->n_rows > n_kept) fprintf(out, "... %d more\n", self->n_rows - n_kept);
}

int sk_report_print(sk_report *self, FILE *out, const char *empty) {
    bool broken = self->broken;
    if (!broken && self->json && self->size > 0) fwrite(self->text, 1, self->size, out);
    else if (!broken && !self->json && self->n_rows == 0) fprintf(out, "%s\n", empty);
    else if (!broken && !self->json) print_table(self, out);
    free(self->text);
    *self = (sk_report){0};
    if (!broken) return SK_EXIT_DONE;
    fprintf(stderr, "out of memory for the table\n");
    return SK_EXIT_FAILED;
}
