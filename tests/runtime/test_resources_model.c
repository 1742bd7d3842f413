/* Resources of several hosts, at random, against a model that tries every place. */
#include "tests/runtime/resources_rig.h"

enum { N_POOLS = 4, N_KINDS = 2, N_GROUPS = 5, N_BUNDLES = 4, N_LEASES = 24, N_STEPS = 60000 };

static uint64_t draw(uint64_t *state, uint64_t below) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (*state >> 33) % below;
}

typedef struct model_group {
    sk_group    id;
    sk_strategy strategy;
    int         n, order;                     /* when it was made */
    int         size[N_BUNDLES][N_KINDS];
    int         left[N_BUNDLES][N_KINDS];     /* not taken         */
    int         at[N_BUNDLES];                /* -1: waits         */
    bool        alive;
} model_group;
typedef struct model_lease {
    sk_lease lease;
    int      units[N_KINDS], pool, use, group /* -1: of the host */, order, bundle;
    bool     out;
} model_lease;
typedef struct model {
    bool        up[N_POOLS + 1];
    int         use[N_POOLS + 1];
    int         total[N_POOLS + 1][N_KINDS], left[N_POOLS + 1][N_KINDS];
    model_group groups[N_GROUPS];
    model_lease leases[N_LEASES];
    int         n_made;
} model;

static bool waits(const model_group *g) {
    for (int i = 0; i < g->n; i++)
        if (g->at[i] < 0) return true;
    return false;
}

/* Try every place for those without one; the best number of hosts, or -1: there is none. */
static int best_of(const model_group *g, const bool *up, int (*left)[N_KINDS], int *at, int i) {
    int n_here[N_POOLS + 1] = {0}, n_used = 0, best = -1;
    if (i == g->n) {
        for (int k = 0; k < g->n; k++) n_used += n_here[at[k]]++ == 0;
        if (g->strategy == SK_STRICT_PACK && n_used > 1) return -1;
        return g->strategy == SK_STRICT_SPREAD && n_used < g->n ? -1 : n_used;
    }
    if (g->at[i] >= 0) return best_of(g, up, left, at, i + 1);
    for (int pool = 1; pool <= N_POOLS; pool++) {
        if (!up[pool] || left[pool][0] < g->size[i][0] || left[pool][1] < g->size[i][1]) continue;
        for (int k = 0; k < N_KINDS; k++) left[pool][k] -= g->size[i][k];
        at[i] = pool;
        int n = best_of(g, up, left, at, i + 1);
        for (int k = 0; k < N_KINDS; k++) left[pool][k] += g->size[i][k];
        if (n >= 0 && (best < 0 || (g->strategy == SK_SPREAD ? n > best : n < best))) best = n;
    }
    at[i] = -1;
    return best;
}

static int best_now(const model *m, const model_group *g, bool by_total) {
    int left[N_POOLS + 1][N_KINDS], at[N_BUNDLES];
    memcpy(left, by_total ? m->total : m->left, sizeof left);
    memcpy(at, g->at, sizeof at);
    return best_of(g, m->up, left, at, 0);
}

static unsigned mask_of(const model_group *g) {
    unsigned mask = 0;
    for (int i = 0; i < g->n; i++)
        for (int k = 0; k < N_KINDS; k++)
            if (g->at[i] < 0 && g->size[i][k] > 0) mask |= 1u << k;
    return mask;
}

/* It must have found a place as good as the best: see where, and note it. */
static void follow(model *m, sk_resources *self, model_group *g, int best) {
    unsigned used = 0;
    for (int i = 0; i < g->n; i++) {
        int at = place_of(self, g->id, i);
        cr_assert(at >= 1 && at <= N_POOLS && m->up[at], "bundle %d lies on %d", i, at);
        if (g->at[i] >= 0) cr_assert_eq(at, g->at[i], "bundle %d has moved", i);
        for (int k = 0; g->at[i] < 0 && k < N_KINDS; k++) {
            m->left[at][k] -= g->size[i][k];
            g->left[i][k] = g->size[i][k];
            cr_assert_geq(m->left[at][k], 0);
        }
        g->at[i] = at;
        used |= 1u << at;
    }
    cr_assert_eq(__builtin_popcount(used), best, "strategy %d, %d bundles: %d hosts, %d is best", g->strategy, g->n,
                 __builtin_popcount(used), best);
}

