#include "envs/mujoco/mujoco_lib.h"
#include "envs/mujoco_paths.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- messages of the library ---- */

static _Thread_local sk_mujoco_guard *innermost;

static void keep(sk_mujoco_guard *guard, const char *text) {
    snprintf(guard->text, sizeof guard->text, "%.*s", (int)sizeof guard->text - 1, text);
}

/* All that MuJoCo says comes here. An error leaves through the innermost guard of its thread, which keeps warnings. */
static void take_message(const mjLogMessage *message) {
    sk_mujoco_guard *guard = innermost;
    if (message->level == mjLOG_ERROR) {
        if (!guard) sk_assert_fail(message->file ? message->file : "MuJoCo", message->line, message->subject);
        keep(guard, message->subject);
        longjmp(guard->back, 1);
    }
    if (guard && message->level == mjLOG_WARNING) keep(guard, message->subject);
}

void sk__mujoco_guard_enter(sk_mujoco_guard *guard) {
    guard->outer = innermost;
    guard->text[0] = 0;
    innermost = guard;
}

void sk__mujoco_guard_leave(sk_mujoco_guard *guard) { innermost = guard->outer; }

/* ---- the library ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all below */
static sk_mujoco_lib   library;
static void           *library_handle; /* NULL: not loaded */

static const char *folder(void) {
    const char *named = getenv("SKIFF_MUJOCO_DIR");
    return named && *named ? named : SK_MUJOCO_DIR;
}

/* The version as the library's file has it: 4000001 is 4.0.1. */
static void version_text(int version, char *text, size_t text_size) {
    snprintf(text, text_size, "%d.%d.%d", version / 1000000, version / 1000 % 1000, version % 1000);
}

/* library.path = the file to open: with its version or without, in lib/ or in the folder itself. */
static sk_status find_library(sk_error *reterr) {
    static const char *const folders[] = {"lib/", ""};
    char version[40], names[2][64];
    version_text(mjVERSION_HEADER, version, sizeof version);
    snprintf(names[0], sizeof names[0], "libmujoco.so.%s", version);
    snprintf(names[1], sizeof names[1], "libmujoco.so");
    int n = snprintf(library.dir, sizeof library.dir, "%s", folder());
    if (n >= (int)sizeof library.dir) return SK_FAIL(reterr, SK_EINVAL, "the path of MuJoCo's folder is too long");
    for (int i = 0; i < 4; i++) {
        n = snprintf(library.path, sizeof library.path, "%s/%s%s", library.dir, folders[i / 2], names[i % 2]);
        if (n < (int)sizeof library.path && access(library.path, R_OK) == 0) return SK_OK;
    }
    return SK_FAIL(reterr, SK_ENOTFOUND,
                   "there is no lib/libmujoco.so.%s in %s%s; to get MuJoCo: python3 %s/envs/mujoco/fetch.py", version,
                   library.dir, getenv("SKIFF_MUJOCO_DIR") ? " ($SKIFF_MUJOCO_DIR)" : "", SK_SOURCE_DIR);
}

static sk_status check_version(void *handle, sk_error *reterr) {
    int (*version_of)(void);
    void *symbol = dlsym(handle, "mj_version");
    memcpy(&version_of, &symbol, sizeof symbol);
    int version = symbol ? version_of() : 0;
    if (version == mjVERSION_HEADER) return SK_OK;
    char got[40], wanted[40];
    version_text(version, got, sizeof got);
    version_text(mjVERSION_HEADER, wanted, sizeof wanted);
    /* Before 4.0 the number was made differently; those are not supported, so it is given as it is. */
    return SK_FAIL(reterr, SK_EVERSION, "%s is MuJoCo %s (mj_version %d), skiff was built for %s (%d)", library.path,
                   got, version, wanted, mjVERSION_HEADER);
}

