"""docs/results.md, from the finished seeds."""
import os, platform

from bar_list import BARS
from statistics_of_seeds import RESAMPLES, bootstrap_interval, iqm

HEAD = f"""# Learning results

Made by `tests/learn/bars.py --write`; do not edit. Every config is trained with its seeds 1, 2, ... and then evaluated
on 100 fresh episodes (deterministic actions, seeds 1000000 and up); a seed's return is their mean. Bars are floors, set
before the runs; all seeds are shown, met or not.

- *met*: seeds at or above the bar within its env steps, of those that ran. A bar is met by 4 of 5 seeds, or by both
  where a seed takes hours.
- *IQM*: mean of the returns without the lowest and the highest quarter (of 5 seeds: the middle 3). In brackets its 95 %
  interval: percentile bootstrap over seeds, {RESAMPLES:,} resamples. With 2 seeds it says no more than the two returns.
- *published*: Z rl-baselines3-zoo (one run, spread over episodes), C CleanRL (3 seeds, return while training), T
  Tianshou (10 seeds, the best within the first 1M steps), B OpenAI Baselines, F the TD3 paper, G the best possible.
  Those of MuJoCo are of Gym's v2 to v4, ours of Gymnasium's v5.
"""

TOOK = """On {machine}. Seconds are those of `skiff train`, with its evaluations and checkpoints; *runs x threads*:
how many seeds ran side by side, each with so many threads to learn. Numbers of runs that shared the machine are no
measure of speed: see [performance.md](performance.md).
"""


def machine():
    with open("/proc/cpuinfo") as file:
        named = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    model = named[0] if named else platform.processor()
    return f"{os.cpu_count()} cores of {model}"


def n_met(bar, seeds):
    return sum(s["ret"] >= bar["bar"] and s["steps"] <= bar["steps"] for s in seeds)


def verdict(bar, seeds):
    """Of the seeds so far: "met", "not met", or what is missing."""
    met = n_met(bar, seeds)
    if len(seeds) - met > bar["seeds"] - bar["need"]:
        return "not met"
    if len(seeds) < bar["seeds"]:
        left = bar["seeds"] - len(seeds)
        return f"{left} seed{'s' if left > 1 else ''} missing"
    return "met"


def seeds_of(kept, bar, keys):
    """Finished seeds in their order: of the config as it is, where `keys` says what that is, else as in the newest."""
    entries = [e for e in kept.values() if e["name"] == bar["name"]]
    if not entries:
        return []
    key = keys.get(bar["name"]) or entries[-1]["key"]
    return sorted((e for e in entries if e["key"] == key and e["seed"] <= bar["seeds"]), key=lambda e: e["seed"])


def once(values):
    """Different values in their order: one, or a few."""
    return ", ".join(dict.fromkeys(values))


def table(head, rows):
    return [f"| {' | '.join(head)} |", "|" + "---|" * len(head)] + [f"| {' | '.join(row)} |" for row in rows] + [""]


def learning_row(bar, seeds):
    returns, said = [s["ret"] for s in seeds], verdict(bar, seeds)
    low, high = bootstrap_interval([returns])
    return [f"`configs/{bar['name']}.yaml`", f"{bar['bar']:g} within {bar['steps']:,}",
            f"{n_met(bar, seeds)} of {len(seeds)}", f"{iqm(returns):.4g} [{low:.4g}, {high:.4g}]",
            f"{min(returns):.4g} to {max(returns):.4g}", bar["published"],
            "met" if said == "met" else f"**{said}**"]


def seeds_row(bar, seeds):
    return [f"`{bar['name']}`", bar["env"], ", ".join(f"{s['ret']:.4g}" for s in seeds),
            ", ".join(f"{s['steps']:,}" for s in seeds)]


def cost_row(bar, seeds):
    rate = sum(s["steps"] for s in seeds) / sum(s["wall_s"] for s in seeds)
    seconds = [f"{s['wall_s']:.2f}" if s["wall_s"] < 100 else f"{s['wall_s']:,.0f}" for s in seeds]
    return [f"`{bar['name']}`", ", ".join(seconds),
            f"{rate:,.0f}", once(f"{s['jobs']} x {s['threads']}" for s in seeds), once(s["device"] for s in seeds),
            once(s["date"] for s in seeds), once(c for s in seeds for c in s["commits"])]


def page(kept, keys, reasons):
    """`kept`: finished seeds; `keys`: config name -> its hash now; `reasons`: config name -> why it cannot run."""
    found = [(bar, seeds_of(kept, bar, keys)) for bar in BARS]
    ran = [(bar, seeds) for bar, seeds in found if seeds]
    lines = HEAD.split("\n")
    if ran:
        lines += table(["config", "bar", "met", "IQM", "lowest to highest", "published", "bar is"],
                       [learning_row(*r) for r in ran])
        lines += ["## Seed by seed", ""]
        lines += table(["config", "environment", "returns of seeds 1, 2, ...", "env steps"],
                       [seeds_row(*r) for r in ran])
        lines += ["## What it took", "", TOOK.format(machine=machine())]
        lines += table(["config", "seconds by seed", "env steps/s", "runs x threads", "device", "date", "commit"],
                       [cost_row(*r) for r in ran])
    missing = [(bar, reasons.get(bar["name"], "not run yet")) for bar, seeds in found if not seeds]
    if missing:
        lines += ["## Not run", ""]
        lines += table(["name", "environment", "bar", "published", "why"],
                       [[bar["name"], bar["env"], f"{bar['bar']:g} within {bar['steps']:,}", bar["published"], why]
                        for bar, why in missing])
    return "\n".join(lines).rstrip("\n") + "\n"
