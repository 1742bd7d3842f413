#!/usr/bin/env python3
"""Record trajectories of Gymnasium's environments for tests/envs/. Run by hand; needs gymnasium >= 1.4, numpy >= 2.

    python3 tests/golden/make_goldens.py [FOLDER [STEPS]]    (default: the folder of this script)

One file per environment. Lines:
    run SEED                              a new environment, reset with that seed
    o OBS...                              the observation after a reset
    s ACTION REWARD TERM TRUNC OBS...     a step; OBS is the true last observation if the episode ended, and
                                          then an `o` line follows (the reset continues the random stream)
Numbers are float32, printed so that they read back to the same bits.
"""
import math
import pathlib
import platform
import sys

import gymnasium as gym
import numpy as np


def text(values):
    return " ".join("%.9g" % np.float32(v) for v in np.atleast_1d(values))


def cartpole_action(seed, t, obs, rng):
    if seed == 42:  # the sequence of the facts: 0 0 1 1 0 0 ...
        return t // 2 % 2
    if seed == 123:  # a controller that lives until the time limit
        return int(3 * obs[2] + obs[3] + 0.1 * obs[0] + 0.3 * obs[1] > 0)
    return int(rng.integers(2))


def pendulum_action(seed, t, obs, rng):
    if seed == 42:
        u = 2 * math.sin(0.3 * t)
    elif seed == 123:  # pump energy, then hold: small costs, where float32 and float64 arithmetic differ most
        theta = math.atan2(obs[1], obs[0])
        energy = 0.5 * obs[2] ** 2 / 3 + 10 * obs[0] / 2
        u = -10 * theta - 2 * obs[2] if abs(theta) < 0.6 else math.copysign(2.0, obs[2] * (5 - energy))
    else:  # also beyond the bounds, to be clipped
        u = rng.uniform(-3, 3)
    return np.array([u], dtype=np.float32)


def mountain_car_action(seed, t, obs, rng):
    if seed == 42:  # swing: push the way it moves, which gets out
        return 2 if obs[1] > 0 else 0
    if seed == 123:  # against the left wall
        return 0 if obs[1] <= 0 or obs[0] > -0.4 else 2
    return int(rng.integers(3))


def mountain_car_continuous_action(seed, t, obs, rng):
    if seed == 42:
        u = math.sin(0.1 * t)
    elif seed == 123:  # swing out; also both bounds
        u = math.copysign(1.0, obs[1])
    else:
        u = rng.uniform(-1, 1)
    return np.array([u], dtype=np.float32)


def acrobot_action(seed, t, obs, rng):
    if seed in (42, 123):  # pump energy: with the speed of the second link
        return 2 if obs[5] > 0 else 0
    return int(rng.integers(3))


def record(name, action_of, steps, seeds, out):
    with open(out / f"{name}.txt", "w") as file:
        print(f"# {name} of Gymnasium {gym.__version__}, NumPy {np.__version__}, Python {platform.python_version()},",
              f"{' '.join(platform.libc_ver())}, {platform.machine()}", file=file)
        print("# made by tests/golden/make_goldens.py, which explains the lines", file=file)
        for seed in seeds:
            env = gym.make(name)
            rng = np.random.default_rng(seed + 1000)
            obs, _ = env.reset(seed=seed)
            print(f"run {seed}\no {text(obs)}", file=file)
            for t in range(steps):
                action = action_of(seed, t, obs, rng)
                obs, reward, terminated, truncated, _ = env.step(action)
                print(f"s {text(action)} {text(reward)} {int(terminated)} {int(truncated)} {text(obs)}", file=file)
                if terminated or truncated:
                    obs, _ = env.reset()
                    print(f"o {text(obs)}", file=file)


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent
    n = int(sys.argv[2]) if len(sys.argv) > 2 else 0  # more steps, for a long check by hand
    record("CartPole-v1", cartpole_action, n or 600, (0, 1, 42, 123), folder)
    record("Pendulum-v1", pendulum_action, n or 450, (0, 1, 42, 123), folder)
    record("MountainCar-v0", mountain_car_action, n or 450, (0, 1, 42, 123), folder)
    record("MountainCarContinuous-v0", mountain_car_continuous_action, n or 1050, (0, 42, 123), folder)
    record("Acrobot-v1", acrobot_action, n or 1050, (0, 1, 42, 123), folder)
