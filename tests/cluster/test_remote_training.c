/* Training whose runners are on other hosts: real `skiff node` processes here, which are killed, come late, or have
 * other files. Whatever becomes of them, the parameters are the same to the last bit. */
#include "core/base/clock.h"
#include "tests/rl/rig.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { NODES_MAX = 8 };
static const char build[] = "the build of the test";

/* Nodes, which a run's callbacks start and kill. */
typedef struct hosts {
    char *folder, key[256];
    int   n, pids[NODES_MAX];
    int   n_at_once;          /* started when the wait begins                             */
    int   cpus;               /* of each                                                  */
    int   is_plain;
    int   kill_at;            /* iteration after which the first one is killed; 0 = never */
    int   join_at;            /* ... or another one is started                            */
    int   hunts;              /* after each iteration a worker process of the first is killed, a little later */
    int   victim, after_us, n_killed; /* by it                                            */
    pthread_t hunter;
    void (*when_waiting)(struct hosts *self); /* nullable; once, before any is started    */
    const char *unset;        /* nullable; a variable that the nodes do not have          */
    char  endpoint[128];
    double n_hosts;           /* as last reported                                         */
    int   n_waits;            /* reports of the wait                                      */
} hosts;

static hosts hosts_of(int n_at_once, int cpus) {
    hosts h = {.folder = rig_folder(), .n_at_once = n_at_once, .cpus = cpus};
    snprintf(h.key, sizeof h.key, "%s/key", h.folder);
    return h;
}

static void start_node(hosts *h) {
    char name[16], cpus[16], log[280];
    cr_assert_lt(h->n, NODES_MAX);
    snprintf(name, sizeof name, "n%d", h->n + 1);
    snprintf(cpus, sizeof cpus, "%d", h->cpus);
    snprintf(log, sizeof log, "%s/%s.log", h->folder, name);
    const char *argv[] = {getenv("SKIFF_BIN"), "node", "--join", h->endpoint, "--name", name, "--cpus", cpus, "--build",
                          build, "--wait", "60", h->is_plain ? "--plain" : "--key", h->is_plain ? NULL : h->key, NULL};
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (fd >= 0) dup2(fd, 1), dup2(fd, 2);
        if (h->unset) unsetenv(h->unset);
        execv(argv[0], (char **)(uintptr_t)argv);
        _exit(127);
    }
    h->pids[h->n++] = pid;
}

/* What is said when it comes to something else than goodbye. */
static const char *log_of(const hosts *h, int i) {
    size_t size;
    char   path[280];
    snprintf(path, sizeof path, "%s/n%d.log", h->folder, i + 1);
    unsigned char *bytes = rig_read(path, &size);
    const char    *text = rig_text("%.*s", size > 3000 ? 3000 : (int)size, (char *)bytes);
    free(bytes);
    return text;
}

/* The head is gone: the nodes that were not killed end by themselves, with success. */
static void hosts_end(hosts *h) {
    for (int i = 0; i < h->n; i++) {
        int status = 0;
        if (h->pids[i] <= 0) continue;
        cr_assert_eq(waitpid(h->pids[i], &status, 0), h->pids[i]);
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "n%d: %x: %s", i + 1, status, log_of(h, i));
    }
    rig_remove(&h->folder);
}

static void on_waiting(void *user, const sk_train_waiting *waiting) {
    hosts *h = user;
    snprintf(h->endpoint, sizeof h->endpoint, "%s", waiting->endpoint);
    if (h->n_waits++ > 0) return;
    cr_assert_eq(waiting->n_joined, 0);
    if (h->when_waiting) h->when_waiting(h);
    for (int i = 0; i < h->n_at_once; i++) start_node(h);
}