static sk_status load_library(sk_error *reterr) {
    static const char *const names[] = {
#define SK_MUJOCO_NAME(name) #name,
        SK_MUJOCO_FUNCTIONS(SK_MUJOCO_NAME)
#undef SK_MUJOCO_NAME
    };
    void *const fields[] = {
#define SK_MUJOCO_FIELD(name) &library.name,
        SK_MUJOCO_FUNCTIONS(SK_MUJOCO_FIELD)
#undef SK_MUJOCO_FIELD
    };
    SK_TRY(find_library(reterr));
    void *handle = dlopen(library.path, RTLD_NOW | RTLD_LOCAL);
    if (!handle) return SK_FAIL(reterr, SK_ENOTFOUND, "cannot load MuJoCo: %s", dlerror());
    sk_status status = check_version(handle, reterr);
    for (int i = 0; status == SK_OK && i < SK_COUNT(names); i++) {
        void *symbol = dlsym(handle, names[i]);
        if (!symbol) status = SK_FAIL(reterr, SK_EVERSION, "%s has no %s", library.path, names[i]);
        memcpy(fields[i], &symbol, sizeof symbol); /* ISO C converts no object pointer to one of a function */
    }
    if (status != SK_OK) {
        dlclose(handle);
        return status;
    }
    library.mju_setLogHandler(take_message);
    library_handle = handle;
    return SK_OK;
}

static sk_status get_locked(sk_error *reterr) { return library_handle ? SK_OK : load_library(reterr); }

sk_status sk__mujoco_lib_get(const sk_mujoco_lib **ret_lib, sk_error *reterr) {
    pthread_mutex_lock(&lock);
    sk_status status = get_locked(reterr);
    pthread_mutex_unlock(&lock);
    if (status == SK_OK) *ret_lib = &library;
    return status;
}

sk_status sk__mujoco_lib_symbol(const char *name, void **ret_symbol, sk_error *reterr) {
    const sk_mujoco_lib *lib;
    SK_TRY(sk__mujoco_lib_get(&lib, reterr));
    void *symbol = dlsym(library_handle, name);
    if (!symbol) return SK_FAIL(reterr, SK_ENOTFOUND, "%s has no %s", lib->path, name);
    *ret_symbol = symbol;
    return SK_OK;
}

/* ---- models ---- */

typedef struct entry {
    sk_mujoco_model model; /* first: what callers hold is the entry */
    struct entry   *next;
    struct stat     file;  /* as it was when it was read            */
    int             n_users;
} entry;

/* All that were loaded, also those that nobody uses at the moment: each load costs milliseconds, and MuJoCo does not
 * give all of its memory back. */
static entry *models;

sk_status sk__mujoco_model_path(const char *name, char *path, size_t path_size, sk_error *reterr) {
    bool is_path = strchr(name, '/') != NULL;
    int  n = is_path ? snprintf(path, path_size, "%s", name)
                     : snprintf(path, path_size, "%s/models/%s", folder(), name);
    if (n < 0 || (size_t)n >= path_size) return SK_FAIL(reterr, SK_EINVAL, "the model's path is too long: %s", name);
    if (access(path, R_OK) == 0) return SK_OK;
    if (is_path) return SK_FAIL(reterr, SK_ENOTFOUND, "cannot read the model %s", path);
    return SK_FAIL(reterr, SK_ENOTFOUND, "cannot read the model %s; to get the models: python3 %s/envs/mujoco/fetch.py",
                   path, SK_SOURCE_DIR);
}

/* MuJoCo's texts have several lines ("XML Error: ...\nElement 'x', line 7"): put them into one. */
static void join_lines(char *text) {
    size_t size = strlen(text);
    while (size > 0 && text[size - 1] == '\n') text[--size] = 0;
    for (char *at = text; *at; at++) {
        if (*at == '\n') *at = ';';
    }
}

