#include "core/runtime/resources.h"
#include <ctype.h>
#include <dirent.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

/* Amounts are counted in 1/10,000: fractions that people write add up exactly. */
#define UNIT     10000.0
#define UNITS    ((int64_t)10000)
#define MOST     4e14 /* of anything: 400 TB in bytes; two such sums still fit 63 bits */
#define NONE     (-1)
/* A group's id: low 20 bits slot + 1; the rest counts the groups ever made, so no id comes twice. */
enum { SLOT_BITS = 20, GROUPS_MAX = (1 << SLOT_BITS) - 1 };

typedef struct bundle {
    sk_demand size;
    int64_t   free[SK_DEMAND_MAX]; /* of size.kind[i]; < 0: overcommitted */
} bundle;

typedef struct group {
    uint64_t id; /* 0: the slot is empty                         */
    bundle  *bundles;
    int      n;
    bool     reserved;
    uint32_t mask; /* of kinds its bundles ask for               */
    int      prev, next; /* slots: while waiting, in order of creation; when empty, next is the next empty one */
} group;

struct sk_resources {
    int      n_kinds;
    int64_t  total[SK_RESOURCE_KINDS_MAX], free[SK_RESOURCE_KINDS_MAX];
    char     name[SK_RESOURCE_KINDS_MAX][SK_RESOURCE_NAME_MAX];
    group   *groups; /* (cap)                             */
    int      cap, first_empty;
    int      first_waiting, last_waiting;
    int      n_waiting_of[SK_RESOURCE_KINDS_MAX]; /* waiting groups that ask for that kind */
    uint64_t n_groups_ever;
};

/* ---- what the machine has -------------------------------------------------------------------------------- */
/* Cores this process may run on. The kernel wants a mask as large as the machine: double until it takes it. */
static int count_cores(void) {
    for (int n = 1024; n <= 1 << 20; n *= 2) {
        cpu_set_t *set = CPU_ALLOC((size_t)n);
        if (!set) break;
        size_t size = CPU_ALLOC_SIZE((size_t)n);
        int n_cores = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
        CPU_FREE(set);
        if (n_cores > 0) return n_cores;
    }
    return 1;
}

/* /dev/nvidia<N>, one per card; nvidiactl and the like are not. */
static int count_gpus(void) {
    DIR *dir = opendir("/dev");
    if (!dir) return 0;
    int n = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        const char *digits = entry->d_name + 6;
        if (strncmp(entry->d_name, "nvidia", 6) != 0 || !*digits) continue;
        n += digits[strspn(digits, "0123456789")] == '\0';
    }
    closedir(dir);
    return n;
}

static double memory_bytes(void) {
    struct sysinfo info;
    if (sysinfo(&info) != 0) return 0;
    return (double)info.totalram * (double)info.mem_unit;
}

/* ---- kinds and amounts ----------------------------------------------------------------------------------- */
static int find_kind(const sk_resources *self, const char *name) {
    for (int kind = 0; kind < self->n_kinds; kind++)
        if (strcmp(self->name[kind], name) == 0) return kind;
    return NONE;
}

/* Letters, digits and "_-.:/", so that a list of them can be read. */
static sk_status check_name(const char *name, sk_error *reterr) {
    if (!name || !*name) return SK_FAIL(reterr, SK_EINVAL, "a resource has no name");
    size_t n = strnlen(name, SK_RESOURCE_NAME_MAX);
    if (n == SK_RESOURCE_NAME_MAX)
        return SK_FAIL(reterr, SK_EINVAL, "resource \"%.*s...\": a name has at most %d bytes", SK_RESOURCE_NAME_MAX,
                       name, SK_RESOURCE_NAME_MAX - 1);
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)name[i]) && !strchr("_-.:/", name[i]))
            return SK_FAIL(reterr, SK_EINVAL, "resource \"%s\": a name is of letters, digits and _-.:/", name);
    return SK_OK;
}

/* Rounded down, but for what a double cannot hold: n shares of 1/n always fit in one. */
static sk_status to_units(const char *name, double amount, int64_t *ret_units, sk_error *reterr) {
    if (!isfinite(amount) || amount < 0)
        return SK_FAIL(reterr, SK_EINVAL, "resource \"%s\": an amount must be finite and >= 0, got %g", name, amount);
    double exact = fmin(amount, MOST) * UNIT;
    int64_t units = (int64_t)floor(exact + fmin(1e-6 + exact * 4e-16, 0.5));
    if (amount > 0 && units == 0)
        return SK_FAIL(reterr, SK_EINVAL, "resource \"%s\": amounts count to 1/10,000, got %g", name, amount);
    *ret_units = units;
    return SK_OK;
}

