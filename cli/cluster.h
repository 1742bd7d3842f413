/* cluster: what the parts of `skiff cluster` share.
 *
 *   cmd_cluster.c     the command line; `key`
 *   cluster_submit.c  outside of an allocation: checks, hands the run to Slurm, follows it
 *   cluster_head.c    inside: `skiff train` as a child, and one srun for each host, kept going as Slurm says
 *   cluster_host.c    on each host, under its srun: `skiff node` as a child; asks Slurm for a new start of the job when
 *                     the head's host is lost
 *   cluster_bind.c    where the head listens
 *   cluster_slurm.c   what Slurm is asked
 *   cluster_process.c children that end with this program
 *
 * Threads: one. */
#ifndef SK_CLI_CLUSTER_H
#define SK_CLI_CLUSTER_H
#include "core/base/status.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { SK_CLUSTER_OVERRIDES_MAX = 64, SK_CLUSTER_NAME = 256, SK_CLUSTER_PATH = 4096, SK_CLUSTER_ENDPOINT = 320 };

/* What the command line asks for. All borrowed. */
typedef struct sk_cluster_run {
    const char *file; /* of the config; NULL: the run folder's config.yaml */
    const char *overrides[SK_CLUSTER_OVERRIDES_MAX];
    int n_overrides;
    const char *run_dir, *init_from; /* nullable; no run_dir: a new one */
    bool resume;
    const char *key_path, *bind; /* nullable */
    /* for sbatch */
    const char *nodes;            /* "3"; "2-3": at least 2 */
    int64_t n_nodes_min, n_nodes; /* the same               */
    const char *partition, *time; /* nullable */
    const char *const *sbatch;    /* options as they stand */
    int n_sbatch;
    bool no_wait;
} sk_cluster_run;

/* Each says on standard error what there is to say, and returns the exit code. */
int sk_cluster_submit(const sk_cluster_run *run);
int sk_cluster_follow(const char *job);
int sk_cluster_head(const sk_cluster_run *run);
int sk_cluster_host(int argc, char **argv);  /* host JOB RESTARTS HEAD_HOST COMMAND [ARGUMENT ...] */
int sk_cluster_child(int argc, char **argv); /* child PARENT COMMAND [ARGUMENT ...]                */

/* A line on standard error, with the time: "12:03:59 cluster: ...". */
void sk_cluster_say(const char *fmt, ...) SK_PRINTF(1, 2);

/* Overrides that say how the head runs: room for SK_CLUSTER_SETTINGS, behind the user's. `bind` is "cluster.bind=...". */
enum { SK_CLUSTER_SETTINGS = 4 };
int sk_cluster_add_settings(const char **words, const char *bind);
/* Can `wanted` (nullable) be a place to listen at? SK_EINVAL. */
SK_NODISCARD sk_status sk_cluster_check_bind(const char *wanted, sk_error *reterr);
/* Where the head listens: `wanted` (nullable: the address by which this host reaches the others, loopback if there are
 * none) with a free port in place of 0 or *; ret_join: where the nodes find it. `hosts` are those of the allocation as
 * Slurm writes them, `here` (nullable) is this one's name among them. Both texts have SK_CLUSTER_ENDPOINT bytes.
 * SK_EINVAL, SK_EIO. */
SK_NODISCARD sk_status sk_cluster_choose_bind(const char *wanted, const char *hosts, const char *here, char *ret_bind,
                                              char *ret_join, sk_error *reterr);

/* ---- cluster_slurm.c ---- */
typedef struct sk_slurm_job {
    char state[32], reason[128];
    char hosts[8192];     /* as Slurm writes it: n[1-3]                                     */
    char log[SK_CLUSTER_PATH]; /* of its standard output                                   */
    int restarts, exit_code, exit_signal;
    bool is_batch;
    int64_t end_s; /* when its time is over, of time(); 0: not known                     */
} sk_slurm_job;

/* `text` is a line of `scontrol -o show job`. SK_ECORRUPT. */
SK_NODISCARD sk_status sk_slurm_job_parse(const char *text, sk_slurm_job *ret_job, sk_error *reterr);
/* SK_ENOTFOUND: Slurm knows no such job (any more); SK_EIO: Slurm did not answer. */
SK_NODISCARD sk_status sk_slurm_job_ask(const char *job, sk_slurm_job *ret_job, sk_error *reterr);
/* Has a job of this state ended for good? */
bool sk_slurm_job_has_ended(const sk_slurm_job *job);
/* Start the job anew, as Slurm does after the loss of a host. The caller is about to be ended with it. */
SK_NODISCARD sk_status sk_slurm_requeue(const char *job, sk_error *reterr);

typedef struct sk_slurm_hosts {
    int n;
    char **names; /* (n) in Slurm's order */
} sk_slurm_hosts;
/* n[1-3] to n1 n2 n3. Caller deinits. */
SK_NODISCARD sk_status sk_slurm_hosts_init(const char *list, sk_slurm_hosts *ret_hosts, sk_error *reterr);
void sk_slurm_hosts_deinit(sk_slurm_hosts *self);
bool sk_slurm_hosts_have(const sk_slurm_hosts *self, const char *name);
/* Can a host in this state ("mixed", "idle*", "down") work for a job that it belongs to? */
bool sk_slurm_state_is_up(const char *state);
/* The state of one host in `text`, lines of "NAME STATE"; "" if it is not there. */
void sk_slurm_state_of(const char *text, const char *name, char ret_state[32]);
/* Such lines for a list of hosts. Caller frees. */
SK_NODISCARD sk_status sk_slurm_states_ask(const char *list, char **ret_text, sk_error *reterr);
/* Number i of "2(x3),1": 2 2 2 1; 0 if there is none. */
int sk_slurm_cpus_of(const char *text, int i);

/* ---- cluster_process.c ---- */
/* The program that `skiff train` and `skiff node` are: $SKIFF_BIN, else this one; an absolute path. */
SK_NODISCARD sk_status sk_process_program(char ret_path[SK_CLUSTER_PATH], sk_error *reterr);
/* Block the signals that a loop here waits for, and return where they can be read (signalfd): SIGTERM, SIGINT, SIGHUP,
 * SIGCHLD. Once. */
SK_NODISCARD sk_status sk_process_signals(int *ret_fd, sk_error *reterr);
/* Start a command (argv ends with NULL; found by PATH). It gets SIGTERM when this program ends, however that happens; is
 * in a process group of its own, so that Ctrl-C is this program's business; reads nothing. Caller waits for it. */
SK_NODISCARD sk_status sk_process_start(const char *const *argv, pid_t *ret_pid, sk_error *reterr);
/* Exit code, or 128 + signal, of what waitpid gave. */
int sk_process_code(int wait_status);
/* "exit code 1", "killed by signal 9 (Killed)". */
void sk_process_how(int wait_status, char ret_text[64]);

typedef struct sk_process_said {
    char *out, *err; /* terminated; never NULL after success */
    int code;
} sk_process_said;
/* Run a command to its end; `input` is what it reads (nullable). SK_ETIMEOUT: it was killed. Caller deinits. */
SK_NODISCARD sk_status sk_process_run(const char *const *argv, const char *input, int timeout_ms,
                                      sk_process_said *ret_said, sk_error *reterr);
void sk_process_said_deinit(sk_process_said *self);

#endif
