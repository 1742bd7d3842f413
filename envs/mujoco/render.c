#include "envs/mujoco/render.h"
#include "envs/common.h"
#include "envs/mujoco/render_gl.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GEOMS_MAX = 2000, FONT_PERCENT = 100 };

/* Of MuJoCo, looked up when the first view is made. */
#define RENDER_FUNCTIONS(X)                                                                                           \
    X(mjv_defaultScene) X(mjv_makeScene) X(mjv_freeScene) X(mjv_updateScene) X(mjv_defaultOption)                     \
    X(mjv_defaultFreeCamera) X(mjr_defaultContext) X(mjr_makeContext) X(mjr_freeContext) X(mjr_resizeOffscreen)       \
    X(mjr_setBuffer) X(mjr_render) X(mjr_readPixels)

typedef struct render_functions {
#define FIELD(name) __typeof__(&name) name;
    RENDER_FUNCTIONS(FIELD)
#undef FIELD
} render_functions;

struct sk_mujoco_view {
    const sk_mujoco_model *model;
    render_functions       fn;
    int                    width, height;
    sk_gl                 *gl;
    mjData                *d;      /* what is drawn */
    mjvScene               scene;
    mjvOption              option;
    mjvCamera              camera;
    mjrContext             context;
    bool                   has_scene, has_context;
};

int sk__mujoco_view_size(const sk_env_config *config, int *ret_width, int *ret_height, char *err, size_t err_size) {
    static const char *const keys[] = {SK_MUJOCO_RENDER_KEYS};
    double size[] = {SK_MUJOCO_RENDER_WIDTH, SK_MUJOCO_RENDER_HEIGHT};
    for (int i = 0; i < 2; i++) {
        if (sk__env_config_number(config, keys[i], &size[i], err, err_size)) return -1;
        if (size[i] == floor(size[i]) && size[i] >= 1 && size[i] <= SK_MUJOCO_RENDER_MAX) continue;
        snprintf(err, err_size, "config \"%s\": got %g, wanted an integer from 1 to %d", keys[i], size[i],
                 SK_MUJOCO_RENDER_MAX);
        return -1;
    }
    *ret_width = (int)size[0];
    *ret_height = (int)size[1];
    return 0;
}

