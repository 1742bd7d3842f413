/* resources_internal: what the files of the resources know of each other. Nobody else includes this.
 *
 *   resources.c         kinds, pools, requests, leases
 *   resources_groups.c  placement groups: their life, their waiting line
 *   resources_place.c   where the bundles of a group go */
#ifndef SK_RUNTIME_RESOURCES_INTERNAL_H
#define SK_RUNTIME_RESOURCES_INTERNAL_H
#include "core/runtime/board.h"
#include "core/runtime/resources.h"

/* Amounts are counted in 1/10,000: fractions that people write add up exactly. */
#define SK__UNITS ((int64_t)10000)

enum {
    SK__NONE = -1,
    SK__CPU = 0, /* the first kind, of every table */
    SK__REACHES = 2,
};

/* What one host has. */
typedef struct sk__share_pool {
    int      number;
    uint32_t use;   /* which use of the number this is: leases of an earlier one are of no account */
    uint32_t kinds; /* bit of each kind that it was given, be it 0 of it                           */
    int64_t  total[SK_RESOURCE_KINDS_MAX], free[SK_RESOURCE_KINDS_MAX];
    /* while a group looks for a place, by resources_place.c */
    int64_t  room[SK_RESOURCE_KINDS_MAX];
    int      n_here; /* bundles of the group                                                       */
    int      owner;  /* index of the bundle that it is for (strict spread)                         */
    int      twin;   /* index among the hosts of the last one before it that is just alike         */
    bool     seen;
} sk__share_pool;

typedef struct sk__bundle {
    sk_demand size;
    int64_t   free[SK_DEMAND_MAX]; /* of size.kind[i]; < 0: overcommitted                           */
    int       pool;                /* where it lies; SK__NONE: it waits for a place                 */
    uint32_t  use;                 /* of that pool                                                  */
    int       want;                /* where it would go (resources_place.c)                         */
    int       order;               /* order[i] is the index of the i-th largest one; HOSTS only     */
} sk__bundle;

typedef struct sk__group {
    uint64_t    id; /* 0: the slot is empty                                                         */
    sk__bundle *bundles;
    int         n;
    uint8_t     reach, strategy;
    bool        waits;      /* in line, for those of its bundles that have no place                 */
    uint32_t    mask;       /* of kinds that those ask for                                          */
    int         prev, next; /* slots: in line, by creation; when empty, next is the next empty one  */
} sk__group;

struct sk_resources {
    int             n_kinds;
    char            name[SK_RESOURCE_KINDS_MAX][SK_RESOURCE_NAME_MAX];
    sk__share_pool  here;                   /* pool 0                                               */
    sk__share_pool *pools[SK_BOARD_HOSTS];  /* by number; NULL: none                                */
    sk__share_pool *hosts[SK_BOARD_HOSTS];  /* (n_hosts) the further ones, by number                */
    int             n_hosts;
    uint32_t        n_uses;
    sk__group      *groups; /* (cap)                                                                */
    int             cap, first_empty;
    int             first_waiting, last_waiting;
    int             n_waiting_of[SK__REACHES][SK_RESOURCE_KINDS_MAX]; /* groups that wait for that kind */
    uint64_t        n_groups_ever;
};

/* ---- resources.c ----------------------------------------------------------------------------------------- */
static inline bool sk__fits(const sk_demand *demand, const int64_t *have) {
    for (int i = 0; i < demand->n; i++)
        if (have[demand->kind[i]] < demand->amount[i]) return false;
    return true;
}
static inline void sk__move(int64_t *have, const sk_demand *demand, int sign) {
    for (int i = 0; i < demand->n; i++) have[demand->kind[i]] += sign * demand->amount[i];
}
/* Sums over many hosts may not fit 63 bits: they stop at what no host can have. */
static inline int64_t sk__add(int64_t a, int64_t b) { return a > INT64_MAX - b ? INT64_MAX : a + b; }

/* The request as numbers. `whole`: each host's total limits it; else a bundle will. */
SK_NODISCARD sk_status sk__parse_amounts(const sk_resources *self, const sk_resource *asked, int n, sk_reach reach,
                                         bool whole, sk_demand *ret_demand, sk_error *reterr);
void sk__amount_text(int64_t units, char *ret_text, size_t size);                   /* "0.25"  */
void sk__share_text(const char *name, int64_t units, char *ret_text, size_t size); /* "2 cpu" */

/* ---- resources_groups.c ---------------------------------------------------------------------------------- */
sk__group *sk__group_find(const sk_resources *self, sk_group id);
void sk__groups_deinit(sk_resources *self);
/* Its pool is about to go: the bundles there lose their place. */
void sk__groups_on_removed(sk_resources *self, int pool);

/* ---- resources_place.c ----------------------------------------------------------------------------------- */
typedef enum sk__place {
    SK__PLACE_FOUND,    /* `want` of each bundle says where                                     */
    SK__PLACE_NONE,     /* there is none                                                        */
    SK__PLACE_NOT_FOUND /* none was found; whether there is one would take too long to find out */
} sk__place;
/* Look on the further hosts for a place for each bundle that has none, by what is free there, or (for one that has no
 * place yet) by what there is in all. */
typedef enum sk__place_by { SK__BY_FREE, SK__BY_TOTAL } sk__place_by;
sk__place sk__group_place(sk_resources *self, sk__group *one, sk__place_by by);
/* Strict spread, after SK__PLACE_NONE: a bundle that found no host. */
int sk__group_unplaced(const sk__group *one);
/* Put the largest first; once. */
SK_NODISCARD sk_status sk__group_sort(const sk_resources *self, sk__group *one, sk_error *reterr);

#endif
