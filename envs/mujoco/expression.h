/* expression: formulas over vectors of doubles, written as text ("0.1 * sum(action^2)"), compiled once and then run
 * without allocation. It knows nothing of MuJoCo: what a name stands for is asked of the caller, so that it can be
 * tested alone.
 *
 * The language (docs/own_robot.md has it for users), loosest binding first:
 *
 *   or      := and { "or" and }            and  := not { "and" not }        not := "not" not | compare
 *   compare := sum [ ("<" | "<=" | ">" | ">=" | "==" | "!=") sum ]
 *   sum     := product { ("+" | "-") product }      product := unary { ("*" | "/") unary }
 *   unary   := "-" unary | power                    power   := piece [ "^" unary ]
 *   piece   := (NUMBER | "(" or ")" | FUNCTION "(" or { "," or } ")" | name) { slice }
 *   name    := WORD | KIND "/" (WORD | "'" TEXT "'") [ "." WORD ]
 *   slice   := "[" i "]" | "[" [i] ":" [j] "]"      negative: from the end
 *
 * Truth is a number: 0 is false, anything else true; comparisons give 0 and 1, element by element. Lengths are known
 * when it is compiled. A value of length 1 goes with every other; else lengths must agree. All sub-expressions are
 * always computed, so that rate() sees every step.
 *
 * Threads: building by one thread; a built program is constant and may be run by many, each with memory of its own. */
#ifndef SK_ENVS_EXPRESSION_H
#define SK_ENVS_EXPRESSION_H
#include "core/base/status.h"
#include <stdbool.h>

enum {
    SK_EXPR_TEXT_MAX  = 2000,    /* bytes of one expression                       */
    SK_EXPR_DEPTH_MAX = 64,      /* nesting                                       */
    SK_EXPR_WORD_MAX  = 128,     /* bytes of a name and its NUL                   */
    SK_EXPR_SIZE_MAX  = 1 << 20, /* doubles of a program's memory; instructions   */
    SK_EXPR_MEMORY    = 0        /* the base that is the program's own memory     */
};

/* Where a value lies: `length` doubles from `offset` of array number `base`. */
typedef struct sk_expr_place {
    int base, offset, length;
} sk_expr_place;

/* What names mean. `find` answers for "name" (kind ""), "kind/name" (part "") or "kind/name.part" with a place in one
 * of the caller's arrays (base >= 1), or fails with a sentence about what there is instead. */
typedef struct sk_expr_scope {
    const char *const *kinds; /* words that "/" may follow, NULL at the end       */
    sk_status (*find)(void *of, const char *kind, const char *name, const char *part, sk_expr_place *ret_place,
                      sk_error *reterr);
    void *of;
} sk_expr_scope;

/* Several expressions that are run together. */
typedef struct sk_expr sk_expr;

/* Empty. SK_ENOMEM. Caller destroys. */
SK_NODISCARD sk_status sk_expr_create(sk_expr **ret_expr, sk_error *reterr);
void                   sk_expr_destroy(sk_expr **self_p);

/* Compile one more expression; *ret_place is where its value lies after a run. SK_ECONFIG: the message begins with
 * "column N: " (characters, from 1). SK_ENOMEM. After a failure the program is good for destroy only. */
SK_NODISCARD sk_status sk_expr_add(sk_expr *self, const char *text, const sk_expr_scope *scope,
                                   sk_expr_place *ret_place, sk_error *reterr);

/* "forward = rate(x)": where the expression begins, and the label before it (in `text`, *ret_size bytes; 0: none). */
const char *sk_expr_label(const char *text, const char **ret_label, int *ret_size);

/* Doubles of memory that a run needs; doubles that rate() keeps of one environment from run to run. */
int sk_expr_memory_size(const sk_expr *self);
int sk_expr_kept_size(const sk_expr *self);
/* Make such memory ready for runs. */
void sk_expr_begin(const sk_expr *self, double *memory);

/* Compute everything. bases[SK_EXPR_MEMORY] is the memory, the others are the arrays that `find` spoke of.
 * rate(x) = (x - kept x) / dt, and 0 in the first run of an episode; x is kept. */
typedef struct sk_expr_run_params {
    double *const *bases;
    double        *kept;
    double         dt; /* [s] since the run before */
    bool           first;
} sk_expr_run_params;
void sk_expr_run(const sk_expr *self, const sk_expr_run_params *params);

/* Names of all functions, for messages: NULL at the end. */
const char *const *sk_expr_functions(void);

#endif
