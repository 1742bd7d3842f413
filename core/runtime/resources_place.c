/* Where the bundles of a placement group go. Fewest or most hosts is bin packing: what is found by filling the roomiest
 * hosts first (or the emptiest) is taken where it cannot be better, or where the group is too large to look at all
 * there is. Hosts' `room` is what they have left while this looks. */
#include "core/runtime/resources_internal.h"
#include <stdlib.h>
#include <string.h>

enum { EXACT_BUNDLES = 16, EXACT_HOSTS = 64, EXACT_STEPS = 4000 /* about a millisecond */ };

/* ---- the state while it looks ---------------------------------------------------------------------------- */
static bool is_alike(const sk__share_pool *a, const sk__share_pool *b) {
    return a->n_here == 0 && b->n_here == 0 && memcmp(a->room, b->room, sizeof a->room) == 0;
}

/* Gives how many hosts the group has already. */
static int begin(sk_resources *self, sk__group *one, sk__place_by by) {
    for (int i = 0; i < self->n_hosts; i++) {
        sk__share_pool *host = self->hosts[i];
        memcpy(host->room, by == SK__BY_FREE ? host->free : host->total, sizeof host->room);
        host->n_here = 0;
        host->owner = SK__NONE;
    }
    int n_used = 0;
    for (int i = 0; i < one->n; i++) {
        sk__bundle *at = &one->bundles[i];
        at->want = at->pool;
        if (at->pool != SK__NONE && self->pools[at->pool]->n_here++ == 0) n_used++;
    }
    return n_used;
}

static sk__bundle *largest(const sk__group *one, int i) { return &one->bundles[one->bundles[i].order]; }

static void put(sk__share_pool *host, sk__bundle *at) {
    sk__move(host->room, &at->size, -1);
    host->n_here++;
    at->want = host->number;
}

static void take_out(sk__share_pool *host, sk__bundle *at) {
    sk__move(host->room, &at->size, 1);
    host->n_here--;
    at->want = SK__NONE;
}

/* Sums of those without a place; gives how many there are. */
static int sum_up(const sk__group *one, int64_t sum[SK_RESOURCE_KINDS_MAX]) {
    int n = 0;
    memset(sum, 0, SK_RESOURCE_KINDS_MAX * sizeof *sum);
    for (int i = 0; i < one->n; i++) {
        const sk__bundle *at = &one->bundles[i];
        if (at->want != SK__NONE) continue;
        for (int j = 0; j < at->size.n; j++) sum[at->size.kind[j]] = sk__add(sum[at->size.kind[j]], at->size.amount[j]);
        n++;
    }
    return n;
}

/* How much of the sums the host could take, by the kind that it is shortest of; negative: nothing. */
static double share_of(const sk_resources *self, const sk__share_pool *host, const int64_t *sum) {
    double share = 1.0;
    for (int kind = 0; kind < self->n_kinds; kind++) {
        if (sum[kind] == 0) continue;
        if (host->room[kind] <= 0) return -1.0;
        double part = (double)host->room[kind] / (double)sum[kind];
        if (part < share) share = part;
    }
    return share;
}

/* How much it keeps of what the sums ask for, in parts of what it has in all: best fit keeps least. */
static double rest_of(const sk_resources *self, const sk__share_pool *host, const int64_t *sum) {
    double rest = 0.0;
    for (int kind = 0; kind < self->n_kinds; kind++)
        if (sum[kind] > 0) rest += (double)(host->room[kind] - sum[kind]) / (double)host->total[kind];
    return rest;
}

/* ---- packing --------------------------------------------------------------------------------------------- */
/* The host for all that is left: one that the group has already, then the best fit. */
static bool pack_on_one(sk_resources *self, sk__group *one) {
    int64_t         sum[SK_RESOURCE_KINDS_MAX];
    sk__share_pool *best = NULL;
    double          best_rest = 0.0;
    if (sum_up(one, sum) == 0) return true;
    for (int i = 0; i < self->n_hosts; i++) {
        sk__share_pool *host = self->hosts[i];
        bool            fits = true;
        for (int kind = 0; kind < self->n_kinds; kind++) fits = fits && (sum[kind] == 0 || host->room[kind] >= sum[kind]);
        if (!fits) continue;
        double rest = rest_of(self, host, sum);
        bool   known = host->n_here > 0, best_known = best && best->n_here > 0;
        if (best && (known != best_known ? best_known : rest >= best_rest)) continue;
        best = host;
        best_rest = rest;
    }
    for (int i = 0; best && i < one->n; i++)
        if (one->bundles[i].want == SK__NONE) put(best, &one->bundles[i]);
    return best != NULL;
}

