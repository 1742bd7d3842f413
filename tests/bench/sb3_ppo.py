"""Stable-Baselines3 on rows 2a and 2a' of the speed table, one JSON object per row. Run by compare.py inside its virtual
environment. usage: sb3_ppo.py 2a | 2a' [seed]"""
import json, sys, time

import gymnasium as gym
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

torch.set_num_threads(1)  # its fastest setting for networks of this size
ROW, SEED = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1


class Throughput(BaseCallback):
    """Counts from the second rollout on; the first one carries warm-up."""

    def __init__(self):
        super().__init__()
        self.starts = []

    def _on_rollout_start(self):
        self.starts.append((time.perf_counter(), self.num_timesteps))

    def _on_step(self):
        return True

    def _on_training_end(self):
        self.end = (time.perf_counter(), self.num_timesteps)


class StopAt475(BaseCallback):
    """20 deterministic episodes every 5,000 env steps; the run ends at a mean of 475."""

    def __init__(self, env):
        super().__init__()
        self.env, self.next, self.solved = env, 5000, False

    def _on_step(self):
        if self.num_timesteps < self.next:
            return True
        self.next += 5000
        self.solved = evaluate_policy(self.model, self.env, n_eval_episodes=20, deterministic=True)[0] >= 475
        return not self.solved


def row_2a():
    steps = Throughput()
    PPO("MlpPolicy", make_vec_env("CartPole-v1", 8, seed=SEED), n_steps=128, batch_size=256, n_epochs=4, learning_rate=3e-4,
        seed=SEED, device="cpu").learn(60_000, callback=steps)
    (t0, n0), (t1, n1) = steps.starts[1], steps.end
    return (n1 - n0) / (t1 - t0), "env steps/s"


def row_2a_time():
    stop = StopAt475(make_vec_env("CartPole-v1", 1, seed=1000 + SEED))
    model = PPO("MlpPolicy", make_vec_env("CartPole-v1", 8, seed=SEED), n_steps=32, batch_size=256, gae_lambda=0.8, gamma=0.98,
                n_epochs=20, learning_rate=lambda left: 1e-3 * left, clip_range=lambda left: 0.2 * left, seed=SEED, device="cpu")
    start = time.perf_counter()
    model.learn(100_000, callback=stop)
    return (time.perf_counter() - start) if stop.solved else float("inf"), "s to 475"


value, unit = {"2a": row_2a, "2a'": row_2a_time}[ROW]()
print(json.dumps(dict(peer="stable-baselines3", row=ROW, value=value, unit=unit)))
