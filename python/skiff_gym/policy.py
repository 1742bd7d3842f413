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

    def rows_of(self, observation):
        """(rows of slots, was it a batch?): integers as int32, all else as float32; a Dict's parts in their order."""
        parts = list(observation.values()) if isinstance(observation, dict) else [observation]
        parts = [np.asarray(part) for part in parts]
        slots = [part.astype(np.int32).view(np.float32) if np.issubdtype(part.dtype, np.integer)
                 else part.astype(np.float32) for part in parts]
        total = sum(part.size for part in slots)
        n, rest = divmod(total, self.obs_slots)
        is_batch = len(set(part.shape[:1] for part in slots)) == 1 and slots[0].shape[:1] == (n,) and (
            total != self.obs_slots or any(part.ndim > 1 for part in slots))
        if rest or n == 0 or (n > 1 and not is_batch):
            raise ValueError(f"the observation has {total} numbers in shapes {[part.shape for part in parts]}, wanted "
                             f"{self.obs_slots} for each of a batch")
        rows = np.concatenate([part.reshape(n, -1) for part in slots], axis=1)
        return np.ascontiguousarray(rows), is_batch

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
