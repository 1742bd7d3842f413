#!/usr/bin/env python3
"""Control tasks beside the peers, in one run on one machine: updates per second of SAC, TD3 and DQN, PPO on
HalfCheetah, and steps of MuJoCo's environments. Prints a Markdown table with the ratios and what was asked for.

usage: tests/bench/compare_control.py [--turns N] [--seconds S] [--rows PREFIX,...] [--no-skiff] [--list]
                                      [--markdown FILE] [--json FILE] [--skiff PATH]

The peers live under .cache/, made on first use (needs the network): Stable-Baselines3 and SBX with Gymnasium and MuJoCo
(6 GB), EnvPool (1 GB), RLtools (its headers; built here with g++ and serial OpenBLAS). Peers and skiff take turns, so
that both see the same machine; medians over the turns are reported. A turn of all rows takes about ten minutes with
S = 10. Rows that `skiff bench` does not have are reported as missing."""
import argparse, json, os, re, signal, statistics, subprocess, sys, tempfile

import control_peers
from control_peers import ENV, ROOT

WIDTH = len(os.sched_getaffinity(0))


class Row:
    """`name` begins the names of skiff's rows; `peers`: name -> threads; `asked`: peer -> how many times its rate."""

    def __init__(self, name, bench, kind, peers, asked, env=None, threads=None, text=""):
        self.name, self.bench, self.kind, self.peers, self.asked = name, bench, kind, peers, asked
        self.env, self.threads, self.text = env, threads, text
        self.label = name + (f", {threads} thread{'s' if threads > 1 else ''}" if threads else "")

    def is_of(self, found):
        """Does a row of skiff belong here? The number of threads may stand in its name or its settings."""
        if not (found["row"] + " ").startswith((self.name + " ", self.name + ",")) or "GFLOP" in found["unit"]:
            return False
        said = re.search(r"(\d+) thread", found["row"]) or re.search(r"(\d+) thread", found.get("settings") or "")
        return not self.threads or (int(said[1]) if said else 1) == self.threads


def stepping(env, threads):
    """loop: what MuJoCo itself takes for it; mj_step: without the contact forces that Ant and Humanoid observe."""
    peers, asked = {"envpool": threads, "loop": threads}, {"loop": 0.95}
    if env != "HalfCheetah-v5":
        peers["mj_step"], asked["envpool"] = threads, 1.0
    if threads == 1:
        peers["gymnasium"] = 1
    return Row(f"4 {env}", "mujoco", None, peers, asked, env, threads, "64 environments, random actions")


OFF_POLICY = "HalfCheetah-v5, 256x256, batch 256, one environment, one update a step"
ROWS = [
    Row("2b PPO HalfCheetah", "ppo", "ppo", {"sbx": WIDTH, "sb3": 1}, {"sbx": 6},
        text="8 environments x 256, minibatch 512, 10 epochs, 64x64"),
    Row("3 SAC", "sac", "sac", {"sbx": WIDTH, "sb3": 1, "sb3 all cores": WIDTH}, {"sbx": 1.6}, text=OFF_POLICY),
    Row("3 TD3", "td3", "td3", {"sbx": WIDTH, "sb3": 1, "sb3 all cores": WIDTH}, {"sbx": 1.6}, text=OFF_POLICY),
    Row("3 DQN", "dqn", "dqn", {"sbx": WIDTH, "sb3": 1}, {"sb3": 4}, text="CartPole-v1, 256x256, batch 64"),
    Row("3c SAC Pendulum", "sac", None, {"rltools": 1}, {"rltools": 1},
        text="64x64, batch 100, 10,000 steps, one thread; RLtools on its own Pendulum"),
    *(stepping(env, threads) for env in control_peers.MODELS for threads in (1, 2)),
]
MET = {True: "met", False: "**not met**", None: "not compared"}


