#!/usr/bin/env python3
"""The module skiff_gym beside Gymnasium itself. Runs in the Python of tests/python/setup.sh with the library of
$SKIFF_BUILD_DIR."""
import os
import subprocess
import sys
import tempfile
import warnings

from tap import HERE, ROOT, VENV_PYTHON, need_gymnasium, run_all, test

need_gymnasium()
if sys.prefix != os.path.dirname(os.path.dirname(VENV_PYTHON)):
    os.execv(VENV_PYTHON, [VENV_PYTHON, *sys.argv])

BUILD = os.environ["SKIFF_BUILD_DIR"]
LIBRARY = os.path.join(BUILD, "python", "libskiff_gym.so")
with open(LIBRARY, "rb") as file:
    if b"__asan_init" in file.read():
        print("1..0 # SKIP Python cannot load a library with a sanitizer")
        sys.exit(0)
os.environ["SKIFF_GYM_LIBRARY"] = LIBRARY
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "python"))
warnings.simplefilter("ignore")

import gymnasium
import numpy as np
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

import skiff_gym

POINT_MASS = os.path.join(BUILD, "examples", "point_mass.so")
NAMES = {"CartPole-v1": "CartPole-v1", "Pendulum-v1": "Pendulum-v1", "MountainCar-v0": "MountainCar-v0",
         "MountainCarContinuous-v0": "MountainCarContinuous-v0", "Acrobot-v1": "Acrobot-v1", "Taxi-v3": "Taxi-v4",
         "FrozenLake-v1": "FrozenLake-v1", "Blackjack-v1": "Blackjack-v1"}


def raises(kind, piece, function):
    try:
        function()
    except kind as error:
        assert piece in str(error), f"{piece!r} is not in {error}"
        return
    raise AssertionError(f"{kind.__name__} was not raised")


def flat(obs):
    """Our named fields and their tuple are compared as lists."""
    return list(obs.values()) if isinstance(obs, dict) else obs


def same(ours, theirs):
    return np.array_equal(flat(ours), theirs)


@test
def plays_like_gymnasium():
    for name, its_name in NAMES.items():
        ours, theirs = skiff_gym.make(name), gymnasium.make(its_name)
        for seed in (0, 7, 42):
            assert same(ours.reset(seed=seed)[0], theirs.reset(seed=seed)[0]), name
            theirs.action_space.seed(seed)
            for t in range(700):
                action = theirs.action_space.sample()
                obs, reward, terminated, truncated, info = ours.step(action)
                wanted = theirs.step(action)
                assert same(obs, wanted[0]) and np.float32(wanted[1]) == reward, (name, seed, t)
                assert (terminated, truncated) == wanted[2:4], (name, seed, t)
                if "action_mask" in wanted[4]:
                    assert np.array_equal(info["action_mask"], wanted[4]["action_mask"])
                if terminated or truncated:
                    assert same(ours.reset()[0], theirs.reset()[0]), (name, seed, t)


@test
def passes_gymnasiums_own_checker():
    for name in NAMES:
        check_env(skiff_gym.make(name), skip_render_check=True)
    check_env(skiff_gym.make(plugin=POINT_MASS), skip_render_check=True)


@test
def has_the_spaces_and_types_of_gymnasium():
    for name, its_name in NAMES.items():
        ours, theirs = skiff_gym.make(name), gymnasium.make(its_name)
        assert ours.action_space == theirs.action_space, name
        assert ours.spec.max_episode_steps == theirs.spec.max_episode_steps, name
        if not isinstance(theirs.observation_space, gymnasium.spaces.Tuple):
            assert ours.observation_space == theirs.observation_space, name
        _, reward, terminated, truncated, _ = (ours.reset(seed=1), ours.step(ours.action_space.sample()))[1]
        assert (type(reward), type(terminated), type(truncated)) == (float, bool, bool)


@test
def observations_belong_to_the_caller():
    env = skiff_gym.make("CartPole-v1")
    first, _ = env.reset(seed=1)
    kept = first.copy()
    env.step(0)
    assert np.array_equal(first, kept)


@test
def a_vector_env_is_gymnasiums_in_same_step_mode():
    for name in ("CartPole-v1", "Pendulum-v1", "FrozenLake-v1"):
        ours = skiff_gym.make_vec(name, num_envs=6)
        theirs = gymnasium.make_vec(name, num_envs=6, vectorization_mode="sync",
                                    vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP})
        assert ours.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
        assert ours.observation_space == theirs.observation_space and ours.action_space == theirs.action_space
        n_ends = 0
        assert np.array_equal(ours.reset(seed=5)[0], theirs.reset(seed=5)[0])
        theirs.action_space.seed(1)
        for t in range(450):
            action = theirs.action_space.sample()
            got, wanted = ours.step(action), theirs.step(action)
            for i, what in enumerate(("observation", "reward", "terminated", "truncated")):
                a, b = got[i], np.float32(wanted[i]).astype(wanted[i].dtype) if i == 1 else wanted[i]
                assert np.array_equal(a, b) and a.dtype == b.dtype and a.shape == b.shape, (name, t, what)
            assert ("final_obs" in got[4]) == ("final_obs" in wanted[4])
            if "final_obs" in got[4]:
                n_ends += 1
                assert np.array_equal(got[4]["_final_obs"], wanted[4]["_final_obs"])
                for a, b in zip(got[4]["final_obs"], wanted[4]["final_obs"]):
                    assert np.array_equal(a, b), (name, t)
        assert n_ends > 1, name
        ours.close()


