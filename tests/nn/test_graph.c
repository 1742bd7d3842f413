/* Graphs: shapes and layout, and what is said about a wrong one. */
#include "nn/graph.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static sk_graph *g;
static sk_tensor rows5, rows1, table, one5, w53, b3, row5, grad1, grad5;

static void setup(void) {
    cr_assert_eq(sk_graph_create(&g, NULL), SK_OK);
    rows5 = sk_graph_input(g, "rows5", 5);
    rows1 = sk_graph_input(g, "rows1", 1);
    table = sk_graph_table(g, "table", 5);
    one5 = sk_graph_const(g, "one5", 5);
    w53 = sk_graph_param(g, "w53", 5, 3);
    b3 = sk_graph_param(g, "b3", 1, 3);
    row5 = sk_graph_param(g, "row5", 1, 5);
    grad5 = sk_graph_binary(g, SK_BINARY_MUL, rows5, row5);
    grad1 = sk_graph_row_sum(g, grad5);
    cr_assert_gt(grad1, 0);
}
static void teardown(void) { sk_graph_destroy(&g); }
TestSuite(graph, .init = setup, .fini = teardown);

static void assert_refused(sk_tensor t, const char *want) {
    sk_error err = {0};
    cr_assert_eq(t, -1, "was not refused; should say \"%s\"", want);
    cr_assert_eq(sk_graph_finish(g, &err), SK_EINVAL);
    cr_assert(strstr(err.msg, want), "says \"%s\", should say \"%s\"", err.msg, want);
    cr_assert(err.line > 0 && err.file);
    teardown();
    setup();
}

Test(graph, lays_parameters_out_one_after_the_other) {
    cr_assert_eq(sk_graph_node(g, w53)->offset, 0);
    cr_assert_eq(sk_graph_node(g, w53)->ld, 16);
    cr_assert_eq(sk_graph_node(g, b3)->offset, 80);
    cr_assert_eq(sk_graph_node(g, row5)->offset, 96);
    cr_assert_eq(sk_graph_param_floats(g), 112);
    sk_tensor column = sk_graph_param(g, "column", 20, 1); /* one column lies densely */
    cr_assert_eq(sk_graph_node(g, column)->ld, 1);
    cr_assert_eq(sk_graph_node(g, column)->offset, 112);
    cr_assert_eq(sk_graph_param_floats(g), 112 + 32);
    sk_tensor wide = sk_graph_param(g, "wide", 2, 17);
    cr_assert_eq(sk_graph_node(g, wide)->ld, 32);
    cr_assert_eq(sk_graph_param_floats(g), 112 + 32 + 64);
}

Test(graph, finds_parameters_by_name) {
    cr_assert_eq(sk_graph_find_param(g, "b3"), b3);
    cr_assert_eq(sk_graph_find_param(g, "rows5"), -1, "an input is no parameter");
    cr_assert_eq(sk_graph_find_param(g, "nobody"), -1);
}

Test(graph, knows_where_gradients_are_wanted) {
    cr_assert(sk_graph_node(g, grad5)->needs_grad && sk_graph_node(g, grad1)->needs_grad);
    cr_assert_not(sk_graph_node(g, rows5)->needs_grad);
    cr_assert_not(sk_graph_node(g, sk_graph_stop_gradient(g, grad5))->needs_grad);
    cr_assert_not(sk_graph_node(g, sk_graph_normalize(g, grad5, one5, one5, 1.0f))->needs_grad);
}

Test(graph, inputs_are_dense_and_results_are_padded) {
    cr_assert_eq(sk_graph_node(g, rows5)->ld, 5);
    cr_assert_eq(sk_graph_node(g, table)->ld, 5);
    cr_assert_eq(sk_graph_node(g, grad5)->ld, 16);
    cr_assert_eq(sk_graph_node(g, grad1)->ld, 1);
    cr_assert_eq(sk_graph_node(g, sk_graph_gather(g, table, rows1))->ld, 16);
    cr_assert_eq(sk_graph_node(g, sk_graph_softmax(g, rows5))->ld, 16);
}

