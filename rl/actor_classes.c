#include "rl/actor_classes.h"

#include "rl/runner.h"

const sk_actor_class *const sk_actor_classes[] = {&sk_runner_class};
const int                   sk_n_actor_classes = SK_COUNT(sk_actor_classes);
