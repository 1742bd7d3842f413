#include "core/runtime/registry.h"
#include "core/base/config.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_BYTES = 63, FIRST_CAP = 64, MODULE_MAX = 1 << 20 /* tasks or classes: more is a mistake */ };

/* What a module offers; entries of one module lie together and never move. */
typedef struct entry {
    sk_function function;
    const char *module;
} entry;

struct sk_registry {
    entry **entries; /* (cap) in order of adding                             */
    entry **table;   /* (2 cap) open addressing by hash; at most half is full */
    int     n, cap;
    entry **blocks;  /* (n_blocks) what the entries of one module were allocated as */
    int     n_blocks;
    void  **plugins; /* (n_plugins) of dlopen                                */
    int     n_plugins;
};

uint64_t sk_function_hash(const char *name) {
    SK_ASSERT(name);
    uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a, 64 bits: offset and prime of its authors */
    for (const char *at = name; *at; at++) hash = (hash ^ (unsigned char)*at) * UINT64_C(1099511628211);
    return hash ? hash : 1;
}

/* ---- the table ------------------------------------------------------------------------------------------- */
/* Where that hash is, or the empty place where it would go. */
static entry **find_place(const sk_registry *self, uint64_t hash) {
    uint64_t mask = (uint64_t)self->cap * 2 - 1, at = hash & mask;
    while (self->table[at] && self->table[at]->function.hash != hash) at = (at + 1) & mask;
    return &self->table[at];
}

/* Forget all entries from number n on. */
static void cut_to(sk_registry *self, int n) {
    self->n = n;
    memset(self->table, 0, (size_t)self->cap * 2 * sizeof *self->table);
    for (int i = 0; i < n; i++) *find_place(self, self->entries[i]->function.hash) = self->entries[i];
}

static sk_status grow(sk_registry *self, int n_wanted, sk_error *reterr) {
    int cap = self->cap;
    while (cap < n_wanted) cap *= 2;
    if (cap == self->cap) return SK_OK;
    entry **entries = realloc(self->entries, (size_t)cap * sizeof *entries);
    if (entries) self->entries = entries;
    entry **table = entries ? calloc((size_t)cap * 2, sizeof *table) : NULL;
    if (!table) return SK_FAIL(reterr, SK_ENOMEM, "no memory for %d functions", n_wanted);
    free(self->table);
    self->table = table;
    self->cap = cap;
    cut_to(self, self->n);
    return SK_OK;
}

static sk_status add(sk_registry *self, entry *one, sk_error *reterr) {
    entry **place = find_place(self, one->function.hash);
    const char *name = one->function.name;
    if (*place && strcmp((*place)->function.name, name) == 0)
        return SK_FAIL(reterr, SK_EINVAL, "module \"%s\": \"%s\" is known already, from module \"%s\"", one->module,
                       name, (*place)->module);
    if (*place)
        return SK_FAIL(reterr, SK_EINVAL, "module \"%s\": \"%s\" has the hash of \"%s\" of module \"%s\"; rename it",
                       one->module, name, (*place)->function.name, (*place)->module);
    one->function.index = self->n;
    self->entries[self->n++] = one;
    *place = one;
    return SK_OK;
}

/* ---- lifecycle ------------------------------------------------------------------------------------------- */
sk_status sk_registry_create(sk_registry **ret_registry, sk_error *reterr) {
    SK_ASSERT(ret_registry);
    sk_registry *self = calloc(1, sizeof *self);
    if (self) {
        self->cap = FIRST_CAP;
        self->entries = calloc(FIRST_CAP, sizeof *self->entries);
        self->table = calloc(FIRST_CAP * 2, sizeof *self->table);
    }
    if (!self || !self->entries || !self->table) {
        sk_registry_destroy(&self);
        return SK_FAIL(reterr, SK_ENOMEM, "no memory for the list of functions");
    }
    *ret_registry = self;
    return SK_OK;
}

void sk_registry_destroy(sk_registry **self_p) {
    if (!self_p || !*self_p) return;
    sk_registry *self = *self_p;
    *self_p = NULL;
    for (int i = 0; i < self->n_blocks; i++) free(self->blocks[i]);
    for (int i = self->n_plugins - 1; i >= 0; i--) dlclose(self->plugins[i]);
    free(self->blocks);
    free(self->plugins);
    free(self->entries);
    free(self->table);
    free(self);
}

