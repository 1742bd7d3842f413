/* hill: the picture of both mountain cars. Threads: free of state. */
#ifndef SK_ENVS_CLASSIC_HILL_H
#define SK_ENVS_CLASSIC_HILL_H
#include <stdint.h>

/* As sk_env_api.render: the valley from -1.2 to 0.6, the car at x, a flag at x_goal. Returns 0. */
int sk__hill_render(double x, double x_goal, int *ret_width, int *ret_height, uint8_t *rgb);

#endif
