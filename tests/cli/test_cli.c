/* The program as people and scripts meet it: words, exit codes, streams, signals, what it leaves behind. */
#include "program.h"

/* A training run that takes a moment. 32 steps an iteration. */
static const char tiny[] = "algorithm: ppo\n"
                           "env: CartPole-v1\n"
                           "seed: 3\n"
                           "env_runners: {num_envs_per_env_runner: 2, rollout_fragment_length: 16}\n"
                           "model: {fcnet_hiddens: [8]}\n"
                           "training: {num_epochs: 1, minibatch_size: 32}\n"
                           "evaluation: {num_episodes: 3}\n"
                           "stop: {num_env_steps_sampled_lifetime: 320}\n";
#define ENDLESS "'stop={num_env_steps_sampled_lifetime: 1000000000000}'"

static void setup(void) {
    enter_folder();
    write_file("tiny.yaml", tiny);
}

TestSuite(usage, .init = setup, .fini = leave_folder);
TestSuite(config, .init = setup, .fini = leave_folder);
TestSuite(train, .init = setup, .fini = leave_folder);
TestSuite(eval, .init = setup, .fini = leave_folder);
TestSuite(signals, .init = setup, .fini = leave_folder);

/* The command must be refused as the user's mistake: code 2, nothing on stdout, these words on stderr. */
static void refuses(const char *line, const char *words) {
    expect_code(run(line), 2);
    cr_assert_str_empty(out, "%s: stdout: %s", line, out);
    holds(err, words);
}

/* ---- usage ---- */
Test(usage, without_a_command_shows_all_of_them) {
    refuses("", "usage: skiff COMMAND");
    expect_code(run("help"), 0);
    holds(out, "usage: skiff COMMAND");
    cr_assert_str_empty(err);
    expect_code(run("--help"), 0);
    holds(out, "train ");
    cr_assert_null(strstr(out, "worker"), "an inner command is shown");
}

Test(usage, every_command_shows_its_own) {
    static const char *const names[] = {"train",   "eval",  "config",  "envs", "check-env",
                                        "new-env", "rollout", "bench", "version", "docs", "node",
                                        "cluster"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char line[64], wanted[64];
        snprintf(line, sizeof line, "help %s", names[i]);
        snprintf(wanted, sizeof wanted, "usage: skiff %s", names[i]);
        expect_code(run(line), 0);
        holds(out, wanted);
    }
}

Test(usage, names_the_nearest_command) {
    refuses("trian tiny.yaml", "unknown command \"trian\"; did you mean \"train\"?");
    refuses("help evl", "did you mean \"eval\"?");
    refuses("qqqqqqqqqqqq", "`skiff help` lists them");
}

Test(usage, tells_its_version) {
    expect_code(run("--version"), 0);
    cr_assert(strncmp(out, "skiff 0.", 8) == 0 && strchr(out, '\n') == out + strlen(out) - 1, "%s", out);
    expect_code(run("version"), 0);
    holds(out, "device    cpu x86-64-v");
    expect_code(run("version --json"), 0);
    json_t *json = parse(out);
    text_of(json, "skiff");
    text_of(json, "jansson");
    json_decref(json);
}

Test(usage, cluster_says_what_it_wants) {
    refuses("cluster", "wanted `slurm` or `key`");
    refuses("cluster slum", "did you mean \"slurm\"?");
    refuses("cluster slurm", "wanted `-- train FILE.yaml`");
    refuses("cluster slurm -- eval tiny.yaml", "only `train` can run on a cluster");
    refuses("cluster slurm -- train", "wanted a config file after train");
    refuses("cluster slurm -- train none.yaml", "none.yaml: No such file");
    refuses("cluster slurm -- train tiny.yaml tiny.yaml", "wanted one config file");
    refuses("cluster slurm -- train tiny.yaml --resume", "--resume needs --run-dir");
    refuses("cluster slurm -- train tiny.yaml cluster.bind=tcp://a:1", "say where the head listens by --bind");
    refuses("cluster slurm -- train tiny.yaml env_runners.placement=thread", "env_runners.placement is remote");
    refuses("cluster slurm --nodes 0 -- train tiny.yaml", "--nodes: got \"0\"");
    refuses("cluster slurm --nodes 3-2 -- train tiny.yaml", "--nodes: got \"3-2\"");
    refuses("cluster slurm --nodes 2- -- train tiny.yaml", "--nodes: got \"2-\"");
    refuses("cluster slurm --bind here -- train tiny.yaml", "wanted tcp://ADDRESS:PORT");
    refuses("cluster slurm --follow x", "wanted the number of a job");
    refuses("cluster slurm --follow 1 -- train tiny.yaml", "--follow takes a job and nothing else");
}

