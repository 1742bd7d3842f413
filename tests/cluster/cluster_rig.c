#include "tests/cluster/cluster_rig.h"
#include "core/base/clock.h"
#include "core/transport/keys.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARGS_MAX = 48 };

static int64_t deadline_ns(int ms) { return sk_clock_now_ns() + (int64_t)ms * 1000000; }

/* ---- life ------------------------------------------------------------------------------------------------ */
rig *rig_create(void) {
    rig           *self = calloc(1, sizeof *self);
    const char    *base = getenv("TMPDIR");
    sk_cluster_key key = {0};
    sk_error       err = {0};
    cr_assert_not_null(self);
    snprintf(self->folder, sizeof self->folder, "%.150s/skiff-cluster-XXXXXX", base && *base ? base : "/tmp");
    cr_assert_not_null(mkdtemp(self->folder), "%s: %s", self->folder, strerror(errno));
    snprintf(self->key_path, sizeof self->key_path, "%s/cluster.key", self->folder);
    cr_assert_eq(sk_cluster_key_find(self->key_path, SK_KEY_MAKE, &key, NULL, &err), SK_OK, "%s", err.msg);
    return self;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)st, (void)kind, (void)at;
    return remove(path);
}

void rig_destroy(rig *self) {
    for (int i = 0; i < self->n_nodes; i++) {
        if (self->pids[i] == 0) continue;
        kill(self->pids[i], SIGKILL);
        while (waitpid(self->pids[i], NULL, 0) < 0 && errno == EINTR) continue;
    }
    cr_assert_eq(nftw(self->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
    free(self);
}

/* ---- the head -------------------------------------------------------------------------------------------- */
sk_runtime *rig_start_head(rig *self, sk_runtime_params params) {
    static const sk_module *const modules[] = {&probe_module};
    sk_cluster_params             cluster = {
        .bind = "tcp://127.0.0.1:0", .key_path = self->key_path, .build = RIG_BUILD};
    sk_runtime                   *rt = NULL;
    sk_error                      err = {0};
    params.modules = modules;
    params.n_modules = SK_COUNT(modules);
    params.worker_has_modules = true;
    if (!params.worker_path) params.worker_path = probe_worker_path();
    if (!params.stop_timeout_ms) params.stop_timeout_ms = RIG_PATIENCE_MS;
    params.cluster = &cluster;
    cr_assert_eq(sk_runtime_create(&params, &rt, &err), SK_OK, "%s", err.msg);
    return rt;
}

void rig_end_head(sk_runtime *rt) { sk_runtime_destroy(&rt); }

void rig_await_hosts(sk_runtime *rt, int n) {
    sk_error err = {0};
    int64_t  end_ns = deadline_ns(RIG_PATIENCE_MS);
    int      n_up = -1;
    while (n_up != n) {
        sk_status status = sk_runtime_wait_hosts(rt, n, RIG_PATIENCE_MS, &n_up, &err);
        cr_assert_eq(status, SK_OK, "%s", err.msg);
        cr_assert(n_up == n || sk_clock_now_ns() < end_ns, "%d hosts are up, wanted %d", n_up, n);
        if (n_up != n) usleep(5000);
    }
}

/* ---- nodes ----------------------------------------------------------------------------------------------- */
static void run_command(char **argv, const char *folder, const char *log_path, int parent) {
    int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND, 0600), none = open("/dev/null", O_RDONLY);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (log < 0 || none < 0 || chdir(folder) != 0 || getppid() != parent) _exit(126);
    dup2(none, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execv(argv[0], argv);
    _exit(127);
}

int rig_start(rig *self, const char *name, const char *const *argv) {
    char log_path[sizeof self->log_paths[0]];
    int  i = self->n_nodes++, parent = getpid();
    cr_assert(i < RIG_NODES);
    snprintf(log_path, sizeof log_path, "%s/%.30s-%d.log", self->folder, name, i);
    memcpy(self->log_paths[i], log_path, sizeof log_path);
    fflush(NULL);
    self->pids[i] = fork();
    cr_assert_geq(self->pids[i], 0);
    if (self->pids[i] == 0) run_command((char **)(uintptr_t)argv, self->folder, log_path, parent);
    return self->pids[i];
}

int rig_start_node(rig *self, const char *name, const char *endpoint, const char *const *args) {
    const char *bin = getenv("SKIFF_BIN"), *argv[ARGS_MAX];
    int         n = 0;
    cr_assert_not_null(bin);
    const char *fixed[] = {bin,        "node",           "--join",   endpoint,            "--key",   self->key_path,
                           "--name",   name,             "--worker", probe_worker_path(), "--build", RIG_BUILD,
                           "--wait",   "60",             "--cpus",   "2"};
    for (; n < SK_COUNT(fixed); n++) argv[n] = fixed[n];
    for (; args && *args && n < ARGS_MAX - 1; args++) argv[n++] = *args;
    argv[n] = NULL;
    return rig_start(self, name, argv);
}

static int find_node(const rig *self, int pid) {
    for (int i = 0; i < self->n_nodes; i++)
        if (self->pids[i] == pid) return i;
    cr_assert(false, "process %d is no node of this test, or has been waited for", pid);
    return -1;
}

static const char *read_log(const rig *self, int i) {
    static char text[16384];
    int         fd = open(self->log_paths[i], O_RDONLY);
    ssize_t     n = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    if (fd >= 0) close(fd);
    text[n > 0 ? n : 0] = 0;
    return text;
}

const char *rig_log(const rig *self, int pid) { return read_log(self, find_node(self, pid)); }

void rig_await_log(const rig *self, int pid, const char *text) {
    int64_t end_ns = deadline_ns(RIG_PATIENCE_MS);
    while (!strstr(rig_log(self, pid), text)) {
        cr_assert_lt(sk_clock_now_ns(), end_ns, "wanted \"%s\" of the node, it said:\n%s", text, rig_log(self, pid));
        usleep(2000);
    }
}

int rig_await_exit(rig *self, int pid) {
    int     i = find_node(self, pid), status = 0, got = 0;
    int64_t end_ns = deadline_ns(RIG_PATIENCE_MS);
    while ((got = waitpid(pid, &status, WNOHANG)) == 0) {
        cr_assert_lt(sk_clock_now_ns(), end_ns, "the node has not ended; it said:\n%s", rig_log(self, pid));
        usleep(2000);
    }
    cr_assert_eq(got, pid);
    self->pids[i] = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void rig_expect_exit(rig *self, int pid, int status) {
    int i = find_node(self, pid), got = rig_await_exit(self, pid);
    cr_assert_eq(got, status, "the node ended with %d, wanted %d; it said:\n%s", got, status, read_log(self, i));
}

/* ---- processes ------------------------------------------------------------------------------------------- */
/* From /proc/PID/stat; false: no such process. */
static bool look_at(int pid, char *ret_state, int *ret_parent) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file) return false;
    bool read_it = fscanf(file, "%*d (%*[^)]) %c %d", ret_state, ret_parent) == 2;
    fclose(file);
    return read_it;
}

int rig_children(int pid, int *ret_pids, int max) {
    DIR *dir = opendir("/proc");
    int  n = 0;
    cr_assert_not_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir));) {
        int  child = atoi(entry->d_name), parent = 0;
        char state = 0;
        if (child <= 0 || !look_at(child, &state, &parent) || parent != pid || state == 'Z') continue;
        if (n < max) ret_pids[n] = child;
        n++;
    }
    closedir(dir);
    return n;
}

bool rig_has_ended(int pid) {
    char state = 0;
    int  parent = 0;
    return !look_at(pid, &state, &parent) || state == 'Z' || state == 'X';
}

bool rig_await_ended(const int *pids, int n, int patience_ms) {
    int64_t end_ns = deadline_ns(patience_ms);
    for (int i = 0; i < n; i++)
        for (; !rig_has_ended(pids[i]); usleep(1000))
            if (sk_clock_now_ns() > end_ns) return false;
    return true;
}
