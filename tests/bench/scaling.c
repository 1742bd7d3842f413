/* scaling: a head under the load of many runners on many hosts. What it costs per message, per byte and per runner;
 * docs/scaling.md is made from its rows.
 *
 * usage: scaling [--runners 10,50,200] [--per-node 10] [--envs 64] [--steps 128] [--epochs 4] [--think MS]
 *                [--state BYTES] [--seconds 5] [--mode flood|train|both] [--security curve|plain|both] [--json]
 *
 * The head is a real one with a real PPO learner, in a process of its own. Hosts and runners are played by another one
 * (scaling_nodes.c) over loopback TCP: they send one real fragment of CartPole again and again. Both share this
 * machine's cores: CPU times are the head's own, rates are what both reach together.
 *
 * flood   samples follow each other at once and cost the runners nothing: the most that the head takes
 * train   PPO learns from each batch, and a runner needs for a fragment what a real one needs here */
#include "tests/bench/scaling.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROWS_MAX = 16, N_MODES = 2 };

typedef struct options {
    int          runners[ROWS_MAX], n_runners;
    scaling_case c;
    double       think_ms;    /* negative: as measured */
    double       state_bytes; /* likewise              */
    bool         modes[N_MODES], security[2]; /* flood, train; curve, plain */
    bool         json;
} options;

void scaling_config(const scaling_case *c, int n_runners, char *ret_text, size_t size) {
    int rows = c->n_envs * c->n_steps;
    snprintf(ret_text, size,
             "algorithm: ppo\nenv: CartPole-v1\nseed: 1\n"
             "env_runners: {num_env_runners: %d, num_envs_per_env_runner: %d, rollout_fragment_length: %d, "
             "placement: %s, sample_timeout_s: 600}\n"
             "model: {fcnet_hiddens: [64, 64], fcnet_activation: tanh}\n"
             "training: {num_epochs: %d, minibatch_size: %d}\nevaluation: {num_episodes: 0}\n"
             "stop: {training_iteration: 1000000}\n",
             n_runners, c->n_envs, c->n_steps, n_runners ? "remote" : "thread", c->n_epochs, rows < 4096 ? rows : 4096);
}

/* ---- the command line ---------------------------------------------------------------------------------------- */
static void usage(const char *why) {
    fprintf(stderr, "%s\nusage: scaling [--runners 10,50,200] [--per-node 10] [--envs 64] [--steps 128] [--epochs 4]\n"
            "               [--think MS] [--state BYTES] [--seconds 5] [--mode flood|train|both]\n"
            "               [--security curve|plain|both] [--json]\n", why);
    exit(2);
}

static double number(const char *name, const char *text, double lowest, double highest) {
    char  *end = NULL, why[160];
    double value = strtod(text, &end);
    if (end != text && *end == '\0' && value >= lowest && value <= highest) return value;
    snprintf(why, sizeof why, "--%s %s: wanted a number from %g to %g", name, text, lowest, highest);
    usage(why);
    return 0.0;
}

static void read_runners(options *o, char *text) {
    o->n_runners = 0;
    for (char *word = strtok(text, ","); word; word = strtok(NULL, ",")) {
        if (o->n_runners == ROWS_MAX) usage("--runners: too many");
        o->runners[o->n_runners++] = (int)number("runners", word, 1, 100000);
    }
}

static void read_choice(const char *name, const char *text, const char *first, const char *second, bool ret[2]) {
    char why[160];
    ret[0] = strcmp(text, first) == 0 || strcmp(text, "both") == 0;
    ret[1] = strcmp(text, second) == 0 || strcmp(text, "both") == 0;
    snprintf(why, sizeof why, "--%s %s: wanted %s, %s or both", name, text, first, second);
    if (!ret[0] && !ret[1]) usage(why);
}

