#!/usr/bin/env python3
"""Record trajectories of Gymnasium's environments for tests/envs/. Run by hand; needs gymnasium[mujoco] 1.4.0 with
mujoco 4.0.0 and numpy >= 2.

    python3 tests/golden/make_goldens.py [FOLDER [STEPS]]    (default: the folder of this script)

One file per environment and config. Lines:
    run SEED                              a new environment, reset with that seed
    o OBS... [MASK...]                    the observation after a reset
    s ACTION REWARD TERM TRUNC OBS... [MASK...]
                                          a step; OBS is the true last observation if the episode ended, and
                                          then an `o` line follows (the reset continues the random stream)
Numbers are float32, printed so that they read back to the same bits, or integers. MASK is info["action_mask"], of
environments that give one; not after a step that ends an episode.

The files of MuJoCo's environments (needs mujoco 4.0.0) hold mostly checksums, one line per reset and step:
    run SEED AMPLITUDE                    actions are AMPLITUDE * U(-high, high), from default_rng(SEED + 1000)
    HASH [REWARD TERM TRUNC] OBS...       of all numbers of this run so far (see `Hash`); in some lines the numbers
                                          themselves follow, as hexadecimal float32
"""
import math
import pathlib
import platform
import sys

import gymnasium as gym
import numpy as np


def text(values, info={}):
    return " ".join("%.9g" % np.float32(v) for v in (*np.atleast_1d(values), *info.get("action_mask", ())))


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


def any_action(n):
    return lambda seed, t, obs, rng: int(rng.integers(n))


def lake_action(seed, t, obs, rng):  # seed 42 goes for the goal at first, so that it is seen
    return (1, 1, 2, 1, 2, 2)[t % 6] if seed == 42 else int(rng.integers(4))


def cliff_action(seed, t, obs, rng):  # along the upper edge to the goal, now and then elsewhere
    if rng.random() < 0.15:
        return int(rng.integers(4))
    row, col = divmod(int(obs), 12)
    return 0 if row > 1 and col < 11 else 1 if col < 11 else 2


STOPS = [(0, 0), (0, 4), (4, 0), (4, 3)]


def taxi_action(seed, t, obs, rng):
    """Mostly towards the passenger, then the destination, around the walls by chance."""
    obs = int(obs)
    row, col, passenger, destination = obs // 100, obs // 20 % 5, obs // 4 % 5, obs % 4
    if seed == 0 or rng.random() < 0.25:
        return int(rng.integers(6))
    to = STOPS[destination if passenger == 4 else passenger]
    if (row, col) == to:
        return 5 if passenger == 4 else 4
    if row != 2 and col != to[1]:  # the middle row has no walls
        return 0 if row < 2 else 1
    if col != to[1]:
        return 2 if col < to[1] else 3
    return 0 if row < to[0] else 1


def blackjack_action(seed, t, obs, rng):
    return int(obs[0] < 17) if seed == 42 else int(rng.integers(2))


def record(name, action_of, steps, seeds, out, label="", **config):
    with open(out / f"{name}{label}.txt", "w") as file:
        print(f"# {name}{config or ''} of Gymnasium {gym.__version__}, NumPy {np.__version__}, Python {platform.python_version()},",
              f"{' '.join(platform.libc_ver())}, {platform.machine()}", file=file)
        print("# made by tests/golden/make_goldens.py, which explains the lines", file=file)
        for seed in seeds:
            env = gym.make(name, **config)
            rng = np.random.default_rng(seed + 1000)
            obs, info = env.reset(seed=seed)
            print(f"run {seed}\no {text(obs, info)}", file=file)
            for t in range(steps):
                action = action_of(seed, t, obs, rng)
                obs, reward, terminated, truncated, info = env.step(action)
                if terminated or truncated:
                    info = {}
                print(f"s {text(action)} {text(reward)} {int(terminated)} {int(truncated)} {text(obs, info)}", file=file)
                if terminated or truncated:
                    obs, info = env.reset()
                    print(f"o {text(obs, info)}", file=file)


