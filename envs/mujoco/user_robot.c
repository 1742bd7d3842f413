#include "envs/mujoco/user_robot.h"
#include "envs/mujoco/render.h"

#include "core/base/config.h"
#include "envs/common.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const KEYS[] = {"model",     "id",       "frame_skip",  "observation", "reward",
                                   "terminate", "keyframe", "reset_noise", "action_limit", SK_MUJOCO_RENDER_KEYS};

/* ---- lists of expressions ---- */

/* One item of a "a; b; c" text: copied without the spaces around it. False: there is no more. */
static bool next_item(const char **text, char *ret_item, size_t size) {
    const char *s = *text + strspn(*text, "; \t\n"), *end = s + strcspn(s, ";");
    if (!*s) return false;
    *text = end;
    while (end > s && strchr(" \t\n", end[-1])) end--;
    snprintf(ret_item, size, "%.*s", (int)(end - s), s);
    return true;
}

/* `size` bytes of text as a name: cut to fit, between characters. */
static void copy_name(char name[SK_ENV_NAME_MAX], const char *text, size_t size) {
    if (size >= SK_ENV_NAME_MAX) {
        size = SK_ENV_NAME_MAX - 1;
        while (size > 0 && ((unsigned char)text[size] & 0xc0) == 0x80) size--;
    }
    memcpy(name, text, size);
    name[size] = '\0';
}

static sk_status check_unique(const sk_robot_list *list, const char *key, sk_error *reterr) {
    for (int i = 0; i < list->n - 1; i++) {
        if (strcmp(list->name[i], list->name[list->n - 1]) != 0) continue;
        return SK_FAIL(reterr, SK_ECONFIG, "%s[%d] and %s[%d] are both named \"%s\"; give one a name: \"name = %.40s\"",
                       key, i, key, list->n - 1, list->name[i], list->name[i]);
    }
    return SK_OK;
}

/* Compile one item. `scalar`: what it must be, if it has to be one number. */
static sk_status add_item(sk_robot *self, sk_robot_list *list, const char *key, const char *item, const char *scalar,
                          sk_error *reterr) {
    const char    *label;
    int            label_size, i = list->n;
    const char    *text = sk_expr_label(item, &label, &label_size);
    sk_expr_scope  scope = sk__robot_scope(&self->names);
    sk_expr_place *place = &list->place[i];
    if (i == SK_ROBOT_ITEMS_MAX)
        return SK_FAIL(reterr, SK_ECONFIG, "%s has more than %d items", key, SK_ROBOT_ITEMS_MAX);
    text += strspn(text, " \t\n");
    sk_status status = sk_expr_add(self->expr, text, &scope, place, reterr);
    if (status == SK_OK && scalar && place->length != 1)
        status = SK_FAIL(reterr, SK_ECONFIG, "got a vector of length %d, wanted %s", place->length, scalar);
    if (status != SK_OK) {
        sk_error_prefix(reterr, "%s[%d] \"%.60s%s\"", key, i, text, strlen(text) > 60 ? "..." : "");
        return status;
    }
    if (label_size) copy_name(list->name[i], label, (size_t)label_size);
    else if (list == &self->reward) snprintf(list->name[i], SK_ENV_NAME_MAX, "reward_%d", i);
    else copy_name(list->name[i], text, strlen(text));
    list->n++;
    return check_unique(list, key, reterr);
}

static sk_status read_list(sk_robot *self, const sk_env_config *config, const char *key, sk_robot_list *list,
                           const char *otherwise, const char *scalar, sk_error *reterr) {
    const char *text = sk__env_config_text(config, key);
    char        item[SK_EXPR_TEXT_MAX + SK_EXPR_WORD_MAX];
    if (!text || !text[strspn(text, "; \t\n")]) text = otherwise;
    while (next_item(&text, item, sizeof item)) SK_TRY(add_item(self, list, key, item, scalar, reterr));
    return SK_OK;
}

/* ---- resets ---- */

