#include "envs/common.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int sk__env_config_known(const sk_env_config *config, const char *const *known, int n, char *err,
                         size_t err_size) {
    for (int i = 0; i < config->n; i++) {
        int found = 0;
        for (int k = 0; k < n; k++) found |= strcmp(config->names[i], known[k]) == 0;
        if (found) continue;
        int used =
            snprintf(err, err_size, "unknown config \"%s\"; known:%s", config->names[i], n ? "" : " none");
        for (int k = 0; k < n && used > 0 && (size_t)used < err_size; k++) {
            used += snprintf(err + used, err_size - (size_t)used, " %s", known[k]);
        }
        return -1;
    }
    return 0;
}

const char *sk__env_config_text(const sk_env_config *config, const char *name) {
    const char *value = NULL;
    for (int i = 0; i < config->n; i++) {
        if (strcmp(config->names[i], name) == 0) value = config->values[i];
    }
    return value;
}

int sk__env_config_number(const sk_env_config *config, const char *name, double *value, char *err,
                          size_t err_size) {
    const char *text = sk__env_config_text(config, name);
    if (!text) return 0;
    char  *end;
    double number = strtod(text, &end);
    if (end == text || *end || !isfinite(number)) {
        snprintf(err, err_size, "config \"%s\": got \"%s\", wanted a finite number", name, text);
        return -1;
    }
    *value = number;
    return 0;
}

int sk__env_config_unit(const sk_env_config *config, const char *name, double *value, char *err,
                        size_t err_size) {
    double number = *value;
    if (sk__env_config_number(config, name, &number, err, err_size)) return -1;
    if (number < 0.0 || number > 1.0) {
        snprintf(err, err_size, "config \"%s\": got %g, wanted a number in [0, 1]", name, number);
        return -1;
    }
    *value = number;
    return 0;
}

int sk__env_config_bool(const sk_env_config *config, const char *name, bool *value, char *err,
                        size_t err_size) {
    const char *text = sk__env_config_text(config, name);
    if (!text) return 0;
    if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) {
        *value = text[0] == 't';
        return 0;
    }
    snprintf(err, err_size, "config \"%s\": got \"%s\", wanted true or false", name, text);
    return -1;
}

double sk__env_square_by_pow(double x) {
    static const volatile double two = 2.0; /* a plain constant would become a product */
    return pow(x, two);
}
