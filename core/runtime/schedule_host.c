/* Which host: of those that have the share now, the one that holds most of the arguments, then the one that is least
 * busy. */
#include "core/runtime/driver.h"
#include "core/runtime/host.h"
#include <stdlib.h>
#include <string.h>

enum { LARGE_MAX = 32 }; /* arguments in the store that are looked at */

/* ---- arguments ------------------------------------------------------------------------------------------- */
/* Those of the job's arguments that lie in the store; gives how many. */
static int find_large(sk__driver *d, const sk__job *job, sk_extent ret_extents[LARGE_MAX]) {
    if (!job->has_refs) return 0;
    sk_bytes  rest = {job->packed, job->packed_size};
    sk_record record;
    int       n = 0;
    while (n < LARGE_MAX && rest.size && sk_packed_next(&rest, &record, NULL) == SK_OK) {
        const sk__object *object = record.kind == SK_PACKED_REF ? sk__object_find(d, record.ref.id) : NULL;
        if (object && object->place == SK__IN_STORE) ret_extents[n++] = object->at.extent;
    }
    return n;
}

bool sk__job_is_large(sk__driver *d, const sk__job *job) {
    sk_extent extents[LARGE_MAX];
    return find_large(d, job, extents) > 0;
}

static uint64_t bytes_on(const sk__driver *d, int number, const sk_extent *extents, int n) {
    const sk__host *host = sk__host_at(d, number);
    uint64_t        bytes = 0;
    for (int i = 0; host && i < n; i++)
        if (sk__host_has_copy(host, extents[i].offset)) bytes += extents[i].size;
    return bytes;
}

uint64_t sk__job_bytes_on(sk__driver *d, const sk__job *job, int number) {
    sk_extent extents[LARGE_MAX];
    return bytes_on(d, number, extents, find_large(d, job, extents));
}

/* ---- order ----------------------------------------------------------------------------------------------- */
static bool asks_for_cpu(const sk_demand *demand) { return demand->n > 0 && demand->kind[0] == 0; }

typedef struct ranked {
    double load; /* workers per cpu */
    int    host, place;
} ranked;

static int least_load_first(const void *a, const void *b) {
    const ranked *one = a, *other = b;
    if (one->load != other->load) return one->load < other->load ? -1 : 1;
    return one->place - other->place;
}

/* What asks for no cpu leaves no trace in what is free: count the workers that do something. */
static void sort_by_workers(sk__driver *d, int *hosts, int n) {
    int    n_busy[SK_BOARD_HOSTS] = {0};
    ranked all[SK_BOARD_HOSTS];
    for (int i = 0; i < d->n_lines; i++) {
        const sk__peer *peer = d->peers[i];
        if (peer && (peer->actor || peer->cls)) n_busy[sk__peer_host(peer)]++;
    }
    for (int i = 0; i < n; i++) {
        int n_cpus = sk_resources_cpus(d->resources, hosts[i]);
        all[i] = (ranked){(double)n_busy[hosts[i]] / (n_cpus > 0 ? n_cpus : 1), hosts[i], i};
    }
    qsort(all, (size_t)n, sizeof *all, least_load_first);
    for (int i = 0; i < n; i++) hosts[i] = all[i].host;
}

/* The one that holds most goes first. */
static void put_nearest_first(sk__driver *d, const sk_extent *extents, int n_extents, int *hosts, int n) {
    int      best = 0;
    uint64_t most = 0;
    for (int i = 0; i < n; i++) {
        uint64_t bytes = bytes_on(d, hosts[i], extents, n_extents);
        if (bytes <= most) continue;
        most = bytes;
        best = i;
    }
    int host = hosts[best];
    memmove(&hosts[1], &hosts[0], (size_t)best * sizeof *hosts);
    hosts[0] = host;
}

/* Those whose store could never hold the arguments are left out, but if that is all of them: then it is told. */
static int leave_out_small(const sk__driver *d, const sk_extent *extents, int n_extents, int *hosts, int n) {
    uint64_t bytes = 0;
    int      n_left = 0;
    for (int i = 0; i < n_extents; i++) bytes += extents[i].size;
    for (int i = 0; i < n; i++) {
        const sk__host *host = sk__host_at(d, hosts[i]);
        if (!host || host->store_bytes < bytes) continue;
        int kept = hosts[i];
        memmove(&hosts[n_left + 1], &hosts[n_left], (size_t)(i - n_left) * sizeof *hosts);
        hosts[n_left++] = kept;
    }
    return n_left > 0 ? n_left : n;
}

int sk__hosts_rank(sk__driver *d, const sk_demand *demand, sk_group group, int bundle, const sk__job *job,
                   int *ret_hosts, int max) {
    sk_extent extents[LARGE_MAX];
    int       hosts[SK_BOARD_HOSTS];
    int       n_extents = find_large(d, job, extents);
    bool      by_cpu = asks_for_cpu(demand);
    if (by_cpu && n_extents == 0)
        return sk_resources_candidates(d->resources, demand, SK_REACH_HOSTS, group, bundle, ret_hosts, max);
    int n = sk_resources_candidates(d->resources, demand, SK_REACH_HOSTS, group, bundle, hosts, SK_BOARD_HOSTS);
    if (!by_cpu && n > 1) sort_by_workers(d, hosts, n);
    if (n_extents > 0 && n > 1) n = leave_out_small(d, extents, n_extents, hosts, n);
    if (n_extents > 0 && n > 1) put_nearest_first(d, extents, n_extents, hosts, n);
    if (n > max) n = max;
    memcpy(ret_hosts, hosts, (size_t)n * sizeof *hosts);
    return n;
}
