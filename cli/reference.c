#include "cli/reference.h"
#include "core/base/config.h"
#include "rl/algorithm.h"
#include "rl/metrics.h"
#include "rl/train_config.h"

#include <stdio.h>
#include <stdlib.h>

/* Close a memory stream; its text is the caller's. */
static sk_status finish(FILE *out, char **text, char **ret_text, sk_error *reterr) {
    int broken = ferror(out);
    if ((fclose(out) != 0) | broken) {
        free(*text);
        return SK_FAIL(reterr, SK_ENOMEM, "out of memory for a page of reference");
    }
    *ret_text = *text;
    return SK_OK;
}

static FILE *start(char **text, size_t *size) {
    *text = NULL;
    return open_memstream(text, size);
}

sk_status sk_reference_metrics(char **ret_text, sk_error *reterr) {
    char *text;
    size_t size;
    FILE *out = start(&text, &size);
    if (!out) return SK_FAIL(reterr, SK_ENOMEM, "out of memory for a page of reference");
    fputs("# Metrics\n\n"
          "Made by `skiff docs metrics`; a test keeps this page the same.\n\n"
          "Every name that a run reports, in `metrics.jsonl`, as a tag in TensorBoard and a column of\n"
          "`progress.csv`, on the console, with `--json` and as a stop condition. A metric without a value is\n"
          "left out. A **budget** only grows: as a stop condition it simply ends the run. Every other metric is\n"
          "a **goal**: it is met when its value is at least the one given, and a run that ends without meeting\n"
          "any goal it named exits with 3.\n\n"
          "| metric | unit | as a stop condition | meaning |\n|---|---|---|---|\n",
          out);
    for (int i = 0; i < SK_METRIC_COUNT; i++) {
        const sk_metric_info *info = sk_metric_info_get((sk_metric)i);
        fprintf(out, "| `%s` | %s | %s | ", info->name, info->unit,
                info->kind == SK_METRIC_KIND_BUDGET ? "budget" : "goal");
        for (const char *s = info->help; *s; s++) fputs(*s == '|' ? "\\|" : (char[]){*s, '\0'}, out);
        fputs(" |\n", out);
    }
    return finish(out, &text, ret_text, reterr);
}

static sk_status write_table(FILE *out, const sk_key *keys, int n_keys, sk_error *reterr) {
    char *table = NULL;
    sk_config_part part = {keys, n_keys, NULL};
    SK_TRY(sk_config_reference(&part, 1, &table, reterr));
    fputs(table, out);
    free(table);
    return SK_OK;
}

static sk_status write_config(FILE *out, sk_error *reterr) {
    fputs(
        "# Config keys\n\n"
        "Made by `skiff docs config` (and `skiff config --reference`); a test keeps this page the same.\n\n"
        "A config file is YAML; `a.b` below is `a: {b: ...}` in the file and `a.b=...` on the command line. "
        "A\n"
        "key that is a schedule takes a number, or a list of [env step, value] with straight lines between.\n"
        "Names are RLlib's where RLlib has them.\n\n"
        "## All algorithms\n\n",
        out);
    SK_TRY(write_table(out, sk_train_config_keys, sk_train_config_n_keys, reterr));
    const sk_algorithm_api *algorithm;
    for (int i = 0; (algorithm = sk_algorithm_at(i)); i++) {
        fprintf(out, "\n## `algorithm: %s`\n\n", algorithm->name);
        SK_TRY(write_table(out, algorithm->keys, algorithm->n_keys, reterr));
    }
    return SK_OK;
}

sk_status sk_reference_config(char **ret_text, sk_error *reterr) {
    char *text;
    size_t size;
    FILE *out = start(&text, &size);
    if (!out) return SK_FAIL(reterr, SK_ENOMEM, "out of memory for a page of reference");
    sk_status status = write_config(out, reterr);
    if (status == SK_OK) return finish(out, &text, ret_text, reterr);
    fclose(out);
    free(text);
    return status;
}