static uint64_t chance_state;
static int chance(int n) { /* 0 .. n-1 */
    chance_state = chance_state * 6364136223846793005u + 1442695040888963407u;
    return (int)((chance_state >> 33) % (uint32_t)n);
}
/* From SKIFF_TEST_SEED, else from the clock; printed, so that it can be asked for again. */
static void chance_begin(void) {
    const char *text = getenv("SKIFF_TEST_SEED");
    chance_state = text ? strtoull(text, NULL, 10) : (uint64_t)(sk_clock_now_s() * 1e6);
    fprintf(stderr, "# SKIFF_TEST_SEED=%llu\n", (unsigned long long)chance_state);
}

static void *hunt(void *arg) {
    hosts *h = arg;
    usleep((useconds_t)h->after_us);
    h->n_killed += kill(h->victim, SIGKILL) == 0;
    return NULL;
}
/* At whatever its runner does then. */
static void hunt_next(hosts *h, int is_last) {
    int pids[8], n;
    if (h->victim) pthread_join(h->hunter, NULL);
    h->victim = 0;
    if (is_last || (n = rig_children_of(h->pids[0], pids, 8)) == 0) return;
    h->victim = pids[chance(n)];
    h->after_us = chance(20000);
    cr_assert_eq(pthread_create(&h->hunter, NULL, hunt, h), 0);
}

static void on_progress(void *user, const sk_train_progress *progress) {
    hosts *h = user;
    int    iteration = (int)sk_metrics_get(progress->metrics, SK_METRIC_TRAINING_ITERATION, 0);
    h->n_hosts = sk_metrics_get(progress->metrics, SK_METRIC_HOSTS, -1);
    if (h->hunts) hunt_next(h, progress->is_last);
    if (progress->is_last) return;
    if (iteration == h->kill_at) {
        cr_assert_eq(kill(h->pids[0], SIGKILL), 0);
        cr_assert_eq(waitpid(h->pids[0], NULL, 0), h->pids[0]);
        h->pids[0] = 0;
    }
    if (iteration == h->join_at) start_node(h);
}

static const char *ppo_yaml(int runners, int iterations, const char *placement, const char *cluster) {
    return rig_text("algorithm: ppo\nenv: {name: CartPole-v1, max_episode_steps: 90}\nseed: 3\n"
                    "env_runners: {num_env_runners: %d, num_envs_per_env_runner: %d, rollout_fragment_length: 32,\n"
                    "  placement: %s, observation_filter: MeanStdFilter, normalize_rewards: true}\n"
                    "learners: {num_cpus_per_learner: 1}\nmodel: {fcnet_hiddens: [32, 32]}\n"
                    "training: {num_epochs: 3, minibatch_size: 96}\nevaluation: {num_episodes: 3}\n"
                    "checkpoint: {interval_steps: 1, keep: 2}\nstop: {training_iteration: %d}\n%s\n",
                    runners, 12 / runners, placement, iterations, cluster);
}
static const char *sac_yaml(const char *placement, const char *cluster) {
    return rig_text("algorithm: sac\nenv: {name: Pendulum-v1, max_episode_steps: 40}\nseed: 5\n"
                    "env_runners: {num_env_runners: 2, num_envs_per_env_runner: 2, rollout_fragment_length: 4,\n"
                    "  placement: %s}\nlearners: {num_cpus_per_learner: 1}\nmodel: {fcnet_hiddens: [32, 32]}\n"
                    "training: {num_steps_sampled_before_learning_starts: 64, train_batch_size: 32,\n"
                    "  min_sample_timesteps_per_iteration: 48}\n"
                    "evaluation: {num_episodes: 0}\nstop: {num_env_steps_sampled_lifetime: 2000}\n%s\n",
                    placement, cluster);
}
static const char *cluster_of(const hosts *h, int num_hosts, double wait_s) {
    return rig_text("cluster: {key_file: %s, num_hosts: %d, wait_s: %g, encrypt: %s}", h->key, num_hosts, wait_s,
                    h->is_plain ? "false" : "true");
}
static rig_run run_of(hosts *h, const char *yaml) {
    return (rig_run){.yaml = yaml, .build = build, .on_waiting = on_waiting, .on_progress = on_progress, .user = h};
}