/* Fill hosts one after another: those that the group has, then the roomiest, and at last the best fit. */
static bool pack(sk_resources *self, sk__group *one) {
    for (int i = 0; i < self->n_hosts; i++) self->hosts[i]->seen = false;
    while (!pack_on_one(self, one)) {
        int64_t         sum[SK_RESOURCE_KINDS_MAX];
        sk__share_pool *best = NULL;
        double          best_share = 0.0;
        (void)sum_up(one, sum);
        for (int i = 0; i < self->n_hosts; i++) {
            sk__share_pool *host = self->hosts[i];
            if (host->seen) continue;
            double share = share_of(self, host, sum);
            bool   known = host->n_here > 0, best_known = best && best->n_here > 0;
            if (best && (known != best_known ? best_known : share <= best_share)) continue;
            best = host;
            best_share = share;
        }
        if (!best) return false;
        best->seen = true;
        for (int i = 0; i < one->n; i++) {
            sk__bundle *at = largest(one, i);
            if (at->want == SK__NONE && sk__fits(&at->size, best->room)) put(best, at);
        }
    }
    return true;
}

/* ---- spreading ------------------------------------------------------------------------------------------- */
/* Each to the host with the fewest of the group, then the one with the most free cpu. */
static bool spread(sk_resources *self, sk__group *one) {
    for (int i = 0; i < one->n; i++) {
        sk__bundle     *at = largest(one, i);
        sk__share_pool *best = NULL;
        if (at->want != SK__NONE) continue;
        for (int k = 0; k < self->n_hosts; k++) {
            sk__share_pool *host = self->hosts[k];
            if (!sk__fits(&at->size, host->room)) continue;
            if (best && (host->n_here != best->n_here ? host->n_here > best->n_here
                                                      : host->room[SK__CPU] <= best->room[SK__CPU]))
                continue;
            best = host;
        }
        if (!best) return false;
        put(best, at);
    }
    return true;
}

/* A host for one more bundle, moving others to other hosts if need be (an augmenting path of Kuhn's matching). */
static bool find_own_host(sk_resources *self, sk__group *one, int index) {
    const sk_demand *size = &one->bundles[index].size;
    sk__share_pool  *best = NULL;
    for (int i = 0; i < self->n_hosts; i++) {
        sk__share_pool *host = self->hosts[i];
        if (host->n_here > 0 || host->owner != SK__NONE || !sk__fits(size, host->room)) continue;
        if (!best || host->room[SK__CPU] > best->room[SK__CPU]) best = host;
    }
    for (int i = 0; !best && i < self->n_hosts; i++) {
        sk__share_pool *host = self->hosts[i];
        if (host->n_here > 0 || host->seen || !sk__fits(size, host->room)) continue;
        host->seen = true;
        if (find_own_host(self, one, host->owner)) best = host;
    }
    if (!best) return false;
    best->owner = index;
    one->bundles[index].want = best->number;
    return true;
}

/* Each bundle on a host of its own, where none of the group is. */
static bool match(sk_resources *self, sk__group *one) {
    for (int i = 0; i < one->n; i++) {
        if (largest(one, i)->want != SK__NONE) continue;
        for (int k = 0; k < self->n_hosts; k++) self->hosts[k]->seen = false;
        if (!find_own_host(self, one, one->bundles[i].order)) return false;
    }
    return true;
}

int sk__group_unplaced(const sk__group *one) {
    for (int i = 0; i < one->n; i++)
        if (one->bundles[i].want == SK__NONE) return i;
    return 0;
}

/* ---- all there is ---------------------------------------------------------------------------------------- */
typedef struct search {
    sk_resources *self;
    sk__bundle   *left[EXACT_BUNDLES]; /* (n) without a place, largest first */
    int           n, best[EXACT_BUNDLES]; /* numbers of hosts                */
    int           n_best;              /* hosts that `best` uses             */
    int           n_steps;             /* that may still be taken            */
    bool          found, packs;
} search;

static bool is_hopeless(const search *all, int at, int n_used) {
    if (!all->found) return false;
    return all->packs ? n_used >= all->n_best : n_used + all->n - at <= all->n_best;
}

static void keep(search *all, int n_used) {
    for (int i = 0; i < all->n; i++) all->best[i] = all->left[i]->want;
    all->n_best = n_used;
    all->found = true;
}

/* Of bundles that are alike the later one goes no further to the front, of hosts that are alike the first is used
 * first: nothing is looked at twice. Depth: EXACT_BUNDLES. */
static void look_at_all(search *all, int at, int first, int n_used) {
    if (is_hopeless(all, at, n_used)) return;
    if (at == all->n) {
        keep(all, n_used);
        return;
    }
    sk__bundle *one = all->left[at];
    bool        next_is_alike = at + 1 < all->n && memcmp(&one->size, &all->left[at + 1]->size, sizeof one->size) == 0;
    for (int i = first; i < all->self->n_hosts && all->n_steps > 0; i++) {
        sk__share_pool *host = all->self->hosts[i];
        bool            is_new = host->n_here == 0;
        if (!sk__fits(&one->size, host->room)) continue;
        if (is_new && host->twin != SK__NONE && all->self->hosts[host->twin]->n_here == 0) continue;
        all->n_steps--;
        put(host, one);
        look_at_all(all, at + 1, next_is_alike ? i : 0, n_used + is_new);
        take_out(host, one);
    }
}

