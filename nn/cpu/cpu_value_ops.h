/* cpu_value_ops: steps of the ops of value-based learning (nn/graph.h), for the table in cpu_ops.c. */
#ifndef SK_NN_CPU_CPU_VALUE_OPS_H
#define SK_NN_CPU_CPU_VALUE_OPS_H
#include "nn/cpu/cpu_plan.h"

void sk__forward_column_binary(const cpu_block *b, sk_tensor t);
void sk__backward_column_binary(const cpu_block *b, sk_tensor t);
void sk__forward_dueling(const cpu_block *b, sk_tensor t);
void sk__backward_dueling(const cpu_block *b, sk_tensor t);
void sk__forward_argmax(const cpu_block *b, sk_tensor t);
void sk__forward_take(const cpu_block *b, sk_tensor t);
void sk__backward_take(const cpu_block *b, sk_tensor t);
void sk__forward_group_mean(const cpu_block *b, sk_tensor t);
void sk__backward_group_mean(const cpu_block *b, sk_tensor t);
void sk__forward_atom_mean(const cpu_block *b, sk_tensor t);
void sk__forward_c51_target(const cpu_block *b, sk_tensor t);
void sk__forward_cross_entropy(const cpu_block *b, sk_tensor t);
void sk__backward_cross_entropy(const cpu_block *b, sk_tensor t);
void sk__forward_quantile_huber(const cpu_block *b, sk_tensor t);
void sk__backward_quantile_huber(const cpu_block *b, sk_tensor t);

#endif
