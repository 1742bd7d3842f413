/* scaling: what the three processes of the load generator (scaling.c) share.
 *
 *   scaling.c          the program: options, one pair of processes per row, rows out
 *   scaling_head.c     a real head: runtime, actors, PPO; what is measured in it
 *   scaling_nodes.c    nodes and their runners, played over core/transport/link.h
 *   scaling_record.c   one real fragment of CartPole, which the runners send again and again
 *
 * Threads: the shared memory is written by one process each, as said; counters are atomic. */
#ifndef SK_TESTS_BENCH_SCALING_H
#define SK_TESTS_BENCH_SCALING_H
#include "core/transport/keys.h"
#include "rl/batch.h"
#include <stdatomic.h>
#include <stdbool.h>

#define SCALING_BUILD "scaling" /* what head and nodes say that they are */

typedef struct scaling_case {
    int    n_runners, n_per_node, n_nodes;
    int    n_envs, n_steps; /* of one fragment                                              */
    int    n_epochs;        /* of PPO                                                       */
    bool   plain;           /* no CURVE                                                     */
    bool   learns;          /* a real update per iteration; else the next sample at once    */
    double think_s;         /* from CALL to ALLOC                                           */
    double seconds;         /* of measuring, at least one iteration                         */
} scaling_case;

/* What a row says; by the head, but for what the nodes count. */
typedef struct scaling_result {
    int64_t n_iterations;
    double  wall_s, sample_s, learn_s;   /* of the measured iterations; sample: the learner waits               */
    double  hosts_s, zmq_s, call_s, pump_s; /* CPU: skiff-hosts, libzmq's threads, the caller in sampling, the pump */
    double  frames_up, frames_down, bytes_up, bytes_down; /* in that time, from and to nodes                    */
    /* resident, not shared: before the runtime, with hosts, with runners, at last                                */
    double  base_mb, joined_mb, made_mb, end_mb;
    double  shared_mb, batch_mb; /* resident and shared at last; of it the learner's batch                       */
    int     n_descriptors;       /* open at last                                                                  */
} scaling_result;

/* Shared memory of all three. */
typedef struct scaling_shared {
    scaling_case   c;
    sk_cluster_key key;
    /* the recorder */
    double         runner_s; /* what a runner needed for a fragment                          */
    uint64_t       fragment_bytes, state_bytes;
    uint64_t       episodes_at; /* where its list begins: rows there and the head say whose it is */
    /* the head */
    char           endpoint[128];
    _Atomic int    listening, over;
    scaling_result result;
    char           head_failure[700];
    /* the nodes */
    _Atomic uint64_t frames_up, frames_down, bytes_up, bytes_down, n_fragments;
    char           nodes_failure[700];
    _Alignas(64) uint8_t fragment[]; /* fragment_bytes */
} scaling_shared;

/* The bodies of the processes; they end with 0, or write why not. */
int scaling_record(scaling_shared *shared);
int scaling_head(scaling_shared *shared);
int scaling_nodes(scaling_shared *shared);

/* YAML of the run that all of it is about. */
void scaling_config(const scaling_case *c, int n_runners, char *ret_text, size_t size);

#endif
