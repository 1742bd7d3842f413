#!/usr/bin/env python3
"""The learning bars' own tests: what is said about the returns, and that nothing finished is done again."""
import itertools, json, os, signal, statistics, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "python")]
sys.dont_write_bytecode = True
from bar_list import BARS
from results_page import verdict
from seed_run import settings_of
from statistics_of_seeds import bootstrap_interval, iqm, percentile
from tap import run_all, test

STUB = os.path.join(HERE, "stub_skiff.py")
NAME = "pendulum_ppo"  # bar -210, 5 seeds


class Bars:
    """bars.py in a folder of its own, with the stub for a program."""

    def __init__(self, **settings):
        self.scratch = tempfile.TemporaryDirectory(prefix="skiff-bars-")
        self.folder = self.scratch.name
        self.config(**settings)

    def config(self, name=NAME, **settings):
        settings = dict(steps=4, pause=0, returns=[-150, -160, -170, -180, -500]) | settings
        with open(os.path.join(self.folder, name + ".yaml"), "w") as file:
            file.writelines(f"{key}: {value}\n" for key, value in settings.items())

    def start(self, *words, only=NAME):
        command = [sys.executable, os.path.join(HERE, "bars.py"), "--skiff", STUB, "--configs", self.folder,
                   "--cache", self.folder, "--page", os.path.join(self.folder, "page.md"), "--only", only, *words]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, *words, only=NAME, code=0):
        process = self.start(*words, only=only)
        out, err = process.communicate()
        assert process.returncode == code, (process.returncode, out, err)
        return out + err

    def calls(self):
        """(config, step it began at, seed, threads, pid) of every training."""
        try:
            with open(os.path.join(self.folder, "calls")) as file:
                words = [line.split() for line in file]
        except FileNotFoundError:
            return []
        return [(w[1], int(w[3]), int(w[4].split("=")[1]), int(w[5].split("=")[1]), int(w[7])) for w in words]

    def page(self):
        with open(os.path.join(self.folder, "page.md")) as file:
            return file.read()

    def await_checkpoint(self, seed=1, least=1):
        folder = os.path.join(self.folder, "bars", f"{NAME}-{seed}", "run", "checkpoints")
        end = time.monotonic() + 60
        while not os.path.isdir(folder) or not any(int(n) >= least for n in os.listdir(folder)):
            assert time.monotonic() < end, "no checkpoint"
            time.sleep(0.01)


