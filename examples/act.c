/* act: a trained policy inside a program of your own, which knows nothing else of skiff.
 *
 *     skiff train configs/cartpole_ppo.yaml --run-dir runs/cartpole
 *     cc -O2 act.c $(pkg-config --cflags --libs skiff) -lm -o act && ./act runs/cartpole
 *
 * prints
 *
 *     policy for CartPole-v1: 4 observation slots, 2 choices
 *     balanced for 500 of 500 steps */
#include <skiff/policy.h>

#include <math.h>
#include <stdio.h>

/* The program's own world: a pole on a cart (Barto, Sutton and Anderson 1983). */
typedef struct world {
    double x, x_dot, theta, theta_dot; /* [m], [m/s], [rad] from upright, [rad/s] */
} world;

static void push(world *w, int right) {
    double force = right ? 10.0 : -10.0, sine = sin(w->theta), cosine = cos(w->theta); /* [N] */
    double temp = (force + 0.05 * w->theta_dot * w->theta_dot * sine) / 1.1;
    double theta_acc = (9.8 * sine - cosine * temp) / (0.5 * (4.0 / 3.0 - 0.1 * cosine * cosine / 1.1));
    double x_acc = temp - 0.05 * theta_acc * cosine / 1.1;
    w->x += 0.02 * w->x_dot; /* 0.02 s per step */
    w->x_dot += 0.02 * x_acc;
    w->theta += 0.02 * w->theta_dot;
    w->theta_dot += 0.02 * theta_acc;
}

static int has_fallen(const world *w) { return fabs(w->x) > 2.4 || fabs(w->theta) > 0.2095; }

int main(int argc, char **argv) {
    /* ---- create ---- */
    if (argc != 2) {
        fprintf(stderr, "usage: act POLICY|RUN_DIR\n");
        return 2;
    }
    skiff_policy *policy = NULL;
    char          why[512];
    if (skiff_policy_load(argv[1], &policy, why, sizeof why) != 0) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    printf("policy for %s: %d observation slots, %d choices\n", skiff_policy_env_name(policy),
           skiff_policy_obs_slots(policy), skiff_policy_n_choices(policy, 0));
    if (skiff_policy_obs_slots(policy) != 4 || skiff_policy_n_choices(policy, 0) != 2) {
        fprintf(stderr, "this program balances a pole; it needs a policy for CartPole-v1\n");
        skiff_policy_destroy(&policy);
        return 1;
    }

    /* ---- run ---- */
    world w = {.x = 0.01, .theta = 0.03};
    int   steps = 0;
    while (steps < 500 && !has_fallen(&w)) {
        const float       obs[4] = {(float)w.x, (float)w.x_dot, (float)w.theta, (float)w.theta_dot};
        skiff_action_slot action;
        skiff_policy_act(policy, obs, NULL, 1, &action);
        push(&w, action.i == 1);
        steps++;
    }

    /* ---- report ---- */
    printf("balanced for %d of 500 steps\n", steps);

    /* ---- destroy ---- */
    skiff_policy_destroy(&policy);
    return steps == 500 ? 0 : 1;
}
