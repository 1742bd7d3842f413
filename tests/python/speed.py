"""The table of docs/python.md: CartPole-v1 stepped by Gymnasium, through skiff's shim, from Python, and by skiff alone.
Needs tests/python/setup.sh and a built skiff (build/, or $SKIFF_BUILD_DIR)."""
import os
import subprocess
import sys
import time

from tap import ROOT, VENV_PYTHON

if sys.prefix != os.path.dirname(os.path.dirname(VENV_PYTHON)):
    os.execv(VENV_PYTHON, [VENV_PYTHON, *sys.argv])

BUILD = os.environ.get("SKIFF_BUILD_DIR", os.path.join(ROOT, "build"))
os.environ["SKIFF_GYM_LIBRARY"] = os.path.join(BUILD, "python", "libskiff_gym.so")
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "python"))

import gymnasium
from gymnasium.vector import AutoresetMode

import skiff_gym

N_ENVS, SECONDS, REPEATS = 64, 0.5, 3


def stepped(envs):
    envs.reset(seed=0)
    envs.action_space.seed(0)
    actions, n = [envs.action_space.sample() for _ in range(256)], 0
    start_s = time.perf_counter()
    while time.perf_counter() - start_s < SECONDS:
        envs.step(actions[n % 256])
        n += 1
    return n * N_ENVS / (time.perf_counter() - start_s)


def checked(name):
    """What `skiff check-env` measures on 64 environments."""
    out = subprocess.run([os.path.join(BUILD, "skiff"), "check-env", name, "--steps", "20"], check=True, text=True,
                         env=dict(os.environ, SKIFF_PYTHON=VENV_PYTHON), capture_output=True).stdout
    return float(out.rsplit("thread: ", 1)[1].split()[0])


def gymnasium_sync():
    return stepped(gymnasium.make_vec("CartPole-v1", num_envs=N_ENVS, vectorization_mode="sync",
                                      vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP}))


ROWS = [("Gymnasium, `SyncVectorEnv`", gymnasium_sync),
        ("skiff on `gymnasium:CartPole-v1`", lambda: checked("gymnasium:CartPole-v1")),
        ("Python on `skiff_gym.make_vec`", lambda: stepped(skiff_gym.make_vec("CartPole-v1", num_envs=N_ENVS))),
        ("skiff on its own CartPole-v1", lambda: checked("CartPole-v1"))]

best = [max(results) for results in zip(*[[measure() for _, measure in ROWS] for _ in range(REPEATS)])]
print("| | env steps/s |\n|---|---|")
for (name, _), rate in zip(ROWS, best):
    print(f"| {name} | {rate:,.0f} |")