/* "qpos = 0.1": the noise of a place in qpos or qvel; later items replace earlier ones. */
static sk_status read_noise_item(sk_robot *self, const char *item, sk_error *reterr) {
    const char   *equals = strrchr(item, '=');
    char          text[SK_EXPR_TEXT_MAX + SK_EXPR_WORD_MAX], *end = NULL;
    sk_expr      *scratch = NULL;
    sk_expr_place place = {0};
    sk_expr_scope scope = sk__robot_scope(&self->names);
    double        amount = equals ? strtod(equals + 1, &end) : 0.0;
    if (!equals || end == equals + 1 || *end || !(amount >= 0.0 && amount <= 1e9))
        return SK_FAIL(reterr, SK_ECONFIG, "got \"%.60s\", wanted pairs like qpos = 0.01", item);
    snprintf(text, sizeof text, "%.*s", (int)(equals - item), item);
    SK_TRY(sk_expr_create(&scratch, reterr));
    sk_status status = sk_expr_add(scratch, text, &scope, &place, reterr);
    sk_expr_destroy(&scratch);
    if (status == SK_OK && place.base != SK_ROBOT_QPOS && place.base != SK_ROBOT_QVEL)
        status = SK_FAIL(reterr, SK_ECONFIG, "wanted qpos, qvel or a part of them, as joint/NAME.qpos");
    if (status != SK_OK) {
        sk_error_prefix(reterr, "\"%.60s\"", text);
        return status;
    }
    double *noise = (place.base == SK_ROBOT_QPOS ? self->qpos_noise : self->qvel_noise) + place.offset;
    for (int i = 0; i < place.length; i++) noise[i] = amount;
    return SK_OK;
}

static sk_status read_noise(sk_robot *self, const sk_env_config *config, sk_error *reterr) {
    const char *text = sk__env_config_text(config, "reset_noise");
    char        item[SK_EXPR_TEXT_MAX];
    sk_status   status = SK_OK;
    while (text && status == SK_OK && next_item(&text, item, sizeof item)) status = read_noise_item(self, item, reterr);
    if (status != SK_OK) sk_error_prefix(reterr, "reset_noise");
    return status;
}

static sk_status read_keyframe(sk_robot *self, const sk_env_config *config, sk_error *reterr) {
    const char *name = sk__env_config_text(config, "keyframe");
    self->keyframe = -1;
    if (!name || !*name) return SK_OK;
    sk_status status = sk__robot_find(&self->names, mjOBJ_KEY, "key", name, &self->keyframe, reterr);
    if (status != SK_OK) sk_error_prefix(reterr, "keyframe");
    return status;
}

/* ---- actions ---- */

/* Bounds are pointed at by descriptions, which outlive everything: one copy of each, for ever. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct kept {
    struct kept *next;
    int          n;
    float        values[];
} *all_kept; /* guarded by lock */

/* The kept copy of n floats, or NULL: out of memory. */
static const float *keep_floats(const float *values, int n) {
    pthread_mutex_lock(&lock);
    struct kept *at = all_kept;
    while (at && (at->n != n || memcmp(at->values, values, (size_t)n * sizeof *values) != 0)) at = at->next;
    if (!at && (at = malloc(sizeof *at + (size_t)n * sizeof *values))) {
        at->next = all_kept;
        at->n = n;
        memcpy(at->values, values, (size_t)n * sizeof *values);
        all_kept = at;
    }
    pthread_mutex_unlock(&lock);
    return at ? at->values : NULL;
}

static sk_status no_limits(const sk_robot *self, int control, sk_error *reterr) {
    const mjModel *m = self->model->m;
    int            id = 0;
    while (id < m->nactuator - 1 && control >= m->actuator_ctrladr[id] + m->actuator_ctrlnum[id]) id++;
    const char *name = self->model->lib->mj_id2name(m, mjOBJ_ACTUATOR, id);
    return SK_FAIL(reterr, SK_ECONFIG,
                   "actuator \"%.60s\" (number %d) of %.80s has no limits, which actions need: give it "
                   "ctrlrange=\"-1 1\" (and ctrllimited=\"true\") in the model, or set action_limit",
                   name && *name ? name : "without a name", id, self->names.file);
}

static sk_status read_actions(sk_robot *self, double action_limit, sk_error *reterr) {
    const mjModel *m = self->model->m;
    if (m->nu == 0)
        return SK_FAIL(reterr, SK_ECONFIG, "%.80s has no actuators, so there is nothing to do in it", self->names.file);
    self->nu = (int)m->nu;
    float *bounds = malloc(2 * (size_t)self->nu * sizeof *bounds);
    if (!bounds) return SK_FAIL(reterr, SK_ENOMEM, "out of memory for actions");
    sk_status status = SK_OK;
    for (int i = 0; i < self->nu && status == SK_OK; i++) {
        bool limited = m->actuator_ctrllimited[i];
        if (!limited && action_limit == 0.0) status = no_limits(self, i, reterr);
        bounds[i] = (float)(limited ? m->actuator_ctrlrange[2 * i] : -action_limit);
        bounds[self->nu + i] = (float)(limited ? m->actuator_ctrlrange[2 * i + 1] : action_limit);
    }
    if (status == SK_OK) {
        self->action_low = keep_floats(bounds, self->nu);
        self->action_high = keep_floats(bounds + self->nu, self->nu);
        if (!self->action_low || !self->action_high) status = SK_FAIL(reterr, SK_ENOMEM, "out of memory for actions");
    }
    free(bounds);
    return status;
}

