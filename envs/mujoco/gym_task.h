/* gym_task: what sets Gymnasium's eleven MuJoCo environments apart, one table row each (gym_tasks.c). gym_env.c runs
 * them. Internal to both. */
#ifndef SK_ENVS_GYM_TASK_H
#define SK_ENVS_GYM_TASK_H
#include "core/base/rng.h"
#include "envs/mujoco/mujoco_lib.h"
#include "skiff/env.h"

enum { SK_GYM_PIECES_MAX = 6, SK_GYM_BODIES_MAX = 3 };

/* A simulation as the reward functions see it, just stepped. */
typedef struct sk_gym_sim {
    const mjModel *m;
    mjData        *d;
    double         dt_s;                     /* of one step: timestep x frame_skip       */
    int            body[SK_GYM_BODIES_MAX];  /* ids of the task's bodies                 */
} sk_gym_sim;

typedef enum sk_gym_source {
    SK_GYM_QPOS, SK_GYM_COS_QPOS, SK_GYM_SIN_QPOS, SK_GYM_QVEL, SK_GYM_CINERT, SK_GYM_CVEL, SK_GYM_QFRC_ACTUATOR,
    SK_GYM_QFRC_CONSTRAINT, SK_GYM_CFRC_EXT,
    SK_GYM_XPOS,                             /* of body[first]                           */
    SK_GYM_XPOS_DIFF                         /* of body[first] from body[first + 1]      */
} sk_gym_source;

/* `n` numbers of the observation: elements `first`... of a field of mjData. */
typedef struct sk_gym_piece {
    sk_gym_source source;
    int           first, n;
    double        clip;                      /* to +-clip; 0 = not                       */
} sk_gym_piece;

/* What mjData must hold for the observation after a reset, beyond the state. */
typedef enum sk_gym_stage {
    SK_GYM_STATE,      /* nothing                                                                              */
    SK_GYM_KINEMATICS, /* positions, com-based inertias and velocities                                         */
    SK_GYM_FORWARD     /* all of mj_forward                                                                    */
} sk_gym_stage;

typedef struct sk_gym_task {
    const char  *name, *file;
    int          frame_skip, max_episode_steps;
    int          nq, nv, nu;                 /* of the model                             */
    float        action_bound;               /* +-, every actuator                       */
    const char  *bodies[SK_GYM_BODIES_MAX];
    sk_gym_piece obs[SK_GYM_PIECES_MAX];     /* n 0 ends it                              */
    sk_gym_stage reset_stage;
    bool         uses_contact_forces;        /* cfrc_ext, which needs mj_rnePostConstraint */
    double       noise;                      /* of qpos: uniform in +-noise              */
    bool         normal_speed;               /* qvel: noise x N(0, 1), else as qpos      */
    /* Instead of that noise: write qpos (which holds qpos0) and qvel (zeros). Nullable. */
    void (*place)(const mjModel *m, sk_pcg64 *rng, double *qpos, double *qvel);
    /* The coordinate whose rate is rewarded [m]; kept from step to step. Nullable. */
    double (*coordinate)(const sk_gym_sim *sim);
    /* The reward; `rate` is that of the coordinate [m/s]. May set *terminated (0 on entry). */
    double (*reward)(const sk_gym_sim *sim, const float *action, double rate, bool *terminated);
} sk_gym_task;

/* describe and create of a task; everything else is the same for all. */
int sk__gym_describe(const sk_gym_task *task, const sk_env_config *config, sk_env_spec *spec, char *err,
                     size_t err_size);
int sk__gym_create(const sk_gym_task *task, const sk_env_config *config, int n_envs, void **ret_self, char *err,
                   size_t err_size);
void        sk__gym_destroy(void *self);
int         sk__gym_reset(void *self, int env, const uint64_t *seed, void *obs, uint8_t *mask);
int         sk__gym_step(void *self, int first, int count, const sk_env_io *io);
size_t      sk__gym_state_size(void *self);
int         sk__gym_state_save(void *self, int env, void *bytes);
int         sk__gym_state_load(void *self, int env, const void *bytes);
int         sk__gym_render(void *self, int env, int *width, int *height, uint8_t *rgb);
const char *sk__gym_last_error(void *self);

#endif
