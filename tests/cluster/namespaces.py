"""Hosts as network namespaces for tests: a head's, and one for each further host, joined by cables that can be made
long, lossy, slow, or cut (namespaces_wire.c). Nothing is made outside of them: the devices lie in the namespaces, whose
addresses nobody else sees. All that was started is ended by its process id, and every namespace removed, whatever
happens.

    with namespaces.Net("tag", ["n1", "n2"]) as net:
        head = net.start("head", [SKIFF, "train", ...])
        node = net.start("n1", [SKIFF, "node", "--join", net.endpoint, ...])
        net.wires["n1"].set(delay_ms=20, loss=0.01)
"""
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

BUILD = os.environ["SKIFF_BUILD_DIR"]
SKIFF = os.environ["SKIFF_BIN"]
WIRE = os.path.join(BUILD, "tests", "cluster", "namespaces_wire")
HEAD_ADDRESS = "10.77.0.1"
PORT = 7711
LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1
open_nets = []


def load():
    """Jobs per core, at least 1."""
    return max(1.0, os.getloadavg()[0] / len(os.sched_getaffinity(0)))


def within(seconds):
    """A limit that is asked for: 1.5 times as long, and half a second (at most 2) more for each job too many per
    core."""
    return seconds * 1.5 + min(0.5 * (load() - 1.0), 2.0)


def ip(*words, may_fail=False):
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode and not may_fail:
        raise RuntimeError("ip %s: %s" % (" ".join(words), done.stderr.strip()))
    return done.stdout