Test(graph, refuses_wrong_shapes_and_says_what_they_are) {
    static const int two_parts[2] = {2, 3}, bad_parts[2] = {5, 0};
    assert_refused(sk_graph_linear(g, rows1, w53, b3, SK_UNARY_TANH), "(B x 1) times \"w53\" (5 x 3)");
    assert_refused(sk_graph_linear(g, rows5, w53, row5, SK_UNARY_TANH), "bias of \"w53\"");
    assert_refused(sk_graph_linear(g, rows5, rows5, b3, SK_UNARY_TANH), "does not fit");
    assert_refused(sk_graph_linear(g, table, w53, b3, SK_UNARY_TANH), "does not fit");
    assert_refused(sk_graph_binary(g, SK_BINARY_ADD, rows5, sk_graph_slice(g, rows5, 0, 2)), "(B x 5) with (B x 2)");
    assert_refused(sk_graph_binary(g, SK_BINARY_ADD, rows1, rows5), "(B x 1) with (B x 5)");
    assert_refused(sk_graph_binary(g, SK_BINARY_ADD, rows5, w53), "does not fit");
    assert_refused(sk_graph_binary(g, SK_BINARY_ADD, row5, rows5), "does not fit");
    assert_refused(sk_graph_binary(g, SK_BINARY_ADD, rows5, table), "does not fit");
    assert_refused(sk_graph_unary(g, SK_UNARY_TANH, row5), "rows of the batch");
    assert_refused(sk_graph_affine(g, table, 1.0f, 0.0f), "rows of the batch");
    assert_refused(sk_graph_softmax(g, one5), "rows of the batch");
    assert_refused(sk_graph_log_softmax(g, table), "rows of the batch");
    assert_refused(sk_graph_pick(g, rows5, rows5), "column numbers");
    assert_refused(sk_graph_pick(g, rows5, grad1), "column numbers");
    assert_refused(sk_graph_row_sum(g, row5), "rows of the batch");
    assert_refused(sk_graph_sum(g, sk_graph_sum(g, rows5)), "rows of the batch");
    assert_refused(sk_graph_mean(g, table), "rows of the batch");
    assert_refused(sk_graph_concat(g, rows5, row5), "rows of the batch");
    assert_refused(sk_graph_slice(g, rows5, 3, 3), "columns 3 to 6 of 5");
    assert_refused(sk_graph_slice(g, rows5, -1, 2), "columns -1 to 1 of 5");
    assert_refused(sk_graph_slice(g, rows5, 0, 0), "columns 0 to 0 of 5");
    assert_refused(sk_graph_layer_norm(g, rows5, row5, b3), "layer_norm wants (B x 5)");
    assert_refused(sk_graph_normalize(g, rows5, one5, row5, 1.0f), "normalize wants (B x 5)");
    assert_refused(sk_graph_gather(g, rows5, rows1), "gather wants a table");
    assert_refused(sk_graph_gather(g, table, rows5), "gather wants a table");
    assert_refused(sk_graph_categorical(g, grad5, rows1, SK_NO_TENSOR, two_parts, 2), "5 choices in 2 parts");
    assert_refused(sk_graph_categorical(g, grad5, rows5, SK_NO_TENSOR, two_parts, 1), "2 choices in 1 parts");
    assert_refused(sk_graph_categorical(g, grad5, rows5, SK_NO_TENSOR, bad_parts, 2), "part 1 has 0 choices");
    assert_refused(sk_graph_categorical(g, grad5, sk_graph_slice(g, rows5, 0, 2), rows1, two_parts, 2),
                   "mask of 1");
    assert_refused(sk_graph_categorical(g, grad5, sk_graph_slice(g, rows5, 0, 2), grad5, two_parts, 2),
                   "mask");
    assert_refused(sk_graph_gaussian(g, grad5, row5, rows1), "gaussian");
    assert_refused(sk_graph_gaussian(g, grad5, b3, rows5), "log_std of 3");
    assert_refused(sk_graph_gaussian(g, grad5, row5, grad5), "gaussian");
    assert_refused(sk_graph_sample_gaussian(g, grad5, row5, rows1), "gaussian");
    assert_refused(sk_graph_sample_categorical(g, grad5, grad1, SK_NO_TENSOR, &two_parts[1], 1),
                   "categorical");
    assert_refused(sk_graph_input(g, "empty", 0), "1 to 2^20 columns, got 0");
    assert_refused(sk_graph_param(g, "empty", 0, 3), "\"empty\" needs at least one row");
    assert_refused(sk_graph_param(g, "b3", 1, 4), "two parameters are called \"b3\": (1 x 3) and (1 x 4)");
    assert_refused(sk_graph_param(g, "huge", 1 << 20, 1 << 20), "2^30 parameters at \"huge\"");
    assert_refused(sk_graph_param(g, "a name that goes on and on until it fits nowhere at all", 1, 1),
                   "too long");
}

