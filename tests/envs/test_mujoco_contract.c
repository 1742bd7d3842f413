/* The environments on MuJoCo as the host uses them: rows, saved states, broken simulations, silence. */
#include "mujoco_rig.h"
#include <math.h>

static void same_row(const mjt_rig *a, int i, const mjt_rig *b, int k, int t) {
    cr_assert_eq(memcmp(a->obs + i * a->obs_dim, b->obs + k * a->obs_dim, (size_t)a->obs_dim * sizeof(float)), 0,
                 "%s: env %d, step %d: another observation", a->api->name, i, t);
    cr_assert_eq(memcmp(&a->reward[i], &b->reward[k], sizeof(float)), 0, "%s: env %d, step %d: reward %a, alone %a",
                 a->api->name, i, t, (double)a->reward[i], (double)b->reward[k]);
    cr_assert_eq(a->terminated[i], b->terminated[k]);
}

/* All environments of an instance share one simulation; each goes on as if it had its own. */
Test(mujoco_contract, interleaved_environments_equal_single_ones) {
    mjt_skip_without();
    static mjt_rig many, single[MJ_ENVS_MAX];
    for (int e = 0; e < SK_COUNT(mjt_names); e++) {
        mjt_init(&many, mjt_names[e], MJ_ENVS_MAX, 11);
        for (int i = 0; i < MJ_ENVS_MAX; i++) mjt_init(&single[i], mjt_names[e], 1, 11 + (uint64_t)i);
        for (int t = 0; t < 120; t++) {
            if (t % 3 == 0) {
                mjt_step(&many, 0, MJ_ENVS_MAX, t, 0);
            } else { /* in other orders and pieces */
                mjt_step(&many, 2, 2, t, 0);
                mjt_step(&many, 0, 2, t, 0);
            }
            for (int i = 0; i < MJ_ENVS_MAX; i++) {
                mjt_step(&single[i], 0, 1, t, i);
                if (t % 3 == 0) same_row(&many, i, &single[i], 0, t);
                if (t % 40 != 10 * i) continue;
                many.api->reset(many.self, i, NULL, many.obs + i * many.obs_dim, NULL);
                single[i].api->reset(single[i].self, 0, NULL, single[i].obs, NULL);
                size_t obs_size = (size_t)many.obs_dim * sizeof(float);
                cr_assert_eq(memcmp(many.obs + i * many.obs_dim, single[i].obs, obs_size), 0,
                             "%s: env %d, step %d: another reset", many.api->name, i, t);
            }
        }
        mjt_deinit(&many);
        for (int i = 0; i < MJ_ENVS_MAX; i++) mjt_deinit(&single[i]);
    }
}

Test(mujoco_contract, goes_on_from_a_saved_state_bit_for_bit) {
    mjt_skip_without();
    static mjt_rig a, b;
    for (int e = 0; e < SK_COUNT(mjt_names); e++) {
        mjt_init(&a, mjt_names[e], 2, 3);
        mjt_init(&b, mjt_names[e], 1, 77);
        for (int t = 0; t < 40; t++) mjt_step(&a, 0, 2, t, 0);
        for (int t = 0; t < 5; t++) mjt_step(&b, 0, 1, t, 0);
        size_t size = a.api->state_size(a.self);
        void  *bytes = malloc(size);
        cr_assert_eq(a.api->state_save(a.self, 1, bytes), 0);
        cr_assert_eq(b.api->state_load(b.self, 0, bytes), 0);
        free(bytes);
        for (int t = 40; t < 80; t++) {
            mjt_step(&a, 0, 2, t, 0);
            mjt_step(&b, 0, 1, t, 1);
            same_row(&a, 1, &b, 0, t);
        }
        a.api->reset(a.self, 1, NULL, a.obs + a.obs_dim, NULL); /* the random stream too */
        b.api->reset(b.self, 0, NULL, b.obs, NULL);
        cr_assert_eq(memcmp(a.obs + a.obs_dim, b.obs, (size_t)a.obs_dim * sizeof(float)), 0);
        mjt_deinit(&a);
        mjt_deinit(&b);
    }
}

