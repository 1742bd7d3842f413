/* Plans: what a row's values may depend on, what the threads may change (nothing), and one training step. */
#include "tests/nn/mlp.h"

#include <pthread.h>

static const sk_plan_params training = {.max_rows = MLP_ROWS, .backward = 1};

/* For every instruction set of this machine; devices created inside use it. */
#define FOR_ISAS(isa)                                                                                        \
    for (int isa = 2; isa <= 4; isa++)                                                                       \
        if (sk_kernels_at(isa) && setenv("SKIFF_ISA", (const char[]){'v', (char)('0' + isa), 0}, 1) == 0)

/* All outputs of rows [first, first + rows) against those of the whole batch, bit for bit. */
static void assert_rows_as_in(mlp *m, int first, int rows, float *const *want) {
    for (int i = 0; i <= MLP_HEADS; i++) {
        sk_tensor t = i < MLP_HEADS ? m->heads[i] : m->dist;
        int ld = sk_graph_node(m->g, t)->ld;
        char what[64];
        snprintf(what, sizeof what, "output %d, rows %d to %d", i, first, first + rows);
        assert_same_bits(sk_plan_output(m->plan, t), want[i] + first * ld, (size_t)(rows * ld), what);
    }
}

Test(plan, a_row_does_not_depend_on_its_batch) {
    static const int counts[] = {1, 2, 3, 7, 64, 65, 300}, blocks[] = {0, 1, 5, 300};
    FOR_ISAS(isa) {
        mlp m = mlp_create(1, &(sk_plan_params){.max_rows = MLP_ROWS});
        float *want[MLP_HEADS + 1];
        sk_plan_forward(m.plan, MLP_ROWS);
        for (int i = 0; i <= MLP_HEADS; i++) {
            sk_tensor t = i < MLP_HEADS ? m.heads[i] : m.dist;
            size_t n = (size_t)(MLP_ROWS * sk_graph_node(m.g, t)->ld);
            want[i] = guard_copy(sk_plan_output(m.plan, t), n);
        }
        for (int b = 0; b < 2 * SK_COUNT(blocks);
             b++) { /* plans of other block sizes, with and without a backward pass */
            mlp other = mlp_create(
                2, &(sk_plan_params){.max_rows = MLP_ROWS, .block_rows = blocks[b / 2], .backward = b % 2});
            for (int c = 0; c < SK_COUNT(counts); c++)
                for (int first = 0; first + counts[c] <= MLP_ROWS; first += 1 + (MLP_ROWS - counts[c]) / 3) {
                    mlp_bind(&other, first);
                    sk_plan_forward(other.plan, counts[c]);
                    assert_rows_as_in(&other, first, counts[c], want);
                }
            mlp_destroy(&other);
        }
        mlp_destroy(&m);
        guard_check_all();
    }
}

Test(plan, a_forward_pass_agrees_with_double) {
    mlp m = mlp_create(1, &training);
    sk_plan_forward(m.plan, MLP_ROWS);
    const float *p = sk_buffer_host(m.params);
    for (int r = 0; r < MLP_ROWS; r++) {
        double x[MLP_WIDTH], y[MLP_WIDTH];
        for (int c = 0; c < MLP_OBS; c++) x[c] = (double)m.obs_data[r * MLP_OBS + c];
        static const char *const names[][2] = {{"h0.w", "h0.b"}, {"h1.w", "h1.b"}, {"wide.w", "wide.b"}};
        for (int layer = 0; layer < 3; layer++) {
            const sk_node *w = sk_graph_node(m.g, sk_graph_find_param(m.g, names[layer][0]));
            const sk_node *b = sk_graph_node(m.g, sk_graph_find_param(m.g, names[layer][1]));
            for (int j = 0; j < w->cols; j++) {
                y[j] = (double)p[b->offset + j];
                for (int i = 0; i < w->rows; i++) y[j] += x[i] * (double)p[w->offset + i * w->ld + j];
                if (layer == 0) y[j] = tanh(y[j]);
                if (layer == 1) y[j] = fmax(y[j], 0.0);
            }
            memcpy(x, y, sizeof x);
        }
        const float *got = sk_plan_output(m.plan, m.heads[2]) + r * SK_PAD;
        for (int j = 0; j < SK_PAD; j++)
            cr_assert_float_eq(got[j], j < 6 ? y[j] : 0.0, 2e-6, "row %d column %d", r, j);
    }
    mlp_destroy(&m);
}

