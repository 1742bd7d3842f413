/* Stands in for the environments on MuJoCo where skiff was built without its headers: the names are there, and say how
 * to get the rest. Threads: free of state. */
#include "envs/mujoco/mujoco_names.h"
#include "envs/mujoco_paths.h"
#include "skiff/env.h"
#include <stdio.h>

static int refuse(char *err, size_t err_size) {
    snprintf(err, err_size,
             "skiff was built without MuJoCo (no include/mujoco/mujoco.h in %s). To get it: python3 "
             "%s/envs/mujoco/fetch.py, then ./skiff again (or: meson setup --reconfigure BUILD && ninja -C BUILD); a "
             "MuJoCo of your own: meson configure BUILD -Dmujoco_dir=FOLDER",
             SK_MUJOCO_DIR, SK_SOURCE_DIR);
    return -1;
}

static int describe(const sk_env_config *config, sk_env_spec *spec, char *err, size_t err_size) {
    (void)config, (void)spec;
    return refuse(err, err_size);
}

static int create(const sk_env_config *config, int n_envs, void **ret_self, char *err, size_t err_size) {
    (void)config, (void)n_envs, (void)ret_self;
    return refuse(err, err_size);
}

static void destroy(void *self) { (void)self; }

static int reset(void *self, int env, const uint64_t *seed, void *obs, uint8_t *mask) {
    (void)self, (void)env, (void)seed, (void)obs, (void)mask;
    return -1;
}

static int step(void *self, int first, int count, const sk_env_io *io) {
    (void)self, (void)first, (void)count, (void)io;
    return -1;
}

#define SK_MUJOCO_API(id, env_name)                                                                                   \
    extern const sk_env_api sk_env_##id;                                                                              \
    const sk_env_api sk_env_##id = {                                                                                  \
        .abi_version = SK_ENV_ABI_VERSION, .struct_size = sizeof(sk_env_api), .name = env_name,                       \
        .describe = describe, .create = create, .destroy = destroy, .reset = reset, .step = step};
SK_MUJOCO_ENVS(SK_MUJOCO_API)
SK_MUJOCO_API(mujoco, "mujoco")
