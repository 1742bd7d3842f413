#include "envs/mujoco/render_gl.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is used of EGL 1.5 and OSMesa, as their specifications number it: their headers are not needed to build. */
enum {
    EGL_SUCCESS = 0x3000,
    EGL_NONE = 0x3038,
    EGL_RENDERABLE_TYPE = 0x3040,
    EGL_SURFACE_TYPE = 0x3033,
    EGL_OPENGL_BIT = 8,
    EGL_OPENGL_API = 0x30A2,
    EGL_PLATFORM_DEVICE = 0x313F,
    EGL_PLATFORM_SURFACELESS = 0x31DD,
    OSMESA_RGBA = 0x1908,
    GL_UNSIGNED_BYTE = 0x1401
};
enum { DEVICES_MAX = 16, DEPTH_BITS = 24, STENCIL_BITS = 8 };

typedef void (*any_fn)(void);
typedef struct egl {
    any_fn (*eglGetProcAddress)(const char *name);
    unsigned (*eglInitialize)(void *display, int *major, int *minor);
    unsigned (*eglBindAPI)(unsigned api);
    unsigned (*eglChooseConfig)(void *display, const int *wanted, void **configs, int size, int *n);
    void *(*eglCreateContext)(void *display, void *config, void *share, const int *wanted);
    unsigned (*eglDestroyContext)(void *display, void *context);
    unsigned (*eglMakeCurrent)(void *display, void *draw, void *read, void *context);
    int (*eglGetError)(void);
} egl;

typedef struct osmesa {
    void *(*OSMesaCreateContextExt)(unsigned format, int depth, int stencil, int accumulation, void *share);
    void (*OSMesaDestroyContext)(void *context);
    unsigned char (*OSMesaMakeCurrent)(void *context, void *buffer, unsigned type, int width, int height);
} osmesa;

struct sk_gl {
    void   *context;
    void   *display;    /* EGL's; NULL: an OSMesa context                                      */
    uint8_t buffer[64]; /* the window that OSMesa must have; pictures are made off screen [RGBA] */
};

/* Opened by the first context and kept: a display belongs to the process, and MuJoCo keeps its functions. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all below */
static egl             the_egl;
static osmesa          the_osmesa;
static void           *egl_handle, *osmesa_handle, *egl_display; /* NULL: not yet */

/* Fill the function pointers at `table` by name. False: one is missing. */
static bool look_up(void *handle, const char *const *names, int n, void *table) {
    for (int i = 0; i < n; i++) {
        void *symbol = dlsym(handle, names[i]);
        if (!symbol) return false;
        memcpy((char *)table + (size_t)i * sizeof symbol, &symbol, sizeof symbol);
    }
    return true;
}

static void *open_library(const char *const *names, int n, char *why, size_t why_size) {
    void *handle = NULL;
    for (int i = 0; i < n && !handle; i++) handle = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!handle) snprintf(why, why_size, "there is no %s", names[0]);
    return handle;
}

/* ---- EGL ---- */

/* A context that needs neither window nor buffer; of the kind that has all of OpenGL's old functions, which MuJoCo
 * draws with. NULL: not on this display. */
static void *egl_context(void *display) {
    static const int wanted[] = {EGL_RENDERABLE_TYPE, EGL_OPENGL_BIT, EGL_SURFACE_TYPE, 0, EGL_NONE};
    void *config = NULL;
    int   n = 0;
    if (!the_egl.eglBindAPI(EGL_OPENGL_API)) return NULL;
    void *context = the_egl.eglCreateContext(display, NULL, NULL, NULL);
    if (!context && the_egl.eglChooseConfig(display, wanted, &config, 1, &n) && n > 0)
        context = the_egl.eglCreateContext(display, config, NULL, NULL);
    if (!context) return NULL;
    bool works = the_egl.eglMakeCurrent(display, NULL, NULL, context);
    if (works) the_egl.eglMakeCurrent(display, NULL, NULL, NULL);
    if (works) return context;
    the_egl.eglDestroyContext(display, context);
    return NULL;
}

/* Try the GPUs that EGL knows, then Mesa without any. */
static void *egl_find(void *devices[DEVICES_MAX], int n_devices, void **ret_display) {
    void *(*get_display)(unsigned platform, void *native, const int *wanted);
    any_fn found = the_egl.eglGetProcAddress("eglGetPlatformDisplayEXT");
    memcpy(&get_display, &found, sizeof found);
    for (int i = 0; get_display && i <= n_devices; i++) {
        void *display = i < n_devices ? get_display(EGL_PLATFORM_DEVICE, devices[i], NULL)
                                      : get_display(EGL_PLATFORM_SURFACELESS, NULL, NULL);
        if (!display || !the_egl.eglInitialize(display, NULL, NULL)) continue;
        void *context = egl_context(display);
        if (!context) continue;
        *ret_display = display;
        return context;
    }
    return NULL;
}

