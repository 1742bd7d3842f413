/* train_config: the table of common keys, and what must hold between keys. */
#include "rl/train_config.h"
#include "rl/metrics.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#define AT(field) offsetof(sk_train_config, field)
#define SEED_MAX  0x1p53 /* seeds survive a trip through any JSON or YAML reader */

const sk_key sk_train_config_keys[] = {
    {"algorithm", SK_KEY_STRING, AT(algorithm), NULL, .help = "What learns."},
    {"env.name", SK_KEY_STRING, AT(env.name), "", .shorthand = "env",
     .help = "Environment; may be left out where a plugin has only one."},
    {"env.plugin", SK_KEY_STRING, AT(env.plugin), "",
     .help = "Shared library that brings the environment; empty = built in."},
    {"env.gymnasium", SK_KEY_STRING, AT(env.gymnasium), "",
     .help = "Name of an environment of an installed Gymnasium, instead of env.name; env.config holds keyword "
             "arguments of gymnasium.make (docs/python.md)."},
    {"env.python", SK_KEY_STRING, AT(env.python), "",
     .help = "Python interpreter for env.gymnasium; empty = $SKIFF_PYTHON, else python3."},
    {"env.timeout_s", SK_KEY_FLOAT, AT(env.timeout_s), "60", 0.1, 86400, .unit = "s",
     .help = "Patience with one request (make, reset, a step of all environments) to env.gymnasium."},
    {"env.config", SK_KEY_STRINGS, AT(env.config), "{}", .help = "Settings of the environment itself."},
    {"env.max_episode_steps", SK_KEY_INT, AT(env.max_episode_steps), "0", 0, INT_MAX, .unit = "env steps",
     .help = "Time limit of an episode; 0 = the environment's own."},
    {"env.model", SK_KEY_STRING, AT(env.model), "",
     .help = "env.name mujoco: the robot, an MJCF file (docs/own_robot.md)."},
    {"env.frame_skip", SK_KEY_INT, AT(env.frame_skip), "1", 1, 10000, .unit = "physics steps",
     .help = "env.name mujoco: steps of the model's timestep in each env step."},
    {"env.observation", SK_KEY_TEXTS, AT(env.observation), "[]",
     .help = "env.name mujoco: expressions, each a field of the observation; [] = qpos and qvel."},
    {"env.reward", SK_KEY_TEXTS, AT(env.reward), "[]",
     .help = "env.name mujoco: expressions whose sum is the reward; each is a metric too."},
    {"env.terminate", SK_KEY_TEXTS, AT(env.terminate), "[]",
     .help = "env.name mujoco: expressions; an episode ends when one is true."},
    {"env.reset_noise", SK_KEY_NUMBERS, AT(env.reset_noise), "{}", 0, 1e9,
     .help = "env.name mujoco: uniform noise, plus or minus, on qpos, qvel or parts of them when an episode begins."},
    {"env.keyframe", SK_KEY_STRING, AT(env.keyframe), "",
     .help = "env.name mujoco: the model's keyframe that episodes begin with; empty = its default pose."},
    {"env.action_limit", SK_KEY_FLOAT, AT(env.action_limit), "0", 0, 1e9,
     .help = "env.name mujoco: bound, plus or minus, of actuators without a ctrlrange; 0 = refuse such actuators."},
    {"seed", SK_KEY_INT, AT(seed), "0", 0, SEED_MAX,
     .help = "Of parameters, environments, actions and the order of minibatches."},
    {"device", SK_KEY_ENUM, AT(device), "auto", .choices = "auto|cpu|cuda",
     .help = "Where the learner computes; auto = the GPU if there is one."},

    {"env_runners.num_env_runners", SK_KEY_INT, AT(env_runners.num_env_runners), "0", 0, 1024,
     .help = "Actors that step environments; 0 = the learner's own thread does."},
    {"env_runners.num_envs_per_env_runner", SK_KEY_INT, AT(env_runners.num_envs_per_env_runner), "1", 1,
     65536, .help = "Environments that each of them steps together."},
    {"env_runners.rollout_fragment_length", SK_KEY_INT, AT(env_runners.rollout_fragment_length), "2048", 1,
     1e6, .unit = "env steps",
     .help = "Steps of every environment in one fragment of experience; if not given, 1 for algorithms with a replay."},
    {"env_runners.placement", SK_KEY_ENUM, AT(env_runners.placement), "thread",
     .choices = "thread|process|remote",
     .help = "Where runners live: in threads or processes of this host, or remote: in processes of hosts that have "
             "joined (`cluster`, docs/cluster.md). Results do not depend on it."},
    {"env_runners.observation_filter", SK_KEY_ENUM, AT(env_runners.observation_filter), "NoFilter",
     .choices = SK_OBS_FILTER_CHOICES,
     .help = "MeanStdFilter: observations are normalised by their running mean and variance."},
    {"env_runners.normalize_rewards", SK_KEY_BOOL, AT(env_runners.normalize_rewards), "false",
     .help = "Divide rewards by the running standard deviation of the discounted return, for learning only."},
    {"env_runners.clip_rewards", SK_KEY_FLOAT, AT(env_runners.clip_rewards), "0", 0, INFINITY,
     .unit = "reward",
     .help = "Clip rewards to plus or minus this, after normalising, for learning only; 0 = no clipping."},
    {"env_runners.on_invalid", SK_KEY_ENUM, AT(env_runners.on_invalid), "stop", .choices = "stop|drop",
     .help = "When an environment fails or gives a number that is none: stop the run, or drop the episode."},
    {"env_runners.sample_timeout_s", SK_KEY_FLOAT, AT(env_runners.sample_timeout_s), "60", 0.1, 86400,
     .unit = "s", .help = "Patience with a runner's fragment before the run fails."},
    {"env_runners.num_cpus_per_env_runner", SK_KEY_FLOAT, AT(env_runners.num_cpus_per_env_runner), "1", 0, 1024,
     .unit = "cpus",
     .help = "placement remote: what a runner takes of its host's cpus, which says how many fit there; threads and "
             "processes of this host take no notice of it."},
    {"env_runners.restart_failed_env_runners", SK_KEY_BOOL, AT(env_runners.restart_failed_env_runners), "true",
     .help = "placement process or remote: a runner whose process dies is made anew, remote ones on any host, and "
             "samples its fragment again, with the same results (environments that cannot save their state begin new "
             "episodes); false = the run fails."},
    {"env_runners.max_num_env_runner_restarts", SK_KEY_INT, AT(env_runners.max_num_env_runner_restarts), "1000", -1,
     1e9, .unit = "restarts", .help = "How often each runner may be made anew before the run fails; -1 = no limit."},

    {"cluster.bind", SK_KEY_STRING, AT(cluster.bind), "tcp://127.0.0.1:0",
     .help = "placement remote: where to listen for hosts (`skiff node --join`); port 0: any free one. Nothing beyond "
             "this host can join unless it says so."},
    {"cluster.key_file", SK_KEY_STRING, AT(cluster.key_file), "",
     .help = "The cluster's key: who has it may join, and nobody else; empty = $SKIFF_CLUSTER_KEY, else "
             "~/.config/skiff/cluster.key, made when missing."},
    {"cluster.num_hosts", SK_KEY_INT, AT(cluster.num_hosts), "1", 1, 1023, .unit = "hosts",
     .help = "How many hosts to wait for before training starts; others may join at any time."},
    {"cluster.wait_s", SK_KEY_FLOAT, AT(cluster.wait_s), "300", 0, 1e6, .unit = "s",
     .help = "Patience with them; then it goes on with those that have joined, and fails if none has."},
    {"cluster.encrypt", SK_KEY_BOOL, AT(cluster.encrypt), "true",
     .help = "Encrypt and authenticate what goes to other hosts and comes from them; false only with a bind to "
             "loopback."},

    {"learners.num_cpus_per_learner", SK_KEY_INT, AT(learners.num_cpus_per_learner), "0", 0, 256,
     .unit = "threads",
     .help = "Threads of the learner; results do not depend on it. 0 = all cores, at most 4."},

    {"model.fcnet_hiddens", SK_KEY_LIST, AT(model.fcnet_hiddens), "[64, 64]", 1, 16384, .unit = "units",
     .help = "Widths of the hidden layers; [] = none."},
    {"model.fcnet_activation", SK_KEY_ENUM, AT(model.fcnet_activation), "tanh",
     .choices = SK_ACTIVATION_CHOICES, .help = "Activation of the hidden layers."},
    {"model.vf_share_layers", SK_KEY_BOOL, AT(model.vf_share_layers), "false",
     .help = "Policy and value function use the same hidden layers."},
    {"model.free_log_std", SK_KEY_BOOL, AT(model.free_log_std), "true",
     .help = "Continuous actions: the log of the standard deviation is a parameter, not an output of the "
             "network."},
    {"model.log_std_init", SK_KEY_FLOAT, AT(model.log_std_init), "0", -20, 2,
     .help = "Continuous actions: where that logarithm starts."},
    {"model.layer_norm", SK_KEY_BOOL, AT(model.layer_norm), "false",
     .help = "Layer normalisation before every hidden activation."},
    {"model.squash_actions", SK_KEY_BOOL, AT(model.squash_actions), "false",
     .help = "ppo, continuous actions: tanh of the Gaussian's draw, scaled to the bounds, instead of clipping at them."},
    {"model.use_sde", SK_KEY_BOOL, AT(model.use_sde), "false",
     .help = "ppo and sac, continuous actions: state-dependent exploration (gSDE): noise is a function of the "
             "observation that is drawn anew only now and then."},
    {"model.sde_sample_freq", SK_KEY_INT, AT(model.sde_sample_freq), "-1", -1, INT_MAX, .unit = "env steps",
     .help = "use_sde: steps between draws of that function; -1 = once per fragment."},

    {"evaluation.interval_steps", SK_KEY_INT, AT(evaluation.interval_steps), "0", 0, 1e15,
     .unit = "env steps", .help = "Training steps between evaluations; 0 = only when the run stops."},
    {"evaluation.num_episodes", SK_KEY_INT, AT(evaluation.num_episodes), "10", 0, 1e6, .unit = "episodes",
     .help = "Episodes of each evaluation; 0 = never evaluate."},
    {"evaluation.seed", SK_KEY_INT, AT(evaluation.seed), "10000", 0, SEED_MAX,
     .help = "Episode i of every evaluation has this seed plus i."},

    {"checkpoint.interval_steps", SK_KEY_INT, AT(checkpoint.interval_steps), "0", 0, 1e15,
     .unit = "env steps", .help = "Training steps between checkpoints; 0 = only when the run stops."},
    {"checkpoint.keep", SK_KEY_INT, AT(checkpoint.keep), "3", 1, 1e6, .unit = "checkpoints",
     .help = "How many of the newest are kept; the best policy is kept beside them."},

    {"logging.tensorboard", SK_KEY_BOOL, AT(logging.tensorboard), "true",
     .help = "Write TensorBoard event files into the run folder (`tensorboard --logdir runs`)."},
    {"logging.csv", SK_KEY_BOOL, AT(logging.csv), "false",
     .help = "Write progress.csv into the run folder: one line per iteration, one column per metric."},

    {"stop", SK_KEY_NUMBERS, AT(stop), "{}",
     .help = "Metric name -> value (docs/metrics.md); the first one reached ends the run. A budget only "
             "grows and simply ends it; every other metric is a goal, and a run that ends without it exits "
             "with 3."},
};
const int sk_train_config_n_keys = SK_COUNT(sk_train_config_keys);

