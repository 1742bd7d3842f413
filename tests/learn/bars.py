#!/usr/bin/env python3
"""The learning bars of bar_list.py: every config is trained with its seeds, then evaluated on 100 fresh episodes. All
seeds are shown, met or not; --write puts them into docs/results.md.

usage: tests/learn/bars.py [--only NAME,...] [--seeds N] [--jobs N] [--max-s N] [--write]
       tests/learn/bars.py --list     what is done and what is missing, with an estimate of the seconds it takes
       tests/learn/bars.py --check    docs/results.md anew from the finished seeds; runs nothing

It goes on where it was stopped, by Ctrl-C, SIGTERM or kill -9: finished seeds are kept in .cache/bars.json, under the
hash of what their config says, and a seed in progress in .cache/bars/NAME-SEED/, with its checkpoints. Configs that do not
exist yet, or that this skiff does not understand, are told and skipped. Exit status 0: all that were asked for have all
their seeds and are met."""
import argparse, os, signal, sys, time

from bar_list import BARS
from results_page import page, seeds_of, verdict
from seed_run import Place, SeedRun, Trouble, checkpoints, resolve, version

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
signals = []  # those that came


def say(text):
    print(text, file=sys.stderr, flush=True)


def arguments():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--only", help="names of configs, with commas between")
    args.add_argument("--seeds", type=int, help="no more than so many of each")
    args.add_argument("--jobs", type=int, default=1, help="seeds side by side; they share the cores")
    args.add_argument("--max-s", type=float, default=float("inf"), help="begin no new seed after so many seconds")
    args.add_argument("--write", action="store_true"), args.add_argument("--list", action="store_true")
    args.add_argument("--check", action="store_true")
    args.add_argument("--skiff", default=os.environ.get("SKIFF_BIN") or os.path.join(ROOT, "skiff"), help="the program")
    args.add_argument("--configs", default=os.path.join(ROOT, "configs"), help="folder")
    args.add_argument("--cache", default=os.path.join(ROOT, ".cache"), help="folder")
    args.add_argument("--page", default=os.path.join(ROOT, "docs", "results.md"), help="what --write and --check make")
    args = args.parse_args()
    names = [bar["name"] for bar in BARS]
    args.only = args.only.split(",") if args.only else names
    for name in set(args.only) - set(names):
        raise Trouble(f"--only {name}: there is no such bar; there are {', '.join(names)}")
    if args.jobs < 1:
        raise Trouble(f"--jobs {args.jobs}: wanted 1 or more")
    return args


def wanted(args, bar):
    return range(1, min(bar["seeds"], args.seeds or bar["seeds"]) + 1)


def resolve_all(place):
    """{name: hash of its config}, {name: why it has none}."""
    keys, reasons = {}, {}
    for bar in BARS:
        try:
            keys[bar["name"]] = resolve(place.program, place.config_of(bar))
        except Trouble as why:
            reasons[bar["name"]] = str(why)
    return keys, reasons


def write_page(args, place, keys, reasons):
    with open(args.page, "w") as file:
        file.write(page(place.kept, keys, reasons))
    say(f"wrote {args.page}")


def tell(run):
    r = run.result
    note = "" if r["ret"] >= run.bar["bar"] else f", below the bar of {run.bar['bar']:g}"
    say(f"{run}: return {r['ret']:.4g} after {r['steps']:,} steps, {r['wall_s']:.2f} s{note}")


def run_all(place, todo, args):
    """Seeds by their order, `jobs` at a time. Gives how many had trouble; what was stopped is left for next time."""
    threads = min(4, max(1, len(os.sched_getaffinity(0)) // args.jobs))  # more than 4 do not help a learner
    running, failed, stopped_by, begun = [], 0, 0, time.monotonic()
    while running or (todo and not signals and time.monotonic() - begun < args.max_s):
        if len(signals) > stopped_by:
            stopped_by = len(signals)
            say("stopping: runs end with a checkpoint; once more ends them at once" if stopped_by == 1 else "killing")
            for run in running:
                run.stop(signal.SIGTERM if stopped_by == 1 else signal.SIGKILL)
        while todo and len(running) < args.jobs and not signals and time.monotonic() - begun < args.max_s:
            bar, seed, key = todo.pop(0)
            running.append(SeedRun(place, bar, seed, key, threads, args.jobs))
            running[-1].start()
        for run in [r for r in running if r.poll()]:
            running.remove(run)
            failed += run.trouble is not None
            if run.trouble:
                say(f"{run}: {run.trouble}")
            elif run.result:
                place.put(run)
                tell(run)
            else:
                say(f"{run}: stopped; the next call goes on with it")
        time.sleep(0.02)
    return failed


def list_all(args, place, keys, reasons):
    total = 0.0
    print(f"{'config':30} {'seeds':>7} {'s/seed':>8} {'missing s':>10}")
    for bar in BARS:
        name = bar["name"]
        if name not in args.only:
            continue
        if name in reasons:
            print(f"{name:30} {reasons[name]}")
            continue
        done = {seed: place.get(bar, seed, keys[name]) for seed in wanted(args, bar)}
        times = [e["wall_s"] for e in done.values() if e]
        each = sum(times) / len(times) if times else bar["steps"] / bar["rate"]
        left, notes = 0.0, []
        for seed in (seed for seed, entry in done.items() if not entry):
            reached = ([0] + checkpoints(os.path.join(place.runs, f"{name}-{seed}")))[-1]
            left += each * (1 - min(1, reached / bar["steps"]))
            notes += [f"seed {seed} at {reached:,}"] if reached else []
        total += left
        state = verdict(bar, seeds_of(place.kept, bar, keys)) if times else "not run yet"
        print(f"{name:30} {len(times):2} of {len(done)} {each:8.1f}{' ' if times else '?'} {left:9.0f}  "
              f"{'; '.join([state] + notes)}")
    print(f"about {total:,.0f} s missing, one seed at a time (?: guessed)")


def main():
    args = arguments()
    place = Place(args.skiff, args.configs, args.cache)
    if args.check:
        write_page(args, place, {}, {})
        return 0
    place.commit = version(place.program)["commit"]
    keys, reasons = resolve_all(place)
    if args.list:
        list_all(args, place, keys, reasons)
        return 0
    place.lock()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: signals.append(number))
    asked = [bar for bar in BARS if bar["name"] in args.only]
    for bar in asked:
        if bar["name"] in reasons:
            say(f"{bar['name']}: skipped: {reasons[bar['name']]}")
    asked = [bar for bar in asked if bar["name"] in keys]
    todo = [(bar, seed, keys[bar["name"]]) for bar in asked for seed in wanted(args, bar)
            if not place.get(bar, seed, keys[bar["name"]])]
    failed = run_all(place, todo, args)
    if args.write:
        write_page(args, place, keys, reasons)
    verdicts = {bar["name"]: verdict(bar, seeds_of(place.kept, bar, keys)) for bar in asked}
    for name, said in verdicts.items():
        print(f"{name}: {said}")
    if signals:
        return 130
    return 1 if failed or any(said != "met" for said in verdicts.values()) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Trouble as why:
        say(str(why))
        sys.exit(2)
