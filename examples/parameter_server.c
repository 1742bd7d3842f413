/* parameter_server: an actor holds the parameters of a model, tasks compute gradients. Both travel as references and
 * are read where they lie. The driver lays out all rounds ahead of time and touches none of these numbers.
 *
 *     cc -O2 parameter_server.c $(pkg-config --cflags --libs skiff) -o parameter_server && ./parameter_server
 *
 * prints
 *
 *     loss by round: 0.159 0.039 0.012 0.004 0.002 0.001 */
#include <skiff/skiff.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_SHARDS = 3, N_ROWS = 64, DIM = 3072, N_ROUNDS = 6, PATIENCE_MS = 60000 };
static const size_t SIZE = DIM * sizeof(float); /* 12 KiB: more than a message carries, so it lies in shared memory */

/* ---- the server: parameters w of the model y = w . x, all zero at first ---- */
static sk_status server_create(sk_call *call, void **ret_self, sk_error *reterr) {
    (void)call; /* no arguments */
    *ret_self = calloc(1, SIZE);
    return *ret_self ? SK_OK : SK_FAIL(reterr, SK_ENOMEM, "no memory for %d parameters", DIM);
}

/* step(gradients...): a step down their sum, in the order of the arguments. Answers with the parameters as an object
 * that never changes: whoever still reads those of the round before is not disturbed. */
static sk_status server_call(void *self, int method, sk_call *call, sk_error *reterr) {
    (void)method; /* there is only one */
    float *w = self;
    for (int g = 0; g < sk_call_n_args(call); g++) {
        const float *gradient = sk_call_arg(call, g).data;
        for (int k = 0; k < DIM; k++) w[k] -= 0.5f * gradient[k];
    }
    return sk_call_write(call, 0, w, SIZE, reterr);
}

static void server_destroy(void *self) { free(self); }

/* ---- the task gradient(shard, parameters): its answers are the gradient and the loss of one shard of the data ---- */
static float draw(uint32_t *state) { /* in [-1, 1) */
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) * 0x1p-23f - 1.0f;
}

static sk_status gradient_task(sk_call *call, sk_error *reterr) {
    uint32_t     seed = *(const uint32_t *)sk_call_arg(call, 0).data; /* of the shard's rows */
    const float *w = sk_call_arg(call, 1).data;
    void        *room;
    SK_TRY(sk_call_alloc(call, 0, SIZE, &room, reterr)); /* in shared memory: written where it will be read */
    float *gradient = memset(room, 0, SIZE), x[DIM], loss = 0.0f;
    for (int row = 0; row < N_ROWS; row++) {
        uint32_t hidden = 12345; /* parameters that nobody knows and all data comes from: y = h . x */
        float    off = 0.0f;     /* w . x - y */
        for (int k = 0; k < DIM; k++) {
            x[k] = draw(&seed) / 32.0f; /* a row's length is about 1 */
            off += (w[k] - draw(&hidden)) * x[k];
        }
        for (int k = 0; k < DIM; k++) gradient[k] += off * x[k];
        loss += 0.5f * off * off / (N_ROWS * N_SHARDS);
    }
    return sk_call_write(call, 1, &loss, sizeof loss, reterr);
}

static const char *const       methods[] = {"step"};
static const sk_actor_class    server = {"ps.Server", methods, 1, server_create, server_call, server_destroy, NULL};
static const sk_actor_class *const classes[] = {&server};
static const sk_task_def       tasks[] = {{"ps.gradient", gradient_task}};
static const sk_module         module = {SK_MODULE_ABI, sizeof module, "ps", tasks, 1, classes, 1};
static const sk_module *const  modules[] = {&module};

/* Lay out one round: gradients at *params, then the step, whose answer becomes *params. Waits for nothing. */
static sk_status submit_round(sk_runtime *rt, sk_actor actor, sk_ref *params, sk_ref *ret_losses, sk_error *reterr) {
    sk_arg gradients[N_SHARDS];
    for (uint32_t s = 0; s < N_SHARDS; s++) {
        sk_ref  answers[2];
        sk_arg  args[] = {sk_by_value(&s, sizeof s), sk_by_ref(*params)};
        sk_task task = {.function = "ps.gradient", .args = args, .n_args = SK_COUNT(args), .n_returns = 2};
        SK_TRY(sk_submit(rt, &task, answers, reterr));
        gradients[s] = sk_by_ref(answers[0]), ret_losses[s] = answers[1];
    }
    sk_release(rt, params); /* whoever waits for it counts on it */
    SK_TRY(sk_actor_call(rt, actor, &(sk_method){.args = gradients, .n_args = N_SHARDS}, params, reterr));
    for (int s = 0; s < N_SHARDS; s++) sk_release(rt, &gradients[s].ref);
    return SK_OK;
}

static sk_status run(sk_runtime *rt, float *ret_losses, sk_error *reterr) {
    sk_actor actor;
    sk_ref   params, losses[N_ROUNDS][N_SHARDS];
    SK_TRY(sk_actor_create(rt, &(sk_actor_params){.class_name = "ps.Server"}, &actor, reterr));
    SK_TRY(sk_actor_call(rt, actor, &(sk_method){0}, &params, reterr));
    for (int i = 0; i < N_ROUNDS; i++) SK_TRY(submit_round(rt, actor, &params, losses[i], reterr));
    for (int i = 0; i < N_ROUNDS * N_SHARDS; i++) {
        sk_bytes value;
        SK_TRY(sk_get(rt, losses[i / N_SHARDS][i % N_SHARDS], PATIENCE_MS, &value, reterr));
        ret_losses[i / N_SHARDS] += *(const float *)value.data;
        sk_release(rt, &losses[i / N_SHARDS][i % N_SHARDS]);
    }
    return sk_release(rt, &params), SK_OK;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "worker") == 0) return sk_worker_main(argc - 2, argv + 2, modules, 1);
    /* ---- create ---- */
    sk_runtime_params params = {.modules = modules, .n_modules = 1, .worker_has_modules = true};
    sk_runtime       *rt = NULL;
    float             losses[N_ROUNDS] = {0.0f};
    sk_error          err = {0};
    sk_status         status = sk_runtime_create(&params, &rt, &err);
    /* ---- run ---- */
    if (status == SK_OK) status = run(rt, losses, &err);
    /* ---- report ---- */
    for (int i = 0; i < N_ROUNDS && status == SK_OK; i++) printf(i ? " %.3f" : "loss by round: %.3f", losses[i]);
    if (status == SK_OK) putchar('\n');
    if (status != SK_OK) fprintf(stderr, "%s\n", err.msg);
    /* ---- destroy ---- */
    sk_runtime_destroy(&rt);
    return status == SK_OK ? 0 : 1;
}
