/* The registry: modules go in as a whole or not at all, plugins are opened, mistakes are named. */
#include "core/runtime/internal.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static sk_status nothing(sk_call *call, sk_error *reterr) {
    (void)call, (void)reterr;
    return SK_OK;
}
static sk_status make(sk_call *call, void **ret_self, sk_error *reterr) {
    (void)call, (void)reterr;
    *ret_self = NULL;
    return SK_OK;
}
static sk_status called(void *self, int method, sk_call *call, sk_error *reterr) {
    (void)self, (void)method, (void)call, (void)reterr;
    return SK_OK;
}
static void unmake(void *self) { (void)self; }

static const char *const     methods[] = {"one", "two"};
static const sk_actor_class  thing = {"m.thing", methods, 2, make, called, unmake, NULL};
static const sk_actor_class *const classes[] = {&thing};
static const sk_task_def     tasks[] = {{"m.add", nothing}, {"m.subtract", nothing}};
static const sk_module       whole = {SK_MODULE_ABI, sizeof(sk_module), "m", tasks, 2, classes, 1};

static sk_registry *registry_of(const sk_module *module) {
    sk_registry *self = NULL;
    sk_error err = {0};
    cr_assert_eq(sk_registry_create(&self, &err), SK_OK, "%s", err.msg);
    if (module) cr_assert_eq(sk_registry_add_module(self, module, &err), SK_OK, "%s", err.msg);
    return self;
}

static const sk_function *found(const sk_registry *self, sk_function_kind kind, const char *name) {
    const sk_function *function = NULL;
    sk_error err = {0};
    cr_assert_eq(sk_registry_find_name(self, kind, name, &function, &err), SK_OK, "%s", err.msg);
    return function;
}

static void expect_missing(const sk_registry *self, sk_function_kind kind, const char *name, const char *text) {
    const sk_function *function = NULL;
    sk_error err = {0};
    cr_assert_eq(sk_registry_find_name(self, kind, name, &function, &err), name && *name ? SK_ENOTFOUND : SK_EINVAL);
    cr_assert_str_eq(err.msg, text);
    cr_assert_null(function);
}

Test(registry, finds_what_a_module_has) {
    sk_registry *self = registry_of(&whole);
    cr_assert_eq(sk_registry_n(self), 3);
    const sk_function *task = found(self, SK_FUNCTION_TASK, "m.subtract");
    const sk_function *cls = found(self, SK_FUNCTION_CLASS, "m.thing");
    cr_assert(task->run == nothing && !task->cls && !task->in_plugin);
    cr_assert(cls->cls == &thing && !cls->run && !cls->in_plugin);
    cr_assert_eq(task->index, 1);
    cr_assert_eq(cls->index, 2);
    cr_assert_eq(task->hash, sk_function_hash("m.subtract"));
    cr_assert_eq(sk_registry_find(self, task->hash), task);
    cr_assert_eq(sk_registry_at(self, 2), cls);
    cr_assert_str_eq(sk_registry_at(self, 0)->name, "m.add");
    cr_assert_null(sk_registry_find(self, 0));
    cr_assert_null(sk_registry_find(self, task->hash + 1));
    sk_registry_destroy(&self);
    cr_assert_null(self);
    sk_registry_destroy(&self);
    sk_registry_destroy(NULL);
}

Test(registry, hashes_names_by_fnv_1a) {
    cr_assert_eq(sk_function_hash(""), UINT64_C(0xcbf29ce484222325));
    cr_assert_eq(sk_function_hash("a"), UINT64_C(0xaf63dc4c8601ec8c));
    cr_assert_eq(sk_function_hash("foobar"), UINT64_C(0x85944171f73967e8));
    cr_assert_eq(sk_function_hash("\xc3\xa4"), UINT64_C(0x0ac21207b7181582)); /* bytes, not signed chars */
}

Test(registry, says_what_is_there_when_a_name_is_unknown) {
    sk_registry *self = registry_of(&whole), *empty = registry_of(NULL);
    expect_missing(self, SK_FUNCTION_TASK, "m.ad", "there is no task \"m.ad\" (did you mean \"m.add\"?)");
    expect_missing(self, SK_FUNCTION_TASK, "zzzzzzzz", "there is no task \"zzzzzzzz\", only m.add, m.subtract");
    expect_missing(self, SK_FUNCTION_CLASS, "zzzzzzzz", "there is no class \"zzzzzzzz\", only m.thing");
    expect_missing(self, SK_FUNCTION_CLASS, "m.add", "\"m.add\" is a task, wanted a class of actors");
    expect_missing(self, SK_FUNCTION_TASK, "m.thing", "\"m.thing\" is a class of actors, wanted a task");
    expect_missing(self, SK_FUNCTION_TASK, "", "no name of a task is given");
    expect_missing(self, SK_FUNCTION_CLASS, NULL, "no name of a class is given");
    expect_missing(empty, SK_FUNCTION_TASK, "m.add", "there is no task \"m.add\", and no other");
    sk_registry_destroy(&self);
    sk_registry_destroy(&empty);
}

