/* report: rows that people read as a table with aligned columns and programs as one JSON object per line, said once.
 * A cell has a key for programs, with its unit, and a head for people; every row has the same cells.
 *
 *   sk_report report;
 *   sk_report_init(&report, json);
 *   for (each) {
 *       sk_report_field(&report, "name", "name", row.name, sizeof row.name);
 *       sk_report_bytes(&report, "size_bytes", "size", row.size);
 *       sk_report_end_row(&report);
 *   }
 *   int code = sk_report_print(&report, stdout, "no objects");
 *
 * Nothing fails on the way: lack of memory is remembered and told by print. Texts may be anything: what could steer a
 * terminal is shown as \xNN.
 * Threads: one owner. */
#ifndef SK_CLI_REPORT_H
#define SK_CLI_REPORT_H
#include "rl/json_line.h"

#include <stdint.h>
#include <stdio.h>

enum { SK_REPORT_COLUMNS = 16, SK_REPORT_TEXT = 32 };

typedef struct sk_report {
    bool         json;
    int          max_rows; /* of a table; the rest is only counted. 0: all; set after init */
    int          n_rows, n_columns, at;
    const char  *heads[SK_REPORT_COLUMNS];
    bool         right[SK_REPORT_COLUMNS];  /* numbers stand at the right        */
    int          widths[SK_REPORT_COLUMNS]; /* [characters]                      */
    char        *text;                      /* cells, each terminated; or lines  */
    size_t       size, cap;
    bool         broken; /* out of memory */
    sk_json_line line;   /* the row being written */
} sk_report;

void sk_report_init(sk_report *self, bool json);
/* A cell: a text; a field of at most `size` bytes, which need not be terminated; 1,234; 1234; "12.5 MiB"; "1.25 MiB/s";
 * "12 ms"; hexadecimal; "-". */
void sk_report_text(sk_report *self, const char *key, const char *head, const char *text);
void sk_report_field(sk_report *self, const char *key, const char *head, const char *field, size_t size);
void sk_report_count(sk_report *self, const char *key, const char *head, uint64_t count);
void sk_report_number(sk_report *self, const char *key, const char *head, int64_t number);
void sk_report_bytes(sk_report *self, const char *key, const char *head, uint64_t bytes);
void sk_report_byte_rate(sk_report *self, const char *key, const char *head, double bytes_per_s);
void sk_report_seconds(sk_report *self, const char *key, const char *head, double seconds);
void sk_report_id(sk_report *self, const char *key, const char *head, uint64_t id);
void sk_report_none(sk_report *self, const char *key, const char *head);
void sk_report_end_row(sk_report *self);
/* Write it and free it. A table without rows is the line `empty`. The exit code: 0, or 1 after saying why. */
int sk_report_print(sk_report *self, FILE *out, const char *empty);

/* ---- what cells are made of ---- */
/* `field`, of at most `n` bytes, so that any terminal shows it as one line; terminated, cut at `size`. */
void sk_text_safe(const char *field, size_t n, char *ret_text, size_t size);
void sk_text_bytes(double bytes, char ret_text[SK_REPORT_TEXT]);  /* "512 B", "1.50 GiB"          */
void sk_text_byte_rate(double bytes_per_s, char ret_text[SK_REPORT_TEXT]); /* "1.50 GiB/s"      */
void sk_text_span(double seconds, char ret_text[SK_REPORT_TEXT]); /* "250 ns", "1.5 s", "1:02:03" */
/* For JSON, whose readers know 63 bits. */
int64_t sk_json_count(uint64_t count);

#endif