/* "2", "0.25": as short as it can be said. */
static void amount_text(int64_t units, char *ret_text, size_t size) {
    uint64_t u = units < 0 ? 0 - (uint64_t)units : (uint64_t)units;
    unsigned fraction = (unsigned)(u % (uint64_t)UNITS);
    int n_digits = 4;
    for (; fraction > 0 && fraction % 10 == 0; fraction /= 10) n_digits--;
    const char *sign = units < 0 ? "-" : "";
    unsigned long long whole = u / (uint64_t)UNITS;
    if (fraction == 0)
        snprintf(ret_text, size, "%s%llu", sign, whole);
    else
        snprintf(ret_text, size, "%s%llu.%0*u", sign, whole, n_digits, fraction);
}

/* "2 cpu", "4096 bytes of memory". */
static void share_text(const char *name, int64_t units, char *ret_text, size_t size) {
    char amount[40];
    amount_text(units, amount, sizeof amount);
    bool is_bytes = strcmp(name, "memory") == 0;
    snprintf(ret_text, size, "%s %s%s", amount, is_bytes ? "bytes of " : "", name);
}

void sk_demand_text(const sk_resources *self, const sk_demand *demand, char *ret_text, size_t size) {
    SK_ASSERT(self && demand && ret_text && size > 0);
    snprintf(ret_text, size, "%s", demand->n == 0 ? "nothing" : "");
    for (int i = 0, at = 0; i < demand->n && (size_t)at < size; i++) {
        char share[96];
        share_text(self->name[demand->kind[i]], demand->amount[i], share, sizeof share);
        at += snprintf(ret_text + at, size - (size_t)at, "%s%s", i > 0 ? ", " : "", share);
    }
}

/* "asks for 5 cpu, there are 2 in all" */
static sk_status fail_too_much(const char *name, int64_t asked, int64_t total, sk_error *reterr) {
    char share[96], amount[40];
    share_text(name, asked, share, sizeof share);
    amount_text(total, amount, sizeof amount);
    return SK_FAIL(reterr, SK_ELIMIT, "asks for %s, there %s %s in all", share, total == UNITS ? "is" : "are", amount);
}

static sk_status fail_unknown(const sk_resources *self, const char *name, int64_t asked, sk_error *reterr) {
    char share[96], known[SK_RESOURCE_KINDS_MAX * (SK_RESOURCE_NAME_MAX + 2)] = "";
    share_text(name, asked, share, sizeof share);
    for (int kind = 0, at = 0; kind < self->n_kinds; kind++)
        at += snprintf(known + at, sizeof known - (size_t)at, "%s%s", kind > 0 ? ", " : "", self->name[kind]);
    return SK_FAIL(reterr, SK_ENOTFOUND, "asks for %s, and this host has none (%s)", share, known);
}

/* ---- the host -------------------------------------------------------------------------------------------- */
static void set_total(sk_resources *self, int kind, int64_t units) {
    self->total[kind] = self->free[kind] = units;
}

static int add_kind(sk_resources *self, const char *name) {
    int kind = self->n_kinds++;
    snprintf(self->name[kind], sizeof self->name[kind], "%s", name);
    return kind;
}

static sk_status add_given(sk_resources *self, const sk_resource *given, uint32_t *seen, sk_error *reterr) {
    int64_t units = 0;
    SK_TRY(check_name(given->name, reterr));
    SK_TRY(to_units(given->name, given->amount, &units, reterr));
    if (given->amount > MOST)
        return SK_FAIL(reterr, SK_EINVAL, "resource \"%s\": at most %g can be counted, got %g", given->name, MOST,
                       given->amount);
    int kind = find_kind(self, given->name);
    if (kind == NONE && self->n_kinds == SK_RESOURCE_KINDS_MAX)
        return SK_FAIL(reterr, SK_EINVAL, "resource \"%s\" is one too many: there may be %d kinds", given->name,
                       SK_RESOURCE_KINDS_MAX);
    if (kind == NONE) kind = add_kind(self, given->name);
    if (*seen & 1u << kind) return SK_FAIL(reterr, SK_EINVAL, "resource \"%s\" is given twice", given->name);
    *seen |= 1u << kind;
    set_total(self, kind, units);
    return SK_OK;
}

