/* json_line: one JSON object on one line, written piece by piece; what metrics.jsonl, result.json and every
 * `--json` output are made of. Nothing fails on the way: lack of memory is remembered and told by finish.
 *
 *   sk_json_line line;
 *   sk_json_line_init(&line);
 *   sk_json_line_number(&line, "wall_s", 0.25);
 *   SK_TRY(sk_json_line_finish(&line, &text, reterr));     // {"wall_s":0.25}
 *
 * Threads: one owner. */
#ifndef SK_RL_JSON_LINE_H
#define SK_RL_JSON_LINE_H
#include "core/base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct sk_json_line {
    char *text; /* NULL before the first piece and after finish */
    size_t size, cap;
    int depth;     /* objects open                                 */
    bool is_first; /* no comma before the next name                */
    bool broken;   /* out of memory                                */
} sk_json_line;

/* A finite number as text that reads back as the same double, whole numbers below 2^53 without a fraction. Its
 * length. */
enum { SK_JSON_NUMBER_TEXT = 40 };
int sk_json_number_text(double number, char ret_text[SK_JSON_NUMBER_TEXT]);

void sk_json_line_init(sk_json_line *self);
void sk_json_line_deinit(sk_json_line *self);

/* `name` NULL: an element of an array. Bytes that are not UTF-8 become U+FFFD. A NULL text is null. */
void sk_json_line_text(sk_json_line *self, const char *name, const char *text);
/* As above; not finite: null. */
void sk_json_line_number(sk_json_line *self, const char *name, double number);
void sk_json_line_integer(sk_json_line *self, const char *name, int64_t integer);
void sk_json_line_bool(sk_json_line *self, const char *name, bool value);
void sk_json_line_null(sk_json_line *self, const char *name);
void sk_json_line_begin(sk_json_line *self, const char *name);
void sk_json_line_end(sk_json_line *self);
void sk_json_line_begin_array(sk_json_line *self, const char *name);
void sk_json_line_end_array(sk_json_line *self);

/* Close the object and hand it over, without a newline. Caller frees *ret_text. SK_ENOMEM. Deinits. */
SK_NODISCARD sk_status sk_json_line_finish(sk_json_line *self, char **ret_text, sk_error *reterr);

#endif
