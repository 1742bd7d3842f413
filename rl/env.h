/* sk_env: one kind of environment, ready to be instantiated: found by name among the built-in ones or in a
 * plugin, described, checked, with its config and the host's overrides. It holds no running environment;
 * sk_vec (rl/vec.h) makes those.
 *
 * Every answer of a plugin is checked here, once, so that nothing behind this door needs to.
 *
 * Threads: create and destroy by one thread; in between it is constant and may be read by many. */
#ifndef SK_RL_ENV_H
#define SK_RL_ENV_H
#include "core/base/status.h"
#include "skiff/env.h"
#include <stddef.h>
#include <stdint.h>

typedef struct sk_env sk_env;

typedef struct sk_env_params {
    const char        *name;   /* "CartPole-v1"; NULL or "" with a plugin: its only environment;
                                  "gymnasium:NAME": one of Gymnasium's, in a Python process           */
    const char        *plugin; /* NULL or "": built in; else the path of a shared library              */
    int                n_config; /* pairs of `env.config`                                              */
    const char *const *config_names, *const *config_values; /* copied                                  */
    int                max_episode_steps; /* 0 = what the environment says; > 0 replaces it            */
} sk_env_params;

/* What the checked description comes to. R rows of an instance = environments * n_agents. */
typedef struct sk_env_info {
    const char *name;         /* of the environment, such as params.name finds it                     */
    int         obs_dim;      /* slots (4 bytes each) of a row's observation, all fields together      */
    int         action_slots; /* slots of a row's action, all parts together                          */
    int         n_discrete;   /* slots (= parts) of kind discrete                                     */
    int         n_box;        /* slots of kind box                                                    */
    int         n_choices;    /* sum of n over discrete parts                                         */
    int         mask_size;    /* 0 or n_choices                                                       */
    int         n_agents;
    int         n_metrics;
    int         max_episode_steps; /* the limit in force; 0 = none                                    */
    int         n_obs_discrete; /* observation slots that hold an int32 (dtype i32), not a float      */
} sk_env_info;

/* Find, open, describe and check. SK_ENOTFOUND (no such name, file or symbol), SK_EVERSION (built against
 * another env.h), SK_EENV (it refused or contradicts itself), SK_EUNSUPPORTED (a dtype the host cannot
 * carry), SK_EINVAL (params). Caller destroys. */
SK_NODISCARD sk_status sk_env_create(const sk_env_params *params, sk_env **ret_env, sk_error *reterr);
/* Destroy, unloading the plugin. No sk_vec of it may be alive. NULL and already-null are fine. */
void sk_env_destroy(sk_env **self_p);

/* All borrowed until destroy. */
const sk_env_info   *sk_env_info_get(const sk_env *self);
const sk_env_spec   *sk_env_spec_get(const sk_env *self); /* max_episode_steps is the limit in force     */
const sk_env_api    *sk_env_api_get(const sk_env *self);
const sk_env_config *sk_env_config_get(const sk_env *self);

/* Elements of an observation field. */
int sk_env_field_size(const sk_env_field *field);
/* Slots of an action part: 1 or n. */
int sk_env_part_slots(const sk_env_action_part *part);
/* Bounds of element `i` of a field or a box part. */
void sk_env_field_bounds(const sk_env_field *field, int i, float *ret_low, float *ret_high);
void sk_env_part_bounds(const sk_env_action_part *part, int i, float *ret_low, float *ret_high);
/* The field that slot `i` of a row's observation belongs to, and its element there. A row is carried as slots of
 * 4 bytes whatever they hold: where the code says float *obs, an i32 field's slots hold int32_t. */
const sk_env_field *sk_env_obs_field(const sk_env_spec *spec, int i, int *ret_element);
/* Is this slot's value fit to be seen by a policy: a finite float, an integer within the bounds? */
int sk_env_slot_good(const sk_env_field *field, int element, const void *slot);
/* The value as text: "0.25" so that it reads back to the same bits, or "17". */
void sk_env_slot_text(const sk_env_field *field, const void *slot, char *ret_text, size_t size);
/* The name of slot `i` of a row's observation, as "velocity[1]", into `ret_text`. */
void sk_env_obs_name(const sk_env_spec *spec, int i, char *ret_text, size_t size);
/* Action number t of a random stream (Philox of seed and stream): uniform over the choices (`mask` allows, NULL
 * = all) and over the box (an unbounded side counts as 1 from zero, or 2 from the other side). */
void sk_env_action_random(const sk_env_spec *spec, uint64_t seed, uint64_t stream, uint64_t t,
                          const uint8_t *mask, sk_env_slot *ret_slots);

/* Names of a plugin's environments: at most `max` are put into `ret_names` (each SK_ENV_NAME_MAX bytes,
 * copied), *ret_n tells how many there are. Opens and closes the plugin. */
SK_NODISCARD sk_status sk_env_plugin_names(const char *path, char (*ret_names)[SK_ENV_NAME_MAX], int max,
                                           int *ret_n, sk_error *reterr);

#endif