/* ---- many -------------------------------------------------------------------------------------------------------- */
enum { N_MANY = 1000 };
static char        many_names[N_MANY][24];
static sk_task_def many[N_MANY];
static sk_module   fill_many(void) {
    for (int i = 0; i < N_MANY; i++) {
        snprintf(many_names[i], sizeof many_names[i], "many.function_%d", i);
        many[i] = (sk_task_def){many_names[i], nothing};
    }
    return (sk_module){SK_MODULE_ABI, sizeof(sk_module), "many", many, N_MANY, NULL, 0};
}

Test(registry, holds_many_and_keeps_what_it_lent) {
    sk_registry *self = registry_of(&whole);
    const sk_function *early = found(self, SK_FUNCTION_TASK, "m.add");
    sk_module module = fill_many();
    cr_assert_eq(sk_registry_add_module(self, &module, NULL), SK_OK);
    cr_assert_eq(sk_registry_n(self), N_MANY + 3);
    cr_assert_eq(found(self, SK_FUNCTION_TASK, "m.add"), early);
    cr_assert_eq(early->index, 0);
    for (int i = 0; i < N_MANY; i++) cr_assert_eq(found(self, SK_FUNCTION_TASK, many_names[i])->index, i + 3);

    sk_error err = {0};
    const sk_function *none = NULL;
    cr_assert_eq(sk_registry_find_name(self, SK_FUNCTION_TASK, "zzzzzzzz", &none, &err), SK_ENOTFOUND);
    size_t n = strlen(err.msg);
    cr_assert(n > 200 && n < 400 && strcmp(err.msg + n - 3, "...") == 0, "%s", err.msg); /* a cut list says so */
    sk_registry_destroy(&self);
}

/* ---- mistakes ---------------------------------------------------------------------------------------------------- */
static void expect_refused(sk_module module, sk_status status, const char *text) {
    sk_registry *self = registry_of(&whole);
    const sk_function *before = found(self, SK_FUNCTION_CLASS, "m.thing");
    sk_error err = {0};
    cr_assert_eq(sk_registry_add_module(self, &module, &err), status, "%s", err.msg);
    cr_assert_str_eq(err.msg, text);
    cr_assert_eq(sk_registry_n(self), 3); /* nothing of it stayed */
    cr_assert_null(sk_registry_find(self, sk_function_hash("n.good")));
    cr_assert_eq(found(self, SK_FUNCTION_CLASS, "m.thing"), before);
    sk_task_def good = {"n.good", nothing};
    module = (sk_module){SK_MODULE_ABI, sizeof module, "n", &good, 1, NULL, 0};
    cr_assert_eq(sk_registry_add_module(self, &module, NULL), SK_OK); /* and it goes on */
    cr_assert_eq(found(self, SK_FUNCTION_TASK, "n.good")->index, 3);
    sk_registry_destroy(&self);
}

static sk_module module_with_task(sk_task_def *two, const char *name, sk_task_fn run) {
    two[0] = (sk_task_def){"n.good", nothing};
    two[1] = (sk_task_def){name, run};
    return (sk_module){SK_MODULE_ABI, sizeof(sk_module), "n", two, 2, NULL, 0};
}

Test(registry, refuses_a_module_with_a_mistake_in_a_task) {
    sk_task_def two[2];
    const char *exact = "123456789012345678901234567890123456789012345678901234567890123";
    const char *longer = "1234567890123456789012345678901234567890123456789012345678901234";
    expect_refused(module_with_task(two, NULL, nothing), SK_EINVAL, "module \"n\": task 1 has no name");
    expect_refused(module_with_task(two, "", nothing), SK_EINVAL, "module \"n\": task 1 has no name");
    expect_refused(module_with_task(two, "n.bad", NULL), SK_EINVAL, "module \"n\": task \"n.bad\" has no function");
    expect_refused(module_with_task(two, "m.add", nothing), SK_EINVAL,
                   "module \"n\": \"m.add\" is known already, from module \"m\"");
    expect_refused(module_with_task(two, "m.thing", nothing), SK_EINVAL,
                   "module \"n\": \"m.thing\" is known already, from module \"m\"");
    expect_refused(module_with_task(two, "n.good", nothing), SK_EINVAL,
                   "module \"n\": \"n.good\" is known already, from module \"n\"");
    char text[256];
    snprintf(text, sizeof text, "module \"n\": the name of task \"%s...\" is longer than 63 bytes", exact);
    expect_refused(module_with_task(two, longer, nothing), SK_EINVAL, text);
    sk_module fits = module_with_task(two, exact, nothing);
    sk_registry *self = registry_of(&fits);
    cr_assert_eq(found(self, SK_FUNCTION_TASK, exact)->index, 1);
    sk_registry_destroy(&self);
}

