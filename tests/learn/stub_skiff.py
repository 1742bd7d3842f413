#!/usr/bin/env python3
"""Stands in for skiff in test_bars.py: trains by counting, and notes every call in the file calls beside the configs.

A config has lines of `key: value`: steps, pause (seconds for each), returns (by seed), and what else a test needs."""
import json, os, signal, sys, time

stop = []


def read(config):
    with open(config) as file:
        return dict(line.rstrip("\n").split(": ", 1) for line in file)


def reached(folder):
    try:
        return sorted(int(name) for name in os.listdir(os.path.join(folder, "checkpoints")))
    except FileNotFoundError:
        return []


def train(config, *words):
    settings, folder = read(config), words[words.index("--run-dir") + 1]
    overrides = dict(word.split("=", 1) for word in words if "=" in word)
    every, n = int(overrides["checkpoint.interval_steps"]), 0
    if "--resume" in words:
        n = reached(folder)[-1]
    elif os.path.exists(folder):
        return 2  # it holds a run already
    os.makedirs(os.path.join(folder, "checkpoints"), exist_ok=True)
    with open(os.path.join(os.path.dirname(config), "calls"), "a") as calls:
        print("train", os.path.basename(config), "from", n, *words[:2], "pid", os.getpid(), file=calls)
    while n < int(settings["steps"]) and not stop:
        time.sleep(float(settings["pause"]))
        n += 1
        if n % every == 0 or stop:
            os.makedirs(os.path.join(folder, "checkpoints", str(n)), exist_ok=True)
    with open(os.path.join(folder, "result.json"), "w") as file:
        json.dump(dict(num_env_steps_sampled_lifetime=n, time_total_s=n * float(settings["pause"]) + 0.5, device="stub",
                       stop_kind="interrupted" if stop else "budget", seed=int(overrides["seed"]),
                       returns=json.loads(settings["returns"])), file)
    return 130 if stop else int(settings.get("code", 0))


def evaluate(folder, *words):
    if os.path.basename(os.path.dirname(folder)) == "checkpoints":  # RUN/checkpoints/STEPS: the policy at the end
        folder = os.path.dirname(os.path.dirname(folder))
    with open(os.path.join(folder, "result.json")) as file:
        result = json.load(file)
    print(json.dumps(dict(episode_return_mean=result["returns"][result["seed"] - 1], episode_return_std=1.0)))
    return 0 if words == ("--episodes", "100", "--seed", "1000000", "--json") else 2


def main(command, *words):
    signal.signal(signal.SIGTERM, lambda number, frame: stop.append(number))
    if command == "train":
        return train(*words)
    if command == "eval":
        return evaluate(*words)
    if command == "version":
        print(json.dumps(dict(skiff="0", commit="stub1")))
    elif read(words[0]).get("broken"):
        print("line 3: broken on purpose", file=sys.stderr)
        return 2
    else:
        print("".join(f"{key}: {value}\n" for key, value in read(words[0]).items()) + "# derived: nothing")
    return 0


sys.exit(main(*sys.argv[1:]))
