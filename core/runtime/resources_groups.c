/* Placement groups: their life, and the line of those that wait for a place. */
#include "core/runtime/resources_internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A group's id: low 20 bits slot + 1; the rest counts the groups ever made, so no id comes twice. */
enum { SLOT_BITS = 20, GROUPS_MAX = (1 << SLOT_BITS) - 1 };

sk__group *sk__group_find(const sk_resources *self, sk_group id) {
    uint32_t slot = (uint32_t)(id.id & GROUPS_MAX) - 1;
    if (id.id == 0 || slot >= (uint32_t)self->cap) return NULL;
    sk__group *found = &self->groups[slot];
    return found->id == id.id ? found : NULL;
}

bool sk_resources_group_exists(const sk_resources *self, sk_group id) {
    SK_ASSERT(self);
    return sk__group_find(self, id) != NULL;
}

bool sk_resources_group_is_reserved(const sk_resources *self, sk_group id) {
    SK_ASSERT(self);
    const sk__group *one = sk__group_find(self, id);
    return one && !one->waits;
}

/* ---- slots ----------------------------------------------------------------------------------------------- */
/* A slot for one more group; its index. */
static sk_status take_slot(sk_resources *self, int *ret_slot, sk_error *reterr) {
    if (self->first_empty == SK__NONE) {
        if (self->cap == GROUPS_MAX)
            return SK_FAIL(reterr, SK_ELIMIT, "there are %d placement groups, more are not possible", self->cap);
        int cap = self->cap == 0 ? 16 : self->cap * 2;
        if (cap > GROUPS_MAX) cap = GROUPS_MAX;
        sk__group *more = realloc(self->groups, (size_t)cap * sizeof *more);
        if (!more) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a placement group");
        self->groups = more;
        for (int slot = cap - 1; slot >= self->cap; slot--) {
            more[slot] = (sk__group){.next = self->first_empty};
            self->first_empty = slot;
        }
        self->cap = cap;
    }
    *ret_slot = self->first_empty;
    self->first_empty = self->groups[*ret_slot].next;
    return SK_OK;
}

static void give_slot(sk_resources *self, int slot) {
    self->groups[slot] = (sk__group){.next = self->first_empty};
    self->first_empty = slot;
}

void sk__groups_deinit(sk_resources *self) {
    for (int slot = 0; slot < self->cap; slot++) free(self->groups[slot].bundles);
    free(self->groups);
}

/* ---- the line of those that wait ------------------------------------------------------------------------- */
/* Kinds that it lacks a place for. */
static uint32_t mask_of(const sk__group *one) {
    uint32_t mask = 0;
    for (int i = 0; i < one->n; i++)
        for (int j = 0; one->bundles[i].pool == SK__NONE && j < one->bundles[i].size.n; j++)
            mask |= 1u << one->bundles[i].size.kind[j];
    return mask;
}

static void count_waiting(sk_resources *self, const sk__group *one, int by) {
    for (int kind = 0; kind < self->n_kinds; kind++)
        if (one->mask & 1u << kind) self->n_waiting_of[one->reach][kind] += by;
}

/* By creation: mostly at the end. */
static void insert_waiting(sk_resources *self, int slot) {
    sk__group *one = &self->groups[slot];
    int        before = self->last_waiting;
    while (before != SK__NONE && self->groups[before].id >> SLOT_BITS > one->id >> SLOT_BITS)
        before = self->groups[before].prev;
    one->waits = true;
    one->prev = before;
    one->next = before == SK__NONE ? self->first_waiting : self->groups[before].next;
    *(before == SK__NONE ? &self->first_waiting : &self->groups[before].next) = slot;
    *(one->next == SK__NONE ? &self->last_waiting : &self->groups[one->next].prev) = slot;
    one->mask = mask_of(one);
    count_waiting(self, one, 1);
}

static void remove_waiting(sk_resources *self, int slot) {
    sk__group *one = &self->groups[slot];
    *(one->prev == SK__NONE ? &self->first_waiting : &self->groups[one->prev].next) = one->next;
    *(one->next == SK__NONE ? &self->last_waiting : &self->groups[one->next].prev) = one->prev;
    count_waiting(self, one, -1);
    one->waits = false;
}

/* Does a group that waits ask for one of these kinds? Then a new one may not go first. */
static bool waits_behind(const sk_resources *self, const sk__group *one) {
    for (int kind = 0; kind < self->n_kinds; kind++)
        if (one->mask & 1u << kind && self->n_waiting_of[one->reach][kind] > 0) return true;
    return false;
}

