/* skiff cluster slurm, inside of an allocation: runs `skiff train` as the head of the run and, under one srun for each
 * host, `skiff cluster host` with `skiff node`. Slurm's own state says which hosts there are: what ends on a host that
 * is up and ours is started again.
 *
 * How train ends decides the rest. By itself: so does this. Killed: the job is started anew by Slurm, and goes on from
 * the last checkpoint. Interrupted since the allocation's time is nearly over: the same. */
#include "cli/cluster.h"
#include "cli/exit_code.h"
#include "core/base/clock.h"
#include "core/transport/keys.h"
#include "rl/checkpoint.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    BACKOFF_MS = 1000,
    BACKOFF_MAX_MS = 60000,
    STEADY_MS = 60000,       /* who ran so long begins anew with BACKOFF_MS                                    */
    NODES_LEAVE_MS = 5000,   /* patience with nodes after the end of train, before SIGTERM and before SIGKILL  */
    SAVE_MS = 40000,         /* with train's last iteration and checkpoint: of the 60 s that are left          */
    SAVE_EXPIRED_MS = 10000, /* the same when its hosts are gone, so that the iteration may never end          */
    PRESS_MS = 5000,         /* and then                                                                       */
    EXPIRY_S = 90,           /* SIGTERM comes 60 s before the end (--signal), to within half a minute of Slurm */
    FRUITLESS_MAX = 3,       /* starts without a new checkpoint before it is given up                          */
    TRAIN_WORDS = 32
};

typedef struct host {
    const char *name; /* of head.hosts */
    int cpus;
    pid_t pid;        /* of its srun; 0: none                        */
    int64_t start_ns, retry_ns;
    int backoff_ms;
    bool unusable;    /* as told: Slurm says it is down, or not ours */
    char how[64];     /* its last srun ended                         */
} host;

typedef struct head {
    const sk_cluster_run *run;
    char id[32], program[SK_CLUSTER_PATH], bind[SK_CLUSTER_ENDPOINT], join[SK_CLUSTER_ENDPOINT];
    const char *here; /* this host's name for Slurm; NULL: it is none of the allocation's */
    sk_slurm_job job; /* when we came                                                      */
    sk_slurm_hosts names;
    host *hosts;      /* (names.n) */
    int signals;
    pid_t train;      /* 0: it has ended */
    int train_status; /* of waitpid      */
    int64_t checkpoint; /* the newest when we came, -1: none */
    int64_t press_ns;   /* when train, which was asked to end, is pressed to; 0: it was not asked */
    bool pressed;       /* it was: next it is killed                                              */
    bool resumes, asked_to_stop, expired, slurm_is_away;
} head;

/* ---- before the run ---- */
static int fail(sk_status status, const sk_error *err) {
    sk_cluster_say("error: %s", err->msg);
    return status == SK_EINVAL || status == SK_ECONFIG ? SK_EXIT_USAGE : SK_EXIT_FAILED;
}

static sk_status check_allocation(head *self, sk_error *reterr) {
    sk_status status = sk_slurm_job_ask(self->id, &self->job, reterr);
    if (status == SK_ENOTFOUND)
        return SK_FAIL(reterr, SK_ENOTFOUND, "the allocation of job %s (SLURM_JOB_ID) has expired: Slurm does not know "
                       "it any more", self->id);
    SK_TRY(status);
    if (strcmp(self->job.state, "RUNNING") != 0)
        return SK_FAIL(reterr, SK_ENOTFOUND, "the allocation of job %s (SLURM_JOB_ID) has expired: it is %s", self->id,
                       self->job.state);
    return SK_OK;
}

/* The key reaches train and the nodes by the environment, which srun hands on. */
static sk_status export_key(const char *path, sk_error *reterr) {
    sk_cluster_key key;
    char text[SK_KEY_TEXT_MAX], where[512];
    SK_TRY(sk_cluster_key_find(path, SK_KEY_MAKE, &key, where, reterr));
    sk_cluster_key_write(&key, text);
    sk_cluster_key_forget(&key);
    int rc = setenv("SKIFF_CLUSTER_KEY", text, 1);
    explicit_bzero(text, sizeof text);
    if (rc != 0) return SK_FAIL(reterr, SK_ENOMEM, "no memory for the cluster's key");
    return SK_OK;
}

