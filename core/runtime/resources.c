#include "core/runtime/resources_internal.h"
#include <ctype.h>
#include <dirent.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#define UNIT 10000.0
#define MOST 4e14 /* of anything on one host: 400 TB in bytes; two such sums still fit 63 bits */

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
    return SK__NONE;
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
void sk__amount_text(int64_t units, char *ret_text, size_t size) {
    uint64_t u = units < 0 ? 0 - (uint64_t)units : (uint64_t)units;
    unsigned fraction = (unsigned)(u % (uint64_t)SK__UNITS);
    int n_digits = 4;
    for (; fraction > 0 && fraction % 10 == 0; fraction /= 10) n_digits--;
    const char *sign = units < 0 ? "-" : "";
    unsigned long long whole = u / (uint64_t)SK__UNITS;
    if (fraction == 0)
        snprintf(ret_text, size, "%s%llu", sign, whole);
    else
        snprintf(ret_text, size, "%s%llu.%0*u", sign, whole, n_digits, fraction);
}

/* "2 cpu", "4096 bytes of memory". */
void sk__share_text(const char *name, int64_t units, char *ret_text, size_t size) {
    char amount[40];
    sk__amount_text(units, amount, sizeof amount);
    bool is_bytes = strcmp(name, "memory") == 0;
    snprintf(ret_text, size, "%s %s%s", amount, is_bytes ? "bytes of " : "", name);
}

void sk_demand_text(const sk_resources *self, const sk_demand *demand, char *ret_text, size_t size) {
    SK_ASSERT(self && demand && ret_text && size > 0);
    snprintf(ret_text, size, "%s", demand->n == 0 ? "nothing" : "");
    for (int i = 0, at = 0; i < demand->n && (size_t)at < size; i++) {
        char share[96];
        sk__share_text(self->name[demand->kind[i]], demand->amount[i], share, sizeof share);
        at += snprintf(ret_text + at, size - (size_t)at, "%s%s", i > 0 ? ", " : "", share);
    }
}

/* ---- what cannot be -------------------------------------------------------------------------------------- */
/* "asks for 5 cpu, there are 2 in all", "asks for 5 cpu, the most that one host has is 2" */
static sk_status fail_too_much(const char *name, int64_t asked, int64_t most, sk_reach reach, sk_error *reterr) {
    char share[96], amount[40];
    sk__share_text(name, asked, share, sizeof share);
    sk__amount_text(most, amount, sizeof amount);
    if (reach == SK_REACH_HOSTS)
        return SK_FAIL(reterr, SK_ELIMIT, "asks for %s, the most that one host has is %s", share, amount);
    return SK_FAIL(reterr, SK_ELIMIT, "asks for %s, there %s %s in all", share, most == SK__UNITS ? "is" : "are",
                   amount);
}

/* Bits of the kinds that there are within reach. */
static uint32_t kinds_within(const sk_resources *self, sk_reach reach) {
    if (reach == SK_REACH_HERE) return self->here.kinds;
    uint32_t kinds = 0;
    for (int i = 0; i < self->n_hosts; i++) kinds |= self->hosts[i]->kinds;
    return kinds;
}

static sk_status fail_unknown(const sk_resources *self, const char *name, int64_t asked, sk_reach reach,
                              sk_error *reterr) {
    char     share[96], known[SK_RESOURCE_KINDS_MAX * (SK_RESOURCE_NAME_MAX + 2)] = "";
    uint32_t kinds = kinds_within(self, reach);
    sk__share_text(name, asked, share, sizeof share);
    for (int kind = 0, at = 0; kind < self->n_kinds; kind++)
        if (kinds & 1u << kind)
            at += snprintf(known + at, sizeof known - (size_t)at, "%s%s", at > 0 ? ", " : "", self->name[kind]);
    return SK_FAIL(reterr, SK_ENOTFOUND, "asks for %s, and %s (%s)", share,
                   reach == SK_REACH_HERE ? "this host has none" : "no host that has joined has any", known);
}

/* ---- pools ----------------------------------------------------------------------------------------------- */
static void set_total(sk__share_pool *pool, int kind, int64_t units) {
    pool->total[kind] = pool->free[kind] = units;
    pool->kinds |= 1u << kind;
}

