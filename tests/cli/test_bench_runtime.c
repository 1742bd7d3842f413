/* `skiff bench runtime`: each row can be run alone and says what it should. How fast it is, no test can judge. */
#include "program.h"

TestSuite(bench_runtime, .init = enter_folder, .fini = leave_folder);

/* The one row that `bench runtime --row NAME` printed must be this, with a value above zero. */
static void prints_row(const char *name, const char *unit) {
    char line[128];
    snprintf(line, sizeof line, "bench runtime --json --repeats 1 --window-ms 1 --row %s", name);
    expect_code(run(line), 0);
    cr_assert_str_empty(err, "%s", err);
    char *end = strchr(out, '\n');
    cr_assert(end && end[1] == '\0', "%s: wanted one line, got: %s", name, out);
    json_t *json = parse(out);
    cr_assert_str_eq(text_of(json, "bench"), "runtime");
    cr_assert_str_eq(text_of(json, "row"), name);
    cr_assert_str_eq(text_of(json, "unit"), unit);
    cr_assert_gt(json_number_value(json_object_get(json, "value")), 0.0, "%s: %s", name, out);
    json_decref(json);
}

Test(bench_runtime, runs_each_row_alone) {
    static const char *const rows[][2] = {
        {"task_sync", "tasks/s"},         {"task_async", "tasks/s"},        {"actor_sync", "calls/s"},
        {"actor_async", "calls/s"},       {"actor_nn_async", "calls/s"},    {"put_small", "puts/s"},
        {"get_small", "gets/s"},          {"wait_1k", "batches/s"},         {"placement_group", "groups/s"},
        {"first_task_ms", "ms"},          {"idle_mb", "MB/process"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) prints_row(rows[i][0], rows[i][1]);
}

/* Both are of the same new processes: main() is reached first. */
Test(bench_runtime, start_includes_the_way_to_main) {
    expect_code(run("bench runtime --json --row start_ms"), 0);
    json_t *json = parse(out);
    double  to_main = json_number_value(json_object_get(json, "limit"));
    cr_assert_gt(to_main, 0.0, "%s", out);
    cr_assert_gt(json_number_value(json_object_get(json, "value")), to_main, "%s", out);
    json_decref(json);
}

Test(bench_runtime, names_the_nearest_row) {
    expect_code(run("bench runtime --row task_snyc"), 2);
    holds(err, "no row \"task_snyc\"; did you mean \"task_sync\"?");
    expect_code(run("bench runtime --row qqqqqqqqqqqqqqqq"), 2);
    holds(err, "a run without --row shows them all");
    expect_code(run("bench kernels --row task_sync"), 2);
    holds(err, "--row is for `skiff bench runtime`");
    cr_assert_str_empty(out, "%s", out);
}
