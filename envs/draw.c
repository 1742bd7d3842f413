/* Every pixel gets the share of the colour that the shape covers of it. For lines and discs that share is taken from
 * the distance of the pixel's centre to the edge: wholly inside from half a pixel on. */
#include "envs/draw.h"

#include <math.h>
#include <stddef.h>

int sk__draw_size_only(int *ret_width, int *ret_height, const uint8_t *rgb) {
    *ret_width = SK_DRAW_WIDTH;
    *ret_height = SK_DRAW_HEIGHT;
    return rgb == NULL;
}

void sk__draw_fill(const sk_canvas *self, sk_color color) {
    for (ptrdiff_t i = 0; i < SK_DRAW_WIDTH * SK_DRAW_HEIGHT; i++) {
        self->rgb[3 * i + 0] = color.r;
        self->rgb[3 * i + 1] = color.g;
        self->rgb[3 * i + 2] = color.b;
    }
}

static double clip(double x, double low, double high) { return x < low ? low : x > high ? high : x; }

static uint8_t mix(uint8_t under, uint8_t over, double share) {
    return (uint8_t)(under + (over - under) * share + 0.5);
}

static void blend(const sk_canvas *self, int px, int py, sk_color color, double share) {
    uint8_t *at = self->rgb + 3 * ((ptrdiff_t)py * SK_DRAW_WIDTH + px);
    at[0] = mix(at[0], color.r, share);
    at[1] = mix(at[1], color.g, share);
    at[2] = mix(at[2], color.b, share);
}

/* World to pixels; what is far outside, or no number, is taken to the picture's surroundings. */
static double pixel_x(const sk_canvas *self, double x) {
    x = self->origin_x + x * self->scale;
    return x == x ? clip(x, -SK_DRAW_WIDTH, 2.0 * SK_DRAW_WIDTH) : -SK_DRAW_WIDTH;
}
static double pixel_y(const sk_canvas *self, double y) {
    y = self->origin_y - y * self->scale;
    return y == y ? clip(y, -SK_DRAW_HEIGHT, 2.0 * SK_DRAW_HEIGHT) : -SK_DRAW_HEIGHT;
}

/* The pixels [first, *ret_end) that [low, high] touches. */
static int pixels(double low, double high, int size, int *ret_end) {
    *ret_end = (int)clip(ceil(high), 0, size);
    return (int)clip(floor(low), 0, size);
}

void sk__draw_line(const sk_canvas *self, double x0, double y0, double x1, double y1, double width, sk_color color) {
    x0 = pixel_x(self, x0);
    x1 = pixel_x(self, x1);
    y0 = pixel_y(self, y0);
    y1 = pixel_y(self, y1);
    double radius = width * self->scale / 2, reach = radius + 1, dx = x1 - x0, dy = y1 - y0, square = dx * dx + dy * dy;
    int    end_x, end_y;
    int    first_x = pixels(fmin(x0, x1) - reach, fmax(x0, x1) + reach, SK_DRAW_WIDTH, &end_x);
    int    first_y = pixels(fmin(y0, y1) - reach, fmax(y0, y1) + reach, SK_DRAW_HEIGHT, &end_y);
    for (int py = first_y; py < end_y; py++) {
        for (int px = first_x; px < end_x; px++) {
            /* The nearest point of the line, as its share of the way from one end to the other. */
            double at_x = px + 0.5 - x0, at_y = py + 0.5 - y0;
            double way = square > 0 ? clip((at_x * dx + at_y * dy) / square, 0, 1) : 0;
            double off_x = at_x - way * dx, off_y = at_y - way * dy;
            double share = clip(radius + 0.5 - sqrt(off_x * off_x + off_y * off_y), 0, 1);
            if (share > 0) blend(self, px, py, color, share);
        }
    }
}

void sk__draw_disc(const sk_canvas *self, double x, double y, double radius, sk_color color) {
    sk__draw_line(self, x, y, x, y, 2 * radius, color);
}

/* How much of pixel number `at` lies within [low, high]. */
static double overlap(int at, double low, double high) {
    return clip(fmin(high, at + 1) - fmax(low, at), 0, 1);
}

void sk__draw_rect(const sk_canvas *self, double x0, double y0, double x1, double y1, sk_color color) {
    double left = pixel_x(self, x0), right = pixel_x(self, x1), top = pixel_y(self, y1), bottom = pixel_y(self, y0);
    int    end_x, end_y, first_x = pixels(left, right, SK_DRAW_WIDTH, &end_x);
    int    first_y = pixels(top, bottom, SK_DRAW_HEIGHT, &end_y);
    for (int py = first_y; py < end_y; py++)
        for (int px = first_x; px < end_x; px++)
            blend(self, px, py, color, overlap(px, left, right) * overlap(py, top, bottom));
}