/* ---- modules --------------------------------------------------------------------------------------------- */
static sk_status check_module(const sk_module *module, sk_error *reterr) {
    /* First what can be read whatever the version is. */
    if (module->abi != SK_MODULE_ABI)
        return SK_FAIL(reterr, SK_EVERSION, "a module of abi %u, this skiff has %d: build it anew", module->abi,
                       SK_MODULE_ABI);
    if (module->struct_size < sizeof *module)
        return SK_FAIL(reterr, SK_EVERSION,
                       "a module with an sk_module of %u bytes, this skiff needs %zu: build it anew",
                       module->struct_size, sizeof *module);
    if (!module->name || !*module->name) return SK_FAIL(reterr, SK_EINVAL, "a module has no name");
    if (module->n_tasks < 0 || module->n_tasks > MODULE_MAX || (module->n_tasks > 0 && !module->tasks))
        return SK_FAIL(reterr, SK_EINVAL, "module \"%s\": n_tasks is %d, tasks is %s", module->name, module->n_tasks,
                       module->tasks ? "set" : "NULL");
    if (module->n_classes < 0 || module->n_classes > MODULE_MAX || (module->n_classes > 0 && !module->classes))
        return SK_FAIL(reterr, SK_EINVAL, "module \"%s\": n_classes is %d, classes is %s", module->name,
                       module->n_classes, module->classes ? "set" : "NULL");
    return SK_OK;
}

/* `what`: "task" or "class". */
static sk_status check_name(const sk_module *module, const char *what, int i, const char *name, sk_error *reterr) {
    if (!name || !*name) return SK_FAIL(reterr, SK_EINVAL, "module \"%s\": %s %d has no name", module->name, what, i);
    if (strlen(name) > NAME_MAX_BYTES)
        return SK_FAIL(reterr, SK_EINVAL, "module \"%s\": the name of %s \"%.*s...\" is longer than %d bytes",
                       module->name, what, NAME_MAX_BYTES, name, NAME_MAX_BYTES);
    return SK_OK;
}

static sk_status check_class(const sk_module *module, int i, sk_error *reterr) {
    const sk_actor_class *cls = module->classes[i];
    if (!cls) return SK_FAIL(reterr, SK_EINVAL, "module \"%s\": class %d is NULL", module->name, i);
    SK_TRY(check_name(module, "class", i, cls->name, reterr));
    const char *missing = !cls->create ? "create" : !cls->call ? "call" : !cls->destroy ? "destroy" : NULL;
    if (missing)
        return SK_FAIL(reterr, SK_EINVAL, "module \"%s\": class \"%s\" has no function %s", module->name, cls->name,
                       missing);
    if (cls->n_methods < 0 || (cls->n_methods > 0 && !cls->methods))
        return SK_FAIL(reterr, SK_EINVAL, "module \"%s\": class \"%s\": n_methods is %d, methods is %s", module->name,
                       cls->name, cls->n_methods, cls->methods ? "set" : "NULL");
    for (int m = 0; m < cls->n_methods; m++)
        if (!cls->methods[m])
            return SK_FAIL(reterr, SK_EINVAL, "module \"%s\": class \"%s\": method %d has no name", module->name,
                           cls->name, m);
    return SK_OK;
}

/* One more block of entries, kept until destroy. */
static sk_status take_block(sk_registry *self, int n, entry **ret_block, sk_error *reterr) {
    entry **blocks = realloc(self->blocks, (size_t)(self->n_blocks + 1) * sizeof *blocks);
    if (blocks) self->blocks = blocks;
    entry *block = blocks ? calloc((size_t)n, sizeof *block) : NULL;
    if (!block) return SK_FAIL(reterr, SK_ENOMEM, "no memory for %d functions", n);
    self->blocks[self->n_blocks++] = block;
    *ret_block = block;
    return SK_OK;
}

static sk_status add_all(sk_registry *self, const sk_module *module, entry *block, bool in_plugin, sk_error *reterr) {
    for (int i = 0; i < module->n_tasks; i++, block++) {
        const sk_task_def *task = &module->tasks[i];
        SK_TRY(check_name(module, "task", i, task->name, reterr));
        if (!task->run)
            return SK_FAIL(reterr, SK_EINVAL, "module \"%s\": task \"%s\" has no function", module->name, task->name);
        block->module = module->name;
        block->function = (sk_function){.hash = sk_function_hash(task->name), .name = task->name, .run = task->run,
                                        .in_plugin = in_plugin};
        SK_TRY(add(self, block, reterr));
    }
    for (int i = 0; i < module->n_classes; i++, block++) {
        SK_TRY(check_class(module, i, reterr));
        const sk_actor_class *cls = module->classes[i];
        block->module = module->name;
        block->function = (sk_function){.hash = sk_function_hash(cls->name), .name = cls->name, .cls = cls,
                                        .in_plugin = in_plugin};
        SK_TRY(add(self, block, reterr));
    }
    return SK_OK;
}

/* All of a module or nothing. */
static sk_status add_module(sk_registry *self, const sk_module *module, bool in_plugin, sk_error *reterr) {
    SK_TRY(check_module(module, reterr));
    int n = module->n_tasks + module->n_classes, n_before = self->n;
    if (n == 0) return SK_OK;
    entry *block = NULL;
    SK_TRY(grow(self, self->n + n, reterr));
    SK_TRY(take_block(self, n, &block, reterr));
    sk_status status = add_all(self, module, block, in_plugin, reterr);
    if (status != SK_OK) {
        cut_to(self, n_before);
        free(self->blocks[--self->n_blocks]);
    }
    return status;
}

sk_status sk_registry_add_module(sk_registry *self, const sk_module *module, sk_error *reterr) {
    SK_ASSERT(self && module);
    return add_module(self, module, false, reterr);
}

