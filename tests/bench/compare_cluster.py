#!/usr/bin/env python3
"""What it costs to have runners on another host: PPO on CartPole with 2 runners of 64 environments and fragments of 128
steps, the runners in processes of this host, in a node beside it without encryption, and in one with it (CURVE). All of
it on this machine over loopback, so what is seen is the cost of messages, copies and encryption and not of a network.
Prints a Markdown table: env steps per second of the whole training, ratios, and where an iteration's time went.

usage: tests/bench/compare_cluster.py [--turns N] [--iterations N] [--set key=value]... [--markdown FILE] [--skiff PATH]

The three take turns, so that all see the same machine; medians over the turns are reported. The first iterations of
each run, while things start, do not count."""
import argparse, json, os, statistics, subprocess, sys, tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RUNNERS, ENVS, FRAGMENT, SKIPPED = 2, 64, 128, 3
CONFIG = f"""algorithm: ppo
env: CartPole-v1
seed: 1
env_runners: {{num_env_runners: {RUNNERS}, num_envs_per_env_runner: {ENVS}, rollout_fragment_length: {FRAGMENT}}}
training: {{num_epochs: 4, minibatch_size: 2048, lr: 1e-3}}
evaluation: {{num_episodes: 0}}
"""
PLACES = {"processes of this host": ["env_runners.placement=process"],
          "a node, unencrypted": ["env_runners.placement=remote", "cluster.encrypt=false"],
          "a node, CURVE": ["env_runners.placement=remote"]}
ASKED = 0.95  # of the unencrypted rate, with CURVE
TIMES = ["env", "inference", "transport", "learn"]


def train(args, place, folder):
    """Reports of one run, as the program gives them."""
    key = os.path.join(folder, "key")
    command = [args.skiff, "train", os.path.join(folder, "config.yaml"), f"stop.training_iteration={args.iterations}",
               f"cluster.key_file={key}", *PLACES[place], *args.set, "--json",
               "--run-dir", tempfile.mkdtemp(dir=folder)]
    reports, node = [], None
    with tempfile.TemporaryFile("w+") as said:
        head = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True)
        try:
            for line in head.stdout:
                event = json.loads(line)
                if event["event"] == "waiting" and not node:
                    access = ["--plain"] if "cluster.encrypt=false" in PLACES[place] else ["--key", key]
                    node = subprocess.Popen([args.skiff, "node", "--join", event["endpoint"], "--cpus", str(RUNNERS),
                                             *access], stderr=subprocess.DEVNULL)
                if event["event"] == "report":
                    reports.append(event)
            if head.wait() != 0 or (node and node.wait() != 0):
                said.seek(0)
                raise OSError(f"{' '.join(command)}: {said.read()[-1000:]}")
        finally:
            for process in filter(None, (head, node)):
                process.kill()
                process.wait()
    return reports


def measure(reports):
    """env steps per second, and milliseconds of an iteration by what they were spent on."""
    counted = reports[SKIPPED:-1]  # the last report repeats the one before
    steps, time = "num_env_steps_sampled_lifetime", "time_total_s"
    rate = (counted[-1][steps] - counted[0][steps]) / (counted[-1][time] - counted[0][time])
    return rate, {t: 1e3 * statistics.mean(r.get(f"perf/time_{t}_s", 0) for r in counted) for t in TIMES}


def table(rates, times):
    first, plain, curve = (statistics.median(rates[place]) for place in PLACES)
    yield f"| runners in | env steps/s | beside processes | {' | '.join(t + ' [ms]' for t in TIMES)} |"
    yield "|---" * (3 + len(TIMES)) + "|"
    for place, rate in zip(PLACES, (first, plain, curve)):
        spent = " | ".join(f"{statistics.median(one[t] for one in times[place]):.1f}" for t in TIMES)
        yield f"| {place} | {rate:,.0f} | {rate / first:.3f} | {spent} |"
    verdict = "met" if curve >= ASKED * plain else "**not met**"
    yield f"\nCURVE: {curve / plain:.3f} of the unencrypted rate, wanted at least {ASKED}: {verdict}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--set", action="append", default=[], metavar="key=value")
    parser.add_argument("--markdown")
    parser.add_argument("--skiff", default=os.path.join(ROOT, "build", "skiff"))
    args = parser.parse_args()
    if args.turns < 1 or args.iterations < SKIPPED + 3:
        parser.error(f"wanted a turn, and {SKIPPED + 3} iterations")
    args.skiff = os.path.abspath(args.skiff)
    rates, times = {place: [] for place in PLACES}, {place: [] for place in PLACES}
    with tempfile.TemporaryDirectory(prefix="skiff-compare-cluster-") as folder:
        with open(os.path.join(folder, "config.yaml"), "w") as config:
            config.write(CONFIG)
        for turn in range(args.turns):
            for place in PLACES:
                rate, spent = measure(train(args, place, folder))
                rates[place].append(rate)
                times[place].append(spent)
                print(f"turn {turn + 1}: {place}: {rate:,.0f} env steps/s", file=sys.stderr)
    text = "\n".join(table(rates, times)) + "\n"
    print(text, end="")
    if args.markdown:
        with open(args.markdown, "w") as out:
            out.write(text)


if __name__ == "__main__":
    try:
        main()
    except (OSError, subprocess.SubprocessError, KeyError, ValueError) as why:
        sys.exit(f"compare_cluster: {why}")