/* ---- reserving ------------------------------------------------------------------------------------------- */
/* All bundles on this host, or none. */
static bool reserve_here(sk_resources *self, sk__group *one) {
    for (int i = 0; i < one->n; i++) {
        if (sk__fits(&one->bundles[i].size, self->here.free)) {
            sk__move(self->here.free, &one->bundles[i].size, -1);
            continue;
        }
        while (--i >= 0) sk__move(self->here.free, &one->bundles[i].size, 1);
        return false;
    }
    for (int i = 0; i < one->n; i++) one->bundles[i].pool = 0;
    return true;
}

/* All bundles that have no place get one, or none does. */
static bool reserve(sk_resources *self, sk__group *one) {
    if (one->reach == SK_REACH_HERE) return reserve_here(self, one);
    if (sk__group_place(self, one, SK__BY_FREE) != SK__PLACE_FOUND) return false;
    for (int i = 0; i < one->n; i++) {
        sk__bundle *at = &one->bundles[i];
        if (at->pool != SK__NONE) continue;
        sk__share_pool *pool = self->pools[at->want];
        sk__move(pool->free, &at->size, -1);
        at->pool = at->want;
        at->use = pool->use;
        memcpy(at->free, at->size.amount, sizeof at->free);
    }
    return true;
}

bool sk_resources_groups_retry(sk_resources *self) {
    SK_ASSERT(self);
    uint32_t wanted[SK__REACHES] = {0}, blocked[SK__REACHES] = {0}; /* kinds that groups wait for; those that one
                                                                       before waits for */
    for (int reach = 0; reach < SK__REACHES; reach++)
        for (int kind = 0; kind < self->n_kinds; kind++)
            if (self->n_waiting_of[reach][kind] > 0) wanted[reach] |= 1u << kind;
    bool any = false;
    for (int slot = self->first_waiting; slot != SK__NONE && memcmp(blocked, wanted, sizeof wanted) != 0;) {
        sk__group *one = &self->groups[slot];
        int        next = one->next;
        if (!(one->mask & blocked[one->reach]) && reserve(self, one)) {
            remove_waiting(self, slot);
            any = true;
        } else {
            blocked[one->reach] |= one->mask;
        }
        slot = next;
    }
    return any;
}

/* ---- creating -------------------------------------------------------------------------------------------- */
static int64_t total_within(const sk_resources *self, sk_reach reach, int kind) {
    int64_t total = reach == SK_REACH_HERE ? self->here.total[kind] : 0;
    for (int i = 0; reach == SK_REACH_HOSTS && i < self->n_hosts; i++)
        total = sk__add(total, self->hosts[i]->total[kind]);
    return total;
}

static sk_status fail_sum(const sk_resources *self, int kind, int64_t sum, int64_t total, int n_bundles, sk_reach reach,
                          sk_error *reterr) {
    char share[96], amount[40], hosts[32] = "";
    sk__share_text(self->name[kind], sum, share, sizeof share);
    sk__amount_text(total, amount, sizeof amount);
    if (reach == SK_REACH_HOSTS)
        snprintf(hosts, sizeof hosts, " on %d host%s", self->n_hosts, self->n_hosts == 1 ? "" : "s");
    return SK_FAIL(reterr, SK_ELIMIT, "a placement group's first %d bundles: asks for %s, there %s %s in all%s",
                   n_bundles, share, total == SK__UNITS ? "is" : "are", amount, hosts);
}

/* Read the bundles; ret_bundles (n) is the caller's. Each must fit one host, and together all of them. */
static sk_status parse_bundles(const sk_resources *self, const sk_bundle *bundles, int n, sk_reach reach,
                               sk__bundle *ret_bundles, sk_error *reterr) {
    int64_t sum[SK_RESOURCE_KINDS_MAX] = {0}, total[SK_RESOURCE_KINDS_MAX];
    for (int kind = 0; kind < self->n_kinds; kind++) total[kind] = total_within(self, reach, kind);
    for (int i = 0; i < n; i++) {
        sk_demand *size = &ret_bundles[i].size;
        sk_status  status =
            sk__parse_amounts(self, bundles[i].resources, bundles[i].n_resources, reach, true, size, reterr);
        if (status != SK_OK) {
            sk_error_prefix(reterr, "bundle %d of a placement group", i);
            return status;
        }
        if (size->n == 0) return SK_FAIL(reterr, SK_EINVAL, "bundle %d of a placement group asks for nothing", i);
        memcpy(ret_bundles[i].free, size->amount, sizeof size->amount);
        ret_bundles[i].pool = SK__NONE;
        for (int j = 0; j < size->n; j++) {
            int kind = size->kind[j];
            sum[kind] = sk__add(sum[kind], size->amount[j]);
            if (sum[kind] > total[kind]) return fail_sum(self, kind, sum[kind], total[kind], i + 1, reach, reterr);
        }
    }
    return SK_OK;
}

