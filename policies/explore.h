/* explore: the parts of acting that a policy's own distribution does not give. For policies/inference.c only. */
#ifndef SK_POLICIES_EXPLORE_H
#define SK_POLICIES_EXPLORE_H
#include "policies/inference.h"

/* Streams of SK_STREAM_EXPLORE are numbered by row; this one is for what all rows share. */
#define SK__EXPLORE_LAYERS 0xffffffffffffu

/* Any action, alike: an allowed choice of each part, or box actions in [-1, 1]. */
void sk__explore_uniform(const sk_policy_spaces *spaces, const sk_inference_io *io);
/* The best allowed choice by action values q (B x choices, ld floats from row to row), or with probability epsilon any
 * allowed one. The first of equals is taken. */
void sk__explore_choose(const sk_policy_spaces *spaces, const sk_inference_io *io, const float *q, int ld);
/* SK_EXPLORE_GAUSSIAN and SK_EXPLORE_OU on actions in [-1, 1]; others add nothing. */
void sk__explore_add_noise(const sk_policy_spaces *spaces, const sk_inference_io *io);

#endif
