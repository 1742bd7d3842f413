/* What is no configuration: every document is refused with a reason, or taken, and never crashes. Run
 * under ASAN this also says that nothing leaks. */
#include "config_fixture.h"

#include "core/base/rng.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void expect_message(const char *text, const char *message) {
    bound b;
    bound_init(&b, text, 0, NULL);
    cr_assert_eq(b.status, SK_ECONFIG, "was not refused, wanted: %s", message);
    cr_assert_str_eq(b.error.msg, message);
    bound_deinit(&b);
}

/* Refused or taken; if refused, with a place and a reason in one line. */
static void expect_an_answer(const char *text) {
    bound b;
    bound_init(&b, text, 0, NULL);
    if (b.status != SK_OK) {
        cr_assert_eq(b.status, SK_ECONFIG);
        cr_assert(!strncmp(b.error.msg, "x.yaml:", 7), "no place in: %s", b.error.msg);
        cr_assert_null(strpbrk(b.error.msg, "\n\r"), "not one line: %s", b.error.msg);
        cr_assert_gt(strlen(b.error.msg), 10);
    }
    bound_deinit(&b);
}

Test(config_doc, refuses_an_empty_document) {
    static const char message[] = "x.yaml: holds no keys, wanted a map of keys (\"{}\" takes all defaults)";
    static const char *const texts[] = {"",           "\n\n", "# only a comment\n", "---\n",
                                        "---\n...\n", "~",    "\xef\xbb\xbf"};
    for (int i = 0; i < SK_COUNT(texts); i++) {
        bound b;
        bound_init(&b, texts[i], 0, NULL);
        cr_assert_eq(b.status, SK_ECONFIG, "document %d", i);
        cr_assert_str_eq(b.error.msg, message, "document %d: %s", i, b.error.msg);
        bound_deinit(&b);
    }
}

Test(config_doc, refuses_a_document_that_is_no_map) {
    expect_message("- a\n- b\n", "x.yaml:1:1: the document must be a map of keys, got a list");
    expect_message("hello\n", "x.yaml:1:1: the document must be a map of keys, got \"hello\"");
}

Test(config_doc, refuses_a_second_document) {
    expect_message("env: A\n---\nseed: 2\n", "x.yaml:3:1: a second YAML document starts here, wanted one");
    expect_message("env: A\n...\nfoo\n", "x.yaml:3:1: a second YAML document starts here, wanted one");
}

Test(config_doc, refuses_a_key_given_twice) {
    expect_message("seed: 1\nenv: A\nseed: 2\n",
                   "x.yaml:3:1: the key \"seed\" is given twice, first at x.yaml:1:1");
    expect_message("env: A\nstop: {a: 1, \"a\": 2}\n",
                   "x.yaml:2:14: the key \"a\" is given twice, first at x.yaml:2:8");
}

Test(config_doc, refuses_keys_that_are_no_names) {
    expect_message("? [1, 2]\n: 3\n", "x.yaml:1:3: a key must be a plain name");
    expect_message("env: A\n: 3\n", "x.yaml:1:6: a value without a key stands here or next");
    expect_message("env: &x A\n*x : 3\n", "x.yaml:2:1: a key must be a plain name");
    expect_message("<<: {a: 1}\n",
                   "x.yaml:1:1: merge keys (\"<<\") are not part of YAML 1.2; write the keys out");
    expect_message("env: !!str A\n", "x.yaml:1:12: tags (\"!...\") are not supported");
}

Test(config_doc, refuses_strings_that_libfyaml_reads_as_others) {
    expect_message("env: 'a''''b'\n",
                   "x.yaml:1:6: two quotes in a row in single quotes, wanted double quotes around "
                   "them");
    expect_message("env: A\nstop: {'''''': 1}\n",
                   "x.yaml:2:8: two quotes in a row in single quotes, wanted double "
                   "quotes around them");
    expect_message("env: \"a\\\\\\\n  b\"\n",
                   "x.yaml:1:6: a quoted string must end on its line (\"\\n\" breaks one in double quotes)");
    expect_message("env: >\n  a\n",
                   "x.yaml:2:1: folded text (\">\") is not supported, wanted quotes or \"|\"");
}