Test(plan, sums_do_not_depend_on_earlier_runs) {
    mlp m = mlp_create(2, &training);
    sk_plan_forward(m.plan, MLP_ROWS);
    double first = sk_plan_sum(m.plan, m.loss)[0], exact = 0.0;
    const float *value = sk_plan_output(m.plan, m.heads[0]);
    for (int r = 0; r < MLP_ROWS; r++)
        exact += pow((double)value[r] - (double)m.target_data[r], 2) / MLP_ROWS;
    cr_assert_float_eq(first, exact, 1e-6);
    sk_plan_forward(m.plan, 3); /* fewer blocks than slots */
    cr_assert_neq(sk_plan_sum(m.plan, m.loss)[0], first);
    sk_plan_backward(m.plan, MLP_ROWS);
    cr_assert_eq(sk_plan_sum(m.plan, m.loss)[0], first);
    mlp_destroy(&m);
}

/* 30 steps on batches of changing size; ends with the state. */
static mlp_state train_some(int n_threads, const sk_plan_params *how, double *norms) {
    static const int counts[] = {300, 256, 65, 64, 1, 129};
    mlp m = mlp_create(n_threads, how);
    for (int step = 0; step < 30; step++) {
        mlp_bind(&m, step % 2 ? 0 : MLP_ROWS - counts[step % 6]);
        norms[step] = sk_plan_train(m.plan, counts[step % 6], m.adam, 1e-2, 0.5);
        cr_assert(isfinite(norms[step]) && norms[step] > 0.0);
    }
    mlp_state state = mlp_save(&m);
    mlp_destroy(&m);
    return state;
}

Test(plan, training_does_not_depend_on_the_number_of_threads) {
    static const int slots[] = {0, 1, 3, 8};
    FOR_ISAS(isa)
    for (int s = 0; s < SK_COUNT(slots); s++) {
        sk_plan_params how = {
            .max_rows = MLP_ROWS, .block_rows = s == 3 ? 16 : 0, .n_slots = slots[s], .backward = 1};
        double want_norms[30], norms[30];
        mlp_state want = train_some(1, &how, want_norms);
        for (int n_threads = 2; n_threads <= 4; n_threads++) {
            mlp_state got = train_some(n_threads, &how, norms);
            assert_same_state(&got, &want, "threads");
            cr_assert_arr_eq(norms, want_norms, sizeof norms);
            mlp_state_free(&got);
        }
        mlp_state_free(&want);
        guard_check_all();
    }
}

Test(plan, the_gradient_is_that_of_the_whole_batch_however_it_is_cut) {
    static const int blocks[] = {1, 7, 16, 64}, slots[] = {1, 2, 3, 8, 64};
    sk_plan_params one_block = {.max_rows = MLP_ROWS, .block_rows = MLP_ROWS, .n_slots = 1, .backward = 1};
    mlp whole = mlp_create(1, &one_block);
    sk_plan_backward(whole.plan, MLP_ROWS);
    const float *want = sk_plan_grad(whole.plan);
    for (int b = 0; b < SK_COUNT(blocks); b++)
        for (int s = 0; s < SK_COUNT(slots); s++) {
            sk_plan_params how = one_block;
            how.block_rows = blocks[b];
            how.n_slots = slots[s];
            mlp m = mlp_create(1, &how);
            sk_plan_backward(m.plan, MLP_ROWS);
            for (size_t i = 0; i < sk_graph_param_floats(m.g); i++)
                cr_assert_float_eq(sk_plan_grad(m.plan)[i], want[i], 2e-6,
                                   "blocks of %d, %d slots, float %zu", blocks[b], slots[s], i);
            cr_assert_float_eq(sk_plan_sum(m.plan, m.loss)[0], sk_plan_sum(whole.plan, whole.loss)[0], 1e-12);
            mlp_destroy(&m);
        }
    mlp_destroy(&whole);
    guard_check_all();
}

Test(plan, training_lowers_the_loss) {
    mlp m = mlp_create(2, &training);
    sk_plan_forward(m.plan, MLP_ROWS);
    double before = sk_plan_sum(m.plan, m.loss)[0];
    for (int step = 0; step < 200; step++) sk_plan_train(m.plan, MLP_ROWS, m.adam, 3e-3, 0.0);
    sk_plan_forward(m.plan, MLP_ROWS);
    double after = sk_plan_sum(m.plan, m.loss)[0];
    cr_assert_lt(after, 0.5 * before, "from %g to %g", before, after);
    mlp_destroy(&m);
}

