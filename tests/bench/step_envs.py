"""EnvPool and Gymnasium on row 4 of the speed table: env steps per second of 64 environments, actions drawn beforehand;
one JSON object. Run by compare_control.py inside their virtual environments.
usage: step_envs.py envpool|gymnasium ENV THREADS SECONDS

Both spend a counted step on every reset; neither counts frames. Gymnasium steps in one thread."""
import json, statistics, sys, time

import numpy as np

PEER, ENV, THREADS, SECONDS = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
N_ENVS, N_ACTIONS, WINDOWS = 64, 512, 3
if PEER == "envpool":
    import envpool

    vec = envpool.make(ENV, env_type="gymnasium", num_envs=N_ENVS, batch_size=N_ENVS, num_threads=THREADS, seed=0)
    space = vec.action_space
    vec.reset()
else:
    import gymnasium

    vec = gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make(ENV)] * N_ENVS)
    space = vec.single_action_space
    vec.reset(seed=0)
actions = np.random.default_rng(0).uniform(space.low, space.high, (N_ACTIONS, N_ENVS) + space.shape).astype(space.dtype)


def window(seconds):
    start, n = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        for _ in range(8):
            vec.step(actions[n % N_ACTIONS])
            n += 1
    return n * N_ENVS / (time.perf_counter() - start)


window(SECONDS / 4)  # past the first episodes' beginnings
print(json.dumps(dict(peer=PEER, row=f"4 {ENV}", threads=THREADS, unit="env steps/s",
                      value=statistics.median(window(SECONDS / WINDOWS) for _ in range(WINDOWS)))))