/* Is there a better place than the one found (n_found hosts; 0: none was found)? */
static sk__place search_all(sk_resources *self, sk__group *one, sk__place_by by, int n_found) {
    search all = {.self = self, .n_best = n_found, .n_steps = EXACT_STEPS, .found = n_found > 0};
    all.packs = one->strategy == SK_PACK;
    sk__place otherwise = n_found > 0 ? SK__PLACE_FOUND : SK__PLACE_NOT_FOUND;
    for (int i = 0; i < one->n; i++) {
        sk__bundle *at = largest(one, i);
        if (at->pool != SK__NONE) continue;
        if (all.n == EXACT_BUNDLES || self->n_hosts > EXACT_HOSTS) return otherwise;
        all.best[all.n] = at->want;
        all.left[all.n++] = at;
    }
    int n_used = begin(self, one, by);
    for (int i = 0; i < self->n_hosts; i++) {
        int twin = i - 1;
        while (twin >= 0 && !is_alike(self->hosts[twin], self->hosts[i])) twin--;
        self->hosts[i]->twin = twin >= 0 ? twin : SK__NONE;
    }
    look_at_all(&all, 0, 0, n_used);
    if (!all.found) return all.n_steps > 0 ? SK__PLACE_NONE : SK__PLACE_NOT_FOUND;
    for (int i = 0; i < all.n; i++) all.left[i]->want = all.best[i];
    return SK__PLACE_FOUND;
}

/* ---- together -------------------------------------------------------------------------------------------- */
static int count_used(const sk_resources *self) {
    int n = 0;
    for (int i = 0; i < self->n_hosts; i++) n += self->hosts[i]->n_here > 0;
    return n;
}

/* What holds for any place: each bundle fits some host, and the sums fit all of them. */
static bool may_fit(const sk_resources *self, const sk__group *one) {
    int64_t sum[SK_RESOURCE_KINDS_MAX];
    (void)sum_up(one, sum);
    for (int kind = 0; kind < self->n_kinds; kind++) {
        int64_t room = 0;
        for (int i = 0; i < self->n_hosts && sum[kind] > 0; i++)
            if (self->hosts[i]->room[kind] > 0) room = sk__add(room, self->hosts[i]->room[kind]);
        if (room < sum[kind]) return false;
    }
    for (int i = 0; i < one->n; i++) {
        const sk__bundle *at = largest(one, i);
        bool              fits = at->want != SK__NONE;
        for (int k = 0; k < self->n_hosts && !fits; k++) fits = sk__fits(&at->size, self->hosts[k]->room);
        if (!fits) return false;
    }
    return true;
}

sk__place sk__group_place(sk_resources *self, sk__group *one, sk__place_by by) {
    int n_before = begin(self, one, by);
    if (!may_fit(self, one)) return SK__PLACE_NONE;
    if (one->strategy == SK_STRICT_PACK) return pack_on_one(self, one) ? SK__PLACE_FOUND : SK__PLACE_NONE;
    if (one->strategy == SK_STRICT_SPREAD) return match(self, one) ? SK__PLACE_FOUND : SK__PLACE_NONE;
    bool found = one->strategy == SK_PACK ? pack(self, one) : spread(self, one);
    int  n_used = count_used(self);
    if (found && by == SK__BY_TOTAL) return SK__PLACE_FOUND;
    if (found && one->strategy == SK_PACK && (n_used <= n_before || n_used <= 1 || (n_before == 0 && n_used == 2)))
        return SK__PLACE_FOUND;
    if (found && one->strategy == SK_SPREAD && (n_used == self->n_hosts || n_used == one->n)) return SK__PLACE_FOUND;
    return search_all(self, one, by, found ? n_used : 0);
}

/* ---- order ----------------------------------------------------------------------------------------------- */
typedef struct weighed {
    double weight;
    int    index;
} weighed;

static int heaviest_first(const void *a, const void *b) {
    const weighed *one = a, *other = b;
    if (one->weight != other->weight) return one->weight > other->weight ? -1 : 1;
    return one->index - other->index;
}

sk_status sk__group_sort(const sk_resources *self, sk__group *one, sk_error *reterr) {
    weighed *all = malloc((size_t)one->n * sizeof *all);
    if (!all) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a placement group of %d bundles", one->n);
    int64_t most[SK_RESOURCE_KINDS_MAX] = {0};
    for (int kind = 0; kind < self->n_kinds; kind++)
        for (int i = 0; i < self->n_hosts; i++)
            if (self->hosts[i]->total[kind] > most[kind]) most[kind] = self->hosts[i]->total[kind];
    for (int i = 0; i < one->n; i++) { /* by its largest part of a host */
        const sk_demand *size = &one->bundles[i].size;
        all[i] = (weighed){0.0, i};
        for (int j = 0; j < size->n; j++) {
            double part = (double)size->amount[j] / (double)most[size->kind[j]];
            if (part > all[i].weight) all[i].weight = part;
        }
    }
    qsort(all, (size_t)one->n, sizeof *all, heaviest_first);
    for (int i = 0; i < one->n; i++) one->bundles[i].order = all[i].index;
    free(all);
    return SK_OK;
}