Test(config_doc, finds_quotes_behind_a_byte_order_mark) {
    expect_message("\xef\xbb\xbf# \xc3\xa4\nenv: '''''' # x\n",
                   "x.yaml:2:6: two quotes in a row in single quotes, wanted double quotes around them");
}

Test(config_doc, reads_every_way_to_write_a_string) {
    static const struct {
        const char *text, *want;
    } cases[] = {{"plain", "plain"},
                 {"two words", "two words"},
                 {"a#b", "a#b"},
                 {"a\n  b\n\n  c", "a b\nc"},
                 {"'it''s'", "it's"},
                 {"''''", "'"},
                 {"'a''b''c'", "a'b'c"},
                 {"'\"#'", "\"#"},
                 {"\"a\\tb\\n\"", "a\tb\n"},
                 {"\"\\\"\\\"\\\\\\\\\"", "\"\"\\\\"},
                 {"\"\\x41\\u00e4\"", "A\xc3\xa4"},
                 {"|\n  a\n\n    b\n", "a\n\n  b\n"},
                 {"|-\n  a\n", "a"},
                 {"\"\"", ""},
                 {"\"\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\"", "\n\n\n\n\n\n\n\n\n\n"}};
    for (int i = 0; i < SK_COUNT(cases); i++) {
        char  text[80];
        bound b;
        snprintf(text, sizeof text, "\xef\xbb\xbfseed: 1 # \xc3\xa4\nenv: %s\n", cases[i].text);
        bound_init(&b, text, 0, NULL);
        cr_assert_eq(b.status, SK_OK, "%s", b.error.msg);
        cr_assert_str_eq(b.common.env_name, cases[i].want, "%s", cases[i].text);
        bound_deinit(&b);
    }
}

Test(config_doc, gives_the_place_and_text_of_a_syntax_error) {
    expect_message("env: A\nseed: [1, 2\n", "x.yaml:3:1: YAML: flow sequence without a closing bracket");
    expect_message("env:\n  name: A\n\tseed: 1\n", "x.yaml:3:2: YAML: invalid tab used as indentation");
    expect_message("env: A\nseed: @x\n", "x.yaml:2:7: YAML: plain scalar cannot start with '@'");
    expect_message("env: a: b\n", "x.yaml:1:7: YAML: invalid nested block mapping on the same line");
    expect_message("%YAML 3.0\n---\nenv: A\n", "x.yaml: YAML: unsupport version number 3.0");
}

Test(config_doc, refuses_bytes_that_are_not_text) {
    expect_message("env: A\nseed: \xff\n", "x.yaml:2:7: byte 0xff is not text, wanted UTF-8");
    expect_message("env: \xc3\xa9\xc3\n", "x.yaml:1:7: byte 0xc3 is not text, wanted UTF-8");
    expect_message("env: \xed\xa0\x80\n", "x.yaml:1:6: byte 0xed is not text, wanted UTF-8");
    expect_message("env: \xc0\x80\n", "x.yaml:1:6: byte 0xc0 is not text, wanted UTF-8");
    expect_message("env: \xf4\x90\x80\x80\n", "x.yaml:1:6: byte 0xf4 is not text, wanted UTF-8");
    expect_message("env: \x1b[1m\n", "x.yaml:1:6: byte 0x1b is not text, wanted UTF-8");
    expect_message("env: \"a\\0b\"\n", "x.yaml:1:6: a string may not hold \"\\0\" or half a character");
}

Test(config_doc, refuses_a_file_with_zero_bytes) {
    char dir[] = "/tmp/skiff-test-XXXXXX", path[64];
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/c.yaml", dir);
    FILE *file = fopen(path, "w");
    fwrite("env: A\nseed\0: 1\n", 1, 16, file);
    fclose(file);
    sk_config *cfg = NULL;
    sk_error   error;
    cr_assert_eq(sk_config_open(path, NULL, 0, &cfg, &error), SK_ECONFIG);
    cr_assert_str_eq(error.msg + strlen(path), ":2:5: byte 0x00 is not text, wanted UTF-8");
    remove(path);
    rmdir(dir);
}

