/* What the Python side says about an environment of Gymnasium's. */
#include "envs/external/gymnasium_spec.h"
#include "rl/env_spec.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    sk_env_spec spec = {.struct_size = sizeof spec};
    float      *bounds = NULL;
    sk_error    err = {0};
    sk_status   status = sk__gymnasium_spec_parse((const char *)data, size, &spec, &bounds, &err);
    fuzz_check_status(status, &err);
    if (status == SK_OK) {
        status = sk__env_spec_check(&spec, &err);
        fuzz_check_status(status, &err);
        (void)sk__gymnasium_action_slots(&spec);
        (void)sk__gymnasium_row_bytes(&spec);
    }
    free(bounds);
    return 0;
}
