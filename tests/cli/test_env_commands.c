/* skiff envs and rollout: what they print and their exit codes. */
#include "capture.h"
#include "cli/commands.h"
#include <jansson.h>
#include <math.h>

/* A line with "%s" for a plugin's path, which lies in the build folder. */
static const char *with(const char *format, const char *plugin) {
    static char line[8192], path[4096];
    snprintf(path, sizeof path, "%s/%s.so", getenv("SKIFF_BUILD_DIR"), plugin);
    for (char *c = path; (c = strchr(c, ' ')); c++) *c = CAPTURE_BLANK;
    snprintf(line, sizeof line, format, path);
    return line;
}

static void holds(const char *text, const char *wanted) {
    cr_assert(strstr(text, wanted), "\"%s\" lacks \"%s\"", text, wanted);
}

/* Line n (from 0) of a text as JSON. Caller frees. */
static json_t *json_line(const char *text, int n) {
    for (; n > 0 && text; n--) text = strchr(text, '\n') ? strchr(text, '\n') + 1 : NULL;
    cr_assert(text && *text, "there are fewer lines");
    json_error_t error;
    json_t *json = json_loads(text, JSON_DISABLE_EOF_CHECK, &error);
    cr_assert(json, "%s in %.80s", error.text, text);
    return json;
}

/* ---- envs ---- */

Test(cmd_envs, lists_all_and_shows_one) {
    captured *r = capture(sk_cmd_envs, "envs");
    cr_assert_eq(r->code, 0);
    holds(r->out, "CartPole-v1                         4  discrete(2)                     500\n");
    holds(r->out, "Pendulum-v1");
    r = capture(sk_cmd_envs, "envs CartPole-v1");
    cr_assert_eq(r->code, 0);
    holds(r->out, "[1] in [-inf, inf]");
    holds(r->out, "push at 0: discrete 2 (0 to 1)");
    holds(r->out, "time limit: 500 steps");
    r = capture(sk_cmd_envs, "envs Pendulum-v1");
    holds(r->out, "torque at 0: box 1 in [-2, 2]");
}

Test(cmd_envs, shows_plugins_alone_or_as_a_list) {
    captured *r = capture(sk_cmd_envs, with("envs %s", "examples/point_mass"));
    cr_assert_eq(r->code, 0, "%s", r->err);
    holds(r->out, "PointMass-v0\nobservation: 6 slots");
    holds(r->out, "goal at 4: f32 2 in [-1, 1]");
    holds(r->out, "metric: distance");
    r = capture(sk_cmd_envs, with("envs %s", "tests/rl/plugins/scripted"));
    holds(r->out, "Scripted-v0 ");
    holds(r->out, "Stateless-v0 ");
    r = capture(sk_cmd_envs, with("envs %s:Scripted-v0 agents=3", "tests/rl/plugins/scripted"));
    holds(r->out, "agents: 3\n");
}

/* Dict and Tuple spaces: named pieces with their offsets in the row. */
Test(cmd_envs, shows_offsets_of_named_fields_and_parts) {
    captured *r = capture(sk_cmd_envs, with("envs %s", "tests/rl/plugins/mixed"));
    holds(r->out, "observation: 4 slots\n  position at 0: f32 2 in [-1, 1]\n  heading at 2: f32 in [0, 1]\n"
                  "  harbour at 3: i32 in [2, 6]\n");
    holds(r->out, "action: 2 slots, with a mask\n  course at 0: discrete 3 (-1 to 1)\n  sail at 1: discrete 2 (0 to 1)\n");
    r = capture(sk_cmd_envs, with("envs %s --json", "tests/rl/plugins/mixed"));
    json_t *json = json_line(r->out, 0), *field = json_array_get(json_object_get(json, "observation"), 2);
    cr_assert_str_eq(json_string_value(json_object_get(field, "name")), "harbour");
    cr_assert_str_eq(json_string_value(json_object_get(field, "dtype")), "i32");
    cr_assert_eq(json_integer_value(json_object_get(field, "offset")), 3);
    json_decref(json);
}

Test(cmd_envs, prints_json_lines) {
    captured *r = capture(sk_cmd_envs, "envs CartPole-v1 --json");
    json_t   *json = json_line(r->out, 0);
    cr_assert_str_eq(json_string_value(json_object_get(json, "name")), "CartPole-v1");
    json_t *field = json_array_get(json_object_get(json, "observation"), 0);
    cr_assert_eq((float)json_real_value(json_array_get(json_object_get(field, "high"), 2)), 0.41887903f);
    cr_assert(json_is_null(json_array_get(json_object_get(field, "high"), 1)));
    json_decref(json);
}

