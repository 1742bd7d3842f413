#include "envs/mujoco/user_names.h"

#include "core/base/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Names that a message is chosen from; those of larger models are not all looked at. */
enum { NAMES_MAX = 2048, KNOWN_TEXT = 160 };

static const char *const kinds[] = {"sensor", "joint", "body", "site", "geom", "actuator", "tendon", NULL};

void sk__robot_bases(mjData *d, double *ret_bases[SK_ROBOT_N_BASES]) {
    double *const bases[SK_ROBOT_N_BASES] = {
        [SK_ROBOT_QPOS] = d->qpos,
        [SK_ROBOT_QVEL] = d->qvel,
        [SK_ROBOT_QACC] = d->qacc,
        [SK_ROBOT_CTRL] = d->ctrl,
        [SK_ROBOT_ACT] = d->act,
        [SK_ROBOT_TIME] = &d->time,
        [SK_ROBOT_SENSORDATA] = d->sensordata,
        [SK_ROBOT_XPOS] = d->xpos,
        [SK_ROBOT_XQUAT] = d->xquat,
        [SK_ROBOT_XMAT] = d->xmat,
        [SK_ROBOT_CVEL] = d->cvel,
        [SK_ROBOT_COM] = d->subtree_com,
        [SK_ROBOT_CFRC] = d->cfrc_ext,
        [SK_ROBOT_SITE_XPOS] = d->site_xpos,
        [SK_ROBOT_SITE_XMAT] = d->site_xmat,
        [SK_ROBOT_GEOM_XPOS] = d->geom_xpos,
        [SK_ROBOT_GEOM_XMAT] = d->geom_xmat,
        [SK_ROBOT_FORCE] = d->actuator_force,
        [SK_ROBOT_TENDON_LENGTH] = d->ten_length,
        [SK_ROBOT_TENDON_VELOCITY] = d->ten_velocity,
    };
    memcpy(ret_bases, bases, sizeof bases);
}

/* ---- messages ---- */

/* "; did you mean "x"?", or "; known: a, b, c", or "". */
static void suggest(const char *name, const char *const *names, int n, char ret_text[KNOWN_TEXT + 64]) {
    const char *near = sk_nearest_name(name, names, n);
    ret_text[0] = '\0';
    if (near) {
        snprintf(ret_text, KNOWN_TEXT + 64, "; did you mean \"%.*s\"?", KNOWN_TEXT, near);
        return;
    }
    for (int i = 0, used = 0; i < n; i++) {
        if ((size_t)used + strlen(names[i]) + 8 > KNOWN_TEXT) {
            snprintf(ret_text + used, 16, ", ...");
            break;
        }
        used += snprintf(ret_text + used, KNOWN_TEXT, "%s%s", i ? ", " : "; known: ", names[i]);
    }
}

static int count_objects(const mjModel *m, int type) {
    switch (type) {
    case mjOBJ_SENSOR: return (int)m->nsensor;
    case mjOBJ_JOINT: return (int)m->njnt;
    case mjOBJ_BODY: return (int)m->nbody;
    case mjOBJ_SITE: return (int)m->nsite;
    case mjOBJ_GEOM: return (int)m->ngeom;
    case mjOBJ_ACTUATOR: return (int)m->nactuator;
    case mjOBJ_TENDON: return (int)m->ntendon;
    case mjOBJ_KEY: return (int)m->nkey;
    default: SK_ASSERT(0);
    }
}

sk_status sk__robot_find(const sk_robot_names *self, int type, const char *kind, const char *name, int *ret_id,
                         sk_error *reterr) {
    const mjModel *m = self->model->m;
    const char    *names[NAMES_MAX];
    char           hint[KNOWN_TEXT + 64];
    int            n = 0, count = count_objects(m, type);
    *ret_id = self->model->lib->mj_name2id(m, type, name);
    if (*ret_id >= 0) return SK_OK;
    for (int id = 0; id < count && n < NAMES_MAX; id++) {
        const char *known = self->model->lib->mj_id2name(m, type, id);
        if (known && *known) names[n++] = known;
    }
    if (n == 0)
        return SK_FAIL(reterr, SK_ENOTFOUND, "there is no %s \"%.60s\" in %.80s, which has no %s with a name", kind,
                       name, self->file, kind);
    suggest(name, names, n, hint);
    return SK_FAIL(reterr, SK_ENOTFOUND, "there is no %s \"%.60s\" in %.80s%s", kind, name, self->file, hint);
}

/* ---- names of the whole model ---- */