static sk_ppo_loss_in ppo_inputs(void) {
    static const int part_n[1] = {5};
    return (sk_ppo_loss_in){.dist = sk_graph_categorical(g, grad5, rows1, SK_NO_TENSOR, part_n, 1),
                            .value = grad1,
                            .logp_old = rows1,
                            .value_old = rows1,
                            .advantage = rows1,
                            .value_target = rows1,
                            .weight = rows1,
                            .coef = sk_graph_const(g, "coef", SK_PPO_COEF_N)};
}
#define PPO_WITH(field, tensor) (in = ppo_inputs(), in.field = (tensor), sk_graph_ppo_loss(g, &in))

Test(graph, refuses_a_ppo_loss_that_does_not_fit) {
    sk_ppo_loss_in in = ppo_inputs();
    cr_assert_gt(sk_graph_ppo_loss(g, &in), 0, "the inputs as they are must be fine");
    assert_refused(PPO_WITH(dist, grad1), "dist (B x 2)");
    assert_refused(PPO_WITH(dist, sk_graph_param(g, "pair", 1, 2)), "dist (B x 2)");
    assert_refused(PPO_WITH(coef, one5), "coefficients (1 x 8)");
    assert_refused(PPO_WITH(value, grad5), "input 1 must be (B x 1), has 5 columns");
    assert_refused(PPO_WITH(weight, rows5), "input 6 must be (B x 1)");
    /* data that a gradient would flow to: an advantage computed from the very value that is trained */
    assert_refused(PPO_WITH(advantage, grad1), "use stop_gradient");
    assert_refused(PPO_WITH(logp_old, grad1), "use stop_gradient");
    in = ppo_inputs();
    in.advantage = sk_graph_stop_gradient(g, grad1);
    cr_assert_gt(sk_graph_ppo_loss(g, &in), 0);
}

Test(graph, refuses_tensors_that_do_not_exist) {
    assert_refused(sk_graph_unary(g, SK_UNARY_TANH, 77), "tensor 77 does not exist");
    assert_refused(sk_graph_unary(g, SK_UNARY_TANH, SK_NO_TENSOR), "does not exist");
    assert_refused(sk_graph_binary(g, SK_BINARY_ADD, rows5, SK_NO_TENSOR), "does not exist");
    assert_refused(sk_graph_linear(g, rows5, SK_NO_TENSOR, b3, SK_UNARY_TANH), "does not exist");
    assert_refused(sk_graph_linear(g, SK_NO_TENSOR, w53, SK_NO_TENSOR, SK_UNARY_TANH), "does not exist");
}