static sk_status load_model(const char *path, mjModel **ret_model, sk_error *reterr) {
    mjModel *volatile model = NULL;
    char            text[400] = "";
    sk_mujoco_guard guard;
    sk__mujoco_guard_enter(&guard);
    if (_setjmp(guard.back) == 0) {
        model = library.mj_loadXML(path, NULL, text, sizeof text);
        library.mj_freeLastXML(); /* it keeps what it has parsed, for saving it again */
    } else snprintf(text, sizeof text, "%s", guard.text);
    sk__mujoco_guard_leave(&guard);
    if (!model) {
        join_lines(text);
        return SK_FAIL(reterr, SK_ECONFIG, "%s: %s", path, *text ? text : "MuJoCo cannot load it");
    }
    *ret_model = model;
    return SK_OK;
}

static void delete_model(entry *e) {
    library.mj_deleteModel((mjModel *)(uintptr_t)e->model.m); /* the one place where a model is not constant */
    free(e);
}

static bool same_file(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* The entry of that path and file, or NULL; drops unused ones whose file has changed since. */
static entry *find_model(const char *path, const struct stat *file) {
    for (entry **at = &models; *at;) {
        entry *e = *at;
        if (strcmp(e->model.path, path) == 0) {
            if (same_file(&e->file, file)) return e;
            if (e->n_users == 0) {
                *at = e->next;
                delete_model(e);
                continue;
            }
        }
        at = &e->next;
    }
    return NULL;
}

static sk_status open_locked(const char *path, sk_mujoco_model **ret_model, sk_error *reterr) {
    struct stat file;
    if (access(path, R_OK) != 0 || stat(path, &file) != 0) {
        return SK_FAIL(reterr, SK_ENOTFOUND, "cannot read the model %s", path);
    }
    SK_TRY(get_locked(reterr));
    entry *e = find_model(path, &file);
    if (!e) {
        size_t size = strlen(path) + 1;
        e = calloc(1, sizeof *e + size);
        if (!e) return SK_FAIL(reterr, SK_ENOMEM, "out of memory for the model %s", path);
        mjModel  *m = NULL;
        sk_status status = load_model(path, &m, reterr);
        if (status != SK_OK) {
            free(e);
            return status;
        }
        char *copy = memcpy(e + 1, path, size);
        e->model = (sk_mujoco_model){.m = m, .lib = &library, .path = copy};
        e->file = file;
        e->next = models;
        models = e;
    }
    e->n_users++;
    *ret_model = &e->model;
    return SK_OK;
}

sk_status sk__mujoco_model_open(const char *path, sk_mujoco_model **ret_model, sk_error *reterr) {
    pthread_mutex_lock(&lock);
    sk_status status = open_locked(path, ret_model, reterr);
    pthread_mutex_unlock(&lock);
    return status;
}

void sk__mujoco_model_release(sk_mujoco_model **self_p) {
    entry *e = (entry *)(void *)*self_p;
    *self_p = NULL;
    if (!e) return;
    pthread_mutex_lock(&lock);
    e->n_users--;
    pthread_mutex_unlock(&lock);
}

sk_status sk__mujoco_data_create(const sk_mujoco_model *model, mjData **ret_data, sk_error *reterr) {
    mjData *volatile data = NULL;
    sk_mujoco_guard guard;
    sk__mujoco_guard_enter(&guard);
    if (_setjmp(guard.back) == 0) data = library.mj_makeData(model->m);
    sk__mujoco_guard_leave(&guard);
    if (!data) {
        return SK_FAIL(reterr, SK_ENOMEM, "%s: no simulation: %s", model->path,
                       *guard.text ? guard.text : "out of memory");
    }
    *ret_data = data;
    return SK_OK;
}

/* ---- simulations that went wrong ---- */

bool sk__mujoco_step_was_good(const sk_mujoco_model *model, mjData *data, char *text, size_t text_size) {
    int raised = 0;
    for (int i = 0; i < mjNWARNING; i++) raised |= data->warning[i].number;
    if (raised == 0) return true;
    for (int i = mjNWARNING - 1; i >= 0; i--) { /* the later ones say more: bad numbers, then full lists */
        if (data->warning[i].number == 0) continue;
        snprintf(text, text_size, "%s", model->lib->mju_warningText(i, (size_t)data->warning[i].lastinfo));
    }
    memset(data->warning, 0, sizeof data->warning);
    return false;
}