Test(plan, padding_stays_zero_through_training) {
    mlp m = mlp_create(1, &training);
    for (int step = 0; step < 20; step++) sk_plan_train(m.plan, MLP_ROWS, m.adam, 1e-2, 0.5);
    size_t n = sk_graph_param_floats(m.g), n_used = 0;
    const float *p = sk_buffer_host(m.params);
    char *used = calloc(n, 1);
    for (sk_tensor t = 0; t < sk_graph_n_nodes(m.g); t++) {
        const sk_node *node = sk_graph_node(m.g, t);
        for (int i = 0; node->op == SK_OP_PARAM && i < node->rows * node->cols; i++, n_used++)
            used[node->offset + i / node->cols * node->ld + i % node->cols] = 1;
    }
    cr_assert_lt(n_used, n);
    for (size_t i = 0; i < n; i++)
        if (!used[i]) cr_assert_eq(fix_bits(p[i]), 0, "padding float %zu became %g", i, (double)p[i]);
    free(used);
    mlp_destroy(&m);
}

Test(plan, leaves_a_step_out_when_the_gradient_is_not_finite) {
    static const float poison[] = {NAN, INFINITY, -INFINITY};
    for (int s = 0; s < SK_COUNT(poison); s++)
        for (int where = 0; where < 2; where++) { /* in an observation or in a target */
            mlp m = mlp_create(2, &training), twin = mlp_create(2, &training);
            sk_plan_train(m.plan, MLP_ROWS, m.adam, 1e-2, 0.5);
            sk_plan_train(twin.plan, MLP_ROWS, twin.adam, 1e-2, 0.5);
            mlp_state before = mlp_save(&m);
            float *at = where ? &m.target_data[77] : &m.obs_data[77 * MLP_OBS], was = *at;
            *at = poison[s];
            double norm = sk_plan_train(m.plan, MLP_ROWS, m.adam, 1e-2, 0.5);
            cr_assert(!isfinite(norm), "poison %g gave a norm of %g", (double)poison[s], norm);
            mlp_state after = mlp_save(&m);
            assert_same_state(&after, &before, "a step that was left out");
            *at = was;
            double norm_m = sk_plan_train(m.plan, MLP_ROWS, m.adam, 1e-2, 0.5);
            double norm_twin = sk_plan_train(twin.plan, MLP_ROWS, twin.adam, 1e-2, 0.5);
            cr_assert_eq(norm_m, norm_twin);
            mlp_state end = mlp_save(&m), want = mlp_save(&twin);
            assert_same_state(&end, &want, "the step after it");
            mlp_state_free(&before), mlp_state_free(&after), mlp_state_free(&end), mlp_state_free(&want);
            mlp_destroy(&m), mlp_destroy(&twin);
            guard_check_all();
        }
}

Test(plan, returns_the_norm_of_the_gradient_it_used) {
    mlp m = mlp_create(1, &training), twin = mlp_create(1, &training);
    double norm = sk_plan_train(m.plan, 200, m.adam, 1e-2, 0.0), squares = 0.0;
    sk_plan_backward(twin.plan, 200);
    size_t n = sk_graph_param_floats(m.g);
    for (size_t i = 0; i < n; i++) squares += pow((double)sk_plan_grad(twin.plan)[i], 2);
    cr_assert_float_eq(norm, sqrt(squares), 1e-6 * norm);
    assert_same_bits(sk_plan_grad(m.plan), sk_plan_grad(twin.plan), n, "gradient");
    mlp_destroy(&m);
    mlp_destroy(&twin);
}

/* After the first step m = (1 - beta1) scale g, so the moments show the gradient that Adam saw. */
Test(plan, clipping_scales_the_gradient_to_the_norm) {
    mlp m = mlp_create(1, &training);
    size_t n = sk_graph_param_floats(m.g);
    double norm = sk_plan_train(m.plan, MLP_ROWS, m.adam, 1e-3, 0.01), squares = 0.0;
    cr_assert_gt(norm, 0.02, "the test wants something to clip");
    const float *g = sk_plan_grad(m.plan), *moment = sk_buffer_host(sk_adam_moments(m.adam));
    double scale = 0.01 / (norm + 1e-6);
    for (size_t i = 0; i < n; i++) {
        double want = (1.0 - (double)0.9f) * scale * (double)g[i];
        cr_assert_float_eq(moment[i], want, 1e-6 * fabs(want) + 1e-12, "element %zu", i);
        squares += pow((double)moment[i] / 0.1, 2);
    }
    cr_assert_float_eq(sqrt(squares), 0.01, 1e-5);
    mlp_destroy(&m);
}