Test(cmd_envs, fails_with_a_usage_code_on_what_does_not_exist) {
    captured *r = capture(sk_cmd_envs, "envs CartPol-v1");
    cr_assert_eq(r->code, 2);
    holds(r->err, "did you mean \"CartPole-v1\"");
    cr_assert_str_empty(r->out);
    cr_assert_eq(capture(sk_cmd_envs, "envs ./nowhere.so")->code, 2);
    r = capture(sk_cmd_envs, "envs --jason");
    cr_assert_eq(r->code, 2);
    holds(r->err, "did you mean \"--json\"");
    cr_assert_eq(capture(sk_cmd_envs, "envs --help")->code, 0);
}

/* ---- rollout ---- */

/* Write a file of actions; the caller unlinks it. */
static void write_actions(char path[], const char *text) {
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static captured *rollout(const char *env, const char *actions, const char *more) {
    char path[] = "/tmp/skiff-test-XXXXXX", line[8192];
    write_actions(path, actions);
    snprintf(line, sizeof line, "rollout %s --actions %s %s", env, path, more);
    captured *r = capture(sk_cmd_rollout, line);
    unlink(path);
    return r;
}

/* The golden trajectory of seed 42 (actions 0 0 1 1 ...) over its first end, number by number as text. */
Test(cmd_rollout, prints_the_recorded_trajectory) {
    char      actions[128] = "", path[4096], line[512];
    for (int t = 0; t < 24; t++) strcat(actions, t / 2 % 2 ? "1\n" : "0\n");
    captured *r = rollout("CartPole-v1", actions, "--seed 42 --json");
    cr_assert_eq(r->code, 0, "%s", r->err);
    snprintf(path, sizeof path, "%s/tests/golden/CartPole-v1.txt", getenv("SKIFF_SOURCE_DIR"));
    FILE *golden = fopen(path, "r");
    cr_assert_not_null(golden);
    bool found = false;
    while (!found && fgets(line, sizeof line, golden)) found = !strcmp(line, "run 42\n");
    cr_assert(found);
    char *at = r->out;
    bool  ended = false;
    float x[4], reward;
    int   action, terminated, truncated;
    for (int t = 0; t <= 24; t++) {
        char wanted[512], obs[128];
        cr_assert_not_null(fgets(line, sizeof line, golden));
        if (t == 0 || ended) {
            cr_assert_eq(sscanf(line, "o %f %f %f %f", &x[0], &x[1], &x[2], &x[3]), 4);
        } else {
            cr_assert_eq(sscanf(line, "s %d %f %d %d %f %f %f %f", &action, &reward, &terminated, &truncated,
                                &x[0], &x[1], &x[2], &x[3]),
                         8);
        }
        snprintf(obs, sizeof obs, "[%.9g,%.9g,%.9g,%.9g]", x[0], x[1], x[2], x[3]);
        if (t == 0) snprintf(wanted, sizeof wanted, "{\"t\":0,\"obs\":%s}\n", obs);
        else if (terminated) { /* the reset's observation is on the next line of the file */
            char next[128];
            cr_assert_not_null(fgets(line, sizeof line, golden));
            cr_assert_eq(sscanf(line, "o %f %f %f %f", &x[0], &x[1], &x[2], &x[3]), 4);
            snprintf(next, sizeof next, "[%.9g,%.9g,%.9g,%.9g]", x[0], x[1], x[2], x[3]);
            snprintf(wanted, sizeof wanted,
                     "{\"t\":%d,\"action\":%d,\"obs\":%s,\"reward\":1,\"terminated\":true,"
                     "\"truncated\":false,\"final_obs\":%s}\n",
                     t, action, next, obs);
        } else
            snprintf(wanted, sizeof wanted,
                     "{\"t\":%d,\"action\":%d,\"obs\":%s,\"reward\":1,\"terminated\":false,"
                     "\"truncated\":false}\n",
                     t, action, obs);
        cr_assert_eq(strncmp(at, wanted, strlen(wanted)), 0, "got    %.300s\nwanted %s", at, wanted);
        at += strlen(wanted);
    }
    cr_assert_str_empty(at);
    fclose(golden);
}

/* Gymnasium's numbers for Blackjack-v1 with seed 42. */
Test(cmd_rollout, prints_discrete_observations_as_integers) {
    captured *r = rollout("Blackjack-v1", "0\n1\n1\n", "--seed 42 --json");
    cr_assert_eq(r->code, 0, "%s", r->err);
    holds(r->out, "{\"t\":0,\"obs\":[15,2,0]}\n");
    holds(r->out, "\"final_obs\":[15,2,0]}\n");
}

Test(cmd_rollout, draws_the_same_random_actions_for_the_same_seed) {
    captured *r = capture(sk_cmd_rollout, "rollout Pendulum-v1 --random --steps 250 --seed 7 --json");
    cr_assert_eq(r->code, 0);
    char *first = strdup(r->out);
    json_t *json = json_line(first, 200); /* the time limit */
    cr_assert(json_is_true(json_object_get(json, "truncated")));
    cr_assert_eq(json_array_size(json_object_get(json, "final_obs")), 3);
    cr_assert_eq(json_array_size(json_object_get(json, "action")), 1);
    json_decref(json);
    r = capture(sk_cmd_rollout, "rollout Pendulum-v1 --random --steps 250 --seed 7 --json");
    cr_assert_str_eq(r->out, first);
    r = capture(sk_cmd_rollout, "rollout Pendulum-v1 --random --steps 250 --seed 8 --json");
    cr_assert_str_neq(r->out, first);
    free(first);
}

Test(cmd_rollout, keeps_the_action_as_given_and_clips_at_the_door) {
    captured *r = rollout("Pendulum-v1", "99.5\n2\n", "--json --seed 1");
    char     *clipped = strdup(r->out);
    json_t   *json = json_line(clipped, 1);
    cr_assert_eq(json_real_value(json_array_get(json_object_get(json, "action"), 0)), 99.5);
    json_t *obs = json_incref(json_object_get(json, "obs"));
    json_decref(json);
    r = rollout("Pendulum-v1", "2\n2\n", "--json --seed 1");
    json = json_line(r->out, 1);
    cr_assert(json_equal(obs, json_object_get(json, "obs")));
    json_decref(json);
    json_decref(obs);
    free(clipped);
}

Test(cmd_rollout, gives_lists_by_agent) {
    captured *r = rollout(with("%s:Scripted-v0 agents=2 end=1 stagger=1", "tests/rl/plugins/scripted"),
                          "-1,0,0,1,0.5,9\n0,0,0,0,0,0\n", "--json");
    cr_assert_eq(r->code, 0, "%s", r->err);
    json_t *json = json_line(r->out, 1);
    char   *text = json_dumps(json_object_get(json, "action"), JSON_COMPACT);
    cr_assert_str_eq(text, "[[-1,0,0],[1,0.5,9]]");
    free(text);
    text = json_dumps(json_object_get(json, "terminated"), JSON_COMPACT);
    cr_assert_str_eq(text, "[true,false]");
    free(text);
    cr_assert(json_is_null(json_array_get(json_object_get(json, "final_obs"), 1)));
    cr_assert_eq(json_array_size(json_array_get(json_object_get(json, "final_obs"), 0)), 4);
    json_decref(json);
}

Test(cmd_rollout, says_which_line_of_the_actions_is_wrong) {
    captured *r = rollout("CartPole-v1", "0\n\n2\n", "--json");
    cr_assert_eq(r->code, 2);
    holds(r->err, ":3: action \"push\": got 2, wanted an integer from 0 to 1");
    cr_assert_str_empty(r->out);
    r = rollout("CartPole-v1", "0\nx\n", "");
    holds(r->err, ":2: an action is missing");
    r = rollout("CartPole-v1", "0,1\n", "");
    holds(r->err, ":1: too many numbers, wanted 1");
    r = rollout("Pendulum-v1", "nan\n", "");
    holds(r->err, ":1: action \"torque\": got nan, wanted a finite number");
    r = rollout("CartPole-v1", "0\n1\n", "--steps 3");
    cr_assert_eq(r->code, 2);
    holds(r->err, "got 2 actions, wanted 3");
    cr_assert_eq(capture(sk_cmd_rollout, "rollout CartPole-v1 --actions /nowhere")->code, 2);
    cr_assert_eq(capture(sk_cmd_rollout, "rollout CartPole-v1 --random")->code, 2);
    cr_assert_eq(capture(sk_cmd_rollout, "rollout CartPole-v1")->code, 2);
    cr_assert_eq(capture(sk_cmd_rollout, "rollout")->code, 2);
    cr_assert_eq(capture(sk_cmd_rollout, "rollout CartPole-v1 --random --steps -1")->code, 2);
    cr_assert_eq(capture(sk_cmd_rollout, "rollout CartPole-v1 gravity=1 --random --steps 1")->code, 1);
}

Test(cmd_rollout, stops_with_code_1_when_the_environment_fails) {
    captured *r = capture(sk_cmd_rollout, with("rollout %s:Scripted-v0 nan=3 --random --steps 9 --json",
                                               "tests/rl/plugins/scripted"));
    cr_assert_eq(r->code, 1);
    holds(r->err, "episode step 3: observation \"noise\" is nan");
}
