#include "nn/cpu/cpu_plan.h"

#include "core/base/arena.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NOWHERE SIZE_MAX /* a node without room in the workspace */
enum { BLOCK_ROWS = 64, SLOTS = 4 }; /* defaults: a block of 64 x 64-wide layers fits the second-level cache */

static size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

/* Nobody sees what leads to no output and no sum: it gets no room and is not computed. */
static void trace_wanted(cpu_plan *p) {
    const sk_graph *g = p->base.graph;
    for (sk_tensor t = p->n_nodes - 1; t >= 0; t--) {
        const sk_node *n = sk_graph_node(g, t);
        if (n->is_output || n->scope == SK_SCOPE_SUM) p->wanted[t] = 1;
        for (int i = 0; p->wanted[t] && i < n->n_in; i++)
            if (n->in[i] >= 0) p->wanted[n->in[i]] = 1;
    }
    for (sk_tensor t = 0; t < p->n_nodes; t++) {
        if (!p->wanted[t]) continue;
        if (sk_graph_node(g, t)->n_in > 0) p->steps[p->n_steps++] = t;
        if (sk_graph_node(g, t)->op == SK_OP_PARAM) p->reads_group[sk_graph_node(g, t)->group] = 1;
    }
}

/* Which nodes get a gradient, and which of their consumers is the first to write it ("=", the rest "+="). */
static void trace_gradients(cpu_plan *p) {
    const sk_graph *g = p->base.graph;
    int             written[SK_GRAPH_MAX_NODES] = {0};
    for (sk_tensor t = p->n_nodes - 1; t >= 0; t--) {
        const sk_node *n = sk_graph_node(g, t);
        if (n->scope == SK_SCOPE_SUM && sk_graph_loss_coef(g, t) != 0.0f && n->needs_grad) p->live[t] = 1;
        if (!p->live[t]) continue;
        for (int i = 0; i < n->n_in; i++) {
            if (n->in[i] < 0 || !sk_graph_node(g, n->in[i])->needs_grad) continue;
            p->live[n->in[i]] = 1;
            p->adds[t][i] = (uint8_t)written[n->in[i]];
            written[n->in[i]] = 1;
        }
    }
}

static int max_row_floats(const sk_graph *g) {
    int most = SK_PAD;
    for (sk_tensor t = 0; t < sk_graph_n_nodes(g); t++) {
        const sk_node *n = sk_graph_node(g, t);
        int            ld = n->cols + SK_PAD;
        if (n->scope != SK_SCOPE_TABLE && ld > most) most = ld;
    }
    return (int)round_up((size_t)most, SK_PAD);
}

/* Two tables as large as the largest weight of state-dependent exploration, with padded rows. */
static size_t sde_floats(const sk_graph *g) {
    size_t most = 0;
    for (sk_tensor t = 0; t < sk_graph_n_nodes(g); t++) {
        const sk_node *n = sk_graph_node(g, t);
        if (n->op != SK_OP_SDE_LOG_STD && n->op != SK_OP_SDE_SAMPLE) continue;
        const sk_node *w = sk_graph_node(g, n->in[n->op == SK_OP_SDE_LOG_STD ? 1 : 2]);
        size_t         floats = 2 * (size_t)w->rows * round_up((size_t)w->cols, SK_PAD);
        if (floats > most) most = floats;
    }
    return most;
}

/* W is needed transposed where a layer passes its gradient on and both sides have several columns. */
static int needs_packed(const cpu_plan *p, sk_tensor t) {
    const sk_node *n = sk_graph_node(p->base.graph, t);
    if (n->op != SK_OP_LINEAR || !p->live[t]) return 0;
    const sk_node *x = sk_graph_node(p->base.graph, n->in[0]);
    return x->needs_grad && x->cols > 1 && n->cols > 1;
}

static void plan_add(sk_arena_plan *a, void *slot, size_t count, size_t size) {
    sk_arena_plan_add(a, (void **)slot, count * size, 64);
}

/* `floats` more in every member's workspace: the offset where they begin. */
static size_t workspace_add(size_t *used, size_t floats) {
    size_t at = *used;
    *used += round_up(floats, SK_PAD);
    return at;
}