Test(mujoco_contract, refuses_a_state_whose_random_stream_is_none) {
    mjt_skip_without();
    static mjt_rig rig;
    mjt_init(&rig, "Hopper-v5", 1, 3);
    void *bytes = calloc(1, rig.api->state_size(rig.self));
    cr_assert_neq(rig.api->state_load(rig.self, 0, bytes), 0);
    cr_assert(strstr(rig.api->last_error(rig.self), "random stream"), "%s", rig.api->last_error(rig.self));
    free(bytes);
    mjt_deinit(&rig);
}

/* Overwrite number `back` of env's saved state, counted from its end, by `value`. */
static void inject(mjt_rig *rig, int env, int back, double value) {
    size_t size = rig->api->state_size(rig->self);
    char  *bytes = malloc(size);
    cr_assert_eq(rig->api->state_save(rig->self, env, bytes), 0);
    memcpy(bytes + size - (size_t)back * sizeof(double), &value, sizeof value);
    cr_assert_eq(rig->api->state_load(rig->self, env, bytes), 0);
    free(bytes);
}

/* Bad numbers make MuJoCo start that simulation again by itself. That is not passed on as a step, and the environments
 * beside it notice nothing. Nothing is printed, no MUJOCO_LOG.TXT is written. */
Test(mujoco_contract, a_simulation_that_diverges_fails_its_row_alone_and_silently) {
    mjt_skip_without();
    static mjt_rig rig, calm;
    static const double values[] = {NAN, INFINITY, 1e300, -1e12, 1e9};
    char path[64];
    int  saved[2];
    mjt_empty_folder(path);
    for (int e = 0; e < SK_COUNT(mjt_names); e++) {
        mjt_init(&rig, mjt_names[e], 3, 5);
        mjt_init(&calm, mjt_names[e], 3, 5);
        for (int v = 0; v < SK_COUNT(values); v++) {
            int n_speed = 1 + rig.n_action; /* within qvel and the warm start of every model */
            inject(&rig, 1, 2 * n_speed, values[v]);
            mjt_quiet_begin(saved);
            mjt_step(&rig, 0, 3, v, 0);
            long printed = mjt_quiet_end(saved);
            cr_assert_eq(printed, 0, "%s printed %ld bytes", mjt_names[e], printed);
            mjt_step(&calm, 0, 3, v, 0);
            same_row(&rig, 0, &calm, 0, v);
            same_row(&rig, 2, &calm, 2, v);
            if (rig.failed[1]) {
                cr_assert(strstr(rig.api->last_error(rig.self), "environment 1: the simulation is invalid: "), "%s",
                          rig.api->last_error(rig.self));
                cr_assert_eq(rig.reward[1], 0.0f);
            }
            for (int i = 0; i < 3 * rig.obs_dim; i++) cr_assert(isfinite(rig.obs[i]));
            uint64_t seed = 6;
            rig.api->reset(rig.self, 1, &seed, rig.obs + rig.obs_dim, NULL);
        }
        mjt_deinit(&rig);
        mjt_deinit(&calm);
    }
    cr_assert_eq(mjt_count_entries(path), 0, "a file was written");
    mjt_remove_folder(path);
}

/* A speed that is beyond MuJoCo's bounds: the row must fail. State: ..., qpos, qvel, warm start. */
Test(mujoco_contract, bad_speeds_fail_the_row_in_every_environment) {
    mjt_skip_without();
    static mjt_rig rig;
    static const int n_speeds[] = {9, 6, 9, 14, 23, 23, 5, 4, 11, 2, 3}; /* nv of mjt_names */
    for (int e = 0; e < SK_COUNT(mjt_names); e++) {
        mjt_init(&rig, mjt_names[e], 2, 5);
        for (int v = 0; v < 2; v++) {
            inject(&rig, 1, 2 * n_speeds[e], v ? NAN : 1e20);
            mjt_step(&rig, 0, 2, 0, 0);
            cr_assert_eq(rig.failed[1], 1, "%s", mjt_names[e]);
            cr_assert_eq(rig.failed[0], 0, "%s", mjt_names[e]);
            cr_assert(strstr(rig.api->last_error(rig.self), "QVEL"), "%s", rig.api->last_error(rig.self));
            mjt_step(&rig, 0, 2, 0, 0); /* what follows is clean again */
            cr_assert_eq(rig.failed[1], 0, "%s: %s", mjt_names[e], rig.api->last_error(rig.self));
        }
        mjt_deinit(&rig);
    }
}

