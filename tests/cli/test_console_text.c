#include "cli/console_text.h"
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static const char *count(double number) {
    static char text[SK_CONSOLE_TEXT];
    sk_console_count(number, text);
    return text;
}

static const char *rate(double number) {
    static char text[SK_CONSOLE_TEXT];
    sk_console_rate(number, text);
    return text;
}

static const char *duration(double seconds) {
    static char text[SK_CONSOLE_TEXT];
    sk_console_duration(seconds, text);
    return text;
}

Test(console_text, groups_digits_by_three) {
    cr_assert_str_eq(count(0), "0");
    cr_assert_str_eq(count(999), "999");
    cr_assert_str_eq(count(1000), "1,000");
    cr_assert_str_eq(count(1234567), "1,234,567");
    cr_assert_str_eq(count(-12345), "-12,345");
    cr_assert_str_eq(count(1e20), "1e+20");
}

Test(console_text, shows_three_digits_of_a_rate) {
    cr_assert_str_eq(rate(0), "0");
    cr_assert_str_eq(rate(950), "950");
    cr_assert_str_eq(rate(1234), "1.23k");
    cr_assert_str_eq(rate(45678), "45.7k");
    cr_assert_str_eq(rate(412000), "412k");
    cr_assert_str_eq(rate(1.25e6), "1.25M");
    cr_assert_str_eq(rate(2e9), "2.00G");
}

Test(console_text, shows_hours_only_when_there_are_some) {
    cr_assert_str_eq(duration(0), "0:00");
    cr_assert_str_eq(duration(7.4), "0:07");
    cr_assert_str_eq(duration(754), "12:34");
    cr_assert_str_eq(duration(10921), "3:02:01");
    cr_assert_str_eq(duration(-5), "0:00");
}

Test(console_text, puts_a_report_on_one_line) {
    sk_metrics m = {0};
    char text[SK_CONSOLE_LINE];
    sk_metrics_set(&m, SK_METRIC_ENV_STEPS, 53248);
    sk_metrics_set(&m, SK_METRIC_RETURN_MEAN, 187.31);
    sk_metrics_set(&m, SK_METRIC_EVAL_RETURN_MEAN, 210);
    sk_train_progress progress = {.metrics = &m, .done = 0.529, .eta_s = 12};
    sk_console_span span = {.env_steps = 8240,
                            .wall_s = 0.02,
                            .env_s = 2.1,
                            .inference_s = 3,
                            .transport_s = 0.3,
                            .learn_s = 4.6};
    sk_console_line(&progress, &span, text);
    cr_assert_str_eq(
        text, "53,248 steps 52% eta 0:12 | return 187.3 | eval 210 | 412k steps/s | env 21% act 30% move 3% "
              "learn 46%");
}

Test(console_text, leaves_out_what_is_not_known) {
    sk_metrics m = {0};
    char text[SK_CONSOLE_LINE];
    sk_train_progress progress = {.metrics = &m, .done = -1, .eta_s = -1};
    sk_console_line(&progress, &(sk_console_span){0}, text);
    cr_assert_str_eq(text, "0 steps");
}

Test(console_text, the_last_line_has_no_eta) {
    sk_metrics m = {0};
    char text[SK_CONSOLE_LINE];
    sk_train_progress progress = {.metrics = &m, .done = 1.2, .eta_s = 3, .is_last = 1};
    sk_console_line(&progress, &(sk_console_span){.evaluation_s = 1}, text);
    cr_assert_str_eq(text, "0 steps 100% | env 0% act 0% move 0% learn 0% eval 100%");
}
