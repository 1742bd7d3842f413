#!/usr/bin/env python3
"""What it costs to have runners on another host: PPO on CartPole with 2 runners of 64 environments and fragments of 128
steps, the runners in processes of this host, in a node beside it without encryption, and in one with it (CURVE). All of
it on this machine over loopback, so what is seen is the cost of messages, copies and encryption and not of a network.
Prints a Markdown table: env steps per second of the whole training, ratios, and where an iteration's time went.
The rate is the one that a tenth of all iterations reach, and times are medians: what others take of the machine counts
least there.

usage: tests/bench/compare_cluster.py [--turns N] [--iterations N] [--set key=value]... [--markdown FILE] [--skiff PATH]

The three take turns, so that all see the same machine. The first iterations of each run, while things start, do not
count. `cpu` is what head, node and workers took together, from start to end: the median over the turns."""
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


def reap(process):
    """Wait for its end; seconds of cpu that it and what it started took."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


def train(args, place, folder):
    """Reports of one run, as the program gives them; seconds of cpu of all its processes."""
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
            cpu_s = sum(reap(process) for process in filter(None, (head, node)))
            if head.returncode != 0 or (node and node.returncode != 0):
                said.seek(0)
                raise OSError(f"{' '.join(command)}: {said.read()[-1000:]}")
        finally:
            for process in filter(None, (head, node)):
                process.kill()
                process.wait()
    return reports, cpu_s


def rate_of(reports):
    """env steps per second that a tenth of the iterations reach."""
    return statistics.quantiles([r["perf/env_steps_per_s"] for r in reports], n=10, method="inclusive")[-1]


def table(runs):
    """runs: place -> reports of all turns that count; cpu seconds per million steps of each turn."""
    first, plain, curve = (rate_of(runs[place][0]) for place in PLACES)
    yield (f"| runners in | env steps/s | beside processes | cpu [s per 10^6 steps] | "
           f"{' | '.join(t + ' [ms]' for t in TIMES)} |")
    yield "|---" * (4 + len(TIMES)) + "|"
    for place, rate in zip(PLACES, (first, plain, curve)):
        reports, cpu = runs[place]
        spent = [1e3 * statistics.median(r.get(f"perf/time_{t}_s", 0) for r in reports) for t in TIMES]
        yield (f"| {place} | {rate:,.0f} | {rate / first:.3f} | {statistics.median(cpu):.2f} | "
               f"{' | '.join(f'{ms:.1f}' for ms in spent)} |")
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
    runs = {place: ([], []) for place in PLACES}
    with tempfile.TemporaryDirectory(prefix="skiff-compare-cluster-") as folder:
        with open(os.path.join(folder, "config.yaml"), "w") as config:
            config.write(CONFIG)
        for turn in range(args.turns):
            for place in PLACES:
                reports, cpu_s = train(args, place, folder)
                counted = reports[SKIPPED:-1]  # the last report repeats the one before
                runs[place][0].extend(counted)
                runs[place][1].append(1e6 * cpu_s / reports[-1]["num_env_steps_sampled_lifetime"])
                print(f"turn {turn + 1}: {place}: {rate_of(counted):,.0f} env steps/s", file=sys.stderr)
    text = "\n".join(table(runs)) + "\n"
    print(text, end="")
    if args.markdown:
        with open(args.markdown, "w") as out:
            out.write(text)


if __name__ == "__main__":
    try:
        main()
    except (OSError, subprocess.SubprocessError, KeyError, ValueError) as why:
        sys.exit(f"compare_cluster: {why}")
