/* What MuJoCo itself takes: 64 simulations are stepped with random actions and nothing else is done, the limit of row 4
 * of the speed table. Built and run by compare_control.py against the MuJoCo and the models of its virtual environment.
 * usage: mujoco_loop MODEL.xml ENV THREADS SECONDS [alone]; one JSON object. alone: mj_step only.
 *
 * A step: the action into ctrl, mj_step times the frame skip and, where the environment's observation holds contact
 * forces, mj_rnePostConstraint. Resets are those of the environment: unhealthy heights, or 1,000 steps. */
#include <mujoco/mujoco.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { N_ENVS = 64, FRAME_SKIP = 5, LIMIT = 1000, THREADS_MAX = 64 };

typedef struct task {
    const char *env;
    double ctrl;      /* of actions: -ctrl to ctrl               */
    double low, high; /* healthy heights of the torso; both 0: all */
    int height;       /* its index in qpos                       */
    double noise;     /* of a reset                              */
    int contact_forces;
} task;

static const task tasks[] = {
    {"HalfCheetah-v5", 1.0, 0.0, 0.0, 0, 0.1, 0},
    {"Ant-v5", 1.0, 0.2, 1.0, 2, 0.1, 1},
    {"Humanoid-v5", 0.4, 1.0, 2.0, 2, 0.01, 1},
};

typedef struct lane {
    const mjModel *model;
    const task *task;
    mjData *data[N_ENVS];
    int age[N_ENVS], n;
    uint64_t dice;
    long steps, resets;
    pthread_t thread;
} lane;

static atomic_int counting, over;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Uniform in [-1, 1). */
static double draw(lane *self) {
    self->dice ^= self->dice << 13;
    self->dice ^= self->dice >> 7;
    self->dice ^= self->dice << 17;
    return (double)(self->dice >> 11) * 0x1p-52 - 1.0;
}

static void reset(lane *self, int i) {
    mjData *d = self->data[i];
    mj_resetData(self->model, d);
    for (int k = 0; k < self->model->nq; k++) d->qpos[k] += self->task->noise * draw(self);
    for (int k = 0; k < self->model->nv; k++) d->qvel[k] = self->task->noise * draw(self);
    mj_forward(self->model, d);
    self->age[i] = 0;
}

static void step(lane *self, int i) {
    const task *t = self->task;
    mjData *d = self->data[i];
    for (int k = 0; k < self->model->nu; k++) d->ctrl[k] = t->ctrl * draw(self);
    for (int k = 0; k < FRAME_SKIP; k++) mj_step(self->model, d);
    if (t->contact_forces) mj_rnePostConstraint(self->model, d);
    int fallen = t->high > t->low && (d->qpos[t->height] < t->low || d->qpos[t->height] > t->high);
    if (++self->age[i] < LIMIT && !fallen) return;
    reset(self, i);
    self->resets++;
}

static void *run(void *arg) {
    lane *self = arg;
    for (int i = 0; i < self->n; i++) reset(self, i);
    while (!atomic_load(&over)) {
        for (int i = 0; i < self->n; i++) step(self, i);
        if (atomic_load(&counting)) self->steps += self->n;
    }
    return NULL;
}

static void wait_s(double seconds) {
    struct timespec t = {.tv_sec = (time_t)seconds, .tv_nsec = (long)(1e9 * (seconds - (double)(time_t)seconds))};
    nanosleep(&t, NULL);
}

int main(int argc, char **argv) {
    static lane lanes[THREADS_MAX];
    char why[1000] = "usage: mujoco_loop MODEL.xml ENV THREADS SECONDS [alone]";
    const task *found = NULL;
    for (size_t i = 0; argc > 4 && i < sizeof tasks / sizeof tasks[0]; i++)
        if (strcmp(tasks[i].env, argv[2]) == 0) found = &tasks[i];
    mjModel *model = found ? mj_loadXML(argv[1], NULL, why, sizeof why) : NULL;
    int n_threads = model ? atoi(argv[3]) : 0;
    if (n_threads < 1 || n_threads > THREADS_MAX) return fprintf(stderr, "%s\n", why), 2;
    task t = *found;
    if (argc > 5) t.contact_forces = 0;
    for (int k = 0; k < n_threads; k++) {
        lanes[k] = (lane){.model = model, .task = &t, .dice = 88172645463325252ULL + (uint64_t)k * 7919};
        for (int i = k; i < N_ENVS; i += n_threads) lanes[k].data[lanes[k].n++] = mj_makeData(model);
        if (pthread_create(&lanes[k].thread, NULL, run, &lanes[k]) != 0) return fprintf(stderr, "no thread\n"), 1;
    }
    double seconds = atof(argv[4]);
    wait_s(seconds / 4); /* past the first episodes' beginnings */
    double start = now();
    atomic_store(&counting, 1);
    wait_s(seconds);
    atomic_store(&counting, 0);
    double took = now() - start;
    atomic_store(&over, 1);
    long steps = 0, resets = 0;
    for (int k = 0; k < n_threads; k++) {
        pthread_join(lanes[k].thread, NULL);
        steps += lanes[k].steps, resets += lanes[k].resets;
        for (int i = 0; i < lanes[k].n; i++) mj_deleteData(lanes[k].data[i]);
    }
    mj_deleteModel(model);
    printf("{\"peer\": \"%s\", \"row\": \"4 %s\", \"threads\": %d, \"unit\": \"env steps/s\", ",
           argc > 5 ? "mj_step" : "loop", argv[2], n_threads);
    printf("\"value\": %.6g, \"resets\": %ld}\n", (double)steps / took, resets);
    return 0;
}
