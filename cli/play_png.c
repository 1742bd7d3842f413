#include "cli/play.h"

#include <errno.h>
#include <png.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* libpng must not return from here. */
static void on_error(png_structp png, png_const_charp text) {
    char *message = png_get_error_ptr(png);
    snprintf(message, 128, "%s", text);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text) {
    (void)png;
    (void)text; /* none concerns a picture like these */
}

/* 0, or -1 and a text. */
static int encode(FILE *file, int width, int height, const uint8_t *rgb, char message[128]) {
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, message, on_error, on_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info) {
        png_destroy_write_struct(&png, NULL);
        strcpy(message, "out of memory");
        return -1;
    }
    if (setjmp(png_jmpbuf(png))) {
        png_destroy_write_struct(&png, &info);
        return -1;
    }
    png_init_io(png, file);
    png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (int y = 0; y < height; y++) png_write_row(png, rgb + (size_t)y * (size_t)width * 3);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    return 0;
}

sk_status sk_png_write(const char *path, int width, int height, const uint8_t *rgb, sk_error *reterr) {
    char  message[128] = "";
    FILE *file = fopen(path, "wbe");
    if (!file) return SK_FAIL(reterr, SK_EIO, "%s: cannot be written: %s", path, strerror(errno));
    errno = 0;
    int  rc = encode(file, width, height, rgb, message);
    int  why = errno;
    bool closed = fclose(file) == 0;
    if (rc == 0 && closed) return SK_OK;
    if (rc == 0 || why) snprintf(message, sizeof message, "%s", strerror(rc == 0 ? errno : why));
    return SK_FAIL(reterr, SK_EIO, "%s: cannot be written: %s", path, message);
}