Test(config_doc, reads_anchors_and_aliases) {
    bound b;
    bound_init(&b, "env: &e A\nalgorithm: *e\nstop: {a: &n 5, b: *n}\n", 0, NULL);
    cr_assert_eq(b.status, SK_OK, "%s", b.error.msg);
    cr_assert_str_eq(b.common.algorithm, "A");
    cr_assert_eq(b.common.stop.at[1].number, 5);
    bound_deinit(&b);
    expect_message("env: *nobody\n", "x.yaml:1:6: alias \"*nobody\" names no anchor before it");
    expect_message("env: &e [*e]\n", "x.yaml:1:10: alias \"*e\" names no anchor before it");
}

Test(config_doc, bounds_what_aliases_can_make) {
    char text[4096] = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n";
    for (int i = 1; i < 10; i++) {
        sprintf(text + strlen(text), "a%d: &a%d [", i, i);
        for (int k = 0; k < 9; k++) sprintf(text + strlen(text), "*a%d, ", i - 1);
        strcat(text, "]\n");
    }
    bound b;
    bound_init(&b, text, 0, NULL);
    cr_assert_eq(b.status, SK_ECONFIG);
    cr_assert(strstr(b.error.msg, "too large: more than 4096 values"), "%s", b.error.msg);
    bound_deinit(&b);
}

Test(config_doc, bounds_depth_and_size) {
    enum { DEEP = 100000, LONG = (1 << 20) + 1 };
    char *text = malloc(LONG + 1);
    memset(text, '[', DEEP);
    text[DEEP] = '\0';
    expect_message(text, "x.yaml:1:33: nested deeper than 32");
    memset(text, '{', DEEP);
    expect_an_answer(text);
    memset(text, '-', DEEP);
    for (int i = 1; i < DEEP; i += 2) text[i] = ' ';
    expect_an_answer(text);
    memset(text, '#', LONG);
    text[LONG] = '\0';
    expect_message(text, "x.yaml: longer than 1048576 bytes, which no configuration is");
    memcpy(text, "env: ", 5);
    memset(text + 5, 'a', LONG - 6);
    text[LONG - 1] = '\0';
    bound b;
    bound_init(&b, text, 0, NULL);
    cr_assert_eq(b.status, SK_OK, "a MiB is allowed: %s", b.error.msg);
    cr_assert_eq(strlen(b.common.env_name), LONG - 6);
    bound_deinit(&b);
    memset(text, 'k', 300);
    strcpy(text + 300, ": 1\n");
    bound_init(&b, text, 0, NULL);
    cr_assert_eq(b.status, SK_ECONFIG);
    cr_assert(strstr(b.error.msg, "has 300 bytes, wanted at most 256"), "%s", b.error.msg);
    bound_deinit(&b);
    free(text);
}

Test(config_doc, prints_nothing) {
    char dir[] = "/tmp/skiff-test-XXXXXX", path[64];
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/out", dir);
    int file = open(path, O_CREAT | O_RDWR, 0600), out = dup(1), err = dup(2);
    dup2(file, 1);
    dup2(file, 2);
    static const char *const texts[] = {"env: [", "%YAML 3.0\n---\na: 1\n", "a: b: c\n", "env: @x\n",
                                        "zzz: 1\n"};
    for (int i = 0; i < SK_COUNT(texts); i++) {
        bound b;
        bound_init(&b, texts[i], 0, NULL);
        bound_deinit(&b);
    }
    fflush(NULL);
    dup2(out, 1);
    dup2(err, 2);
    off_t written = lseek(file, 0, SEEK_END);
    close(out);
    close(err);
    close(file);
    remove(path);
    rmdir(dir);
    cr_assert_eq(written, 0, "%ld bytes were printed", (long)written);
}

static const char valid[] =
    "algorithm: ppo\r\n"
    "env: {name: \"C\\u00e4rtPole-v1\", plugin: './a.so', config: {a: 1, b: &x y, c: *x}}\n"
    "seed: 7   # comment\n"
    "env_runners:\n"
    "  num_env_runners: 3\n"
    "model:\n"
    "  fcnet_hiddens:\n"
    "    - 64\n"
    "    - 64\n"
    "training: {gamma: 0.98, lr: [[0, 1.0e-3], [100000, 0]]}\n"
    "stop:\n"
    "  ? a\n"
    "  : 5\n"
    "  \"b c\": 7\n"
    "  d: 9\n"
    "device: |-\n"
    "  cpu\n";

