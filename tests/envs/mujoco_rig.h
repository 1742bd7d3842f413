/* mujoco_rig: instances of the environments on MuJoCo with their columns, and folders that stand in for MuJoCo's. */
#ifndef SK_TESTS_MUJOCO_RIG_H
#define SK_TESTS_MUJOCO_RIG_H
#include "core/base/status.h"
#include "envs/mujoco_paths.h"
#include "envs/registry.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MJ_ENVS_MAX = 4, MJ_OBS_MAX = 348, MJ_ACTION_MAX = 17 };

static const char *const mjt_names[] = {
    "HalfCheetah-v5", "Hopper-v5",  "Walker2d-v5", "Ant-v5",    "Humanoid-v5",         "HumanoidStandup-v5",
    "Swimmer-v5",     "Reacher-v5", "Pusher-v5",   "InvertedPendulum-v5", "InvertedDoublePendulum-v5"};

typedef struct mjt_rig {
    const sk_env_api *api;
    void             *self;
    int               n, obs_dim, n_action;
    float             obs[MJ_ENVS_MAX * MJ_OBS_MAX], reward[MJ_ENVS_MAX];
    sk_env_slot       action[MJ_ENVS_MAX * MJ_ACTION_MAX];
    uint8_t           terminated[MJ_ENVS_MAX], truncated[MJ_ENVS_MAX], active[MJ_ENVS_MAX], failed[MJ_ENVS_MAX];
} mjt_rig;

static inline void mjt_skip_without(void) {
#ifndef SK_HAS_MUJOCO
    cr_skip_test("skiff was built without MuJoCo");
#endif
}

/* `n` of them, env i reset with seed + i. */
static inline void mjt_init(mjt_rig *rig, const char *name, int n, uint64_t seed) {
    sk_env_config none = {0};
    sk_env_spec   spec = {.struct_size = sizeof spec};
    char          err[600] = "";
    *rig = (mjt_rig){.api = sk_env_builtin(name), .n = n};
    cr_assert_not_null(rig->api, "%s is not built in", name);
    cr_assert_eq(rig->api->describe(&none, &spec, err, sizeof err), 0, "%s", err);
    cr_assert_eq(rig->api->create(&none, n, &rig->self, err, sizeof err), 0, "%s", err);
    rig->obs_dim = spec.obs[0].shape[0];
    rig->n_action = spec.action[0].n;
    for (int i = 0; i < n; i++) {
        uint64_t s = seed + (uint64_t)i;
        cr_assert_eq(rig->api->reset(rig->self, i, &s, rig->obs + i * rig->obs_dim, NULL), 0);
    }
}

/* Step envs first... of the rig, with actions that depend on `t` and the env alone, counted from `env_offset`. */
static inline void mjt_step(mjt_rig *rig, int first, int count, int t, int env_offset) {
    for (int i = 0; i < count; i++) {
        for (int k = 0; k < rig->n_action; k++) {
            int mixed = (t * 31 + k * 17 + (first + i + env_offset) * 7) % 23;
            rig->action[(first + i) * rig->n_action + k].f = (float)(mixed - 11) * 0.03f;
        }
    }
    memset(rig->active, 1, sizeof rig->active);
    memset(rig->failed + first, 0, (size_t)count);
    memset(rig->reward + first, 0xff, (size_t)count * sizeof(float)); /* NaN: must be written */
    memset(rig->terminated, 7, sizeof rig->terminated);
    memset(rig->truncated, 7, sizeof rig->truncated);
    sk_env_io io = {.struct_size = sizeof io, .action = rig->action + first * rig->n_action,
                    .obs = rig->obs + first * rig->obs_dim, .reward = rig->reward + first,
                    .terminated = rig->terminated + first, .truncated = rig->truncated + first,
                    .active = rig->active + first, .failed = rig->failed + first};
    cr_assert_eq(rig->api->step(rig->self, first, count, &io), 0, "%s", rig->api->last_error(rig->self));
}

static inline void mjt_deinit(mjt_rig *rig) { rig->api->destroy(rig->self); }

/* A new empty folder of this test, made the working directory; its path in `path`. */
static inline void mjt_empty_folder(char path[64]) {
    strcpy(path, "/tmp/skiff_mujoco_XXXXXX");
    cr_assert_not_null(mkdtemp(path));
    cr_assert_eq(chdir(path), 0);
}

static inline void mjt_remove_folder(const char *path) {
    char command[128];
    cr_assert_eq(chdir("/"), 0);
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    cr_assert_eq(system(command), 0);
}

static inline int mjt_count_entries(const char *path) {
    DIR *folder = opendir(path);
    int  n = 0;
    cr_assert_not_null(folder);
    while (readdir(folder)) n++;
    closedir(folder);
    return n - 2;
}

/* Send stderr and stdout into unlinked files until mjt_quiet_end, which gives the number of bytes written. */
static inline void mjt_quiet_begin(int saved[2]) {
    for (int i = 0; i < 2; i++) {
        fflush(NULL);
        saved[i] = dup(i + 1);
        FILE *file = tmpfile();
        dup2(fileno(file), i + 1);
        fclose(file);
    }
}

static inline long mjt_quiet_end(const int saved[2]) {
    long size = 0;
    fflush(NULL);
    for (int i = 0; i < 2; i++) {
        struct stat info;
        fstat(i + 1, &info);
        size += info.st_size;
        dup2(saved[i], i + 1);
        close(saved[i]);
    }
    return size;
}

/* Make the working directory a folder of MuJoCo's with its real library and this text as models/<name>, and use it. */
static inline void mjt_use_own_models(const char *path, const char *name, const char *text) {
    char from[4200], to[256];
    snprintf(from, sizeof from, "%s/lib", SK_MUJOCO_DIR);
    cr_assert_eq(symlink(from, "lib"), 0);
    cr_assert_eq(mkdir("models", 0700), 0);
    snprintf(to, sizeof to, "models/%s", name);
    FILE *file = fopen(to, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
    setenv("SKIFF_MUJOCO_DIR", path, 1);
}

#endif
