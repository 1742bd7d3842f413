#!/usr/bin/env python3
"""skiff cluster slurm with real Slurm daemons: CartPole over three nodes while a node, a slurmd, the head and the
head's host are killed. Says what it finds in TAP; lines of numbers begin with '#'."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import slurm_rig  # noqa: E402

SKIFF = os.path.abspath(os.environ.get("SKIFF_BIN", "build/skiff"))
PATIENCE_S = 90
RUN = """algorithm: ppo
env: CartPole-v1
seed: 7
model: {fcnet_hiddens: [32, 32]}
env_runners: {num_env_runners: 3, num_envs_per_env_runner: 4, rollout_fragment_length: 64}
training: {num_epochs: 4, minibatch_size: 256, lr: [[0, 0.001], [2500000, 0]]}
checkpoint: {interval_steps: 50000, keep: 2}
evaluation: {interval_steps: 2500000, num_episodes: 20}
stop: {num_env_steps_sampled_lifetime: 5000000, evaluation/episode_return_mean: 475}
"""
ENDLESS = "stop={num_env_steps_sampled_lifetime: 1000000000000}"


class Tap:
    def __init__(self):
        self.n = self.n_failed = 0

    def check(self, name, good, why=""):
        self.n += 1
        self.n_failed += not good
        print("%s %d - %s" % ("ok" if good else "not ok", self.n, name), flush=True)
        if not good:
            self.note(why)
        return good

    def note(self, text):
        for line in str(text).splitlines():
            print("# " + line, flush=True)


class Job:
    """A run that `skiff cluster slurm` was asked for; `follower` is that command, still at it."""

    def __init__(self, test, name, *options, overrides=(), nodes="3"):
        self.rig = test.rig
        self.dir = os.path.join(test.work, name)
        self.err = self.dir + ".err"
        with open(self.err, "wb") as file:
            self.follower = subprocess.Popen(
                (SKIFF, "cluster", "slurm", "--nodes", nodes) + options +
                ("--", "train", test.config) + tuple(overrides) + ("--run-dir", self.dir),
                env=test.env, stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=test.work)
        self.rig.wait(lambda: self.said(r"cluster: job (\d+);") or self.follower.poll() is not None, 30, "job number")
        self.id = self.said(r"cluster: job (\d+);").group(1)

    def text(self):
        with open(self.err, errors="replace") as file:
            return file.read()

    def said(self, pattern):
        return re.search(pattern, self.text())

    def log(self):
        """What the run itself said, through all its starts."""
        path = os.path.join(self.dir, "slurm.log")
        return open(path, errors="replace").read() if os.path.exists(path) else ""

    def logged(self, pattern):
        return re.search(pattern, self.log())

    def n_reports(self):
        path = os.path.join(self.dir, "metrics.jsonl")
        return open(path, "rb").read().count(b"\n") if os.path.exists(path) else 0

    def steps(self):
        """Env steps of the last report."""
        path = os.path.join(self.dir, "metrics.jsonl")
        lines = open(path, "rb").read().splitlines(True) if os.path.exists(path) else []
        whole = [line for line in lines if line.endswith(b"\n")]
        return json.loads(whole[-1])["num_env_steps_sampled_lifetime"] if whole else 0

    def wait(self, is_done, what):
        return self.rig.wait(is_done, PATIENCE_S, lambda: "%s; the run says: %s; it" % (what, self.log()[-4000:]))

    def wait_reports(self, more):
        wanted = self.n_reports() + more
        return self.wait(lambda: self.n_reports() >= wanted or self.result_is_there(), "reports")

    def wait_logged(self, pattern, what):
        return self.wait(lambda: self.logged(pattern), what)

    def result_is_there(self):
        return os.path.exists(os.path.join(self.dir, "result.json"))

    def result(self):
        with open(os.path.join(self.dir, "result.json")) as file:
            return json.load(file)

    def trains(self):
        """Pids of the head."""
        return [pid for pid in self.rig.processes() if self.dir in words_of(pid) and words_of(pid)[1:2] == ["train"]]


def words_of(pid):
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            return file.read().decode(errors="replace").split("\0")
    except OSError:
        return []


def kill(pids, how=signal.SIGKILL):
    for pid in pids:
        try:
            os.kill(pid, how)
        except ProcessLookupError:
            pass


class Test:
    def __init__(self, rig, tap):
        self.rig, self.tap = rig, tap
        self.work = os.path.join(rig.dir, "work")
        self.tmp = os.path.join(rig.dir, "tmp")
        self.config = os.path.join(self.work, "cartpole.yaml")
        os.makedirs(self.work)
        os.makedirs(self.tmp)
        with open(self.config, "w") as file:
            file.write(RUN)
        self.env = dict(rig.env, TMPDIR=self.tmp, XDG_CONFIG_HOME=os.path.join(rig.dir, "config"))
        self.env.pop("SKIFF_CLUSTER_KEY", None)
        self.daemons = set()

    # ---- helpers ----
    def left(self):
        """What is still there of jobs."""
        daemons = {daemon.pid for daemon in self.rig.daemons.values()}
        return ["%d %s" % (pid, slurm_rig.read_command(pid)) for pid in self.rig.processes()
                if pid not in daemons and slurm_rig.parent_of(pid) not in daemons]

    def check_nothing_left(self, after):
        try:
            self.rig.wait(lambda: not self.left(), 30, "end")
        except RuntimeError:
            pass
        self.tap.check("nothing is left behind after " + after, not self.left() and not os.listdir(self.tmp),
                       "\n".join(self.left() + os.listdir(self.tmp)))

    def check_same(self, job, name):
        same = job.follower.returncode == 0 and job.result()["params_sha256"] == self.reference["params_sha256"]
        self.tap.check(name, same, job.text()[-6000:])

    def lose_host(self, node):
        """As when its power goes: slurmd, its slurmstepds and all that they run, at once: none may do anything about
        the death of another."""
        self.rig.stop_slurmd(node)
        pids = set()
        while not pids >= set(self.rig.on_node(node)):
            pids |= set(self.rig.on_node(node))
            kill(pids, signal.SIGSTOP)

        def depth(pid):
            parent = slurm_rig.parent_of(pid)
            return 1 + depth(parent) if parent in pids else 0
        kill(sorted(pids, key=depth, reverse=True))  # a stopped process that loses its parent is woken by the kernel

    def slurm(self, *words, env=None):
        return self.rig.run(SKIFF, "cluster", "slurm", *words, env=env or self.env, cwd=self.work)

    def srun_node(self, job, name, *more, env=None):
        """skiff node as a further one on n1: what it says, and its exit status."""
        endpoint = job.logged(r"the head listens at (\S+);").group(1)
        return self.rig.run("srun", "--jobid", job.id, "--overlap", "-N1", "-n1", "-w", "n1", "--mem=0", "--quiet",
                            SKIFF, "node", "--join", endpoint, "--name", name, "--wait", "3", *more,
                            env=env or self.env, timeout=60)

    # ---- tests ----
    def local(self):
        folder = os.path.join(self.work, "local")
        done = self.rig.run(SKIFF, "train", self.config, "env_runners.placement=process", "--run-dir", folder,
                            env=self.env, timeout=PATIENCE_S)
        with open(os.path.join(folder, "result.json")) as file:
            self.reference = json.load(file)
        self.tap.check("the run reaches its goal on this host alone", done.returncode == 0, done.stderr[-2000:])

    def wrong(self):
        """What is refused before anything is queued, or said in words."""
        done = self.slurm("--", "train", self.config, "training.no_such_key=1")
        self.tap.check("a wrong config is refused before anything is queued",
                       done.returncode == 2 and "no_such_key" in done.stderr and not os.path.exists(self.work + "/runs")
                       and not self.rig.jobs(), done.stderr)
        done = self.slurm("--partition", "nowhere", "--", "train", self.config)
        self.tap.check("what sbatch refuses leaves no run folder",
                       done.returncode == 1 and "nvalid partition" in done.stderr
                       and not os.listdir(self.work + "/runs"), done.stderr)
        key = os.path.join(self.env["XDG_CONFIG_HOME"], "skiff", "cluster.key")
        self.tap.check("the key is made on first use, for its owner alone",
                       os.path.exists(key) and os.stat(key).st_mode & 0o777 == 0o600)

    def start_expiring(self):
        """A job that nobody follows any more, whose time will soon be over."""
        job = Job(self, "expiring", "--sbatch=--nodelist=n1,n2", overrides=[ENDLESS], nodes="2")
        job.wait_reports(1)
        job.follower.send_signal(signal.SIGINT)
        job.follower.wait(PATIENCE_S)
        words = "skiff cluster slurm --follow %s; to end it: scancel %s" % (job.id, job.id)
        self.tap.check("Ctrl-C ends the following and not the job, and says how to go on",
                       job.follower.returncode == 130 and words in job.text(), job.text())
        end = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + 61))
        self.rig.output("scontrol", "update", "JobId=" + job.id, "EndTime=" + end)
        return job

    def nodes_lost(self):
        """One job loses a node's process and then a whole host; strangers knock meanwhile."""
        job = Job(self, "lost")
        job.wait_reports(3)
        self.check_strangers(job)

        node = [pid for pid in self.rig.on_node("n2") if words_of(pid)[1:2] == ["node"] and self.of(pid, job)]
        before = len(re.findall(r"host n2(-\d+)? has joined", job.log()))
        start = time.monotonic()
        kill(node)
        job.wait(lambda: len(re.findall(r"host n2(-\d+)? has joined", job.log())) > before, "node on n2 again")
        joined_s = time.monotonic() - start
        job.wait_reports(3)  # the first may have been under way
        self.tap.note("kill -9 of skiff node: it has joined again after %.1f s, training goes on after %.1f s" % (
            joined_s, time.monotonic() - start))
        self.tap.check("a node that is killed is started again", node and joined_s < 20)

        start = time.monotonic()
        self.lose_host("n3")
        job.wait_logged(r"host n3 was lost", "word of n3")
        noticed_s = time.monotonic() - start
        job.wait_reports(3)
        again_s = time.monotonic() - start
        self.tap.note("kill -9 of slurmd with all it runs: noticed after %.1f s, training goes on after %.1f s" % (
            noticed_s, again_s))
        self.tap.check("a lost host is noticed and its work goes on elsewhere", noticed_s < 10 and again_s < 20)
        job.follower.wait(PATIENCE_S)
        self.check_same(job, "CartPole reaches its goal over three nodes while one is killed and one is lost, with the "
                             "parameters of an undisturbed run")
        self.rig.start_slurmd("n3")
        return job

    def of(self, pid, job):
        try:
            with open("/proc/%d/environ" % pid, "rb") as file:
                return ("SLURM_JOB_ID=" + job.id).encode() in file.read().split(b"\0")
        except OSError:
            return False

    def check_strangers(self, job):
        other = os.path.join(self.work, "other.key")
        self.rig.run(SKIFF, "cluster", "key", "--key", other, env=self.env)
        with open(other) as file:
            env = dict(self.env, SKIFF_CLUSTER_KEY=file.read().strip())
        done = self.srun_node(job, "stranger", env=env)
        self.tap.check("a node with a wrong key is refused, and the head says so",
                       done.returncode != 0 and "stranger has joined" not in job.log()
                       and job.logged("refused a connection .*it has another key"), done.stderr + job.log()[-3000:])
        done = self.srun_node(job, "other", "--build", "skiff 0.0 of another day")
        self.tap.check("a node of another build is refused, and both builds are named",
                       done.returncode != 0 and "skiff 0.0 of another day" in done.stderr
                       and job.logged("skiff 0.0 of another day, the head skiff")
                       and "other has joined" not in job.log(),
                       done.stderr + job.log()[-3000:])
        before = job.n_reports()
        job.wait_reports(2)
        self.tap.check("the run goes on meanwhile", job.n_reports() > before, job.text())

    def head_lost(self):
        """The head is killed, and in its second start its whole host is."""
        job = Job(self, "head", nodes="2-3")
        job.wait(lambda: job.steps() > 200000, "checkpoint")
        start = time.monotonic()
        kill(job.trains())
        job.wait_logged(r"the head was killed by signal 9", "word of the head")
        noticed_s = time.monotonic() - start
        job.wait_logged(r"start 2, from the last checkpoint", "second start")
        again_s = time.monotonic() - start
        self.tap.note("kill -9 of the head: noticed after %.1f s, started again by Slurm after %.1f s" % (
            noticed_s, again_s))
        self.tap.check("a killed head is started again by Slurm, from the last checkpoint", True)

        steps = job.steps()
        job.wait(lambda: job.steps() > steps or job.result_is_there(), "report after it")
        host = self.rig.job(job.id)["BatchHost"]
        start = time.monotonic()
        self.lose_host(host)
        job.wait(lambda: self.rig.job(job.id)["Restarts"] == "2", "new start asked for")
        noticed_s = time.monotonic() - start
        job.wait_logged(r"start 3, from the last checkpoint", "third start")
        self.tap.note("loss of the head's host: Slurm was asked for a new start after %.1f s (SlurmdTimeout %d s), and "
                      "made it after %.1f s" % (noticed_s, self.rig.slurmd_timeout_s, time.monotonic() - start))
        self.rig.start_slurmd(host)
        job.follower.wait(PATIENCE_S)
        self.check_same(job, "the run goes on when the head's host is lost, and ends with the parameters of an "
                             "undisturbed one")
        return job

    def expired(self, job):
        job.wait_logged(r"the allocation's time is over before the run is done", "end of the allocation")
        job.wait_logged(r"start 2, from the last checkpoint", "second allocation")
        steps = job.steps()
        job.wait(lambda: job.steps() > steps, "report in the second allocation")
        self.tap.check("an allocation whose time is over ends with a checkpoint, and the run goes on in the next", True)
        self.rig.run("scancel", job.id)
        self.rig.wait(lambda: self.rig.job(job.id).get("JobState") == "CANCELLED", 30, "end after scancel")

    def allocated(self):
        """In an allocation of salloc's, which nobody can start anew, and which is taken away."""
        folder = os.path.join(self.work, "allocated")
        err = folder + ".err"
        with open(err, "wb") as file:
            shell = subprocess.Popen(("salloc", "-N2", "-c2", SKIFF, "cluster", "slurm", "--", "train", self.config,
                                      ENDLESS, "--run-dir", folder), env=self.env, stdin=subprocess.DEVNULL,
                                     stdout=file, stderr=file, cwd=self.work)
        self.rig.wait(lambda: os.path.exists(folder + "/metrics.jsonl"), PATIENCE_S, lambda: open(err).read())
        self.rig.wait(lambda: os.path.getsize(folder + "/metrics.jsonl"), PATIENCE_S, lambda: open(err).read())
        start = time.monotonic()
        self.rig.run("scancel", *self.rig.jobs())
        shell.wait(PATIENCE_S)
        with open(err, errors="replace") as file:
            said = file.read()
        self.tap.note("an allocation is taken away: the run has ended after %.1f s" % (time.monotonic() - start))
        self.tap.check("an allocation that is taken away ends the run, in words", shell.returncode == 1
                       and re.search(r"the allocation of job \d+ has expired \(CANCELLED\)", said), said[-3000:])

    def gone(self, job):
        done = self.slurm("--", "train", self.config, env=dict(self.env, SLURM_JOB_ID=job.id))
        words = "allocation of job %s (SLURM_JOB_ID) has expired" % job.id
        self.tap.check("an allocation that has expired is refused in words",
                       done.returncode == 1 and words in done.stderr, done.stderr)

    def run(self):
        self.wrong()
        expiring = self.start_expiring()
        self.local()
        lost = self.nodes_lost()
        self.expired(expiring)  # by now
        self.allocated()
        head = self.head_lost()
        self.check_nothing_left("all jobs")
        self.gone(lost)
        keys = [line for line in (lost.log() + head.log() + expiring.log()).splitlines() if "skiff-cluster-key" in line]
        self.tap.check("the key is in no log", not keys)


def main():
    tap = Tap()
    why = slurm_rig.missing()
    if why or not os.path.exists(SKIFF):
        print("1..0 # skip %s" % (why or "there is no program " + SKIFF))
        return 0
    start = time.monotonic()
    with slurm_rig.Rig() as rig:
        folder = rig.dir
        test = Test(rig, tap)
        try:
            test.run()
        except Exception:  # one that is not met ends the rest
            tap.check("all of it ran", False, traceback.format_exc()[-6000:])
    tap.check("the rig leaves nothing behind", not os.path.exists(folder)
              and not slurm_rig.processes_with("%s=%s" % (slurm_rig.MARK, folder)))
    tap.note("%.0f s" % (time.monotonic() - start))
    print("1..%d" % tap.n)
    return tap.n_failed > 0


if __name__ == "__main__":
    sys.exit(main())
