#!/usr/bin/env python3
"""Gymnasium's environments in skiff: the same numbers as our own, all that can go wrong, and nothing left behind.
Runs $SKIFF_BIN with the Python of tests/python/setup.sh."""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

from tap import HERE, VENV_PYTHON, need_gymnasium, run_all, skip, test

SKIFF = os.environ["SKIFF_BIN"]
PATIENCE_S = 120  # on a busy machine and under a sanitizer

CONFIG = """
algorithm: ppo
env: {gymnasium: "%s", config: {%s}}
seed: 3
env_runners: {num_env_runners: %d, num_envs_per_env_runner: %d, rollout_fragment_length: 32, placement: %s,
  on_invalid: %s}
training: {minibatch_size: 64, num_epochs: 2}
evaluation: {num_episodes: 0}
stop: {training_iteration: %d}
"""


def environment(**changes):
    """skiff's; the interpreter is SKIFF_PYTHON, and no bytecode is written into the source tree."""
    return dict(os.environ, SKIFF_PYTHON=VENV_PYTHON, PYTHONDONTWRITEBYTECODE="1", **changes)


def start(*arguments, **changes):
    """A running skiff, started where faulty_envs.py lies, in a process group of its own."""
    return subprocess.Popen([SKIFF, *arguments], cwd=HERE, env=environment(**changes), stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def skiff(*arguments, code=0, **changes):
    """(stdout, stderr) of a run that must end with `code`."""
    process = start(*arguments, **changes)
    try:
        out, err = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == code, f"exit code {process.returncode}, wanted {code}; stderr: {err}"
    return out, err


def rollout(env, *more, code=0):
    return skiff("rollout", env, "--random", "--json", *more, code=code)


class Run:
    """A folder with a config and the run made from it."""

    def __init__(self, env="CartPole-v1", config="", runners=0, envs=4, placement="thread", on_invalid="stop",
                 iterations=3):
        self.folder = tempfile.TemporaryDirectory(prefix="skiff-python-")
        self.config = os.path.join(self.folder.name, "config.yaml")
        self.path = os.path.join(self.folder.name, "run")
        with open(self.config, "w") as file:
            file.write(CONFIG % (env, config, runners, envs, placement, on_invalid, iterations))

    def arguments(self, *overrides):
        return ["train", self.config, *overrides, "--run-dir", self.path, "--json"]

    def train(self, *overrides, code=0):
        return skiff(*self.arguments(*overrides), code=code)

    def result(self):
        with open(os.path.join(self.path, "result.json")) as file:
            return json.load(file)

    def last_metrics(self):
        """Of the last line that is complete."""
        with open(os.path.join(self.path, "metrics.jsonl")) as file:
            return json.loads([line for line in file if line.endswith("\n")][-1])


def holds(text, *wanted):
    for piece in wanted:
        assert piece in text, f"{piece!r} is not in {text!r}"


def parent_of(pid):
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])


def workers_of(pid):
    """Python processes below process pid, by pid."""
    below, found = {pid}, set()
    for _ in range(3):  # the program, its workers, their Python
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                parent = parent_of(entry)
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    is_worker = b"worker.py" in file.read()
            except OSError:
                continue
            if parent in below:
                below.add(int(entry))
                if is_worker:
                    found.add(int(entry))
    return found