/* Groups in the order they were made; one that waits holds back those that want the same. */
static void retry(model *m, sk_resources *self) {
    unsigned blocked = 0;
    bool     any = false;
    bool     got = sk_resources_groups_retry(self);
    for (int order = 0; order < m->n_made; order++) {
        for (int i = 0; i < N_GROUPS; i++) {
            model_group *g = &m->groups[i];
            if (!g->alive || g->order != order || !waits(g)) continue;
            unsigned mask = mask_of(g);
            int      best = mask & blocked ? -1 : best_now(m, g, false);
            cr_assert_eq(sk_resources_group_is_reserved(self, g->id), best >= 0, "group %d", i);
            if (best >= 0) follow(m, self, g, best);
            else blocked |= mask;
            any = any || best >= 0;
        }
    }
    cr_assert_eq(got, any);
}

static void create(model *m, sk_resources *self, model_group *g, uint64_t *state) {
    share       sizes[N_BUNDLES];
    sk_error    err = {0};
    model_group made = {.strategy = (sk_strategy)draw(state, 4), .n = 1 + (int)draw(state, N_BUNDLES), .alive = true};
    for (int i = 0; i < made.n; i++) {
        made.size[i][0] = (int)draw(state, 5);
        made.size[i][1] = made.size[i][0] == 0 ? 1 : (int)draw(state, 4) == 0;
        made.at[i] = -1;
        sizes[i] = (share){made.size[i][0], made.size[i][1]};
    }
    bool      ever = best_now(m, &made, true) >= 0;
    sk_status status = make(self, sizes, made.n, made.strategy, &made.id, &err);
    cr_assert(ever ? status == SK_OK : status == SK_ELIMIT, "%s: %s", ever ? "possible" : "impossible", err.msg);
    if (!ever) return;
    unsigned waiting = 0;
    for (int i = 0; i < N_GROUPS; i++)
        if (m->groups[i].alive) waiting |= mask_of(&m->groups[i]);
    int best = waiting & mask_of(&made) ? -1 : best_now(m, &made, false);
    made.order = m->n_made++;
    *g = made;
    cr_assert_eq(sk_resources_group_is_reserved(self, g->id), best >= 0);
    if (best >= 0) follow(m, self, g, best);
}

static void destroy(model *m, sk_resources *self, model_group *g) {
    sk_resources_group_destroy(self, g->id);
    g->alive = false;
    for (int i = 0; i < g->n; i++)
        for (int k = 0; g->at[i] >= 0 && k < N_KINDS; k++) m->left[g->at[i]][k] += g->left[i][k];
}

static void take(model *m, sk_resources *self, model_lease *one, uint64_t *state) {
    int          at = 1 + (int)draw(state, N_POOLS), bundle = (int)draw(state, N_BUNDLES);
    int          index = (int)draw(state, N_GROUPS);
    model_group *g = draw(state, 2) ? &m->groups[index] : NULL;
    if (g && (!g->alive || bundle >= g->n)) return;
    one->units[0] = (int)draw(state, 3);
    one->units[1] = (int)draw(state, 8) == 0;
    sk_demand demand = {0};
    for (int k = 0; k < N_KINDS; k++) { /* kinds 0 and 1 are cpu and gpu */
        if (one->units[k] == 0) continue;
        demand.kind[demand.n] = (uint8_t)k;
        demand.amount[demand.n++] = one->units[k] * 10000;
    }
    int *left = g ? g->left[bundle] : m->left[at];
    bool fits = g ? g->at[bundle] == at : m->up[at];
    for (int k = 0; k < N_KINDS; k++) fits = fits && (one->units[k] == 0 || left[k] >= one->units[k]);
    cr_assert_eq(sk_resources_take(self, &demand, at, g ? g->id : NO_GROUP, g ? bundle : -1, &one->lease), fits);
    if (!fits) return;
    for (int k = 0; k < N_KINDS; k++) left[k] -= one->units[k];
    one->out = true;
    one->pool = at;
    one->use = m->use[at];
    one->group = g ? index : -1;
    one->order = g ? g->order : 0;
    one->bundle = bundle;
}

