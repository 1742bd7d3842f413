/* expression_program: what the parser of expressions (expression.c) writes and expression_run.c runs. Internal to both.
 *
 * A program is a list of instructions over `memory`, doubles that hold first constants and then results; every
 * instruction has a result of its own. Operands may lie in the caller's arrays, so slices cost nothing. */
#ifndef SK_ENVS_EXPRESSION_PROGRAM_H
#define SK_ENVS_EXPRESSION_PROGRAM_H
#include "envs/mujoco/expression.h"

typedef enum sk_expr_op {
    SK_OP_ADD, SK_OP_SUB, SK_OP_MUL, SK_OP_DIV, SK_OP_POW,          /* of two, element by element   */
    SK_OP_LT, SK_OP_LE, SK_OP_GT, SK_OP_GE, SK_OP_EQ, SK_OP_NE, SK_OP_AND, SK_OP_OR,
    SK_OP_MIN2, SK_OP_MAX2, SK_OP_ATAN2,
    SK_OP_CLIP,                                                     /* of three                     */
    SK_OP_NEG, SK_OP_NOT, SK_OP_ABS, SK_OP_SQRT, SK_OP_EXP, SK_OP_LOG, SK_OP_TANH, SK_OP_SIN, SK_OP_COS,
    SK_OP_SQUARE,                                                   /* of one                       */
    SK_OP_RATE,                                                     /* of one, with memory of it    */
    SK_OP_SUM, SK_OP_MEAN, SK_OP_NORM, SK_OP_MIN, SK_OP_MAX, SK_OP_ANY, SK_OP_ALL /* a number of a vector */
} sk_expr_op;

enum { SK_EXPR_ARGS_MAX = 3 };

typedef struct sk_expr_operand {
    int base, offset, stride; /* stride 0: one number for all elements */
} sk_expr_operand;

typedef struct sk_expr_instruction {
    sk_expr_op      op;
    int             n;    /* elements of the result; of the argument where that is a single number */
    int             to;   /* offset in memory    */
    int             kept; /* SK_OP_RATE: offset in what is kept */
    sk_expr_operand arg[SK_EXPR_ARGS_MAX];
} sk_expr_instruction;

struct sk_expr {
    sk_expr_instruction *code;
    double              *image; /* (memory_size) memory before the first run: constants and zeros */
    int                  n_code, memory_size, kept_size;
    int                  code_room, image_room;
};

#endif
