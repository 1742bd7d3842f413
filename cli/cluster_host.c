/* skiff cluster host: on each host of an allocation, as the one task of its srun. It keeps `skiff node` running as a
 * child for as long as Slurm says that the job is there. When the head's host is lost, the job has nobody left who
 * would ask Slurm for a new start (it goes on without that host, as it was told to when others are lost): the hosts
 * that are left do. */
#include "cli/cluster.h"
#include "cli/exit_code.h"
#include "core/base/clock.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BACKOFF_MS = 1000, BACKOFF_MAX_MS = 15000, GRACE_MS = 8000, STEADY_MS = 60000 };

typedef struct keeper {
    const char *job, *head_host; /* "-": nobody can start this job anew */
    int restarts;                /* of the job, when we came            */
    const char *const *command;
    int signals;
    bool asked_to_stop;
} keeper;

/* Take the signals that have come; true: one of them says to stop. */
static bool take_signals(keeper *self) {
    struct signalfd_siginfo info;
    while (read(self->signals, &info, sizeof info) == sizeof info)
        if (info.ssi_signo != SIGCHLD) self->asked_to_stop = true;
    return self->asked_to_stop;
}

/* Sleep until a signal comes, at most so long. */
static void rest(keeper *self, int ms) {
    int64_t end_ns = sk_clock_now_ns() + (int64_t)ms * 1000000;
    while (!take_signals(self)) {
        int64_t left_ms = (end_ns - sk_clock_now_ns()) / 1000000;
        if (left_ms <= 0) return;
        (void)poll(&(struct pollfd){self->signals, POLLIN, 0}, 1, (int)left_ms);
    }
}

/* Run the node to its end. A stop is handed on to it, and enforced. */
static sk_status run_node(keeper *self, int *ret_wait_status, sk_error *reterr) {
    pid_t pid = 0, got;
    int64_t kill_ns = 0;
    SK_TRY(sk_process_start(self->command, &pid, reterr));
    while ((got = waitpid(pid, ret_wait_status, WNOHANG)) == 0 || (got < 0 && errno == EINTR)) {
        (void)poll(&(struct pollfd){self->signals, POLLIN, 0}, 1, 500);
        if (!take_signals(self)) continue;
        int64_t now_ns = sk_clock_now_ns();
        if (!kill_ns) {
            kill(pid, SIGTERM);
            kill_ns = now_ns + (int64_t)GRACE_MS * 1000000;
        } else if (now_ns > kill_ns) {
            kill(pid, SIGKILL);
        }
    }
    return got == pid ? SK_OK : SK_FAIL(reterr, SK_EIO, "waitpid: %s", strerror(errno));
}

/* What Slurm says about our job: is it still the one we came with? */
typedef enum verdict { GO_ON, JOB_IS_OVER, HEAD_IS_LOST } verdict;
static verdict ask_slurm(const keeper *self) {
    sk_slurm_job job;
    sk_slurm_hosts hosts;
    sk_error err = {0};
    char state[32], *states = NULL;
    sk_status status = sk_slurm_job_ask(self->job, &job, &err);
    if (status == SK_ENOTFOUND) return JOB_IS_OVER;
    if (status != SK_OK) return GO_ON; /* Slurm is away: nothing is known */
    if (strcmp(job.state, "RUNNING") != 0 || job.restarts != self->restarts) return JOB_IS_OVER;
    if (strcmp(self->head_host, "-") == 0) return GO_ON;
    if (sk_slurm_hosts_init(job.hosts, &hosts, &err) != SK_OK) return GO_ON;
    bool member = sk_slurm_hosts_have(&hosts, self->head_host);
    sk_slurm_hosts_deinit(&hosts);
    if (!member) return HEAD_IS_LOST;
    if (sk_slurm_states_ask(self->head_host, &states, &err) != SK_OK) return GO_ON;
    sk_slurm_state_of(states, self->head_host, state);
    free(states);
    return strncmp(state, "down", 4) == 0 ? HEAD_IS_LOST : GO_ON;
}

static int keep(keeper *self) {
    int backoff_ms = BACKOFF_MS;
    for (;;) {
        int wait_status = 0;
        sk_error err = {0};
        char how[64];
        int64_t start_ns = sk_clock_now_ns();
        sk_status status = run_node(self, &wait_status, &err);
        if (status != SK_OK) {
            sk_cluster_say("%s", err.msg);
            return SK_EXIT_FAILED;
        }
        int code = sk_process_code(wait_status);
        if (self->asked_to_stop || code == SK_EXIT_DONE || code == SK_EXIT_USAGE) return code;
        sk_process_how(wait_status, how);
        switch (ask_slurm(self)) {
        case JOB_IS_OVER: return code;
        case HEAD_IS_LOST:
            sk_cluster_say("the head's host %s is lost; Slurm is asked to start job %s anew", self->head_host,
                           self->job);
            if (sk_slurm_requeue(self->job, &err) == SK_OK) return code;
            sk_cluster_say("%s", err.msg); /* another host was faster, or the job may not */
            break;
        case GO_ON: break;
        }
        if (sk_clock_now_ns() - start_ns > (int64_t)STEADY_MS * 1000000) backoff_ms = BACKOFF_MS;
        sk_cluster_say("the node of host %s ended (%s); it starts again in %g s",
                       getenv("SLURMD_NODENAME") ? getenv("SLURMD_NODENAME") : "?", how, backoff_ms / 1000.0);
        rest(self, backoff_ms);
        if (self->asked_to_stop) return code;
        backoff_ms = backoff_ms * 2 < BACKOFF_MAX_MS ? backoff_ms * 2 : BACKOFF_MAX_MS;
    }
}

int sk_cluster_host(int argc, char **argv) {
    if (argc < 5) return SK_EXIT_USAGE;
    keeper self = {.job = argv[1],
                   .restarts = (int)strtol(argv[2], NULL, 10),
                   .head_host = argv[3],
                   .command = (const char *const *)argv + 4};
    sk_error err = {0};
    pid_t parent = getppid();
    if (sk_process_signals(&self.signals, &err) != SK_OK) {
        sk_cluster_say("%s", err.msg);
        return SK_EXIT_FAILED;
    }
    /* slurmstepd is killed at times, too */
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != parent) return SK_EXIT_FAILED;
    return keep(&self);
}