/* ---- plugins --------------------------------------------------------------------------------------------- */
typedef const sk_module *(*module_fn)(void);

static sk_status add_library(sk_registry *self, void *library, sk_error *reterr) {
    void *symbol = dlsym(library, "skiff_module");
    if (!symbol) return SK_FAIL(reterr, SK_ENOTFOUND, "it exports no function skiff_module");
    module_fn get; /* ISO C has no cast from an object pointer to a function pointer; POSIX says they fit */
    memcpy(&get, &symbol, sizeof get);
    const sk_module *module = get();
    if (!module) return SK_FAIL(reterr, SK_EINVAL, "its skiff_module gives NULL");
    return add_module(self, module, true, reterr);
}

sk_status sk_registry_add_plugin(sk_registry *self, const char *path, sk_error *reterr) {
    SK_ASSERT(self && path);
    /* A name without a folder is of the current one, not of the loader's search path. */
    char here[4096];
    if (!strchr(path, '/')) {
        int n = snprintf(here, sizeof here, "./%s", path);
        if (n < 0 || (size_t)n >= sizeof here)
            return SK_FAIL(reterr, SK_EINVAL, "the path of a plugin is too long: %d bytes", n);
        path = here;
    }
    void **plugins = realloc(self->plugins, (size_t)(self->n_plugins + 1) * sizeof *plugins);
    if (!plugins) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a plugin");
    self->plugins = plugins;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char *why = dlerror();
        return SK_FAIL(reterr, SK_EIO, "cannot open plugin %s: %s", path, why ? why : "the loader does not say why");
    }
    sk_status status = add_library(self, library, reterr);
    if (status != SK_OK) {
        sk_error_prefix(reterr, "plugin %s", path); /* before its texts go */
        dlclose(library);
        return status;
    }
    self->plugins[self->n_plugins++] = library;
    return SK_OK;
}

/* ---- finding --------------------------------------------------------------------------------------------- */
const sk_function *sk_registry_find(const sk_registry *self, uint64_t hash) {
    SK_ASSERT(self);
    const entry *found = *find_place(self, hash);
    return found ? &found->function : NULL;
}

static bool is_kind(const sk_function *function, sk_function_kind kind) {
    return kind == SK_FUNCTION_TASK ? function->run != NULL : function->cls != NULL;
}

/* Names the nearest, or lists what there is. */
static sk_status fail_unknown(const sk_registry *self, sk_function_kind kind, const char *name, sk_error *reterr) {
    const char *what = kind == SK_FUNCTION_TASK ? "task" : "class";
    const char **known = calloc((size_t)self->n + 1, sizeof *known);
    if (!known) return SK_FAIL(reterr, SK_ENOTFOUND, "there is no %s \"%s\"", what, name);
    int n = 0, at = 0;
    char list[300] = "";
    for (int i = 0; i < self->n; i++) {
        const sk_function *one = &self->entries[i]->function;
        if (!is_kind(one, kind)) continue;
        known[n] = one->name;
        bool first = n++ == 0;
        if (at < (int)sizeof list)
            at += snprintf(list + at, sizeof list - (size_t)at, "%s%s", first ? "" : ", ", one->name);
    }
    if (at >= (int)sizeof list) memcpy(list + sizeof list - 4, "...", 4);
    const char *nearest = sk_nearest_name(name, known, n);
    free(known);
    if (nearest)
        return SK_FAIL(reterr, SK_ENOTFOUND, "there is no %s \"%s\" (did you mean \"%s\"?)", what, name, nearest);
    if (n == 0) return SK_FAIL(reterr, SK_ENOTFOUND, "there is no %s \"%s\", and no other", what, name);
    return SK_FAIL(reterr, SK_ENOTFOUND, "there is no %s \"%s\", only %s", what, name, list);
}

sk_status sk_registry_find_name(const sk_registry *self, sk_function_kind kind, const char *name,
                                const sk_function **ret_function, sk_error *reterr) {
    SK_ASSERT(self && ret_function);
    if (!name || !*name)
        return SK_FAIL(reterr, SK_EINVAL, "no name of a %s is given", kind == SK_FUNCTION_TASK ? "task" : "class");
    const sk_function *found = sk_registry_find(self, sk_function_hash(name));
    if (!found || strcmp(found->name, name) != 0) return fail_unknown(self, kind, name, reterr);
    if (!is_kind(found, kind))
        return SK_FAIL(reterr, SK_ENOTFOUND, "\"%s\" is a %s, wanted a %s", name,
                       kind == SK_FUNCTION_TASK ? "class of actors" : "task",
                       kind == SK_FUNCTION_TASK ? "task" : "class of actors");
    *ret_function = found;
    return SK_OK;
}

int sk_registry_n(const sk_registry *self) {
    SK_ASSERT(self);
    return self->n;
}

const sk_function *sk_registry_at(const sk_registry *self, int index) {
    SK_ASSERT(self && index >= 0 && index < self->n);
    return &self->entries[index]->function;
}
