/* draw: anti-aliased lines, discs and rectangles in memory, for environments that are simple enough to be shown so. No
 * window, no graphics library; the same calls give the same bytes.
 *
 * Coordinates are the environment's own, y upwards: the world's origin lies at pixel (origin_x, origin_y), counted from
 * the upper left corner of the picture, and `scale` pixels are one unit. Widths and radii are in units too.
 * Threads: free of state. */
#ifndef SK_ENVS_DRAW_H
#define SK_ENVS_DRAW_H
#include <stdint.h>

enum { SK_DRAW_WIDTH = 600, SK_DRAW_HEIGHT = 400 }; /* of every picture [pixels] */

typedef struct sk_color {
    uint8_t r, g, b;
} sk_color;

typedef struct sk_canvas {
    uint8_t *rgb; /* (SK_DRAW_HEIGHT x SK_DRAW_WIDTH x 3) borrowed */
    double   scale, origin_x, origin_y;
} sk_canvas;

/* What env->render does first: tell the size; 1 = that was all (rgb is NULL). */
int sk__draw_size_only(int *ret_width, int *ret_height, const uint8_t *rgb);

void sk__draw_fill(const sk_canvas *self, sk_color color);
/* A line with round ends. Both ends the same point: a disc. */
void sk__draw_line(const sk_canvas *self, double x0, double y0, double x1, double y1, double width, sk_color color);
void sk__draw_disc(const sk_canvas *self, double x, double y, double radius, sk_color color);
/* From the lower left to the upper right corner. */
void sk__draw_rect(const sk_canvas *self, double x0, double y0, double x1, double y1, sk_color color);

#endif
