/* vec_internal: the inside of sk_vec, shared by vec.c (lifecycle, state) and vec_step.c (the step). */
#ifndef SK_RL_VEC_INTERNAL_H
#define SK_RL_VEC_INTERNAL_H
#include "core/base/arena.h"
#include "rl/vec.h"

struct sk_vec {
    sk_vec_params     params;
    const sk_env_api *api;
    sk_env_info       info;
    void             *impl; /* the instance, the environment's own */
    int               n_rows;
    bool              was_reset;
    sk_arena         *arena;

    /* by environment */
    int32_t *age;            /* (E) steps in the present episode            */
    int32_t *invalid_streak; /* (E) dropped episodes since the last valid one */
    int64_t *n_invalid;      /* (E) dropped episodes                        */
    int64_t *episode;        /* (E) episodes before the present one         */

    /* by row */
    double  *ret;            /* (R) sum of rewards in the present episode   */
    uint8_t *acting;         /* (R) acts in the next step                   */
    uint8_t *ended;          /* (R) has ended, its environment goes on      */
    double  *metric_sum;     /* (R x M)                                     */

    /* of the present step */
    sk_env_slot  *action;    /* (R x S) clipped; only with box parts        */
    uint8_t      *active, *failed; /* (R)                                   */
    float        *metrics;   /* (R x M)                                     */
    sk_vec_event *events;    /* (R)                                         */
    double       *event_metrics; /* (R x M)                                 */
    int           n_events;
};

/* Start env's next episode: first observation into obs (A x O), masks into mask (A x K or NULL). */
SK_NODISCARD sk_status sk__vec_reset_env(sk_vec *self, int env, bool first, float *obs, uint8_t *mask,
                                         sk_error *reterr);

#endif
