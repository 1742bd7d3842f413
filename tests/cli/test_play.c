/* skiff play: what the classic environments look like, what the program writes, and what it refuses. */
#include "envs/draw.h"
#include "envs/registry.h"
#include "program.h"
#include "rl/vec.h"
#include <math.h>

enum { WIDTH = SK_DRAW_WIDTH, HEIGHT = SK_DRAW_HEIGHT, BYTES = WIDTH * HEIGHT * 3 };

/* A policy that has hardly learned. */
static const char tiny[] = "algorithm: ppo\n"
                           "env: Pendulum-v1\n"
                           "seed: 3\n"
                           "env_runners: {num_envs_per_env_runner: 2, rollout_fragment_length: 16}\n"
                           "model: {fcnet_hiddens: [8]}\n"
                           "training: {num_epochs: 1, minibatch_size: 32}\n"
                           "evaluation: {num_episodes: 0}\n"
                           "stop: {num_env_steps_sampled_lifetime: 32}\n";

static void train(const char *env, const char *run_dir) {
    char line[256];
    write_file("tiny.yaml", tiny);
    snprintf(line, sizeof line, "train tiny.yaml env=%s --run-dir %s", env, run_dir);
    expect_code(run(line), 0);
}

static void setup(void) {
    enter_folder();
    train("Pendulum-v1", "r");
}

TestSuite(play, .init = setup, .fini = leave_folder);
TestSuite(play_mujoco, .init = enter_folder, .fini = leave_folder);

/* ---- pictures ---- */

static sk_vec *open_vec(const char *name, uint64_t seed, float *obs, sk_env **ret_env) {
    sk_error error = {0};
    sk_vec *vec = NULL;
    sk_env_params params = {.name = name};
    cr_assert_eq(sk_env_create(&params, ret_env, &error), SK_OK, "%s", error.msg);
    sk_vec_params how = {.env = *ret_env, .n_envs = 1, .seed = seed, .seeding = SK_VEC_SEED_OFFSET};
    cr_assert_eq(sk_vec_create(&how, &vec, &error), SK_OK, "%s", error.msg);
    cr_assert_eq(sk_vec_reset(vec, obs, NULL, &error), SK_OK, "%s", error.msg);
    return vec;
}

static void draw(sk_vec *vec, uint8_t *rgb) {
    int width = 0, height = 0;
    sk_error error = {0};
    cr_assert_eq(sk_vec_render(vec, 0, &width, &height, NULL, &error), SK_OK, "%s", error.msg);
    cr_assert(width == WIDTH && height == HEIGHT, "%d x %d", width, height);
    cr_assert_eq(sk_vec_render(vec, 0, &width, &height, rgb, &error), SK_OK, "%s", error.msg);
}

static bool is_red(const uint8_t *rgb, double x, double y) {
    const uint8_t *at = rgb + 3 * ((int)y * WIDTH + (int)x);
    return at[0] == 204 && at[1] == 77 && at[2] == 77;
}

Test(picture, shows_the_pendulum_where_it_is) {
    static uint8_t rgb[BYTES];
    for (uint64_t seed = 0; seed < 8; seed++) {
        float obs[3]; /* cosine and sine of the angle from upright, counter-clockwise */
        sk_env *env = NULL;
        sk_vec *vec = open_vec("Pendulum-v1", seed, obs, &env);
        draw(vec, rgb);
        double along_x = -(double)obs[1], along_y = -(double)obs[0]; /* in pixels, y downwards */
        for (int r = 40; r <= 165; r += 25) {
            cr_assert(is_red(rgb, 300 + r * along_x, 200 + r * along_y), "seed %d, at %d", (int)seed, r);
            cr_assert_not(is_red(rgb, 300 - r * along_x, 200 - r * along_y), "seed %d, behind %d", (int)seed, r);
            cr_assert_not(is_red(rgb, 300 + r * along_x - 20 * along_y, 200 + r * along_y + 20 * along_x));
        }
        cr_assert_not(is_red(rgb, 300 + 188 * along_x, 200 + 188 * along_y), "beyond its end");
        sk_vec_destroy(&vec);
        sk_env_destroy(&env);
    }
}