/* Its bundles have no place together, on hosts that are empty but for them: say why. */
static sk_status fail_place(const sk_resources *self, const sk__group *one, sk_error *reterr) {
    char text[256];
    if (one->strategy == SK_STRICT_SPREAD) {
        int at = sk__group_unplaced(one);
        sk_demand_text(self, &one->bundles[at].size, text, sizeof text);
        return SK_FAIL(reterr, SK_ELIMIT,
                       "a placement group asks for a host for each of its %d bundles (strict spread): beside the "
                       "others none is left for bundle %d, which asks for %s",
                       one->n, at, text);
    }
    if (one->strategy == SK_STRICT_PACK)
        return SK_FAIL(reterr, SK_ELIMIT,
                       "a placement group asks for one host for all of its %d bundles (strict pack), and no host has "
                       "as much",
                       one->n);
    return SK_FAIL(reterr, SK_ELIMIT, "a placement group's %d bundles do not fit on the %d host%s that have joined",
                   one->n, self->n_hosts, self->n_hosts == 1 ? "" : "s");
}

/* Could it ever be reserved? Each bundle fits a host, and the sums do. */
static sk_status check_place(sk_resources *self, sk__group *one, sk_error *reterr) {
    int n_hosts = one->reach == SK_REACH_HERE ? 1 : self->n_hosts;
    if (one->strategy == SK_STRICT_SPREAD && one->n > n_hosts)
        return SK_FAIL(reterr, SK_ELIMIT, "a placement group asks for %d hosts (strict spread, %d bundles), there %s %d",
                       one->n, one->n, n_hosts == 1 ? "is" : "are", n_hosts);
    if (one->reach == SK_REACH_HERE) return SK_OK;
    SK_TRY(sk__group_sort(self, one, reterr));
    return sk__group_place(self, one, SK__BY_TOTAL) == SK__PLACE_NONE ? fail_place(self, one, reterr) : SK_OK;
}

sk_status sk_resources_group_create(sk_resources *self, const sk_bundle *bundles, int n, sk_strategy strategy,
                                    sk_reach reach, sk_group *ret_group, sk_error *reterr) {
    SK_ASSERT(self && ret_group);
    if (n <= 0 || !bundles) return SK_FAIL(reterr, SK_EINVAL, "a placement group needs at least one bundle, got %d", n);
    if ((int)strategy < SK_PACK || (int)strategy > SK_STRICT_SPREAD)
        return SK_FAIL(reterr, SK_EINVAL, "a placement group's strategy is 0 to %d, got %d", SK_STRICT_SPREAD,
                       (int)strategy);
    sk__group one = {.n = n, .reach = (uint8_t)reach, .strategy = (uint8_t)strategy};
    one.bundles = calloc((size_t)n, sizeof *one.bundles);
    if (!one.bundles) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a placement group of %d bundles", n);
    int       slot = SK__NONE;
    sk_status status = parse_bundles(self, bundles, n, reach, one.bundles, reterr);
    if (status == SK_OK) status = check_place(self, &one, reterr);
    if (status == SK_OK) status = take_slot(self, &slot, reterr);
    if (status != SK_OK) {
        free(one.bundles);
        return status;
    }
    one.id = ++self->n_groups_ever << SLOT_BITS | (uint64_t)(slot + 1);
    one.mask = mask_of(&one);
    self->groups[slot] = one;
    if (waits_behind(self, &one) || !reserve(self, &self->groups[slot])) insert_waiting(self, slot);
    ret_group->id = one.id;
    return SK_OK;
}

/* ---- ending ---------------------------------------------------------------------------------------------- */
void sk_resources_group_destroy(sk_resources *self, sk_group id) {
    SK_ASSERT(self);
    sk__group *one = sk__group_find(self, id);
    if (!one) return;
    int slot = (int)(one - self->groups);
    if (one->waits) remove_waiting(self, slot);
    for (int i = 0; i < one->n; i++) {
        const sk__bundle *at = &one->bundles[i];
        for (int j = 0; at->pool != SK__NONE && j < at->size.n; j++)
            self->pools[at->pool]->free[at->size.kind[j]] += at->free[j];
    }
    free(one->bundles);
    give_slot(self, slot);
}

void sk__groups_on_removed(sk_resources *self, int pool) {
    for (int slot = 0; slot < self->cap; slot++) {
        sk__group *one = &self->groups[slot];
        bool       lost = false;
        for (int i = 0; one->id && i < one->n; i++) {
            if (one->bundles[i].pool != pool) continue;
            one->bundles[i].pool = SK__NONE;
            lost = true;
        }
        if (!lost) continue;
        if (one->waits) remove_waiting(self, slot); /* it lacks more now */
        insert_waiting(self, slot);
    }
}
