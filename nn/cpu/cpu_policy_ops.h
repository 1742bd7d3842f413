/* cpu_policy_ops: steps of the ops of graph_policy.c, for the table in cpu_ops.c. */
#ifndef SK_NN_CPU_CPU_POLICY_OPS_H
#define SK_NN_CPU_CPU_POLICY_OPS_H
#include "nn/cpu/cpu_plan.h"

void sk__forward_squashed_gaussian(const cpu_block *b, sk_tensor t);
void sk__backward_squashed_gaussian(const cpu_block *b, sk_tensor t);
void sk__forward_sde_log_std(const cpu_block *b, sk_tensor t);
void sk__backward_sde_log_std(const cpu_block *b, sk_tensor t);
void sk__forward_sde_sample(const cpu_block *b, sk_tensor t);

#endif