static void give_back(model *m, sk_resources *self, model_lease *one) {
    bool there = m->up[one->pool] && m->use[one->pool] == one->use;
    cr_assert_eq(sk_resources_is_lost(self, &one->lease), !there);
    sk_resources_give_back(self, &one->lease);
    one->out = false;
    model_group *g = one->group >= 0 ? &m->groups[one->group] : NULL;
    bool         lives = g && g->alive && g->order == one->order;
    int         *left = lives ? g->left[one->bundle] : m->left[one->pool];
    for (int k = 0; there && k < N_KINDS; k++) left[k] += one->units[k];
}

static void come_or_go(model *m, sk_resources *self, int pool, uint64_t *state) {
    m->up[pool] = !m->up[pool];
    if (m->up[pool]) {
        m->total[pool][0] = m->left[pool][0] = 2 + (int)draw(state, 7);
        m->total[pool][1] = m->left[pool][1] = (int)draw(state, 3);
        m->use[pool]++;
        add(self, pool, m->total[pool][0], m->total[pool][1]);
        return;
    }
    sk_resources_remove_pool(self, pool);
    memset(m->total[pool], 0, sizeof m->total[pool]);
    memset(m->left[pool], 0, sizeof m->left[pool]);
    for (int i = 0; i < N_GROUPS; i++)
        for (int k = 0; m->groups[i].alive && k < m->groups[i].n; k++)
            if (m->groups[i].at[k] == pool) m->groups[i].at[k] = -1;
}

static void compare(const model *m, const sk_resources *self) {
    for (int pool = 1; pool <= N_POOLS; pool++) {
        if (!m->up[pool]) continue;
        cr_assert_eq(free_of(self, pool, "cpu"), m->left[pool][0], "cpu of %d", pool);
        cr_assert_eq(free_of(self, pool, "gpu"), m->left[pool][1], "gpu of %d", pool);
    }
    for (int i = 0; i < N_GROUPS; i++)
        if (m->groups[i].alive)
            cr_assert_eq(sk_resources_group_is_reserved(self, m->groups[i].id), !waits(&m->groups[i]), "group %d", i);
}

Test(resources_model, of_hosts_agrees_with_one_that_tries_every_place) {
    static model  m;
    sk_resources *self = start();
    uint64_t      state = 11;
    int           n_reserved = 0, n_waiting = 0, n_moves = 0;
    for (int step = 0; step < N_STEPS; step++) {
        model_group *g = &m.groups[draw(&state, N_GROUPS)];
        model_lease *one = &m.leases[draw(&state, N_LEASES)];
        switch (draw(&state, 8)) {
        case 0: come_or_go(&m, self, 1 + (int)draw(&state, N_POOLS), &state); break;
        case 1:
        case 2:
            if (g->alive) destroy(&m, self, g);
            else create(&m, self, g, &state);
            if (g->alive) *(waits(g) ? &n_waiting : &n_reserved) += 1;
            break;
        case 3:
        case 4:
            n_moves++;
            retry(&m, self);
            break;
        default:
            if (one->out) give_back(&m, self, one);
            else take(&m, self, one, &state);
        }
        if (step % 7 == 0) compare(&m, self);
    }
    cr_assert(n_reserved > 1000 && n_waiting > 300 && n_moves > 1000, "%d reserved, %d waited", n_reserved, n_waiting);
    for (int i = 0; i < N_GROUPS; i++)
        if (m.groups[i].alive) destroy(&m, self, &m.groups[i]);
    for (int i = 0; i < N_LEASES; i++)
        if (m.leases[i].out) give_back(&m, self, &m.leases[i]);
    for (int pool = 1; pool <= N_POOLS; pool++)
        if (m.up[pool]) cr_assert_eq(free_of(self, pool, "cpu"), m.total[pool][0]);
    sk_resources_destroy(&self);
}