Test(registry, refuses_a_module_with_a_mistake_in_a_class) {
    static const char *const nameless[] = {"one", NULL};
    const sk_actor_class good = {"n.good", methods, 2, make, called, unmake, NULL};
    struct {
        sk_actor_class bad;
        const char    *text;
    } cases[] = {
        {{"", methods, 2, make, called, unmake, NULL}, "module \"n\": class 1 has no name"},
        {{"n.bad", methods, 2, NULL, called, unmake, NULL}, "module \"n\": class \"n.bad\" has no function create"},
        {{"n.bad", methods, 2, make, NULL, unmake, NULL}, "module \"n\": class \"n.bad\" has no function call"},
        {{"n.bad", methods, 2, make, called, NULL, NULL}, "module \"n\": class \"n.bad\" has no function destroy"},
        {{"n.bad", NULL, 2, make, called, unmake, NULL},
         "module \"n\": class \"n.bad\": n_methods is 2, methods is NULL"},
        {{"n.bad", methods, -1, make, called, unmake, NULL},
         "module \"n\": class \"n.bad\": n_methods is -1, methods is set"},
        {{"n.bad", nameless, 2, make, called, unmake, NULL}, "module \"n\": class \"n.bad\": method 1 has no name"},
        {{"m.thing", methods, 2, make, called, unmake, NULL},
         "module \"n\": \"m.thing\" is known already, from module \"m\""},
    };
    for (int i = 0; i < SK_COUNT(cases); i++) {
        const sk_actor_class *const two[] = {&good, &cases[i].bad};
        expect_refused((sk_module){SK_MODULE_ABI, sizeof(sk_module), "n", NULL, 0, two, 2}, SK_EINVAL, cases[i].text);
    }
    const sk_actor_class *const null[] = {&good, NULL};
    expect_refused((sk_module){SK_MODULE_ABI, sizeof(sk_module), "n", NULL, 0, null, 2}, SK_EINVAL,
                   "module \"n\": class 1 is NULL");
}

Test(registry, refuses_a_module_that_is_not_one) {
    char text[256];
    expect_refused((sk_module){2, sizeof(sk_module), "n", tasks, 2, NULL, 0}, SK_EVERSION,
                   "a module of abi 2, this skiff has 1: build it anew");
    snprintf(text, sizeof text, "a module with an sk_module of 8 bytes, this skiff needs %zu: build it anew",
             sizeof(sk_module));
    expect_refused((sk_module){SK_MODULE_ABI, 8, "n", tasks, 2, NULL, 0}, SK_EVERSION, text);
    expect_refused((sk_module){SK_MODULE_ABI, sizeof(sk_module), NULL, NULL, 0, NULL, 0}, SK_EINVAL,
                   "a module has no name");
    expect_refused((sk_module){SK_MODULE_ABI, sizeof(sk_module), "n", NULL, 1, NULL, 0}, SK_EINVAL,
                   "module \"n\": n_tasks is 1, tasks is NULL");
    expect_refused((sk_module){SK_MODULE_ABI, sizeof(sk_module), "n", tasks, -1, NULL, 0}, SK_EINVAL,
                   "module \"n\": n_tasks is -1, tasks is set");
    expect_refused((sk_module){SK_MODULE_ABI, sizeof(sk_module), "n", NULL, 0, NULL, 1}, SK_EINVAL,
                   "module \"n\": n_classes is 1, classes is NULL");
}

Test(registry, accepts_a_module_of_a_later_version_and_an_empty_one) {
    sk_registry *self = registry_of(&(sk_module){SK_MODULE_ABI, 2 * sizeof(sk_module), "later", tasks, 1, NULL, 0});
    cr_assert_eq(sk_registry_n(self), 1);
    sk_module empty = {SK_MODULE_ABI, sizeof(sk_module), "empty", NULL, 0, NULL, 0};
    cr_assert_eq(sk_registry_add_module(self, &empty, NULL), SK_OK);
    cr_assert_eq(sk_registry_n(self), 1);
    sk_registry_destroy(&self);
}

