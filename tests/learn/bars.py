#!/usr/bin/env python3
"""The learning bars: every config below is trained with its seeds, then evaluated on 100 fresh episodes (deterministic
actions, seeds 1000000 and up, which nothing else uses). Results go to docs/results.md, all seeds, met or not.

usage: tests/learn/bars.py [--only NAME] [--seeds N] [--write]      (from anywhere; needs ./skiff to be built)

Resumes where it was stopped: finished (config, seed, commit) triples are kept in .cache/bars.json."""
import argparse, datetime, json, os, platform, shutil, statistics, subprocess, sys, tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CACHE = os.path.join(ROOT, ".cache", "bars.json")
EPISODES, FIRST_SEED = 100, 1000000

# name = config stem; bar on the mean return of 100 fresh episodes; published = what the literature reports
BARS = [
    dict(name="cartpole_ppo", env="CartPole-v1", algo="PPO", steps=100_000, bar=475.0, published="500 +- 0 @100k (rl-zoo)"),
    dict(name="pendulum_ppo", env="Pendulum-v1", algo="PPO", steps=300_000, bar=-210.0, published="-172 +- 104 @100k (rl-zoo, gSDE)"),
    dict(name="acrobot_ppo", env="Acrobot-v1", algo="PPO", steps=500_000, bar=-90.0, published="-73.5 +- 18.2 @1M (rl-zoo), -86.4 +- 1.3 @500k (CleanRL)"),
    dict(name="mountain_car_ppo", env="MountainCar-v0", algo="PPO", steps=1_000_000, bar=-130.0, published="-110.4 +- 19.5 @1M (rl-zoo)"),
    dict(name="frozen_lake_ppo", env="FrozenLake-v1 4x4 slippery", algo="PPO", steps=500_000, bar=0.70, published="0.74 best possible (Gymnasium)"),
    dict(name="taxi_ppo", env="Taxi-v4", algo="PPO", steps=2_000_000, bar=7.0, published="8.46 best possible (Gymnasium)"),
    dict(name="cliff_walking_ppo", env="CliffWalking-v1", algo="PPO", steps=300_000, bar=-17.0, published="-13 best possible"),
]


def skiff(*args):
    out = subprocess.run([os.path.join(ROOT, "skiff"), *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return out.returncode, out.stdout, out.stderr


def run_seed(bar, seed):
    """Train and evaluate one seed; the run folder is temporary."""
    folder = tempfile.mkdtemp(prefix="skiff-bars-")
    try:
        run = os.path.join(folder, "run")
        code, _, err = skiff("train", os.path.join(ROOT, "configs", bar["name"] + ".yaml"), f"seed={seed}", "--run-dir", run)
        if code not in (0, 3):  # 3: a goal was named and not met, which is a result too
            sys.exit(f"{bar['name']} seed {seed}: exit code {code}\n{err}")
        with open(os.path.join(run, "result.json")) as f:
            result = json.load(f)
        code, out, err = skiff("eval", run, "--episodes", str(EPISODES), "--seed", str(FIRST_SEED), "--json")
        if code != 0:
            sys.exit(f"{bar['name']} seed {seed}: evaluation failed\n{err}")
        return dict(seed=seed, ret=json.loads(out)["episode_return_mean"], std=json.loads(out)["episode_return_std"],
                    steps=result["num_env_steps_sampled_lifetime"], wall_s=result["wall_s"], device=result["device"])
    finally:
        shutil.rmtree(folder)


def iqm(values):
    """Interquartile mean."""
    v = sorted(values)
    cut = len(v) // 4
    return statistics.fmean(v[cut:len(v) - cut])


def commit():
    out = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty", "--abbrev=12"], stdout=subprocess.PIPE, text=True)
    return out.stdout.strip() or "unknown"


def machine():
    model = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.processor())
    return f"{os.cpu_count()} cores of {model}"


def table(rows, here):
    head = ["# Learning results", "",
            "Made by `tests/learn/bars.py --write`; do not edit. Return: mean of 100 fresh evaluation episodes after training",
            "(deterministic actions), by seed, in the order of the seeds 1, 2, ... `met` counts seeds at or above the bar.", "",
            f"{datetime.date.today()}, commit {here}, {machine()}, {rows[0][1][0]['device']}.", "",
            "| config | bar | met | IQM | returns by seed | env steps by seed | seconds by seed | published |", "|---|---|---|---|---|---|---|---|"]
    for bar, seeds in rows:
        ok = sum(s["ret"] >= bar["bar"] for s in seeds)
        head.append(f"| `configs/{bar['name']}.yaml` | {bar['bar']:g} within {bar['steps']:,} | {ok} of {len(seeds)} | "
                    f"{iqm([s['ret'] for s in seeds]):.4g} | {', '.join('%.4g' % s['ret'] for s in seeds)} | "
                    f"{', '.join(format(s['steps'], ',') for s in seeds)} | {', '.join('%.2f' % s['wall_s'] for s in seeds)} | "
                    f"{bar['published']} |")
    return "\n".join(head) + "\n"


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--only"), args.add_argument("--seeds", type=int, default=5), args.add_argument("--write", action="store_true")
    args = args.parse_args()
    here, rows, failed = commit(), [], 0
    os.makedirs(os.path.dirname(CACHE), exist_ok=True)
    cache = json.load(open(CACHE)) if os.path.exists(CACHE) else {}
    for bar in [b for b in BARS if args.only in (None, b["name"])]:
        seeds = []
        for seed in range(1, args.seeds + 1):
            key = f"{bar['name']} {seed} {here}"
            if key not in cache or here.endswith("-dirty"):
                cache[key] = run_seed(bar, seed)
                with open(CACHE, "w") as f:
                    json.dump(cache, f)
            seeds.append(cache[key])
            print(f"{bar['name']} seed {seed}: return {cache[key]['ret']:.4g} after {cache[key]['steps']:,} steps, "
                  f"{cache[key]['wall_s']:.2f} s", file=sys.stderr)
        met = sum(s["ret"] >= bar["bar"] for s in seeds)
        failed += met < 0.8 * len(seeds)
        rows.append((bar, seeds))
    text = table(rows, here)
    print(text)
    if args.write:
        with open(os.path.join(ROOT, "docs", "results.md"), "w") as f:
            f.write(text)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