def run_json(*command, timeout=600):
    done = subprocess.run(command, capture_output=True, text=True, env=ENV, timeout=timeout, cwd=ENV["TMPDIR"])
    if done.returncode != 0:
        last = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
        raise OSError(f"{os.path.basename(command[0])}: {last[:300]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def measure_peer(row, peer, args, turn):
    """One number, in the row's unit; seconds for a fixed number of steps become a rate. None: it did not run."""
    try:
        words = control_peers.command(peer.split()[0], row.kind, row.env, row.peers[peer], args.seconds, turn + 1)
        return run_json(*words)[0]["value"]
    except (OSError, subprocess.SubprocessError) as why:
        print(f"{row.label}: {peer}: {why}", file=sys.stderr)
        return None


def add_skiff(bench, args, ours):
    try:
        for found in run_json(os.path.abspath(args.skiff), "bench", bench, "--json", "--repeats", "1"):
            ours.setdefault(found["row"], []).append(found)
    except (OSError, subprocess.SubprocessError) as why:
        print(f"skiff bench {bench}: {why}", file=sys.stderr)


def take_turns(rows, args):
    """[{peer: [values]} by row], {name of a skiff row: [its JSON objects]}."""
    peers, ours = [{peer: [] for peer in row.peers} for row in rows], {}
    for turn in range(args.turns):
        benches = list(dict.fromkeys(row.bench for row in rows)) + ([] if args.rows else ["replay"])
        benches = [] if args.no_skiff else benches
        for row, values in zip(rows, peers):
            for peer in row.peers:
                value = measure_peer(row, peer, args, turn)
                values[peer] += [] if value is None else [value]
            said = ", ".join(f"{peer} {number(v[-1] if v else None)}" for peer, v in values.items())
            print(f"turn {turn + 1}: {row.label}: {said}", file=sys.stderr)
            if row.bench in benches:
                benches.remove(row.bench)
                add_skiff(row.bench, args, ours)
        for bench in benches:  # of no row
            add_skiff(bench, args, ours)
    return peers, ours


def number(value):
    return "-" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def line_of(row, values, ours):
    """What a row comes to. Rates everywhere but where skiff and its peer both take seconds."""
    found = sorted((runs for runs in ours.values() if row.is_of(runs[0])), key=lambda runs: len(runs[0]["row"]))
    mine = statistics.median(r["value"] for r in found[0]) if found else None
    unit = found[0][0]["unit"] if found else ""
    seconds, note = unit == "s", ""
    theirs = {peer: statistics.median(v) for peer, v in values.items() if v}
    if "rltools" in row.peers:
        if "rltools" not in theirs:
            theirs["rltools"], note = control_peers.RLTOOLS_ELSEWHERE, "RLtools was not run here: a figure of before"
        if found and not seconds:
            steps = 9_900 if unit.startswith("updates") else 10_000  # it learns from step 100 on
            theirs["rltools"] = steps / theirs["rltools"]
    ratios = {p: (v / mine if seconds else mine / v) for p, v in theirs.items()} if mine else {}
    asked = [(f"{times:g}x {peer}", ratios[peer] >= times if peer in ratios else None)
             for peer, times in row.asked.items()]
    if note:
        asked = [(what, None) for what, _ in asked]
    first = found[0][0] if found else {}
    return dict(row=row.label, skiff=mine, unit=unit or "missing", peers=theirs, ratios=ratios, asked=asked,
                settings="; ".join(filter(None, [row.text, note])), skiff_settings=first.get("settings"),
                limit=first.get("limit"))


def table(lines):
    out = ["| row | skiff | peers | ratio | asked | limit | work |", "|---|---|---|---|---|---|---|"]
    for line in lines:
        peers = ", ".join(f"{p} {number(v)}" for p, v in line["peers"].items()) or "-"
        ratios = ", ".join(f"{r:.2f}x {p}" for p, r in line["ratios"].items()) or "-"
        asked = "; ".join(f"{what} ({MET[ok]})" for what, ok in line["asked"])
        out.append(f"| {line['row']} | {number(line['skiff'])} {line['unit']} | {peers} | {ratios} | {asked} | "
                   f"{number(line['limit'])} | {line['settings']} |")
    judged = [ok for line in lines for _, ok in line["asked"] if ok is not None]
    n_missing = sum(line["skiff"] is None for line in lines)
    return out + ["", f"{sum(judged)} of {len(judged)} met; {n_missing} rows of skiff missing."]


def rest(ours):
    """Rows of skiff that have no peer."""
    left = {name: runs for name, runs in ours.items() if not any(row.is_of(runs[0]) for row in ROWS)}
    return [f"- {name}: {number(statistics.median(r['value'] for r in runs))} {runs[0]['unit']}"
            for name, runs in left.items()]


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--turns", type=int, default=3), args.add_argument("--seconds", type=float, default=10.0)
    args.add_argument("--rows", help="those whose names begin so, with commas between")
    args.add_argument("--no-skiff", action="store_true", help="the peers alone")
    args.add_argument("--list", action="store_true", help="the rows and their peers")
    args.add_argument("--markdown"), args.add_argument("--json")
    args.add_argument("--skiff", default=os.environ.get("SKIFF_BIN") or os.path.join(ROOT, "skiff"))
    args = args.parse_args()
    rows = [row for row in ROWS if not args.rows or row.label.startswith(tuple(args.rows.split(",")))]
    if args.list or not rows:
        print("\n".join(f"{row.label}: skiff bench {row.bench}; {', '.join(row.peers)}" for row in rows or ROWS))
        return 0 if rows else 2
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that no peer is left running
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"the load average is {load:.1f}: other programs disturb what is measured", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="skiff-compare-") as scratch:  # the peers leave logs behind
        ENV["TMPDIR"] = scratch
        peers, ours = take_turns(rows, args)
    lines = [line_of(row, values, ours) for row, values in zip(rows, peers)]
    how = f"Medians of {args.turns} turns, load average {load:.1f} at the start."
    text = "\n".join(table(lines) + [how] + rest(ours))
    print(text)
    if args.markdown:
        with open(args.markdown, "w") as file:
            file.write(text + "\n")
    if args.json:
        with open(args.json, "w") as file:
            json.dump(dict(turns=args.turns, load=load, rows=lines), file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