Test(plan, a_norm_below_the_limit_is_not_touched) {
    mlp free_run = mlp_create(1, &training), limited = mlp_create(1, &training);
    double norm = sk_plan_train(free_run.plan, MLP_ROWS, free_run.adam, 1e-2, 0.0);
    cr_assert_eq(sk_plan_train(limited.plan, MLP_ROWS, limited.adam, 1e-2, 1.001 * norm), norm);
    mlp_state a = mlp_save(&free_run), b = mlp_save(&limited);
    assert_same_state(&a, &b, "a wide limit");
    mlp_state_free(&a), mlp_state_free(&b);
    mlp_destroy(&free_run), mlp_destroy(&limited);
}

Test(plan, adam_goes_on_from_saved_moments_bit_for_bit) {
    mlp m = mlp_create(2, &training), resumed = mlp_create(1, &training);
    for (int step = 0; step < 10; step++) sk_plan_train(m.plan, MLP_ROWS, m.adam, 1e-2, 0.5);
    mlp_state saved = mlp_save(&m);
    cr_assert_eq(saved.n_steps, 10);
    mlp_load(&resumed, &saved);
    for (int step = 0; step < 10; step++) {
        sk_plan_train(m.plan, 256, m.adam, 5e-3, 0.5);
        sk_plan_train(resumed.plan, 256, resumed.adam, 5e-3, 0.5);
    }
    mlp_state a = mlp_save(&m), b = mlp_save(&resumed);
    assert_same_state(&a, &b, "resumed");
    cr_assert_neq(memcmp(a.params, saved.params, a.n_floats * sizeof(float)), 0);
    mlp_state_free(&saved), mlp_state_free(&a), mlp_state_free(&b);
    mlp_destroy(&m), mlp_destroy(&resumed);
}

/* Everything a plan is given ends at a forbidden page here (the inputs always do, see mlp_fill). */
Test(plan, never_touches_memory_beyond_its_parameters) {
    mlp m = {0};
    mlp_build(&m);
    size_t floats = sk_graph_param_floats(m.g);
    cr_assert_eq(floats % SK_PAD, 0);
    float *params = guard_alloc(floats);
    memset(params, 0, floats * sizeof *params);
    cr_assert_eq(sk_device_create_cpu(2, &m.dev, NULL), SK_OK);
    cr_assert_eq(sk_buffer_wrap(m.dev, params, floats * sizeof(float), &m.params, NULL), SK_OK);
    mlp_fill(&m);
    cr_assert_eq(sk_plan_create(m.dev, m.g, m.params, &training, &m.plan, NULL), SK_OK);
    cr_assert_eq(
        sk_adam_create(m.dev, m.params, floats, &(sk_adam_params){0.9f, 0.999f, 1e-5f}, &m.adam, NULL),
        SK_OK);
    mlp_bind(&m, 0);
    for (int rows = 1; rows <= MLP_ROWS; rows += 23) {
        mlp_bind(&m, MLP_ROWS - rows);
        cr_assert(isfinite(sk_plan_train(m.plan, rows, m.adam, 1e-3, 0.5)));
    }
    mlp_destroy(&m);
    guard_check_all();
}

/* Two threads, each with a plan of its own, on one device. */
static void *train_on_shared_device(void *arg) {
    mlp *m = arg;
    for (int step = 0; step < 100; step++) sk_plan_train(m->plan, MLP_ROWS, m->adam, 1e-3, 0.5);
    return NULL;
}
Test(plan, plans_of_several_threads_share_a_device) {
    mlp alone = mlp_create(1, &training), shared[2] = {mlp_create(3, &training), mlp_create(3, &training)};
    sk_device *own = shared[1].dev;
    sk_plan_destroy(&shared[1].plan);
    cr_assert_eq(
        sk_plan_create(shared[0].dev, shared[1].g, shared[1].params, &training, &shared[1].plan, NULL),
        SK_OK);
    mlp_bind(&shared[1], 0);
    train_on_shared_device(&alone);
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, train_on_shared_device, &shared[i]), 0);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    mlp_state want = mlp_save(&alone);
    for (int i = 0; i < 2; i++) {
        mlp_state got = mlp_save(&shared[i]);
        assert_same_state(&got, &want, "a shared device");
        mlp_state_free(&got);
    }
    mlp_state_free(&want);
    shared[1].dev = own;
    mlp_destroy(&shared[1]), mlp_destroy(&shared[0]), mlp_destroy(&alone);
}

