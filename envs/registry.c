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

extern const sk_env_api sk_env_gymnasium, sk_env_mujoco;
static const struct {
    const sk_env_api *api;
    const char       *help;
} families[] = {
    {&sk_env_gymnasium, "gymnasium:NAME: every environment of an installed Gymnasium, in a Python process "
                        "(docs/python.md)"},
    {&sk_env_mujoco, "mujoco:FILE.xml: a robot of your own, described in MJCF (docs/own_robot.md)"},
};

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

int sk_env_family_count(void) { return SK_COUNT(families); }

const sk_env_api *sk_env_family_at(int index) {
    SK_ASSERT(index >= 0 && index < SK_COUNT(families));
    return families[index].api;
}

const char *sk_env_family_help(int index) {
    SK_ASSERT(index >= 0 && index < SK_COUNT(families));
    return families[index].help;
}

const sk_env_api *sk_env_family(const char *name, const char **ret_id) {
    for (int i = 0; i < SK_COUNT(families); i++) {
        size_t size = strlen(families[i].api->name);
        if (strncmp(name, families[i].api->name, size) != 0 || (name[size] != ':' && name[size])) continue;
        *ret_id = name[size] ? name + size + 1 : NULL;
        return families[i].api;
    }
    return NULL;
}
