#include "envs/external/gymnasium.h"
#include "core/base/pack.h"
#include "envs/python_paths.h"
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char   SCRIPT[] = "skiff_gym/worker.py";
static const double TIMEOUT_S = 60.0, TIMEOUT_MAX_S = 86400.0;

/* ---- the script ---- */

/* The folder ../share/skiff/python of the running program's folder. False: there is no telling. */
static bool beside_program(char *ret_folder, size_t size) {
    char    path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0) return false;
    path[n] = '\0';
    char *slash = strrchr(path, '/');
    if (!slash) return false;
    *slash = '\0';
    n = snprintf(ret_folder, size, "%s/../share/skiff/python", path);
    return n > 0 && (size_t)n < size;
}

static sk_status find_script(char **ret_script, sk_error *reterr) {
    char        beside[PATH_MAX], path[PATH_MAX + sizeof SCRIPT];
    const char *given = getenv("SKIFF_PYTHONPATH");
    bool        only_given = given && given[0];
    const char *folders[] = {only_given ? given : beside, SK_PYTHON_SOURCE_DIR, SK_PYTHON_INSTALL_DIR};
    if (!only_given && !beside_program(beside, sizeof beside)) folders[0] = "";
    for (int i = 0; i < (only_given ? 1 : SK_COUNT(folders)); i++) {
        if (strlen(folders[i]) >= PATH_MAX) continue;
        snprintf(path, sizeof path, "%s/%s", folders[i], SCRIPT);
        if (access(path, R_OK) != 0) continue;
        *ret_script = strdup(path);
        return *ret_script ? SK_OK : SK_FAIL(reterr, SK_ENOMEM, "out of memory for a path");
    }
    if (only_given)
        return SK_FAIL(reterr, SK_ENOTFOUND, "the Python side, %s, is not in SKIFF_PYTHONPATH (\"%.200s\")",
                       SCRIPT, given);
    return SK_FAIL(reterr, SK_ENOTFOUND,
                   "the Python side, %s, is neither in %.150s nor in %.150s; SKIFF_PYTHONPATH "
                   "names its folder",
                   SCRIPT, folders[0], SK_PYTHON_INSTALL_DIR);
}

/* ---- the config ---- */

static sk_status read_timeout(const char *text, double *ret, sk_error *reterr) {
    char *end;
    *ret = strtod(text, &end);
    if (end != text && !*end && *ret > 0 && *ret <= TIMEOUT_MAX_S) return SK_OK;
    return SK_FAIL(reterr, SK_ECONFIG,
                   "skiff.timeout_s: got \"%.40s\", wanted a number of seconds above 0, at most %g", text,
                   TIMEOUT_MAX_S);
}

/* Sort the pairs: ours into *self and *ret_id, the rest into kwargs. */
static sk_status read_pairs(sk_gymnasium_settings *self, const sk_env_config *config, json_t *kwargs,
                            const char **ret_id, const char **ret_python, sk_error *reterr) {
    for (int i = 0; i < config->n; i++) {
        const char *name = config->names[i], *value = config->values[i];
        if (strcmp(name, "id") == 0) {
            *ret_id = value;
        } else if (strcmp(name, "skiff.python") == 0) {
            if (value[0]) *ret_python = value;
        } else if (strcmp(name, "skiff.timeout_s") == 0) {
            SK_TRY(read_timeout(value, &self->timeout_s, reterr));
        } else if (strncmp(name, "skiff.", 6) == 0) {
            return SK_FAIL(reterr, SK_ECONFIG,
                           "unknown config \"%.60s\"; known: skiff.python skiff.timeout_s, and the "
                           "keyword arguments of gymnasium.make",
                           name);
        } else if (json_object_set_new(kwargs, name, json_string(value)) != 0) {
            return SK_FAIL(reterr, SK_ECONFIG, "config \"%.60s\" is no UTF-8 text", name);
        }
    }
    if (*ret_id && (*ret_id)[0]) return SK_OK;
    return SK_FAIL(reterr, SK_ECONFIG, "it needs the name of an environment, as in gymnasium:CartPole-v1");
}

sk_status sk_gymnasium_settings_init(sk_gymnasium_settings *self, const sk_env_config *config,
                                     sk_error *reterr) {
    *self = (sk_gymnasium_settings){.timeout_s = TIMEOUT_S};
    const char *id = NULL, *python = getenv("SKIFF_PYTHON");
    if (!python || !python[0]) python = "python3";
    json_t   *kwargs = json_object(), *request = NULL;
    sk_status status = kwargs ? SK_OK : SK_FAIL(reterr, SK_ENOMEM, "out of memory for a config");
    if (status == SK_OK) status = read_pairs(self, config, kwargs, &id, &python, reterr);
    if (status == SK_OK) status = find_script(&self->script, reterr);
    if (status == SK_OK) {
        request = json_pack("{s:s, s:O}", "id", id, "kwargs", kwargs);
        self->request = request ? sk_json_text(request) : NULL;
        self->python = strdup(python);
        if (!self->request) status = SK_FAIL(reterr, SK_ECONFIG, "the name \"%.60s\" is no UTF-8 text", id);
        else if (!self->python) status = SK_FAIL(reterr, SK_ENOMEM, "out of memory for a config");
    }
    json_decref(kwargs);
    json_decref(request);
    if (status != SK_OK) sk_gymnasium_settings_deinit(self);
    return status;
}

void sk_gymnasium_settings_deinit(sk_gymnasium_settings *self) {
    free(self->python);
    free(self->script);
    free(self->request);
    *self = (sk_gymnasium_settings){0};
}

bool sk_gymnasium_settings_same(const sk_gymnasium_settings *a, const sk_gymnasium_settings *b) {
    return strcmp(a->python, b->python) == 0 && strcmp(a->script, b->script) == 0 &&
           strcmp(a->request, b->request) == 0 && a->timeout_s == b->timeout_s;
}
