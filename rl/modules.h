/* modules: what rl/ runs elsewhere: the class "runner" (rl/runner.h). The driver and the worker program name the same
 * module. */
#ifndef SK_RL_MODULES_H
#define SK_RL_MODULES_H
#include "skiff/skiff.h"

extern const sk_module sk_rl_module;

#endif