static int add_kind(sk_resources *self, const char *name) {
    int kind = self->n_kinds++;
    snprintf(self->name[kind], sizeof self->name[kind], "%s", name);
    return kind;
}

static sk_status add_given(sk_resources *self, sk__share_pool *pool, const sk_resource *given, uint32_t *seen,
                           sk_error *reterr) {
    int64_t units = 0;
    SK_TRY(check_name(given->name, reterr));
    SK_TRY(to_units(given->name, given->amount, &units, reterr));
    if (given->amount > MOST)
        return SK_FAIL(reterr, SK_EINVAL, "resource \"%s\": at most %g can be counted, got %g", given->name, MOST,
                       given->amount);
    int kind = find_kind(self, given->name);
    if (kind == SK__NONE && self->n_kinds == SK_RESOURCE_KINDS_MAX)
        return SK_FAIL(reterr, pool->number == 0 ? SK_EINVAL : SK_ELIMIT,
                       "resource \"%s\" is one too many: there may be %d kinds", given->name, SK_RESOURCE_KINDS_MAX);
    if (kind == SK__NONE) kind = add_kind(self, given->name);
    if (*seen & 1u << kind) return SK_FAIL(reterr, SK_EINVAL, "resource \"%s\" is given twice", given->name);
    *seen |= 1u << kind;
    set_total(pool, kind, units);
    return SK_OK;
}

sk_status sk_resources_create(const sk_resource *given, int n, sk_resources **ret_resources, sk_error *reterr) {
    SK_ASSERT(ret_resources && n >= 0 && (given || n == 0));
    SK_AUTO(sk_resources) self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "no memory for the resources");
    self->first_empty = self->first_waiting = self->last_waiting = SK__NONE;
    self->pools[0] = &self->here;

    set_total(&self->here, add_kind(self, "cpu"), count_cores() * SK__UNITS);
    set_total(&self->here, add_kind(self, "gpu"), count_gpus() * SK__UNITS);
    set_total(&self->here, add_kind(self, "memory"), (int64_t)fmin(memory_bytes(), MOST) * SK__UNITS);
    uint32_t seen = 0;
    for (int i = 0; i < n; i++) SK_TRY(add_given(self, &self->here, &given[i], &seen, reterr));
    *ret_resources = self;
    self = NULL;
    return SK_OK;
}

void sk_resources_destroy(sk_resources **self_p) {
    if (!self_p || !*self_p) return;
    sk_resources *self = *self_p;
    *self_p = NULL;
    sk__groups_deinit(self);
    for (int i = 0; i < self->n_hosts; i++) free(self->hosts[i]);
    free(self);
}

sk_status sk_resources_of_machine(const sk_resource *given, int n, sk_resource_row *ret_rows, int *ret_n,
                                  sk_error *reterr) {
    SK_ASSERT(ret_rows && ret_n);
    SK_AUTO(sk_resources) machine = NULL;
    SK_TRY(sk_resources_create(given, n, &machine, reterr));
    *ret_n = sk_resources_rows(machine, 0, ret_rows);
    return SK_OK;
}

sk_status sk_resources_add_pool(sk_resources *self, int number, const sk_resource *given, int n, sk_error *reterr) {
    SK_ASSERT(self && number > 0 && number < SK_BOARD_HOSTS && !self->pools[number] && n >= 0 && (given || n == 0));
    sk__share_pool *pool = calloc(1, sizeof *pool);
    if (!pool) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a host's resources");
    pool->number = number;
    pool->use = ++self->n_uses;
    int      n_kinds = self->n_kinds;
    uint32_t seen = 0;
    for (int i = 0; i < n; i++) {
        sk_status status = add_given(self, pool, &given[i], &seen, reterr);
        if (status == SK_OK) continue;
        self->n_kinds = n_kinds;
        free(pool);
        return status;
    }
    self->pools[number] = pool;
    int at = self->n_hosts++;
    for (; at > 0 && self->hosts[at - 1]->number > number; at--) self->hosts[at] = self->hosts[at - 1];
    self->hosts[at] = pool;
    return SK_OK;
}

static sk__share_pool *pool_at(const sk_resources *self, int number) {
    return number >= 0 && number < SK_BOARD_HOSTS ? self->pools[number] : NULL;
}

