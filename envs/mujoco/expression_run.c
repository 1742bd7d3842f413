/* expression_run: the inner loop of expressions, and their memory. */
#include "envs/mujoco/expression_program.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

sk_status sk_expr_create(sk_expr **ret_expr, sk_error *reterr) {
    sk_expr *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "out of memory for expressions");
    *ret_expr = self;
    return SK_OK;
}

void sk_expr_destroy(sk_expr **self_p) {
    if (!self_p || !*self_p) return;
    free((*self_p)->code);
    free((*self_p)->image);
    free(*self_p);
    *self_p = NULL;
}

int sk_expr_memory_size(const sk_expr *self) { return self->memory_size; }
int sk_expr_kept_size(const sk_expr *self) { return self->kept_size; }

void sk_expr_begin(const sk_expr *self, double *memory) {
    if (self->memory_size) memcpy(memory, self->image, (size_t)self->memory_size * sizeof *memory);
}

/* ---- instructions ---- */

/* r[i] = FORMULA of x, y, z for all elements. */
#define EACH(formula)                                                                              \
    for (int i = 0; i < n; i++) {                                                                  \
        double x = a[i * sa];                                                                      \
        r[i] = (formula);                                                                          \
    }                                                                                              \
    break
#define EACH2(formula)                                                                             \
    for (int i = 0; i < n; i++) {                                                                  \
        double x = a[i * sa], y = b[i * sb];                                                       \
        r[i] = (formula);                                                                          \
    }                                                                                              \
    break

static void run_unary(const sk_expr_instruction *in, const double *a, double *r) {
    int n = in->n, sa = in->arg[0].stride;
    switch (in->op) {
    case SK_OP_NEG: EACH(-x);
    case SK_OP_NOT: EACH(x == 0.0);
    case SK_OP_ABS: EACH(fabs(x));
    case SK_OP_SQRT: EACH(sqrt(x));
    case SK_OP_EXP: EACH(exp(x));
    case SK_OP_LOG: EACH(log(x));
    case SK_OP_TANH: EACH(tanh(x));
    case SK_OP_SIN: EACH(sin(x));
    case SK_OP_COS: EACH(cos(x));
    case SK_OP_SQUARE: EACH(x * x);
    default: SK_ASSERT(0);
    }
}

static void run_binary(const sk_expr_instruction *in, const double *a, const double *b, double *r) {
    int n = in->n, sa = in->arg[0].stride, sb = in->arg[1].stride;
    switch (in->op) {
    case SK_OP_ADD: EACH2(x + y);
    case SK_OP_SUB: EACH2(x - y);
    case SK_OP_MUL: EACH2(x * y);
    case SK_OP_DIV: EACH2(x / y);
    case SK_OP_POW: EACH2(pow(x, y));
    case SK_OP_LT: EACH2(x < y);
    case SK_OP_LE: EACH2(x <= y);
    case SK_OP_GT: EACH2(x > y);
    case SK_OP_GE: EACH2(x >= y);
    case SK_OP_EQ: EACH2(x == y);
    case SK_OP_NE: EACH2(x != y);
    case SK_OP_AND: EACH2(x != 0.0 && y != 0.0);
    case SK_OP_OR: EACH2(x != 0.0 || y != 0.0);
    case SK_OP_MIN2: EACH2(!(y < x) ? x : y); /* a NaN in front stays, and is found */
    case SK_OP_MAX2: EACH2(!(y > x) ? x : y);
    case SK_OP_ATAN2: EACH2(atan2(x, y));
    default: SK_ASSERT(0);
    }
}

/* One number of a vector of n >= 1. */
static double reduce(const sk_expr_instruction *in, const double *a) {
    int    n = in->n, s = in->arg[0].stride;
    double x = a[0], sum = 0.0;
    switch (in->op) {
    case SK_OP_SUM:
    case SK_OP_MEAN:
        for (int i = 0; i < n; i++) sum += a[i * s];
        return in->op == SK_OP_SUM ? sum : sum / n;
    case SK_OP_NORM:
        for (int i = 0; i < n; i++) sum += a[i * s] * a[i * s];
        return sqrt(sum);
    case SK_OP_MIN:
        for (int i = 1; i < n; i++) x = a[i * s] < x || a[i * s] != a[i * s] ? a[i * s] : x;
        return x;
    case SK_OP_MAX:
        for (int i = 1; i < n; i++) x = a[i * s] > x || a[i * s] != a[i * s] ? a[i * s] : x;
        return x;
    case SK_OP_ANY:
        for (int i = 0; i < n; i++) {
            if (a[i * s] != 0.0) return 1.0;
        }
        return 0.0;
    case SK_OP_ALL:
        for (int i = 0; i < n; i++) {
            if (a[i * s] == 0.0) return 0.0;
        }
        return 1.0;
    default: SK_ASSERT(0);
    }
}

static void run_rate(const sk_expr_instruction *in, const double *a, double *r, const sk_expr_run_params *params) {
    double *kept = params->kept + in->kept;
    for (int i = 0; i < in->n; i++) {
        double x = a[i * in->arg[0].stride];
        r[i] = params->first ? 0.0 : (x - kept[i]) / params->dt;
        kept[i] = x;
    }
}

static void run_clip(const sk_expr_instruction *in, const double *a, const double *b, const double *c, double *r) {
    for (int i = 0; i < in->n; i++) {
        double x = a[i * in->arg[0].stride], low = b[i * in->arg[1].stride], high = c[i * in->arg[2].stride];
        r[i] = x < low ? low : x > high ? high : x;
    }
}

static const double *at(const sk_expr_operand *arg, double *const *bases) {
    return bases[arg->base] + arg->offset;
}

void sk_expr_run(const sk_expr *self, const sk_expr_run_params *params) {
    double *const *bases = params->bases;
    for (int k = 0; k < self->n_code; k++) {
        const sk_expr_instruction *in = &self->code[k];
        const double *a = at(&in->arg[0], bases);
        double       *r = bases[SK_EXPR_MEMORY] + in->to;
        if (in->op >= SK_OP_SUM) *r = reduce(in, a);
        else if (in->op == SK_OP_RATE) run_rate(in, a, r, params);
        else if (in->op >= SK_OP_NEG) run_unary(in, a, r);
        else if (in->op == SK_OP_CLIP) run_clip(in, a, at(&in->arg[1], bases), at(&in->arg[2], bases), r);
        else run_binary(in, a, at(&in->arg[1], bases), r);
    }
}