static sk_status find_hosts(head *self, sk_error *reterr) {
    SK_TRY(sk_slurm_hosts_init(self->job.hosts, &self->names, reterr));
    self->hosts = calloc((size_t)self->names.n, sizeof *self->hosts);
    if (!self->hosts) return SK_FAIL(reterr, SK_ENOMEM, "no memory for %d hosts", self->names.n);
    /* Slurm tells cpus of all hosts it gave, some of which may be lost by now */
    sk_slurm_hosts given = {0};
    const char *list = getenv("SLURM_JOB_NODELIST"), *cpus = getenv("SLURM_JOB_CPUS_PER_NODE");
    if (list && cpus) SK_TRY(sk_slurm_hosts_init(list, &given, reterr));
    for (int i = 0; i < self->names.n; i++) {
        self->hosts[i] = (host){.name = self->names.names[i], .backoff_ms = BACKOFF_MS};
        for (int k = 0; k < given.n; k++)
            if (strcmp(given.names[k], self->names.names[i]) == 0) self->hosts[i].cpus = sk_slurm_cpus_of(cpus, k);
    }
    sk_slurm_hosts_deinit(&given);
    self->here = getenv("SLURMD_NODENAME");
    if (self->here && !sk_slurm_hosts_have(&self->names, self->here)) self->here = NULL;
    return SK_OK;
}

/* An earlier start of this job that came to no checkpoint left reports that nothing can go on from: the run begins
 * again. */
static sk_status clear_reports(const char *run_dir, sk_error *reterr) {
    char path[SK_CLUSTER_PATH + 32];
    snprintf(path, sizeof path, "%s/metrics.jsonl", run_dir);
    if (truncate(path, 0) != 0 && errno != ENOENT)
        return SK_FAIL(reterr, SK_EIO, "cannot empty %s: %s", path, strerror(errno));
    return SK_OK;
}

static sk_status prepare(head *self, sk_error *reterr) {
    SK_TRY(sk_process_program(self->program, reterr));
    SK_TRY(check_allocation(self, reterr));
    SK_TRY(export_key(self->run->key_path, reterr));
    SK_TRY(find_hosts(self, reterr));
    SK_TRY(sk_cluster_choose_bind(self->run->bind, self->job.hosts, self->here, self->bind, self->join, reterr));
    self->checkpoint = self->run->run_dir ? sk_checkpoint_newest(self->run->run_dir) : -1;
    self->resumes = self->checkpoint >= 0 && (self->run->resume || self->job.restarts > 0);
    if (self->job.restarts > 0 && self->checkpoint < 0 && !self->run->resume && self->run->run_dir)
        SK_TRY(clear_reports(self->run->run_dir, reterr));
    return sk_process_signals(&self->signals, reterr);
}

/* ---- children ---- */
/* The key that the nodes have is train's, too. */
int sk_cluster_add_settings(const char **words, const char *bind) {
    words[0] = "env_runners.placement=remote";
    words[1] = "cluster.encrypt=true";
    words[2] = "cluster.key_file=''";
    words[3] = bind;
    return SK_CLUSTER_SETTINGS;
}

static sk_status start_train(head *self, sk_error *reterr) {
    const char *words[TRAIN_WORDS + SK_CLUSTER_OVERRIDES_MAX];
    char bind[SK_CLUSTER_ENDPOINT + 16], n_hosts[48];
    int n = 0;
    snprintf(bind, sizeof bind, "cluster.bind=%s", self->bind);
    snprintf(n_hosts, sizeof n_hosts, "cluster.num_hosts=%d", self->names.n);
    words[n++] = self->program;
    words[n++] = "train";
    if (self->run->file) words[n++] = self->run->file;
    words[n++] = n_hosts; /* what the user says comes later and wins */
    for (int i = 0; i < self->run->n_overrides; i++) words[n++] = self->run->overrides[i];
    n += sk_cluster_add_settings(words + n, bind);
    if (self->run->run_dir) {
        words[n++] = "--run-dir";
        words[n++] = self->run->run_dir;
    }
    if (self->resumes || self->run->resume) words[n++] = "--resume";
    if (self->run->init_from && !self->resumes) {
        words[n++] = "--init-from";
        words[n++] = self->run->init_from;
    }
    words[n] = NULL;
    return sk_process_start(words, &self->train, reterr);
}