/* All metrics but times and what tells of hosts. */
static void same_metrics(const sk_train_result *a, const sk_train_result *b) {
    for (int i = 0; i < SK_METRIC_COUNT; i++) {
        const char *name = sk_metric_info_get((sk_metric)i)->name;
        if (strncmp(name, "perf/", 5) == 0 || i == SK_METRIC_TIME_TOTAL || i == SK_METRIC_RESTARTS ||
            i == SK_METRIC_HOSTS || i == SK_METRIC_HOSTS_LOST)
            continue;
        cr_assert_eq(a->metrics.present[i], b->metrics.present[i], "%s", name);
        cr_assert_eq(a->metrics.value[i], b->metrics.value[i], "%s: %.17g and %.17g", name, a->metrics.value[i],
                     b->metrics.value[i]);
    }
}
static void same_run(const sk_train_result *a, const sk_train_result *b) {
    cr_assert_str_eq(a->params_sha256, b->params_sha256);
    same_metrics(a, b);
}

Test(remote_training, of_ppo_gives_the_same_bits_on_any_number_of_hosts) {
    sk_train_result here = rig_train_ok((rig_run){.yaml = ppo_yaml(1, 12, "thread", "")});
    for (int n = 1; n <= 3; n++) {
        hosts           h = hosts_of(n, n == 1 ? 3 : 2);
        sk_train_result there = rig_train_ok(run_of(&h, ppo_yaml(3, 12, "remote", cluster_of(&h, n, 60))));
        same_run(&there, &here);
        cr_assert_eq(there.metrics.value[SK_METRIC_HOSTS], n);
        cr_assert_eq(sk_metrics_get(&there.metrics, SK_METRIC_HOSTS_LOST, 0), 0);
        cr_assert_not(there.metrics.present[SK_METRIC_RESTARTS]);
        hosts_end(&h);
    }
}

Test(remote_training, of_sac_gives_the_same_bits) {
    sk_train_result here = rig_train_ok((rig_run){.yaml = sac_yaml("thread", "")});
    hosts           h = hosts_of(2, 1);
    h.is_plain = 1;
    sk_train_result there = rig_train_ok(run_of(&h, sac_yaml("remote", cluster_of(&h, 2, 60))));
    cr_assert_gt(there.metrics.value[SK_METRIC_UPDATES], 100);
    same_run(&there, &here);
    hosts_end(&h);
}

Test(remote_training, goes_on_with_the_same_bits_when_a_host_is_killed) {
    sk_train_result here = rig_train_ok((rig_run){.yaml = ppo_yaml(2, 12, "thread", "")});
    hosts           h = hosts_of(2, 2);
    h.kill_at = 4;
    rig_log_watch();
    sk_train_result there = rig_train_ok(run_of(&h, ppo_yaml(2, 12, "remote", cluster_of(&h, 2, 60))));
    same_run(&there, &here);
    rig_has(rig_warnings, "host n1 was lost");
    rig_has(rig_warnings, "was made anew");
    cr_assert_eq(there.metrics.value[SK_METRIC_HOSTS], 1);
    cr_assert_eq(there.metrics.value[SK_METRIC_HOSTS_LOST], 1);
    cr_assert_geq(there.metrics.value[SK_METRIC_RESTARTS], 1);
    hosts_end(&h);
}

Test(remote_training, goes_on_with_the_same_bits_when_runners_are_killed_at_any_moment) {
    sk_train_result here = rig_train_ok((rig_run){.yaml = ppo_yaml(2, 60, "thread", "")});
    hosts           h = hosts_of(1, 2);
    h.hunts = 1;
    chance_begin();
    sk_train_result there = rig_train_ok(run_of(&h, ppo_yaml(2, 60, "remote", cluster_of(&h, 1, 60))));
    same_run(&there, &here);
    double n_restarts = sk_metrics_get(&there.metrics, SK_METRIC_RESTARTS, 0);
    cr_assert(n_restarts >= 5 && n_restarts <= h.n_killed, "%g restarts, %d kills", n_restarts, h.n_killed);
    hosts_end(&h);
}