sk_status sk_resources_create(const sk_resource *given, int n, sk_resources **ret_resources, sk_error *reterr) {
    SK_ASSERT(ret_resources && n >= 0 && (given || n == 0));
    SK_AUTO(sk_resources) self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "no memory for the resources");
    self->first_empty = self->first_waiting = self->last_waiting = NONE;

    set_total(self, add_kind(self, "cpu"), count_cores() * UNITS);
    set_total(self, add_kind(self, "gpu"), count_gpus() * UNITS);
    set_total(self, add_kind(self, "memory"), (int64_t)fmin(memory_bytes(), MOST) * UNITS);
    uint32_t seen = 0;
    for (int i = 0; i < n; i++) SK_TRY(add_given(self, &given[i], &seen, reterr));
    *ret_resources = self;
    self = NULL;
    return SK_OK;
}

void sk_resources_destroy(sk_resources **self_p) {
    if (!self_p || !*self_p) return;
    sk_resources *self = *self_p;
    *self_p = NULL;
    for (int slot = 0; slot < self->cap; slot++) free(self->groups[slot].bundles);
    free(self->groups);
    free(self);
}

int sk_resources_rows(const sk_resources *self, int pool, sk_resource_row *ret_rows) {
    (void)pool;
    SK_ASSERT(self && ret_rows);
    for (int kind = 0; kind < self->n_kinds; kind++) {
        sk_resource_row *row = &ret_rows[kind];
        *row = (sk_resource_row){.total = (double)self->total[kind] / UNIT, .free = (double)self->free[kind] / UNIT};
        memcpy(row->name, self->name[kind], sizeof row->name);
    }
    return self->n_kinds;
}

/* ---- reading requests ------------------------------------------------------------------------------------ */
static group *find_group(const sk_resources *self, sk_group id) {
    uint32_t slot = (uint32_t)(id.id & GROUPS_MAX) - 1;
    if (id.id == 0 || slot >= (uint32_t)self->cap) return NULL;
    group *found = &self->groups[slot];
    return found->id == id.id ? found : NULL;
}

/* Put `units` of `kind` where it belongs in the order of kinds. */
static sk_status insert_sorted(sk_demand *demand, int kind, int64_t units, const char *name, sk_error *reterr) {
    int at = demand->n;
    while (at > 0 && demand->kind[at - 1] > kind) at--;
    if (at > 0 && demand->kind[at - 1] == kind)
        return SK_FAIL(reterr, SK_EINVAL, "resource \"%s\" is asked for twice", name);
    if (demand->n == SK_DEMAND_MAX)
        return SK_FAIL(reterr, SK_EINVAL, "resource \"%s\" is one too many: a request may name %d kinds", name,
                       SK_DEMAND_MAX);
    size_t n_after = (size_t)(demand->n - at);
    memmove(&demand->amount[at + 1], &demand->amount[at], n_after * sizeof demand->amount[0]);
    memmove(&demand->kind[at + 1], &demand->kind[at], n_after);
    demand->amount[at] = units;
    demand->kind[at] = (uint8_t)kind;
    demand->n++;
    return SK_OK;
}

/* The request as numbers, each within what the host has in all. */
static sk_status parse_for_host(const sk_resources *self, const sk_resource *asked, int n, sk_demand *ret_demand,
                                sk_error *reterr) {
    sk_demand demand = {0};
    for (int i = 0; i < n; i++) {
        int64_t units = 0;
        SK_TRY(check_name(asked[i].name, reterr));
        SK_TRY(to_units(asked[i].name, asked[i].amount, &units, reterr));
        if (units == 0) continue;
        int kind = find_kind(self, asked[i].name);
        if (kind == NONE) return fail_unknown(self, asked[i].name, units, reterr);
        if (units > self->total[kind]) return fail_too_much(asked[i].name, units, self->total[kind], reterr);
        SK_TRY(insert_sorted(&demand, kind, units, asked[i].name, reterr));
    }
    *ret_demand = demand;
    return SK_OK;
}