static void start_host(head *self, host *h) {
    char cpus[24], cpu_option[40], job[48], restarts[24], node_list[SK_CLUSTER_NAME + 16];
    sk_error err = {0};
    snprintf(job, sizeof job, "--jobid=%s", self->id);
    snprintf(node_list, sizeof node_list, "--nodelist=%s", h->name);
    snprintf(restarts, sizeof restarts, "%d", self->job.restarts);
    int n_cpus = h->cpus > 0 ? h->cpus : 1;
    snprintf(cpus, sizeof cpus, "%d", n_cpus);
    snprintf(cpu_option, sizeof cpu_option, "--cpus-per-task=%d", n_cpus); /* else Slurm may bind it to one core */
    const char *const words[] = {"srun", job, "--overlap", "--nodes=1", "--ntasks=1", node_list, "--kill-on-bad-exit=0",
                                 "--no-kill", "--input=none", "--unbuffered", "--export=ALL",
                                 "--mem=0", "--quiet", cpu_option,
                                 /* its one task */
                                 self->program, "cluster", "host", self->id, restarts,
                                 self->job.is_batch && self->here ? self->here : "-",
                                 self->program, "node", "--join", self->join, "--name", h->name, "--cpus", cpus,
                                 "--wait", "10", NULL};
    h->start_ns = sk_clock_now_ns();
    if (sk_process_start(words, &h->pid, &err) != SK_OK) {
        h->pid = 0;
        h->retry_ns = h->start_ns + (int64_t)BACKOFF_MAX_MS * 1000000;
        sk_cluster_say("%s", err.msg);
    }
}

static void on_srun_end(host *h, int wait_status) {
    int64_t now_ns = sk_clock_now_ns();
    if (now_ns - h->start_ns > (int64_t)STEADY_MS * 1000000) h->backoff_ms = BACKOFF_MS;
    h->pid = 0;
    h->retry_ns = now_ns + (int64_t)h->backoff_ms * 1000000;
    sk_process_how(wait_status, h->how);
    h->backoff_ms = h->backoff_ms * 2 < BACKOFF_MAX_MS ? h->backoff_ms * 2 : BACKOFF_MAX_MS;
}

static int n_sruns(const head *self) {
    int n = 0;
    for (int i = 0; i < self->names.n; i++) n += self->hosts[i].pid > 0;
    return n;
}

static void reap(head *self) {
    int wait_status;
    pid_t pid;
    while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0) {
        if (pid == self->train) {
            self->train = 0;
            self->train_status = wait_status;
        }
        for (int i = 0; i < self->names.n; i++)
            if (self->hosts[i].pid == pid) on_srun_end(&self->hosts[i], wait_status);
    }
}

/* ---- what Slurm says ---- */
/* Slurm gave no answer: told once until it does. */
static void tell_away(head *self, const sk_error *err) {
    if (!self->slurm_is_away) sk_cluster_say("Slurm does not answer (%s); it is asked again", err->msg);
    self->slurm_is_away = true;
}

/* A first SIGTERM ends train after its iteration, with a checkpoint; a second one at once. */
static void ask_train_to_end(head *self, int patience_ms) {
    if (!self->train) return;
    kill(self->train, SIGTERM);
    if (!self->press_ns) self->press_ns = sk_clock_now_ns() + (int64_t)patience_ms * 1000000;
}

static void press_train(head *self) {
    if (!self->press_ns || sk_clock_now_ns() < self->press_ns) return;
    sk_cluster_say("the head does not end: it is %s, its last checkpoint stands", self->pressed ? "killed" : "pressed");
    kill(self->train, self->pressed ? SIGKILL : SIGTERM);
    self->pressed = true;
    self->press_ns = sk_clock_now_ns() + (int64_t)PRESS_MS * 1000000;
}