Test(remote_training, waits_for_another_host_when_the_only_one_is_lost) {
    sk_train_result here = rig_train_ok((rig_run){.yaml = sac_yaml("thread", "")});
    hosts           h = hosts_of(1, 2);
    h.kill_at = h.join_at = 7;
    sk_train_result there = rig_train_ok(run_of(&h, sac_yaml("remote", cluster_of(&h, 1, 60))));
    same_run(&there, &here);
    cr_assert_eq(there.metrics.value[SK_METRIC_RESTARTS], 2);
    hosts_end(&h);
}

Test(remote_training, fails_with_its_budget_and_names_runner_and_host) {
    hosts   h = hosts_of(1, 2);
    rig_run run = run_of(&h, NULL);
    h.kill_at = h.join_at = 3;
    run.yaml = ppo_yaml(2, 12, "remote", cluster_of(&h, 1, 60));
    run.set[0] = "env_runners.max_num_env_runner_restarts=0";
    cr_assert_eq(rig_train(&run), SK_EDEAD, "%s", run.error.msg);
    rig_has(run.error.msg, "runner-");
    rig_has(run.error.msg, "n1");
    hosts_end(&h);
}

Test(remote_training, can_be_resumed_on_another_number_of_hosts) {
    char           *dir = rig_folder();
    sk_train_result here = rig_train_ok((rig_run){.yaml = ppo_yaml(2, 10, "thread", "")});
    hosts           two = hosts_of(2, 1), one = hosts_of(1, 3);
    rig_run         run = run_of(&two, ppo_yaml(2, 6, "remote", cluster_of(&two, 2, 60)));
    run.run_dir = dir;
    rig_train_ok(run);
    hosts_end(&two);
    run = run_of(&one, ppo_yaml(3, 10, "remote", cluster_of(&one, 1, 60)));
    run.run_dir = dir;
    run.resume = 1;
    sk_train_result there = rig_train_ok(run);
    same_run(&there, &here);
    hosts_end(&one);
    rig_remove(&dir);
}

Test(remote_training, computes_everywhere_with_the_instructions_of_the_head) {
    cr_assert_eq(setenv("SKIFF_ISA", "v2", 1), 0);
    sk_train_result here = rig_train_ok((rig_run){.yaml = ppo_yaml(2, 5, "thread", "")});
    hosts           h = hosts_of(1, 2);
    h.unset = "SKIFF_ISA"; /* its workers are told */
    sk_train_result there = rig_train_ok(run_of(&h, ppo_yaml(2, 5, "remote", cluster_of(&h, 1, 60))));
    same_run(&there, &here);
    hosts_end(&h);
}

/* ---- before it begins ---- */

Test(remote_training, fails_when_no_host_joins_in_time) {
    hosts   h = hosts_of(0, 1);
    rig_run run = run_of(&h, NULL);
    run.yaml = ppo_yaml(2, 3, "remote", cluster_of(&h, 2, 0.4));
    cr_assert_eq(rig_train(&run), SK_ETIMEOUT, "%s", run.error.msg);
    rig_has(run.error.msg, "no host has joined within 0.4 s (cluster.wait_s), wanted 2; join with: skiff node --join ");
    rig_has(run.error.msg, h.endpoint);
    hosts_end(&h);
}

Test(remote_training, goes_on_with_fewer_hosts_than_wanted_and_says_so) {
    sk_train_result here = rig_train_ok((rig_run){.yaml = ppo_yaml(2, 3, "thread", "")});
    hosts           h = hosts_of(1, 2);
    rig_log_watch();
    sk_train_result there = rig_train_ok(run_of(&h, ppo_yaml(2, 3, "remote", cluster_of(&h, 2, 4))));
    same_run(&there, &here);
    rig_has(rig_warnings, "1 of 2 hosts have joined within 4 s (cluster.wait_s): the run goes on with those");
    hosts_end(&h);
}

