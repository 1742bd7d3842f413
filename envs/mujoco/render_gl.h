/* render_gl: an OpenGL context without a window, for MuJoCo's renderer. Both libraries that can give one are opened
 * with dlopen when the first context is wanted, so that nothing else needs them: EGL (on a GPU's driver or Mesa's
 * software renderer), else OSMesa. $MUJOCO_GL (egl, osmesa) leaves only one of them, as it does for MuJoCo's own
 * programs.
 *
 * Threads: create and destroy by any; a context is current in one thread at a time. */
#ifndef SK_ENVS_MUJOCO_RENDER_GL_H
#define SK_ENVS_MUJOCO_RENDER_GL_H
#include "core/base/status.h"

typedef struct sk_gl sk_gl;

/* SK_ENOTFOUND: this machine has neither; says which packages bring them. SK_ENOMEM. Caller destroys. */
SK_NODISCARD sk_status sk__gl_create(sk_gl **ret_gl, sk_error *reterr);
/* Not while it is current. NULL and already-null are fine. */
void sk__gl_destroy(sk_gl **self_p);

/* Current in this thread, until release. SK_EENV. */
SK_NODISCARD sk_status sk__gl_acquire(sk_gl *self, sk_error *reterr);
void                   sk__gl_release(sk_gl *self);

#endif
