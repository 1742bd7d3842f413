/* user_robot: the config of a robot, read and compiled: what it sees, what it is paid for, when it has fallen. Internal
 * to user_*.c. Threads: made by one thread, then constant. */
#ifndef SK_ENVS_USER_ROBOT_H
#define SK_ENVS_USER_ROBOT_H
#include "envs/mujoco/user_names.h"
#include "skiff/env.h"

enum { SK_ROBOT_ITEMS_MAX = SK_ENV_FIELDS_MAX };

/* The items of one list (observation, reward or terminate). */
typedef struct sk_robot_list {
    int           n;
    sk_expr_place place[SK_ROBOT_ITEMS_MAX];
    char          name[SK_ROBOT_ITEMS_MAX][SK_ENV_NAME_MAX]; /* the label, or the text itself; reward: "reward_0"   */
} sk_robot_list;

typedef struct sk_robot {
    sk_mujoco_model *model;
    sk_robot_names   names;
    sk_expr         *expr;       /* all lists together                                    */
    sk_robot_list    observation, reward, terminate;
    int              obs_dim, nu;
    int              frame_skip;
    int              keyframe;   /* -1: none                                              */
    double           dt;         /* of an env step [s]                                    */
    double          *qpos_noise; /* (nq) uniform, plus or minus; qvel_noise lies behind   */
    double          *qvel_noise; /* (nv)                                                  */
    int              render_width, render_height; /* of its pictures                      */
    const float     *action_low, *action_high; /* (nu) kept for the life of the program   */
} sk_robot;

/* Load the model and compile the config. SK_ENOTFOUND, SK_ECONFIG, SK_ENOMEM, SK_EVERSION. Caller deinits, also after a
 * failure. */
SK_NODISCARD sk_status sk__robot_init(sk_robot *self, const sk_env_config *config, sk_error *reterr);
void                   sk__robot_deinit(sk_robot *self);

#endif
