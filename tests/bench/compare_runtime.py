#!/usr/bin/env python3
"""The runtime beside Ray, in one run on one machine: prints a Markdown table with the ratio and what was asked for.

usage: tests/bench/compare_runtime.py [--turns N] [--seconds S] [--rows a,b,...] [--markdown FILE] [--json FILE]
                                      [--python PATH] [--skiff PATH]

Ray lives in a virtual environment under .cache/ray, made on first use from PyPI (360 MB, needs the network); --python names an
interpreter that already has it. Ray (tests/bench/ray_runtime.py) and `skiff bench runtime` take turns, so that both see the same
machine; medians over the turns are reported. A turn takes about three minutes, of which skiff's is one."""
import argparse, json, os, statistics, subprocess, sys, tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HERE = os.path.dirname(os.path.abspath(__file__))
ENV = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}
RAY_ENV = dict(ENV)
LOWER_IS_BETTER = {"start_ms", "first_task_ms", "idle_mb", "tasks_queued_1m_s"}
# What each row is to reach: so many times Ray, at most or at least so much, or such a share of the machine's limit.
ASKED = {
    "task_sync": [("ratio", 15)], "task_async": [("ratio", 400)], "actor_sync": [("ratio", 8)], "actor_async": [("ratio", 200)],
    "actor_nn_async": [("ratio", 200)], "put_small": [("ratio", 500)], "get_small": [("ratio", 100)], "put_large_gb": [("share", 0.8)],
    "placement_group": [("ratio", 100)], "actor_create_process": [("ratio", 100), ("at least", 200)], "actor_create_thread": [("at least", 5000)],
    "start_ms": [("at most", 10)], "first_task_ms": [("at most", 30)], "idle_mb": [("at most", 10)], "tasks_queued_1m_s": [("at most", 10)],
}


def ray_python(given):
    if given:
        return given
    venv = os.path.join(ROOT, ".cache", "ray")
    python = os.path.join(venv, "bin", "python")
    if not os.path.exists(os.path.join(venv, "complete")):
        print("making .cache/ray (once)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        for version in ("ray==2.60.0", "ray"):  # what the figures in docs/ were taken with, else the newest that installs
            if subprocess.run([python, "-m", "pip", "install", "-q", version, "numpy"]).returncode == 0:
                break
        else:
            sys.exit("cannot install ray")
        open(os.path.join(venv, "complete"), "w").close()
    return python


def run_json(env, *command):
    out = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=env, check=True).stdout
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def judge(row, ours, limit, ratio):
    """[(what was asked in words, met?)]; None: cannot be said."""
    verdicts = []
    for kind, amount in ASKED.get(row, []):
        if kind == "ratio":
            verdicts.append((f"{amount}x", None if ratio is None else ratio >= amount))
        elif kind == "share":
            verdicts.append((f"{amount:.0%} of limit", ours / limit >= amount if limit else None))
        else:
            verdicts.append((f"{kind} {amount:,}", ours >= amount if kind == "at least" else ours <= amount))
    return verdicts


def line_of(row, peer, ours, limit, unit, met):
    ratio = (peer / ours if row in LOWER_IS_BETTER else ours / peer) if peer else None
    asked = judge(row, ours, limit, ratio)
    met.extend(ok for _, ok in asked if ok is not None)
    mark = {True: "met", False: "**not met**", None: "not compared"}
    return dict(row=row, ray=peer, skiff=ours, unit=unit, ratio=ratio, limit=limit, asked="; ".join(f"{what} ({mark[ok]})" for what, ok in asked))


def number(value):
    return "-" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--turns", type=int, default=3), args.add_argument("--seconds", type=float, default=1.0)
    args.add_argument("--rows"), args.add_argument("--markdown"), args.add_argument("--json"), args.add_argument("--python")
    args.add_argument("--skiff", default=os.path.join(ROOT, "skiff"))
    args = args.parse_args()
    python, rows = ray_python(args.python), args.rows.split(",") if args.rows else []
    with tempfile.TemporaryDirectory(prefix="sk-ray-") as scratch:  # Ray leaves logs, and a token in the home
        RAY_ENV.update(HOME=scratch, TMPDIR=scratch, RAY_TMPDIR=scratch)
        peers, ours, rest, notes = {}, {}, {}, {}
        for _ in range(args.turns):
            peer_rows = [r for r in rows if r != "actor_create_thread"]  # Ray has no actors in threads of the caller
            if peer_rows or not rows:
                options = ["--seconds", str(args.seconds)] + (["--rows", ",".join(peer_rows)] if rows else [])
                for r in run_json(RAY_ENV, python, os.path.join(HERE, "ray_runtime.py"), *options):
                    peers.setdefault(r["row"], []).append(r["value"])
                    notes[r["row"]] = r["settings"]
            for row in rows or [None]:
                options = ["--json", "--window-ms", str(int(args.seconds * 1000))] + (["--row", row] if row else [])
                for r in run_json(ENV, args.skiff, "bench", "runtime", *options):
                    ours.setdefault(r["row"], []).append((r["value"], r["limit"]))
                    rest[r["row"]] = r
    table, met = [], []
    for row, values in ours.items():
        limits = [limit for _, limit in values if limit]
        table.append(line_of(row, statistics.median(peers[row]) if row in peers else None, statistics.median(v for v, _ in values),
                             statistics.median(limits) if limits else None, rest[row]["unit"], met))
        table[-1].update(settings=rest[row]["settings"], ray_settings=notes.get(row))
    version = subprocess.run([python, "-c", "import ray; print(ray.__version__)"], capture_output=True, text=True).stdout.strip()
    lines = [f"| row | Ray {version} | skiff | ratio | asked | limit |", "|---|---|---|---|---|---|"]
    for r in table:
        ratio = f"{number(r['ratio'])}x" if r["ratio"] else "-"
        lines.append(f"| {r['row']} | {number(r['ray'])} | {number(r['skiff'])} {r['unit']} | {ratio} | {r['asked'] or '-'} | {number(r['limit'])} |")
    lines += ["", f"{sum(met)} of {len(met)} met; medians of {args.turns} turns."]
    print("\n".join(lines))
    if args.markdown:
        with open(args.markdown, "w") as file:
            file.write("\n".join(lines) + "\n")
    if args.json:
        with open(args.json, "w") as file:
            json.dump(dict(ray=version, turns=args.turns, rows=table), file, indent=1)


if __name__ == "__main__":
    main()
