"""skiff for Python: its environments as Gymnasium's, and its policies.

    env = skiff_gym.make("CartPole-v1")                      # gymnasium.Env
    envs = skiff_gym.make_vec("CartPole-v1", num_envs=64)    # gymnasium.vector.VectorEnv, resets in the same step
    env = skiff_gym.make(plugin="./my_env.so")               # an environment of your own, written in C
    policy = skiff_gym.load_policy("runs/cartpole")
    action, _ = policy.predict(obs)

Further keyword arguments of make and make_vec are the environment's own settings (`env.config` of a config file).
"""
from ._native import Error
from .envs import SkiffEnv, SkiffVectorEnv
from .policy import Policy

__all__ = ["Error", "Policy", "SkiffEnv", "SkiffVectorEnv", "load_policy", "make", "make_vec"]


def make(name="", **settings):
    """A gymnasium.Env. Settings: plugin (a path; the name may be left out if it holds one environment),
    max_episode_steps (instead of the environment's own limit), and the environment's own."""
    return SkiffEnv(name, **settings)


def make_vec(name="", num_envs=1, **settings):
    """A gymnasium.vector.VectorEnv; settings as for make."""
    return SkiffVectorEnv(name, num_envs, **settings)


def load_policy(path, seed=0):
    """A Policy from a run folder, a checkpoint or a policy file; `seed` is for predict(deterministic=False)."""
    return Policy(path, seed)