static sk_status look_up(render_functions *fn, sk_error *reterr) {
    void *symbol = NULL;
#define LOOK_UP(name)                                                                                                 \
    SK_TRY(sk__mujoco_lib_symbol(#name, &symbol, reterr));                                                            \
    memcpy(&fn->name, &symbol, sizeof symbol);
    RENDER_FUNCTIONS(LOOK_UP)
#undef LOOK_UP
    return SK_OK;
}

static void choose_camera(sk_mujoco_view *self) {
    const mjModel *m = self->model->m;
    mjvCamera     *camera = &self->camera;
    self->fn.mjv_defaultFreeCamera(m, camera);
    int id = self->model->lib->mj_name2id(m, mjOBJ_CAMERA, "track");
    if (id >= 0) {
        camera->type = mjCAMERA_FIXED; /* the model says itself how it moves */
        camera->fixedcamid = id;
        return;
    }
    camera->elevation = -30;
    camera->distance = 1.5 * m->stat.extent;
    if (m->nbody > 1 && m->body_jntnum[1] > 0 && m->jnt_type[m->body_jntadr[1]] == mjJNT_FREE) {
        camera->type = mjCAMERA_TRACKING;
        camera->trackbodyid = 1;
    }
}

/* What needs the OpenGL context to be current. False: MuJoCo refused; guard->text says why. */
static bool make_context(sk_mujoco_view *self, sk_mujoco_guard *guard) {
    volatile bool done = false;
    sk__mujoco_guard_enter(guard);
    if (_setjmp(guard->back) == 0) {
        self->fn.mjv_makeScene(self->model->m, &self->scene, GEOMS_MAX);
        self->has_scene = true;
        self->fn.mjr_makeContext(self->model->m, &self->context, FONT_PERCENT);
        self->has_context = true;
        self->fn.mjr_resizeOffscreen(self->width, self->height, &self->context);
        self->fn.mjr_setBuffer(mjFB_OFFSCREEN, &self->context);
        done = self->context.currentBuffer == mjFB_OFFSCREEN;
    }
    sk__mujoco_guard_leave(guard);
    return done;
}

static sk_status setup(sk_mujoco_view *self, sk_error *reterr) {
    sk_mujoco_guard guard;
    SK_TRY(look_up(&self->fn, reterr));
    SK_TRY(sk__mujoco_data_create(self->model, &self->d, reterr));
    self->fn.mjv_defaultScene(&self->scene);
    self->fn.mjv_defaultOption(&self->option);
    self->fn.mjr_defaultContext(&self->context);
    choose_camera(self);
    SK_TRY(sk__gl_create(&self->gl, reterr));
    SK_TRY(sk__gl_acquire(self->gl, reterr));
    bool done = make_context(self, &guard);
    sk__gl_release(self->gl);
    if (done) return SK_OK;
    return SK_FAIL(reterr, SK_EENV, "MuJoCo's renderer for %d x %d pixels: %s", self->width, self->height,
                   guard.text[0] ? guard.text : "it cannot draw off screen");
}

sk_status sk__mujoco_view_create(const sk_mujoco_model *model, int width, int height, sk_mujoco_view **ret_view,
                                 sk_error *reterr) {
    SK_ASSERT(width > 0 && width <= SK_MUJOCO_RENDER_MAX && height > 0 && height <= SK_MUJOCO_RENDER_MAX);
    sk_mujoco_view *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "out of memory for a view of the simulation");
    self->model = model;
    self->width = width;
    self->height = height;
    sk_status status = setup(self, reterr);
    if (status != SK_OK) {
        sk__mujoco_view_destroy(&self);
        return status;
    }
    *ret_view = self;
    return SK_OK;
}

/* Errors on the way out concern nobody. */
static void free_all(sk_mujoco_view *self) {
    sk_mujoco_guard guard;
    sk__mujoco_guard_enter(&guard);
    if (_setjmp(guard.back) == 0) {
        if (self->has_context) self->fn.mjr_freeContext(&self->context);
        if (self->has_scene) self->fn.mjv_freeScene(&self->scene);
    }
    sk__mujoco_guard_leave(&guard);
}

void sk__mujoco_view_destroy(sk_mujoco_view **self_p) {
    if (!self_p || !*self_p) return;
    sk_mujoco_view *self = *self_p;
    if (self->gl && sk__gl_acquire(self->gl, NULL) == SK_OK) {
        free_all(self);
        sk__gl_release(self->gl);
    }
    sk__gl_destroy(&self->gl);
    if (self->d) self->model->lib->mj_deleteData(self->d);
    free(self);
    *self_p = NULL;
}

/* OpenGL's rows rise from the bottom. */
static void turn_over(uint8_t *rgb, size_t row, int height) {
    for (int y = 0; y < height / 2; y++) {
        uint8_t *above = rgb + (size_t)y * row, *below = rgb + (size_t)(height - 1 - y) * row;
        for (size_t i = 0; i < row; i++) {
            uint8_t kept = above[i];
            above[i] = below[i];
            below[i] = kept;
        }
    }
}

sk_status sk__mujoco_view_draw(sk_mujoco_view *self, const double *state, int signature, uint8_t *rgb,
                               sk_error *reterr) {
    const mjModel  *m = self->model->m;
    mjrRect         all = {0, 0, self->width, self->height};
    sk_mujoco_guard guard;
    volatile bool   done = false;
    SK_TRY(sk__gl_acquire(self->gl, reterr));
    sk__mujoco_guard_enter(&guard);
    if (_setjmp(guard.back) == 0) {
        self->model->lib->mj_setState(m, self->d, state, signature);
        self->model->lib->mj_forward(m, self->d);
        self->fn.mjv_updateScene(m, self->d, &self->option, NULL, &self->camera, mjCAT_ALL, &self->scene);
        self->fn.mjr_render(all, &self->scene, &self->context);
        self->fn.mjr_readPixels(rgb, NULL, all, &self->context);
        done = true;
    }
    sk__mujoco_guard_leave(&guard);
    sk__gl_release(self->gl);
    if (!done) return SK_FAIL(reterr, SK_EENV, "MuJoCo's renderer: %s", guard.text);
    turn_over(rgb, (size_t)self->width * 3, self->height);
    return SK_OK;
}