Test(usage, cluster_makes_a_key_for_its_owner_alone) {
    struct stat st;
    char first[512];
    expect_code(run("cluster key --key folder/cluster.key"), 0);
    holds(out, "folder/cluster.key");
    cr_assert_null(strstr(out, "skiff-cluster-key"), "the key itself is shown");
    cr_assert_eq(stat("folder/cluster.key", &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0600);
    cr_assert(read_file_to("folder/cluster.key", first, sizeof first));
    expect_code(run("cluster key --key folder/cluster.key"), 0);
    cr_assert_str_eq(read_file("folder/cluster.key"), first, "it was made anew");
    cr_assert_eq(chmod("folder/cluster.key", 0644), 0);
    refuses("cluster key --key folder/cluster.key", "folder/cluster.key");
}

Test(usage, train_says_what_it_wants) {
    refuses("train", "wanted a config file");
    refuses("train --jsn tiny.yaml", "did you mean \"--json\"");
    refuses("train tiny.yaml tiny.yaml", "wanted one config file");
    refuses("train tiny.yaml --resume", "--resume needs --run-dir");
    refuses("train --run-dir a", "wanted a config file");
    refuses("train tiny.yaml --run-dir a --resume --init-from b", "wanted one of them");
    refuses("train tiny.yaml --init-from nowhere.skiff", "nowhere.skiff: No such file");
    refuses("train nowhere.yaml", "nowhere.yaml: cannot be opened: No such file");
    refuses("train tiny.yaml --run-dir nowhere --resume", "there is no folder nowhere");
}

Test(usage, a_full_disk_under_stdout_is_a_failure) {
    expect_code(run_to("/dev/full", "help"), 1);
    holds(err, "cannot write to standard output: No space left on device");
}

/* ---- configs ---- */
/* Both commands that read a config refuse it alike, and no run folder is left. */
static void refuses_config(const char *text, const char *words) {
    write_file("bad.yaml", text);
    refuses("config bad.yaml", words);
    refuses("train bad.yaml --run-dir r", words);
    cr_assert_not(exists("r"), "a run folder was made");
    refuses("train bad.yaml", words);
    cr_assert_not(exists("runs"), "a run folder was made");
}

Test(config, errors_name_the_place) {
    refuses_config(
        "algorithm: ppo\nenv: CartPole-v1\ntraining: {lr: 1e-3, gama: 0.9}\nstop: {training_iteration: 1}\n",
        "bad.yaml:3:22: unknown key \"training.gama\"; did you mean \"training.gamma\"?");
    refuses_config("algorithm: ppo\nenv: CartPole-v1\ntraining: {lr: fast}\nstop: {training_iteration: 1}\n",
                   "bad.yaml:3:16: training.lr must be a number");
    refuses_config("algorithm: ppo\nenv: CartPole-v1\nstop: {return: 1}\n",
                   "bad.yaml:3:8: stop: there is no metric");
    refuses_config("algorithm: ppo\nenv: [CartPole-v1\n", "bad.yaml:");
    refuses_config("algorithm: poo\nenv: CartPole-v1\nstop: {training_iteration: 1}\n",
                   "did you mean \"ppo\"");
    refuses_config("algorithm: ppo\nenv: CartPool-v1\nstop: {training_iteration: 1}\n", "CartPole-v1");
    refuses_config("algorithm: ppo\nenv: {plugin: ./nowhere.so}\nstop: {training_iteration: 1}\n",
                   "nowhere.so");
    refuses("train tiny.yaml training.gamma=2", "override \"training.gamma=2\": training.gamma must be");
}

Test(config, resolves_to_what_resolves_again) {
    static char first[OUTPUT_MAX];
    expect_code(run("config tiny.yaml training.lr=1e-4"), 0);
    cr_assert_str_empty(err);
    holds(out, "lr: 0.0001\n");
    holds(out, "minibatch_size: 32\n");
    holds(out, "# derived:\n");
    strcpy(first, out);
    write_file("again.yaml", out);
    expect_code(run("config again.yaml"), 0);
    cr_assert_str_eq(out, first);
}

/* The pages of docs/ that are made from tables. To make them again: skiff docs metrics > docs/metrics.md */
Test(config, docs_are_what_the_program_says) {
    static const char *const pages[] = {"metrics", "config"};
    for (int i = 0; i < 2; i++) {
        char line[64], path[1024];
        snprintf(line, sizeof line, "docs %s", pages[i]);
        snprintf(path, sizeof path, "%s/docs/%s.md", getenv("SKIFF_SOURCE_DIR"), pages[i]);
        expect_code(run(line), 0);
        cr_assert(strcmp(out, read_file(path)) == 0, "docs/%s.md is old: run `skiff docs %s > docs/%s.md`",
                  pages[i], pages[i], pages[i]);
    }
    refuses("docs nothing", "there is no page \"nothing\"");
    expect_code(run("config --reference"), 0);
    holds(out, "| `training.gamma` |");
    refuses("config", "wanted either a config file or --reference");
}

/* ---- training ---- */
Test(train, leaves_a_complete_run_folder) {
    expect_code(run("train tiny.yaml seed=5 --run-dir r"), 0);
    cr_assert_str_empty(out, "stdout is for --json: %s", out);
    holds(err, "320 steps 100%");
    holds(read_file("r/config.yaml"), "seed: 5\n");
    holds(read_file("r/log.txt"), " info: stopped: num_env_steps_sampled_lifetime 320 >= 320");
    cr_assert(exists("r/checkpoints/320/policy.skiff"));
    cr_assert(exists("r/checkpoints/best/policy.skiff"));
    json_t *lines = parse_lines(read_file("r/metrics.jsonl"));
    cr_assert_eq(json_array_size(lines), 10);
    for (int i = 0; i < 10; i++) {
        const json_t *line = json_array_get(lines, (size_t)i);
        cr_assert_eq(number(line, "training_iteration"), i + 1);
        cr_assert_eq(number(line, "num_env_steps_sampled_lifetime"), 32 * (i + 1));
    }
    number(json_array_get(lines, 9), "evaluation/episode_return_mean");
    json_decref(lines);

    json_t *result = parse(read_file("r/result.json")), *evaluation = json_object_get(result, "evaluation");
    cr_assert_eq(number(result, "num_env_steps_sampled_lifetime"), 320);
    cr_assert_gt(number(result, "wall_s"), 0);
    cr_assert_eq(number(evaluation, "num_episodes"), 3);
    number(evaluation, "episode_return_mean");
    number(evaluation, "episode_return_std");
    cr_assert_str_eq(text_of(result, "stop_reason"), "num_env_steps_sampled_lifetime 320 >= 320");
    cr_assert_eq(strlen(text_of(result, "params_sha256")), 64);
    cr_assert_str_eq(text_of(result, "command"), "skiff train tiny.yaml seed=5 --run-dir r");
    json_decref(result);
}

/* Files of a folder whose names begin with `stem`. */
static int n_files(const char *folder, const char *stem) {
    int n = 0;
    DIR *dir = opendir(folder);
    cr_assert_not_null(dir);
    for (struct dirent *e; (e = readdir(dir));) n += strncmp(e->d_name, stem, strlen(stem)) == 0;
    closedir(dir);
    return n;
}

static int n_lines(const char *path) {
    int n = 0;
    for (const char *s = read_file(path); (s = strchr(s, '\n')); s++) n++;
    return n;
}

Test(train, writes_the_logs_that_are_wanted) {
    expect_code(run("train tiny.yaml --run-dir a"), 0);
    cr_assert_eq(n_files("a", "events.out.tfevents."), 1);
    cr_assert_eq(n_files("a", "progress.csv"), 0);
    expect_code(run("train tiny.yaml --run-dir b logging.csv=true logging.tensorboard=false"), 0);
    cr_assert_eq(n_files("b", "events.out.tfevents."), 0);
    cr_assert_eq(n_lines("b/progress.csv"), 11, "a head and 10 iterations");
    expect_code(run("train --run-dir b --resume 'stop={training_iteration: 12}'"), 0);
    cr_assert_eq(n_lines("b/progress.csv"), 13);
}

Test(train, makes_a_folder_when_none_is_named) {
    expect_code(run("train tiny.yaml"), 0);
    const char *at = strstr(err, "kept in runs/tiny_2");
    cr_assert_not_null(at, "%s", err);
    char path[256];
    cr_assert_eq(sscanf(at, "kept in %200s", path), 1);
    strcat(path, "/result.json");
    cr_assert(exists(path));
}

Test(train, json_is_all_there_is_on_stdout) {
    expect_code(run("train tiny.yaml --run-dir r --json"), 0);
    json_t *lines = parse_lines(out);
    size_t n = json_array_size(lines);
    cr_assert_geq(n, 11);
    for (size_t i = 0; i + 1 < n; i++) cr_assert_str_eq(text_of(json_array_get(lines, i), "event"), "report");
    json_t *last = json_array_get(lines, n - 1);
    cr_assert_str_eq(text_of(last, "event"), "result");
    json_object_del(last, "event");
    json_t *result = parse(read_file("r/result.json"));
    cr_assert(json_equal(last, result), "stdout and result.json differ");
    cr_assert_null(strstr(err, "steps/s"), "progress was shown on stderr as well: %s", err);
    json_decref(lines);
    json_decref(result);
}

Test(train, shows_a_live_line_on_a_terminal) {
    static char screen[1 << 16];
    int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    cr_assert(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
    stderr_to = ptsname(terminal);
    cr_assert_eq(setenv("TERM", "xterm", 1), 0);
    write_file("err", "");
    int keeper = open(stderr_to, O_RDWR | O_NOCTTY | O_CLOEXEC); /* what was written stays until it is read */
    expect_code(run("train tiny.yaml --run-dir r 'stop={time_total_s: 0.5}'"), 0);
    ssize_t size = read(terminal, screen, sizeof screen - 1);
    cr_assert_gt(size, 0);
    screen[size] = '\0';
    holds(screen, "\r\033[K");
    holds(screen, " steps/s | env ");
    holds(screen, "eta 0:0");
    holds(screen, "\nstopped: time_total_s"); /* and then ordinary lines */
    close(keeper);
    close(terminal);
}

Test(train, refuses_a_folder_with_a_run_in_it) {
    static char before[OUTPUT_MAX];
    expect_code(run("train tiny.yaml --run-dir r"), 0);
    strcpy(before, read_file("r/metrics.jsonl"));
    refuses("train tiny.yaml --run-dir r", "holds a run already; go on with it by --resume");
    cr_assert_str_eq(read_file("r/metrics.jsonl"), before);
}

Test(train, tells_goals_from_budgets_by_its_exit_code) {
    const char *never =
        "train tiny.yaml --run-dir a 'stop={training_iteration: 2, episode_return_mean: 1000}'";
    expect_code(run(never), 3);
    holds(err, "(no goal met)");
    holds(read_file("a/result.json"), "\"goal_met\":false");
    const char *soon =
        "train tiny.yaml --run-dir b 'stop={training_iteration: 1000, episode_return_mean: 1}'";
    expect_code(run(soon), 0);
    holds(read_file("b/result.json"), "\"goal_met\":true");
    holds(read_file("b/result.json"), "\"stop_reason\":\"episode_return_mean ");
}

Test(train, goes_on_where_it_stopped) {
    expect_code(run("train tiny.yaml --run-dir r"), 0);
    expect_code(run("train --run-dir r --resume 'stop={num_env_steps_sampled_lifetime: 640}'"), 0);
    holds(read_file("r/config.yaml"), "num_env_steps_sampled_lifetime: 640\n");
    cr_assert(exists("r/checkpoints/640/policy.skiff"));
    json_t *lines = parse_lines(read_file("r/metrics.jsonl"));
    cr_assert_eq(json_array_size(lines), 20);
    for (int i = 0; i < 20; i++)
        cr_assert_eq(number(json_array_get(lines, (size_t)i), "training_iteration"), i + 1);
    json_decref(lines);

    /* The same as without a stop. */
    expect_code(run("train tiny.yaml --run-dir s 'stop={num_env_steps_sampled_lifetime: 640}'"), 0);
    json_t *resumed = parse(read_file("r/result.json")), *straight = parse(read_file("s/result.json"));
    cr_assert_str_eq(text_of(resumed, "params_sha256"), text_of(straight, "params_sha256"));
    json_decref(resumed);
    json_decref(straight);
}

Test(train, a_config_that_does_not_fit_the_run_is_refused_and_not_kept) {
    expect_code(run("train tiny.yaml --run-dir r"), 0);
    refuses("train --run-dir r --resume 'model={fcnet_hiddens: [9]}'", "");
    holds(read_file("r/config.yaml"), "fcnet_hiddens: [8]\n");
    cr_assert(exists("r/result.json"));
}

Test(train, starts_from_the_parameters_of_another_run) {
    expect_code(run("train tiny.yaml --run-dir a"), 0);
    expect_code(run("train tiny.yaml --run-dir b --init-from a"), 0);
    expect_code(run("train tiny.yaml --run-dir c --init-from a/checkpoints/320 'model={fcnet_hiddens: [9]}'"),
                2);
}

Test(train, a_log_that_cannot_be_written_is_told_once_and_is_a_failure_in_the_end) {
    cr_assert_eq(mkdir("r", 0700), 0);
    cr_assert_eq(symlink("/dev/full", "r/metrics.jsonl"), 0);
    expect_code(run("train tiny.yaml --run-dir r"), 1);
    const char *words = "cannot write r/metrics.jsonl: No space left on device";
    const char *first = strstr(err, words);
    cr_assert_not_null(first, "%s", err);
    cr_assert_null(strstr(first + 1, words), "told more than once: %s", err);
    cr_assert(exists("r/result.json"), "the run was lost");
}

Test(train, a_full_disk_under_stdout_is_told_once_and_does_not_end_the_run) {
    expect_code(run_to("/dev/full", "train tiny.yaml --run-dir r --json"), 1);
    const char *words = "cannot write to standard output: No space left on device";
    const char *first = strstr(err, words);
    cr_assert_not_null(first, "%s", err);
    cr_assert_null(strstr(first + 1, words), "told more than once: %s", err);
    cr_assert(exists("r/result.json"), "the run was lost");
}

Test(train, processes_compute_what_one_thread_computes) {
    expect_code(run("train tiny.yaml --run-dir a"), 0);
    expect_code(
        run("train tiny.yaml --run-dir b env_runners.num_env_runners=2 env_runners.num_envs_per_env_runner=1 "
            "env_runners.placement=process"),
        0);
    json_t *one = parse(read_file("a/result.json")), *two = parse(read_file("b/result.json"));
    cr_assert_str_eq(text_of(one, "params_sha256"), text_of(two, "params_sha256"));
    json_decref(one);
    json_decref(two);
}

/* ---- evaluating ---- */
Test(eval, takes_a_run_a_checkpoint_or_a_policy) {
    static const char *const paths[] = {"r", "r/checkpoints/320", "r/checkpoints/320/policy.skiff"};
    expect_code(run("train tiny.yaml --run-dir r evaluation.num_episodes=0"), 0);
    double mean = 0;
    for (int i = 0; i < 3; i++) {
        char line[128];
        snprintf(line, sizeof line, "eval %s --episodes 5 --seed 11 --json", paths[i]);
        expect_code(run(line), 0);
        cr_assert_str_empty(err);
        json_t *lines = parse_lines(out), *json = json_array_get(lines, 0);
        cr_assert_eq(json_array_size(lines), 1);
        cr_assert_eq(number(json, "num_episodes"), 5);
        cr_assert_str_eq(text_of(json, "env"), "CartPole-v1");
        if (i > 0) cr_assert_eq(number(json, "episode_return_mean"), mean);
        mean = number(json, "episode_return_mean");
        json_decref(lines);
    }
    expect_code(run("eval r --episodes 5 --seed 11"), 0);
    holds(out, "CartPole-v1: return ");
    holds(out, "5 episodes from seed 11, deterministic");
}

Test(eval, plays_the_environment_of_the_run) {
    expect_code(run("train tiny.yaml --run-dir r env.max_episode_steps=4"), 0);
    expect_code(run("eval r/checkpoints/320 --episodes 2"), 0);
    holds(out, "return 4 +- 0");
    expect_code(run("eval r --episodes 2 --env CartPole-v1"), 0);
    cr_assert_null(strstr(out, "return 4 +- 0"), "%s", out);
    cr_assert_eq(rename("r/checkpoints/320/policy.skiff", "alone.skiff"), 0);
    expect_code(run("eval alone.skiff --episodes 2"), 0); /* by the policy's own word */
    holds(out, "CartPole-v1: return ");
}

Test(eval, says_what_does_not_fit) {
    expect_code(run("train tiny.yaml --run-dir r"), 0);
    refuses("eval", "usage: skiff eval");
    refuses("eval nowhere", "nowhere");
    refuses("eval tiny.yaml", "tiny.yaml");
    refuses("eval r --env Pendulum-v1", "does not fit");
    refuses("eval r --env Nothing-v0", "Nothing-v0");
    refuses("eval r --episodes 0", "--episodes: got \"0\"");
}

/* ---- signals ---- */
static void stops_in_order(int signal_number) {
    pid_t pid = start_to(NULL, "train tiny.yaml --run-dir r " ENDLESS);
    wait_for_content("r/metrics.jsonl");
    kill(pid, signal_number);
    expect_code(finish(pid), 130);
    holds(err, "interrupted: ends after this iteration, with a checkpoint");
    json_t *result = parse(read_file("r/result.json"));
    cr_assert_str_eq(text_of(result, "stop_kind"), "interrupted");
    int steps = (int)number(result, "num_env_steps_sampled_lifetime");
    char path[128], line[256];
    snprintf(path, sizeof path, "r/checkpoints/%d/policy.skiff", steps);
    cr_assert(exists(path), "%s is missing", path);
    json_decref(result);

    snprintf(line, sizeof line, "train --run-dir r --resume 'stop={num_env_steps_sampled_lifetime: %d}'",
             steps + 64);
    expect_code(run(line), 0);
    json_t *lines = parse_lines(read_file("r/metrics.jsonl"));
    cr_assert_eq((int)json_array_size(lines), steps / 32 + 2);
    for (size_t i = 0; i < json_array_size(lines); i++)
        cr_assert_eq(number(json_array_get(lines, i), "training_iteration"), (double)i + 1);
    json_decref(lines);
}

Test(signals, ctrl_c_keeps_a_checkpoint_and_the_run_can_go_on) { stops_in_order(SIGINT); }
Test(signals, sigterm_is_ctrl_c) { stops_in_order(SIGTERM); }

/* Wait until it has computed for so long. */
static void wait_for_work(pid_t pid, double cpu_s) {
    char path[64], text[512];
    double end_s = sk_clock_now_s() + PATIENCE_S, used_s = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    while (used_s < cpu_s) {
        unsigned long user = 0, kernel = 0;
        cr_assert(sk_clock_now_s() < end_s && read_file_to(path, text, sizeof text), "it does not work");
        sscanf(strrchr(text, ')'), ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel);
        used_s = (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
        usleep(2000);
    }
}

Test(signals, a_second_one_ends_at_once) {
    /* An iteration of hours, well begun: only the second signal can end it in time. */
    pid_t pid = start_to(NULL, "train tiny.yaml --run-dir r env_runners.rollout_fragment_length=100000 "
                               "training.num_epochs=10000 " ENDLESS);
    wait_for_work(pid, 1.0);
    kill(pid, SIGINT);
    usleep(300 * 1000); /* two at once would be one */
    kill(pid, SIGINT);
    expect_code(finish(pid), 130);
    cr_assert_not(exists("r/result.json"));
}

/* At least `n` children have appeared. */
static void wait_for_children(pid_t pid, int n, pid_t *ret_pids) {
    double end_s = sk_clock_now_s() + PATIENCE_S;
    while (children_of(pid, ret_pids, n) < n) {
        cr_assert(sk_clock_now_s() < end_s, "its workers did not appear: %s", read_file("err"));
        usleep(2000);
    }
}

static void expect_gone(const pid_t *pids, int n) {
    double end_s = sk_clock_now_s() + PATIENCE_S;
    for (int i = 0; i < n; i++)
        while (!has_ended(pids[i])) {
            cr_assert(sk_clock_now_s() < end_s, "process %d is left behind", (int)pids[i]);
            usleep(2000);
        }
}

#define PROCESSES "env_runners.num_env_runners=2 env_runners.placement=process "

Test(signals, a_killed_driver_takes_its_processes_along) {
    pid_t workers[2];
    pid_t pid = start_to(NULL, "train tiny.yaml --run-dir r " PROCESSES ENDLESS);
    wait_for_content("r/metrics.jsonl");
    wait_for_children(pid, 2, workers);
    kill(pid, SIGKILL);
    expect_code(finish(pid), 1000 + SIGKILL);
    expect_gone(workers, 2);
}

Test(signals, an_interrupted_driver_stops_its_processes) {
    pid_t workers[2];
    pid_t pid = start_to(NULL, "train tiny.yaml --run-dir r " PROCESSES ENDLESS);
    wait_for_content("r/metrics.jsonl");
    wait_for_children(pid, 2, workers);
    kill(pid, SIGINT);
    expect_code(finish(pid), 130);
    expect_gone(workers, 2);
}

Test(signals, a_killed_runner_ends_the_run_by_name_where_it_may_not_be_restarted) {
    pid_t workers[2];
    pid_t pid = start_to(NULL, "train tiny.yaml --run-dir r env_runners.restart_failed_env_runners=false " PROCESSES
                               ENDLESS);
    wait_for_content("r/metrics.jsonl");
    wait_for_children(pid, 2, workers);
    kill(workers[1], SIGKILL);
    expect_code(finish(pid), 1);
    holds(err, "error: runner-");
    expect_gone(workers, 2);
}

Test(signals, a_killed_run_can_go_on_from_its_last_checkpoint) {
    pid_t pid = start_to(NULL, "train tiny.yaml --run-dir r checkpoint.interval_steps=320 " ENDLESS);
    wait_for_content("r/checkpoints/320/state.skiff");
    kill(pid, SIGKILL);
    expect_code(finish(pid), 1000 + SIGKILL);
    expect_code(run("train --run-dir r --resume"
                    " 'stop={num_env_steps_sampled_lifetime: 1000000000000, time_total_s: 0.001}'"),
                0);
    /* No iteration twice; that of the checkpoint may be missing, if the kill came between the two files. */
    json_t *lines = parse_lines(read_file("r/metrics.jsonl"));
    int last = 0, n_gaps = 0;
    for (size_t i = 0; i < json_array_size(lines); i++) {
        int iteration = (int)number(json_array_get(lines, i), "training_iteration");
        cr_assert(iteration == last + 1 || iteration == last + 2, "%d follows %d", iteration, last);
        n_gaps += iteration == last + 2;
        last = iteration;
    }
    cr_assert_leq(n_gaps, 1);
    json_decref(lines);
}
