"""A Slurm of its own for tests: munged, slurmctld and three slurmd (n1, n2, n3) on this one host, in a temporary
folder, on free ports, without accounting. It touches no other Slurm and no other munge, and takes all it started with
it.

    with slurm_rig.Rig() as rig:
        job = rig.output("sbatch", "--parsable", ...)

Every process that comes of it has SKIFF_SLURM_RIG=<folder> in its environment; that is how they are found in the end,
also those that Slurm has lost sight of (a slurmstepd outlives a killed slurmd).
"""
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

NODES = ("n1", "n2", "n3")
MARK = "SKIFF_SLURM_RIG"
DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "sinfo", "squeue", "scancel")

# SlurmdTimeout is how soon a dead slurmd's node is down. cred_expire is how long a requeued job waits before it starts
# again (Slurm's default is 120 s). config_overrides lets three nodes of eight CPUs each be on any machine.
CONF = """
ClusterName=skiff
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={dir}/munge/socket,cred_expire=5
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
PriorityType=priority/basic
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SlurmdParameters=config_overrides
SlurmctldTimeout=5
SlurmdTimeout={slurmd_timeout}
MessageTimeout=5
KillWait=5
UnkillableStepTimeout=10
InactiveLimit=0
WaitTime=0
MinJobAge=600
MaxJobCount=200
StateSaveLocation={dir}/state
SlurmctldPidFile={dir}/slurmctld.pid
SlurmctldLogFile={dir}/slurmctld.log
SlurmdPidFile={dir}/slurmd-%n.pid
SlurmdLogFile={dir}/slurmd-%n.log
SlurmdSpoolDir={dir}/spool-%n
"""


def missing():
    """Why there can be no rig here; None: there can."""
    if os.geteuid() != 0:
        return "Slurm's daemons are started as root only"
    for name in DAEMONS:
        if not shutil.which(name, path=search_path()):
            return "there is no %s (Debian: slurmctld slurmd slurm-client munge)" % name
    return None


