#!/usr/bin/env python3
"""skiff beside its peers, in one run on one machine: prints a Markdown table with the ratio.

usage: tests/bench/compare.py [--repeats N] [--python PATH]

The peers live in a virtual environment under .cache/peers, made on first use from PyPI (about 1 GB, needs the network);
--python names an interpreter that already has stable-baselines3 and torch. Peers and skiff take turns, so that both see
the same machine; medians are reported."""
import argparse, json, os, statistics, subprocess, sys, tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HERE = os.path.dirname(os.path.abspath(__file__))
# OpenBLAS settings meant for other programs would slow the peers' own builds down
ENV = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}
ROWS = [("2a", "higher"), ("2a'", "lower")]


def peer_python(given):
    if given:
        return given
    venv = os.path.join(ROOT, ".cache", "peers")
    python = os.path.join(venv, "bin", "python")
    if not os.path.exists(python):
        print("making .cache/peers (once)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "stable-baselines3", "gymnasium[classic-control]"], check=True)
    return python


def run_json(*command):
    out = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=ENV, check=True).stdout
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--repeats", type=int, default=3), args.add_argument("--python")
    args = args.parse_args()
    scratch = tempfile.TemporaryDirectory(prefix="skiff-compare-")  # the peers leave logs behind
    ENV["TMPDIR"] = scratch.name
    python, peers, ours, limits = peer_python(args.python), {}, {}, {}
    for turn in range(args.repeats):
        for row, _ in ROWS:
            peers.setdefault(row, []).append(run_json(python, os.path.join(HERE, "sb3_ppo.py"), row, str(turn + 1))[0]["value"])
        for r in run_json(os.path.join(ROOT, "skiff"), "bench", "ppo", "--json"):
            ours.setdefault(r["row"], []).append(r["value"])
            limits[r["row"]] = (r["limit"], r["unit"])
    print("| row | skiff | limit of the machine | stable-baselines3 | ratio |\n|---|---|---|---|---|")
    for row, values in ours.items():
        value, (limit, unit) = statistics.median(values), limits[row]
        line = f"| {row} | {value:.4g} {unit} | {'%.4g' % limit if limit else '-'} |"
        if row in peers:
            peer = statistics.median(peers[row])
            better = dict(ROWS)[row]
            line += f" {peer:.4g} | {value / peer if better == 'higher' else peer / value:.1f}x |"
        else:
            line += " - | - |"
        print(line)


if __name__ == "__main__":
    main()
