/* metrics: every number a run reports, by a name declared once below. docs/metrics.md is made from this list, stop
 * conditions are checked against it before anything starts, and the console, metrics.jsonl and result.json all read
 * from here.
 *
 * A value is "absent" until it is set; absent values are left out of every output (never NaN, never a stale guess).
 * Threads: one owner. */
#ifndef SK_RL_METRICS_H
#define SK_RL_METRICS_H
#include "core/base/status.h"
#include <stdbool.h>
#include <stdint.h>

/* X(id, name, unit, kind, help). kind: BUDGET = only grows; as a stop key it is a budget, not a goal. */
#define SK_METRIC_LIST(X)                                                                                              \
    X(TRAINING_ITERATION, "training_iteration", "", BUDGET, "Training iterations done.")                               \
    X(ENV_STEPS, "num_env_steps_sampled_lifetime", "env steps", BUDGET,                                                \
      "Steps taken in training environments since the first start of the run, resumed parts included.")                \
    X(ENV_STEPS_TRAINED, "num_env_steps_trained_lifetime", "env steps", BUDGET,                                        \
      "Of those, steps that entered an update (a batch of a stream counts once, however many epochs used it; "         \
      "what is drawn from a replay counts each time).")                                                                \
    X(TIME_TOTAL, "time_total_s", "s", BUDGET, "Wall time of the run so far, resumed parts included.")                 \
    X(EPISODES, "num_episodes_lifetime", "episodes", BUDGET, "Training episodes that ended.")                          \
    X(RETURN_MEAN, "episode_return_mean", "reward", GOAL, "Mean return of the last 100 training episodes.")            \
    X(RETURN_MIN, "episode_return_min", "reward", GOAL, "Smallest return of the last 100 training episodes.")          \
    X(RETURN_MAX, "episode_return_max", "reward", GOAL, "Largest return of the last 100 training episodes.")           \
    X(LEN_MEAN, "episode_len_mean", "env steps", GOAL, "Mean length of the last 100 training episodes.")               \
    X(EPISODES_DROPPED, "num_episodes_dropped_lifetime", "episodes", GOAL,                                             \
      "Training episodes dropped because the environment failed or gave a number that is none (on_invalid: drop).")    \
    X(RESTARTS, "num_env_runner_restarts_lifetime", "restarts", GOAL,                                                  \
      "Times a runner was made anew because its process had died (env_runners.restart_failed_env_runners); those of "  \
      "a remote runner between two fragments count once.")                                                             \
    X(HOSTS, "num_hosts", "hosts", GOAL, "Hosts that run workers of this run now (env_runners.placement remote).")     \
    X(HOSTS_LOST, "num_hosts_lost_lifetime", "hosts", GOAL,                                                            \
      "Hosts that were lost or left, as seen at the end of each iteration (env_runners.placement remote).")            \
    X(EVAL_RETURN_MEAN, "evaluation/episode_return_mean", "reward", GOAL,                                              \
      "Mean return of the last evaluation: deterministic actions, frozen normaliser, own environments.")               \
    X(EVAL_RETURN_STD, "evaluation/episode_return_std", "reward", GOAL, "Standard deviation of those returns.")        \
    X(EVAL_RETURN_MIN, "evaluation/episode_return_min", "reward", GOAL, "Smallest of those returns.")                  \
    X(EVAL_RETURN_MAX, "evaluation/episode_return_max", "reward", GOAL, "Largest of those returns.")                   \
    X(EVAL_LEN_MEAN, "evaluation/episode_len_mean", "env steps", GOAL, "Mean length of those episodes.")               \
    X(EVAL_EPISODES, "evaluation/num_episodes", "episodes", GOAL, "Number of those episodes.")                         \
    X(TOTAL_LOSS, "learner/total_loss", "", GOAL, "What is minimised, mean over the iteration's minibatches.")         \
    X(POLICY_LOSS, "learner/policy_loss", "", GOAL, "Policy part of it.")                                              \
    X(VF_LOSS, "learner/vf_loss", "reward^2", GOAL, "Mean squared error of the value function.")                       \
    X(ENTROPY, "learner/entropy", "nat", GOAL, "Mean entropy of the policy's action distribution.")                    \
    X(KL, "learner/mean_kl_loss", "nat", GOAL, "Mean KL divergence from the policy that acted, (r-1) - log r.")        \
    X(KL_COEFF, "learner/curr_kl_coeff", "", GOAL, "Coefficient of the KL penalty.")                                   \
    X(CLIP_FRACTION, "learner/clip_fraction", "", GOAL, "Share of samples whose probability ratio left the range.")    \
    X(EXPLAINED_VAR, "learner/vf_explained_var", "", GOAL, "1 - Var(target - value) / Var(target) over the batch.")    \
    X(GRAD_NORM, "learner/grad_norm", "", GOAL, "Mean global gradient norm before clipping.")                          \
    X(LR, "learner/lr", "", GOAL, "Learning rate in force.")                                                           \
    X(CLIP_PARAM, "learner/clip_param", "", GOAL, "Clip range in force.")                                              \
    X(UPDATES, "learner/num_updates_lifetime", "updates", BUDGET, "Optimizer steps taken.")                            \
    X(UPDATES_SKIPPED, "learner/num_updates_skipped_lifetime", "updates", GOAL,                                        \
      "Optimizer steps left out because the gradient was not finite.")                                                 \
    X(FIRST_KL, "learner/first_minibatch_kl", "nat", GOAL,                                                             \
      "KL in the first minibatch of the iteration; above 1e-6 acting and learning disagree about the policy.")         \
    X(FIRST_RATIO, "learner/first_minibatch_ratio_dev", "", GOAL, "Mean |ratio - 1| in that minibatch.")               \
    X(EPOCHS_DONE, "learner/num_epochs_done", "", GOAL, "Epochs of the iteration before a KL early stop.")             \
    X(QF_LOSS, "learner/qf_loss", "reward^2", GOAL, "Loss of the action values, mean over the iteration's updates.")   \
    X(QF_MEAN, "learner/qf_mean", "reward", GOAL, "Mean action value of the transitions that were learned from.")      \
    X(TD_ERROR, "learner/td_error_mean", "reward", GOAL, "Mean absolute TD error of those.")                           \
    X(ALPHA, "learner/alpha_value", "", GOAL, "Weight of the entropy (sac).")                                          \
    X(ALPHA_LOSS, "learner/alpha_loss", "", GOAL, "Loss of that weight (sac).")                                        \
    X(EXPLORATION, "learner/exploration", "", GOAL, "Epsilon, or the deviation of action noise, in force.")            \
    X(REPLAY_SIZE, "replay/num_entries", "transitions", GOAL, "Transitions that can be drawn from the replay.")        \
    X(STEPS_PER_S, "perf/env_steps_per_s", "env steps/s", GOAL, "Throughput since the last report.")                   \
    X(TIME_ENV, "perf/time_env_s", "s", GOAL, "Time in environments since the last report, slowest runner.")           \
    X(TIME_INFERENCE, "perf/time_inference_s", "s", GOAL, "Time in the policy while acting, slowest runner.")          \
    X(TIME_TRANSPORT, "perf/time_transport_s", "s", GOAL,                                                              \
      "Time from asking for experience to having it, less the slowest runner's own work.")                             \
    X(TIME_LEARN, "perf/time_learn_s", "s", GOAL, "Time in updates since the last report.")                            \
    X(TIME_EVAL, "perf/time_evaluation_s", "s", GOAL, "Time in evaluations since the last report.")                    \
    X(RSS, "perf/rss_mb", "MB", GOAL, "Resident memory of the driver process.")