@test
def a_vector_env_takes_seeds_one_by_one_and_goes_on_without():
    envs, single = skiff_gym.make_vec("CartPole-v1", num_envs=3), skiff_gym.make("CartPole-v1")
    rows, _ = envs.reset(seed=[9, 4, 9])
    assert np.array_equal(rows[0], rows[2]) and np.array_equal(rows[1], single.reset(seed=4)[0])
    assert np.array_equal(envs.reset()[0][1], single.reset()[0])


@test
def without_a_seed_chance_decides():
    assert not np.array_equal(skiff_gym.make("CartPole-v1").reset()[0], skiff_gym.make("CartPole-v1").reset()[0])


@test
def plugins_and_settings_work():
    env = skiff_gym.make(plugin=POINT_MASS, max_episode_steps=5)
    obs, _ = env.reset(seed=1)
    assert isinstance(obs, dict) and "goal" in obs and obs["goal"].shape == (2,)
    for t in range(5):
        *_, terminated, truncated, info = env.step(env.action_space.sample())
        assert "distance" in info and terminated == False and truncated == (t == 4)
    env = skiff_gym.make("CartPole-v1", sutton_barto_reward=True)
    env.reset(seed=1)
    assert env.step(0)[1] == 0.0


@test
def mistakes_are_told():
    raises(skiff_gym.Error, 'did you mean "CartPole-v1"', lambda: skiff_gym.make("CartPol-v1"))
    raises(skiff_gym.Error, "unknown config", lambda: skiff_gym.make("CartPole-v1", mast=3))
    raises(skiff_gym.Error, "no such readable file", lambda: skiff_gym.make(plugin="/nowhere.so"))
    env = skiff_gym.make("CartPole-v1")
    raises(gymnasium.error.ResetNeeded, "reset", lambda: env.step(0))
    env.reset(seed=0)
    raises(skiff_gym.Error, 'action "push" is 2, wanted 0 to 1', lambda: env.step(2))
    raises(TypeError, "wanted integers", lambda: env.step(0.5))
    raises(ValueError, "2**64", lambda: env.reset(seed=2**64))
    pendulum = skiff_gym.make("Pendulum-v1")
    pendulum.reset(seed=0)
    raises(skiff_gym.Error, "nan", lambda: pendulum.step([np.nan]))
    raises(skiff_gym.Error, "/nowhere", lambda: skiff_gym.load_policy("/nowhere"))


def trained(env, folder):
    config, run = os.path.join(folder, "config.yaml"), os.path.join(folder, "run")
    with open(config, "w") as file:
        file.write(f"algorithm: ppo\nenv: {env}\nseed: 2\nevaluation: {{num_episodes: 0}}\n"
                   "env_runners: {num_envs_per_env_runner: 8, rollout_fragment_length: 128, "
                   "observation_filter: MeanStdFilter}\n"
                   "training: {minibatch_size: 256, num_epochs: 4}\nstop: {training_iteration: 5}\n")
    subprocess.run([os.environ["SKIFF_BIN"], "train", config, "--run-dir", run], check=True, capture_output=True)
    return run


def evaluated(run, *options):
    out = subprocess.run([os.environ["SKIFF_BIN"], "eval", run, "--episodes", "4", "--seed", "11", "--json", *options],
                         check=True, capture_output=True, text=True).stdout
    return float(out.split('"episode_return_mean":')[1].split(",")[0])


def play(env, policy, seed):
    obs, info = env.reset(seed=seed)
    total, over = 0.0, False
    while not over:
        action, state = policy.predict(obs, action_masks=info.get("action_mask"))
        assert state is None
        obs, reward, terminated, truncated, info = env.step(action)
        total, over = total + reward, terminated or truncated
    return total


@test
def a_policy_acts_as_skiff_eval_does():
    for name in ("CartPole-v1", "Pendulum-v1", "FrozenLake-v1", "Taxi-v3", "Blackjack-v1"):
        with tempfile.TemporaryDirectory(prefix="skiff-python-") as folder:
            run = trained(name, folder)
            policy, env = skiff_gym.load_policy(run), skiff_gym.make(name)
            assert policy.env_name == name
            returns = [play(env, policy, 11 + i) for i in range(4)]
            assert np.mean(returns) == evaluated(run), (name, returns)


@test
def predict_takes_one_or_a_batch():
    with tempfile.TemporaryDirectory(prefix="skiff-python-") as folder:
        run = trained("CartPole-v1", folder)
        policy = skiff_gym.load_policy(run)
        rows = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
        actions, _ = policy.predict(rows)
        assert actions.shape == (200,) and actions.dtype == np.int64 and set(actions) == {0, 1}
        assert all(policy.predict(row)[0] == action for row, action in zip(rows, actions))
        assert policy.predict(rows[:1])[0].shape == (1,) and policy.predict(rows[0])[0].shape == ()
        assert np.array_equal(policy.predict(rows.astype(np.float64))[0], actions)
        whole = np.arange(8).reshape(2, 4) - 4
        assert np.array_equal(policy.predict(whole)[0], policy.predict(whole.astype(np.float32))[0])
        raises(ValueError, "wanted 4", lambda: policy.predict(np.zeros(5)))
        draws = [skiff_gym.load_policy(run, seed=s).predict(rows, deterministic=False)[0] for s in (1, 1, 2)]
        assert np.array_equal(draws[0], draws[1]) and not np.array_equal(draws[0], draws[2])
        again = policy.predict(rows, deterministic=False)[0], policy.predict(rows, deterministic=False)[0]
        assert not np.array_equal(*again), "each call draws anew"


run_all()