Test(picture, fills_every_byte_and_changes_with_the_state) {
    static const char *const names[] = {"CartPole-v1", "Pendulum-v1", "Acrobot-v1", "MountainCar-v0",
                                        "MountainCarContinuous-v0"};
    static uint8_t one[BYTES], two[BYTES];
    for (int i = 0; i < 5; i++) {
        float obs[8];
        sk_env *env = NULL, *other_env = NULL;
        sk_vec *vec = open_vec(names[i], 5, obs, &env), *other = open_vec(names[i], 6, obs, &other_env);
        memset(one, 0, sizeof one);
        memset(two, 255, sizeof two);
        draw(vec, one);
        draw(vec, two);
        cr_assert_eq(memcmp(one, two, sizeof one), 0, "%s", names[i]);
        draw(other, two);
        cr_assert_neq(memcmp(one, two, sizeof one), 0, "%s looks the same in another state", names[i]);
        sk_vec_destroy(&vec);
        sk_vec_destroy(&other);
        sk_env_destroy(&env);
        sk_env_destroy(&other_env);
    }
}

Test(picture, is_clipped_at_the_edges) {
    static uint8_t rgb[BYTES + 3];
    sk_canvas canvas = {.rgb = rgb, .scale = 1, .origin_x = 0, .origin_y = HEIGHT};
    sk_color ink = {1, 2, 3};
    rgb[BYTES] = 77;
    sk__draw_rect(&canvas, -1e9, -1e9, 1e9, 1e9, ink);
    for (int i = 0; i < BYTES; i++) cr_assert_eq(rgb[i], i % 3 + 1);
    sk__draw_line(&canvas, (double)NAN, -1e300, INFINITY, 1e300, 50, ink);
    sk__draw_disc(&canvas, WIDTH, 0, 30, ink);
    cr_assert_eq(rgb[BYTES], 77);
}

Test(picture, of_an_environment_without_any_is_refused) {
    sk_env *env = NULL;
    float obs[4];
    int width = 7, height = 7;
    sk_error error = {0};
    sk_vec *vec = open_vec("FrozenLake-v1", 0, obs, &env);
    cr_assert_eq(sk_vec_render(vec, 0, &width, &height, NULL, &error), SK_EUNSUPPORTED);
    holds(error.msg, "FrozenLake-v1");
    sk_vec_destroy(&vec);
    sk_env_destroy(&env);
}

/* ---- files ---- */

/* Read a PNG file with Python: its size, and its pixels into `ret_rgb`. */
static void read_png(const char *path, int width, int height, uint8_t *ret_rgb) {
    write_file("png.py", "import sys, zlib, struct\n"
                         "data = open(sys.argv[1], 'rb').read()\n"
                         "assert data[:8] == b'\\x89PNG\\r\\n\\x1a\\n'\n"
                         "at, packed = 8, b''\n"
                         "while at < len(data):\n"
                         "    size, kind = struct.unpack('>I4s', data[at:at + 8])\n"
                         "    body = data[at + 8:at + 8 + size]\n"
                         "    assert zlib.crc32(kind + body) == struct.unpack('>I', data[at + 8 + size:at + 12 + size])[0]\n"
                         "    if kind == b'IHDR': w, h, rest = struct.unpack('>II5s', body)\n"
                         "    if kind == b'IDAT': packed += body\n"
                         "    at += 12 + size\n"
                         "assert kind == b'IEND' and rest == bytes([8, 2, 0, 0, 0])\n"
                         "raw, n, above, out = zlib.decompress(packed), 3 * w, bytes(3 * w), b''\n"
                         "def paeth(a, b, c):\n"
                         "    p = a + b - c\n"
                         "    return min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]\n"
                         "for y in range(h):\n"
                         "    how, row = raw[y * (n + 1)], bytearray(raw[y * (n + 1) + 1:(y + 1) * (n + 1)])\n"
                         "    for i in range(n if how else 0):\n"
                         "        a, b, c = (row[i - 3], above[i], above[i - 3]) if i >= 3 else (0, above[i], 0)\n"
                         "        row[i] = (row[i] + (0, a, b, (a + b) // 2, paeth(a, b, c))[how]) % 256\n"
                         "    above = bytes(row)\n"
                         "    out += above\n"
                         "open('png.rgb', 'wb').write(struct.pack('<II', w, h) + out)\n");
    char line[256];
    snprintf(line, sizeof line, "python3 png.py %s", path);
    cr_assert_eq(system(line), 0, "%s is no PNG file", path);
    int32_t size[2];
    size_t bytes = (size_t)width * (size_t)height * 3;
    FILE *file = fopen("png.rgb", "rb");
    cr_assert_not_null(file);
    cr_assert_eq(fread(size, sizeof size, 1, file), 1);
    cr_assert(size[0] == width && size[1] == height, "%d x %d", size[0], size[1]);
    cr_assert_eq(fread(ret_rgb, 1, bytes, file), bytes);
    fclose(file);
}