int64_t sk_train_config_n_envs(const sk_train_config *self) {
    int64_t runners = self->env_runners.num_env_runners;
    return (runners > 0 ? runners : 1) * self->env_runners.num_envs_per_env_runner;
}

int64_t sk_train_config_batch_steps(const sk_train_config *self) {
    return sk_train_config_n_envs(self) * self->env_runners.rollout_fragment_length;
}

/* Is it a number of episodes, which rises when the policy gets better? */
static bool is_of_episodes(const char *metric) {
    return strncmp(metric, "episode_", 8) == 0 || strncmp(metric, "evaluation/", 11) == 0;
}

/* What a wrong name may have meant: the same without its group (vf_loss), nearly the same, or a beginning. */
static const char *nearest_metric(const char *name) {
    const char *const *names = sk_metric_names();
    for (int i = 0; i < SK_METRIC_COUNT; i++) {
        const char *slash = strchr(names[i], '/');
        if (slash && strcmp(slash + 1, name) == 0) return names[i];
    }
    const char *near = sk_nearest_name(name, names, SK_METRIC_COUNT);
    for (int i = 0; i < SK_METRIC_COUNT && !near && *name; i++)
        if (strncmp(names[i], name, strlen(name)) == 0) near = names[i];
    return near;
}

static sk_status check_stop_one(const sk_train_config *self, int i, sk_error *reterr) {
    const char *name = self->stop.at[i].name, *mark = self->stop.at[i].mark;
    double value = self->stop.at[i].number;
    int metric = sk_metric_find(name);
    if (metric < 0) {
        const char *nearest = nearest_metric(name);
        return SK_FAIL(reterr, SK_ECONFIG, "%s: stop: there is no metric \"%.120s\"%s%s%s", mark, name,
                       nearest ? "; did you mean \"" : " (`skiff docs metrics` lists them)",
                       nearest ? nearest : "", nearest ? "\"?" : "");
    }
    const sk_metric_info *info = sk_metric_info_get((sk_metric)metric);
    if (info->kind == SK_METRIC_KIND_BUDGET && !(value > 0))
        return SK_FAIL(reterr, SK_ECONFIG, "%s: stop: %s is a budget and must be > 0, got %g", mark, name,
                       value);
    if (strncmp(name, "evaluation/", 11) != 0) return SK_OK;
    if (self->evaluation.num_episodes == 0)
        return SK_FAIL(reterr, SK_ECONFIG,
                       "%s: stop: %s can never be reached, because evaluation.num_episodes is 0", mark, name);
    if (self->evaluation.interval_steps == 0)
        return SK_FAIL(
            reterr, SK_ECONFIG,
            "%s: stop: %s is only looked at during the run if evaluation.interval_steps is > 0, got 0", mark,
            name);
    return SK_OK;
}

