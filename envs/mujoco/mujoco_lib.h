/* mujoco_lib: MuJoCo, loaded when it is first needed, and its models, shared by all instances of a process.
 *
 * The library is opened with dlopen from `mujoco_dir` of the build (default .cache/mujoco, which fetch.py fills) or
 * from $SKIFF_MUJOCO_DIR; it must have the version of the headers. A folder holds
 *     lib/libmujoco.so.<version>   include/mujoco/...   models/....xml
 * It prints nothing and writes no MUJOCO_LOG.TXT: a handler takes all its messages from before the first call on.
 *
 * Fatal errors: MuJoCo's mju_error must not return. Calls that can end in one go through sk__mujoco_guard_enter, which
 * makes them come back as a failure; outside of a guard such an error ends the process as a failed assertion does.
 *
 * Only files that are built with MuJoCo's headers include this. Threads: all functions may be called by any. */
#ifndef SK_ENVS_MUJOCO_LIB_H
#define SK_ENVS_MUJOCO_LIB_H
#include "core/base/status.h"
#include <mujoco/mujoco.h>
#include <setjmp.h>
#include <stdbool.h>

#if mjVERSION_HEADER < 4000000
#error "the MuJoCo headers in mujoco_dir are older than 4.0.0"
#endif

/* The functions that are used, by their own names: lib->mj_step(model, data). */
#define SK_MUJOCO_FUNCTIONS(X)                                                                                        \
    X(mj_loadXML) X(mj_freeLastXML) X(mj_deleteModel) X(mj_makeData) X(mj_deleteData) X(mj_copyData) X(mj_resetData)  \
    X(mj_step) X(mj_step1) X(mj_step2) X(mj_forward) X(mj_kinematics) X(mj_comPos) X(mj_comVel)                       \
    X(mj_fwdPosition) X(mj_fwdVelocity) X(mj_rnePostConstraint) X(mj_subtreeVel)                                      \
    X(mj_stateSize) X(mj_getState) X(mj_setState) X(mj_name2id) X(mj_id2name)                                         \
    X(mj_resetDataKeyframe) X(mj_objectVelocity) X(mj_contactForce) X(mj_versionString)                               \
    X(mju_warningText) X(mju_setLogHandler)

typedef struct sk_mujoco_lib {
#define SK_MUJOCO_FIELD(name) __typeof__(&name) name;
    SK_MUJOCO_FUNCTIONS(SK_MUJOCO_FIELD)
#undef SK_MUJOCO_FIELD
    char dir[4000];  /* the folder it came from */
    char path[4096]; /* of the library          */
} sk_mujoco_lib;

/* The one library of this process; loaded by the first call, never unloaded. Borrowed for ever. SK_ENOTFOUND (says how
 * to get it), SK_EVERSION. A failure is not remembered: the next call tries again. */
SK_NODISCARD sk_status sk__mujoco_lib_get(const sk_mujoco_lib **ret_lib, sk_error *reterr);

/* Look up something that is not in the table above (mjv_, mjr_), in the loaded library. SK_ENOTFOUND. */
SK_NODISCARD sk_status sk__mujoco_lib_symbol(const char *name, void **ret_symbol, sk_error *reterr);

/* path = where the model file `name` lies: as it is if it has a '/', else in the folder's models/. SK_ENOTFOUND if
 * there is no such file. */
SK_NODISCARD sk_status sk__mujoco_model_path(const char *name, char *path, size_t path_size, sk_error *reterr);

/* A model: loaded once per path, the same for all who open it, and never changed. It is kept for the next who opens the
 * path until the file is found to have changed (the file itself, not those that it includes). */
typedef struct sk_mujoco_model {
    const mjModel       *m;
    const sk_mujoco_lib *lib;
    const char          *path;
} sk_mujoco_model;

/* Open the model file (MJCF) of that path; loads the library if need be. Caller releases. SK_ENOTFOUND: no such file.
 * SK_ECONFIG: MuJoCo refuses it; the message has its text, with the line. SK_ENOMEM. */
SK_NODISCARD sk_status sk__mujoco_model_open(const char *path, sk_mujoco_model **ret_model, sk_error *reterr);
/* Give it back and null *self_p. NULL is fine. */
void sk__mujoco_model_release(sk_mujoco_model **self_p);
/* A simulation of that model (mj_makeData). SK_ENOMEM, SK_EENV. Caller destroys with lib->mj_deleteData. */
SK_NODISCARD sk_status sk__mujoco_data_create(const sk_mujoco_model *model, mjData **ret_data, sk_error *reterr);

/* ---- fatal errors ----
 *     sk_mujoco_guard guard;
 *     sk__mujoco_guard_enter(&guard);
 *     if (_setjmp(guard.back) == 0) { lib->mj_step(m, d); ... }   // no return, break or goto out of here
 *     else { what failed: guard.text }
 *     sk__mujoco_guard_leave(&guard);
 * Guards nest, within a thread. After an error the mjData must be reset (mj_resetData) before its next use. Locals that
 * are changed inside and read after an error must be volatile. */
typedef struct sk_mujoco_guard {
    jmp_buf                 back;
    struct sk_mujoco_guard *outer;
    char                    text[256]; /* the fatal error, or the last warning inside; "" if none */
} sk_mujoco_guard;

void sk__mujoco_guard_enter(sk_mujoco_guard *guard);
void sk__mujoco_guard_leave(sk_mujoco_guard *guard);

/* ---- simulations that went wrong ----
 * MuJoCo resets a simulation with bad numbers by itself and goes on. Call this after each mj_step: true if the step was
 * good; else false with a text (which warning, where). A full list of contacts or constraints counts too. The counters
 * are then cleared, so that the next episode starts clean. */
bool sk__mujoco_step_was_good(const sk_mujoco_model *model, mjData *data, char *text, size_t text_size);

#endif
