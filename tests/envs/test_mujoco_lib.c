/* Loading MuJoCo and its models, and what is said when that fails. */
#include "mujoco_rig.h"

static int create(const char *name, char *err, size_t err_size) {
    const sk_env_api *api = sk_env_builtin(name);
    void             *self = NULL;
    cr_assert_not_null(api);
    int failed = api->create(&(sk_env_config){0}, 1, &self, err, err_size);
    if (!failed) api->destroy(self);
    return failed;
}

static void refused_with(const char *name, const char *wanted) {
    char err[600] = "";
    int  saved[2];
    mjt_quiet_begin(saved);
    int  failed = create(name, err, sizeof err);
    long printed = mjt_quiet_end(saved);
    cr_assert(failed, "%s was created", name);
    cr_assert(strstr(err, wanted), "\"%s\" does not say \"%s\"", err, wanted);
    cr_assert_eq(printed, 0, "%ld bytes were printed", printed);
}

#ifndef SK_HAS_MUJOCO
Test(mujoco_lib, says_how_to_get_mujoco_where_it_was_not_built_in) {
    refused_with("Ant-v5", "envs/mujoco/fetch.py");
    refused_with("Ant-v5", "-Dmujoco_dir=FOLDER");
}
#else
#include "envs/mujoco/mujoco_lib.h"
#include <pthread.h>

Test(mujoco_lib, says_where_it_looked_and_how_to_get_the_library) {
    setenv("SKIFF_MUJOCO_DIR", "/nowhere", 1);
    refused_with("Ant-v5", "cannot read the model /nowhere/models/ant.xml");
    refused_with("Ant-v5", "envs/mujoco/fetch.py");
    const sk_mujoco_lib *lib;
    sk_error error;
    cr_assert_eq(sk__mujoco_lib_get(&lib, &error), SK_ENOTFOUND);
    cr_assert(strstr(error.msg, "no lib/libmujoco.so.4.0.0 in /nowhere ($SKIFF_MUJOCO_DIR)"), "%s", error.msg);
    cr_assert(strstr(error.msg, "envs/mujoco/fetch.py"), "%s", error.msg);
    unsetenv("SKIFF_MUJOCO_DIR"); /* a failure is not remembered */
    cr_assert_eq(sk__mujoco_lib_get(&lib, &error), SK_OK, "%s", error.msg);
}

Test(mujoco_lib, refuses_a_library_of_another_version_and_names_both) {
    char path[64], fake[4200], models[4200];
    mjt_empty_folder(path);
    snprintf(fake, sizeof fake, "%s/tests/envs/fake_mujoco.so", getenv("SKIFF_BUILD_DIR"));
    snprintf(models, sizeof models, "%s/models", SK_MUJOCO_DIR);
    cr_assert_eq(mkdir("lib", 0700), 0);
    cr_assert_eq(symlink(fake, "lib/libmujoco.so"), 0);
    cr_assert_eq(symlink(models, "models"), 0);
    setenv("SKIFF_MUJOCO_DIR", path, 1);
    refused_with("Ant-v5",
                 "lib/libmujoco.so is MuJoCo 3.3.8 (mj_version 3003008), skiff was built for 4.0.0 (4000000)");
    cr_assert_eq(mjt_count_entries(path), 2);
    mjt_remove_folder(path);
}

Test(mujoco_lib, refuses_a_library_that_is_none) {
    char path[64], models[4200];
    mjt_empty_folder(path);
    snprintf(models, sizeof models, "%s/models", SK_MUJOCO_DIR);
    cr_assert_eq(mkdir("lib", 0700), 0);
    FILE *file = fopen("lib/libmujoco.so.4.0.0", "w");
    fputs("no library", file);
    fclose(file);
    cr_assert_eq(symlink(models, "models"), 0);
    setenv("SKIFF_MUJOCO_DIR", path, 1);
    refused_with("Ant-v5", "cannot load MuJoCo: ");
    mjt_remove_folder(path);
}

Test(mujoco_lib, names_the_line_of_a_broken_model_and_stays_silent) {
    char path[64];
    mjt_empty_folder(path);
    mjt_use_own_models(path, "ant.xml",
                       "<mujoco>\n<worldbody>\n<body>\n<geom size='a'/>\n</body></worldbody></mujoco>");
    refused_with("Ant-v5", "models/ant.xml: ");
    refused_with("Ant-v5", "line 4");
    FILE *file = fopen("models/ant.xml", "w");
    fputs("<mujoco>\n<worldbody>\n</mujoco>\n", file);
    fclose(file);
    refused_with("Ant-v5", "XML");
    cr_assert_eq(mjt_count_entries(path), 2, "a file was written");
    mjt_remove_folder(path);
}

