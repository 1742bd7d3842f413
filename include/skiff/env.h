/* skiff/env.h: the environment contract. This header stands alone: copy it, include nothing else.
 *
 * An environment is a const struct of functions, sk_env_api. Built-in environments and plugins use the
 * very same struct. A plugin is a shared library exporting one symbol:
 *
 *     SK_ENV_EXPORT const sk_env_api *skiff_env_plugin(int index);   // NULL past the last one
 *
 * The words: an *instance* holds `n_envs` environments; each has `n_agents` rows (agents); row = env *
 * n_agents + agent. All arrays are owned by the host, aligned to their elements, row-major, row after row.
 *
 * Who does what: the host resets ended episodes, counts time limits, keeps final observations, episode
 * statistics and seeds. The environment only says what happened and why an episode ended. It never prints,
 * exits or calls rand(); it never allocates in step. Errors are return codes with a text in last_error.
 *
 * Threads: different instances may be used by different threads at once; one instance by one at a time.
 * Compatibility: fields are only ever appended; the host checks abi_version and struct_size. */
#ifndef SKIFF_ENV_H
#define SKIFF_ENV_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SK_ENV_ABI_VERSION 1
#define SK_ENV_EXPORT __attribute__((visibility("default")))

enum {
    SK_ENV_FIELDS_MAX  = 16, /* observation fields, action parts, metrics */
    SK_ENV_DIMS_MAX    = 4,
    SK_ENV_NAME_MAX    = 64,
};

typedef enum sk_env_dtype { SK_ENV_F32 = 0, SK_ENV_U8 = 1, SK_ENV_I32 = 2 } sk_env_dtype;

/* One named piece of an observation. Fields follow each other in a row, in this order, without gaps. */
typedef struct sk_env_field {
    char         name[SK_ENV_NAME_MAX];
    int          dtype;                  /* sk_env_dtype                                  */
    int          n_dims;                 /* 0 = a scalar                                  */
    int          shape[SK_ENV_DIMS_MAX];
    float        low, high;              /* bounds of every element (+-INFINITY = none)   */
    const float *lows, *highs;           /* NULL, or bounds by element; static storage    */
} sk_env_field;

typedef enum sk_env_action_kind { SK_ENV_DISCRETE = 0, SK_ENV_BOX = 1 } sk_env_action_kind;

/* One named piece of an action. Discrete: one slot `.i` in [start, start + n). Box: n slots `.f`.
 * MultiDiscrete is several discrete parts; Dict and Tuple are parts with names. */
typedef struct sk_env_action_part {
    char         name[SK_ENV_NAME_MAX];
    int          kind;                   /* sk_env_action_kind                            */
    int          n;                      /* choices, or box elements                      */
    int          start;                  /* first choice                                  */
    float        low, high;              /* box bounds of every element                   */
    const float *lows, *highs;           /* NULL, or bounds by element; static storage    */
} sk_env_action_part;

typedef union sk_env_slot {
    float   f;
    int32_t i;
} sk_env_slot;

/* What describe() answers. The host zeroes it and sets struct_size before the call. */
typedef struct sk_env_spec {
    uint32_t           struct_size;
    int                n_obs;            /* observation fields, >= 1                      */
    sk_env_field       obs[SK_ENV_FIELDS_MAX];
    int                n_action;         /* action parts, >= 1                            */
    sk_env_action_part action[SK_ENV_FIELDS_MAX];
    int                mask_size;        /* 0, or the sum of n over discrete parts        */
    int                n_agents;         /* 1 = a single agent                            */
    int                max_episode_steps;/* 0 = no time limit; the host enforces it       */
    int                n_metrics;        /* extra numbers per step, averaged by episode   */
    char               metric_name[SK_ENV_FIELDS_MAX][SK_ENV_NAME_MAX];
    float              reward_low, reward_high; /* both 0 = not stated                    */
} sk_env_spec;

/* The `env.config` map of the config file, as texts. */
typedef struct sk_env_config {
    int                n;
    const char *const *names;
    const char *const *values;
} sk_env_config;

/* The columns of a step, each pointing at the first row of the range that is stepped. */
typedef struct sk_env_io {
    uint32_t           struct_size;
    const sk_env_slot *action;     /* (rows x action slots) already inside the bounds     */
    void              *obs;        /* (rows x row bytes)    write all of it               */
    float             *reward;     /* (rows)                write                         */
    uint8_t           *terminated; /* (rows)                write 0, or 1 = ended by the task   */
    uint8_t           *truncated;  /* (rows)                write 0, or 1 = cut by the simulator */
    uint8_t           *mask;       /* (rows x mask_size)    write 1 = allowed; NULL if mask_size 0 */
    uint8_t           *active;     /* (rows)                1 on entry; write 0 = this agent does not act next */
    uint8_t           *failed;     /* (rows)                0 on entry; write 1 = this row's episode is invalid */
    float             *metrics;    /* (rows x n_metrics)    write; NULL if n_metrics 0    */
} sk_env_io;

typedef enum sk_env_caps {
    SK_ENV_CAP_DETERMINISTIC = 1 << 0, /* same seed and actions: same bits                */
    SK_ENV_CAP_STATE         = 1 << 1, /* state_size, state_save, state_load are there    */
    SK_ENV_CAP_RENDER        = 1 << 2
} sk_env_caps;

typedef struct sk_env_api {
    uint32_t    abi_version;           /* SK_ENV_ABI_VERSION                              */
    uint32_t    struct_size;           /* sizeof(sk_env_api) of the builder               */
    const char *name;                  /* "CartPole-v1"                                   */
    uint32_t    caps;                  /* sk_env_caps                                     */

    /* Fill `spec`. No instance is needed; the same config gives the same answer. 0, or non-zero with a
     * text in `err` (which bytes of config were wrong). */
    int (*describe)(const sk_env_config *config, sk_env_spec *spec, char *err, size_t err_size);

    /* Make an instance of `n_envs` environments (not yet reset). 0 and *self, or non-zero and a text. */
    int (*create)(const sk_env_config *config, int n_envs, void **self, char *err, size_t err_size);
    void (*destroy)(void *self);       /* NULL is fine */

    /* Start an episode of one env: write the first observation of its rows (and masks, NULL if mask_size
     * is 0). `seed`: restart the random stream there; NULL: go on with the stream. 0 or non-zero. */
    int (*reset)(void *self, int env, const uint64_t *seed, void *obs, uint8_t *mask);

    /* Step `count` envs from `first`; the columns of `io` begin at env `first`. Non-zero: all of it failed
     * (see last_error); to fail one env only, set its io->failed. */
    int (*step)(void *self, int first, int count, const sk_env_io *io);

    /* Optional (SK_ENV_CAP_STATE): everything that decides an env's future, random stream included. */
    size_t (*state_size)(void *self);
    int (*state_save)(void *self, int env, void *bytes);
    int (*state_load)(void *self, int env, const void *bytes);

    /* Optional (SK_ENV_CAP_RENDER): RGB bytes (height x width x 3). With rgb NULL only tell the size. */
    int (*render)(void *self, int env, int *width, int *height, uint8_t *rgb);

    /* The text of the last failure of this instance; never NULL. Optional. */
    const char *(*last_error)(void *self);
} sk_env_api;

/* The exported symbol's type and name. */
typedef const sk_env_api *(*sk_env_plugin_fn)(int index);
#define SK_ENV_PLUGIN_SYMBOL "skiff_env_plugin"

#ifdef __cplusplus
}
#endif
#endif
