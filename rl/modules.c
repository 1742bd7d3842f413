#include "rl/modules.h"

#include "rl/runner.h"

static const sk_actor_class *const classes[] = {&sk_runner_class};

const sk_module sk_rl_module = {.abi = SK_MODULE_ABI, .struct_size = sizeof(sk_module), .name = "rl",
                                .classes = classes, .n_classes = SK_COUNT(classes)};