Test(mujoco_lib, refuses_another_model_than_the_environments) {
    char path[64];
    mjt_empty_folder(path);
    mjt_use_own_models(path, "ant.xml",
                       "<mujoco><worldbody><body><joint/><geom size='1'/></body></worldbody></mujoco>");
    refused_with("Ant-v5", "got nq 1, nv 1, nu 0, na 0, wanted 15, 14, 8, 0");
    mjt_remove_folder(path);
}

static void write_model(const char *path, int n_joints) {
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs("<mujoco><worldbody><body><geom size='1'/>", file);
    for (int i = 0; i < n_joints; i++) fputs("<joint/>", file);
    fputs("</body></worldbody></mujoco>", file);
    fclose(file);
}

Test(mujoco_lib, a_model_is_loaded_once_until_its_file_changes) {
    char path[64], model[128];
    sk_error         error;
    sk_mujoco_model *a = NULL, *b = NULL, *c = NULL;
    mjt_empty_folder(path);
    snprintf(model, sizeof model, "%s/m.xml", path);
    write_model(model, 1);
    cr_assert_eq(sk__mujoco_model_open(model, &a, &error), SK_OK, "%s", error.msg);
    cr_assert_eq(sk__mujoco_model_open(model, &b, &error), SK_OK);
    cr_assert_eq(a->m, b->m);
    sk__mujoco_model_release(&a);
    cr_assert_null(a);
    write_model(model, 2); /* another file, while the first is in use */
    cr_assert_eq(sk__mujoco_model_open(model, &c, &error), SK_OK);
    cr_assert_eq(b->m->nq, 1);
    cr_assert_eq(c->m->nq, 2);
    const mjModel *second = c->m;
    sk__mujoco_model_release(&b);
    sk__mujoco_model_release(&c);
    sk__mujoco_model_release(&c); /* NULL is fine */
    cr_assert_eq(sk__mujoco_model_open(model, &c, &error), SK_OK);
    cr_assert_eq(c->m, second);
    sk__mujoco_model_release(&c);
    mjt_remove_folder(path);
}

static void *open_and_step(void *arg) {
    static mjt_rig rigs[4];
    mjt_rig *rig = &rigs[*(int *)arg];
    mjt_init(rig, "HalfCheetah-v5", 2, 5);
    for (int t = 0; t < 50; t++) mjt_step(rig, 0, 2, t, 0);
    float *last = malloc(17 * sizeof(float));
    memcpy(last, rig->obs, 17 * sizeof(float));
    mjt_deinit(rig);
    return last;
}

Test(mujoco_lib, may_be_loaded_by_several_threads_at_once) {
    pthread_t threads[4];
    int       ids[4] = {0, 1, 2, 3};
    void     *obs[4];
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, open_and_step, &ids[i]);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], &obs[i]);
    for (int i = 1; i < 4; i++) cr_assert_eq(memcmp(obs[0], obs[i], 17 * sizeof(float)), 0);
    for (int i = 0; i < 4; i++) free(obs[i]);
}

/* A guard inside of a guard, and calls after one was left by an error. */
Test(mujoco_lib, guards_nest) {
    const sk_mujoco_lib *lib;
    sk_error             error;
    sk_mujoco_guard      outer, inner;
    void                *symbol;
    cr_assert_eq(sk__mujoco_lib_get(&lib, &error), SK_OK, "%s", error.msg);
    cr_assert_eq(sk__mujoco_lib_symbol("mju_error", &symbol, &error), SK_OK, "%s", error.msg);
    void (*fail)(const char *text, ...);
    memcpy(&fail, &symbol, sizeof symbol);
    volatile int passed = 0;
    sk__mujoco_guard_enter(&outer);
    if (_setjmp(outer.back) == 0) {
        sk__mujoco_guard_enter(&inner);
        if (_setjmp(inner.back) == 0) fail("inner %d", 1);
        else passed += strcmp(inner.text, "inner 1") == 0;
        sk__mujoco_guard_leave(&inner);
        fail("outer");
    } else {
        passed += strcmp(outer.text, "outer") == 0;
    }
    sk__mujoco_guard_leave(&outer);
    cr_assert_eq(passed, 2);
    cr_assert_eq(sk__mujoco_lib_symbol("mju_nothing", &symbol, &error), SK_ENOTFOUND);
}
#endif