Test(config_doc, takes_the_document_that_is_damaged_below) {
    bound b;
    bound_init(&b, valid, 0, NULL);
    cr_assert_eq(b.status, SK_OK, "%s", b.error.msg);
    cr_assert_str_eq(b.common.env_name, "C\xc3\xa4rtPole-v1");
    cr_assert_eq(b.common.device, 1);
    bound_deinit(&b);
}

Test(config_doc, answers_to_every_truncation) {
    char text[sizeof valid];
    for (size_t n = 0; n < sizeof valid; n++) {
        memcpy(text, valid, n);
        text[n] = '\0';
        expect_an_answer(text);
    }
}

Test(config_doc, answers_to_any_damaged_byte) {
    static const char damage[] = "[]{}:,#&*!|>'\"%@`-?\\\n\t \r\x01\x7f\xff~<=0";
    char              text[sizeof valid];
    for (size_t i = 0; i + 1 < sizeof valid; i++) {
        memcpy(text, valid, sizeof valid);
        text[i] = damage[i % (sizeof damage - 1)];
        expect_an_answer(text);
        text[i] = damage[(i * 7 + 3) % (sizeof damage - 1)];
        expect_an_answer(text);
    }
}

Test(config_doc, answers_to_any_pile_of_punctuation) {
    static const char letters[] = "[]{}:,#&*!|>'\"%-? \n\n  a1:e";
    for (uint64_t round = 0; round < 2000; round++) {
        char text[65] = "";
        for (int i = 0; i < 64; i += 4) {
            uint32_t words[4];
            sk_philox(5, sk_stream_id(SK_STREAM_TEST, round), (uint64_t)i, words);
            for (int k = 0; k < 4; k++) text[i + k] = letters[sk_u32_below(words[k], sizeof letters - 1)];
        }
        text[1 + round % 64] = '\0';
        expect_an_answer(text);
    }
}

Test(config_doc, answers_to_malformed_documents) {
    static const char *const texts[] = {"env: [\n",
                                        "env: {\n",
                                        "env: \"\n",
                                        "env: '\n",
                                        "env: |\n",
                                        "env: >9\n",
                                        "env: |0\n  a\n",
                                        "{",
                                        "}",
                                        "]",
                                        "[",
                                        "env: {a: {b: {c: \n",
                                        "- - - -\n",
                                        "? ? ? ?\n",
                                        ": : : :\n",
                                        "&a\n",
                                        "&a &b c\n",
                                        "*\n",
                                        "!\n",
                                        "!<\n",
                                        "%\n",
                                        "%TAG\n",
                                        "%TAG ! !\n---\n",
                                        "%YAML\n---\na: 1\n",
                                        "---\n---\n---\n",
                                        "...\n...\n",
                                        "--- |\n",
                                        "a: b\n c: d\n",
                                        "a: 'b' c\n",
                                        "\"a\\x\": 1\n",
                                        "\"a\\ud800\": 1\n",
                                        "env: \"\\xff\"\n",
                                        "env: \"\\u2028\\U0010ffff\"\n",
                                        "a:\n- b\nc\n",
                                        "a: [b]]\n",
                                        "a: {b}}\n",
                                        "a: b: c: d\n",
                                        "a: #\n",
                                        "a:#\n",
                                        "a: >\n\n\n\n",
                                        "\n\n\n  a: 1\n b: 2\n",
                                        "env: A\rseed: 2\r",
                                        "env: \xc2\x85"
                                        "A\n",
                                        "env: \xe2\x80\xa8"
                                        "A\n",
                                        "\xef\xbb\xbf\xef\xbb\xbf"
                                        "env: A\n",
                                        "env: &a A\nstop: &a {x: 1}\nalgorithm: *a\n",
                                        "training: &t {lr: *t}\n",
                                        "? |\n  block key\n: - one\n",
                                        "{env: A, env: B}",
                                        "{env: A,,}",
                                        "[env: A]",
                                        "{? }",
                                        "{: }",
                                        "{a b: c}"};
    for (int i = 0; i < SK_COUNT(texts); i++) expect_an_answer(texts[i]);
}
