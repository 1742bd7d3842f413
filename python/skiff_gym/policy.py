"""A policy that skiff has trained, with the predict() of Stable-Baselines3."""
import ctypes
from ctypes import byref, c_void_p

import numpy as np

from . import _native


class Policy:
    """What `skiff train` left behind: a run folder (its best policy), a checkpoint, or a policy file.

    The same bits as `skiff eval` has. One thread at a time."""

    def __init__(self, path, seed=0):
        self.lib, self.handle = _native.library(), c_void_p()
        error = ctypes.create_string_buffer(_native.ERROR_SIZE)
        if self.lib.skiff_policy_load(str(path).encode(), byref(self.handle), error, _native.ERROR_SIZE):
            raise _native.Error(error.value.decode(errors="replace"))
        self.env_name = self.lib.skiff_policy_env_name(self.handle).decode()
        self.obs_slots = self.lib.skiff_policy_obs_slots(self.handle)
        self.action_slots = self.lib.skiff_policy_action_slots(self.handle)
        self.mask_size = self.lib.skiff_policy_mask_size(self.handle)
        self.is_discrete = bool(self.lib.skiff_policy_is_discrete(self.handle))
        self.seed, self.counter = seed, 0
        integers = np.zeros(self.obs_slots, np.uint8)
        if self.lib.skiff_gym_policy_integers(str(path).encode(), integers.ctypes.data, error, _native.ERROR_SIZE):
            raise _native.Error(error.value.decode(errors="replace"))
        self.integers = np.flatnonzero(integers)

    def rows_of(self, observation):
        """(rows of slots, was it a batch?). A Dict's parts come in their order."""
        parts = list(observation.values()) if isinstance(observation, dict) else [observation]
        parts = [np.asarray(part) for part in parts]
        total = sum(part.size for part in parts)
        n, rest = divmod(total, self.obs_slots)
        # A batch has all its parts' first dimension in common; one row of one slot without a second one is no batch.
        is_batch = all(part.shape[:1] == (n,) for part in parts) and (n > 1 or any(part.ndim > 1 for part in parts))
        if rest or n == 0 or (n > 1 and not is_batch):
            raise ValueError(f"the observation has {total} numbers in shapes {[part.shape for part in parts]}, wanted "
                             f"{self.obs_slots}, or that many for each of a batch")
        values = np.concatenate([part.reshape(n, -1).astype(np.float64) for part in parts], axis=1)
        rows = values.astype(np.float32)
        if self.integers.size:
            rows.view(np.int32)[:, self.integers] = values[:, self.integers]
        return rows, is_batch

    def predict(self, observation, state=None, episode_start=None, deterministic=True, action_masks=None):
        """(action, None). One observation or a batch of them; `state` and `episode_start` are for policies with
        memory, which this is not. Box actions are not clipped: environments of skiff_gym do that.

        Without `deterministic`, actions are drawn: the k-th call has the same draws for the same `seed`."""
        rows, is_batch = self.rows_of(observation)
        n = len(rows)
        mask = None
        if action_masks is not None and self.mask_size:
            mask = np.ascontiguousarray(np.asarray(action_masks).reshape(n, self.mask_size) != 0, np.uint8)
        mask_at = None if mask is None else mask.ctypes.data
        action = np.empty((n, self.action_slots), np.int32 if self.is_discrete else np.float32)
        if deterministic:
            self.lib.skiff_policy_act(self.handle, rows.ctypes.data, mask_at, n, action.ctypes.data)
        else:
            self.lib.skiff_policy_sample(self.handle, rows.ctypes.data, mask_at, n, self.seed, 0, self.counter,
                                         action.ctypes.data)
            self.counter += 1
        if self.is_discrete:
            action = action.astype(np.int64)
            if self.action_slots == 1:
                action = action[:, 0]
        return (action if is_batch else action[0]), None

    def close(self):
        if self.handle:
            self.lib.skiff_policy_destroy(byref(self.handle))

    def __del__(self):
        if getattr(self, "handle", None):
            self.close()
