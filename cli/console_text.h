/* console_text: numbers and the progress line as people read them. Pure functions. */
#ifndef SK_CLI_CONSOLE_TEXT_H
#define SK_CLI_CONSOLE_TEXT_H
#include "rl/metrics.h"
#include "rl/train.h"

enum { SK_CONSOLE_TEXT = 32, SK_CONSOLE_LINE = 256 };

/* "1,234,567" */
void sk_console_count(double number, char text[SK_CONSOLE_TEXT]);
/* "950", "12.3k", "1.25M" */
void sk_console_rate(double number, char text[SK_CONSOLE_TEXT]);
/* "0:07", "12:34", "3:02:01" */
void sk_console_duration(double seconds, char text[SK_CONSOLE_TEXT]);

/* What a line sums up: the time since the line before it, in the last line all of it. */
typedef struct sk_console_span {
    double env_steps, wall_s; /* wall without evaluations */
    double env_s, inference_s, transport_s, learn_s, evaluation_s;
} sk_console_span;

/* "53,248 steps 52% eta 0:12 | return 187.3 | eval 210 | 412k steps/s | env 21% act 30% move 3% learn 46%":
 * what matters most stands first, as a narrow terminal cuts the rest. */
void sk_console_line(const sk_train_progress *progress, const sk_console_span *span,
                     char text[SK_CONSOLE_LINE]);

#endif
