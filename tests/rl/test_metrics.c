#include "rl/metrics.h"
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

Test(metrics, finds_every_name_of_the_list_once) {
    for (int i = 0; i < SK_METRIC_COUNT; i++) {
        const sk_metric_info *info = sk_metric_info_get((sk_metric)i);
        cr_assert_eq(sk_metric_find(info->name), i, "%s", info->name);
        cr_assert_str_eq(sk_metric_names()[i], info->name);
        cr_assert(info->help[0] && info->help[strlen(info->help) - 1] == '.', "%s has no sentence",
                  info->name);
    }
    cr_assert_eq(sk_metric_find("episode_reward_mean"), -1);
    cr_assert_eq(sk_metric_find(""), -1);
}

Test(metrics, tells_budgets_from_goals) {
    cr_assert_eq(sk_metric_info_get(SK_METRIC_ENV_STEPS)->kind, SK_METRIC_KIND_BUDGET);
    cr_assert_eq(sk_metric_info_get(SK_METRIC_TIME_TOTAL)->kind, SK_METRIC_KIND_BUDGET);
    cr_assert_eq(sk_metric_info_get(SK_METRIC_EVAL_RETURN_MEAN)->kind, SK_METRIC_KIND_GOAL);
    cr_assert_str_eq(sk_metric_info_get(SK_METRIC_KL)->unit, "nat");
}

Test(metrics, are_absent_until_set) {
    sk_metrics m = {0};
    cr_assert_eq(sk_metrics_get(&m, SK_METRIC_LR, -7), -7);
    sk_metrics_set(&m, SK_METRIC_LR, 0);
    cr_assert(m.present[SK_METRIC_LR]);
    cr_assert_eq(sk_metrics_get(&m, SK_METRIC_LR, -7), 0);
    sk_metrics_clear(&m, SK_METRIC_LR);
    cr_assert_eq(sk_metrics_get(&m, SK_METRIC_LR, -7), -7);
}

Test(metrics, a_number_that_is_none_makes_absent) {
    sk_metrics m = {0};
    sk_metrics_set(&m, SK_METRIC_KL, 1);
    sk_metrics_set(&m, SK_METRIC_KL, NAN);
    cr_assert_not(m.present[SK_METRIC_KL]);
    sk_metrics_set(&m, SK_METRIC_KL, INFINITY);
    cr_assert_not(m.present[SK_METRIC_KL]);
}

Test(metrics, counters_begin_at_zero) {
    sk_metrics m = {0};
    sk_metrics_add(&m, SK_METRIC_UPDATES, 3);
    sk_metrics_add(&m, SK_METRIC_UPDATES, 4);
    cr_assert_eq(sk_metrics_get(&m, SK_METRIC_UPDATES, -1), 7);
}

Test(metrics, json_holds_exactly_what_is_present) {
    sk_metrics m = {0};
    sk_error err = {0};
    char *line = NULL;
    sk_metrics_set(&m, SK_METRIC_ENV_STEPS, 123456789012.0);
    sk_metrics_set(&m, SK_METRIC_EVAL_RETURN_MEAN, 1.0 / 3);
    sk_metrics_set(&m, SK_METRIC_KL, NAN);
    cr_assert_eq(sk_metrics_json(&m, &line, &err), SK_OK, "%s", err.msg);
    cr_assert_str_eq(line, "{\"num_env_steps_sampled_lifetime\":123456789012,"
                           "\"evaluation/episode_return_mean\":0.33333333333333331}");
    free(line);
    cr_assert_eq(sk_metrics_json(&(sk_metrics){0}, &line, &err), SK_OK);
    cr_assert_str_eq(line, "{}");
    free(line);
}

Test(metrics, json_round_trips_every_metric) {
    sk_metrics m = {0};
    char *line = NULL;
    for (int i = 0; i < SK_METRIC_COUNT; i++) sk_metrics_set(&m, (sk_metric)i, 0.1 * i - 1);
    cr_assert_eq(sk_metrics_json(&m, &line, NULL), SK_OK);
    json_t *json = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
    cr_assert_eq((int)json_object_size(json), SK_METRIC_COUNT);
    for (int i = 0; i < SK_METRIC_COUNT; i++) {
        const json_t *value = json_object_get(json, sk_metric_names()[i]);
        cr_assert_eq(json_number_value(value), 0.1 * i - 1, "%s", sk_metric_names()[i]);
    }
    json_decref(json);
    free(line);
}

Test(episode_window, reports_nothing_before_an_episode_ended) {
    sk_episode_window window = {0};
    sk_metrics m = {0};
    sk_metrics_set(&m, SK_METRIC_RETURN_MEAN, 5); /* of an earlier report */
    sk_episode_window_report(&window, &m);
    for (int i = 0; i < SK_METRIC_COUNT; i++) cr_assert_not(m.present[i], "%s", sk_metric_names()[i]);
}

Test(episode_window, reports_all_of_few_episodes) {
    sk_episode_window window = {0};
    sk_metrics m = {0};
    sk_episode_window_push(&window, -3, 10);
    sk_episode_window_push(&window, 5, 20);
    sk_episode_window_report(&window, &m);
    cr_assert_eq(sk_metrics_get(&m, SK_METRIC_RETURN_MEAN, NAN), 1);
    cr_assert_eq(sk_metrics_get(&m, SK_METRIC_RETURN_MIN, NAN), -3);
    cr_assert_eq(sk_metrics_get(&m, SK_METRIC_RETURN_MAX, NAN), 5);
    cr_assert_eq(sk_metrics_get(&m, SK_METRIC_LEN_MEAN, NAN), 15);
    cr_assert_eq(sk_metrics_get(&m, SK_METRIC_EPISODES, NAN), 2);
}

Test(episode_window, keeps_the_last_hundred) {
    sk_episode_window window = {0};
    sk_metrics m = {0};
    for (int i = 0; i < 250; i++) sk_episode_window_push(&window, i, 1000 - i);
    sk_episode_window_report(&window, &m);
    cr_assert_eq(sk_metrics_get(&m, SK_METRIC_RETURN_MIN, NAN), 150);
    cr_assert_eq(sk_metrics_get(&m, SK_METRIC_RETURN_MAX, NAN), 249);
    cr_assert_eq(sk_metrics_get(&m, SK_METRIC_RETURN_MEAN, NAN), 199.5);
    cr_assert_eq(sk_metrics_get(&m, SK_METRIC_LEN_MEAN, NAN), 800.5);
    cr_assert_eq(sk_metrics_get(&m, SK_METRIC_EPISODES, NAN), 250);
}
