/* streaming_pipeline: actors as stages, large objects that go through them by reference, and back-pressure: the feeder
 * is told when a stage has four calls waiting, so 100 frames of 1 MiB get along with 32 MiB of shared memory.
 *
 *     cc -O2 streaming_pipeline.c $(pkg-config --cflags --libs skiff) -o streaming_pipeline && ./streaming_pipeline
 *
 * prints
 *
 *     100 frames; the picture changed most at frame 77 */
#include <skiff/skiff.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_FRAMES = 100, N_PIXELS = 1 << 20, STORE = 32 << 20, MAX_PENDING = 4, PATIENCE_MS = 60000 };

/* A stage's state begins as zeros, in a room that is large enough for both. */
static sk_status stage_create(sk_call *call, void **ret_self, sk_error *reterr) {
    (void)call;
    *ret_self = calloc(1, N_PIXELS);
    return *ret_self ? SK_OK : SK_FAIL(reterr, SK_ENOMEM, "no memory for a frame of %d bytes", N_PIXELS);
}

/* Stage 1 keeps the frame before and answers with what has changed, written where stage 2 will read it. */
static sk_status delta_call(void *self, int method, sk_call *call, sk_error *reterr) {
    (void)method; /* there is only one */
    const uint8_t *frame = sk_call_arg(call, 0).data, *before = self;
    void          *change;
    SK_TRY(sk_call_alloc(call, 0, N_PIXELS, &change, reterr));
    for (int i = 0; i < N_PIXELS; i++) ((uint8_t *)change)[i] = (uint8_t)abs(frame[i] - before[i]);
    return memcpy(self, frame, N_PIXELS), SK_OK;
}

/* Stage 2 keeps where the largest change was. */
typedef struct peak {
    int     n_frames, frame;
    int64_t change;
} peak;

static sk_status peak_call(void *impl, int method, sk_call *call, sk_error *reterr) {
    (void)method;
    peak          *self = impl;
    const uint8_t *delta = sk_call_arg(call, 0).data;
    int64_t        change = 0;
    for (int i = 0; i < N_PIXELS; i++) change += delta[i];
    if (change > self->change) self->frame = self->n_frames, self->change = change;
    self->n_frames++;
    return sk_call_write(call, 0, self, sizeof *self, reterr);
}

static const char *const       methods[] = {"push"};
static const sk_actor_class    delta = {"stream.Delta", methods, 1, stage_create, delta_call, free, NULL};
static const sk_actor_class    peaks = {"stream.Peak", methods, 1, stage_create, peak_call, free, NULL};
static const sk_actor_class *const classes[] = {&delta, &peaks};
static const sk_module         module = {SK_MODULE_ABI, sizeof module, "stream", NULL, 0, classes, 2};
static const sk_module *const  modules[] = {&module};

/* ---- the feeder ---- */
typedef struct pipeline {
    sk_runtime *rt;
    sk_ref      answers[N_FRAMES]; /* of stage 2 */
    int         n_pushed, n_collected;
    peak        peak; /* the last one collected */
} pipeline;

static sk_status collect(pipeline *p, sk_error *reterr) {
    sk_bytes value;
    SK_TRY(sk_get(p->rt, p->answers[p->n_collected], PATIENCE_MS, &value, reterr));
    p->peak = *(const peak *)value.data;
    sk_release(p->rt, &p->answers[p->n_collected++]);
    return SK_OK;
}

/* Call a stage on *input, which is then its own. If it has enough to do, let the oldest frame come out first. */
static sk_status push(pipeline *p, sk_actor stage, sk_ref *input, sk_ref *ret_output, sk_error *reterr) {
    sk_arg    arg = sk_by_ref(*input);
    sk_method method = {.args = &arg, .n_args = 1};
    sk_status status;
    while (status = sk_actor_call(p->rt, stage, &method, ret_output, reterr), status == SK_ELIMIT) {
        if (p->n_collected == p->n_pushed) break; /* nothing is on its way */
        SK_TRY(collect(p, reterr));
    }
    return sk_release(p->rt, input), status;
}

static sk_status run(pipeline *p, sk_error *reterr) {
    sk_actor stages[2];
    for (int i = 0; i < 2; i++) {
        sk_actor_params params = {.class_name = classes[i]->name, .max_pending_calls = MAX_PENDING};
        SK_TRY(sk_actor_create(p->rt, &params, &stages[i], reterr));
    }
    sk_ref frame, change;
    for (void *pixels; p->n_pushed < N_FRAMES; p->n_pushed++) {
        SK_TRY(sk_put_begin(p->rt, N_PIXELS, &frame, &pixels, reterr)); /* a camera could write there */
        memset(pixels, p->n_pushed * p->n_pushed * 3 % 251, N_PIXELS);
        SK_TRY(sk_put_end(p->rt, frame, reterr));
        SK_TRY(push(p, stages[0], &frame, &change, reterr));
        SK_TRY(push(p, stages[1], &change, &p->answers[p->n_pushed], reterr));
    }
    while (p->n_collected < N_FRAMES) SK_TRY(collect(p, reterr));
    return SK_OK;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "worker") == 0) return sk_worker_main(argc - 2, argv + 2, modules, 1);
    /* ---- create ---- */
    static pipeline   p;
    sk_runtime_params params = {.modules = modules, .n_modules = 1, .worker_has_modules = true,
                                .store_bytes = STORE, .spill_bytes = SIZE_MAX /* no disk */};
    sk_error          err = {0};
    sk_status         status = sk_runtime_create(&params, &p.rt, &err);
    /* ---- run ---- */
    if (status == SK_OK) status = run(&p, &err);
    /* ---- report ---- */
    if (status == SK_OK) printf("%d frames; the picture changed most at frame %d\n", p.peak.n_frames, p.peak.frame);
    if (status != SK_OK) fprintf(stderr, "%s\n", err.msg);
    /* ---- destroy ---- */
    sk_runtime_destroy(&p.rt);
    return status == SK_OK ? 0 : 1;
}