typedef enum sk_metric {
#define SK_METRIC_ENUM(id, name, unit, kind, help) SK_METRIC_##id,
    SK_METRIC_LIST(SK_METRIC_ENUM)
#undef SK_METRIC_ENUM
    SK_METRIC_COUNT
} sk_metric;

typedef enum sk_metric_kind { SK_METRIC_KIND_GOAL, SK_METRIC_KIND_BUDGET } sk_metric_kind;

typedef struct sk_metric_info {
    const char    *name, *unit, *help;
    sk_metric_kind kind;
} sk_metric_info;

typedef struct sk_metrics {
    double value[SK_METRIC_COUNT];
    bool   present[SK_METRIC_COUNT];
} sk_metrics;

const sk_metric_info *sk_metric_info_get(sk_metric metric);
/* The metric of that name, or -1. */
int sk_metric_find(const char *name);
/* All names, SK_METRIC_COUNT of them, for nearest-name hints. */
const char *const *sk_metric_names(void);

/* Set; a value that is not finite makes the metric absent. */
void sk_metrics_set(sk_metrics *self, sk_metric metric, double value);
void sk_metrics_clear(sk_metrics *self, sk_metric metric);
/* Add to a counter (absent counts as 0). */
void sk_metrics_add(sk_metrics *self, sk_metric metric, double amount);
double sk_metrics_get(const sk_metrics *self, sk_metric metric, double fallback);

/* One JSON object with all present values, integers without a fraction, doubles so that they round-trip. Caller
 * frees *ret_line. SK_ENOMEM. */
SK_NODISCARD sk_status sk_metrics_json(const sk_metrics *self, char **ret_line, sk_error *reterr);

/* A line of CSV with a newline: all names, or a cell for each of them, empty if absent. Caller frees *ret_line.
 * SK_ENOMEM. */
SK_NODISCARD sk_status sk_metrics_csv_names(char **ret_line, sk_error *reterr);
SK_NODISCARD sk_status sk_metrics_csv(const sk_metrics *self, char **ret_line, sk_error *reterr);

/* The last 100 episodes, in the order (step, environment) whatever the number of runners. Plain data, part of
 * checkpoints. */
enum { SK_EPISODE_WINDOW = 100 };
typedef struct sk_episode_window {
    int64_t n_total; /* episodes ever seen; the last min(n_total, 100) are kept */
    double  ret[SK_EPISODE_WINDOW];
    double  length[SK_EPISODE_WINDOW];
} sk_episode_window;
void sk_episode_window_push(sk_episode_window *self, double ret, double length);
/* Set the RETURN_*, LEN_MEAN and EPISODES metrics (absent while no episode has ended). */
void sk_episode_window_report(const sk_episode_window *self, sk_metrics *metrics);

#endif
