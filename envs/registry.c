#include "envs/registry.h"
#include "core/base/status.h"
#include <string.h>

#define SK_ENV(name) extern const sk_env_api sk_env_##name;
#include "envs/env_list.inc"
#undef SK_ENV

#define SK_ENV(name) &sk_env_##name,
static const sk_env_api *const table[] = {
#include "envs/env_list.inc"
};
#undef SK_ENV

int sk_env_builtin_count(void) { return SK_COUNT(table); }

const sk_env_api *sk_env_builtin_at(int index) {
    SK_ASSERT(index >= 0 && index < SK_COUNT(table));
    return table[index];
}

const sk_env_api *sk_env_builtin(const char *name) {
    for (int i = 0; i < SK_COUNT(table); i++) {
        if (strcmp(table[i]->name, name) == 0) return table[i];
    }
    return NULL;
}
