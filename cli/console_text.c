#include "cli/console_text.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void sk_console_count(double number, char text[SK_CONSOLE_TEXT]) {
    char digits[SK_CONSOLE_TEXT];
    if (!(fabs(number) < 1e15)) {
        snprintf(text, SK_CONSOLE_TEXT, "%g", number);
        return;
    }
    int size = snprintf(digits, sizeof digits, "%.0f", fabs(number)), at = 0;
    if (number <= -0.5) text[at++] = '-';
    for (int i = 0; i < size; i++) {
        if (i > 0 && (size - i) % 3 == 0) text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = '\0';
}

void sk_console_rate(double number, char text[SK_CONSOLE_TEXT]) {
    static const struct {
        double from;
        const char *unit;
    } units[] = {{1e9, "G"}, {1e6, "M"}, {1e3, "k"}, {1, ""}};
    int u = 0;
    while (u < SK_COUNT(units) - 1 && number < units[u].from) u++;
    double shown = number / units[u].from; /* three digits */
    int decimals = *units[u].unit == '\0' || shown >= 100 ? 0 : shown >= 10 ? 1 : 2;
    snprintf(text, SK_CONSOLE_TEXT, "%.*f%s", decimals, shown, units[u].unit);
}

void sk_console_duration(double seconds, char text[SK_CONSOLE_TEXT]) {
    long long s = seconds < 0 ? 0 : seconds > 1e12 ? (long long)1e12 : (long long)(seconds + 0.5);
    if (s >= 3600)
        snprintf(text, SK_CONSOLE_TEXT, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(text, SK_CONSOLE_TEXT, "%lld:%02lld", s / 60, s % 60);
}

/* ---- the line ---- */
typedef struct line {
    char *text;
    size_t size;
} line;

SK_PRINTF(2, 3) static void add(line *self, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(self->text + self->size, SK_CONSOLE_LINE - self->size, fmt, args);
    va_end(args);
    if (n > 0) self->size += (size_t)n;
    if (self->size >= SK_CONSOLE_LINE) self->size = SK_CONSOLE_LINE - 1;
}

static void add_return(line *self, const char *name, const sk_metrics *metrics, sk_metric metric) {
    if (metrics->present[metric]) add(self, " | %s %.4g", name, metrics->value[metric]);
}

/* Where the time went. Actors work while the learner waits, so the parts are shares of their own sum. */
static void add_split(line *self, const sk_console_span *span) {
    const struct {
        const char *name;
        double s;
    } parts[] = {{"env", span->env_s},
                 {"act", span->inference_s},
                 {"move", span->transport_s},
                 {"learn", span->learn_s},
                 {"eval", span->evaluation_s}};
    double sum = 0;
    for (int i = 0; i < SK_COUNT(parts); i++) sum += parts[i].s;
    if (!(sum > 0)) return;
    add(self, " |");
    for (int i = 0; i < SK_COUNT(parts); i++)
        if (i < 4 || parts[i].s > 0) add(self, " %s %.0f%%", parts[i].name, 100 * parts[i].s / sum);
}

void sk_console_line(const sk_train_progress *progress, const sk_console_span *span,
                     char text[SK_CONSOLE_LINE]) {
    const sk_metrics *m = progress->metrics;
    line self = {.text = text};
    char number[SK_CONSOLE_TEXT];
    sk_console_count(sk_metrics_get(m, SK_METRIC_ENV_STEPS, 0), number);
    add(&self, "%s steps", number);
    if (progress->done >= 0) add(&self, " %.0f%%", floor(100 * fmin(progress->done, 1)));
    if (progress->eta_s >= 0 && !progress->is_last) {
        sk_console_duration(progress->eta_s, number);
        add(&self, " eta %s", number);
    }
    add_return(&self, "return", m, SK_METRIC_RETURN_MEAN);
    add_return(&self, "eval", m, SK_METRIC_EVAL_RETURN_MEAN);
    if (span->wall_s > 0 && span->env_steps > 0) {
        sk_console_rate(span->env_steps / span->wall_s, number);
        add(&self, " | %s steps/s", number);
    }
    add_split(&self, span);
}
