"""skiff's environments as gymnasium.Env and gymnasium.vector.VectorEnv."""
import secrets

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from ._native import Instance
from .spaces import Actions, Observations


def spec_of(instance, settings):
    """Gymnasium's own description, from which it can make the same again; None if it does not allow the name."""
    limit = instance.spec.max_episode_steps
    try:
        return EnvSpec(instance.name, entry_point="skiff_gym:SkiffEnv", max_episode_steps=limit or None,
                       kwargs=settings)
    except gymnasium.error.Error:
        return None


def checked_seed(seed):
    if isinstance(seed, (int, np.integer)) and 0 <= seed < 2**64:
        return int(seed)
    raise ValueError(f"seed is {seed!r}, wanted an integer from 0 to 2**64 - 1")


def info_of(instance, env, with_metrics):
    """The mask of allowed actions, and the environment's own numbers of the step, where it has them."""
    info = {"action_mask": instance.mask[env].astype(np.int8)} if instance.spec.mask_size else {}
    if with_metrics:
        info.update(zip(instance.metric_names, instance.metrics[env].tolist()))
    return info


class SkiffEnv(gymnasium.Env):
    """One environment of skiff. Box actions are clipped to their bounds, and the environment's time limit (or
    max_episode_steps) truncates, so no wrapper is needed."""

    metadata = {"render_modes": []}

    def __init__(self, name="", plugin="", max_episode_steps=0, **config):
        self.instance = Instance(name, plugin, config, max_episode_steps, 1, autoreset=False)
        self.observations, self.actions = Observations(self.instance.spec), Actions(self.instance.spec)
        self.observation_space, self.action_space = self.observations.space, self.actions.space
        self.spec = spec_of(self.instance, dict(config, name=name, plugin=plugin, max_episode_steps=max_episode_steps))
        self.is_seeded = self.is_over = False

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is None and not self.is_seeded:
            seed = secrets.randbits(63)  # as Gymnasium: without a seed from the first reset on, chance decides
        self.instance.reset(0, None if seed is None else checked_seed(seed))
        self.is_seeded, self.is_over = True, False
        return self.observations.read_one(self.instance.obs[0]), info_of(self.instance, 0, False)

    def step(self, action):
        if not self.is_seeded or self.is_over:
            raise gymnasium.error.ResetNeeded("step needs a reset before it: the episode has not begun or is over")
        if isinstance(action, dict):
            action = {name: np.asarray(part)[None] for name, part in action.items()}
        self.actions.write(action, self.instance.action)
        self.instance.step()
        terminated, truncated = bool(self.instance.terminated[0]), bool(self.instance.truncated[0])
        self.is_over = terminated or truncated
        return (self.observations.read_one(self.instance.obs[0]), float(self.instance.reward[0]), terminated, truncated,
                info_of(self.instance, 0, True))

    def close(self):
        self.instance.close()
        super().close()


class SkiffVectorEnv(gymnasium.vector.VectorEnv):
    """num_envs environments stepped by one call. Autoreset mode SAME_STEP: what ends is reset within the step; the
    returned observation is the next episode's first, the last one lies in infos["final_obs"]."""

    def __init__(self, name="", num_envs=1, plugin="", max_episode_steps=0, **config):
        self.metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}
        self.instance = Instance(name, plugin, config, max_episode_steps, num_envs, autoreset=True)
        self.observations, self.actions = Observations(self.instance.spec), Actions(self.instance.spec)
        self.num_envs = num_envs
        self.single_observation_space, self.single_action_space = self.observations.space, self.actions.space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.spec = spec_of(self.instance, dict(config, name=name, plugin=plugin, max_episode_steps=max_episode_steps))
        self.is_seeded = False

    def seeds_of(self, seed):
        if seed is None:
            # Later resets go on with the streams, as Gymnasium's environments do.
            return [None if self.is_seeded else secrets.randbits(63) for _ in range(self.num_envs)]
        if isinstance(seed, (int, np.integer)):
            return [checked_seed(seed + i) for i in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise ValueError(f"{len(seed)} seeds were given for {self.num_envs} environments")
        return [None if one is None else checked_seed(one) for one in seed]

    def reset(self, *, seed=None, options=None):
        for env, one in enumerate(self.seeds_of(seed)):
            self.instance.reset(env, one)
        self.is_seeded = True
        return self.observations.read(self.instance.obs), self.mask_info()

    def mask_info(self):
        if not self.instance.spec.mask_size:
            return {}
        return {"action_mask": self.instance.mask.astype(np.int8), "_action_mask": np.ones(self.num_envs, bool)}

    def step(self, actions):
        if not self.is_seeded:
            raise gymnasium.error.ResetNeeded("step needs a reset before it")
        instance = self.instance
        self.actions.write(actions, instance.action)
        instance.step()
        terminated, truncated = instance.terminated.astype(bool), instance.truncated.astype(bool)
        infos, over = self.mask_info(), terminated | truncated
        for i, name in enumerate(instance.metric_names):
            infos[name], infos["_" + name] = instance.metrics[:, i].astype(float), np.ones(self.num_envs, bool)
        if over.any():
            last = np.full(self.num_envs, None, object)
            for env in np.flatnonzero(over):
                last[env] = self.observations.read_one(instance.final_obs[env])
            infos["final_obs"], infos["_final_obs"] = last, over
        return (self.observations.read(instance.obs), instance.reward.astype(np.float64), terminated, truncated, infos)

    def close_extras(self, **kwargs):
        self.instance.close()