static sk_status check_stop(const sk_train_config *self, const sk_config *cfg, sk_error *reterr) {
    const char *mark = sk_config_mark(cfg, "stop");
    bool can_end = false;
    if (self->stop.n == 0)
        return SK_FAIL(reterr, SK_ECONFIG,
                       "%s: stop needs at least one condition, e.g. {num_env_steps_sampled_lifetime: 100000}",
                       mark);
    for (int i = 0; i < self->stop.n; i++) {
        SK_TRY(check_stop_one(self, i, reterr));
        sk_metric metric = (sk_metric)sk_metric_find(self->stop.at[i].name);
        can_end |= sk_metric_info_get(metric)->kind == SK_METRIC_KIND_BUDGET ||
                   is_of_episodes(self->stop.at[i].name);
    }
    if (!can_end)
        return SK_FAIL(
            reterr, SK_ECONFIG,
            "%s: stop needs a condition that ends the run: a budget like num_env_steps_sampled_lifetime, or "
            "a goal like evaluation/episode_return_mean",
            mark);
    return SK_OK;
}

/* One round of experience must be one that can be counted. */
static sk_status check_batch(const sk_train_config *self, const sk_config *cfg, sk_error *reterr) {
    int64_t n_envs = sk_train_config_n_envs(self), length = self->env_runners.rollout_fragment_length;
    int64_t steps = sk_train_config_batch_steps(self);
    if (steps > INT_MAX)
        return SK_FAIL(reterr, SK_ECONFIG,
                       "%s: one iteration would be %" PRId64 " env steps (%" PRId64 " environments x "
                       "env_runners.rollout_fragment_length %" PRId64 "), at most %d are possible",
                       sk_config_mark(cfg, "env_runners"), steps, n_envs, length, INT_MAX);
    return SK_OK;
}

