/* skiff new-env: what it writes compiles with a plain compiler, keeps the contract, can be learned, and
 * overwrites nothing. */
#include "program.h"

static void setup(void) { enter_folder(); }
TestSuite(new_env, .init = setup, .fini = leave_folder);

/* A shell command in the test's folder. Its exit code. */
static int shell(const char *command) {
    char line[4096];
    snprintf(line, sizeof line, "%s >out 2>err </dev/null", command);
    int status = system(line);
    read_file_to("out", out, sizeof out);
    read_file_to("err", err, sizeof err);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000;
}

Test(new_env, compiles_and_keeps_the_contract) {
    expect_code(run("new-env MyBoat"), 0);
    holds(out, "MyBoat-v0 is in my_boat. Next, there:\n  sh build.sh\n  skiff check-env ./my_boat.so\n");
    cr_assert_eq(shell("cd my_boat && cc -std=c17 -O2 -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes "
                       "-Werror -shared "
                       "-fPIC -fvisibility=hidden my_boat.c -o my_boat.so -lm"),
                 0, "%s", err);
    expect_code(run("check-env my_boat/my_boat.so"), 0);
    holds(out, "MyBoat-v0: 16 checks, 15 ok, 0 failed, 1 skipped\n");
    expect_code(run("check-env my_boat/my_boat.so wind=0.3 --steps 50"), 0);
    expect_code(run("check-env my_boat/my_boat.so wind=many"), 1);
    holds(out, "got wind: many, wanted wind: a number between -1 and 1");
    cr_assert_eq(shell("cmp \"$SKIFF_SOURCE_DIR/include/skiff/env.h\" my_boat/env.h"), 0,
                 "env.h is another one");
    cr_assert_neq(shell("grep -ri -e my_env -e myenv my_boat"), 0, "a template's name is left: %s", out);
}

Test(new_env, can_be_learned) {
    expect_code(run("new-env Puck-v3 --dir here"), 0);
    cr_assert_eq(shell("sh here/build.sh"), 0, "%s", err);
    expect_code(run("train here/puck.yaml env.plugin=here/puck.so --run-dir r"), 0);
    json_t *result = parse(read_file("r/result.json"));
    cr_assert_str_eq(text_of(result, "stop_kind"), "goal");
    json_decref(result);
}

Test(new_env, brings_its_test) {
    expect_code(run("new-env tiny_thing"), 0);
    cr_assert_eq(shell("SKIFF=\"$SKIFF_BIN\" sh tiny_thing/test.sh"), 0, "%s%s", out, err);
    holds(out, "\nTinyThing-v0: ok\n");
    cr_assert_eq(shell("ls tiny_thing"), 0);
    cr_assert_str_eq(out,
                     "README.md\nbuild.sh\nenv.h\ntest.sh\ntiny_thing.c\ntiny_thing.so\ntiny_thing.yaml\n");
}

Test(new_env, names_files_after_the_environment) {
    static const char *const names[][2] = {
        {"HalfMarathon-v2", "half_marathon"}, {"RLGame", "rl_game"}, {"A", "a"}, {"boat2D-v10", "boat2_d"}};
    for (int i = 0; i < 4; i++) {
        char line[64], path[64];
        snprintf(line, sizeof line, "new-env %s", names[i][0]);
        snprintf(path, sizeof path, "%s/%s.c", names[i][1], names[i][1]);
        expect_code(run(line), 0);
        cr_assert(exists(path), "%s: no %s", names[i][0], path);
    }
    holds(read_file("half_marathon/half_marathon.c"), ".name = \"HalfMarathon-v2\",");
    holds(read_file("a/a.c"), ".name = \"A-v0\",");
    static const char *const wrong[] = {"'a b'", "../x", "-v0", "1st", "ä", "x-v", "x.c", "''"};
    for (int i = 0; i < 8; i++) {
        char line[64];
        snprintf(line, sizeof line, "new-env %s", wrong[i]);
        cr_assert_eq(run(line), 2, "%s: %s", wrong[i], err);
    }
    expect_code(run("new-env"), 2);
}

Test(new_env, overwrites_nothing) {
    cr_assert_eq(mkdir("boat", 0700), 0);
    write_file("boat/notes.txt", "mine");
    write_file("boat/boat.yaml", "mine");
    expect_code(run("new-env Boat"), 2);
    holds(err, "boat/boat.yaml is there already, nothing was written");
    cr_assert_str_eq(read_file("boat/boat.yaml"), "mine");
    cr_assert_not(exists("boat/boat.c"));
    cr_assert_eq(unlink("boat/boat.yaml"), 0);
    expect_code(run("new-env Boat"), 0); /* a folder with other things in it is fine */
    cr_assert(exists("boat/boat.c") && exists("boat/notes.txt"));
}

Test(new_env, says_where_it_cannot_write) {
    write_file("file", "");
    expect_code(run("new-env Boat --dir file/x"), 2);
    holds(err, "cannot make the folder file/x: Not a directory");
    expect_code(run("new-env Boat --dir file"), 1);
    holds(err, "cannot write file/boat.c: Not a directory");
    cr_assert(exists("file"));
}