static int n_files(const char *folder) {
    int n = 0;
    DIR *dir = opendir(folder);
    cr_assert_not_null(dir, "%s is missing", folder);
    for (struct dirent *e; (e = readdir(dir));) n += e->d_name[0] != '.';
    closedir(dir);
    return n;
}

static bool same_files(const char *one, const char *two) {
    char line[256];
    snprintf(line, sizeof line, "cmp -s %s %s", one, two);
    return system(line) == 0;
}

Test(play, writes_what_the_policy_saw_as_png_files) {
    static uint8_t wanted[BYTES], got[BYTES];
    float obs[3];
    sk_env *env = NULL;
    expect_code(run("play r --out film --seed 4 --max-steps 5"), 0);
    cr_assert_eq(n_files("film"), 5);
    sk_vec *vec = open_vec("Pendulum-v1", 4, obs, &env);
    draw(vec, wanted);
    sk_vec_destroy(&vec);
    sk_env_destroy(&env);
    read_png("film/frame-000001.png", WIDTH, HEIGHT, got);
    cr_assert_eq(memcmp(wanted, got, BYTES), 0, "the first picture is another one");
    cr_assert_not(same_files("film/frame-000001.png", "film/frame-000005.png"), "nothing moves");
    holds(out, "stopped after 5 steps, in episode 0");
    holds(out, "film: 5 pictures of 600 x 400, 20 per second");
}

Test(play, gives_the_same_bytes_for_the_same_seed) {
    expect_code(run("play r --out one --max-steps 9 --every 4"), 0);
    expect_code(run("play r --out two --max-steps 9 --every 4"), 0);
    expect_code(run("play r --out three --seed 1 --max-steps 1"), 0);
    cr_assert_eq(n_files("one"), 3);
    cr_assert(same_files("one/frame-000003.png", "two/frame-000003.png"));
    cr_assert_not(same_files("one/frame-000001.png", "three/frame-000001.png"));
}

Test(play, plays_the_episodes_that_eval_judges) {
    expect_code(run("eval r --episodes 3 --seed 7 --json"), 0);
    json_t *judged = parse(out);
    expect_code(run("play r --out film --episodes 3 --seed 7 --every 100 --json"), 0);
    json_t *played = parse(out);
    double sum = 0;
    json_t *returns = json_object_get(played, "episode_returns");
    for (size_t i = 0; i < json_array_size(returns); i++) sum += json_number_value(json_array_get(returns, i));
    cr_assert_eq(json_array_size(returns), 3);
    cr_assert_float_eq(sum / 3, number(judged, "episode_return_mean"), 1e-9);
    cr_assert_eq(number(played, "num_env_steps"), 600);
    cr_assert_eq(number(played, "num_pictures"), 6);
    cr_assert_eq(n_files("film"), 6);
    json_decref(judged);
    json_decref(played);
}

Test(play, tells_each_episode) {
    expect_code(run("play r/best/../config.yaml --out film"), 2);
    expect_code(run("play r --out film --episodes 2 --seed 9 --every 200 --fps 12"), 0);
    holds(out, "episode 0, seed 9: return -");
    holds(out, " in 200 steps, truncated\nepisode 1, seed 10: return -");
    holds(out, "film: 2 pictures of 600 x 400, 12 per second\n");
}

static void refuses(const char *line, const char *words) {
    expect_code(run(line), 2);
    cr_assert_str_empty(out, "%s: stdout: %s", line, out);
    holds(err, words);
}

Test(play, refuses_what_cannot_be) {
    train("FrozenLake-v1", "lake");
    refuses("play lake --out film", "\"FrozenLake-v1\" cannot be drawn; those that can: CartPole-v1, Pendulum-v1");
    refuses("play r --env CartPole-v1 --out film", "does not fit \"CartPole-v1\"");
    refuses("play r --width 100 --out film", "one size only");
    refuses("play r --out film.gif", "wanted FILE.mp4, or the name of a folder");
    refuses("play r --out r", "the folder is there and not empty");
    refuses("play r --out tiny.yaml", "tiny.yaml: Not a directory");
    refuses("play r --out no/where", "folder no/where: cannot be made: No such file or directory");
    refuses("play r --out no/where.mp4", "no/where.mp4.part: cannot be written");
    refuses("play nowhere --out film", "nowhere");
    refuses("play r --fps 0", "--fps");
    cr_assert_not(exists("film"));
}

