/* A plan computes only what leads to an output or a sum. */
#include "tests/nn/nn_fixture.h"
#include "nn/plan.h"

#include <stdlib.h>

enum { OBS = 5, WIDTH = 32, ROWS = 9 };

/* Two heads on one layer; the second one also wants an input of its own. `both`: the second is an output too. */
static sk_graph *two_heads(int both, sk_tensor ret_obs_extra_heads[4]) {
    sk_graph *g = NULL;
    cr_assert_eq(sk_graph_create(&g, NULL), SK_OK);
    sk_tensor obs = sk_graph_input(g, "obs", OBS), extra = sk_graph_input(g, "extra", 2);
    sk_tensor w0 = sk_graph_param(g, "w0", OBS, WIDTH), w1 = sk_graph_param(g, "w1", WIDTH, 3);
    sk_tensor w2 = sk_graph_param(g, "w2", WIDTH, 2);
    sk_tensor h = sk_graph_linear(g, obs, w0, SK_NO_TENSOR, SK_UNARY_TANH);
    sk_tensor first = sk_graph_linear(g, h, w1, SK_NO_TENSOR, SK_UNARY_IDENTITY);
    sk_tensor second = sk_graph_linear(g, h, w2, SK_NO_TENSOR, SK_UNARY_IDENTITY);
    second = sk_graph_binary(g, SK_BINARY_ADD, second, extra);
    sk_graph_output(g, first);
    if (both) sk_graph_output(g, second);
    cr_assert_eq(sk_graph_finish(g, NULL), SK_OK);
    memcpy(ret_obs_extra_heads, (sk_tensor[]){obs, extra, first, second}, 4 * sizeof(sk_tensor));
    return g;
}

Test(plan_wanted, an_input_nobody_needs_may_stay_unbound_and_changes_nothing) {
    uint64_t   seed = 5;
    float     *obs = guard_fill(ROWS * OBS, &seed, -1.0, 1.0), *extra = guard_fill(ROWS * 2, &seed, -1.0, 1.0);
    float     *want = NULL;
    sk_device *dev = NULL;
    cr_assert_eq(sk_device_create_cpu(1, &dev, NULL), SK_OK);
    for (int both = 1; both >= 0; both--) {
        sk_tensor  t[4];
        sk_graph  *g = two_heads(both, t);
        sk_buffer *params = NULL;
        sk_plan   *plan = NULL;
        size_t     n = sk_graph_param_floats(g), n_out = (size_t)(ROWS * sk_graph_node(g, t[2])->ld);
        cr_assert_eq(sk_buffer_create(dev, n * sizeof(float), &params, NULL), SK_OK);
        seed = 6;
        fix_fill(sk_buffer_host(params), n, &seed, -0.3, 0.3);
        cr_assert_eq(sk_plan_create(dev, g, params, &(sk_plan_params){.max_rows = ROWS}, &plan, NULL), SK_OK);
        sk_plan_bind_host(plan, t[0], obs);
        if (both) sk_plan_bind_host(plan, t[1], extra);
        sk_plan_forward(plan, ROWS);
        if (both) want = guard_copy(sk_plan_output(plan, t[2]), n_out);
        else assert_same_bits(sk_plan_output(plan, t[2]), want, n_out, "the head that was asked for");
        sk_plan_destroy(&plan);
        sk_buffer_destroy(&params);
        sk_graph_destroy(&g);
    }
    sk_device_destroy(&dev);
    guard_check_all();
}
