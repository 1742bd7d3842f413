/* One real fragment of CartPole, and how long a runner needs for it. */
#include "tests/bench/scaling.h"

#include "rl/modules.h"
#include "rl/runner.h"
#include "rl/stream.h"
#include "rl/train_setup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WARM_UP = 3, TIMES = 15 };

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The block up to the last episode that ended: what a fragment has to carry. */
static void keep(scaling_shared *shared, const sk_batch *batch) {
    const uint8_t *first = (const uint8_t *)batch->fragment;
    shared->fragment_bytes = (uint64_t)((const uint8_t *)(batch->episode + batch->fragment[0].n_episodes) - first);
    shared->episodes_at = (uint64_t)((const uint8_t *)batch->episode - first);
    memcpy(shared->fragment, first, shared->fragment_bytes);
}

static sk_status sample(scaling_shared *shared, sk_stream_source *stream, sk_error *reterr) {
    const sk_batch *batch = NULL;
    double          times[TIMES];
    for (int i = 0; i < WARM_UP + TIMES; i++) {
        SK_TRY(sk_source_next(sk_stream_source_of(stream), &batch, reterr));
        if (i >= WARM_UP) times[i - WARM_UP] = batch->fragment[0].env_s + batch->fragment[0].inference_s;
    }
    qsort(times, TIMES, sizeof times[0], compare);
    shared->runner_s = times[TIMES / 2];
    keep(shared, batch);
    void  *state = NULL;
    size_t size = 0;
    int    complete = 0;
    SK_TRY(sk_stream_save(stream, &state, &size, &complete, reterr));
    free(state);
    shared->state_bytes = sizeof(sk_runner_kept) + size;
    return SK_OK;
}

static sk_status record(scaling_shared *shared, sk_train_setup *setup, sk_config *cfg, sk_error *reterr) {
    static const sk_module *const modules[] = {&sk_rl_module};
    sk_runtime_params  runtime = {.modules = modules, .n_modules = 1};
    sk_runtime        *rt = NULL;
    sk_policy         *policy = NULL;
    sk_stream_source  *stream = NULL;
    sk_metrics         metrics = {0};
    sk_episode_window  window = {0};
    sk_status          status = sk_train_setup_init(setup, cfg, reterr);
    if (status == SK_OK)
        status = sk_policy_create(&setup->spaces, &setup->config.model, SK_FILTER_NONE, 1, &policy, reterr);
    if (status == SK_OK) status = sk_runtime_create(&runtime, &rt, reterr);
    sk_stream_params params = {.runtime = rt, .env = setup->env, .config = &setup->config, .policy = policy,
                               .metrics = &metrics, .window = &window};
    if (status == SK_OK) status = sk_stream_create(&params, &stream, reterr);
    if (status == SK_OK) status = sample(shared, stream, reterr);
    sk_stream_destroy(&stream);
    sk_runtime_destroy(&rt);
    sk_policy_destroy(&policy);
    return status;
}

int scaling_record(scaling_shared *shared) {
    char           text[1024];
    sk_error       err = {0};
    sk_config     *cfg = NULL;
    sk_train_setup setup = {0};
    scaling_config(&shared->c, 0, text, sizeof text);
    sk_status status = sk_config_parse(text, "scaling", NULL, 0, &cfg, &err);
    if (status == SK_OK) status = record(shared, &setup, cfg, &err);
    sk_train_setup_deinit(&setup);
    sk_config_destroy(&cfg);
    if (status != SK_OK) snprintf(shared->head_failure, sizeof shared->head_failure, "%s", err.msg);
    return status == SK_OK ? 0 : 1;
}
