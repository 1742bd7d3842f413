/* skiff new-env: writes a folder with an environment that compiles, passes check-env and trains, to be
 * changed into one's own. The files are those of cli/new_env/, with another name, and include/skiff/env.h. */
#include "cli/args.h"
#include "cli/commands.h"
#include "cli/exit_code.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/new_env_files.h" /* made by cli/new_env/embed.py */

enum { NAME_BYTES = 48 };

typedef struct maker {
    const char *dir;
    char        stem[2 * NAME_BYTES]; /* my_env                                  */
    char        name[2 * NAME_BYTES]; /* MyEnv-v0                                */
    int         n_written;            /* files that are ours to remove on a failure */
} maker;

/* ---- names ---- */

/* The part before "-v<digits>", or all of it. */
static size_t base_length(const char *name) {
    const char *dash = strrchr(name, '-');
    if (!dash || dash[1] != 'v' || !isdigit((unsigned char)dash[2])) return strlen(name);
    return dash[2 + strspn(dash + 2, "0123456789")] ? strlen(name) : (size_t)(dash - name);
}

/* "MyEnv-v2", "MyEnv" and "my_env" -> my_env and MyEnv-v2 or MyEnv-v0. False: no name. */
static bool take_name(maker *self, const char *name) {
    size_t n = base_length(name), stem = 0, camel = 0;
    bool   up = true;
    if (n == 0 || n > NAME_BYTES || strlen(name) - n > 8 || !isalpha((unsigned char)name[0])) return false;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c > 0x7e || (!isalnum(c) && c != '_')) return false;
        bool starts =
            isupper(c) && i > 0 && name[i - 1] != '_' &&
            (!isupper((unsigned char)name[i - 1]) || (i + 1 < n && islower((unsigned char)name[i + 1])));
        if (starts) self->stem[stem++] = '_';
        self->stem[stem++] = (char)tolower(c);
        if (c != '_') self->name[camel++] = (char)(up ? toupper(c) : c);
        up = c == '_';
    }
    strcpy(self->name + camel, name[n] ? name + n : "-v0");
    return true;
}

/* ---- files ---- */

/* `text` with the words of the templates replaced. Caller frees; NULL: out of memory. */
static char *fill_in(const maker *self, const char *text, size_t size) {
    static const char *const words[] = {"my_env", "MyEnv-v0"};
    const char *const        ours[] = {self->stem, self->name};
    char                    *filled = NULL;
    size_t                   filled_size;
    FILE                    *out = open_memstream(&filled, &filled_size);
    if (!out) return NULL;
    for (size_t at = 0; at < size;) {
        int w = 0;
        while (w < SK_COUNT(words) &&
               (size - at < strlen(words[w]) || memcmp(text + at, words[w], strlen(words[w])) != 0))
            w++;
        if (w < SK_COUNT(words)) fputs(ours[w], out), at += strlen(words[w]);
        else fputc(text[at++], out);
    }
    if (fclose(out) != 0) {
        free(filled);
        return NULL;
    }
    return filled;
}

/* Where file i goes. */
static bool path_of(const maker *self, int i, char path[PATH_MAX]) {
    char *name = fill_in(self, new_env_files[i].name, strlen(new_env_files[i].name));
    int   size = name ? snprintf(path, PATH_MAX, "%s/%s", self->dir, name) : -1;
    free(name);
    return size > 0 && size < PATH_MAX;
}

static bool write_all(int fd, const char *text, size_t size) {
    while (size > 0) {
        ssize_t n = write(fd, text, size);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        text += n, size -= (size_t)n;
    }
    return true;
}

/* A new file; one that is there already stays. False with errno. */
static bool write_file(maker *self, int i, const char *path) {
    const char *text = (const char *)new_env_files[i].bytes;
    bool  is_script = strstr(path, ".sh") != NULL, is_contract = strcmp(new_env_files[i].name, "env.h") == 0;
    char *filled =
        is_contract ? strndup(text, new_env_files[i].size) : fill_in(self, text, new_env_files[i].size);
    int  fd = filled ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, is_script ? 0777 : 0666) : -1;
    bool done = fd >= 0 && write_all(fd, filled, strlen(filled));
    int  error = errno;
    if (fd >= 0) {
        self->n_written = i + 1;
        if (close(fd) != 0 && done) error = errno, done = false;
    }
    free(filled);
    errno = error;
    return done;
}

static void remove_written(const maker *self) {
    char path[PATH_MAX];
    for (int i = 0; i < self->n_written; i++)
        if (path_of(self, i, path)) unlink(path);
}

static int make(maker *self) {
    char path[PATH_MAX];
    bool made_dir = mkdir(self->dir, 0777) == 0;
    if (!made_dir && errno != EEXIST) {
        fprintf(stderr, "cannot make the folder %s: %s\n", self->dir, strerror(errno));
        return SK_EXIT_USAGE;
    }
    for (int i = 0; i < SK_COUNT(new_env_files); i++) {
        struct stat st;
        if (!path_of(self, i, path) || lstat(path, &st) != 0) continue;
        fprintf(stderr, "%s is there already, nothing was written; wanted another NAME or --dir\n", path);
        return SK_EXIT_USAGE;
    }
    for (int i = 0; i < SK_COUNT(new_env_files); i++) {
        errno = ENAMETOOLONG;
        if (path_of(self, i, path) && write_file(self, i, path)) continue;
        fprintf(stderr, "cannot write %s: %s\n", path, strerror(errno));
        remove_written(self);
        if (made_dir) rmdir(self->dir);
        return SK_EXIT_FAILED;
    }
    return SK_EXIT_DONE;
}

int sk_cmd_new_env(int argc, char **argv) {
    maker  self = {0};
    sk_arg args[] = {
        {"--dir", SK_ARG_TEXT, &self.dir, 0, 0, "folder to write into (one named after NAME, here)"}};
    sk_args parsed = {.usage = "skiff new-env NAME [--dir DIR]",
                      .args = args,
                      .n_args = SK_COUNT(args),
                      .n_min = 1,
                      .n_max = 1};
    int     code = sk_args_parse(&parsed, argc, argv);
    if (code != SK_ARGS_GO) return code;
    if (!take_name(&self, parsed.positional[0])) {
        fprintf(stderr, "got \"%.100s\", wanted a name of letters, digits and _ like MyEnv-v0\n",
                parsed.positional[0]);
        return SK_EXIT_USAGE;
    }
    if (!self.dir) self.dir = self.stem;
    code = make(&self);
    if (code != SK_EXIT_DONE) return code;
    printf("%s is in %s. Next, there:\n  sh build.sh\n  skiff check-env ./%s.so\n  skiff train %s.yaml\n",
           self.name, self.dir, self.stem, self.stem);
    return SK_EXIT_DONE;
}
