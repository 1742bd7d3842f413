/* actor_classes: the actors of skiff, the same table in the driver and in `skiff worker`. */
#ifndef SK_RL_ACTOR_CLASSES_H
#define SK_RL_ACTOR_CLASSES_H
#include "core/runtime/runtime.h"

extern const sk_actor_class *const sk_actor_classes[];
extern const int                   sk_n_actor_classes;

#endif