/* ---- all of it ---- */

/* A number of the config, in a range. */
static sk_status read_number(const sk_env_config *config, const char *key, double low, double high, double *value,
                             sk_error *reterr) {
    char text[256] = "";
    if (sk__env_config_number(config, key, value, text, sizeof text) != 0)
        return SK_FAIL(reterr, SK_ECONFIG, "%s", text);
    if (*value >= low && *value <= high) return SK_OK;
    return SK_FAIL(reterr, SK_ECONFIG, "config \"%s\": got %g, wanted a number in [%g, %g]", key, *value, low, high);
}

/* "there is no "modle"; did you mean "model"?" */
static sk_status check_keys(const sk_env_config *config, sk_error *reterr) {
    char text[256] = "";
    if (sk__env_config_known(config, KEYS, SK_COUNT(KEYS), text, sizeof text) != 0)
        return SK_FAIL(reterr, SK_ECONFIG, "%s", text);
    return SK_OK;
}

static sk_status open_model(sk_robot *self, const sk_env_config *config, sk_error *reterr) {
    const char *path = sk__env_config_text(config, "model");
    if (!path) path = sk__env_config_text(config, "id"); /* mujoco:FILE.xml */
    if (!path || !*path)
        return SK_FAIL(reterr, SK_ECONFIG, "model is missing, wanted the path of an MJCF file (docs/own_robot.md)");
    SK_TRY(sk__mujoco_model_open(path, &self->model, reterr));
    const char *slash = strrchr(self->model->path, '/');
    self->names.model = self->model;
    self->names.file = slash ? slash + 1 : self->model->path;
    size_t nq = (size_t)self->model->m->nq, nv = (size_t)self->model->m->nv;
    self->qpos_noise = calloc(nq + nv + 1, sizeof *self->qpos_noise);
    if (!self->qpos_noise) return SK_FAIL(reterr, SK_ENOMEM, "out of memory for a robot");
    self->qvel_noise = self->qpos_noise + nq;
    return SK_OK;
}

sk_status sk__robot_init(sk_robot *self, const sk_env_config *config, sk_error *reterr) {
    static const char one_number[] = "one number, as sum(...) gives", one_truth[] = "one truth, as any(...) gives";
    double            frame_skip = 1.0, action_limit = 0.0;
    *self = (sk_robot){.keyframe = -1};
    SK_TRY(check_keys(config, reterr));
    SK_TRY(read_number(config, "frame_skip", 1, 10000, &frame_skip, reterr));
    SK_TRY(read_number(config, "action_limit", 0, 1e9, &action_limit, reterr));
    char text[256];
    if (sk__mujoco_view_size(config, &self->render_width, &self->render_height, text, sizeof text) != 0)
        return SK_FAIL(reterr, SK_ECONFIG, "%s", text);
    SK_TRY(open_model(self, config, reterr));
    self->frame_skip = (int)frame_skip;
    if (self->frame_skip != frame_skip)
        return SK_FAIL(reterr, SK_ECONFIG, "config \"frame_skip\": got %g, wanted a whole number", frame_skip);
    self->dt = self->frame_skip * self->model->m->opt.timestep;
    SK_TRY(read_actions(self, action_limit, reterr));
    SK_TRY(read_keyframe(self, config, reterr));
    SK_TRY(read_noise(self, config, reterr));
    SK_TRY(sk_expr_create(&self->expr, reterr));
    SK_TRY(read_list(self, config, "observation", &self->observation, "qpos; qvel", NULL, reterr));
    SK_TRY(read_list(self, config, "reward", &self->reward, "", one_number, reterr));
    SK_TRY(read_list(self, config, "terminate", &self->terminate, "", one_truth, reterr));
    if (self->reward.n == 0)
        return SK_FAIL(reterr, SK_ECONFIG, "reward is missing, wanted expressions like \"rate(qpos[0])\"");
    for (int i = 0; i < self->observation.n; i++) self->obs_dim += self->observation.place[i].length;
    return SK_OK;
}

void sk__robot_deinit(sk_robot *self) {
    sk_expr_destroy(&self->expr);
    free(self->qpos_noise);
    if (self->model) sk__mujoco_model_release(&self->model);
    *self = (sk_robot){0};
}
