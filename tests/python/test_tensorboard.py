#!/usr/bin/env python3
"""TensorBoard's own reader opens the events of a run folder and finds what metrics.jsonl says."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

from tap import ROOT, VENV_PYTHON, need_gymnasium, run_all, skip, test

SKIFF = os.environ["SKIFF_BIN"]
READER = """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0})
events.Reload()
json.dump({"version": events.file_version,
           "scalars": {tag: [[e.step, e.value] for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}},
          sys.stdout)
"""


def train(*words):
    subprocess.run([SKIFF, "train", *words], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.PIPE)


def read(folder):
    done = subprocess.run([VENV_PYTHON, "-c", READER, folder], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if "No module named 'tensorboard'" in done.stderr:
        skip("there is no TensorBoard in " + os.path.dirname(os.path.dirname(VENV_PYTHON)))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def compare(folder):
    """Every number of metrics.jsonl is a point, at its env steps, rounded to float; and there are no others."""
    wanted = {}
    for line in open(os.path.join(folder, "metrics.jsonl")):
        report = json.loads(line)
        for name, value in report.items():
            wanted.setdefault(name, []).append([report["num_env_steps_sampled_lifetime"], value])
    found = read(folder)
    assert found["version"] == 2.0, found["version"]
    assert set(found["scalars"]) == set(wanted), set(found["scalars"]) ^ set(wanted)
    for name, points in wanted.items():
        seen = found["scalars"][name]
        assert [step for step, _ in seen] == [step for step, _ in points], (name, seen)
        for (_, a), (_, b) in zip(seen, points):
            assert abs(a - b) <= 1e-6 * abs(b), (name, a, b)
    return wanted


CONFIG = os.path.join(ROOT, "configs", "cartpole_ppo.yaml")


@test
def tensorboard_reads_what_metrics_jsonl_says():
    wanted = compare_run(["stop={training_iteration: 20}"])
    assert len(wanted["learner/policy_loss"]) == 20
    assert "evaluation/episode_return_mean" in wanted


@test
def a_resumed_run_is_one_curve():
    """Reports after the checkpoint that the run goes on from count no more."""
    with tempfile.TemporaryDirectory() as scratch:
        run = os.path.join(scratch, "run")
        train(CONFIG, "stop={training_iteration: 10}", "--run-dir", run)
        kept = os.path.join(scratch, "checkpoints")
        shutil.copytree(os.path.join(run, "checkpoints"), kept)
        train("--run-dir", run, "--resume", "stop={training_iteration: 15}")
        shutil.rmtree(os.path.join(run, "checkpoints"))
        shutil.copytree(kept, os.path.join(run, "checkpoints"))
        train("--run-dir", run, "--resume", "stop={training_iteration: 12}")
        assert sum(name.startswith("events.out.tfevents.") for name in os.listdir(run)) == 3
        assert len(compare(run)["learner/policy_loss"]) == 12


@test
def it_can_be_turned_off():
    with tempfile.TemporaryDirectory() as scratch:
        run = os.path.join(scratch, "run")
        train(CONFIG, "stop={training_iteration: 2}", "logging.tensorboard=false", "--run-dir", run)
        assert not [name for name in os.listdir(run) if name.startswith("events")]


def compare_run(words):
    with tempfile.TemporaryDirectory() as scratch:
        run = os.path.join(scratch, "run")
        train(CONFIG, *words, "--run-dir", run)
        return compare(run)


need_gymnasium()
run_all()
