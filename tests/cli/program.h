/* program: runs the built program (SKIFF_BIN) in a folder of the test's own and looks at what it did.
 * Functions fail the test when something goes wrong that the test is not about. */
#ifndef SK_TESTS_PROGRAM_H
#define SK_TESTS_PROGRAM_H
#include "core/base/clock.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define HELPER     __attribute__((unused)) static
#define PATIENCE_S 120.0 /* on a busy machine and under a sanitizer */

extern char **environ;

enum { OUTPUT_MAX = 1 << 20, WORDS_MAX = 48 };
static char work[64], home[512];              /* the test's folder; where the tests were started */
static char out[OUTPUT_MAX], err[OUTPUT_MAX]; /* of the last program that ended */

HELPER void enter_folder(void) {
    strcpy(work, "/tmp/skiff-cli-XXXXXX");
    cr_assert_not_null(getcwd(home, sizeof home));
    cr_assert_not_null(mkdtemp(work));
    cr_assert_eq(chdir(work), 0);
}

HELPER void remove_tree(const char *path) {
    struct stat st;
    if (lstat(path, &st) != 0) return;
    if (!S_ISDIR(st.st_mode)) {
        unlink(path);
        return;
    }
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        char child[1024];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        snprintf(child, sizeof child, "%s/%s", path, e->d_name);
        remove_tree(child);
    }
    if (dir) closedir(dir);
    rmdir(path);
}

HELPER void leave_folder(void) {
    if (chdir(home) == 0) remove_tree(work);
}

/* ---- files ---- */
HELPER void write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file, "%s: %s", path, strerror(errno));
    fputs(text, file);
    cr_assert_eq(fclose(file), 0);
}

/* Into `text`, cut at `size`. False: there is no such file. */
HELPER bool read_file_to(const char *path, char *text, size_t size) {
    FILE *file = fopen(path, "r");
    text[0] = '\0';
    if (!file) return false;
    text[fread(text, 1, size - 1, file)] = '\0';
    fclose(file);
    return true;
}

/* In a static buffer of its own. */
HELPER const char *read_file(const char *path) {
    static char text[OUTPUT_MAX];
    cr_assert(read_file_to(path, text, sizeof text), "%s is missing", path);
    return text;
}

HELPER bool exists(const char *path) { return access(path, F_OK) == 0; }

/* ---- running ---- */
static const char *stderr_to = "err";

/* Start the program: words are split at blanks, except in '...'. Its stdout is `to` (NULL: the file "out"),
 * its stderr the file `stderr_to`. */
HELPER pid_t start_to(const char *to, const char *line) {
    static char words[8192];
    char *argv[WORDS_MAX] = {(char *)"skiff"};
    int argc = 1;
    snprintf(words, sizeof words, "%s", line);
    for (char *s = words; *s && argc < WORDS_MAX - 1;) {
        char end = *s == '\'' ? '\'' : ' ';
        if (end == '\'') s++;
        argv[argc++] = s;
        s += strcspn(s, (char[]){end, '\0'});
        if (*s) *s++ = '\0';
        s += strspn(s, " ");
    }
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, to ? to : "out", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_addopen(&files, 2, stderr_to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const char *program = getenv("SKIFF_BIN");
    cr_assert_not_null(program, "SKIFF_BIN is not set");
    pid_t pid = 0;
    int rc = posix_spawn(&pid, program, &files, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    cr_assert_eq(rc, 0, "%s: %s", program, strerror(rc));
    return pid;
}

/* Wait for its end and read what it said into `out` and `err`. The exit code, or 1000 + signal. */
HELPER int finish(pid_t pid) {
    double end_s = sk_clock_now_s() + PATIENCE_S;
    int status = 0;
    pid_t got;
    while ((got = waitpid(pid, &status, WNOHANG)) == 0 && sk_clock_now_s() < end_s) usleep(2000);
    if (got == 0) {
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        read_file_to("err", err, sizeof err);
        cr_assert(0, "it did not end in time: %s", err);
    }
    read_file_to("out", out, sizeof out);
    read_file_to("err", err, sizeof err);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

HELPER int run_to(const char *to, const char *line) { return finish(start_to(to, line)); }
HELPER int run(const char *line) { return run_to(NULL, line); }

/* Wait until `path` is a file with something in it. */
HELPER void wait_for_content(const char *path) {
    struct stat st;
    double end_s = sk_clock_now_s() + PATIENCE_S;
    while (stat(path, &st) != 0 || st.st_size == 0) {
        cr_assert(sk_clock_now_s() < end_s, "%s did not appear: %s", path, read_file("err"));
        usleep(2000);
    }
}

/* Children of a process: at most `max` pids. */
HELPER int children_of(pid_t parent, pid_t *ret_pids, int max) {
    int n = 0;
    DIR *dir = opendir("/proc");
    cr_assert_not_null(dir);
    for (struct dirent *e; (e = readdir(dir)) && n < max;) {
        char path[300], text[512], *end;
        long pid = strtol(e->d_name, &end, 10);
        int ppid = 0;
        if (*end || pid <= 0) continue;
        snprintf(path, sizeof path, "/proc/%ld/stat", pid);
        if (!read_file_to(path, text, sizeof text)) continue;
        char *after = strrchr(text, ')');
        if (after && sscanf(after, ") %*c %d", &ppid) == 1 && ppid == parent) ret_pids[n++] = (pid_t)pid;
    }
    closedir(dir);
    return n;
}

/* Gone, or a zombie that only its new parent has still to reap? */
HELPER bool has_ended(pid_t pid) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (!read_file_to(path, text, sizeof text)) return true;
    const char *after = strrchr(text, ')');
    return !after || after[2] == 'Z' || after[2] == 'X';
}

/* ---- looking ---- */
HELPER void holds(const char *text, const char *wanted) {
    cr_assert(strstr(text, wanted), "\"%s\" lacks \"%s\"", text, wanted);
}

HELPER void expect_code(int got, int wanted) {
    cr_assert_eq(got, wanted, "exit code %d, wanted %d; stderr: %s", got, wanted, err);
}

HELPER json_t *parse(const char *text) {
    json_error_t why;
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, &why);
    cr_assert_not_null(json, "%s in \"%s\"", why.text, text);
    return json;
}

/* Every line of a text as an array of objects. Caller decrefs. */
HELPER json_t *parse_lines(const char *text) {
    json_t *lines = json_array();
    while (*text) {
        static char line[1 << 16];
        size_t size = strcspn(text, "\n");
        cr_assert(text[size] == '\n' && size < sizeof line, "the last line is torn: %s", text);
        memcpy(line, text, size);
        line[size] = '\0';
        json_t *json = parse(line);
        cr_assert(json_is_object(json), "no object: %s", line);
        json_array_append_new(lines, json);
        text += size + 1;
    }
    return lines;
}

HELPER double number(const json_t *json, const char *key) {
    const json_t *value = json_object_get(json, key);
    cr_assert(json_is_number(value), "there is no number %s", key);
    return json_number_value(value);
}

HELPER const char *text_of(const json_t *json, const char *key) {
    const char *value = json_string_value(json_object_get(json, key));
    cr_assert_not_null(value, "there is no text %s", key);
    return value;
}

#endif