void sk_resources_remove_pool(sk_resources *self, int number) {
    SK_ASSERT(self && number > 0);
    sk__share_pool *pool = pool_at(self, number);
    if (!pool) return;
    self->pools[number] = NULL;
    int at = 0;
    while (self->hosts[at] != pool) at++;
    for (self->n_hosts--; at < self->n_hosts; at++) self->hosts[at] = self->hosts[at + 1];
    free(pool);
    sk__groups_on_removed(self, number);
}

int sk_resources_rows(const sk_resources *self, int number, sk_resource_row *ret_rows) {
    SK_ASSERT(self && ret_rows);
    const sk__share_pool *one = number < 0 ? &self->here : pool_at(self, number);
    int                   n = 0;
    for (int kind = 0; one && kind < self->n_kinds; kind++) {
        if (number >= 0 && !(one->kinds & 1u << kind)) continue;
        sk_resource_row *row = &ret_rows[n++];
        *row = (sk_resource_row){.total = (double)one->total[kind] / UNIT, .free = (double)one->free[kind] / UNIT};
        memcpy(row->name, self->name[kind], sizeof row->name);
        for (int i = 0; number < 0 && i < self->n_hosts; i++) {
            row->total += (double)self->hosts[i]->total[kind] / UNIT;
            row->free += (double)self->hosts[i]->free[kind] / UNIT;
        }
    }
    return n;
}

/* ---- reading requests ------------------------------------------------------------------------------------ */
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

/* Can one host within reach ever give that much of the kind? */
static sk_status check_kind(const sk_resources *self, int kind, int64_t units, sk_reach reach, sk_error *reterr) {
    const char *name = self->name[kind];
    if (!(kinds_within(self, reach) & 1u << kind)) return fail_unknown(self, name, units, reach, reterr);
    int64_t most = reach == SK_REACH_HERE ? self->here.total[kind] : 0;
    for (int i = 0; reach == SK_REACH_HOSTS && i < self->n_hosts; i++)
        if (self->hosts[i]->total[kind] > most) most = self->hosts[i]->total[kind];
    return units > most ? fail_too_much(name, units, most, reach, reterr) : SK_OK;
}

/* Each kind is there; is all of it on one host? */
static sk_status check_hosts(const sk_resources *self, const sk_demand *demand, sk_error *reterr) {
    for (int i = 0; i < self->n_hosts; i++)
        if (sk__fits(demand, self->hosts[i]->total)) return SK_OK;
    char text[256];
    sk_demand_text(self, demand, text, sizeof text);
    return SK_FAIL(reterr, SK_ELIMIT, "asks for %s, and no host has all of that", text);
}

sk_status sk__parse_amounts(const sk_resources *self, const sk_resource *asked, int n, sk_reach reach, bool whole,
                            sk_demand *ret_demand, sk_error *reterr) {
    sk_demand demand = {0};
    bool      no_hosts = whole && reach == SK_REACH_HOSTS && self->n_hosts == 0;
    for (int i = 0; i < n; i++) {
        int64_t units = 0;
        SK_TRY(check_name(asked[i].name, reterr));
        SK_TRY(to_units(asked[i].name, asked[i].amount, &units, reterr));
        if (units == 0) continue;
        if (no_hosts) {
            char share[96];
            sk__share_text(asked[i].name, units, share, sizeof share);
            return SK_FAIL(reterr, SK_ELIMIT, "asks for %s, and no host has joined yet", share);
        }
        int kind = find_kind(self, asked[i].name);
        if (kind == SK__NONE) return fail_unknown(self, asked[i].name, units, reach, reterr);
        if (whole) SK_TRY(check_kind(self, kind, units, reach, reterr));
        SK_TRY(insert_sorted(&demand, kind, units, asked[i].name, reterr));
    }
    if (no_hosts) return SK_FAIL(reterr, SK_ELIMIT, "no host has joined yet");
    if (whole && reach == SK_REACH_HOSTS) SK_TRY(check_hosts(self, &demand, reterr));
    *ret_demand = demand;
    return SK_OK;
}

