"""Environments that misbehave in one way each, and some with uncommon spaces; named "faulty_envs:<Name>-v0"."""
import os
import signal
import time

import gymnasium
import numpy as np
from gymnasium import spaces


class Counting(gymnasium.Env):
    """Observes (steps in this episode, a number from the random stream); the reward is the step."""

    observation_space = spaces.Box(-1e9, 1e9, (2,), np.float64)
    action_space = spaces.Discrete(3, start=-1)

    def __init__(self, at=3, only=None):
        self.at, self.only = at, only

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        self.luck = self.np_random.random()
        return self.observe(), {}

    def observe(self):
        return np.array([self.t, self.luck])

    def step(self, action):
        self.t += 1
        if self.t == self.at and (self.only is None or self.luck < self.only):
            self.misbehave()
        return self.observe(), float(self.t), False, False, {}

    def misbehave(self):
        pass


class RaisesInStep(Counting):
    def misbehave(self):
        raise ValueError("the mast is broken")


class RaisesInReset(Counting):
    def reset(self, *, seed=None, options=None):
        raise RuntimeError("no wind")


class RaisesInMake(Counting):
    def __init__(self):
        raise OSError("no simulator licence")


class Leaves(Counting):
    def misbehave(self):
        raise SystemExit(3)


class Hangs(Counting):
    def misbehave(self):
        time.sleep(600)


class Dies(Counting):
    def misbehave(self):
        os.kill(os.getpid(), signal.SIGKILL)


class Exits(Counting):
    def misbehave(self):
        os._exit(7)


class WrongShape(Counting):
    def misbehave(self):
        self.observe = lambda: np.zeros(3)


class NotANumber(Counting):
    def misbehave(self):
        self.luck = float("nan")


class Chatty(Counting):
    """Says things on standard output."""

    def __init__(self):
        super().__init__()
        print("made")

    def step(self, action):
        print("stepped")
        os.write(1, b"straight to the descriptor\n")
        return super().step(action)


class Closes(Counting):
    """Leaves a file behind when it is closed in order."""

    def __init__(self, note):
        super().__init__()
        self.note = note

    def close(self):
        with open(self.note, "a") as file:
            file.write("closed\n")


class Ends(Counting):
    """Terminates at step 3, is cut by itself at step 5 where the action at step 3 was 0."""

    def step(self, action):
        obs, reward, _, _, info = super().step(action)
        if self.t == 3:
            self.goes_on = action == 0
        return obs, reward, self.t == 3 and not self.goes_on, self.t == 5, info


class Nested(gymnasium.Env):
    """Dict and Tuple on both sides; the observation repeats the action."""

    observation_space = spaces.Dict({
        "boat": spaces.Tuple((spaces.Box(-1, 1, (2, 2), np.float32), spaces.Discrete(4))),
        "flags": spaces.MultiBinary(2),
        "wind": spaces.Box(np.array([0, -5], np.float32), np.array([20, 5], np.float32)),
    })
    action_space = spaces.Dict({
        "gear": spaces.MultiDiscrete([3, 2]),
        "turn": spaces.Discrete(4),
    })

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observe({"gear": np.zeros(2, int), "turn": 0}), {}

    def observe(self, action):
        assert self.action_space.contains(action), action
        return {"boat": (np.full((2, 2), action["turn"] / 4, np.float32), action["turn"]),
                "flags": np.array([action["gear"][1], 1], np.int8),
                "wind": np.array([action["gear"][0], -0.5], np.float32)}

    def step(self, action):
        return self.observe(action), 0.0, False, False, {}


class Masked(Counting):
    """At step t only action t modulo 3 is allowed (counted from 0)."""

    def reset(self, *, seed=None, options=None):
        obs, info = super().reset(seed=seed)
        return obs, self.mask()

    def mask(self):
        return {"action_mask": np.array([self.t % 3 == i for i in range(3)], np.int8)}

    def step(self, action):
        if action + 1 != self.t % 3:
            raise ValueError("this action was not allowed")
        obs, reward, terminated, truncated, _ = super().step(action)
        return obs, reward, terminated, truncated, self.mask()


class Steering(Counting):
    """Box actions of float64 in a shape of their own."""

    action_space = spaces.Box(np.array([[-1, 0], [-3, 0]]), np.array([[1, 2], [3, 4]]), dtype=np.float64)

    def step(self, action):
        assert self.action_space.contains(action), action
        obs, _, _, _, info = super().step(0)
        return obs, float(action.sum()), False, False, info


class Text(Counting):
    observation_space = spaces.Text(8)


class Pixels(Counting):
    observation_space = spaces.Box(0, 255, (4, 4, 3), np.uint8)


class Many(Counting):
    action_space = spaces.MultiDiscrete([2] * 17)


for cls in (Counting, RaisesInStep, RaisesInReset, RaisesInMake, Leaves, Hangs, Dies, Exits, WrongShape, NotANumber,
            Chatty, Closes, Ends, Nested, Masked, Steering, Text, Pixels, Many):
    gymnasium.register(f"{cls.__name__}-v0", cls, max_episode_steps=20)
