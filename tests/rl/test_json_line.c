#include "rl/json_line.h"
#include <criterion/criterion.h>
#include <jansson.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static char *finish(sk_json_line *line) {
    char *text = NULL;
    sk_error err = {0};
    cr_assert_eq(sk_json_line_finish(line, &text, &err), SK_OK, "%s", err.msg);
    return text;
}

Test(json_line, writes_every_kind_of_value) {
    sk_json_line line;
    sk_json_line_init(&line);
    sk_json_line_text(&line, "a", "x\"\\\n\x01y");
    sk_json_line_number(&line, "b", 0.1);
    sk_json_line_integer(&line, "c", INT64_MIN);
    sk_json_line_bool(&line, "d", true);
    sk_json_line_null(&line, "e");
    sk_json_line_begin(&line, "f");
    sk_json_line_number(&line, "g", -2);
    sk_json_line_end(&line);
    sk_json_line_begin_array(&line, "h");
    sk_json_line_integer(&line, NULL, 1);
    sk_json_line_bool(&line, NULL, false);
    sk_json_line_end_array(&line);
    sk_json_line_begin(&line, "i");
    sk_json_line_end(&line);
    sk_json_line_text(&line, "j", NULL);
    char *text = finish(&line);
    cr_assert_str_eq(text,
                     "{\"a\":\"x\\\"\\\\\\u000a\\u0001y\",\"b\":0.1,\"c\":-9223372036854775808,\"d\":true,"
                     "\"e\":null,\"f\":{\"g\":-2},\"h\":[1,false],\"i\":{},\"j\":null}");
    free(text);
}

Test(json_line, is_an_empty_object_without_pieces) {
    sk_json_line line;
    sk_json_line_init(&line);
    char *text = finish(&line);
    cr_assert_str_eq(text, "{}");
    free(text);
}

static double read_back(double number) {
    sk_json_line line;
    sk_json_line_init(&line);
    sk_json_line_number(&line, "x", number);
    char *text = finish(&line);
    json_t *json = json_loads(text, 0, NULL);
    cr_assert_not_null(json, "%s", text);
    double got = json_number_value(json_object_get(json, "x"));
    json_decref(json);
    free(text);
    return got;
}

Test(json_line, numbers_read_back_as_themselves) {
    const double numbers[] = {0.1,        1.0 / 3,    -1e-300,   5e-324, 1.7976931348623157e308,
                              1e15 + 0.5, 0x1p53 + 2, 123456789, -0x1p52};
    for (int i = 0; i < SK_COUNT(numbers); i++)
        cr_assert_eq(read_back(numbers[i]), numbers[i], "%a", numbers[i]);
}

Test(json_line, numbers_that_are_none_are_null) {
    sk_json_line line;
    sk_json_line_init(&line);
    sk_json_line_number(&line, "x", NAN);
    sk_json_line_number(&line, "y", -INFINITY);
    char *text = finish(&line);
    cr_assert_str_eq(text, "{\"x\":null,\"y\":null}");
    free(text);
}

Test(json_line, has_a_decimal_point_in_every_locale) {
    if (!setlocale(LC_ALL, "de_DE.UTF-8") && !setlocale(LC_ALL, "fr_FR.UTF-8"))
        cr_skip_test("no locale with a decimal comma is installed");
    cr_assert_eq(read_back(0.25), 0.25);
}

Test(json_line, replaces_bytes_that_are_not_utf8) {
    sk_json_line line;
    sk_json_line_init(&line);
    sk_json_line_text(&line, "x", "\xc3\xa4 \xff \xe2\x82\xac \xed\xa0\x80 \xc0\x80 \xe2\x82");
    char *text = finish(&line);
    cr_assert_str_eq(text, "{\"x\":\"\xc3\xa4 \\ufffd \xe2\x82\xac \\ufffd\\ufffd\\ufffd \\ufffd\\ufffd "
                           "\\ufffd\\ufffd\"}");
    free(text);
}

Test(json_line, deinit_may_come_before_finish) {
    sk_json_line line;
    sk_json_line_init(&line);
    sk_json_line_text(&line, "x", "y");
    sk_json_line_deinit(&line);
    cr_assert_null(line.text);
}