/* Does `demand` fit `have` of the bundle's kinds? Both are sorted by kind. ret_short (nullable): what does not. */
static bool fits_bundle(const sk_demand *demand, const sk__bundle *in, const int64_t *have, int *ret_short) {
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

static int64_t bundle_total(const sk__bundle *in, int kind) {
    for (int i = 0; i < in->size.n; i++)
        if (in->size.kind[i] == kind) return in->size.amount[i];
    return 0;
}

static sk_status check_bundle(const sk_resources *self, const sk_demand *demand, const sk__group *in, int index,
                              sk_error *reterr) {
    int short_of = 0;
    const sk__bundle *at = &in->bundles[index];
    if (fits_bundle(demand, at, at->size.amount, &short_of)) return SK_OK;
    char share[96], amount[40];
    int kind = demand->kind[short_of];
    sk__share_text(self->name[kind], demand->amount[short_of], share, sizeof share);
    sk__amount_text(bundle_total(at, kind), amount, sizeof amount);
    return SK_FAIL(reterr, SK_ELIMIT, "asks for %s, bundle %d of its placement group has %s in all", share, index,
                   amount);
}

static sk_status check_any_bundle(const sk_resources *self, const sk_demand *demand, const sk__group *in,
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
    sk_demand demand;
    if (id.id == 0) return sk__parse_amounts(self, asked, n, reach, true, ret_demand, reterr);
    const sk__group *in = sk__group_find(self, id);
    if (!in) return SK_FAIL(reterr, SK_ENOTFOUND, "there is no such placement group, or it was destroyed");
    if (in->reach != reach)
        return SK_FAIL(reterr, SK_EUNSUPPORTED, "%s",
                       reach == SK_REACH_HERE ? "its placement group lies on the hosts that have joined: in it, only a "
                                                "remote placement is possible"
                                              : "its placement group lies on this host: nothing in it is remote");
    if (index >= in->n)
        return SK_FAIL(reterr, SK_ENOTFOUND, "the placement group has no bundle %d, only 0 to %d", index, in->n - 1);
    SK_TRY(sk__parse_amounts(self, asked, n, reach, false, &demand, reterr));
    if (index >= 0) SK_TRY(check_bundle(self, &demand, in, index, reterr));
    else SK_TRY(check_any_bundle(self, &demand, in, reterr));
    *ret_demand = demand;
    return SK_OK;
}

/* ---- taking and giving back ------------------------------------------------------------------------------ */
static void move_bundle(sk__bundle *in, const sk_demand *demand, int sign) {
    for (int i = 0, j = 0; i < demand->n; i++) {
        while (in->size.kind[j] < demand->kind[i]) j++;
        in->free[j] += sign * demand->amount[i];
    }
}

static bool take_of_group(sk_resources *self, const sk_demand *demand, int number, sk_group id, int index,
                          sk_lease *ret_lease) {
    sk__group *in = sk__group_find(self, id);
    if (!in || index >= in->n) return false;
    int first = index < 0 ? 0 : index, end = index < 0 ? in->n : index + 1;
    for (int i = first; i < end; i++) {
        sk__bundle *at = &in->bundles[i];
        if (at->pool != number || !fits_bundle(demand, at, at->free, NULL)) continue;
        move_bundle(at, demand, -1);
        *ret_lease = (sk_lease){.demand = *demand, .group = id, .bundle = i, .pool = number, .use = at->use};
        return true;
    }
    return false;
}

bool sk_resources_take(sk_resources *self, const sk_demand *demand, int number, sk_group id, int index,
                       sk_lease *ret_lease) {
    SK_ASSERT(self && demand && ret_lease);
    sk__share_pool *pool = pool_at(self, number);
    if (!pool) return false;
    if (id.id != 0) return take_of_group(self, demand, number, id, index, ret_lease);
    if (!sk__fits(demand, pool->free)) return false;
    sk__move(pool->free, demand, -1);
    *ret_lease = (sk_lease){.demand = *demand, .pool = number, .use = pool->use};
    return true;
}

/* Where a lease moves what is free: its bundle, or its host. Both NULL: it was lost with its host. A group that was
 * destroyed gave its hosts what it had free (less what was overcommitted): what comes back now goes there too. */
static void find_owner(const sk_resources *self, const sk_lease *lease, sk__bundle **ret_bundle,
                       sk__share_pool **ret_pool) {
    *ret_bundle = NULL;
    *ret_pool = NULL;
    sk__group *in = sk__group_find(self, lease->group);
    if (in) {
        sk__bundle *at = &in->bundles[lease->bundle];
        if (at->pool == lease->pool && at->use == lease->use) *ret_bundle = at;
        return;
    }
    sk__share_pool *pool = pool_at(self, lease->pool);
    if (pool && pool->use == lease->use) *ret_pool = pool;
}

void sk_resources_give_back(sk_resources *self, const sk_lease *lease) {
    SK_ASSERT(self && lease);
    sk__bundle     *bundle;
    sk__share_pool *pool;
    find_owner(self, lease, &bundle, &pool);
    if (bundle) move_bundle(bundle, &lease->demand, 1);
    else if (pool) sk__move(pool->free, &lease->demand, 1);
}

bool sk_resources_retake(sk_resources *self, const sk_lease *lease) {
    SK_ASSERT(self && lease);
    sk__bundle     *bundle;
    sk__share_pool *pool;
    find_owner(self, lease, &bundle, &pool);
    if (bundle) move_bundle(bundle, &lease->demand, -1);
    else if (pool && lease->group.id == 0) sk__move(pool->free, &lease->demand, -1);
    else return false;
    return true;
}

bool sk_resources_is_lost(const sk_resources *self, const sk_lease *lease) {
    SK_ASSERT(self && lease);
    sk__bundle     *bundle;
    sk__share_pool *pool;
    find_owner(self, lease, &bundle, &pool);
    return !bundle && !pool;
}

int sk_resources_cpus(const sk_resources *self, int number) {
    SK_ASSERT(self);
    const sk__share_pool *pool = pool_at(self, number);
    return pool ? (int)(pool->total[SK__CPU] / SK__UNITS) : 0;
}

/* ---- where something may run now ------------------------------------------------------------------------- */
typedef struct candidate {
    int64_t cpu; /* free */
    int     pool;
} candidate;

static int by_cpu_then_number(const void *a, const void *b) {
    const candidate *one = a, *other = b;
    if (one->cpu != other->cpu) return one->cpu > other->cpu ? -1 : 1;
    return one->pool - other->pool;
}

static int64_t free_cpu_of(const sk__bundle *in) { return in->size.n && in->size.kind[0] == SK__CPU ? in->free[0] : 0; }

/* Of a group's bundles that could give it, the best one of each host. */
static int find_in_group(const sk_resources *self, const sk_demand *demand, sk_reach reach, sk_group id, int index,
                         candidate *found) {
    int              n = 0;
    const sk__group *in = sk__group_find(self, id);
    if (!in || in->reach != reach || index >= in->n) return 0;
    int first = index < 0 ? 0 : index, end = index < 0 ? in->n : index + 1;
    for (int i = 0; i < self->n_hosts; i++) self->hosts[i]->owner = SK__NONE; /* its place in `found` */
    self->pools[0]->owner = SK__NONE;
    for (int i = first; i < end; i++) {
        const sk__bundle *at = &in->bundles[i];
        sk__share_pool   *pool = pool_at(self, at->pool);
        if (!pool || !fits_bundle(demand, at, at->free, NULL)) continue;
        if (pool->owner == SK__NONE) {
            pool->owner = n;
            found[n++] = (candidate){free_cpu_of(at), at->pool};
        } else if (free_cpu_of(at) > found[pool->owner].cpu) {
            found[pool->owner].cpu = free_cpu_of(at);
        }
    }
    return n;
}

int sk_resources_candidates(const sk_resources *self, const sk_demand *demand, sk_reach reach, sk_group id, int index,
                            int *ret_pools, int max) {
    SK_ASSERT(self && demand && ret_pools && max > 0);
    candidate found[SK_BOARD_HOSTS];
    int       n = 0;
    if (id.id != 0) {
        n = find_in_group(self, demand, reach, id, index, found);
    } else if (reach == SK_REACH_HERE) {
        if (sk__fits(demand, self->here.free)) found[n++] = (candidate){0, 0};
    } else {
        for (int i = 0; i < self->n_hosts; i++) {
            const sk__share_pool *pool = self->hosts[i];
            if (sk__fits(demand, pool->free)) found[n++] = (candidate){pool->free[SK__CPU], pool->number};
        }
    }
    if (max == 1) {
        for (int i = 1; i < n; i++)
            if (by_cpu_then_number(&found[i], &found[0]) < 0) found[0] = found[i];
    } else {
        qsort(found, (size_t)n, sizeof *found, by_cpu_then_number);
    }
    if (n > max) n = max;
    for (int i = 0; i < n; i++) ret_pools[i] = found[i].pool;
    return n;
}