def search_path():
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def free_ports(n):
    sockets = [socket.socket() for _ in range(n)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def processes_with(entry):
    """Pids of the processes that have NAME=VALUE in their environment; zombies have none."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open("/proc/%s/environ" % name, "rb") as file:
                if entry.encode() in file.read().split(b"\0"):
                    found.append(int(name))
        except OSError:
            pass
    return found


def read_command(pid):
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def parent_of(pid):
    try:
        with open("/proc/%d/stat" % pid) as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0


class Rig:
    def __init__(self, slurmd_timeout_s=8):
        self.slurmd_timeout_s = slurmd_timeout_s
        self.daemons = {}  # name -> Popen
        self.dir = None

    # ---- life ----
    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="skiff-slurm-")
        os.chmod(self.dir, 0o755)  # munge refuses folders that others may write to
        try:
            self.write_files()
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def write_files(self):
        ports = free_ports(1 + len(NODES))
        host = socket.gethostname()
        os.makedirs(os.path.join(self.dir, "munge"), mode=0o755)
        os.makedirs(os.path.join(self.dir, "state"), mode=0o700)
        with open(os.path.join(self.dir, "munge", "key"), "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(os.urandom(128))
        text = CONF.format(host=host, dir=self.dir, ctld_port=ports[0], slurmd_timeout=self.slurmd_timeout_s)
        for node, port in zip(NODES, ports[1:]):
            text += "NodeName=%s NodeHostname=%s NodeAddr=127.0.0.1 Port=%d CPUs=8 RealMemory=1000 State=UNKNOWN\n" % (
                node, host, port)
        text += "PartitionName=test Nodes=%s Default=YES MaxTime=60 State=UP\n" % ",".join(NODES)
        with open(self.conf(), "w") as file:
            file.write(text)
        with open(os.path.join(self.dir, "cgroup.conf"), "w") as file:
            file.write("CgroupPlugin=cgroup/v1\nConstrainCores=no\n")
        self.env = dict(os.environ, SLURM_CONF=self.conf(), PATH=search_path())
        self.env[MARK] = self.dir

    def conf(self):
        return os.path.join(self.dir, "slurm.conf")

    def spawn(self, name, *command):
        log = open(os.path.join(self.dir, name + ".out"), "ab")
        self.daemons[name] = subprocess.Popen(command, env=self.env, cwd=self.dir, stdin=subprocess.DEVNULL, stdout=log,
                                              stderr=log, start_new_session=True)
        log.close()

    def start(self):
        munge = os.path.join(self.dir, "munge")
        self.spawn("munged", "munged", "--foreground", "--force", "--socket=%s/socket" % munge,
                   "--key-file=%s/key" % munge, "--pid-file=%s/pid" % munge, "--log-file=%s/log" % munge,
                   "--seed-file=%s/seed" % munge, "--num-threads=1")
        self.wait(lambda: os.path.exists(munge + "/socket"), 20, "munged")
        self.spawn("slurmctld", "slurmctld", "-D", "-c", "-f", self.conf())
        for node in NODES:
            self.start_slurmd(node)
        self.wait(lambda: self.states() == dict.fromkeys(NODES, "idle"), 60, "three idle nodes")

    def start_slurmd(self, node):
        self.spawn(node, "slurmd", "-D", "-N", node, "-f", self.conf())

    def __exit__(self, *exc):
        for job in self.jobs() if "slurmctld" in self.daemons else []:
            self.run("scancel", "--signal=KILL", "--full", job)
        for _ in range(100):  # what is forked while we look is found by the next look
            pids = self.processes()
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            for daemon in self.daemons.values():
                daemon.poll()
            if not pids:
                break
            time.sleep(0.05)
        shutil.rmtree(self.dir, ignore_errors=True)

    # ---- what tests do with it ----
    def run(self, *command, timeout=30, **more):
        """CompletedProcess with the output as text."""
        return subprocess.run(command, env=more.pop("env", self.env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=timeout, universal_newlines=True, **more)

    def output(self, *command):
        done = self.run(*command)
        if done.returncode != 0:
            raise RuntimeError("%s: %s" % (" ".join(command), done.stderr))
        return done.stdout.strip()

    def wait(self, is_done, timeout_s, what):
        """Seconds until is_done() is true. `what` is a text, or makes one when it is wanted."""
        start = time.monotonic()
        while not is_done():
            for name, daemon in self.daemons.items():
                if daemon.poll() is not None and name in ("munged", "slurmctld"):
                    raise RuntimeError("%s ended with %s:\n%s" % (name, daemon.returncode, self.log_of(name)))
            if time.monotonic() > start + timeout_s:
                raise RuntimeError("no %s within %g s" % (what() if callable(what) else what, timeout_s))
            time.sleep(0.05)
        return time.monotonic() - start

    def log_of(self, name):
        text = ""
        for file_name in (name + ".out", name + ".log", "slurmd-%s.log" % name, "munge/log"):
            path = os.path.join(self.dir, file_name)
            if os.path.exists(path):
                with open(path, errors="replace") as file:
                    text += "".join(file.readlines()[-20:])
        return text

    def states(self):
        """{"n1": "idle", ...}, with Slurm's flags."""
        done = self.run("sinfo", "-h", "-N", "-o", "%N %T")
        return dict(line.split() for line in done.stdout.splitlines())

    def jobs(self):
        return self.run("squeue", "-h", "-o", "%A").stdout.split()

    def job(self, job):
        """What scontrol says about a job, as a dictionary."""
        fields = self.run("scontrol", "-o", "show", "job", str(job)).stdout.split()
        return dict(field.split("=", 1) for field in fields if "=" in field)

    def processes(self):
        return processes_with("%s=%s" % (MARK, self.dir))

    def on_node(self, node):
        """Pids of all that Slurm runs on a node: what has its name, and the slurmstepds above that."""
        tasks = set(processes_with("SLURMD_NODENAME=" + node)) & set(self.processes())
        parents = {parent_of(pid) for pid in tasks}
        return sorted(tasks | {pid for pid in parents if read_command(pid).startswith("slurmstepd")})

    def stop_slurmd(self, node, how=signal.SIGKILL):
        daemon = self.daemons.pop(node)
        daemon.send_signal(how)
        daemon.wait()