/* The allocation is over, whatever made it so: without hosts there is nothing to wait for. */
static void expire(head *self, const char *state) {
    if (self->expired) return;
    self->expired = true;
    sk_cluster_say("the allocation of job %s has expired (%s); the run ends", self->id, state);
    ask_train_to_end(self, SAVE_EXPIRED_MS);
}

static void judge_host(head *self, host *h, const sk_slurm_hosts *ours, const char *states) {
    char state[32];
    sk_slurm_state_of(states, h->name, state);
    bool member = sk_slurm_hosts_have(ours, h->name);
    if (member && sk_slurm_state_is_up(state)) {
        if (h->unusable) sk_cluster_say("host %s is back (%s)", h->name, state);
        else sk_cluster_say("what ran on host %s ended (%s); Slurm says %s: it starts again", h->name, h->how, state);
        h->unusable = false;
        start_host(self, h);
        return;
    }
    if (!h->unusable)
        sk_cluster_say(member ? "Slurm says that host %s is %s: nothing is started there until it is back"
                              : "Slurm has taken host %s (%s) out of the job: the run goes on without it",
                       h->name, *state ? state : "unknown");
    h->unusable = true;
    h->retry_ns = sk_clock_now_ns() + (int64_t)h->backoff_ms * 1000000;
    h->backoff_ms = h->backoff_ms * 2 < BACKOFF_MAX_MS ? h->backoff_ms * 2 : BACKOFF_MAX_MS;
}

/* Some hosts have no srun and are due. */
static void ask_about_hosts(head *self) {
    sk_slurm_job job;
    sk_slurm_hosts ours;
    sk_error err = {0};
    char *states = NULL;
    int64_t now_ns = sk_clock_now_ns();
    sk_status status = sk_slurm_job_ask(self->id, &job, &err);
    if (status == SK_ENOTFOUND || (status == SK_OK && strcmp(job.state, "RUNNING") != 0)) {
        expire(self, status == SK_OK ? job.state : "Slurm does not know it any more");
        return;
    }
    bool known = status == SK_OK && sk_slurm_hosts_init(job.hosts, &ours, &err) == SK_OK;
    bool told = known && sk_slurm_states_ask(self->job.hosts, &states, &err) == SK_OK;
    if (told) self->slurm_is_away = false;
    else tell_away(self, &err);
    for (int i = 0; i < self->names.n; i++) {
        host *h = &self->hosts[i];
        if (h->pid || h->retry_ns > now_ns) continue;
        if (told) judge_host(self, h, &ours, states);
        else h->retry_ns = sk_clock_now_ns() + (int64_t)h->backoff_ms * 1000000;
    }
    free(states);
    if (known) sk_slurm_hosts_deinit(&ours);
}

/* ---- the run ---- */
static void take_signals(head *self) {
    struct signalfd_siginfo info;
    while (read(self->signals, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGCHLD) continue;
        if (!self->asked_to_stop && self->train)
            sk_cluster_say("%s: the run ends with a checkpoint",
                           info.ssi_signo == SIGINT ? "interrupted" : "asked to end");
        self->asked_to_stop = true;
        ask_train_to_end(self, SAVE_MS);
    }
}

/* Sleep until a signal or the next host's turn. */
static void rest(const head *self, int64_t until_ns) {
    int64_t ms = (until_ns - sk_clock_now_ns()) / 1000000 + 1, most = 60000;
    (void)poll(&(struct pollfd){self->signals, POLLIN, 0}, 1, (int)(ms < 0 ? 0 : ms > most ? most : ms));
}

static void watch(head *self) {
    for (;;) {
        take_signals(self);
        reap(self);
        if (!self->train) return;
        press_train(self);
        int64_t next_ns = INT64_MAX;
        for (int i = 0; i < self->names.n; i++)
            if (!self->hosts[i].pid && self->hosts[i].retry_ns < next_ns) next_ns = self->hosts[i].retry_ns;
        if (next_ns <= sk_clock_now_ns() && !self->asked_to_stop && !self->expired) {
            ask_about_hosts(self);
            continue;
        }
        bool idle = next_ns == INT64_MAX || self->asked_to_stop || self->expired;
        if (idle) next_ns = INT64_MAX;
        if (self->press_ns && self->press_ns < next_ns) next_ns = self->press_ns;
        rest(self, next_ns);
    }
}

