#include "rl/run_dir.h"
#include "rl/version.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64], dir_path[128]; /* a folder of this test; the run folder in it, not made yet */

static void setup(void) {
    strcpy(root, "/tmp/skiff-run-dir-XXXXXX");
    cr_assert_not_null(mkdtemp(root));
    snprintf(dir_path, sizeof dir_path, "%s/run", root);
}

static void remove_tree(const char *path) {
    DIR *dir = opendir(path);
    if (!dir) {
        unlink(path);
        return;
    }
    for (struct dirent *e; (e = readdir(dir));) {
        char child[512];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        snprintf(child, sizeof child, "%s/%s", path, e->d_name);
        remove_tree(child);
    }
    closedir(dir);
    rmdir(path);
}

static void teardown(void) { remove_tree(root); }

TestSuite(run_dir, .init = setup, .fini = teardown);

static const char *in_dir(const char *name) {
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", dir_path, name);
    return path;
}

static char *read_file(const char *name) {
    static char text[4096];
    FILE *file = fopen(in_dir(name), "r");
    cr_assert_not_null(file, "%s is missing", name);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

static void write_file(const char *name, const char *text) {
    FILE *file = fopen(in_dir(name), "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

static sk_run_dir *enter(int resume) {
    sk_run_dir *dir = NULL;
    sk_error err = {0};
    sk_run_dir_params params = {.path = dir_path, .resume = resume};
    cr_assert_eq(sk_run_dir_create(&params, &dir, &err), SK_OK, "%s", err.msg);
    return dir;
}

static void refuses(const char *path, int resume, sk_status wanted, const char *words) {
    sk_run_dir *dir = NULL;
    sk_error err = {0};
    sk_run_dir_params params = {.path = path, .resume = resume};
    cr_assert_eq(sk_run_dir_create(&params, &dir, &err), wanted, "got %d: %s", err.status, err.msg);
    cr_assert_null(dir);
    cr_assert(strstr(err.msg, words), "\"%s\" does not say \"%s\"", err.msg, words);
}

/* One report of an iteration. */
static void report(sk_run_dir *dir, int iteration) {
    sk_metrics m = {0};
    sk_error err = {0};
    char *line = NULL;
    sk_metrics_set(&m, SK_METRIC_TRAINING_ITERATION, iteration);
    cr_assert_eq(sk_metrics_json(&m, &line, &err), SK_OK);
    cr_assert_eq(sk_run_dir_report(dir, &m, line, &err), SK_OK, "%s", err.msg);
    free(line);
}

Test(run_dir, makes_the_folder_and_its_files) {
    snprintf(dir_path, sizeof dir_path, "%s/a/b/run//", root);
    sk_run_dir *dir = enter(0);
    dir_path[strlen(dir_path) - 2] = '\0';
    sk_error err = {0};
    cr_assert_str_eq(sk_run_dir_path(dir), dir_path);
    cr_assert_eq(sk_run_dir_begin(dir, "algorithm: ppo\n", &err), SK_OK, "%s", err.msg);
    report(dir, 1);
    report(dir, 2);
    cr_assert_eq(sk_run_dir_log(dir, SK_LOG_WARN, "watch out", &err), SK_OK, "%s", err.msg);
    cr_assert_eq(sk_run_dir_finish(dir, "{}", &err), SK_OK, "%s", err.msg);
    cr_assert_eq(sk_run_dir_n_failed(dir), 0);
    sk_run_dir_destroy(&dir);
    cr_assert_null(dir);
    cr_assert_str_eq(read_file("config.yaml"), "algorithm: ppo\n");
    cr_assert_str_eq(read_file("metrics.jsonl"), "{\"training_iteration\":1}\n{\"training_iteration\":2}\n");
    cr_assert_str_eq(read_file("result.json"), "{}\n");
    const char *log = read_file("log.txt");
    cr_assert(strstr(log, " warning: watch out\n"), "%s", log);
}

Test(run_dir, names_a_new_folder_by_stem_and_date) {
    char here[512];
    sk_run_dir *one = NULL, *two = NULL;
    sk_error err = {0};
    sk_run_dir_params params = {.stem = "cartpole_ppo"};
    cr_assert_not_null(getcwd(here, sizeof here));
    cr_assert_eq(chdir(root), 0);
    cr_assert_eq(sk_run_dir_create(&params, &one, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(sk_run_dir_create(&params, &two, &err), SK_OK, "%s", err.msg);
    int date, clock;
    cr_assert_eq(sscanf(sk_run_dir_path(one), "runs/cartpole_ppo_%8d-%6d", &date, &clock), 2, "%s",
                 sk_run_dir_path(one));
    cr_assert_str_neq(sk_run_dir_path(one), sk_run_dir_path(two));
    sk_run_dir_destroy(&one);
    sk_run_dir_destroy(&two);
    cr_assert_eq(chdir(here), 0);
}

Test(run_dir, refuses_a_folder_that_holds_a_run) {
    sk_run_dir *dir = enter(0);
    report(dir, 1);
    sk_run_dir_destroy(&dir);
    refuses(dir_path, 0, SK_EINVAL, "holds a run already; go on with it by --resume");
    cr_assert_str_eq(read_file("metrics.jsonl"), "{\"training_iteration\":1}\n");
}

Test(run_dir, refuses_a_folder_with_checkpoints) {
    cr_assert_eq(mkdir(dir_path, 0777) + mkdir(in_dir("checkpoints"), 0777), 0);
    sk_run_dir *dir = enter(0); /* an empty one is no run */
    sk_run_dir_destroy(&dir);
    write_file("checkpoints/1000", "");
    refuses(dir_path, 0, SK_EINVAL, "holds a run already");
}

Test(run_dir, takes_again_what_never_started) {
    sk_run_dir *dir = enter(0);
    cr_assert_eq(sk_run_dir_begin(dir, "x", NULL), SK_OK);
    sk_run_dir_destroy(&dir);
    dir = enter(0);
    sk_run_dir_destroy(&dir);
}

Test(run_dir, refuses_to_share_a_folder) {
    sk_run_dir *dir = enter(0);
    refuses(dir_path, 0, SK_EINVAL, "another process is writing the run folder");
    refuses(dir_path, 1, SK_EINVAL, "another process is writing the run folder");
    sk_run_dir_destroy(&dir);
}

Test(run_dir, says_when_there_is_nothing_to_resume) {
    refuses(dir_path, 1, SK_ENOTFOUND, "nothing to resume: there is no folder");
    refuses("", 0, SK_EINVAL, "empty");
}

Test(run_dir, says_why_a_folder_cannot_be_made) {
    char path[256];
    snprintf(path, sizeof path, "%s/file/run", root);
    snprintf(dir_path, sizeof dir_path, "%s", root);
    write_file("file", "x");
    refuses(path, 0, SK_EIO, "/file/run: Not a directory");
}

Test(run_dir, goes_on_after_a_torn_line) {
    sk_run_dir *dir = enter(0);
    report(dir, 1);
    report(dir, 2);
    sk_run_dir_destroy(&dir);
    FILE *file = fopen(in_dir("metrics.jsonl"), "a");
    fputs("{\"training_iteration\":3,\"episo", file);
    fclose(file);
    dir = enter(1);
    report(dir, 3);
    report(dir, 4);
    sk_run_dir_destroy(&dir);
    cr_assert_str_eq(read_file("metrics.jsonl"), "{\"training_iteration\":1}\n{\"training_iteration\":2}\n"
                                                 "{\"training_iteration\":3}\n{\"training_iteration\":4}\n");
}

Test(run_dir, cuts_what_came_after_the_checkpoint_it_resumes_from) {
    sk_run_dir *dir = enter(0);
    for (int i = 1; i <= 5; i++) report(dir, i);
    sk_run_dir_destroy(&dir);
    dir = enter(1);
    cr_assert(strstr(read_file("metrics.jsonl"), ":5}"), "cut before it was known from where");
    report(dir, 3); /* the checkpoint was made after iteration 2 */
    report(dir, 4);
    sk_run_dir_destroy(&dir);
    cr_assert_str_eq(read_file("metrics.jsonl"), "{\"training_iteration\":1}\n{\"training_iteration\":2}\n"
                                                 "{\"training_iteration\":3}\n{\"training_iteration\":4}\n");
}

Test(run_dir, keeps_the_last_report_of_an_iteration) {
    sk_run_dir *dir = enter(0);
    sk_metrics m = {0};
    report(dir, 1);
    report(dir, 2);
    sk_metrics_set(&m, SK_METRIC_TRAINING_ITERATION, 2);
    cr_assert_eq(sk_run_dir_report(dir, &m, "{\"training_iteration\":2,\"x\":1}", NULL), SK_OK);
    report(dir, 3);
    sk_run_dir_destroy(&dir);
    cr_assert_str_eq(read_file("metrics.jsonl"),
                     "{\"training_iteration\":1}\n{\"training_iteration\":2,\"x\":1}\n"
                     "{\"training_iteration\":3}\n");
}

Test(run_dir, an_old_result_goes_when_the_run_goes_on) {
    sk_run_dir *dir = enter(0);
    report(dir, 1);
    cr_assert_eq(sk_run_dir_finish(dir, "{}", NULL), SK_OK);
    sk_run_dir_destroy(&dir);
    dir = enter(1);
    cr_assert_eq(access(in_dir("result.json"), F_OK), 0, "gone before the run was on");
    cr_assert_eq(sk_run_dir_begin(dir, "a", NULL), SK_OK);
    cr_assert_neq(access(in_dir("result.json"), F_OK), 0);
    cr_assert_eq(sk_run_dir_begin(dir, "b", NULL), SK_OK);
    cr_assert_str_eq(read_file("config.yaml"), "a");
    sk_run_dir_destroy(&dir);
}

/* ---- progress.csv and events ---- */

static sk_status report_csv(sk_run_dir *dir, int iteration, double loss, sk_error *reterr) {
    sk_metrics m = {0};
    sk_metrics_set(&m, SK_METRIC_TRAINING_ITERATION, iteration);
    sk_metrics_set(&m, SK_METRIC_TOTAL_LOSS, loss);
    return sk_run_dir_report_csv(dir, &m, reterr);
}

/* The iterations and losses of progress.csv, as "1:0.5 2:-3 "; its head must be all names. */
static const char *csv_content(void) {
    static char content[1024];
    char *line = read_file("progress.csv"), *next, head[4096] = "";
    for (int i = 0; i < SK_METRIC_COUNT; i++) {
        if (i) strcat(head, ",");
        strcat(head, sk_metric_names()[i]);
    }
    content[0] = '\0';
    for (int n = 0; *line; line = next + 1, n++) {
        next = strchr(line, '\n');
        cr_assert_not_null(next, "a torn line: %s", line);
        *next = '\0';
        if (n == 0) {
            cr_assert_str_eq(line, head);
            continue;
        }
        int column = 0;
        for (char *cell = line, *end; cell; cell = end ? end + 1 : NULL, column++) {
            if ((end = strchr(cell, ','))) *end = '\0';
            if (column == SK_METRIC_TRAINING_ITERATION) strcat(strcat(content, cell), ":");
            else if (column == SK_METRIC_TOTAL_LOSS) strcat(strcat(content, cell), " ");
            else cr_assert_str_empty(cell);
        }
        cr_assert_eq(column, SK_METRIC_COUNT);
    }
    return content;
}

Test(run_dir, writes_a_table_if_asked_to) {
    sk_run_dir *dir = enter(0);
    cr_assert_neq(access(in_dir("progress.csv"), F_OK), 0);
    cr_assert_eq(report_csv(dir, 1, 0.1, NULL), SK_OK);
    cr_assert_eq(report_csv(dir, 2, NAN, NULL), SK_OK);
    cr_assert_eq(report_csv(dir, 3, 1e-30, NULL), SK_OK);
    cr_assert_eq(report_csv(dir, 3, -4, NULL), SK_OK); /* the last report of an iteration counts */
    cr_assert_str_eq(csv_content(), "1:0.1 2: 3:-4 ");
    sk_run_dir_destroy(&dir);
}

Test(run_dir, cuts_the_table_where_it_goes_on) {
    sk_run_dir *dir = enter(0);
    for (int i = 1; i <= 5; i++) cr_assert_eq(report_csv(dir, i, i, NULL), SK_OK);
    sk_run_dir_destroy(&dir);
    FILE *file = fopen(in_dir("progress.csv"), "a");
    fputs("6,99", file);
    fclose(file);
    dir = enter(1);
    cr_assert_eq(report_csv(dir, 3, -3, NULL), SK_OK);
    cr_assert_eq(report_csv(dir, 4, -4, NULL), SK_OK);
    cr_assert_str_eq(csv_content(), "1:1 2:2 3:-3 4:-4 ");
    sk_run_dir_destroy(&dir);
}

Test(run_dir, a_table_with_other_columns_is_left_alone) {
    sk_error err = {0};
    sk_run_dir *dir = enter(0);
    sk_run_dir_destroy(&dir);
    write_file("progress.csv", "training_iteration,luck\n1,7\n");
    dir = enter(1);
    cr_assert_eq(report_csv(dir, 2, 0, &err), SK_EVERSION);
    cr_assert(strstr(err.msg, "/run/progress.csv, its columns are not those of this version"), "%s", err.msg);
    cr_assert_eq(report_csv(dir, 3, 0, &err), SK_OK, "told once");
    cr_assert_eq(sk_run_dir_n_failed(dir), 1);
    sk_run_dir_destroy(&dir);
    cr_assert_str_eq(read_file("progress.csv"), "training_iteration,luck\n1,7\n");
}

/* How many event files there are. */
static int n_event_files(void) {
    int n = 0;
    DIR *dir = opendir(dir_path);
    for (struct dirent *e; dir && (e = readdir(dir));) n += strncmp(e->d_name, "events.out.tfevents.", 20) == 0;
    if (dir) closedir(dir);
    return n;
}

Test(run_dir, every_part_of_a_run_has_its_events) {
    sk_metrics m = {0};
    sk_run_dir *dir = enter(0);
    cr_assert_eq(n_event_files(), 0);
    for (int i = 0; i < 3; i++) cr_assert_eq(sk_run_dir_report_events(dir, &m, NULL), SK_OK);
    sk_run_dir_destroy(&dir);
    cr_assert_eq(n_event_files(), 1);
    dir = enter(1);
    cr_assert_eq(sk_run_dir_report_events(dir, &m, NULL), SK_OK);
    cr_assert_eq(sk_run_dir_finish(dir, "{}", NULL), SK_OK);
    sk_run_dir_destroy(&dir);
    cr_assert_eq(n_event_files(), 2);
}

Test(run_dir, events_that_cannot_be_written_are_told_once) {
    sk_metrics m = {0};
    sk_error err = {0};
    sk_run_dir *dir = enter(0);
    cr_assert_eq(unlink(in_dir("metrics.jsonl")) + unlink(in_dir("log.txt")) + rmdir(dir_path), 0);
    cr_assert_eq(sk_run_dir_report_events(dir, &m, &err), SK_EIO);
    cr_assert(strstr(err.msg, "cannot write") && strstr(err.msg, "/run/events.out.tfevents."), "%s", err.msg);
    cr_assert_eq(sk_run_dir_report_events(dir, &m, &err), SK_OK);
    cr_assert_eq(sk_run_dir_n_failed(dir), 1);
    sk_run_dir_destroy(&dir);
}

/* A file that is always full stands in for a full disk. */
Test(run_dir, tells_a_failed_write_once_and_goes_on) {
    sk_metrics m = {0};
    sk_error err = {0};
    cr_assert_eq(mkdir(dir_path, 0777), 0);
    cr_assert_eq(symlink("/dev/full", in_dir("metrics.jsonl")), 0);
    cr_assert_eq(symlink("/dev/full", in_dir("log.txt")), 0);
    cr_assert_eq(symlink("/dev/full", in_dir("progress.csv")), 0);
    sk_run_dir *dir = enter(0);
    cr_assert_eq(sk_run_dir_report(dir, &m, "{}", &err), SK_EIO);
    cr_assert(strstr(err.msg, "/run/metrics.jsonl: No space left on device"), "%s", err.msg);
    cr_assert_eq(sk_run_dir_report(dir, &m, "{}", &err), SK_OK);
    cr_assert_eq(sk_run_dir_n_failed(dir), 1);
    cr_assert_eq(sk_run_dir_log(dir, SK_LOG_INFO, "x", &err), SK_EIO);
    cr_assert(strstr(err.msg, "/run/log.txt: No space left on device"), "%s", err.msg);
    cr_assert_eq(sk_run_dir_log(dir, SK_LOG_INFO, "x", &err), SK_OK);
    cr_assert_eq(report_csv(dir, 1, 1, &err), SK_EIO);
    cr_assert(strstr(err.msg, "/run/progress.csv: No space left on device"), "%s", err.msg);
    cr_assert_eq(report_csv(dir, 2, 1, &err), SK_OK);
    cr_assert_eq(sk_run_dir_n_failed(dir), 3);
    sk_run_dir_destroy(&dir);
}

Test(run_dir, tells_that_a_config_or_result_cannot_be_written) {
    sk_error err = {0};
    sk_run_dir *dir = enter(0);
    cr_assert_eq(mkdir(in_dir("config.yaml"), 0777) + mkdir(in_dir("other"), 0777), 0);
    cr_assert_eq(sk_run_dir_begin(dir, "x", &err), SK_EIO);
    cr_assert(strstr(err.msg, "/run/config.yaml"), "%s", err.msg);
    cr_assert_eq(mkdir(in_dir("result.json"), 0777), 0);
    cr_assert_eq(sk_run_dir_finish(dir, "{}", &err), SK_EIO);
    cr_assert(strstr(err.msg, "/run/result.json"), "%s", err.msg);
    cr_assert_eq(sk_run_dir_n_failed(dir), 2);
    sk_run_dir_destroy(&dir);
}

Test(run_dir, destroy_takes_null) {
    sk_run_dir *dir = NULL;
    sk_run_dir_destroy(&dir);
    sk_run_dir_destroy(NULL);
}

static json_t *result_json(const sk_train_result *result) {
    char *text = NULL;
    sk_error err = {0};
    cr_assert_eq(sk_run_result_json(result, "skiff train \"x\"", &text, &err), SK_OK, "%s", err.msg);
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    cr_assert_not_null(json, "%s", text);
    free(text);
    return json;
}

#define STRING(json, key) json_string_value(json_object_get(json, key))
#define NUMBER(json, key) json_number_value(json_object_get(json, key))

Test(run_result, holds_what_the_run_came_to) {
    sk_train_result r = {.kind = SK_STOP_GOAL,
                         .stop_reason = "episode_return_mean 480 >= 475",
                         .goal_named = 1,
                         .goal_met = 1,
                         .wall_s = 0.25,
                         .params_sha256 = "abc",
                         .device = "cpu x86-64-v4"};
    sk_metrics_set(&r.metrics, SK_METRIC_ENV_STEPS, 4096);
    sk_metrics_set(&r.metrics, SK_METRIC_EVAL_RETURN_MEAN, 480.5);
    sk_metrics_set(&r.metrics, SK_METRIC_EVAL_RETURN_STD, 2);
    sk_metrics_set(&r.metrics, SK_METRIC_EVAL_EPISODES, 10);
    json_t *json = result_json(&r), *evaluation = json_object_get(json, "evaluation");
    cr_assert_eq(NUMBER(json, "num_env_steps_sampled_lifetime"), 4096);
    cr_assert_eq(NUMBER(json, "wall_s"), 0.25);
    cr_assert_str_eq(STRING(json, "stop_reason"), "episode_return_mean 480 >= 475");
    cr_assert_str_eq(STRING(json, "stop_kind"), "goal");
    cr_assert(json_is_true(json_object_get(json, "goal_met")));
    cr_assert_eq(NUMBER(evaluation, "episode_return_mean"), 480.5);
    cr_assert_eq(NUMBER(evaluation, "episode_return_std"), 2);
    cr_assert_eq(NUMBER(evaluation, "num_episodes"), 10);
    cr_assert_str_eq(STRING(json, "params_sha256"), "abc");
    cr_assert_str_eq(STRING(json, "skiff_version"), sk_version());
    cr_assert_str_eq(STRING(json, "device"), "cpu x86-64-v4");
    cr_assert_str_eq(STRING(json, "command"), "skiff train \"x\"");
    json_decref(json);
}

Test(run_result, is_null_where_nothing_is_known) {
    sk_train_result r = {.kind = SK_STOP_INTERRUPTED};
    json_t *json = result_json(&r);
    cr_assert(json_is_null(json_object_get(json, "evaluation")));
    cr_assert(json_is_null(json_object_get(json, "goal_met")));
    cr_assert_str_eq(STRING(json, "stop_kind"), "interrupted");
    json_decref(json);
}
