#include "rl/metrics.h"
#include "rl/json_line.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define KIND_GOAL   SK_METRIC_KIND_GOAL
#define KIND_BUDGET SK_METRIC_KIND_BUDGET
static const sk_metric_info infos[SK_METRIC_COUNT] = {
#define METRIC_INFO(id, name, unit, kind, help) [SK_METRIC_##id] = {name, unit, help, KIND_##kind},
    SK_METRIC_LIST(METRIC_INFO)
#undef METRIC_INFO
};
static const char *const names[SK_METRIC_COUNT] = {
#define METRIC_NAME(id, name, unit, kind, help) [SK_METRIC_##id] = name,
    SK_METRIC_LIST(METRIC_NAME)
#undef METRIC_NAME
};

const sk_metric_info *sk_metric_info_get(sk_metric metric) {
    SK_ASSERT((int)metric >= 0 && metric < SK_METRIC_COUNT);
    return &infos[metric];
}

int sk_metric_find(const char *name) {
    for (int i = 0; i < SK_METRIC_COUNT; i++)
        if (strcmp(names[i], name) == 0) return i;
    return -1;
}

const char *const *sk_metric_names(void) { return names; }

void sk_metrics_set(sk_metrics *self, sk_metric metric, double value) {
    SK_ASSERT((int)metric >= 0 && metric < SK_METRIC_COUNT);
    self->present[metric] = isfinite(value);
    self->value[metric] = self->present[metric] ? value : 0;
}

void sk_metrics_clear(sk_metrics *self, sk_metric metric) { sk_metrics_set(self, metric, NAN); }

void sk_metrics_add(sk_metrics *self, sk_metric metric, double amount) {
    sk_metrics_set(self, metric, sk_metrics_get(self, metric, 0) + amount);
}

double sk_metrics_get(const sk_metrics *self, sk_metric metric, double fallback) {
    SK_ASSERT((int)metric >= 0 && metric < SK_METRIC_COUNT);
    return self->present[metric] ? self->value[metric] : fallback;
}

sk_status sk_metrics_json(const sk_metrics *self, char **ret_line, sk_error *reterr) {
    sk_json_line line;
    sk_json_line_init(&line);
    for (int i = 0; i < SK_METRIC_COUNT; i++)
        if (self->present[i]) sk_json_line_number(&line, names[i], self->value[i]);
    return sk_json_line_finish(&line, ret_line, reterr);
}

/* `values` NULL: the names. */
static sk_status csv_line(const sk_metrics *values, char **ret_line, sk_error *reterr) {
    enum { CELL = SK_JSON_NUMBER_TEXT + 64 }; /* a number, or a name */
    char *line = malloc((size_t)SK_METRIC_COUNT * CELL), *end = line;
    if (!line) return SK_FAIL(reterr, SK_ENOMEM, "out of memory for a line of CSV");
    for (int i = 0; i < SK_METRIC_COUNT; i++) {
        if (!values) end = stpncpy(end, names[i], CELL - 1);
        else if (values->present[i]) end += sk_json_number_text(values->value[i], end);
        *end++ = i + 1 < SK_METRIC_COUNT ? ',' : '\n';
    }
    *end = '\0';
    *ret_line = line;
    return SK_OK;
}

sk_status sk_metrics_csv_names(char **ret_line, sk_error *reterr) { return csv_line(NULL, ret_line, reterr); }

sk_status sk_metrics_csv(const sk_metrics *self, char **ret_line, sk_error *reterr) {
    return csv_line(self, ret_line, reterr);
}

void sk_episode_window_push(sk_episode_window *self, double ret, double length) {
    int64_t at = self->n_total++ % SK_EPISODE_WINDOW;
    self->ret[at] = ret;
    self->length[at] = length;
}

void sk_episode_window_report(const sk_episode_window *self, sk_metrics *metrics) {
    int64_t n = self->n_total < SK_EPISODE_WINDOW ? self->n_total : SK_EPISODE_WINDOW;
    double sum = 0, length = 0, min = INFINITY, max = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        sum += self->ret[i];
        length += self->length[i];
        min = fmin(min, self->ret[i]);
        max = fmax(max, self->ret[i]);
    }
    /* With n == 0 these are not finite, hence absent. */
    sk_metrics_set(metrics, SK_METRIC_RETURN_MEAN, sum / (double)n);
    sk_metrics_set(metrics, SK_METRIC_RETURN_MIN, min);
    sk_metrics_set(metrics, SK_METRIC_RETURN_MAX, max);
    sk_metrics_set(metrics, SK_METRIC_LEN_MEAN, length / (double)n);
    sk_metrics_set(metrics, SK_METRIC_EPISODES, n > 0 ? (double)self->n_total : NAN);
}