Test(plan, what_nobody_sees_is_not_computed_and_needs_no_input) {
    SK_AUTO(sk_graph) g = NULL;
    cr_assert_eq(sk_graph_create(&g, NULL), SK_OK);
    sk_tensor x = sk_graph_input(g, "x", 3), unbound = sk_graph_input(g, "unbound", 3);
    sk_tensor w = sk_graph_param(g, "w", 3, 2);
    sk_tensor y = sk_graph_linear(g, x, w, SK_NO_TENSOR, SK_UNARY_IDENTITY);
    sk_graph_linear(g, unbound, w, SK_NO_TENSOR, SK_UNARY_TANH);
    sk_tensor sum = sk_graph_sum(g, y);
    sk_graph_output(g, y);
    sk_graph_minimize(g, sum, 1.0f);
    cr_assert_eq(sk_graph_finish(g, NULL), SK_OK);
    SK_AUTO(sk_device) dev = NULL;
    SK_AUTO(sk_buffer) params = NULL;
    SK_AUTO(sk_plan) plan = NULL;
    cr_assert_eq(sk_device_create_cpu(1, &dev, NULL), SK_OK);
    cr_assert_eq(sk_buffer_create(dev, sk_graph_param_floats(g) * sizeof(float), &params, NULL), SK_OK);
    sk_plan_params how = {.max_rows = 2, .backward = 1};
    cr_assert_eq(sk_plan_create(dev, g, params, &how, &plan, NULL), SK_OK);
    float values[6] = {1, 2, 3, 4, 5, 6}, *p = sk_buffer_host(params);
    for (int i = 0; i < 3; i++) p[i * SK_PAD] = 1.0f;
    sk_plan_bind_host(plan, x, values);
    sk_plan_backward(plan, 2);
    cr_assert_eq(sk_plan_output(plan, y)[SK_PAD], 15.0f);
    cr_assert_eq(sk_plan_sum(plan, sum)[0], 21.0);
    for (int i = 0; i < 3; i++) cr_assert_eq(sk_plan_grad(plan)[i * SK_PAD], values[i] + values[3 + i]);
}

Test(plan, refuses_what_does_not_fit) {
    mlp m = mlp_create(1, &training);
    sk_plan *plan = NULL;
    sk_adam *adam = NULL;
    sk_error err = {0};
    cr_assert_eq(sk_plan_create(m.dev, m.g, m.params, &(sk_plan_params){.max_rows = 0}, &plan, &err),
                 SK_EINVAL);
    cr_assert(strstr(err.msg, "max_rows"), "%s", err.msg);
    cr_assert_eq(sk_plan_create(m.dev, m.g, NULL, &training, &plan, &err), SK_EINVAL);
    sk_buffer *small = NULL;
    cr_assert_eq(sk_buffer_create(m.dev, sk_graph_param_floats(m.g) * sizeof(float) - 4, &small, NULL),
                 SK_OK);
    cr_assert_eq(sk_plan_create(m.dev, m.g, small, &training, &plan, &err), SK_EINVAL);
    cr_assert(strstr(err.msg, "parameters"), "%s", err.msg);
    sk_adam_params how = {0.9f, 0.999f, 1e-5f};
    cr_assert_eq(sk_adam_create(m.dev, small, sk_graph_param_floats(m.g), &how, &adam, &err), SK_EINVAL);
    cr_assert(!plan && !adam);
    sk_buffer_destroy(&small);
    mlp_destroy(&m);
    sk_device *dev = NULL;
    cr_assert_eq(sk_device_create_cpu(0, &dev, &err), SK_EINVAL);
    cr_assert_eq(sk_device_create_cpu(1025, &dev, &err), SK_EINVAL);
    cr_assert_null(dev);
}

Test(plan, names_the_instruction_set_and_obeys_the_environment) {
    FOR_ISAS(isa) {
        sk_device *dev = NULL;
        char want[32];
        snprintf(want, sizeof want, "cpu x86-64-v%d", isa);
        cr_assert_eq(sk_device_create_cpu(1, &dev, NULL), SK_OK);
        cr_assert_str_eq(sk_device_name(dev), want);
        sk_device_destroy(&dev);
    }
}

Test(plan, destroy_accepts_null) {
    sk_plan *plan = NULL;
    sk_adam *adam = NULL;
    sk_buffer *buf = NULL;
    sk_device *dev = NULL;
    sk_graph *g = NULL;
    sk_plan_destroy(&plan), sk_plan_destroy(NULL);
    sk_adam_destroy(&adam), sk_adam_destroy(NULL);
    sk_buffer_destroy(&buf), sk_buffer_destroy(NULL);
    sk_device_destroy(&dev), sk_device_destroy(NULL);
    sk_graph_destroy(&g), sk_graph_destroy(NULL);
}
