/* user_names: what the names in the expressions of a robot mean: places in the arrays of an mjData. Internal to
 * user_*.c. Threads: one owner. */
#ifndef SK_ENVS_USER_NAMES_H
#define SK_ENVS_USER_NAMES_H
#include "envs/mujoco/expression.h"
#include "envs/mujoco/mujoco_lib.h"

/* The arrays that places are in (sk_expr_place.base). */
typedef enum sk_robot_base {
    SK_ROBOT_MEMORY = SK_EXPR_MEMORY,
    SK_ROBOT_QPOS, SK_ROBOT_QVEL, SK_ROBOT_QACC, SK_ROBOT_CTRL, SK_ROBOT_ACT, SK_ROBOT_TIME, SK_ROBOT_SENSORDATA,
    SK_ROBOT_XPOS, SK_ROBOT_XQUAT, SK_ROBOT_XMAT, SK_ROBOT_CVEL, SK_ROBOT_COM, SK_ROBOT_CFRC,
    SK_ROBOT_SITE_XPOS, SK_ROBOT_SITE_XMAT, SK_ROBOT_GEOM_XPOS, SK_ROBOT_GEOM_XMAT,
    SK_ROBOT_FORCE, SK_ROBOT_TENDON_LENGTH, SK_ROBOT_TENDON_VELOCITY,
    SK_ROBOT_ACTION,   /* (nu) of this step; not of mjData                     */
    SK_ROBOT_DT,       /* (1)                                                  */
    SK_ROBOT_VELOCITY, /* (n_velocities x 6) of the objects in `velocity`      */
    SK_ROBOT_N_BASES
} sk_robot_base;

enum { SK_ROBOT_VELOCITIES_MAX = 64 };

typedef struct sk_robot_names {
    const sk_mujoco_model *model;
    const char            *file;         /* for messages: the model's file without its folder */

    /* what names were used */
    bool uses_cfrc;                      /* mj_rnePostConstraint is needed                    */
    int  n_velocities;
    struct {
        int type, id;                    /* of mj_objectVelocity                              */
    } velocity[SK_ROBOT_VELOCITIES_MAX];
} sk_robot_names;

/* The scope for sk_expr_add. `self` is written to when names are found. */
sk_expr_scope sk__robot_scope(sk_robot_names *self);

/* The id of an object, or a message with the nearest name. `type` is an mjtObj, `kind` its word. SK_ENOTFOUND. */
SK_NODISCARD sk_status sk__robot_find(const sk_robot_names *self, int type, const char *kind, const char *name,
                                      int *ret_id, sk_error *reterr);

/* The addresses of all these arrays; NULL stays for those that are not mjData's. */
void sk__robot_bases(mjData *data, double *ret_bases[SK_ROBOT_N_BASES]);

#endif
