"""Stable-Baselines3 (sb3) and its JAX twin (sbx) on rows 2b and 3 of the speed table; one JSON object. Run by
compare_control.py inside its virtual environment. usage: sb3_control.py sb3|sbx ppo|sac|td3|dqn SECONDS THREADS SEED

Warm-up and compilation are left out: row 3 is timed from 500 updates after learning began, row 2b from the second
rollout."""
import json, sys, time

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

LIB, ALGO, SECONDS, THREADS, SEED = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
if LIB == "sb3":
    import stable_baselines3 as lib
    import torch

    torch.set_num_threads(THREADS)
    relu, tanh, more = torch.nn.ReLU, torch.nn.Tanh, dict(device="cpu")
else:  # takes all cores, whatever is asked for
    import flax.linen as nn
    import sbx as lib

    relu, tanh, more = nn.relu, nn.tanh, {}
STARTS, WARM = 1000, 500  # env steps before learning, updates before the clock


class Updates(BaseCallback):
    """One update follows every env step."""

    def __init__(self):
        super().__init__()
        self.begun = None

    def _on_step(self):
        now = time.perf_counter()
        if self.num_timesteps == STARTS + WARM:
            self.begun = (now, self.num_timesteps)
        self.end = (now, self.num_timesteps)
        return not self.begun or now - self.begun[0] < SECONDS


class Rollouts(BaseCallback):
    """Whole iterations: rollout and updates."""

    def __init__(self):
        super().__init__()
        self.starts = []

    def _on_rollout_start(self):
        self.end = (time.perf_counter(), self.num_timesteps)
        self.starts.append(self.end)
        self.begun = self.starts[min(1, len(self.starts) - 1)]

    def _on_step(self):
        return len(self.starts) < 3 or self.end[0] - self.begun[0] < SECONDS


def off_policy(name, env, batch, lr, **settings):
    return getattr(lib, name)(
        "MlpPolicy", make_vec_env(env, 1, seed=SEED), learning_rate=lr, batch_size=batch, buffer_size=100_000,
        learning_starts=STARTS, train_freq=1, gradient_steps=1, seed=SEED,
        policy_kwargs=dict(net_arch=[256, 256], activation_fn=relu), **settings, **more)


def ppo():
    net = dict(net_arch=dict(pi=[64, 64], vf=[64, 64]), activation_fn=tanh)
    return lib.PPO("MlpPolicy", make_vec_env("HalfCheetah-v5", 8, seed=SEED), n_steps=256, batch_size=512, n_epochs=10,
                   learning_rate=3e-4, policy_kwargs=net, seed=SEED, **more)


row, make, clock = {
    "ppo": ("2b PPO HalfCheetah", ppo, Rollouts),
    "sac": ("3 SAC", lambda: off_policy("SAC", "HalfCheetah-v5", 256, 3e-4), Updates),
    "td3": ("3 TD3", lambda: off_policy("TD3", "HalfCheetah-v5", 256, 3e-4), Updates),
    "dqn": ("3 DQN", lambda: off_policy("DQN", "CartPole-v1", 64, 1e-3, target_update_interval=500), Updates),
}[ALGO]
clock = clock()
make().learn(10**9, callback=clock)
(t0, n0), (t1, n1) = clock.begun, clock.end
unit = "env steps/s" if ALGO == "ppo" else "updates/s"
print(json.dumps(dict(peer=LIB, row=row, value=(n1 - n0) / (t1 - t0), unit=unit, window_s=t1 - t0)))
