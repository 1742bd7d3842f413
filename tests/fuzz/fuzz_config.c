/* A config file, and behind a zero byte an override, bound to the keys of training and of PPO. What is accepted must
 * come out of emit and back with the same values. */
#include "core/base/config.h"
#include "rl/algorithm.h"
#include "rl/train_config.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

typedef struct bound {
    sk_config      *cfg;
    sk_train_config train;
    void           *own;
    char           *emitted;
} bound;

static sk_status bind_text(bound *b, const char *text, const char *const *overrides, int n_overrides, sk_error *err) {
    const sk_algorithm_api *ppo = sk_algorithm_find("ppo");
    char                    name[64];
    b->own = calloc(1, ppo->config_size);
    FUZZ_CHECK(b->own);
    SK_TRY(sk_config_parse(text, "fuzz.yaml", overrides, n_overrides, &b->cfg, err));
    SK_TRY(sk_config_peek(b->cfg, "algorithm", "ppo", name, sizeof name, err));
    sk_config_part parts[] = {{sk_train_config_keys, sk_train_config_n_keys, &b->train}, {ppo->keys, ppo->n_keys, b->own}};
    SK_TRY(sk_config_bind(b->cfg, parts, SK_COUNT(parts), err));
    SK_TRY(sk_config_emit(parts, SK_COUNT(parts), &b->emitted, err));
    SK_TRY(sk_train_config_check(&b->train, b->cfg, err));
    return ppo->check(b->own, &b->train, b->cfg, err);
}

static void unbind(bound *b) {
    free(b->emitted);
    free(b->own);
    sk_config_destroy(&b->cfg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 2);
    FUZZ_CHECK(text);
    if (size) memcpy(text, data, size);
    text[size] = text[size + 1] = '\0';
    const char *override = text + strlen(text) + 1; /* empty if there is none */
    bound     first = {0}, again = {0};
    sk_error  err = {0};
    sk_status status = bind_text(&first, text, &override, *override != '\0', &err);
    fuzz_check_status(status, &err);
    if (first.emitted) {
        sk_error  why = {0};
        sk_status second = bind_text(&again, first.emitted, NULL, 0, &why);
        fuzz_check_status(second, &why);
        FUZZ_CHECK(again.emitted && strcmp(first.emitted, again.emitted) == 0);
    }
    unbind(&first);
    unbind(&again);
    free(text);
    return 0;
}
