/* skiff check-env: it passes what is right, and every check fails for an environment that breaks its
 * promise. */
#include "program.h"

static void setup(void) { enter_folder(); }
TestSuite(check_env, .init = setup, .fini = leave_folder);

/* check-env on a plugin of the build folder with some more words. Its exit code. */
static int check(const char *plugin, const char *more) {
    char line[4096];
    snprintf(line, sizeof line, "check-env '%s/%s' %s", getenv("SKIFF_BUILD_DIR"), plugin, more);
    return run(line);
}

/* The line of one check in `out`, as JSON. Caller decrefs. */
static json_t *line_of(const char *check_name) {
    json_t *lines = parse_lines(out), *found = NULL;
    for (size_t i = 0; i < json_array_size(lines); i++) {
        json_t     *line = json_array_get(lines, i);
        const char *name = json_string_value(json_object_get(line, "check"));
        if (name && strcmp(name, check_name) == 0) found = json_incref(line);
    }
    json_decref(lines);
    cr_assert_not_null(found, "no check \"%s\" in %s", check_name, out);
    return found;
}

static void expect(const char *check_name, const char *result) {
    json_t *line = line_of(check_name);
    cr_assert_str_eq(text_of(line, "result"), result, "%s: %s", check_name, text_of(line, "detail"));
    json_decref(line);
}

/* ---- what is right ---- */

Test(check_env, passes_the_built_in_ones) {
    static const char *const names[] = {"CartPole-v1", "Pendulum-v1", "Taxi-v4", "Blackjack-v1"};
    for (int i = 0; i < 4; i++) {
        char line[128];
        snprintf(line, sizeof line, "check-env %s --steps 200 --json", names[i]);
        cr_assert_eq(run(line), 0, "%s: %s%s", names[i], out, err);
        expect("state", "pass");
        expect("reset", "pass");
        expect("memory", "pass");
        expect("speed", "pass");
        cr_assert_str_empty(err);
    }
}

Test(check_env, passes_the_example) {
    cr_assert_eq(check("examples/point_mass.so", "--json"), 0, "%s", out);
    expect("masks", "skip");
    expect("actions", "pass");
    expect("silence", "pass");
}

Test(check_env, passes_agents_masks_and_skips_what_is_not_claimed) {
    cr_assert_eq(check("tests/rl/plugins/scripted.so:Stateless-v0", "agents=3 end=4 stagger=2 mask=1 --json"),
                 0, "%s", out);
    expect("state", "skip");
    expect("grouping", "pass");
    expect("order", "pass");
    expect("masks", "pass");
}

Test(check_env, passes_an_honest_cheat_and_counts_the_checks) {
    cr_assert_eq(check("tests/rl/plugins/cheat.so", ""), 0, "%s", out);
    holds(out, "\nCheat-v0: 16 checks, 16 ok, 0 failed, 0 skipped\n");
    holds(out, "ok      description  its spaces make sense\nok      columns      reset and step write all");
    cr_assert_eq(check("tests/rl/plugins/cheat.so", "--json"), 0);
    holds(out, "\n{\"env\":\"Cheat-v0\",\"passed\":16,\"failed\":0,\"skipped\":0}\n");
}

/* ---- what is not ---- */

/* One broken promise of plugins/cheat.c: the check that finds it and what it says. */
static void caught(const char *sin, const char *check_name, const char *words) {
    char more[128];
    snprintf(more, sizeof more, "sin=%s --json --steps 200", sin);
    cr_assert_eq(check("tests/rl/plugins/cheat.so", more), 1, "%s: %s", sin, out);
    json_t *line = line_of(check_name);
    cr_assert_str_eq(text_of(line, "result"), "fail", "%s: %s", sin, out);
    cr_assert(strstr(text_of(line, "detail"), words), "%s: \"%s\" lacks \"%s\"", sin, text_of(line, "detail"),
              words);
    json_decref(line);
}