static sk_status find_plain(sk_robot_names *self, const char *name, const char *part, sk_expr_place *ret,
                            sk_error *reterr) {
    const mjModel *m = self->model->m;
    const struct {
        const char   *name;
        sk_robot_base base;
        mjtSize       length;
    } plain[] = {{"qpos", SK_ROBOT_QPOS, m->nq},   {"qvel", SK_ROBOT_QVEL, m->nv},
                 {"qacc", SK_ROBOT_QACC, m->nv},   {"ctrl", SK_ROBOT_CTRL, m->nu},
                 {"act", SK_ROBOT_ACT, m->na},     {"action", SK_ROBOT_ACTION, m->nu},
                 {"time", SK_ROBOT_TIME, 1},       {"dt", SK_ROBOT_DT, 1},
                 {"cfrc", SK_ROBOT_CFRC, 6 * m->nbody}, {"sensordata", SK_ROBOT_SENSORDATA, m->nsensordata}};
    const char *names[SK_COUNT(plain) + SK_COUNT(kinds)];
    char        hint[KNOWN_TEXT + 64];
    int         n = 0;
    for (int i = 0; i < SK_COUNT(plain); i++) {
        if (strcmp(plain[i].name, name) != 0) {
            names[n++] = plain[i].name;
            continue;
        }
        if (*part) return SK_FAIL(reterr, SK_ENOTFOUND, "%s has no parts, got .%.40s", name, part);
        if (plain[i].length == 0)
            return SK_FAIL(reterr, SK_ENOTFOUND, "%s has no elements in %.80s", name, self->file);
        if (plain[i].length > SK_EXPR_SIZE_MAX)
            return SK_FAIL(reterr, SK_ENOTFOUND, "%s has too many elements", name);
        self->uses_cfrc |= plain[i].base == SK_ROBOT_CFRC;
        *ret = (sk_expr_place){(int)plain[i].base, 0, (int)plain[i].length};
        return SK_OK;
    }
    for (const char *const *function = sk_expr_functions(); *function; function++) {
        if (strcmp(*function, name) == 0)
            return SK_FAIL(reterr, SK_ENOTFOUND, "%s is a function, wanted %s(...)", name, name);
    }
    for (const char *const *kind = kinds; *kind; kind++) {
        if (strcmp(*kind, name) == 0)
            return SK_FAIL(reterr, SK_ENOTFOUND, "wanted the name of a %s behind it: %s/NAME", name, name);
        names[n++] = *kind;
    }
    if (*part)
        return SK_FAIL(reterr, SK_ENOTFOUND,
                       "there is no name \"%.60s\"; objects are written kind/name.part, as body/%.60s.xpos", name,
                       name);
    suggest(name, names, n, hint);
    return SK_FAIL(reterr, SK_ENOTFOUND, "there is no name \"%.60s\"%s", name, hint);
}

/* ---- names of objects ---- */

static const struct {
    const char   *kind, *part; /* part "": none is wanted                                        */
    int           type;        /* mjtObj                                                         */
    sk_robot_base base;
    int           size;        /* of each object, at id * size; 0: as the model says             */
} parts[] = {
    {"sensor", "", mjOBJ_SENSOR, SK_ROBOT_SENSORDATA, 0},
    {"joint", "qpos", mjOBJ_JOINT, SK_ROBOT_QPOS, 0},
    {"joint", "qvel", mjOBJ_JOINT, SK_ROBOT_QVEL, 0},
    {"body", "xpos", mjOBJ_BODY, SK_ROBOT_XPOS, 3},
    {"body", "xquat", mjOBJ_BODY, SK_ROBOT_XQUAT, 4},
    {"body", "xmat", mjOBJ_BODY, SK_ROBOT_XMAT, 9},
    {"body", "xvel", mjOBJ_BODY, SK_ROBOT_VELOCITY, 0},
    {"body", "cvel", mjOBJ_BODY, SK_ROBOT_CVEL, 6},
    {"body", "com", mjOBJ_BODY, SK_ROBOT_COM, 3},
    {"body", "cfrc", mjOBJ_BODY, SK_ROBOT_CFRC, 6},
    {"site", "xpos", mjOBJ_SITE, SK_ROBOT_SITE_XPOS, 3},
    {"site", "xmat", mjOBJ_SITE, SK_ROBOT_SITE_XMAT, 9},
    {"site", "xvel", mjOBJ_SITE, SK_ROBOT_VELOCITY, 0},
    {"geom", "xpos", mjOBJ_GEOM, SK_ROBOT_GEOM_XPOS, 3},
    {"geom", "xmat", mjOBJ_GEOM, SK_ROBOT_GEOM_XMAT, 9},
    {"actuator", "force", mjOBJ_ACTUATOR, SK_ROBOT_FORCE, 0},
    {"actuator", "ctrl", mjOBJ_ACTUATOR, SK_ROBOT_CTRL, 0},
    {"tendon", "length", mjOBJ_TENDON, SK_ROBOT_TENDON_LENGTH, 1},
    {"tendon", "velocity", mjOBJ_TENDON, SK_ROBOT_TENDON_VELOCITY, 1},
};