static bool egl_open(char *why, size_t why_size) {
    static const char *const libraries[] = {"libEGL.so.1"};
    static const char *const names[] = {"eglGetProcAddress", "eglInitialize",    "eglBindAPI",     "eglChooseConfig",
                                        "eglCreateContext",  "eglDestroyContext", "eglMakeCurrent", "eglGetError"};
    if (egl_handle) return true;
    void *handle = open_library(libraries, 1, why, why_size);
    if (!handle) return false;
    if (!look_up(handle, names, SK_COUNT(names), &the_egl)) {
        snprintf(why, why_size, "libEGL.so.1 is too old");
        dlclose(handle);
        return false;
    }
    egl_handle = handle;
    return true;
}

static void *egl_create(void **ret_display, char *why, size_t why_size) {
    void *devices[DEVICES_MAX];
    int   n = 0;
    if (!egl_open(why, why_size)) return NULL;
    void *context = NULL;
    if (egl_display) {
        context = egl_context(egl_display);
    } else {
        unsigned (*query)(int max, void **ret_devices, int *ret_n);
        any_fn found = the_egl.eglGetProcAddress("eglQueryDevicesEXT");
        memcpy(&query, &found, sizeof found);
        if (query && !query(DEVICES_MAX, devices, &n)) n = 0;
        context = egl_find(devices, n, &egl_display);
    }
    *ret_display = egl_display;
    if (context) return context;
    snprintf(why, why_size, "libEGL.so.1 finds no driver with OpenGL (error 0x%x)", (unsigned)the_egl.eglGetError());
    if (!egl_display) { /* MuJoCo must not find it and take its functions for OSMesa's */
        dlclose(egl_handle);
        egl_handle = NULL;
    }
    return NULL;
}

/* ---- OSMesa ---- */

static void *osmesa_create(char *why, size_t why_size) {
    static const char *const libraries[] = {"libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so"};
    static const char *const names[] = {"OSMesaCreateContextExt", "OSMesaDestroyContext", "OSMesaMakeCurrent"};
    if (!osmesa_handle) {
        osmesa_handle = open_library(libraries, SK_COUNT(libraries), why, why_size);
        if (!osmesa_handle) return NULL;
    }
    void *context = NULL;
    if (look_up(osmesa_handle, names, SK_COUNT(names), &the_osmesa))
        context = the_osmesa.OSMesaCreateContextExt(OSMESA_RGBA, DEPTH_BITS, STENCIL_BITS, 0, NULL);
    if (!context) snprintf(why, why_size, "libOSMesa gives no context");
    return context;
}

/* ---- contexts ---- */

static bool open_context(sk_gl *self, char *egl_why, char *osmesa_why, size_t why_size) {
    const char *only = getenv("MUJOCO_GL");
    if (!only || strcmp(only, "osmesa") != 0) self->context = egl_create(&self->display, egl_why, why_size);
    if (self->context) return true;
    self->display = NULL;
    if (!only || strcmp(only, "egl") != 0) self->context = osmesa_create(osmesa_why, why_size);
    return self->context != NULL;
}

sk_status sk__gl_create(sk_gl **ret_gl, sk_error *reterr) {
    char   egl_why[80] = "not tried ($MUJOCO_GL)", osmesa_why[80] = "not tried ($MUJOCO_GL)";
    sk_gl *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "out of memory for an OpenGL context");
    pthread_mutex_lock(&lock);
    bool works = open_context(self, egl_why, osmesa_why, sizeof egl_why);
    pthread_mutex_unlock(&lock);
    if (works) {
        *ret_gl = self;
        return SK_OK;
    }
    free(self);
    return SK_FAIL(reterr, SK_ENOTFOUND,
                   "no OpenGL to draw with: EGL: %s; OSMesa: %s. The Debian packages libegl1 and libgl1-mesa-dri, or "
                   "libosmesa6, bring it without a GPU",
                   egl_why, osmesa_why);
}

void sk__gl_destroy(sk_gl **self_p) {
    if (!self_p || !*self_p) return;
    sk_gl *self = *self_p;
    if (self->display) the_egl.eglDestroyContext(self->display, self->context);
    else the_osmesa.OSMesaDestroyContext(self->context);
    free(self);
    *self_p = NULL;
}

sk_status sk__gl_acquire(sk_gl *self, sk_error *reterr) {
    bool done = self->display
                    ? the_egl.eglBindAPI(EGL_OPENGL_API) &&
                          the_egl.eglMakeCurrent(self->display, NULL, NULL, self->context)
                    : the_osmesa.OSMesaMakeCurrent(self->context, self->buffer, GL_UNSIGNED_BYTE, 4, 4) != 0;
    if (done) return SK_OK;
    return SK_FAIL(reterr, SK_EENV, "the OpenGL context cannot be used (%s)", self->display ? "EGL" : "OSMesa");
}

void sk__gl_release(sk_gl *self) {
    if (self->display) the_egl.eglMakeCurrent(self->display, NULL, NULL, NULL);
    else the_osmesa.OSMesaMakeCurrent(NULL, NULL, 0, 0, 0);
}