Test(check_env, finds_columns_that_are_not_written) {
    caught("obs", "columns", "an observation is not written completely");
    caught("reset_obs", "columns", "reset does not write the whole observation");
    caught("reset_mask", "columns", "reset does not write the whole mask");
    caught("flags", "columns", "truncated is not written");
    caught("mask", "columns", "the mask is not written completely");
    caught("neighbour", "columns", "stepping environment 1 writes into the rows of environment 0");
    caught("overrun", "columns", "it writes behind the last observation");
}

Test(check_env, finds_numbers_that_are_none) {
    caught("nan", "numbers", "step 5, row 0: observation \"share\" is nan, wanted a finite number");
    caught("inf_reward", "numbers", "step 4, row 0: reward is inf, wanted a finite number");
    caught("nan_metric", "numbers", "step 4, row 0: metric \"luck\" is nan, wanted a finite number");
}

Test(check_env, finds_wrong_types) {
    caught("integer", "types", "observation \"share\" is declared f32, got");
    caught("float", "types", "observation \"share\" is declared i32, got");
}

Test(check_env, finds_values_out_of_bounds) {
    caught("bounds", "bounds", "observation \"share\" is 1.5, outside of [0, 1]");
    caught("reward", "bounds", "reward is 3, outside of [0, 1]");
    caught("nan", "bounds", "observation \"share\" is nan");
}

Test(check_env, finds_masks_without_a_choice) {
    caught("mask_none", "masks", "step 4, row 0: the mask of action \"gear\" allows none of its 3 choices");
}

Test(check_env, finds_what_extreme_actions_break) {
    caught("corner", "actions", "actions all highest: environment \"Cheat-v0\", env 0");
    expect("bounds", "pass"); /* random actions do not get there */
}

Test(check_env, finds_what_a_trajectory_must_not_depend_on) {
    caught("chance", "determinism", "another observation for the same seed and actions");
    caught("company", "grouping", "another observation when it is alone than among others");
    caught("shared", "order",
           "another observation when environments are stepped one by one, the last one first");
    caught("leftover", "reset",
           "another observation in an instance that was played before than in a new one");
    caught("amnesia", "state", "another observation after its state was loaded");
}

Test(check_env, finds_ends_that_are_not_the_environments_business) {
    caught("clock", "ends", "30 of 30 episodes were terminated exactly at step 10, the stated time limit");
    caught("endless", "ends", "no episode ended within 300000 steps and no time limit is stated");
}

Test(check_env, finds_memory_that_grows) {
    caught("leak", "memory", "over 3200 steps and their resets memory grew by");
    caught("leak_life", "memory", "over 20 times create and destroy memory grew by");
}

Test(check_env, finds_pages_that_are_not_given_back) {
    check("tests/rl/plugins/cheat.so",
          "--json"); /* the honest one: does resident memory mean anything here? */
    json_t *line = line_of("memory");
    bool    sanitized = strstr(text_of(line, "detail"), "sanitizer") != NULL;
    json_decref(line);
    if (sanitized) cr_skip("a sanitizer keeps pages of its own");
    caught("leak_pages", "memory", "over 3200 steps and their resets memory grew by");
}

Test(check_env, finds_what_it_prints) {
    caught("print", "silence", "first in \"columns\": \"step 3 ");
    caught("complain", "silence", "first in \"columns\": \"oh dear");
    cr_assert_null(strstr(err, "oh dear"), "it got through: %s", err);
}

Test(check_env, outlives_a_crash) {
    caught("abort", "columns", "it aborted (SIGABRT)");
    caught("crash", "columns", "it crashed (SIGSEGV)");
    caught("exit", "columns", "it called exit");
    cr_assert_eq(check("tests/rl/plugins/cheat.so", "sin=hang --timeout 1"), 1);
    holds(out, "FAILED  columns  it did not come to an end in time\n");
}

Test(check_env, reports_a_description_that_makes_no_sense) {
    expect_code(check("tests/rl/plugins/misfit_none.so", "break=mask"), 1);
    holds(out, "FAILED  description  its spaces make sense: environment \"Misfit-v0\": mask_size: got 5");
    holds(out, "misfit_none.so: 1 checks, 0 ok, 1 failed, 0 skipped\n");
    expect_code(run("check-env NoSuchThing"), 2);
    cr_assert_str_empty(out);
    expect_code(run("check-env"), 2);
}