static options read_options(int argc, char **argv) {
    static const struct option names[] = {{"runners", 1, NULL, 'r'}, {"per-node", 1, NULL, 'n'}, {"envs", 1, NULL, 'e'},
                                          {"steps", 1, NULL, 't'}, {"epochs", 1, NULL, 'k'}, {"think", 1, NULL, 'w'},
                                          {"state", 1, NULL, 'b'}, {"seconds", 1, NULL, 's'}, {"mode", 1, NULL, 'm'},
                                          {"security", 1, NULL, 'c'}, {"json", 0, NULL, 'j'}, {0}};
    options o = {.runners = {10, 50, 200}, .n_runners = 3, .think_ms = -1.0, .state_bytes = -1.0,
                 .modes = {true, true}, .security = {true, true},
                 .c = {.n_per_node = 10, .n_envs = 64, .n_steps = 128, .n_epochs = 4, .seconds = 5.0}};
    for (int ch; (ch = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (ch) {
        case 'r': read_runners(&o, optarg); break;
        case 'n': o.c.n_per_node = (int)number("per-node", optarg, 1, 90); break;
        case 'e': o.c.n_envs = (int)number("envs", optarg, 1, 4096); break;
        case 't': o.c.n_steps = (int)number("steps", optarg, 1, 4096); break;
        case 'k': o.c.n_epochs = (int)number("epochs", optarg, 1, 100); break;
        case 'w': o.think_ms = number("think", optarg, 0, 60000); break;
        case 'b': o.state_bytes = number("state", optarg, 0, 1 << 24); break;
        case 's': o.c.seconds = number("seconds", optarg, 0, 600); break;
        case 'm': read_choice("mode", optarg, "flood", "train", o.modes); break;
        case 'c': read_choice("security", optarg, "curve", "plain", o.security); break;
        case 'j': o.json = true; break;
        default: usage("unknown option");
        }
    }
    if (optind < argc) usage("wanted options only");
    return o;
}

/* ---- processes ----------------------------------------------------------------------------------------------- */
/* A child that ends with this program, whatever ends it. */
static pid_t start(int (*body)(scaling_shared *shared), scaling_shared *shared) {
    pid_t parent = getpid(), pid = fork();
    if (pid != 0) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    fflush(NULL);
    _exit(body(shared));
}

static bool ended_well(pid_t pid) {
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return false;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* ---- rows ---------------------------------------------------------------------------------------------------- */
typedef struct printer {
    bool json;
    char row[64], settings[160];
} printer;

static void print(const printer *self, const char *what, double value, const char *unit) {
    if (self->json)
        printf("{\"bench\":\"scaling\",\"row\":\"%s %s\",\"value\":%.6g,\"unit\":\"%s\",\"limit\":null,"
               "\"settings\":\"%s\"}\n",
               self->row, what, value, unit, self->settings);
    else
        printf("%-40s %14.5g %s\n", what, value, unit);
    fflush(stdout);
}

static void print_rows(const options *o, const scaling_shared *s) {
    const scaling_case   *c = &s->c;
    const scaling_result *r = &s->result;
    printer p = {.json = o->json};
    double  n = (double)r->n_iterations * c->n_runners, us = 1e6 / n;
    snprintf(p.row, sizeof p.row, "%d runners %s %s", c->n_runners, c->learns ? "train" : "flood",
             c->plain ? "plain" : "curve");
    snprintf(p.settings, sizeof p.settings, "%d hosts, fragment %llu B, state %llu B, %.2f ms, %lld iterations",
             c->n_nodes, (unsigned long long)s->fragment_bytes, (unsigned long long)s->state_bytes, c->think_s * 1e3,
             (long long)r->n_iterations);
    if (!o->json) printf("--- %s: %s\n", p.row, p.settings);
    print(&p, "messages", (r->frames_up + r->frames_down) / r->wall_s, "messages/s");
    print(&p, "in", r->bytes_up / r->wall_s / 1e6, "MB/s");
    print(&p, "out", r->bytes_down / r->wall_s / 1e6, "MB/s");
    print(&p, "messages of a runner and iteration", (r->frames_up + r->frames_down) / n, "messages");
    print(&p, "iterations", (double)r->n_iterations / r->wall_s, "1/s");
    print(&p, "env steps", n * c->n_envs * c->n_steps / r->wall_s, "steps/s");
    print(&p, "CPU of a runner and iteration", (r->hosts_s + r->zmq_s + r->call_s + r->pump_s) * us, "us");
    print(&p, "  of it skiff-hosts", r->hosts_s * us, "us");
    print(&p, "  of it libzmq", r->zmq_s * us, "us");
    print(&p, "  of it the learner's thread", r->call_s * us, "us");
    print(&p, "  of it the pump", r->pump_s * us, "us");
    print(&p, "busy skiff-hosts", 100.0 * r->hosts_s / r->wall_s, "%");
    print(&p, "busy libzmq", 100.0 * r->zmq_s / r->wall_s, "%");
    if (c->learns) print(&p, "learner idle", 100.0 * r->sample_s / r->wall_s, "%");
    print(&p, "memory before", r->base_mb, "MB");
    print(&p, "memory with hosts", r->joined_mb, "MB");
    print(&p, "memory with runners", r->made_mb, "MB");
    print(&p, "memory at last", r->end_mb, "MB");
    print(&p, "shared memory at last", r->shared_mb, "MB");
    print(&p, "  of it the batch", r->batch_mb, "MB");
    print(&p, "open files", r->n_descriptors, "files");
}

/* Memory for all processes, with room for a fragment of that shape. */
static scaling_shared *make_shared(const scaling_case *c, size_t *ret_size) {
    sk_batch_shape shape = {.n_steps = c->n_steps, .n_rows = c->n_envs, .obs_dim = 4, .action_slots = 1,
                            .n_fragments = 1};
    *ret_size = sizeof(scaling_shared) + sk_batch_bytes(&shape) + 4096;
    void *memory = mmap(NULL, *ret_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static bool run_case(const options *o, scaling_shared *s, int n_runners, bool learns, bool plain) {
    s->c.n_runners = n_runners;
    s->c.n_nodes = (n_runners + o->c.n_per_node - 1) / o->c.n_per_node;
    s->c.learns = learns;
    s->c.plain = plain;
    s->c.think_s = !learns ? 0.0 : o->think_ms >= 0.0 ? o->think_ms * 1e-3 : s->runner_s;
    s->result = (scaling_result){0};
    atomic_store(&s->listening, 0);
    atomic_store(&s->over, 0);
    pid_t nodes = start(scaling_nodes, s), head = nodes > 0 ? start(scaling_head, s) : -1;
    bool  good = head > 0 && ended_well(head);
    atomic_store(&s->over, 1);
    if (nodes > 0 && !ended_well(nodes)) good = false;
    if (good) print_rows(o, s);
    else
        fprintf(stderr, "scaling: %d runners: %s; %s\n", n_runners,
                s->head_failure[0] ? s->head_failure : "the head has ended",
                s->nodes_failure[0] ? s->nodes_failure : "the nodes are well");
    s->head_failure[0] = s->nodes_failure[0] = '\0';
    return good;
}

int main(int argc, char **argv) {
    options         o = read_options(argc, argv);
    sk_error        err = {0};
    size_t          size = 0;
    int             n_bad = 0;
    scaling_shared *s = make_shared(&o.c, &size);
    if (!s) return 1;
    s->c = o.c;
    if (sk_cluster_key_create(&s->key, &err) != SK_OK) {
        fprintf(stderr, "scaling: %s\n", err.msg);
        return 1;
    }
    pid_t recorder = start(scaling_record, s);
    if (recorder < 0 || !ended_well(recorder)) {
        fprintf(stderr, "scaling: cannot record a fragment: %s\n", s->head_failure);
        return 1;
    }
    if (o.state_bytes >= 0.0) s->state_bytes = (uint64_t)o.state_bytes;
    fprintf(stderr, "scaling: a runner needs %.2f ms for a fragment of %llu bytes and has a state of %llu\n",
            s->runner_s * 1e3, (unsigned long long)s->fragment_bytes, (unsigned long long)s->state_bytes);
    for (int i = 0; i < o.n_runners; i++)
        for (int k = 0; k < 2 * N_MODES; k++)
            if (o.modes[k / 2] && o.security[k % 2] && !run_case(&o, s, o.runners[i], k / 2 == 1, k % 2 == 1)) n_bad++;
    munmap(s, size);
    return n_bad ? 1 : 0;
}
