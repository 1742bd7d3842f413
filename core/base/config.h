/* config: one YAML file checked against declared keys. Every key is declared once, in a table of
 * sk_key; from that table come parsing, validation, defaults, help, the docs page and the resolved
 * config.yaml. Several tables together make one schema (the common keys, the algorithm's keys), each
 * writing into its own struct.
 *
 *   sk_config *cfg;
 *   SK_TRY(sk_config_open(path, overrides, n_overrides, &cfg, reterr));    // syntax only
 *   SK_TRY(sk_config_peek(cfg, "algorithm", "ppo", name, sizeof name, reterr)); // choose the tables
 *   SK_TRY(sk_config_bind(cfg, parts, n_parts, reterr));                    // values -> structs
 *
 * The language is YAML 1.2 with anchors and aliases, without tags, merge keys ("<<"), folded text (">")
 * and line breaks inside quotes: one document, a map, at most 1 MiB. A document without keys is refused;
 * "{}" takes all defaults. Null means an empty map where a map is wanted, and is an error elsewhere.
 *
 * Errors read `file:line:column: what, got, wanted (did you mean "..."?)`; 1-based marks; an override
 * is named by its text. Threads: one owner. */
#ifndef SK_BASE_CONFIG_H
#define SK_BASE_CONFIG_H
#include "core/base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SK_LIST_MAX = 16, SK_PAIRS_MAX = 32 };

/* SK_KEY_LIST: [64, 64]. */
typedef struct sk_int_list {
    int     n;
    int64_t v[SK_LIST_MAX];
} sk_int_list;

/* SK_KEY_TEXTS: ["a", b, 1.5], or a single scalar, as texts, which are owned by the config. */
typedef struct sk_texts {
    int         n;
    const char *at[SK_LIST_MAX];
} sk_texts;

/* SK_KEY_SCHEDULE: a number, or a list of [env step, value], linear between, constant outside. */
typedef struct sk_schedule {
    int    n;
    double step[SK_LIST_MAX]; /* strictly rising [env steps] */
    double value[SK_LIST_MAX];
} sk_schedule;

/* SK_KEY_NUMBERS: {name: number}; SK_KEY_STRINGS: {name: scalar as text}. Names and texts are owned by
 * the config. `mark` is "file:line:column" of the name, for messages about unknown names. */
typedef struct sk_pairs {
    int n;
    struct {
        const char *name, *text, *mark; /* text: SK_KEY_STRINGS only, else NULL */
        double      number;             /* SK_KEY_NUMBERS only                  */
    } at[SK_PAIRS_MAX];
} sk_pairs;

typedef enum sk_key_type {
    SK_KEY_BOOL,     /* bool                                                         */
    SK_KEY_INT,      /* int64_t                                                      */
    SK_KEY_FLOAT,    /* double                                                       */
    SK_KEY_STRING,   /* const char *, owned by the config                            */
    SK_KEY_ENUM,     /* int: index into `choices` ("auto|cpu|cuda")                  */
    SK_KEY_LIST,     /* sk_int_list; range is of each element                        */
    SK_KEY_SCHEDULE, /* sk_schedule; range is of each value                          */
    SK_KEY_NUMBERS,  /* sk_pairs                                                     */
    SK_KEY_STRINGS,  /* sk_pairs                                                     */
    SK_KEY_TEXTS     /* sk_texts                                                     */
} sk_key_type;

typedef struct sk_key {
    const char *path;      /* "env_runners.num_env_runners"                          */
    sk_key_type type;
    size_t      offset;    /* into the part's struct                                 */
    const char *fallback;  /* default as YAML text; NULL = must be given             */
    double      min, max;  /* inclusive, for numbers; min == max == 0: no range      */
    const char *choices;   /* SK_KEY_ENUM                                            */
    const char *unit;      /* "env steps", "s", "" = dimensionless                   */
    const char *help;      /* one sentence                                           */
    const char *shorthand; /* NULL, or a map's path that may be given as a scalar meaning this key:
                              "env" on env.name lets `env: CartPole-v1` stand for it  */
} sk_key;

typedef struct sk_config_part {
    const sk_key *keys;
    int           n_keys;
    void         *base; /* the struct that `offset` counts in */
} sk_config_part;

typedef struct sk_config sk_config;

/* Read a file and apply overrides "key.path=value" (the value is YAML and replaces what the file says,
 * maps included). SK_EIO, SK_ECONFIG. Caller destroys; the bound structs' strings die with it. */
SK_NODISCARD sk_status sk_config_open(const char *path, const char *const *overrides, int n_overrides,
                                      sk_config **ret_cfg, sk_error *reterr);
/* The same from text; `name` stands for the file in messages. */
SK_NODISCARD sk_status sk_config_parse(const char *text, const char *name, const char *const *overrides,
                                       int n_overrides, sk_config **ret_cfg, sk_error *reterr);
void sk_config_destroy(sk_config **self_p);

/* A scalar as text before binding; `fallback` if absent. SK_ECONFIG if it is no scalar or too long. */
SK_NODISCARD sk_status sk_config_peek(const sk_config *self, const char *path, const char *fallback,
                                      char *ret_text, size_t size, sk_error *reterr);

/* Check the document against all parts and fill their structs. The first error wins: unknown key (with
 * the nearest known name), wrong type, out of range, missing. Never half fills. */
SK_NODISCARD sk_status sk_config_bind(sk_config *self, const sk_config_part *parts, int n_parts,
                                      sk_error *reterr);
/* Was this key given (in the file or by override) rather than defaulted? After bind. */
bool sk_config_given(const sk_config *self, const char *path);
/* "file:line:column" where a key was given, or the file's name. Borrowed until destroy. */
const char *sk_config_mark(const sk_config *self, const char *path);

/* All keys with the structs' present values as YAML that parses back to the same values (%.17g floats).
 * Caller frees *ret_text. */
SK_NODISCARD sk_status sk_config_emit(const sk_config_part *parts, int n_parts, char **ret_text,
                                      sk_error *reterr);
/* The reference of all keys as a Markdown table (path, type, default, range, unit, help). Caller frees. */
SK_NODISCARD sk_status sk_config_reference(const sk_config_part *parts, int n_parts, char **ret_text,
                                           sk_error *reterr);

/* Value of a schedule at an env step. */
double sk_schedule_at(const sk_schedule *self, double env_step);
/* The nearest of `names` to `name` by edit distance, or NULL if none is near (> 1/3 of its length + 1). */
const char *sk_nearest_name(const char *name, const char *const *names, int n_names);

#endif