/* A sliding ball on a plane with so little memory that MuJoCo gives up with mju_error (or, with less, leaves contacts
 * out, which is no step either). */
static void step_with_memory(const char *memory, const char *wanted) {
    static mjt_rig rig;
    char path[64], model[1000];
    int  saved[2];
    mjt_empty_folder(path);
    snprintf(model, sizeof model,
             "<mujoco><size memory='%s'/><option integrator='RK4'/><worldbody><geom type='plane' size='5 5 .1'/>"
             "<body pos='0 0 .05'><joint name='j' type='slide'/><geom size='.1'/><body pos='.15 0 0'>"
             "<joint axis='0 1 0'/><geom size='.1'/></body></body></worldbody><actuator><motor joint='j'/></actuator>"
             "</mujoco>", memory);
    mjt_use_own_models(path, "inverted_pendulum.xml", model);
    mjt_quiet_begin(saved);
    mjt_init(&rig, "InvertedPendulum-v5", 2, 1);
    for (int t = 0; t < 3; t++) mjt_step(&rig, 0, 2, t, 0);
    cr_assert_eq(mjt_quiet_end(saved), 0);
    cr_assert(rig.failed[0] && rig.failed[1]);
    cr_assert(strstr(rig.api->last_error(rig.self), wanted), "%s", rig.api->last_error(rig.self));
    mjt_deinit(&rig);
    cr_assert_eq(mjt_count_entries(path), 2, "a file was written"); /* lib and models */
    mjt_remove_folder(path);
}

Test(mujoco_contract, a_fatal_error_in_a_step_fails_the_row_and_not_the_process) {
    mjt_skip_without();
    step_with_memory("4K", "stack overflow");
}

Test(mujoco_contract, a_step_that_left_contacts_out_fails_the_row) {
    mjt_skip_without();
    step_with_memory("1000", "Too many contacts");
}

Test(mujoco_contract, describes_the_spaces_of_gymnasium) {
    static const struct {
        int   obs, action, steps;
        float bound;
    } wanted[] = {{17, 6, 1000, 1},   {11, 3, 1000, 1}, {17, 6, 1000, 1}, {105, 8, 1000, 1}, {348, 17, 1000, 0.4f},
                  {348, 17, 1000, 0.4f}, {8, 2, 1000, 1},  {10, 2, 50, 1},   {23, 7, 100, 2},   {4, 1, 1000, 3},
                  {9, 1, 1000, 1}};
    mjt_skip_without();
    for (int e = 0; e < SK_COUNT(mjt_names); e++) {
        sk_env_config none = {0};
        sk_env_spec   spec = {.struct_size = sizeof spec};
        char          err[300];
        cr_assert_eq(sk_env_builtin(mjt_names[e])->describe(&none, &spec, err, sizeof err), 0);
        cr_assert_eq(spec.obs[0].shape[0], wanted[e].obs);
        cr_assert(isinf(spec.obs[0].low) && isinf(spec.obs[0].high));
        cr_assert_eq(spec.action[0].n, wanted[e].action);
        cr_assert_eq(spec.action[0].high, wanted[e].bound);
        cr_assert_eq(spec.action[0].low, -wanted[e].bound);
        cr_assert_eq(spec.max_episode_steps, wanted[e].steps);
        const char *name = "gravity", *value = "1";
        cr_assert_neq(sk_env_builtin(mjt_names[e])->describe(&(sk_env_config){.n = 1, .names = &name, .values = &value},
                                                            &spec, err, sizeof err), 0);
        cr_assert(strstr(err, "gravity"), "%s", err);
    }
}
