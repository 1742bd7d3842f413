#include "envs/classic/hill.h"
#include "envs/draw.h"

#include <math.h>

static const double X_MIN = -1.2, X_MAX = 0.6;

/* The slope that the car feels is that of sin(3 x); only the picture has this height and scale. */
static double height(double x) { return 0.45 * sin(3.0 * x) + 0.55; }

int sk__hill_render(double x, double x_goal, int *ret_width, int *ret_height, uint8_t *rgb) {
    static const sk_color sky = {255, 255, 255}, ground = {60, 60, 60}, body = {40, 90, 170}, wheel = {110, 110, 110};
    static const sk_color pole = {60, 60, 60}, flag = {205, 160, 0};
    enum { PIECES = 100 };
    if (sk__draw_size_only(ret_width, ret_height, rgb)) return 0;
    double    scale = SK_DRAW_WIDTH / (X_MAX - X_MIN);
    sk_canvas canvas = {.rgb = rgb, .scale = scale, .origin_x = -X_MIN * scale, .origin_y = SK_DRAW_HEIGHT - 10};
    sk__draw_fill(&canvas, sky);
    for (int i = 0; i < PIECES; i++) {
        double x0 = X_MIN + i * (X_MAX - X_MIN) / PIECES, x1 = X_MIN + (i + 1) * (X_MAX - X_MIN) / PIECES;
        sk__draw_line(&canvas, x0, height(x0), x1, height(x1), 0.009, ground);
    }
    double top = height(x_goal) + 0.15;
    sk__draw_line(&canvas, x_goal, height(x_goal), x_goal, top, 0.006, pole);
    sk__draw_rect(&canvas, x_goal, top - 0.04, x_goal + 0.075, top, flag);
    /* The car stands on the ground: everything along the slope's direction and upright to it. */
    double angle = atan(1.35 * cos(3.0 * x)), along_x = cos(angle), along_y = sin(angle), y = height(x);
    double half = 0.045, up = 0.045;
    sk__draw_line(&canvas, x - half * along_x - up * along_y, y - half * along_y + up * along_x,
                  x + half * along_x - up * along_y, y + half * along_y + up * along_x, 0.05, body);
    for (int side = -1; side <= 1; side += 2)
        sk__draw_disc(&canvas, x + side * half * along_x - 0.02 * along_y, y + side * half * along_y + 0.02 * along_x,
                      0.02, wheel);
    return 0;
}