/* Does `demand` fit `have` of the bundle's kinds? Both are sorted by kind. ret_short (nullable): what does not. */
static bool fits_bundle(const sk_demand *demand, const bundle *in, const int64_t *have, int *ret_short) {
    for (int i = 0, j = 0; i < demand->n; i++) {
        while (j < in->size.n && in->size.kind[j] < demand->kind[i]) j++;
        bool ok = j < in->size.n && in->size.kind[j] == demand->kind[i] && demand->amount[i] <= have[j];
        if (!ok) {
            if (ret_short) *ret_short = i;
            return false;
        }
    }
    return true;
}

static int64_t bundle_total(const bundle *in, int kind) {
    for (int i = 0; i < in->size.n; i++)
        if (in->size.kind[i] == kind) return in->size.amount[i];
    return 0;
}

static sk_status check_bundle(const sk_resources *self, const sk_demand *demand, const group *in, int index,
                              sk_error *reterr) {
    int short_of = 0;
    const bundle *at = &in->bundles[index];
    if (fits_bundle(demand, at, at->size.amount, &short_of)) return SK_OK;
    char share[96], amount[40];
    int kind = demand->kind[short_of];
    share_text(self->name[kind], demand->amount[short_of], share, sizeof share);
    amount_text(bundle_total(at, kind), amount, sizeof amount);
    return SK_FAIL(reterr, SK_ELIMIT, "asks for %s, bundle %d of its placement group has %s in all", share, index,
                   amount);
}

static sk_status check_any_bundle(const sk_resources *self, const sk_demand *demand, const group *in,
                                  sk_error *reterr) {
    for (int i = 0; i < in->n; i++)
        if (fits_bundle(demand, &in->bundles[i], in->bundles[i].size.amount, NULL)) return SK_OK;
    if (in->n == 1) return check_bundle(self, demand, in, 0, reterr);
    char text[256];
    sk_demand_text(self, demand, text, sizeof text);
    return SK_FAIL(reterr, SK_ELIMIT, "asks for %s, and none of the %d bundles of its placement group has that in all",
                   text, in->n);
}

sk_status sk_resources_parse(const sk_resources *self, const sk_resource *asked, int n, sk_reach reach, sk_group id,
                             int index, sk_demand *ret_demand, sk_error *reterr) {
    SK_ASSERT(self && n >= 0 && (asked || n == 0) && ret_demand);
    if (reach == SK_REACH_HOSTS) return SK_FAIL(reterr, SK_ELIMIT, "no host has joined");
    sk_demand demand;
    SK_TRY(parse_for_host(self, asked, n, &demand, reterr));
    if (id.id != 0) {
        const group *in = find_group(self, id);
        if (!in) return SK_FAIL(reterr, SK_ENOTFOUND, "there is no such placement group, or it was destroyed");
        if (index >= in->n)
            return SK_FAIL(reterr, SK_ENOTFOUND, "the placement group has no bundle %d, only 0 to %d", index,
                           in->n - 1);
        if (index >= 0)
            SK_TRY(check_bundle(self, &demand, in, index, reterr));
        else
            SK_TRY(check_any_bundle(self, &demand, in, reterr));
    }
    *ret_demand = demand;
    return SK_OK;
}

/* ---- taking and giving back ------------------------------------------------------------------------------ */
static void move_host(sk_resources *self, const sk_demand *demand, int sign) {
    for (int i = 0; i < demand->n; i++) self->free[demand->kind[i]] += sign * demand->amount[i];
}

static void move_bundle(bundle *in, const sk_demand *demand, int sign) {
    for (int i = 0, j = 0; i < demand->n; i++) {
        while (in->size.kind[j] < demand->kind[i]) j++;
        in->free[j] += sign * demand->amount[i];
    }
}

static bool host_has(const sk_resources *self, const sk_demand *demand) {
    for (int i = 0; i < demand->n; i++)
        if (self->free[demand->kind[i]] < demand->amount[i]) return false;
    return true;
}

bool sk_resources_take(sk_resources *self, const sk_demand *demand, int pool, sk_group id, int index,
                       sk_lease *ret_lease) {
    SK_ASSERT(self && demand && ret_lease);
    if (pool != 0) return false;
    if (id.id == 0) {
        if (!host_has(self, demand)) return false;
        move_host(self, demand, -1);
        *ret_lease = (sk_lease){.demand = *demand};
        return true;
    }
    group *in = find_group(self, id);
    if (!in || !in->reserved || index >= in->n) return false;
    int first = index < 0 ? 0 : index, end = index < 0 ? in->n : index + 1;
    for (int i = first; i < end; i++) {
        if (!fits_bundle(demand, &in->bundles[i], in->bundles[i].free, NULL)) continue;
        move_bundle(&in->bundles[i], demand, -1);
        *ret_lease = (sk_lease){.demand = *demand, .group = id, .bundle = i};
        return true;
    }
    return false;
}

