/* play: what `skiff play` writes its pictures to: an MP4 file, by way of ffmpeg, or a folder of PNG files.
 *
 *   play_film.c   where the pictures go, and that nothing half done stays
 *   play_ffmpeg.c the process that makes an MP4 of them
 *   play_png.c    one picture as a file
 *
 * Pictures are (height x width x 3) bytes RGB, rows from the top. SIGPIPE must be ignored. Threads: one. */
#ifndef SK_CLI_PLAY_H
#define SK_CLI_PLAY_H
#include "core/base/status.h"
#include <stddef.h>
#include <stdint.h>

typedef struct sk_film sk_film;

/* Is `out` something a film can be written to, by its name: *.mp4, or the name of a folder? SK_EINVAL: a file name of
 * another kind. */
SK_NODISCARD sk_status sk_film_check_name(const char *out, sk_error *reterr);

/* Open `out` for pictures of that size: FILE.mp4 is written under another name and replaced only by finish; a folder is
 * made, or there and empty. SK_EINVAL: it cannot be that. SK_EIO: it cannot be written. SK_ENOTFOUND: there is no
 * ffmpeg. Caller destroys. */
SK_NODISCARD sk_status sk_film_create(const char *out, int width, int height, double fps, sk_film **ret_film,
                                      sk_error *reterr);
/* SK_EIO, with what ffmpeg or the file system says. */
SK_NODISCARD sk_status sk_film_add(sk_film *self, const uint8_t *rgb, sk_error *reterr);
/* What was written so far is all, and stays. SK_EIO. */
SK_NODISCARD sk_status sk_film_finish(sk_film *self, sk_error *reterr);
/* Without finish, or if it failed: everything that was written is removed. NULL and already-null are fine. */
void sk_film_destroy(sk_film **self_p);

/* ffmpeg, reading pictures from a pipe. */
typedef struct sk_ffmpeg {
    int pid, pipe, log; /* 0, -1 and -1: none */
} sk_ffmpeg;

/* SK_ENOTFOUND: it is not installed. SK_EIO. */
SK_NODISCARD sk_status sk_ffmpeg_start(sk_ffmpeg *self, const char *path, int width, int height, double fps,
                                       sk_error *reterr);
SK_NODISCARD sk_status sk_ffmpeg_write(sk_ffmpeg *self, const uint8_t *bytes, size_t size, sk_error *reterr);
/* No more pictures: wait until the file is complete. SK_EIO with its own words. */
SK_NODISCARD sk_status sk_ffmpeg_stop(sk_ffmpeg *self, sk_error *reterr);
/* End it at once. Fine where there is none. */
void sk_ffmpeg_kill(sk_ffmpeg *self);

/* SK_EIO, SK_ENOMEM. What a failure leaves is the caller's to remove. */
SK_NODISCARD sk_status sk_png_write(const char *path, int width, int height, const uint8_t *rgb, sk_error *reterr);

#endif