Test(graph, keeps_its_first_error_and_passes_minus_one_on) {
    static const int part_n[1] = {5};
    sk_tensor bad = sk_graph_slice(g, rows5, 4, 9);
    cr_assert_eq(bad, -1);
    cr_assert_eq(sk_graph_unary(g, SK_UNARY_TANH, bad), -1);
    cr_assert_eq(sk_graph_linear(g, bad, w53, b3, SK_UNARY_TANH), -1);
    cr_assert_eq(sk_graph_softmax(g, bad), -1);
    cr_assert_eq(sk_graph_layer_norm(g, bad, row5, row5), -1);
    cr_assert_eq(sk_graph_categorical(g, bad, rows1, SK_NO_TENSOR, part_n, 1), -1);
    cr_assert_eq(sk_graph_gaussian(g, bad, row5, rows5), -1);
    cr_assert_eq(sk_graph_concat(g, rows5, bad), -1);
    cr_assert_eq(sk_graph_sum(g, bad), -1);
    cr_assert_eq(sk_graph_slice(g, rows5, 7, 1), -1); /* a second mistake */
    sk_graph_output(g, bad);
    sk_graph_minimize(g, bad, 1.0f);
    sk_error err = {0};
    cr_assert_eq(sk_graph_finish(g, &err), SK_EINVAL);
    cr_assert(strstr(err.msg, "columns 4 to 13 of 5"), "%s", err.msg);
    cr_assert_eq(sk_graph_finish(g, NULL), SK_EINVAL, "and without anyone listening");
}

Test(graph, refuses_odd_outputs_and_losses) {
    sk_error err = {0};
    sk_graph_output(g, row5);
    cr_assert_eq(sk_graph_finish(g, &err), SK_EINVAL);
    cr_assert(strstr(err.msg, "output"), "%s", err.msg);
    teardown();
    setup();
    sk_graph_output(g, rows5);
    cr_assert_eq(sk_graph_finish(g, &err), SK_EINVAL);
    teardown();
    setup();
    sk_graph_minimize(g, grad1, 1.0f);
    cr_assert_eq(sk_graph_finish(g, &err), SK_EINVAL);
    cr_assert(strstr(err.msg, "minimised"), "%s", err.msg);
}

Test(graph, refuses_an_empty_graph) {
    sk_graph *empty = NULL;
    cr_assert_eq(sk_graph_create(&empty, NULL), SK_OK);
    cr_assert_eq(sk_graph_finish(empty, NULL), SK_EINVAL);
    sk_graph_destroy(&empty);
    cr_assert_null(empty);
}

Test(graph, refuses_more_tensors_than_there_is_room_for) {
    sk_tensor t = rows5;
    int n = 0;
    while ((t = sk_graph_unary(g, SK_UNARY_TANH, t)) >= 0) n++;
    cr_assert_eq(n, SK_GRAPH_MAX_NODES - 9);
    sk_error err = {0};
    cr_assert_eq(sk_graph_finish(g, &err), SK_EINVAL);
    cr_assert(strstr(err.msg, "more than 256 tensors"), "%s", err.msg);
}

Test(graph, refuses_more_discrete_actions_than_there_is_room_for) {
    int part_n[65];
    for (int i = 0; i < 65; i++) part_n[i] = 2;
    sk_tensor logits = sk_graph_input(g, "logits", 130), action = sk_graph_input(g, "action", 65);
    assert_refused(sk_graph_categorical(g, logits, action, SK_NO_TENSOR, part_n, 65), "more than 64");
}

Test(graph, adds_coefficients_of_a_sum_up) {
    sk_tensor sum = sk_graph_sum(g, grad1);
    sk_graph_minimize(g, sum, 0.5f);
    sk_graph_minimize(g, sum, 0.25f);
    cr_assert_eq(sk_graph_loss_coef(g, sum), 0.75f);
    cr_assert_eq(sk_graph_loss_coef(g, grad1), 0.0f);
    cr_assert_eq(sk_graph_finish(g, NULL), SK_OK);
}

Test(graph, an_activation_that_needs_its_input_is_a_tensor_of_its_own) {
    cr_assert_eq(sk_graph_node(g, sk_graph_linear(g, rows5, w53, b3, SK_UNARY_TANH))->op, SK_OP_LINEAR);
    sk_tensor t = sk_graph_linear(g, rows5, w53, b3, SK_UNARY_GELU);
    cr_assert_eq(sk_graph_node(g, t)->op, SK_OP_UNARY);
    cr_assert_eq(sk_graph_node(g, t)->kind, SK_UNARY_GELU);
    cr_assert_eq(sk_graph_node(g, sk_graph_node(g, t)->in[0])->kind, SK_UNARY_IDENTITY);
}