/* A group that was destroyed gave the host what it had free (less what was overcommitted): what comes back now goes
 * there too. */
void sk_resources_give_back(sk_resources *self, const sk_lease *lease) {
    SK_ASSERT(self && lease);
    group *in = find_group(self, lease->group);
    if (in)
        move_bundle(&in->bundles[lease->bundle], &lease->demand, 1);
    else
        move_host(self, &lease->demand, 1);
}

bool sk_resources_retake(sk_resources *self, const sk_lease *lease) {
    SK_ASSERT(self && lease);
    if (lease->group.id == 0) {
        move_host(self, &lease->demand, -1);
        return true;
    }
    group *in = find_group(self, lease->group);
    if (!in) return false;
    move_bundle(&in->bundles[lease->bundle], &lease->demand, -1);
    return true;
}

/* ---- placement groups ------------------------------------------------------------------------------------ */
/* Read the bundles; ret_bundles (n) is the caller's. Each is within the host's total, so sums cannot overflow. */
static sk_status parse_bundles(const sk_resources *self, const sk_bundle *bundles, int n, bundle *ret_bundles,
                               sk_error *reterr) {
    int64_t sum[SK_RESOURCE_KINDS_MAX] = {0};
    for (int i = 0; i < n; i++) {
        sk_demand *size = &ret_bundles[i].size;
        sk_status status = parse_for_host(self, bundles[i].resources, bundles[i].n_resources, size, reterr);
        if (status != SK_OK) {
            sk_error_prefix(reterr, "bundle %d of a placement group", i);
            return status;
        }
        if (size->n == 0) return SK_FAIL(reterr, SK_EINVAL, "bundle %d of a placement group asks for nothing", i);
        memcpy(ret_bundles[i].free, size->amount, sizeof size->amount);
        for (int j = 0; j < size->n; j++) {
            int kind = size->kind[j];
            sum[kind] += size->amount[j];
            if (sum[kind] <= self->total[kind]) continue;
            status = fail_too_much(self->name[kind], sum[kind], self->total[kind], reterr);
            sk_error_prefix(reterr, "a placement group's first %d bundles", i + 1);
            return status;
        }
    }
    return SK_OK;
}

/* A slot for one more group; its index. */
static sk_status take_slot(sk_resources *self, int *ret_slot, sk_error *reterr) {
    if (self->first_empty == NONE) {
        if (self->cap == GROUPS_MAX)
            return SK_FAIL(reterr, SK_ELIMIT, "there are %d placement groups, more are not possible", self->cap);
        int cap = self->cap == 0 ? 16 : self->cap * 2;
        if (cap > GROUPS_MAX) cap = GROUPS_MAX;
        group *more = realloc(self->groups, (size_t)cap * sizeof *more);
        if (!more) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a placement group");
        self->groups = more;
        for (int slot = cap - 1; slot >= self->cap; slot--) {
            more[slot] = (group){.next = self->first_empty};
            self->first_empty = slot;
        }
        self->cap = cap;
    }
    *ret_slot = self->first_empty;
    self->first_empty = self->groups[*ret_slot].next;
    return SK_OK;
}

static void count_waiting(sk_resources *self, uint32_t mask, int by) {
    for (int kind = 0; kind < self->n_kinds; kind++)
        if (mask & 1u << kind) self->n_waiting_of[kind] += by;
}

static void append_waiting(sk_resources *self, int slot) {
    group *last = self->last_waiting == NONE ? NULL : &self->groups[self->last_waiting];
    self->groups[slot].prev = self->last_waiting;
    self->groups[slot].next = NONE;
    if (last)
        last->next = slot;
    else
        self->first_waiting = slot;
    self->last_waiting = slot;
    count_waiting(self, self->groups[slot].mask, 1);
}

static void remove_waiting(sk_resources *self, int slot) {
    group *one = &self->groups[slot];
    if (one->prev == NONE)
        self->first_waiting = one->next;
    else
        self->groups[one->prev].next = one->next;
    if (one->next == NONE)
        self->last_waiting = one->prev;
    else
        self->groups[one->next].prev = one->prev;
    count_waiting(self, one->mask, -1);
}