def has_ended(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def wait_until(what, condition):
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s, f"waited too long: {what}"
        time.sleep(0.01)


def wait_for_steps(run, process):
    """Until it has finished an iteration."""
    path = os.path.join(run.path, "metrics.jsonl")
    wait_until("the first iteration", lambda: os.path.exists(path) and os.path.getsize(path) or
               process.poll() is not None)
    assert process.poll() is None, process.communicate()[1]


# ---- the same numbers ----
def same_as_ours(name, steps, theirs=None):
    for seed in ("0", "3", "42"):
        ours, _ = rollout(name, "--seed", seed, "--steps", steps)
        shim, _ = rollout("gymnasium:" + (theirs or name), "--seed", seed, "--steps", steps)
        assert ours.count("\n") == int(steps) + 1
        assert ours == shim, f"{name}, seed {seed}"
    return ours


@test
def cartpole_is_ours_bit_for_bit_over_many_ends():
    holds(same_as_ours("CartPole-v1", "300"), '"terminated":true', '"final_obs"')


@test
def pendulum_is_ours_bit_for_bit_over_the_time_limit():
    holds(same_as_ours("Pendulum-v1", "450"), '"terminated":false,"truncated":true')


@test
def taxi_is_ours_bit_for_bit_with_its_masks():
    same_as_ours("Taxi-v3", "250", "Taxi-v4")


@test
def training_gives_the_same_bits_as_our_own_environment_wherever_it_runs():
    wanted = None
    for changes in ({}, {"runners": 2, "envs": 2}, {"runners": 2, "envs": 2, "placement": "process"}):
        run = Run(**changes)
        run.train()
        got = run.result()["params_sha256"]
        wanted = wanted or got
        assert got == wanted, changes
    run = Run()
    run.train("env=CartPole-v1")
    assert run.result()["params_sha256"] == wanted, "our own CartPole"


@test
def integers_and_masks_train_as_our_own_do():
    theirs, ours = Run("Taxi-v4"), Run()
    theirs.train()
    ours.train("env=Taxi-v3")
    assert theirs.result()["params_sha256"] == ours.result()["params_sha256"]


@test
def lunar_lander_trains_and_evaluates():
    if subprocess.run([VENV_PYTHON, "-c", "import Box2D"], stderr=subprocess.DEVNULL).returncode != 0:
        skip("there is no Box2D")
    first, second = Run("LunarLander-v3"), Run("LunarLander-v3", runners=2, envs=2)
    first.train()
    second.train()
    assert first.result()["params_sha256"] == second.result()["params_sha256"]
    answers = [skiff("eval", first.path, "--episodes", "3", "--json")[0] for _ in range(2)]
    answers = [json.loads(answer) for answer in answers]
    assert answers[0]["env"] == "gymnasium:LunarLander-v3" and answers[0]["num_episodes"] == 3
    assert answers[0]["episode_return_mean"] == answers[1]["episode_return_mean"]


@test
def flags_come_through_apart():
    out, _ = rollout("gymnasium:faulty_envs:Ends-v0", "--steps", "60")
    steps = [json.loads(line) for line in out.splitlines()[1:]]
    ends = {(step["terminated"], step["truncated"], step["final_obs"][0]) for step in steps if "final_obs" in step}
    assert ends == {(True, False, 3), (False, True, 5)}, ends


@test
def the_time_limit_is_the_registered_one_or_the_given_one():
    def limit(*config):
        return json.loads(skiff("envs", "gymnasium:CartPole-v1", "--json", *config)[0])["max_episode_steps"]

    assert limit() == 500
    assert limit("max_episode_steps=7") == 7
    out, _ = rollout("gymnasium:faulty_envs:Counting-v0", "--steps", "45", "--max-episode-steps", "15")
    ends = [json.loads(line)["t"] for line in out.splitlines() if "final_obs" in line]
    assert ends == [15, 30, 45]


@test
def resets_go_on_with_the_random_stream():
    out, _ = rollout("gymnasium:faulty_envs:Counting-v0", "--steps", "60", "--seed", "5")
    luck = [json.loads(line)["obs"][1] for line in out.splitlines() if json.loads(line)["obs"][0] == 0]
    assert len(luck) == 4 and len(set(luck)) == 4
    assert rollout("gymnasium:faulty_envs:Counting-v0", "--steps", "60", "--seed", "5")[0] == out


# ---- spaces ----
@test
def nested_spaces_become_named_pieces():
    spaces = json.loads(skiff("envs", "gymnasium:faulty_envs:Nested-v0", "--json")[0])
    fields = [(f["name"], f["dtype"], f["shape"]) for f in spaces["observation"]]
    assert fields == [("boat.0", "f32", [2, 2]), ("boat.1", "i32", []), ("flags", "i32", [2]),
                      ("wind", "f32", [2])], fields
    assert spaces["observation"][3]["low"] == [0, -5] and spaces["observation"][3]["high"] == [20, 5]
    parts = [(p["name"], p["kind"], p["n"]) for p in spaces["action"]]
    assert parts == [("gear[0]", "discrete", 3), ("gear[1]", "discrete", 2), ("turn", "discrete", 4)], parts


@test
def every_kind_of_space_keeps_the_contract():
    for name in ("Nested", "Masked", "Steering", "Counting"):
        out, _ = skiff("check-env", f"gymnasium:faulty_envs:{name}-v0", "--steps", "60")
        assert "FAIL" not in out, out


@test
def a_mask_is_taken_from_the_infos():
    assert json.loads(skiff("envs", "gymnasium:faulty_envs:Masked-v0", "--json")[0])["mask_size"] == 3
    rollout("gymnasium:faulty_envs:Masked-v0", "--steps", "50")  # it raises at actions that were not allowed


@test
def other_spaces_are_refused_by_name():
    for name, wanted in (("Text", "found Text("), ("Many", "found 17 parts, wanted at most 16"), ("Pixels", "u8")):
        _, err = skiff("envs", f"gymnasium:faulty_envs:{name}-v0", code=1)
        holds(err, wanted)


# ---- what goes wrong ----
@test
def exceptions_arrive_with_their_traceback():
    for name, what, where in (("RaisesInMake", "OSError: no simulator licence", "__init__"),
                              ("RaisesInReset", "RuntimeError: no wind", "reset"),
                              ("RaisesInStep", "ValueError: the mast is broken", "misbehave"),
                              ("Leaves", "SystemExit: 3", "misbehave")):
        _, err = rollout(f"gymnasium:faulty_envs:{name}-v0", "--steps", "5", code=1)
        message = err.splitlines()[-1]
        holds(message, what, f'faulty_envs.py", line ', f"in {where}:")
        holds(err, "Traceback (most recent call last):")
    holds(message, "episode step 3", "gymnasium:faulty_envs:Leaves-v0")


@test
def bad_observations_are_named():
    _, err = rollout("gymnasium:faulty_envs:WrongShape-v0", "--steps", "5", code=1)
    holds(err, 'observation "obs" has shape (3,), its space says (2,)')
    _, err = rollout("gymnasium:faulty_envs:NotANumber-v0", "--steps", "5", code=1)
    holds(err, '"obs[1]" is nan')


@test
def a_dead_process_is_reported_by_its_end():
    for name, wanted in (("Dies", "was killed by signal 9 (SIGKILL) during step"),
                         ("Exits", "exited with status 7 during step")):
        holds(rollout(f"gymnasium:faulty_envs:{name}-v0", "--steps", "5", code=1)[1], wanted)


@test
def a_process_that_hangs_is_killed_in_time():
    start_s = time.monotonic()
    _, err = rollout("gymnasium:faulty_envs:Hangs-v0", "skiff.timeout_s=3", "--steps", "5", code=1)
    holds(err, "had no answer to step within 3 s (env.timeout_s) and was killed")
    assert time.monotonic() - start_s < 60


@test
def unknown_names_and_arguments_are_told():
    holds(skiff("envs", "gymnasium:CartPol-v1", code=1)[1], "CartPol-v1", "Did you mean: `CartPole`")
    holds(skiff("envs", "gymnasium:no_such_module:X-v0", code=1)[1], "No module named 'no_such_module'")
    holds(skiff("envs", "gymnasium:CartPole-v1", "mast=3", code=1)[1], "unexpected keyword argument 'mast'")
    holds(skiff("envs", "gymnasium:", code=1)[1], "gymnasium:CartPole-v1")
    holds(skiff("envs", "gymnasium:CartPole-v1", "skiff.speed=3", code=1)[1], "skiff.speed", "known: skiff.python")


@test
def missing_pieces_are_told_with_a_way_out():
    _, err = skiff("envs", "gymnasium:CartPole-v1", "skiff.python=/nowhere/python3", code=1)
    holds(err, '"/nowhere/python3"', "No such file", "env.python")
    with tempfile.TemporaryDirectory(prefix="skiff-python-") as folder:
        bare = os.path.join(folder, "python-without-packages")
        with open(bare, "w") as file:
            file.write(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
        os.chmod(bare, 0o755)
        _, err = skiff("envs", "gymnasium:CartPole-v1", "skiff.python=" + bare, code=1)
        holds(err, "has no module numpy", "-m pip install gymnasium")
    _, err = skiff("envs", "gymnasium:CartPole-v1", code=1, SKIFF_PYTHONPATH="/nowhere")
    holds(err, "skiff_gym/worker.py", "/nowhere")


@test
def what_an_environment_prints_is_kept_off_standard_output():
    out, err = rollout("gymnasium:faulty_envs:Chatty-v0", "--steps", "2")
    assert all(line.startswith('{"t":') for line in out.splitlines()) and out.count("\n") == 3, out
    holds(err, "made", "stepped", "straight to the descriptor")


# ---- going on in spite of it ----
@test
def only_the_episode_of_the_failing_environment_is_dropped():
    run = Run("faulty_envs:RaisesInStep-v0", "only: 0.5", envs=8, on_invalid="drop", iterations=4)
    run.train()
    metrics = run.last_metrics()
    assert metrics["num_episodes_dropped_lifetime"] > 0 and metrics["episode_len_mean"] == 20, metrics
    assert metrics["num_episodes_lifetime"] > 0, metrics


@test
def a_dead_process_is_replaced_where_episodes_may_be_dropped():
    run = Run("faulty_envs:Dies-v0", "only: 0.1", envs=2, on_invalid="drop", iterations=6)
    run.train()
    assert run.last_metrics()["num_episodes_dropped_lifetime"] >= 2
    again = Run("faulty_envs:Dies-v0", "only: 0.1", envs=2, on_invalid="drop", iterations=6)
    again.train()
    assert again.result()["params_sha256"] == run.result()["params_sha256"], "even that is deterministic"


# ---- nothing is left behind ----
@test
def environments_are_closed_in_order():
    with tempfile.TemporaryDirectory(prefix="skiff-python-") as folder:
        note = os.path.join(folder, "note")
        rollout("gymnasium:faulty_envs:Closes-v0", f"note={note}", "--steps", "2")
        skiff("envs", "gymnasium:faulty_envs:Closes-v0", f"note={note}")
        with open(note) as file:
            assert file.read() == "closed\nclosed\n"


def endless(**changes):
    """A training run that has made its first steps, and its Python processes."""
    run = Run(iterations=10**9, **changes)
    process = start(*run.arguments())
    wait_for_steps(run, process)
    workers = workers_of(process.pid)
    assert workers
    return run, process, workers


@test
def a_python_process_killed_during_the_run_ends_it_with_a_reason():
    for changes in ({}, {"runners": 2, "placement": "process"}):
        run, process, workers = endless(**changes)
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        _, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 1, err
        holds(err, "was killed by signal 9 (SIGKILL)")
        wait_until("the end of the others", lambda: all(map(has_ended, workers)))


@test
def a_killed_runner_is_made_anew_with_other_episodes():
    run, process, workers = endless(runners=2, placement="process")
    parents = {pid: parent_of(pid) for pid in workers}
    mine, runner = next((pid, parent) for pid, parent in parents.items() if parent != process.pid)
    os.kill(runner, signal.SIGKILL)
    wait_until("the end of its Python process", lambda: has_ended(mine))
    wait_until("a report that counts it", lambda: process.poll() is not None or
               run.last_metrics().get("num_env_runner_restarts_lifetime") == 1)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, err
    holds(err, f"process {runner}) was killed by signal 9 (SIGKILL)")
    assert err.count("cannot save its state: episodes start anew") == 1, err


@test
def nothing_survives_a_killed_driver():
    for changes in ({"runners": 2}, {"runners": 2, "placement": "process"}):
        run, process, workers = endless(**changes)
        process.kill()
        process.communicate(timeout=PATIENCE_S)
        wait_until("the end of the Python processes", lambda: all(map(has_ended, workers)))


@test
def ctrl_c_is_the_drivers_to_answer():
    run, process, workers = endless(runners=2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, err
    assert not re.search("KeyboardInterrupt|Traceback", err), err
    wait_until("the end of the Python processes", lambda: all(map(has_ended, workers)))


need_gymnasium()
run_all()