def missing():
    """Why there can be none here; None: there can."""
    if not shutil.which("ip", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
        return "there is no ip (Debian: iproute2)"
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    name = "skiff-%d-probe" % os.getpid()
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if made.returncode:
        return "network namespaces cannot be made here: %s" % made.stderr.strip()
    try:
        wire = subprocess.run([WIRE, name, "a", name, "b"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        return "no tun devices here: %s" % wire.stderr.strip() if wire.returncode else None
    finally:
        ip("netns", "del", name, may_fail=True)


def end_with_us():
    """In a child: it must not outlive this program."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Program:
    """One process in one namespace, and what it says, with the time of each line."""

    def __init__(self, space, words, cwd, env):
        full = dict(os.environ)
        full.pop("SKIFF_CLUSTER_KEY", None)
        full.update(XDG_CONFIG_HOME=os.path.join(cwd, "config"), HOME=cwd, **env)
        self.words = words
        self.lines = []  # (seconds, text)
        self.process = subprocess.Popen(["ip", "netns", "exec", space, *words], stdin=subprocess.DEVNULL, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=cwd, env=full,
                                        errors="replace", preexec_fn=end_with_us)
        self.pid = self.process.pid
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append((time.monotonic(), line.rstrip("\n")))

    def find(self, *words, since=0.0):
        """The first line that has all of them: (seconds, text), or None."""
        for when, text in list(self.lines):
            if when >= since and all(word in text for word in words):
                return when, text
        return None

    def count(self, *words):
        return sum(all(word in text for word in words) for _, text in list(self.lines))

    def said(self):
        return "\n".join(text for _, text in self.lines)

    def wait_line(self, *words, timeout, since=0.0):
        """Wait for such a line."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            found = self.find(*words, since=since)
            if found:
                return found
            if self.process.poll() is not None:
                self.reader.join(5)
                found = self.find(*words, since=since)
                if found:
                    return found
                break
            time.sleep(0.02)
        raise AssertionError("%s did not say %s within %.1f s; it said:\n%s"
                             % (" ".join(self.words[:3]), words, timeout, self.said()))

    def wait(self, timeout):
        """Wait for its end: the exit status."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError("%s has not ended within %.1f s; it said:\n%s"
                                 % (" ".join(self.words[:3]), timeout, self.said())) from None
        self.reader.join(5)
        return status

    def is_alive(self):
        return self.process.poll() is None

    def kill(self):
        if self.is_alive():
            self.process.kill()
        self.process.wait()
        self.reader.join(5)


class Wire:
    """The cable to one host. All numbers are of each direction."""

    def __init__(self, head_space, head_device, space):
        self.now = dict(delay_ms=0.0, loss=0.0, rate=0.0, cut=False)
        self.process = subprocess.Popen([WIRE, head_space, head_device, space, "eth0"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, preexec_fn=end_with_us)
        self._expect("ready")

    def _expect(self, word):
        line = self.process.stdout.readline().strip()
        if line != word:
            raise RuntimeError("namespaces_wire said %r, wanted %r" % (line, word))

    def set(self, **numbers):
        self.now.update(numbers)
        n = self.now
        self.process.stdin.write("%g %g %g %d\n" % (n["delay_ms"], n["loss"], n["rate"], n["cut"]))
        self.process.stdin.flush()
        self._expect("set")

    def end(self):
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


class Net:
    """A head and its hosts. `endpoint` is where the head is to listen."""

    def __init__(self, tag, hosts):
        self.prefix = "skiff-%d-%s" % (os.getpid(), tag)
        self.hosts = list(hosts)
        self.endpoint = "tcp://%s:%d" % (HEAD_ADDRESS, PORT)
        self.spaces, self.wires, self.programs = {}, {}, []
        self.dir = tempfile.mkdtemp(prefix="skiff-namespaces-")
        self.key = os.path.join(self.dir, "cluster.key")

    def __enter__(self):
        open_nets.append(self)
        try:
            self._make_space("head")
            self.ip("head", "addr", "add", HEAD_ADDRESS + "/32", "dev", "lo")
            for number, host in enumerate(self.hosts, 1):
                self._make_host(number, host)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def ip(self, host, *words):
        return ip("-n", self.spaces[host], *words)

    def _make_space(self, host):
        name = "%s-%s" % (self.prefix, host)
        ip("netns", "add", name)
        self.spaces[host] = name
        self.ip(host, "link", "set", "lo", "up")

    def _make_host(self, number, host):
        self._make_space(host)
        device = "to%d" % number
        self.wires[host] = Wire(self.spaces["head"], device, self.spaces[host])
        here, there = "10.77.%d.1" % number, "10.77.%d.2" % number
        self.ip("head", "addr", "add", here, "peer", there, "dev", device)
        self.ip("head", "link", "set", device, "up")
        self.ip(host, "addr", "add", there, "peer", here, "dev", "eth0")
        self.ip(host, "link", "set", "eth0", "up")
        self.ip(host, "route", "add", "default", "via", here, "src", there)

    def start(self, host, words, **env):
        program = Program(self.spaces[host], [str(word) for word in words], self.dir, env)
        self.programs.append(program)
        return program

    def node(self, host, *words, name=None, key=None, **env):
        """`skiff node` on that host, with the key that the head has made."""
        if key is None:
            said = self.programs[0].said if self.programs else str
            wait_for(lambda: os.path.exists(self.key), 60, "the head has a key file", said)
            key = ["--key", self.key]
        return self.start(host, [SKIFF, "node", "--join", self.endpoint, "--name", name or host, *key, *words], **env)

    def pids(self, host):
        """Of all processes on that host."""
        return [int(word) for word in ip("netns", "pids", self.spaces[host], may_fail=True).split()]

    def close(self):
        for program in list(self.programs):
            program.kill()
        for host in list(self.spaces):
            for pid in self.pids(host):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        for wire in list(self.wires.values()):
            wire.end()
        for space in list(self.spaces.values()):
            ip("netns", "del", space, may_fail=True)
        self.spaces = {}
        shutil.rmtree(self.dir, ignore_errors=True)
        if self in open_nets:
            open_nets.remove(self)


def wait_for(is_so, timeout, what, said=str):
    """Wait until is_so(): the seconds it took. `said` tells more where it never is."""
    start = time.monotonic()
    while not is_so():
        if time.monotonic() - start > timeout:
            raise AssertionError("%s: not so within %.1f s; %s" % (what, timeout, said()))
        time.sleep(0.02)
    return time.monotonic() - start


def ended_by_a_signal(number, _frame):
    for net in list(open_nets):
        net.close()
    os._exit(128 + number)


def end_in_good_order():
    """SIGTERM and SIGINT take along all that was made, whichever thread made it."""
    signal.signal(signal.SIGTERM, ended_by_a_signal)
    signal.signal(signal.SIGINT, ended_by_a_signal)