/* Keys that only the robots of env.name mujoco have. A resolved config gives all keys, so defaults are no fault. */
static sk_status check_robot(const sk_train_config *self, const sk_config *cfg, sk_error *reterr) {
    const struct {
        const char *key;
        bool        is_set;
    } keys[] = {{"env.model", *self->env.model},
                {"env.frame_skip", self->env.frame_skip != 1},
                {"env.observation", self->env.observation.n > 0},
                {"env.reward", self->env.reward.n > 0},
                {"env.terminate", self->env.terminate.n > 0},
                {"env.reset_noise", self->env.reset_noise.n > 0},
                {"env.keyframe", *self->env.keyframe},
                {"env.action_limit", self->env.action_limit != 0}};
    if (strcmp(self->env.name, "mujoco") == 0 || strncmp(self->env.name, "mujoco:", 7) == 0) return SK_OK;
    for (int i = 0; i < SK_COUNT(keys); i++) {
        if (!keys[i].is_set) continue;
        return SK_FAIL(reterr, SK_ECONFIG, "%s: %s is only for env.name mujoco, got \"%.60s\"",
                       sk_config_mark(cfg, keys[i].key), keys[i].key, self->env.name);
    }
    return SK_OK;
}

/* One source of environments, and the keys that go with it. */
static sk_status check_env(const sk_train_config *self, const sk_config *cfg, sk_error *reterr) {
    bool of_python = *self->env.gymnasium || strncmp(self->env.name, "gymnasium:", 10) == 0;
    if (*self->env.gymnasium && (*self->env.name || *self->env.plugin))
        return SK_FAIL(reterr, SK_ECONFIG,
                       "%s: env.gymnasium takes the place of env.name and env.plugin, got \"%.60s\" and \"%.60s\"",
                       sk_config_mark(cfg, "env.gymnasium"), self->env.gymnasium,
                       *self->env.name ? self->env.name : self->env.plugin);
    if (*self->env.python && !of_python)
        return SK_FAIL(reterr, SK_ECONFIG, "%s: env.python is only for env.gymnasium",
                       sk_config_mark(cfg, "env.python"));
    SK_TRY(check_robot(self, cfg, reterr));
    if (*self->env.name || *self->env.plugin || *self->env.gymnasium) return SK_OK;
    return SK_FAIL(reterr, SK_ECONFIG,
                   "%s: env is missing, wanted the name of an environment, e.g. \"env: CartPole-v1\" (`skiff envs` "
                   "lists them)",
                   sk_config_mark(cfg, "env"));
}