static void plan_node_memory(cpu_plan *p, sk_arena_plan *a, sk_tensor t, size_t *used) {
    const sk_node *n = sk_graph_node(p->base.graph, t);
    size_t         pad = SK_PAD; /* whole vectors may be read and written past a short column */
    if (needs_packed(p, t)) {
        sk_tensor      w = n->in[1];
        const sk_node *x = sk_graph_node(p->base.graph, n->in[0]);
        int            listed = 0;
        for (int i = 0; i < p->n_packed; i++) listed |= p->pack_list[i] == w;
        if (!listed) {
            plan_add(a, &p->packed[w], (size_t)n->cols * round_up((size_t)x->cols, SK_PAD), sizeof(float));
            p->pack_list[p->n_packed++] = w;
        }
    }
    if (n->scope == SK_SCOPE_SUM) {
        p->sum_at[t] = p->n_sums;
        p->n_sums += n->cols;
    }
    if (n->scope != SK_SCOPE_ROWS || n->op == SK_OP_INPUT || !p->wanted[t]) return;
    size_t block = (size_t)p->block_rows * (size_t)n->ld + pad;
    if (n->is_output) plan_add(a, &p->full[t], (size_t)p->base.how.max_rows * (size_t)n->ld + pad, sizeof(float));
    else p->value_at[t] = workspace_add(used, block);
    if (p->live[t]) p->grad_at[t] = workspace_add(used, block);
}

static void plan_memory(cpu_plan *p, sk_arena_plan *a) {
    size_t used = 0;
    for (sk_tensor t = 0; t < p->n_nodes; t++) plan_node_memory(p, a, t, &used);
    p->half_scratch = (ptrdiff_t)p->block_rows * max_row_floats(p->base.graph);
    p->scratch_at = workspace_add(&used, 2 * (size_t)p->half_scratch + sde_floats(p->base.graph));
    p->worker_floats = round_up(used, 1024); /* members' workspaces share no page */
    sk_arena_plan_add(a, (void **)&p->workspace, (size_t)p->n_workers * p->worker_floats * sizeof(float), 4096);
    plan_add(a, &p->slot_sums, (size_t)p->n_slots * (size_t)p->n_sums, sizeof(double));
    plan_add(a, &p->sums, (size_t)p->n_sums, sizeof(double));
    if (!p->base.how.backward) return;
    plan_add(a, &p->slot_grad, (size_t)p->n_slots * p->n_params, sizeof(float));
    plan_add(a, &p->grad, p->n_params, sizeof(float));
    p->n_chunks = (int)((p->n_params + CHUNK_FLOATS - 1) / CHUNK_FLOATS);
    plan_add(a, &p->chunk_norm, (size_t)p->n_chunks, sizeof(double));
}

static void place_workers(cpu_plan *p) {
    for (int w = 0; w < p->n_workers; w++) {
        float *base = p->workspace + (size_t)w * p->worker_floats;
        p->workers[w].scratch = base + p->scratch_at;
        for (sk_tensor t = 0; t < p->n_nodes; t++) {
            if (p->value_at[t] != NOWHERE) p->workers[w].value[t] = base + p->value_at[t];
            if (p->grad_at[t] != NOWHERE) p->workers[w].grad[t] = base + p->grad_at[t];
        }
    }
}