static volatile int interrupted;
static void interrupt_when_waiting(hosts *h) {
    (void)h;
    interrupted = 1;
}
Test(remote_training, can_be_interrupted_while_it_waits) {
    hosts   h = hosts_of(0, 1);
    rig_run run = run_of(&h, NULL);
    h.when_waiting = interrupt_when_waiting;
    run.interrupted = &interrupted;
    run.yaml = ppo_yaml(2, 3, "remote", cluster_of(&h, 1, 60));
    cr_assert_eq(rig_train(&run), SK_EINTERRUPTED, "%s", run.error.msg);
    hosts_end(&h);
}

/* A host whose plugin is another one, as it is after the head has opened its own. */
static char the_plugin[256];
static void replace_plugin(hosts *h) {
    (void)h;
    cr_assert_eq(remove(the_plugin), 0); /* not overwritten: this process has it mapped */
    rig_copy(rig_plugin("mixed"), the_plugin);
}
static void remove_plugin(hosts *h) {
    (void)h;
    cr_assert_eq(remove(the_plugin), 0);
}
static void is_refused(void (*when_waiting)(hosts *h), sk_status wanted, const char *text) {
    hosts   h = hosts_of(1, 2);
    rig_run run = run_of(&h, NULL);
    snprintf(the_plugin, sizeof the_plugin, "%s/drill.so", h.folder);
    rig_copy(rig_plugin("drill"), the_plugin);
    h.when_waiting = when_waiting;
    run.yaml = ppo_yaml(2, 3, "remote", cluster_of(&h, 1, 60));
    run.set[0] = rig_text("env={plugin: %s, name: Drill-v0}", the_plugin);
    cr_assert_eq(rig_train(&run), wanted, "%s", run.error.msg);
    rig_has(run.error.msg, "runner-0");
    rig_has(run.error.msg, rig_text("plugin %s", the_plugin));
    rig_has(run.error.msg, text);
    hosts_end(&h);
}
Test(remote_training, refuses_a_host_with_another_plugin_or_none) {
    is_refused(replace_plugin, SK_EVERSION, "has another one (");
    is_refused(remove_plugin, SK_ENOTFOUND, "has no such file");
}

/* ---- the program ---- */

/* `skiff train` with nobody to join; what it prints to standard output. Interrupted when it says that it waits, if so
 * wanted. */
static int train_alone(const char *wait_s, int is_interrupted, char *ret_out, size_t size) {
    char *folder = rig_folder(), config[280], run[280], key[300];
    int   ends[2], status = 0;
    snprintf(config, sizeof config, "%s/run.yaml", folder);
    snprintf(run, sizeof run, "%s/run", folder);
    snprintf(key, sizeof key, "cluster.key_file=%s/key", folder);
    const char *yaml = ppo_yaml(2, 3, "remote", "");
    rig_write(config, yaml, strlen(yaml));
    cr_assert_eq(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(ends[1], 1);
        close(ends[0]), close(ends[1]);
        execl(getenv("SKIFF_BIN"), "skiff", "train", config, "--run-dir", run, "--json", wait_s, key, NULL);
        _exit(127);
    }
    close(ends[1]);
    size_t used = 0;
    for (ssize_t n; (n = read(ends[0], ret_out + used, size - used - 1)) > 0;) {
        ret_out[used += (size_t)n] = '\0';
        if (is_interrupted && strstr(ret_out, "waiting")) kill(pid, SIGINT), is_interrupted = 0;
    }
    close(ends[0]);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status));
    rig_remove(&folder);
    return WEXITSTATUS(status);
}
Test(remote_training, by_the_program_says_where_hosts_can_join_and_fails_without_any) {
    char out[8192] = "";
    cr_assert_eq(train_alone("cluster.wait_s=0.3", 0, out, sizeof out), 1, "%s", out);
    rig_has(out, "{\"event\":\"waiting\",\"hosts\":0,\"wanted\":1,\"endpoint\":\"tcp://127.0.0.1:");
}
Test(remote_training, by_the_program_can_be_interrupted_while_it_waits) {
    char out[8192] = "";
    cr_assert_eq(train_alone("cluster.wait_s=60", 1, out, sizeof out), 130, "%s", out);
}