def await_end(pid):
    """Of a process that need not be ours; one that nobody has waited for yet has ended too."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return
        except OSError:
            return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} still runs")


def one_step_a_checkpoint(**settings):
    """Long enough to be stopped in the middle: a checkpoint comes every 15,000 steps."""
    return Bars(**dict(steps=45_000, pause=1e-5) | settings)


# ---- statistics ----
@test
def iqm_leaves_the_outer_quarters_out():
    assert iqm([4, 1, 3, 2, 100]) == 3
    assert iqm([8, 7, 6, 5, 4, 3, 2, -1000]) == 4.5
    assert iqm([1, 4]) == 2.5 and iqm([7]) == 7


@test
def percentile_is_linear_between_values():
    assert [percentile([0, 10, 20, 30, 40], p) for p in (0, 2.5, 50, 97.5, 100)] == [0, 1, 20, 39, 40]


@test
def interval_of_two_seeds_is_their_range():
    """A resample of (0, 1) has the mean 0, 0.5, 0.5 or 1, each as often."""
    assert bootstrap_interval([[0, 1]]) == (0, 1)
    assert bootstrap_interval([[0, 1]], level=40) == (0.5, 0.5)


@test
def interval_of_five_seeds_is_that_of_all_resamples():
    values = [float(i * i) for i in range(5)]
    for statistic in (iqm, statistics.fmean):
        every = sorted(statistic(sample) for sample in itertools.product(values, repeat=5))
        found = bootstrap_interval([values], statistic)
        exact = percentile(every, 2.5), percentile(every, 97.5)
        assert all(abs(a - b) < 0.4 for a, b in zip(found, exact)), (found, exact)


@test
def interval_of_a_normal_mean_is_about_two_standard_errors():
    values = [statistics.NormalDist().inv_cdf((i + 0.5) / 100) for i in range(100)]
    low, high = bootstrap_interval([values], statistics.fmean)
    error = statistics.pstdev(values) / 10
    assert abs(low + 1.96 * error) < 0.01 and abs(high - 1.96 * error) < 0.01, (low, high, error)


@test
def interval_draws_within_each_task():
    assert bootstrap_interval([[1, 1, 1], [9, 9, 9]], statistics.fmean) == (5, 5)
    assert bootstrap_interval([[1, 1, 1, 9, 9, 9]], statistics.fmean) != (5, 5)


@test
def interval_is_the_same_every_time():
    task = [1.1, 2.7, 3.2, 5.9, 8.4]
    assert bootstrap_interval([task]) == bootstrap_interval([task])
    assert bootstrap_interval([task], seed=1, resamples=100) != bootstrap_interval([task], resamples=100)


@test
def a_bar_is_met_by_four_of_five_within_its_steps():
    bar = dict(bar=10.0, steps=100, seeds=5, need=4)
    good, low, late = dict(ret=10, steps=100), dict(ret=9.99, steps=100), dict(ret=10, steps=101)
    assert verdict(bar, [good] * 5) == verdict(bar, [good] * 4 + [low]) == "met"
    assert verdict(bar, [good] * 3 + [low] * 2) == verdict(bar, [good] * 3 + [late] * 2) == "not met"
    assert verdict(bar, [good] * 4) == "1 seed missing" and verdict(bar, [low, low]) == "not met"
    assert verdict(bar | dict(seeds=2, need=2), [good, low]) == "not met"
    assert verdict(bar | dict(seeds=2, need=2), [good, good]) == "met"


@test
def only_what_a_result_depends_on_names_it():
    text = ("seed: 1\nlr: 3\nlearners:\n  num_cpus_per_learner: 0\nevaluation:\n  seed: 5\ncheckpoint:\n  keep: 3\n"
            "stop: 9\n# derived: x\n")
    assert settings_of(text) == "lr: 3\nevaluation:\n  seed: 5\nstop: 9\n"


@test
def every_bar_has_a_name_of_its_own_and_can_be_met():
    assert len({bar["name"] for bar in BARS}) == len(BARS)
    assert all(0 < bar["need"] <= bar["seeds"] and bar["published"] for bar in BARS)


# ---- what is kept ----
@test
def finished_seeds_are_not_run_again():
    bars = Bars()
    said = bars.run("--seeds", "2", code=1)
    assert f"{NAME}: 3 seeds missing" in said, said
    assert f"{NAME}: met" in bars.run("--write")
    assert [seed for _, _, seed, _, _ in bars.calls()] == [1, 2, 3, 4, 5]
    bars.run()
    assert len(bars.calls()) == 5 and os.listdir(os.path.join(bars.folder, "bars")) == [".lock"]
    assert f"| `configs/{NAME}.yaml` | -210 within 300,000 | 4 of 5 | -170 [" in bars.page(), bars.page()


@test
def another_config_is_run_anew_and_a_goal_not_met_is_a_result():
    bars = Bars()
    bars.run("--seeds", "1", code=1)
    bars.config(lr=2, code=3, returns=[-999] * 5)
    assert f"{NAME}: not met" in bars.run("--write", code=1)
    assert [seed for _, _, seed, _, _ in bars.calls()] == [1, 1, 2, 3, 4, 5]
    assert "| 0 of 5 |" in bars.page() and "| **not met** |" in bars.page()


@test
def a_stopped_seed_goes_on_from_its_checkpoint():
    for number in (signal.SIGTERM, signal.SIGINT):
        bars = one_step_a_checkpoint()
        process = bars.start("--seeds", "1")
        bars.await_checkpoint()
        process.send_signal(number)
        assert process.wait(60) == 130, process.communicate()
        process.communicate()
        await_end(bars.calls()[0][-1])
        bars.run("--seeds", "1", code=1)
        (_, first, *_), (_, second, *_) = bars.calls()
        assert first == 0 and 15_000 <= second <= 45_000, bars.calls()


@test
def a_killed_seed_goes_on_from_its_checkpoint():
    """kill -9: of the trainer, which is told and stops no other; of bars.py, which takes its trainer with it."""
    bars = one_step_a_checkpoint(pause=4e-5)
    process = bars.start("--seeds", "2")
    bars.await_checkpoint()
    os.kill(bars.calls()[0][-1], signal.SIGKILL)
    bars.await_checkpoint(seed=2)
    process.kill()
    out, err = process.communicate()
    assert "seed 1: train: exit status -9" in err, err
    await_end(bars.calls()[1][-1])
    bars.run("--seeds", "2", code=1)
    assert [seed for _, _, seed, _, _ in bars.calls()] == [1, 2, 1, 2]
    assert all(begun >= 15_000 for _, begun, *_ in bars.calls()[2:]), bars.calls()


@test
def a_seed_of_another_config_does_not_go_on():
    bars = one_step_a_checkpoint()
    process = bars.start("--seeds", "1")
    bars.await_checkpoint()
    process.terminate()
    process.communicate()
    bars.config(steps=3)
    bars.run("--seeds", "1", code=1)
    assert [begun for _, begun, *_ in bars.calls()] == [0, 0]


@test
def a_trained_seed_is_only_evaluated():
    """Stopped between training and evaluation."""
    bars = Bars()
    bars.run("--seeds", "1", code=1)
    bars.run("--seeds", "1", code=1)
    cache = os.path.join(bars.folder, "bars.json")
    key = next(iter(json.load(open(cache)).values()))["key"]
    os.remove(cache)
    run = os.path.join(bars.folder, "bars", f"{NAME}-1", "run")
    os.makedirs(run)
    with open(os.path.join(run, "..", "begun.json"), "w") as file:
        json.dump(dict(key=key, commits=["stub0"]), file)
    with open(os.path.join(run, "result.json"), "w") as file:
        json.dump(dict(stop_kind="budget", num_env_steps_sampled_lifetime=4, time_total_s=1.0, device="stub", seed=1,
                       returns=[-111]), file)
    assert "seed 1: return -111 after 4 steps" in bars.run("--seeds", "1", code=1)
    assert len(bars.calls()) == 1


# ---- what is run ----
@test
def seeds_side_by_side_share_the_cores():
    bars = Bars(steps=50, pause=0.01)
    cores = len(os.sched_getaffinity(0))
    bars.run("--jobs", "5")
    bars.run("--seeds", "1")
    assert all(threads == max(1, cores // 5) for _, _, _, threads, _ in bars.calls()), bars.calls()
    kept = json.load(open(os.path.join(bars.folder, "bars.json")))
    assert len(kept) == 5 and all(entry["jobs"] == 5 for entry in kept.values())


@test
def configs_that_are_not_there_are_told_and_skipped():
    bars = Bars()
    bars.config(name="acrobot_ppo", broken="yes")
    said = bars.run("--write", "--seeds", "1", only=f"taxi_ppo,acrobot_ppo,{NAME}", code=1)
    assert "taxi_ppo: skipped: there is no such config yet" in said, said
    assert "acrobot_ppo: skipped: not understood: line 3: broken on purpose" in said, said
    assert {config for config, *_ in bars.calls()} == {NAME + ".yaml"}
    assert "| taxi_ppo | Taxi-v4 | 7 within 2,000,000 | G 8.46 | there is no such config yet |" in bars.page()
    assert "configs/taxi_ppo.yaml" not in bars.page()
    bars.run(only="no_such_bar", code=2)


@test
def no_seed_begins_after_max_s():
    bars = Bars()
    bars.run("--max-s", "0", code=1)
    assert bars.calls() == []


@test
def list_says_what_is_missing_and_how_long_it_takes():
    bars = one_step_a_checkpoint(steps=30_000)
    process = bars.start("--seeds", "1")
    bars.await_checkpoint()
    process.terminate()
    process.communicate()
    said = bars.run("--list")
    assert "0 of 5" in said and "seed 1 at " in said, said
    bars.run("--seeds", "2", code=1)
    said = bars.run("--list")
    assert "2 of 5" in said and "about 2 s missing" in said and "3 seeds missing" in said, said  # 3 x (0.3 + 0.5) s


@test
def check_makes_the_page_without_running_anything():
    bars = Bars()
    bars.run("--write")
    page = bars.page()
    os.remove(os.path.join(bars.folder, "page.md"))
    bars.run("--check", "--skiff", "/nonexistent")
    assert bars.page().replace("not run yet", "there is no such config yet") == page
    assert len(bars.calls()) == 5


@test
def two_at_once_are_refused():
    bars = one_step_a_checkpoint(pause=1e-3)
    process = bars.start("--seeds", "1")
    while not bars.calls():
        time.sleep(0.01)
    assert "another process fills" in bars.run("--seeds", "1", code=2)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    await_end(bars.calls()[0][-1])


@test
def skiff_itself_does_what_is_asked():
    with tempfile.TemporaryDirectory(prefix="skiff-bars-") as folder:
        done = subprocess.run([sys.executable, os.path.join(HERE, "bars.py"), "--cache", folder, "--page",
                               f"{folder}/page.md", "--only", "frozen_lake_ppo", "--seeds", "1", "--write"],
                              capture_output=True, text=True)
        assert done.returncode == 1 and "frozen_lake_ppo: 4 seeds missing" in done.stdout, done
        assert "| `configs/frozen_lake_ppo.yaml` | 0.7 within 500,000 | 1 of 1 |" in open(f"{folder}/page.md").read()


run_all()