/* Tables with one entry per node. */
static sk_status alloc_tables(cpu_plan *p, sk_error *reterr) {
    size_t n = (size_t)p->n_nodes;
    int    ok = (p->bound = calloc(n, sizeof *p->bound)) && (p->full = calloc(n, sizeof *p->full)) &&
             (p->packed = calloc(n, sizeof *p->packed)) && (p->live = calloc(n, sizeof *p->live)) &&
             (p->wanted = calloc(n, sizeof *p->wanted)) && (p->steps = calloc(n, sizeof *p->steps)) &&
             (p->pack_list = calloc(n, sizeof *p->pack_list)) &&
             (p->adds = calloc(n, sizeof *p->adds)) && (p->sum_at = calloc(n, sizeof *p->sum_at)) &&
             (p->value_at = malloc(n * sizeof *p->value_at)) && (p->grad_at = malloc(n * sizeof *p->grad_at)) &&
             (p->workers = calloc((size_t)p->n_workers, sizeof *p->workers));
    for (size_t t = 0; ok && t < n; t++) p->value_at[t] = p->grad_at[t] = NOWHERE;
    for (int w = 0; ok && w < p->n_workers; w++)
        ok = (p->workers[w].value = calloc(n, sizeof(float *))) && (p->workers[w].grad = calloc(n, sizeof(float *)));
    return ok ? SK_OK : SK_FAIL(reterr, SK_ENOMEM, "plan: no memory for %zu nodes", n);
}

sk_status sk__cpu_plan_create(sk_device *dev, const sk_graph *graph, sk_buffer *params, const sk_plan_params *how,
                              sk_plan **ret_plan, sk_error *reterr) {
    const cpu_device *cpu = (const cpu_device *)dev;
    cpu_plan         *p = calloc(1, sizeof *p);
    sk_arena_plan    *a = calloc(1, sizeof *a);
    sk_arena         *arena = NULL;
    sk_status         status = SK_OK;
    if (!p || !a) {
        status = SK_FAIL(reterr, SK_ENOMEM, "plan: no memory");
        goto fail;
    }
    p->base = (sk_plan){.dev = dev, .graph = graph, .how = *how};
    p->k = cpu->kernels;
    p->team = cpu->team;
    p->n_nodes = sk_graph_n_nodes(graph);
    p->block_rows = how->block_rows > 0 ? how->block_rows : BLOCK_ROWS;
    if (p->block_rows > how->max_rows) p->block_rows = how->max_rows;
    p->max_blocks = (how->max_rows + p->block_rows - 1) / p->block_rows;
    p->n_slots = how->n_slots > 0 ? how->n_slots : SLOTS;
    p->n_workers = p->max_blocks > 1 ? sk_team_size(p->team) : 1;
    p->n_params = sk_graph_param_floats(graph);
    p->params = params ? params->host : NULL;
    p->group[0] = p->params;
    SK_TRY_GOTO(alloc_tables(p, reterr));
    trace_wanted(p);
    if (how->backward) trace_gradients(p);
    plan_memory(p, a);
    SK_TRY_GOTO(sk_arena_create(a, &arena, reterr));
    p->memory = arena;
    place_workers(p);
    free(a);
    *ret_plan = &p->base;
    return SK_OK;
fail:
    free(a);
    if (p) sk__cpu_plan_destroy(&p->base);
    return status;
}

void sk__cpu_plan_destroy(sk_plan *plan) {
    cpu_plan *p = (cpu_plan *)plan;
    sk_arena_destroy(&p->memory);
    for (int w = 0; p->workers && w < p->n_workers; w++) {
        free(p->workers[w].value);
        free(p->workers[w].grad);
    }
    free(p->workers);
    free(p->bound);
    free(p->full);
    free(p->packed);
    free(p->pack_list);
    free(p->wanted);
    free(p->steps);
    free(p->live);
    free(p->adds);
    free(p->sum_at);
    free(p->value_at);
    free(p->grad_at);
    free(p);
}

void sk__cpu_plan_bind_group(sk_plan *plan, int group, sk_buffer *params) {
    ((cpu_plan *)plan)->group[group] = params->host;
}

void sk__cpu_plan_bind_host(sk_plan *plan, sk_tensor t, const void *host) {
    cpu_plan *p = (cpu_plan *)plan;
    sk_op     op = sk_graph_node(plan->graph, t)->op;
    SK_ASSERT(op == SK_OP_INPUT || op == SK_OP_TABLE || op == SK_OP_CONST);
    p->bound[t] = host;
}

void sk__cpu_plan_bind(sk_plan *plan, sk_tensor t, sk_buffer *buf, size_t bytes_offset) {
    sk__cpu_plan_bind_host(plan, t, (const char *)buf->host + bytes_offset);
}

