#include "cli/play.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

struct sk_film {
    char      out[4096], part[4096 + 8]; /* part: what an MP4 is called before it is complete; "" = a folder */
    int       width, height;
    int64_t   n;         /* pictures so far                                                       */
    bool      owns_part, owns_folder, finished;
    sk_ffmpeg ffmpeg;
};

static bool is_mp4(const char *out) {
    const char *dot = strrchr(out, '.');
    return dot && strcasecmp(dot, ".mp4") == 0;
}

sk_status sk_film_check_name(const char *out, sk_error *reterr) {
    static const char *const others[] = {".avi", ".gif",  ".jpeg", ".jpg", ".m4v",  ".mkv", ".mov",
                                         ".mpg", ".mpeg", ".ogv",  ".png", ".webm", ".webp"};
    const char *dot = strrchr(out, '.');
    if (!out[0]) return SK_FAIL(reterr, SK_EINVAL, "--out is empty, wanted FILE.mp4 or the name of a folder");
    if (strlen(out) >= sizeof ((sk_film *)0)->out) return SK_FAIL(reterr, SK_EINVAL, "--out: the name is too long");
    for (int i = 0; dot && i < SK_COUNT(others); i++)
        if (strcasecmp(dot, others[i]) == 0)
            return SK_FAIL(reterr, SK_EINVAL, "--out %s: wanted FILE.mp4, or the name of a folder for PNG files", out);
    return SK_OK;
}

/* ---- a folder ---- */

static sk_status open_folder(sk_film *self, sk_error *reterr) {
    if (mkdir(self->out, 0777) == 0) {
        self->owns_folder = true;
        return SK_OK;
    }
    if (errno != EEXIST) return SK_FAIL(reterr, SK_EIO, "folder %s: cannot be made: %s", self->out, strerror(errno));
    DIR *dir = opendir(self->out);
    if (!dir) return SK_FAIL(reterr, SK_EINVAL, "--out %s: %s", self->out, strerror(errno));
    int n = 0;
    for (struct dirent *e; (e = readdir(dir));) n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(dir);
    if (n > 0) return SK_FAIL(reterr, SK_EINVAL, "--out %s: the folder is there and not empty", self->out);
    if (access(self->out, W_OK) != 0) return SK_FAIL(reterr, SK_EIO, "folder %s: %s", self->out, strerror(errno));
    return SK_OK;
}

static void frame_path(const sk_film *self, int64_t number, char *ret_path, size_t size) {
    snprintf(ret_path, size, "%s/frame-%06lld.png", self->out, (long long)number);
}

/* ---- an MP4 ---- */

static sk_status open_mp4(sk_film *self, double fps, sk_error *reterr) {
    struct stat st;
    if (stat(self->out, &st) == 0 && S_ISDIR(st.st_mode))
        return SK_FAIL(reterr, SK_EINVAL, "--out %s: it is a folder, wanted a file name", self->out);
    snprintf(self->part, sizeof self->part, "%s.part", self->out);
    int fd = open(self->part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return SK_FAIL(reterr, SK_EIO, "%s: cannot be written: %s", self->part, strerror(errno));
    close(fd);
    self->owns_part = true;
    return sk_ffmpeg_start(&self->ffmpeg, self->part, self->width, self->height, fps, reterr);
}

/* ---- both ---- */

sk_status sk_film_create(const char *out, int width, int height, double fps, sk_film **ret_film, sk_error *reterr) {
    SK_TRY(sk_film_check_name(out, reterr));
    sk_film *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "out of memory for a film");
    self->width = width;
    self->height = height;
    self->ffmpeg = (sk_ffmpeg){.pipe = -1, .log = -1};
    strcpy(self->out, out);
    sk_status status = is_mp4(out) ? open_mp4(self, fps, reterr) : open_folder(self, reterr);
    if (status != SK_OK) {
        sk_film_destroy(&self);
        return status;
    }
    *ret_film = self;
    return SK_OK;
}

sk_status sk_film_add(sk_film *self, const uint8_t *rgb, sk_error *reterr) {
    char path[4096 + 32];
    self->n++;
    if (self->part[0])
        return sk_ffmpeg_write(&self->ffmpeg, rgb, (size_t)self->width * (size_t)self->height * 3, reterr);
    frame_path(self, self->n, path, sizeof path);
    return sk_png_write(path, self->width, self->height, rgb, reterr);
}

sk_status sk_film_finish(sk_film *self, sk_error *reterr) {
    if (self->part[0]) {
        SK_TRY(sk_ffmpeg_stop(&self->ffmpeg, reterr));
        if (rename(self->part, self->out) != 0)
            return SK_FAIL(reterr, SK_EIO, "%s: cannot be written: %s", self->out, strerror(errno));
    }
    self->finished = true;
    return SK_OK;
}

/* What cannot be removed stays; the failure that led here has been told. */
static void remove_all(const sk_film *self) {
    char path[4096 + 32];
    if (self->owns_part) unlink(self->part);
    for (int64_t i = 1; !self->part[0] && i <= self->n; i++) {
        frame_path(self, i, path, sizeof path);
        unlink(path);
    }
    if (self->owns_folder) rmdir(self->out);
}

void sk_film_destroy(sk_film **self_p) {
    if (!self_p || !*self_p) return;
    sk_ffmpeg_kill(&(*self_p)->ffmpeg);
    if (!(*self_p)->finished) remove_all(*self_p);
    free(*self_p);
    *self_p = NULL;
}