/* Does only this very host reach "tcp://ADDRESS:PORT"? */
static bool is_loopback(const char *bind) {
    const char *address = bind + strlen("tcp://");
    if (strncmp(address, "localhost:", 10) == 0 || strncmp(address, "[::1]:", 6) == 0) return true;
    return strncmp(address, "127.", 4) == 0 && address[strspn(address, "0123456789.")] == ':';
}

/* Other hosts: there must be something for them to do, and a place where they can join. */
static sk_status check_cluster(const sk_train_config *self, const sk_config *cfg, sk_error *reterr) {
    const char *bind = self->cluster.bind;
    if (self->env_runners.num_env_runners == 0)
        return SK_FAIL(reterr, SK_ECONFIG,
                       "%s: env_runners.placement remote needs runners that can be elsewhere, wanted "
                       "env_runners.num_env_runners > 0, got 0",
                       sk_config_mark(cfg, "env_runners.placement"));
    const char *port = strrchr(bind, ':');
    if (strncmp(bind, "tcp://", 6) != 0 || port <= bind + 6 || !port[1])
        return SK_FAIL(reterr, SK_ECONFIG, "%s: cluster.bind \"%.100s\" is no place to listen, wanted "
                       "\"tcp://ADDRESS:PORT\", as in \"tcp://127.0.0.1:0\"",
                       sk_config_mark(cfg, "cluster.bind"), bind);
    if (!self->cluster.encrypt && !is_loopback(bind))
        return SK_FAIL(reterr, SK_ECONFIG,
                       "%s: cluster.encrypt false is for loopback only, and cluster.bind is \"%.100s\": anybody there "
                       "could join",
                       sk_config_mark(cfg, "cluster.encrypt"), bind);
    return SK_OK;
}

sk_status sk_train_config_check(const sk_train_config *self, const sk_config *cfg, sk_error *reterr) {
    SK_TRY(check_env(self, cfg, reterr));
    if (self->device == SK_DEVICE_CUDA)
        return SK_FAIL(reterr, SK_ECONFIG,
                       "%s: device cuda is not there: this skiff computes on the CPU only",
                       sk_config_mark(cfg, "device"));
    if (self->env_runners.placement == SK_RUNNER_REMOTE) SK_TRY(check_cluster(self, cfg, reterr));
    SK_TRY(check_batch(self, cfg, reterr));
    return check_stop(self, cfg, reterr);
}
