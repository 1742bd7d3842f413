/* render: pictures of a MuJoCo simulation, without a window, by MuJoCo's own renderer.
 *
 * The camera is the model's "track" if it has one; else one that follows the first body where that floats freely, and
 * one that shows the whole model where it does not.
 * Threads: a view is used by one thread at a time, not always the same. */
#ifndef SK_ENVS_MUJOCO_RENDER_H
#define SK_ENVS_MUJOCO_RENDER_H
#include "envs/mujoco/mujoco_lib.h"
#include "skiff/env.h"
#include <stdint.h>

enum { SK_MUJOCO_RENDER_WIDTH = 640, SK_MUJOCO_RENDER_HEIGHT = 480, SK_MUJOCO_RENDER_MAX = 8192 };

/* The keys of an environment's config that say how large its pictures are, and their values: both optional. 0, or -1
 * and a text. */
#define SK_MUJOCO_RENDER_KEYS "render_width", "render_height"
int sk__mujoco_view_size(const sk_env_config *config, int *ret_width, int *ret_height, char *err, size_t err_size);

typedef struct sk_mujoco_view sk_mujoco_view;

/* A view of simulations of `model` (borrowed), pictures of width x height. SK_ENOTFOUND: there is no OpenGL (says which
 * packages bring it). SK_EENV: what MuJoCo's renderer says. SK_ENOMEM. Caller destroys. */
SK_NODISCARD sk_status sk__mujoco_view_create(const sk_mujoco_model *model, int width, int height,
                                              sk_mujoco_view **ret_view, sk_error *reterr);
void sk__mujoco_view_destroy(sk_mujoco_view **self_p); /* NULL and already-null are fine */

/* Draw the simulation that mj_getState(..., signature) gave `state` of, into rgb (height x width x 3), rows from the
 * top. Happens in an mjData of the view's own. SK_EENV. */
SK_NODISCARD sk_status sk__mujoco_view_draw(sk_mujoco_view *self, const double *state, int signature, uint8_t *rgb,
                                            sk_error *reterr);

#endif