/* All bundles or none. */
static bool reserve(sk_resources *self, group *one) {
    for (int i = 0; i < one->n; i++) {
        if (host_has(self, &one->bundles[i].size)) {
            move_host(self, &one->bundles[i].size, -1);
            continue;
        }
        while (--i >= 0) move_host(self, &one->bundles[i].size, 1);
        return false;
    }
    one->reserved = true;
    return true;
}

bool sk_resources_groups_retry(sk_resources *self) {
    SK_ASSERT(self);
    uint32_t wanted = 0, blocked = 0; /* kinds that groups wait for; those that one before waits for */
    for (int kind = 0; kind < self->n_kinds; kind++)
        if (self->n_waiting_of[kind] > 0) wanted |= 1u << kind;
    bool any = false;
    for (int slot = self->first_waiting; slot != NONE && blocked != wanted;) {
        group *one = &self->groups[slot];
        int next = one->next;
        if (!(one->mask & blocked) && reserve(self, one)) {
            remove_waiting(self, slot);
            any = true;
        } else {
            blocked |= one->mask;
        }
        slot = next;
    }
    return any;
}

/* Does a group that waits ask for one of these kinds? Then a new one may not go first. */
static bool waits_behind(const sk_resources *self, uint32_t mask) {
    for (int kind = 0; kind < self->n_kinds; kind++)
        if (mask & 1u << kind && self->n_waiting_of[kind] > 0) return true;
    return false;
}

sk_status sk_resources_group_create(sk_resources *self, const sk_bundle *bundles, int n, sk_strategy strategy,
                                    sk_reach reach, sk_group *ret_group, sk_error *reterr) {
    SK_ASSERT(self && ret_group);
    if (reach == SK_REACH_HOSTS) return SK_FAIL(reterr, SK_ELIMIT, "no host has joined");
    if (n <= 0 || !bundles) return SK_FAIL(reterr, SK_EINVAL, "a placement group needs at least one bundle, got %d", n);
    if ((int)strategy < SK_PACK || (int)strategy > SK_STRICT_SPREAD)
        return SK_FAIL(reterr, SK_EINVAL, "a placement group's strategy is 0 to %d, got %d", SK_STRICT_SPREAD,
                       (int)strategy);
    if (strategy == SK_STRICT_SPREAD && n > 1)
        return SK_FAIL(reterr, SK_ELIMIT, "a placement group asks for %d hosts (strict spread, %d bundles), there is 1",
                       n, n);
    bundle *own = calloc((size_t)n, sizeof *own);
    if (!own) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a placement group of %d bundles", n);
    int slot = NONE;
    sk_status status = parse_bundles(self, bundles, n, own, reterr);
    if (status == SK_OK) status = take_slot(self, &slot, reterr);
    if (status != SK_OK) {
        free(own);
        return status;
    }
    uint64_t id = ++self->n_groups_ever << SLOT_BITS | (uint64_t)(slot + 1);
    self->groups[slot] = (group){.id = id, .bundles = own, .n = n};
    for (int i = 0; i < n; i++)
        for (int j = 0; j < own[i].size.n; j++) self->groups[slot].mask |= 1u << own[i].size.kind[j];
    if (waits_behind(self, self->groups[slot].mask) || !reserve(self, &self->groups[slot])) append_waiting(self, slot);
    ret_group->id = id;
    return SK_OK;
}

bool sk_resources_group_exists(const sk_resources *self, sk_group id) {
    SK_ASSERT(self);
    return find_group(self, id) != NULL;
}

bool sk_resources_group_is_reserved(const sk_resources *self, sk_group id) {
    SK_ASSERT(self);
    const group *one = find_group(self, id);
    return one && one->reserved;
}

void sk_resources_group_destroy(sk_resources *self, sk_group id) {
    SK_ASSERT(self);
    group *one = find_group(self, id);
    if (!one) return;
    int slot = (int)(one - self->groups);
    if (!one->reserved) remove_waiting(self, slot);
    for (int i = 0; one->reserved && i < one->n; i++)
        for (int j = 0; j < one->bundles[i].size.n; j++)
            self->free[one->bundles[i].size.kind[j]] += one->bundles[i].free[j];
    free(one->bundles);
    *one = (group){.next = self->first_empty};
    self->first_empty = slot;
}
