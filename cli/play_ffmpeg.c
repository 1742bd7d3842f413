#include "cli/play.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* The last line that ffmpeg said, or "". */
static void last_words(const sk_ffmpeg *self, char *ret_text, size_t size) {
    ret_text[0] = '\0';
    off_t end = lseek(self->log, 0, SEEK_END), want = (off_t)size - 1;
    if (end <= 0) return;
    ssize_t n = pread(self->log, ret_text, size - 1, end > want ? end - want : 0);
    ret_text[n > 0 ? n : 0] = '\0';
    while (n > 0 && (ret_text[n - 1] == '\n' || ret_text[n - 1] == '\r')) ret_text[--n] = '\0';
    const char *line = strrchr(ret_text, '\n');
    if (line) memmove(ret_text, line + 1, strlen(line + 1) + 1);
}

static void close_files(sk_ffmpeg *self) {
    if (self->pipe >= 0) close(self->pipe);
    if (self->log >= 0) close(self->log);
    *self = (sk_ffmpeg){.pipe = -1, .log = -1};
}

/* Its input is the pipe, what it says goes into a file in memory. It has a process group of its own, so that Ctrl-C at
 * the terminal ends the playing and lets it complete the file. */
static int spawn(sk_ffmpeg *self, int input, char *const argv[]) {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t          attributes;
    sigset_t                   as_usual;
    pid_t                      pid = 0;
    sigemptyset(&as_usual);
    sigaddset(&as_usual, SIGPIPE); /* ignored here, and that would be inherited */
    sigaddset(&as_usual, SIGXFSZ);
    int rc = posix_spawn_file_actions_init(&files);
    if (rc) return rc;
    rc = posix_spawnattr_init(&attributes);
    if (!rc) {
        rc = posix_spawn_file_actions_adddup2(&files, input, 0);
        if (!rc) rc = posix_spawn_file_actions_adddup2(&files, self->log, 1);
        if (!rc) rc = posix_spawn_file_actions_adddup2(&files, self->log, 2);
        if (!rc) rc = posix_spawnattr_setsigdefault(&attributes, &as_usual);
        if (!rc) rc = posix_spawnattr_setpgroup(&attributes, 0);
        if (!rc) rc = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
        if (!rc) rc = posix_spawnp(&pid, argv[0], &files, &attributes, argv, environ);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&files);
    self->pid = rc ? 0 : (int)pid;
    return rc;
}

/* H.264 wants even sides and most players want 4:2:0: an odd side gets a black line. */
static int spawn_encoder(sk_ffmpeg *self, int input, const char *path, int width, int height, double fps) {
    char size[32], rate[32], file[4096 + 8];
    snprintf(size, sizeof size, "%dx%d", width, height);
    snprintf(rate, sizeof rate, "%.6g", fps);
    snprintf(file, sizeof file, "file:%s", path);
    const char *const argv[] = {"ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-y", "-f", "rawvideo",
                                "-pixel_format", "rgb24", "-video_size", size, "-framerate", rate, "-i", "pipe:0",
                                "-an", "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p",
                                "-movflags", "+faststart", "-f", "mp4", file, NULL};
    char *words[sizeof argv / sizeof argv[0]];
    memcpy(words, argv, sizeof argv); /* posix_spawn changes none of them */
    return spawn(self, input, words);
}

sk_status sk_ffmpeg_start(sk_ffmpeg *self, const char *path, int width, int height, double fps, sk_error *reterr) {
    int ends[2];
    *self = (sk_ffmpeg){.pipe = -1, .log = -1};
    if (pipe2(ends, O_CLOEXEC) != 0) return SK_FAIL(reterr, SK_EIO, "a pipe to ffmpeg: %s", strerror(errno));
    self->pipe = ends[1];
    self->log = memfd_create("skiff-ffmpeg", MFD_CLOEXEC);
    int rc = self->log < 0 ? errno : spawn_encoder(self, ends[0], path, width, height, fps);
    close(ends[0]);
    if (rc == 0) return SK_OK;
    close_files(self);
    if (rc == ENOENT)
        return SK_FAIL(reterr, SK_ENOTFOUND,
                       "ffmpeg, which writes MP4 files, is not installed (Debian: ffmpeg); --out FOLDER writes PNG "
                       "files without it");
    return SK_FAIL(reterr, SK_EIO, "ffmpeg cannot be started: %s", strerror(rc));
}

sk_status sk_ffmpeg_write(sk_ffmpeg *self, const uint8_t *bytes, size_t size, sk_error *reterr) {
    while (size > 0) {
        ssize_t n = write(self->pipe, bytes, size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EPIPE) { /* it has ended: its own words say more */
            SK_TRY(sk_ffmpeg_stop(self, reterr));
            return SK_FAIL(reterr, SK_EIO, "ffmpeg ended before the last picture");
        }
        if (n < 0) return SK_FAIL(reterr, SK_EIO, "a picture for ffmpeg: %s", strerror(errno));
        bytes += n;
        size -= (size_t)n;
    }
    return SK_OK;
}

static int wait_for(sk_ffmpeg *self) {
    int status = 0;
    while (self->pid > 0 && waitpid(self->pid, &status, 0) < 0 && errno == EINTR) continue;
    self->pid = 0;
    return status;
}

sk_status sk_ffmpeg_stop(sk_ffmpeg *self, sk_error *reterr) {
    char words[160];
    close(self->pipe);
    self->pipe = -1;
    int status = wait_for(self);
    last_words(self, words, sizeof words);
    close_files(self);
    if (status == 0) return SK_OK;
    if (WIFSIGNALED(status))
        return SK_FAIL(reterr, SK_EIO, "ffmpeg was ended by signal %d (%s)%s%s", WTERMSIG(status),
                       strsignal(WTERMSIG(status)), words[0] ? ": " : "", words);
    return SK_FAIL(reterr, SK_EIO, "ffmpeg failed: %s", words[0] ? words : "it gave no reason");
}

void sk_ffmpeg_kill(sk_ffmpeg *self) {
    if (self->pid > 0) {
        kill(self->pid, SIGKILL);
        wait_for(self);
    }
    close_files(self);
}
