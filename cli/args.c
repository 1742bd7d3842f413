#include "cli/args.h"
#include "core/base/config.h"
#include "core/base/status.h"
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_USAGE = 2, ARGS_MAX = 32 };

static int help(const sk_args *self) {
    printf("usage: %s\n", self->usage);
    for (int i = 0; i < self->n_args; i++) {
        const char *what = self->args[i].type == SK_ARG_FLAG  ? ""
                           : self->args[i].type == SK_ARG_INT ? " N"
                                                              : " TEXT";
        int width = 24 - (int)strlen(self->args[i].name);
        printf("  %s%-*s %s\n", self->args[i].name, width > 0 ? width : 0, what, self->args[i].help);
    }
    return 0;
}

static int unknown(const sk_args *self, const char *name) {
    const char *names[ARGS_MAX];
    int         n = 0;
    for (; n < self->n_args && n < ARGS_MAX; n++) names[n] = self->args[n].name;
    const char *near = sk_nearest_name(name, names, n);
    fprintf(stderr, "unknown option \"%s\"%s%s%s\nusage: %s\n", name, near ? " (did you mean \"" : "",
            near ? near : "", near ? "\"?)" : "", self->usage);
    return EXIT_USAGE;
}

static int set_int(const sk_arg *arg, const char *text) {
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno || value < arg->min || value > arg->max) {
        fprintf(stderr, "%s: got \"%s\", wanted an integer from %lld to %lld\n", arg->name, text,
                (long long)arg->min, (long long)arg->max);
        return EXIT_USAGE;
    }
    *(int64_t *)arg->value = value;
    return SK_ARGS_GO;
}

static int add_text(const sk_arg *arg, const char *text) {
    sk_arg_texts *texts = arg->value;
    if (texts->n == SK_ARG_TEXTS_MAX) {
        fprintf(stderr, "%s: given more than %d times\n", arg->name, SK_ARG_TEXTS_MAX);
        return EXIT_USAGE;
    }
    texts->at[texts->n++] = text;
    return SK_ARGS_GO;
}

/* One option at argv[*at], given as "--name value" or "--name=value"; moves *at over its value. */
static int option(const sk_args *self, int argc, char **argv, int *at) {
    const char *text = argv[*at], *equals = strchr(text, '=');
    size_t      length = equals ? (size_t)(equals - text) : strlen(text);
    for (int i = 0; i < self->n_args; i++) {
        const sk_arg *arg = &self->args[i];
        if (strlen(arg->name) != length || memcmp(arg->name, text, length) != 0) continue;
        if (arg->type == SK_ARG_FLAG) {
            if (equals) {
                fprintf(stderr, "%s takes no value\n", arg->name);
                return EXIT_USAGE;
            }
            *(bool *)arg->value = true;
            return SK_ARGS_GO;
        }
        if (!equals && *at + 1 >= argc) {
            fprintf(stderr, "%s needs a value\nusage: %s\n", arg->name, self->usage);
            return EXIT_USAGE;
        }
        const char *value = equals ? equals + 1 : argv[++*at];
        if (arg->type == SK_ARG_INT) return set_int(arg, value);
        if (arg->type == SK_ARG_TEXTS) return add_text(arg, value);
        *(const char **)arg->value = value;
        return SK_ARGS_GO;
    }
    return unknown(self, text);
}

int sk_args_parse(sk_args *self, int argc, char **argv) {
    SK_ASSERT(self->n_max <= SK_POSITIONAL_MAX);
    bool options = true;
    self->n_positional = 0;
    for (int i = 1; i < argc; i++) {
        if (options && strcmp(argv[i], "--") == 0) {
            options = false;
        } else if (options && (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)) {
            return help(self);
        } else if (options && strncmp(argv[i], "--", 2) == 0) {
            int code = option(self, argc, argv, &i);
            if (code != SK_ARGS_GO) return code;
        } else if (self->n_positional == self->n_max) {
            fprintf(stderr, "unexpected argument \"%s\"\nusage: %s\n", argv[i], self->usage);
            return EXIT_USAGE;
        } else {
            self->positional[self->n_positional++] = argv[i];
        }
    }
    if (self->n_positional >= self->n_min) return SK_ARGS_GO;
    fprintf(stderr, "usage: %s\n", self->usage);
    return EXIT_USAGE;
}