/* ---- plugins ----------------------------------------------------------------------------------------------------- */
static const char *plugin_path(const char *name) {
    static char path[4096];
    const char *build = getenv("SKIFF_BUILD_DIR");
    snprintf(path, sizeof path, "%s/tests/runtime/%s.so", build ? build : "build", name);
    return path;
}

static int64_t sum_by(const sk_function *function, int64_t a, int64_t b) {
    sk_call call = {0};
    sk_error err = {0};
    cr_assert_eq(sk__call_begin(&call, NULL, 2, 1, &err), SK_OK, "%s", err.msg);
    call.args[0] = (sk_bytes){&a, sizeof a};
    call.args[1] = (sk_bytes){&b, sizeof b};
    cr_assert_eq(function->run(&call, &err), SK_OK, "%s", err.msg);
    int64_t sum;
    cr_assert_eq(call.returns[0].bytes.size, sizeof sum);
    memcpy(&sum, call.returns[0].bytes.data, sizeof sum);
    sk__call_deinit(&call);
    return sum;
}

Test(registry, opens_a_plugin_that_calls_back) {
    sk_registry *self = registry_of(&whole);
    sk_error err = {0};
    cr_assert_eq(sk_registry_add_plugin(self, plugin_path("plug"), &err), SK_OK, "%s", err.msg);
    cr_assert_eq(sk_registry_n(self), 6);
    const sk_function *add = found(self, SK_FUNCTION_TASK, "plug.add");
    const sk_function *cls = found(self, SK_FUNCTION_CLASS, "plug.counter");
    cr_assert(add->in_plugin && cls->in_plugin && !found(self, SK_FUNCTION_TASK, "m.add")->in_plugin);
    cr_assert_eq(cls->cls->n_methods, 3);
    cr_assert_str_eq(cls->cls->methods[2], "save");
    cr_assert_eq(sum_by(add, 40, 2), 42);
    sk_registry_destroy(&self);
}

Test(registry, opens_a_plugin_of_the_current_folder_by_its_plain_name) {
    char folder[4096];
    snprintf(folder, sizeof folder, "%s", plugin_path("plug"));
    *strrchr(folder, '/') = '\0';
    cr_assert_eq(chdir(folder), 0);
    sk_registry *self = registry_of(NULL);
    sk_error err = {0};
    cr_assert_eq(sk_registry_add_plugin(self, "plug.so", &err), SK_OK, "%s", err.msg);
    cr_assert_eq(sk_registry_n(self), 3);
    sk_registry_destroy(&self);
}

Test(registry, refuses_a_plugin_twice) {
    sk_registry *self = registry_of(NULL);
    sk_error err = {0};
    const char *path = plugin_path("plug");
    cr_assert_eq(sk_registry_add_plugin(self, path, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(sk_registry_add_plugin(self, path, &err), SK_EINVAL);
    char text[4200];
    snprintf(text, sizeof text, "plugin %s: module \"plug\": \"plug.add\" is known already, from module \"plug\"",
             path);
    cr_assert_str_eq(err.msg, text);
    cr_assert_eq(sum_by(found(self, SK_FUNCTION_TASK, "plug.add"), 1, 2), 3); /* still open */
    sk_registry_destroy(&self);
}

Test(registry, says_why_a_plugin_cannot_be_opened) {
    sk_registry *self = registry_of(NULL);
    sk_error err = {0};
    char text[4200];
    cr_assert_eq(sk_registry_add_plugin(self, "nowhere.so", &err), SK_EIO);
    cr_assert(strstr(err.msg, "cannot open plugin ./nowhere.so: ./nowhere.so: ") == err.msg, "%s", err.msg);
    cr_assert_not_null(strstr(err.msg, "No such file or directory"));
    cr_assert_eq(sk_registry_add_plugin(self, "/dev/null", &err), SK_EIO);

    const char *path = plugin_path("plug_unnamed");
    cr_assert_eq(sk_registry_add_plugin(self, path, &err), SK_ENOTFOUND, "%s", err.msg);
    snprintf(text, sizeof text, "plugin %s: it exports no function skiff_module", path);
    cr_assert_str_eq(err.msg, text);
    path = plugin_path("plug_future");
    cr_assert_eq(sk_registry_add_plugin(self, path, &err), SK_EVERSION, "%s", err.msg);
    snprintf(text, sizeof text, "plugin %s: a module of abi 99, this skiff has 1: build it anew", path);
    cr_assert_str_eq(err.msg, text);
    cr_assert_eq(sk_registry_n(self), 0);
    sk_registry_destroy(&self);
}