class Hash:
    """FNV-1a over 32-bit words; of its 64 bits the upper 32 are written."""
    def __init__(self):
        self.state = 0xCBF29CE484222325

    def add(self, values):
        for word in np.asarray(values, dtype=np.float32).view(np.uint32).tolist():
            self.state = ((self.state ^ word) * 0x100000001B3) % 2**64
        return f"{self.state >> 32:08x}"


def record_mujoco(name, steps, out):
    import mujoco
    with open(out / f"{name}.txt", "w") as file:
        print(f"# {name} of Gymnasium {gym.__version__}, MuJoCo {mujoco.__version__}, NumPy {np.__version__},",
              f"{' '.join(platform.libc_ver())}, {platform.machine()}", file=file)
        print("# made by tests/golden/make_goldens.py, which explains the lines", file=file)
        for seed, amplitude in ((0, 1.0), (1, 0.5), (42, 0.125)):
            env = gym.make(name)
            rng, high = np.random.default_rng(seed + 1000), float(env.action_space.high[0])
            seen = Hash()

            def put(values, in_full):
                numbers = [float(np.float32(v)).hex() for v in values] if in_full else []
                print(" ".join((seen.add(values), *numbers)), file=file)

            print(f"run {seed} {amplitude}", file=file)
            obs, _ = env.reset(seed=seed)
            put(obs, True)
            for t in range(1, steps + 1):
                action = rng.uniform(-high, high, env.action_space.shape).astype(np.float32) * np.float32(amplitude)
                obs, reward, terminated, truncated, _ = env.step(action)
                put([reward, terminated, truncated, *obs], t in (1, 2, 10) or t % 100 == 0)
                if terminated or truncated:
                    obs, _ = env.reset()
                    put(obs, False)


MUJOCO = ("HalfCheetah-v5", "Hopper-v5", "Walker2d-v5", "Ant-v5", "Humanoid-v5", "HumanoidStandup-v5", "Swimmer-v5",
          "Reacher-v5", "Pusher-v5", "InvertedPendulum-v5", "InvertedDoublePendulum-v5")

if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent
    n = int(sys.argv[2]) if len(sys.argv) > 2 else 0  # more steps, for a long check by hand
    record("CartPole-v1", cartpole_action, n or 600, (0, 1, 42, 123), folder)
    record("Pendulum-v1", pendulum_action, n or 450, (0, 1, 42, 123), folder)
    record("MountainCar-v0", mountain_car_action, n or 450, (0, 1, 42, 123), folder)
    record("MountainCarContinuous-v0", mountain_car_continuous_action, n or 1050, (0, 42, 123), folder)
    record("Acrobot-v1", acrobot_action, n or 1050, (0, 1, 42, 123), folder)
    record("FrozenLake-v1", lake_action, n or 300, (0, 42), folder)
    record("FrozenLake-v1", lake_action, n or 100, (42,), folder, "-sure", is_slippery=False)
    record("FrozenLake8x8-v1", any_action(4), n or 500, (0, 42), folder, "", success_rate=0.9)
    record("CliffWalking-v1", cliff_action, n or 200, (0, 42), folder)
    record("CliffWalkingSlippery-v1", cliff_action, n or 400, (0, 42), folder)
    record("Taxi-v4", taxi_action, n or 500, (0, 1, 42), folder)
    record("Taxi-v4", taxi_action, n or 500, (0, 1, 42), folder, "-wet", is_rainy=True, fickle_passenger=True)
    record("Blackjack-v1", blackjack_action, n or 500, (0, 1, 42), folder)
    record("Blackjack-v1", blackjack_action, n or 500, (0, 42), folder, "-natural", sab=False, natural=True)
    for task in MUJOCO:
        record_mujoco(task, n or 300, folder)