static float *param_at(const cpu_plan *p, const sk_node *n) {
    return p->group[n->group] ? (float *)(uintptr_t)(p->group[n->group] + n->offset) : NULL;
}

/* Point the workspace at this block's rows. */
static void place_block(const cpu_block *b) {
    cpu_plan *p = b->plan;
    for (sk_tensor t = 0; t < p->n_nodes; t++) {
        const sk_node *n = sk_graph_node(p->base.graph, t);
        ptrdiff_t      at = (ptrdiff_t)b->row0 * n->ld;
        if (n->op == SK_OP_INPUT) b->w->value[t] = p->bound[t] ? (float *)(uintptr_t)(p->bound[t] + at) : NULL;
        else if (n->op == SK_OP_TABLE || n->op == SK_OP_CONST) b->w->value[t] = (float *)(uintptr_t)p->bound[t];
        else if (n->op == SK_OP_PARAM) b->w->value[t] = param_at(p, n);
        else if (p->full[t]) b->w->value[t] = p->full[t] + at;
    }
}

static void run_slot(cpu_plan *p, cpu_worker *w, int slot) {
    int first = (int)((int64_t)slot * p->n_blocks / p->n_used_slots);
    int last = (int)((int64_t)(slot + 1) * p->n_blocks / p->n_used_slots);
    cpu_block b = {.plan = p, .w = w, .slot_sums = p->slot_sums + (size_t)slot * (size_t)p->n_sums};
    if (p->with_grad) b.slot_grad = p->slot_grad + (size_t)slot * p->n_params;
    memset(b.slot_sums, 0, (size_t)p->n_sums * sizeof(double));
    for (int i = first; i < last; i++) {
        b.row0 = i * p->block_rows;
        b.rows = p->rows - b.row0 < p->block_rows ? p->rows - b.row0 : p->block_rows;
        b.first_in_slot = i == first;
        place_block(&b);
        sk__cpu_forward(&b);
        if (p->with_grad) sk__cpu_backward(&b);
    }
}

/* ---- the jobs of a run; what an item computes does not depend on who does it ------------------------------ */

static void slot_item(void *arg, int slot, int member) {
    cpu_plan *p = arg;
    run_slot(p, &p->workers[member], slot);
}

static void pack_item(void *arg, int item, int member) {
    cpu_plan      *p = arg;
    const sk_node *w = sk_graph_node(p->base.graph, p->pack_list[item]);
    (void)member;
    p->k->transpose(w->rows, w->cols, param_at(p, w), w->ld, p->packed[p->pack_list[item]],
                    (ptrdiff_t)round_up((size_t)w->rows, SK_PAD));
}

/* Where chunk `c` of the parameters begins, and its floats. */
static size_t chunk_at(const cpu_plan *p, int c, size_t *ret_n) {
    size_t at = (size_t)c * CHUNK_FLOATS;
    *ret_n = p->n_params - at < CHUNK_FLOATS ? p->n_params - at : CHUNK_FLOATS;
    return at;
}

/* Sum the slots in order; a chunk's norm is its own. */
static void reduce_item(void *arg, int chunk, int member) {
    cpu_plan *p = arg;
    size_t    n, at = chunk_at(p, chunk, &n);
    (void)member;
    p->k->sum_slots(p->n_used_slots, p->slot_grad + at, p->n_params, p->grad + at, n);
    p->chunk_norm[chunk] = p->k->sum_squares(p->grad + at, n);
}

static void adam_item(void *arg, int chunk, int member) {
    cpu_plan    *p = arg;
    sk_adam_step step = p->step;
    size_t       at = chunk_at(p, chunk, &step.n);
    (void)member;
    step.param += at;
    step.m += at;
    step.v += at;
    step.grad += at;
    p->k->adam(&step);
}

static void for_items(cpu_plan *p, int n_items, sk_team_fn fn) {
    if (p->n_workers > 1) sk_team_run(p->team, n_items, fn, p);
    else
        for (int i = 0; i < n_items; i++) fn(p, i, 0);
}