/* The index in `parts`, and a message about what the kind has otherwise. */
static sk_status find_part(const char *kind, const char *part, int *ret_index, sk_error *reterr) {
    const char *names[SK_COUNT(parts)];
    char        hint[KNOWN_TEXT + 64];
    int         n = 0;
    for (int i = 0; i < SK_COUNT(parts); i++) {
        if (strcmp(parts[i].kind, kind) != 0) continue;
        *ret_index = i;
        if (strcmp(parts[i].part, part) == 0) return SK_OK;
        names[n++] = parts[i].part;
    }
    if (n == 1 && !*names[0]) return SK_FAIL(reterr, SK_ENOTFOUND, "a %s has no parts, got .%.40s", kind, part);
    suggest(part, names, n, hint);
    if (!*part)
        return SK_FAIL(reterr, SK_ENOTFOUND, "wanted a part of the %s, as in %s/NAME.%s%s", kind, kind, names[0], hint);
    return SK_FAIL(reterr, SK_ENOTFOUND, "a %s has no part \"%.40s\"%s", kind, part, hint);
}

static sk_expr_place of_joint(const mjModel *m, int id, bool is_qpos) {
    int type = m->jnt_type[id];
    int n_qpos = type == mjJNT_FREE ? 7 : type == mjJNT_BALL ? 4 : 1;
    int n_qvel = type == mjJNT_FREE ? 6 : type == mjJNT_BALL ? 3 : 1;
    if (is_qpos) return (sk_expr_place){SK_ROBOT_QPOS, m->jnt_qposadr[id], n_qpos};
    return (sk_expr_place){SK_ROBOT_QVEL, m->jnt_dofadr[id], n_qvel};
}

/* A place among the velocities that are computed for expressions. */
static sk_status of_velocity(sk_robot_names *self, int type, int id, sk_expr_place *ret, sk_error *reterr) {
    int k = 0;
    if (type == mjOBJ_BODY) type = mjOBJ_XBODY; /* at the frame's origin, not at the centre of mass */
    while (k < self->n_velocities && (self->velocity[k].type != type || self->velocity[k].id != id)) k++;
    if (k == SK_ROBOT_VELOCITIES_MAX)
        return SK_FAIL(reterr, SK_ELIMIT, "there are more than %d different .xvel", SK_ROBOT_VELOCITIES_MAX);
    self->velocity[k].type = type;
    self->velocity[k].id = id;
    if (k == self->n_velocities) self->n_velocities++;
    *ret = (sk_expr_place){SK_ROBOT_VELOCITY, 6 * k, 6};
    return SK_OK;
}

static sk_status find_name(void *of, const char *kind, const char *name, const char *part, sk_expr_place *ret,
                           sk_error *reterr) {
    sk_robot_names *self = of;
    const mjModel  *m = self->model->m;
    int             id, i;
    if (!*kind) return find_plain(self, name, part, ret, reterr);
    SK_TRY(find_part(kind, part, &i, reterr));
    SK_TRY(sk__robot_find(self, parts[i].type, kind, name, &id, reterr));
    *ret = (sk_expr_place){(int)parts[i].base, parts[i].size * id, parts[i].size};
    switch (parts[i].base) {
    case SK_ROBOT_QPOS:
    case SK_ROBOT_QVEL: *ret = of_joint(m, id, parts[i].base == SK_ROBOT_QPOS); break;
    case SK_ROBOT_SENSORDATA: *ret = (sk_expr_place){SK_ROBOT_SENSORDATA, m->sensor_adr[id], m->sensor_dim[id]}; break;
    case SK_ROBOT_FORCE: *ret = (sk_expr_place){SK_ROBOT_FORCE, m->actuator_outadr[id], m->actuator_outnum[id]}; break;
    case SK_ROBOT_CTRL: *ret = (sk_expr_place){SK_ROBOT_CTRL, m->actuator_ctrladr[id], m->actuator_ctrlnum[id]}; break;
    case SK_ROBOT_VELOCITY: return of_velocity(self, parts[i].type, id, ret, reterr);
    case SK_ROBOT_CFRC: self->uses_cfrc = true; break;
    default: break;
    }
    if (ret->length > 0 && ret->length <= SK_EXPR_SIZE_MAX) return SK_OK;
    return SK_FAIL(reterr, SK_ENOTFOUND, "%s \"%.60s\" has %d elements in %.80s", kind, name, ret->length, self->file);
}

sk_expr_scope sk__robot_scope(sk_robot_names *self) {
    return (sk_expr_scope){.kinds = kinds, .find = find_name, .of = self};
}
