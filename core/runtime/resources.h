/* resources: what there is to share, who has how much of it, and placement groups. Pure bookkeeping in 1/10,000 units.
 *
 * Threads: one at a time (the runtime's lock). */
#ifndef SK_RUNTIME_RESOURCES_H
#define SK_RUNTIME_RESOURCES_H
#include "skiff/skiff.h"

enum { SK_RESOURCE_KINDS_MAX = 16, SK_RESOURCE_NAME_MAX = 24, SK_DEMAND_MAX = 6 };

typedef struct sk_resources sk_resources;

/* So much of up to SK_DEMAND_MAX kinds, sorted by kind; all zero: nothing. Comparable with memcmp. */
typedef struct sk_demand {
    int64_t amount[SK_DEMAND_MAX]; /* [1/10,000] > 0 */
    uint8_t kind[SK_DEMAND_MAX];
    uint8_t n, pad;
} sk_demand;

/* A share that was taken: what gives it back. */
typedef struct sk_lease {
    sk_demand demand;
    sk_group  group;  /* {0}: from the host's own */
    int       bundle;
    int       pool;   /* number of the host       */
    uint32_t  use;    /* which use of that number */
} sk_lease;

typedef struct sk_resource_row {
    char   name[SK_RESOURCE_NAME_MAX];
    double total, free; /* free < 0: overcommitted for a while */
} sk_resource_row;

/* Where something may run: in pool 0 (the driver's own host), or in any of the others (further hosts). */
typedef enum sk_reach { SK_REACH_HERE, SK_REACH_HOSTS } sk_reach;

/* Pool 0 has what `given` says, which overrides what the machine has: cpu (cores this process may use), gpu
 * (/dev/nvidia<N>), memory [bytes]. SK_EINVAL: a name or amount that cannot be. Caller destroys. */
SK_NODISCARD sk_status sk_resources_create(const sk_resource *given, int n, sk_resources **ret_resources,
                                           sk_error *reterr);
void sk_resources_destroy(sk_resources **self_p);
/* What a machine has, with `given` over it: fills ret_rows[SK_RESOURCE_KINDS_MAX], gives how many (what a node says when
 * it joins). */
SK_NODISCARD sk_status sk_resources_of_machine(const sk_resource *given, int n, sk_resource_row *ret_rows, int *ret_n,
                                               sk_error *reterr);
/* A further host has exactly these. `pool` is its number (1 ..), not in use. SK_ELIMIT: too many kinds. */
SK_NODISCARD sk_status sk_resources_add_pool(sk_resources *self, int pool, const sk_resource *given, int n,
                                             sk_error *reterr);
/* The host is gone. Leases of it may still be given back, which changes nothing. Groups with a bundle there are no longer
 * reserved as a whole: those bundles wait for another place (strict strategies are kept), the others stay and may be
 * taken from meanwhile. */
void sk_resources_remove_pool(sk_resources *self, int pool);
/* How many kinds; fills ret_rows[SK_RESOURCE_KINDS_MAX] for one pool (those it was given; 0 rows: there is no such
 * pool), or (negative) for all together. */
int sk_resources_rows(const sk_resources *self, int pool, sk_resource_row *ret_rows);

/* Read a request and check that it can ever be met within reach: by one host there, or by that bundle (negative: any) of
 * the group. SK_EINVAL: a bad amount. SK_ELIMIT: never, naming resource, asked, and the most that one host has in all (or
 * that no host has joined yet). SK_ENOTFOUND: no such group, bundle or resource. SK_EUNSUPPORTED: the group has another
 * reach. */
SK_NODISCARD sk_status sk_resources_parse(const sk_resources *self, const sk_resource *asked, int n, sk_reach reach,
                                          sk_group group, int bundle, sk_demand *ret_demand, sk_error *reterr);
/* Take it from that pool if it is free there now; of a group, from a bundle that lies there. */
bool sk_resources_take(sk_resources *self, const sk_demand *demand, int pool, sk_group group, int bundle,
                       sk_lease *ret_lease);
void sk_resources_give_back(sk_resources *self, const sk_lease *lease);
/* Take the same share again even if it is not free (a task that comes back from a wait). False: its group or host is
 * gone. */
bool sk_resources_retake(sk_resources *self, const sk_lease *lease);
/* Pools within reach that could give it now, best first: the most free cpu (of a group: in its best bundle there), then
 * the lowest number; writes up to max, gives how many. */
int sk_resources_candidates(const sk_resources *self, const sk_demand *demand, sk_reach reach, sk_group group,
                            int bundle, int *ret_pools, int max);
/* Was it lost with its host? Nothing is held by it then. */
bool sk_resources_is_lost(const sk_resources *self, const sk_lease *lease);
/* Whole cpus that a pool has in all; 0: there is no such pool. */
int sk_resources_cpus(const sk_resources *self, int pool);
/* "2 cpu, 0.5 gpu" into text; for messages. */
void sk_demand_text(const sk_resources *self, const sk_demand *demand, char *ret_text, size_t size);

/* Register a group: reserved at once, or waiting. Its bundles lie within reach: pack on as few hosts as can be, spread
 * over as many as can be, strict pack on one, strict spread each on another. SK_ELIMIT when it never can be with the
 * hosts that are there (names what is short). The fewest and the most are exact up to 16 bundles on 64 hosts unless
 * that takes too long, else what filling the roomiest hosts first, or the emptiest, comes to. */
SK_NODISCARD sk_status sk_resources_group_create(sk_resources *self, const sk_bundle *bundles, int n,
                                                 sk_strategy strategy, sk_reach reach, sk_group *ret_group,
                                                 sk_error *reterr);
bool sk_resources_group_exists(const sk_resources *self, sk_group group);
bool sk_resources_group_is_reserved(const sk_resources *self, sk_group group);
/* Give its unused shares back now, and used ones as they are given back. */
void sk_resources_group_destroy(sk_resources *self, sk_group group);
/* Try waiting groups in order of creation; true: one was reserved. Call after something was given back or a host
 * joined. */
bool sk_resources_groups_retry(sk_resources *self);

#endif
