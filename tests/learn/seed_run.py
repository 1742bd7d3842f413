"""One seed of one bar on its way: it trains in a folder of its own, goes on there if it was stopped, is evaluated."""
import ctypes, datetime, fcntl, hashlib, json, os, re, shutil, signal, subprocess

EPISODES, FIRST_SEED = 100, 1000000  # of the evaluation; no training or evaluation inside of a run uses these seeds
CHECKPOINTS = 20                     # so many by run: a kill loses a twentieth of it at most
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)
# Lines and sections of a config that a result does not depend on, by the program's promise; all else makes another one.
FREE_LINES, FREE_SECTIONS = ("seed:", "  num_cpus_per_learner:"), ("checkpoint:", "logging:", "learners:")


class Trouble(Exception):
    """A seed, or all of a config's, cannot be had; says why."""


def settings_of(text):
    """The lines of a config that matter to the result, without comments."""
    kept, inside = [], False
    for line in text.splitlines():
        line = re.sub(r"(^|\s)#.*", "", line).rstrip()
        if not line:
            continue
        if not line.startswith(" "):
            inside = line.startswith(FREE_SECTIONS)
        if not inside and not line.startswith(FREE_LINES):
            kept.append(line)
    return "\n".join(kept) + "\n"


def resolve(program, config):
    """What names a result beside its seed: the hash of what the config file says, whatever the commit, so that a key that
    is new to the program does not make hours of results worthless; a default that changes does not either, so change one
    and the results that rest on it together. Trouble: none."""
    if not os.path.exists(config):
        raise Trouble("there is no such config yet")
    done = subprocess.run([program, "config", config], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise Trouble(f"not understood: {(done.stderr.strip() or 'exit status %d' % done.returncode).splitlines()[-1]}")
    with open(config) as file:
        return hashlib.sha256(settings_of(file.read()).encode()).hexdigest()


def version(program):
    done = subprocess.run([program, "version", "--json"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise Trouble(f"{program} version: exit status {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout)


def read_json(path, otherwise=None):
    try:
        with open(path) as file:
            return json.load(file)
    except FileNotFoundError:
        return otherwise


def write_json(path, value):
    """Whole or not at all."""
    with open(path + ".new", "w") as file:
        json.dump(value, file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)


def checkpoints(folder):
    """Env steps of a folder's checkpoints, the newest last."""
    try:
        return sorted(int(name) for name in os.listdir(os.path.join(folder, "run", "checkpoints")) if name.isdigit())
    except FileNotFoundError:
        return []


def ends_with_parent(parent):
    """In the child: if this program is killed, the run stops with a checkpoint, as it does with Ctrl-C."""
    def prepare():
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)
    return prepare


class SeedRun:
    """start(), then poll() until it is True; `result` or `trouble` says what came of it (neither: it was stopped)."""

    def __init__(self, place, bar, seed, key, threads, jobs):
        self.program, self.config = place.program, place.config_of(bar)
        self.folder = os.path.join(place.runs, f"{bar['name']}-{seed}")
        self.bar, self.seed, self.key, self.commit = bar, seed, key, place.commit
        self.threads, self.jobs = threads, jobs
        self.result, self.trouble, self.child, self.stopping = None, None, None, False

    def __str__(self):
        return f"{self.bar['name']} seed {self.seed}"

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def spawn(self, *words):
        with open(self.path("out"), "w") as out, open(self.path("err"), "w") as err:
            self.child = subprocess.Popen([self.program, *words], stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                          start_new_session=True, preexec_fn=ends_with_parent(os.getpid()))

    def trained(self):
        """result.json of a run that came to its end."""
        result = read_json(self.path("run", "result.json"))
        return result if result and result["stop_kind"] != "interrupted" else None

    def start(self):
        begun = read_json(self.path("begun.json"), {})
        if begun.get("key") != self.key or not (self.trained() or checkpoints(self.folder)):
            shutil.rmtree(self.folder, ignore_errors=True)
            os.makedirs(self.folder)
            begun = dict(key=self.key, commits=[])
        if self.trained():
            return self.evaluate()
        begun["commits"].append(self.commit)
        write_json(self.path("begun.json"), begun)
        resume = ["--resume"] if checkpoints(self.folder) else []
        self.spawn("train", self.config, f"seed={self.seed}", f"learners.num_cpus_per_learner={self.threads}",
                   f"checkpoint.interval_steps={max(1, self.bar['steps'] // CHECKPOINTS)}", "checkpoint.keep=1",
                   "--run-dir", self.path("run"), *resume)
        self.phase = "train"

    def evaluate(self):
        newest = checkpoints(self.folder)  # the policy at the end, not the best of those looked at on the way
        what = self.path("run", "checkpoints", str(newest[-1])) if newest else self.path("run")
        self.spawn("eval", what, "--episodes", str(EPISODES), "--seed", str(FIRST_SEED), "--json")
        self.phase = "eval"

    def poll(self):
        code = self.child.poll()
        if code is None:
            return False
        self.child = None
        if self.phase == "train" and code in (0, 3) and self.trained():  # 3: a goal was not met: a result too
            if self.stopping:
                return True
            self.evaluate()
            return False
        if self.phase == "eval" and code == 0:
            self.finish()
        elif not self.stopping:
            with open(self.path("err")) as err:
                said = err.read().strip()[-2000:]
            self.trouble = f"{self.phase}: exit status {code}; {self.folder} is kept, remove it to begin anew\n{said}"
        return True

    def finish(self):
        trained, evaluated = self.trained(), read_json(self.path("out"))
        commits = read_json(self.path("begun.json"))["commits"]
        self.result = dict(
            name=self.bar["name"], seed=self.seed, key=self.key, ret=evaluated["episode_return_mean"],
            std=evaluated["episode_return_std"], steps=trained["num_env_steps_sampled_lifetime"],
            wall_s=trained["time_total_s"], device=trained["device"], date=str(datetime.date.today()), commits=commits,
            threads=self.threads, jobs=self.jobs)

    def forget_folder(self):
        shutil.rmtree(self.folder)

    def stop(self, number):
        """SIGTERM: it ends with a checkpoint; SIGKILL: at once. poll() sees the end."""
        self.stopping = True
        if self.child and self.child.poll() is None:
            self.child.send_signal(number)  # not to its workers, which end with it


class Place:
    """Where things are: the program, its configs, and the cache, which one process at a time may fill."""

    def __init__(self, program, configs, cache):
        self.program, self.configs, self.file = program, configs, os.path.join(cache, "bars.json")
        self.runs, self.commit = os.path.join(cache, "bars"), None
        os.makedirs(self.runs, exist_ok=True)
        kept = read_json(self.file, {})
        self.kept = {k: v for k, v in kept.items() if "key" in v}  # not those of an earlier form

    def config_of(self, bar):
        return os.path.join(self.configs, bar["name"] + ".yaml")

    def lock(self):
        self.locked = open(os.path.join(self.runs, ".lock"), "w")
        try:
            fcntl.flock(self.locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Trouble(f"another process fills {self.runs}") from None

    def get(self, bar, seed, key):
        return self.kept.get(f"{bar['name']} {seed} {key[:16]}")

    def put(self, run):
        self.kept[f"{run.bar['name']} {run.seed} {run.key[:16]}"] = run.result
        write_json(self.file, self.kept)
        run.forget_folder()
