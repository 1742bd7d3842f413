#!/usr/bin/env python3
"""Training while runners are killed: a run with process runners is done twice, undisturbed and with kill -9 of a random
runner now and then; the parameters must be the same to the last bit. Prints both hashes and a row for docs/results.md.

usage: tests/learn/kill_runners.py [CONFIG.yaml] [key=value ...] [--every SECONDS] [--kills N] [--seed N]
CONFIG defaults to configs/cartpole_ppo.yaml; overrides are those of `skiff train`. --kills: stop killing after so many.
Exit status 0: same bits, and at least one runner was made anew."""
import argparse, json, os, random, shutil, signal, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SKIFF = os.environ.get("SKIFF_BIN") or os.path.join(ROOT, "skiff")


def children(pid):
    """Worker processes of a running skiff, whichever of its threads started them."""
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += [int(child) for child in file.read().split()]
    except OSError:  # it is ending
        pass
    return found


def train(folder, words, hunt):
    """One run; hunt(process) is called while it goes on. Gives result.json, and `restarts` of the last report."""
    command = [SKIFF, "train", *words, "--run-dir", folder]
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        try:
            hunt(process)
            code = process.wait()
        finally:
            process.kill()
            process.wait()
        out.seek(0)
        said = out.read()
    if code not in (0, 3):  # 3: a goal was named and not met, which is a result too
        sys.exit(f"{' '.join(command)}: exit status {code}\n{said}")
    with open(os.path.join(folder, "result.json")) as file:
        result = json.load(file)
    with open(os.path.join(folder, "metrics.jsonl")) as file:
        last = json.loads(file.readlines()[-1])
    return result | dict(restarts=int(last.get("num_env_runner_restarts_lifetime", 0)))


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("words", nargs="*", help="config file and overrides")
    args.add_argument("--every", type=float, default=1.0, help="seconds between kills, on average")
    args.add_argument("--kills", type=int, default=0, help="at most so many; 0 = until the end")
    args.add_argument("--seed", type=int, default=time.time_ns() % 10**9)
    args = args.parse_args()
    words = args.words
    if not any(word.endswith((".yaml", ".yml")) for word in words):
        words = [os.path.join(ROOT, "configs", "cartpole_ppo.yaml"), *words]
    words = [*words, "env_runners.placement=process"]
    dice, n_kills = random.Random(args.seed), 0
    print(f"# seed {args.seed}", flush=True)

    def hunt(process):
        nonlocal n_kills
        while not args.kills or n_kills < args.kills:
            try:
                process.wait(dice.uniform(0, 2 * args.every))
                return
            except subprocess.TimeoutExpired:
                pass
            runners = children(process.pid)
            if not runners:
                continue
            try:
                os.kill(dice.choice(runners), signal.SIGKILL)
                n_kills += 1
            except ProcessLookupError:
                pass

    folder = tempfile.mkdtemp(prefix="skiff-kill-")
    try:
        quiet = train(os.path.join(folder, "quiet"), words, lambda process: None)
        hunted = train(os.path.join(folder, "hunted"), words, hunt)
    finally:
        shutil.rmtree(folder)
    restarts = hunted["restarts"]
    same = quiet["params_sha256"] == hunted["params_sha256"]
    print(f"undisturbed {quiet['params_sha256']}  {quiet['wall_s']:.2f} s")
    print(f"hunted      {hunted['params_sha256']}  {hunted['wall_s']:.2f} s, {n_kills} kills, {restarts} restarts")
    print(f"| `{os.path.relpath(words[0], ROOT)}` | {hunted['num_env_steps_sampled_lifetime']:,} | every {args.every:g} s | {n_kills} | "
          f"{restarts} | {quiet['wall_s']:.1f} | {hunted['wall_s']:.1f} | {'the same' if same else 'DIFFERENT'} |")
    return 0 if same and restarts > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