/* Kingma & Ba 2015; the global norm is clipped as in PyTorch's clip_grad_norm_ (its 1e-6). */
static sk_adam_step adam_step(const cpu_plan *p, const sk_adam *adam, double lr, double max_norm) {
    double t = (double)(adam->n_steps + 1), beta1 = (double)adam->how.beta1, beta2 = (double)adam->how.beta2;
    double scale = max_norm > 0.0 && p->grad_norm > max_norm ? max_norm / (p->grad_norm + 1e-6) : 1.0;
    float *m = adam->moments->host;
    return (sk_adam_step){.param = p->params, .m = m, .v = m + adam->n_floats, .grad = p->grad,
                          .grad_scale = (float)scale, .beta1 = adam->how.beta1, .beta2 = adam->how.beta2,
                          .eps = adam->how.eps, .step_size = (float)(lr / (1.0 - pow(beta1, t))),
                          .inv_sqrt_bias2 = (float)(1.0 / sqrt(1.0 - pow(beta2, t)))};
}

static void sum_up(cpu_plan *p) {
    for (sk_tensor t = 0; t < p->n_nodes; t++) {
        const sk_node *n = sk_graph_node(p->base.graph, t);
        if (n->scope != SK_SCOPE_SUM) continue;
        for (int c = p->sum_at[t]; c < p->sum_at[t] + n->cols; c++) {
            double total = 0.0;
            for (int s = 0; s < p->n_used_slots; s++) total += p->slot_sums[(size_t)s * (size_t)p->n_sums + (size_t)c];
            p->sums[c] = n->op == SK_OP_SUM && n->kind ? total / p->rows : total;
        }
    }
}

static int all_parameter_groups_are_bound(const cpu_plan *p) {
    for (int g = 0; g < SK_GRAPH_GROUPS; g++)
        if (p->reads_group[g] && !p->group[g]) return 0;
    return 1;
}

static void run(cpu_plan *p, int rows, int with_grad) {
    SK_ASSERT(all_parameter_groups_are_bound(p)); /* else sk_plan_bind_group was forgotten */
    p->rows = rows;
    p->with_grad = with_grad;
    p->n_blocks = (rows + p->block_rows - 1) / p->block_rows;
    p->n_used_slots = p->n_slots < p->n_blocks ? p->n_slots : p->n_blocks;
    if (with_grad) for_items(p, p->n_packed, pack_item);
    for_items(p, p->n_used_slots, slot_item);
    if (p->n_sums) sum_up(p);
    if (!with_grad) return;
    for_items(p, p->n_chunks, reduce_item);
    double total = 0.0;
    for (int c = 0; c < p->n_chunks; c++) total += p->chunk_norm[c];
    p->grad_norm = sqrt(total);
}

void sk__cpu_plan_forward(sk_plan *plan, int rows) { run((cpu_plan *)plan, rows, 0); }
void sk__cpu_plan_backward(sk_plan *plan, int rows) { run((cpu_plan *)plan, rows, 1); }

double sk__cpu_plan_train(sk_plan *plan, int rows, sk_adam *adam, double lr, double max_norm) {
    cpu_plan *p = (cpu_plan *)plan;
    SK_ASSERT(adam->n_floats == p->n_params && adam->params->host == p->params);
    run(p, rows, 1);
    if (!isfinite(p->grad_norm)) return p->grad_norm; /* the step is left out */
    p->step = adam_step(p, adam, lr, max_norm);
    for_items(p, p->n_chunks, adam_item);
    adam->n_steps++;
    return p->grad_norm;
}

const float *sk__cpu_plan_output(sk_plan *plan, sk_tensor t) {
    cpu_plan *p = (cpu_plan *)plan;
    SK_ASSERT(p->full[t]);
    return p->full[t];
}
const double *sk__cpu_plan_sum(sk_plan *plan, sk_tensor t) {
    cpu_plan *p = (cpu_plan *)plan;
    SK_ASSERT(sk_graph_node(plan->graph, t)->scope == SK_SCOPE_SUM);
    return p->sums + p->sum_at[t];
}
const float *sk__cpu_plan_grad(sk_plan *plan) { return ((cpu_plan *)plan)->grad; }
