"""Spaces of skiff/env.h as Gymnasium's, and columns of slots as their samples.

One field is a bare space, several are a Dict by name. A field of floats is a Box; one of integers is Discrete if it is
a single number, else MultiDiscrete. Actions: the same, and several discrete parts are one MultiDiscrete.
"""
import math

import numpy as np
from gymnasium import spaces

from . import _native


def bounds(of, n, shape):
    """(low, high) arrays of a field or action part with n elements."""
    sides = []
    for one, each in ((of.low, of.lows), (of.high, of.highs)):
        values = [each[i] for i in range(n)] if each else [one] * n
        sides.append(np.array(values, np.float32).reshape(shape))
    return sides


class Observations:
    """The observation space, and rows of slots as observations."""

    def __init__(self, spec):
        self.fields, at, found = [], 0, {}
        for field in spec.obs[:spec.n_obs]:
            shape = tuple(field.shape[:field.n_dims])
            n = math.prod(shape)
            self.fields.append((field.name.decode(), at, n, shape, field.dtype == _native.I32))
            found[field.name.decode()] = self.space_of(field, n, shape)
            at += n
        self.is_bare = len(found) == 1
        self.space = next(iter(found.values())) if self.is_bare else spaces.Dict(found)

    @staticmethod
    def space_of(field, n, shape):
        low, high = bounds(field, n, shape)
        if field.dtype != _native.I32:
            return spaces.Box(low, high, shape, np.float32)
        first, count = low.astype(np.int64), (high - low).astype(np.int64) + 1
        if not shape:
            return spaces.Discrete(int(count), start=int(first))
        return spaces.MultiDiscrete(count, start=first)

    def read(self, rows):
        """A batch of observations, in memory of their own, from rows (N x slots)."""
        found = {}
        for name, at, n, shape, is_int in self.fields:
            part = rows[:, at:at + n]
            part = part.view(np.int32).astype(np.int64) if is_int else part.copy()
            found[name] = part.reshape((len(rows),) + shape)
        return found[self.fields[0][0]] if self.is_bare else found

    def read_one(self, row):
        """One observation; a Discrete one is a number."""
        batch = self.read(row[None])
        return batch[0] if self.is_bare else {name: part[0] for name, part in batch.items()}


class Actions:
    """The action space, and actions as rows of slots."""

    def __init__(self, spec):
        parts = spec.action[:spec.n_action]
        self.all_discrete = all(part.kind == _native.DISCRETE for part in parts)
        self.parts, at, found = [], 0, {}
        for part in parts:
            n = 1 if part.kind == _native.DISCRETE else part.n
            name = part.name.decode()
            self.parts.append((name, at, n, part.kind))
            found[name] = (spaces.Discrete(part.n, start=part.start) if part.kind == _native.DISCRETE
                           else spaces.Box(*bounds(part, n, (n,)), (n,), np.float32))
            at += n
        if len(found) == 1:
            self.space = next(iter(found.values()))
        elif self.all_discrete:
            self.space = spaces.MultiDiscrete([part.n for part in parts], start=[part.start for part in parts])
        else:
            self.space = spaces.Dict(found)

    def write(self, actions, rows):
        """A batch of actions into rows (N x slots)."""
        if self.all_discrete:
            rows.view(np.int32)[:] = self.whole(actions, rows.shape)
        elif len(self.parts) == 1:
            rows[:] = np.asarray(actions, np.float32).reshape(rows.shape)
        else:
            for name, at, n, kind in self.parts:
                part = rows[:, at:at + n]
                if kind == _native.DISCRETE:
                    part.view(np.int32)[:] = self.whole(actions[name], part.shape)
                else:
                    part[:] = np.asarray(actions[name], np.float32).reshape(part.shape)

    @staticmethod
    def whole(choices, shape):
        choices = np.asarray(choices)
        if not np.issubdtype(choices.dtype, np.integer):
            raise TypeError(f"discrete actions have dtype {choices.dtype}, wanted integers")
        return choices.reshape(shape)