Test(play, uses_an_empty_folder) {
    cr_assert_eq(mkdir("film", 0700), 0);
    expect_code(run("play r --out film --max-steps 1"), 0);
    cr_assert_eq(n_files("film"), 1);
}

Test(play, keeps_what_it_has_on_ctrl_c) {
    pid_t pid = start_to(NULL, "play r --out film --episodes 100000");
    wait_for_content("film/frame-000003.png");
    kill(pid, SIGINT);
    expect_code(finish(pid), 130);
    holds(out, "stopped after ");
    holds(out, "film: ");
    cr_assert_geq(n_files("film"), 3);
}

/* ---- MP4 ---- */

/* A program named ffmpeg that does this; `path` for $PATH. */
static void fake_ffmpeg(const char *script) {
    mkdir("bin", 0700);
    write_file("bin/ffmpeg", script);
    cr_assert_eq(chmod("bin/ffmpeg", 0700), 0);
    char path[1024];
    snprintf(path, sizeof path, "%s/bin:/usr/bin:/bin", work);
    setenv("PATH", path, 1);
}

Test(play, gives_its_pictures_to_ffmpeg_and_replaces_the_file_at_last) {
    write_file("film.mp4", "an earlier one");
    fake_ffmpeg("#!/bin/sh\nfor out; do :; done\nexec cat >\"${out#file:}\"\n");
    expect_code(run("play r --out film.mp4 --max-steps 3"), 0);
    struct stat st;
    cr_assert_eq(stat("film.mp4", &st), 0);
    cr_assert_eq(st.st_size, 3 * BYTES);
    cr_assert_not(exists("film.mp4.part"));
}

Test(play, removes_what_is_not_complete) {
    write_file("film.mp4", "an earlier one");
    fake_ffmpeg("#!/bin/sh\necho no luck today >&2\nexit 3\n");
    expect_code(run("play r --out film.mp4"), 1);
    holds(err, "ffmpeg failed: no luck today\n");
    fake_ffmpeg("#!/bin/sh\ncat >/dev/null\nkill -9 $$\n");
    expect_code(run("play r --out film.mp4 --max-steps 2"), 1);
    holds(err, "ffmpeg was ended by signal 9");
    cr_assert_str_eq(read_file("film.mp4"), "an earlier one");
    cr_assert_not(exists("film.mp4.part"));
}

Test(play, says_where_ffmpeg_comes_from) {
    setenv("PATH", "/nowhere", 1);
    refuses("play r --out film.mp4", "is not installed (Debian: ffmpeg); --out FOLDER writes PNG files");
    cr_assert_not(exists("film.mp4.part"));
}

Test(play, makes_an_mp4_file) {
    if (system("ffmpeg -version >/dev/null 2>&1") != 0) cr_skip("there is no ffmpeg");
    expect_code(run("play r --out film.mp4 --max-steps 10"), 0);
    FILE *file = fopen("film.mp4", "rb");
    cr_assert_not_null(file);
    char head[12];
    cr_assert_eq(fread(head, 1, sizeof head, file), sizeof head);
    fclose(file);
    cr_assert_eq(memcmp(head + 4, "ftyp", 4), 0);
    cr_assert_not(exists("film.mp4.part"));
}

/* ---- MuJoCo ---- */

Test(play_mujoco, draws_a_simulation_in_the_size_that_is_asked_for) {
    static uint8_t rgb[160 * 96 * 3];
    if (run("envs InvertedPendulum-v5") != 0) cr_skip("there is no MuJoCo");
    train("InvertedPendulum-v5", "r");
    int code = run("play r --out film --max-steps 2 --width 160 --height 96");
    if (code != 0 && strstr(err, "no OpenGL")) cr_skip("there is no OpenGL");
    expect_code(code, 0);
    holds(out, "2 pictures of 160 x 96, 25 per second");
    read_png("film/frame-000001.png", 160, 96, rgb);
    int n = 0;
    for (size_t i = 3; i < sizeof rgb; i += 3) n += memcmp(rgb, rgb + i, 3) != 0;
    cr_assert_gt(n, 200, "only %d pixels differ from the corner", n);
    expect_code(run("play r --out again --max-steps 2 --width 160 --height 96"), 0);
    cr_assert(same_files("film/frame-000002.png", "again/frame-000002.png"));
}