/* The head has said goodbye to its nodes, or is gone. */
static void end_hosts(head *self) {
    int64_t start_ns = sk_clock_now_ns();
    int told = 0;
    while (n_sruns(self) > 0) {
        int64_t waited_ms = (sk_clock_now_ns() - start_ns) / 1000000;
        int how = waited_ms > 2 * NODES_LEAVE_MS ? SIGKILL : waited_ms > NODES_LEAVE_MS ? SIGTERM : 0;
        for (int i = 0; i < self->names.n && how != told; i++)
            if (self->hosts[i].pid) kill(self->hosts[i].pid, how);
        told = how;
        rest(self, sk_clock_now_ns() + 500000000);
        take_signals(self);
        reap(self);
    }
}

/* ---- after it ---- */
/* Has this start come further than the one before, or may it be tried again anyway? */
static bool is_fruitful(const head *self) {
    int64_t newest = self->run->run_dir ? sk_checkpoint_newest(self->run->run_dir) : -1;
    return newest > self->checkpoint || self->job.restarts < FRUITLESS_MAX;
}

/* `code` is for those who see this process end before Slurm ends it. */
static int start_anew(head *self, const char *why, int code) {
    sk_error err = {0};
    if (!self->job.is_batch) {
        sk_cluster_say("%s; only a job that was submitted can be started anew; to go on: --resume", why);
        return code;
    }
    if (!is_fruitful(self)) {
        sk_cluster_say("%s; it is not started anew: %d starts have come to no new checkpoint", why,
                       self->job.restarts + 1);
        return code;
    }
    sk_cluster_say("%s; Slurm is asked to start job %s anew, from the last checkpoint", why, self->id);
    if (sk_slurm_requeue(self->id, &err) != SK_OK) sk_cluster_say("error: %s", err.msg);
    return code;
}

/* Was the signal for us the one that comes before the allocation's end? */
static bool time_is_over(const head *self) {
    sk_slurm_job job;
    sk_error err = {0};
    if (!self->asked_to_stop || sk_slurm_job_ask(self->id, &job, &err) != SK_OK) return false;
    if (strcmp(job.state, "TIMEOUT") == 0) return true;
    return strcmp(job.state, "RUNNING") == 0 && job.end_s > 0 && job.end_s - (int64_t)time(NULL) <= EXPIRY_S;
}

static int finish(head *self) {
    int code = sk_process_code(self->train_status);
    char how[64], why[160];
    sk_process_how(self->train_status, how);
    if (!WIFEXITED(self->train_status)) {
        snprintf(why, sizeof why, "the head was %s", how);
        return start_anew(self, why, SK_EXIT_FAILED);
    }
    if (code == SK_EXIT_INTERRUPTED && time_is_over(self))
        return start_anew(self, "the allocation's time is over before the run is done", code);
    if (self->expired) return code == SK_EXIT_INTERRUPTED ? SK_EXIT_FAILED : code;
    sk_cluster_say("the run has ended (%s)", how);
    return code;
}

static int serve(head *self) {
    sk_error err = {0};
    sk_status status = prepare(self, &err);
    if (status == SK_OK) status = start_train(self, &err);
    if (status != SK_OK) return fail(status, &err);
    sk_cluster_say("job %s, start %d%s: the head listens at %s; hosts: %s", self->id, self->job.restarts + 1,
                   self->resumes ? ", from the last checkpoint" : "", self->join, self->job.hosts);
    for (int i = 0; i < self->names.n; i++) start_host(self, &self->hosts[i]);
    watch(self);
    int code = finish(self);
    end_hosts(self);
    return code;
}

int sk_cluster_head(const sk_cluster_run *run) {
    head self = {.run = run, .signals = -1};
    snprintf(self.id, sizeof self.id, "%s", getenv("SLURM_JOB_ID"));
    int code = serve(&self);
    if (self.signals >= 0) close(self.signals);
    sk_slurm_hosts_deinit(&self.names);
    free(self.hosts);
    return code;
}
