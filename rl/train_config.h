/* train_config: the keys of a training config that all algorithms share, as one struct and one table
 * (train_config.c). What an algorithm adds (mostly under `training`) is its own table; docs/config.md is made from
 * both. Names are RLlib's where RLlib has them. */
#ifndef SK_RL_TRAIN_CONFIG_H
#define SK_RL_TRAIN_CONFIG_H
#include "core/base/config.h"
#include "policies/model.h"
#include <stdbool.h>

typedef enum sk_device_kind { SK_DEVICE_AUTO, SK_DEVICE_CPU, SK_DEVICE_CUDA } sk_device_kind;
typedef enum sk_runner_placement { SK_RUNNER_THREAD, SK_RUNNER_PROCESS, SK_RUNNER_REMOTE } sk_runner_placement;

typedef struct sk_train_config {
    const char *algorithm; /* "ppo"                                                                  */
    int64_t     seed;
    int         device;    /* sk_device_kind                                                         */

    struct {
        const char *name, *plugin; /* "" = none                                                      */
        const char *gymnasium;     /* "" = none; else a name of Gymnasium's                          */
        const char *python;        /* interpreter for it; "" = $SKIFF_PYTHON, else python3           */
        double      timeout_s;     /* patience with one request to it                                */
        sk_pairs    config;
        int64_t     max_episode_steps; /* 0 = what the env says                                      */

        /* env.name mujoco: any robot (docs/own_robot.md) */
        const char *model, *keyframe;  /* MJCF file; "" = none                                       */
        int64_t     frame_skip;        /* physics steps per env step                                 */
        sk_texts    observation, reward, terminate; /* expressions                                   */
        sk_pairs    reset_noise;       /* place -> amount                                            */
        double      action_limit;      /* of actuators without a ctrlrange; 0 = refused              */
    } env;

    struct {
        int64_t num_env_runners;         /* actors; 0 = inline in the learner's own thread           */
        int64_t num_envs_per_env_runner;
        int64_t rollout_fragment_length; /* T [env steps]                                            */
        int     placement;               /* sk_runner_placement                                      */
        int     observation_filter;      /* sk_obs_filter (policies/model.h)                         */
        bool    normalize_rewards;       /* divide by the running std of the discounted return       */
        double  clip_rewards;            /* after normalising; 0 = no clipping                       */
        int     on_invalid;              /* 0 stop, 1 drop                                           */
        double  sample_timeout_s;
        double  num_cpus_per_env_runner;     /* remote runners only: of their host's                 */
        bool    restart_failed_env_runners;  /* process and remote runners only                      */
        int64_t max_num_env_runner_restarts; /* of each of them in a run; negative = no limit        */
    } env_runners;

    struct { /* env_runners.placement remote: other hosts (skiff/skiff.h)                            */
        const char *bind, *key_file;
        int64_t     num_hosts;
        double      wait_s;
        bool        encrypt;
    } cluster;

    struct {
        int64_t num_cpus_per_learner; /* threads of the learner; 0 = all cores, at most 4            */
    } learners;

    sk_model_config model; /* keys `model.*`; hidden layers and the rest                             */

    struct {
        int64_t interval_steps; /* 0 = only when the run stops                                       */
        int64_t num_episodes;   /* 0 = never                                                         */
        int64_t seed;           /* episode i has seed `seed + i`                                     */
    } evaluation;

    struct {
        int64_t interval_steps; /* 0 = only at the end                                               */
        int64_t keep;           /* newest checkpoints kept (the best policy is kept beside them)     */
    } checkpoint;

    struct {
        bool tensorboard, csv; /* files of the run folder besides metrics.jsonl (rl/run_dir.h)       */
    } logging;

    sk_pairs stop; /* SK_KEY_NUMBERS: metric name -> value; first one met ends the run               */
} sk_train_config;

/* The table; use with base = an sk_train_config. */
extern const sk_key sk_train_config_keys[];
extern const int    sk_train_config_n_keys;

/* What the keys cannot say one by one: stop names are metrics (with the nearest name) and at least one is a budget
 * or a goal that evaluation can reach, a batch can be counted, placement remote has runners and somewhere to listen,
 * device cuda is refused on a machine without, an evaluation goal needs evaluation.interval_steps > 0,
 * checkpoint.keep >= 1, ...
 * Messages carry the key's mark. SK_ECONFIG. */
SK_NODISCARD sk_status sk_train_config_check(const sk_train_config *self, const sk_config *cfg, sk_error *reterr);

/* Environments in all runners together; env steps of one iteration (T x environments). */
int64_t sk_train_config_n_envs(const sk_train_config *self);
int64_t sk_train_config_batch_steps(const sk_train_config *self);

#endif
