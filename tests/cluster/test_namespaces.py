#!/usr/bin/env python3
"""Training and tasks over several hosts that are network namespaces: long, lossy, slow and broken ways, wrong keys,
strangers, dead heads. Whatever the network does, the trained bits are those of one host.

Seconds that are asked for (5 to notice a lost host, 10 to go on elsewhere, 10 for what has no head any more to end) are
checked with namespaces.within: 1.5 times as long, and a little longer on a busy machine. What was measured is printed.
All other limits are patience."""
import concurrent.futures
import json
import os
import signal
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "python")]
sys.dont_write_bytecode = True
import namespaces
from namespaces import Net, SKIFF, wait_for, within
from tap import run_all, test

TASKS = os.path.join(namespaces.BUILD, "tests", "cluster", "namespaces_tasks")
PATIENCE = 90  # seconds for what has no limit of its own
FOR_EVER = 10**12

CONFIG = """
algorithm: ppo
env: CartPole-v1
seed: 11
model: {fcnet_hiddens: [32, 32]}
env_runners: {num_env_runners: 2, num_envs_per_env_runner: 4, rollout_fragment_length: 64,
  observation_filter: MeanStdFilter, normalize_rewards: true}
training: {num_epochs: 2, minibatch_size: 128}
evaluation: {num_episodes: 0}
stop: {num_env_steps_sampled_lifetime: 12288}
"""


def tell(text, *values):
    print("# " + text % values, flush=True)


# ---- training ------------------------------------------------------------------------------------------------------
def write_config(net):
    path = os.path.join(net.dir, "run.yaml")
    with open(path, "w") as file:
        file.write(CONFIG)
    return path


def start_training(net, steps=None, run="run", n_hosts=None, **env):
    words = [SKIFF, "train", write_config(net), "env_runners.placement=remote", "cluster.bind=" + net.endpoint,
             "cluster.key_file=" + net.key, "cluster.num_hosts=%d" % (n_hosts or len(net.hosts)), "cluster.wait_s=60",
             "--run-dir", run]
    if steps:
        words.append("stop.num_env_steps_sampled_lifetime=%d" % steps)
    return net.start("head", words, **env)


def result_of(net, run="run"):
    with open(os.path.join(net.dir, run, "result.json")) as file:
        return json.load(file)


def reports(net, run="run"):
    try:
        with open(os.path.join(net.dir, run, "metrics.jsonl")) as file:
            return [json.loads(line) for line in file if line.endswith("\n")]
    except FileNotFoundError:
        return []


def n_steps(net):
    rows = reports(net)
    return rows[-1]["num_env_steps_sampled_lifetime"] if rows else 0


def n_restarts(net):
    rows = reports(net)
    return rows[-1].get("num_env_runner_restarts_lifetime", 0) if rows else 0


def goes_on(net, timeout=PATIENCE):
    """Wait for two more iterations: the seconds it took."""
    before = len(reports(net))
    return wait_for(lambda: len(reports(net)) >= before + 2, timeout, "training goes on")


def local_sha256(net, steps):
    """The parameters after so many steps with runners in threads of one host."""
    words = [SKIFF, "train", write_config(net), "env_runners.placement=thread",
             "stop.num_env_steps_sampled_lifetime=%d" % steps, "--run-dir", "local"]
    done = subprocess.run(words, cwd=net.dir, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return result_of(net, "local")["params_sha256"]


def same_bits(net):
    result = result_of(net)
    steps = result["num_env_steps_sampled_lifetime"]
    local = local_sha256(net, steps)
    assert result["params_sha256"] == local, "other parameters than those of one host after %d steps" % steps


# ---- ways that are long and lossy ----------------------------------------------------------------------------------
def train_over(tag, delay_ms, loss):
    with Net(tag, ["n1", "n2"]) as net:
        for wire in net.wires.values():
            wire.set(delay_ms=delay_ms, loss=loss)
        start = time.monotonic()
        head = start_training(net)
        nodes = [net.node(host, "--cpus", 1) for host in net.hosts]
        assert head.wait(PATIENCE) == 0, head.said()
        seconds = time.monotonic() - start
        for node in nodes:
            assert node.wait(PATIENCE) == 0, node.said()
        assert n_restarts(net) == 0 and not head.find("was lost"), head.said()
        return seconds, result_of(net)["params_sha256"], local_sha256(net, 12288)


@test
def training_over_long_and_lossy_ways_ends_with_the_bits_of_one_host():
    ways = [("d20", 20, 0.0), ("d100", 100, 0.0), ("l1", 2, 0.01), ("l5", 2, 0.05)]
    with concurrent.futures.ThreadPoolExecutor(len(ways)) as pool:
        runs = [(way, pool.submit(train_over, *way)) for way in ways]
        for (_, delay_ms, loss), run in runs:
            seconds, remote, local = run.result()
            tell("delay %g ms each way, loss %g %%: %.1f s", delay_ms, 100 * loss, seconds)
            assert remote == local, (delay_ms, loss)


@test
def a_slow_way_does_not_hold_up_the_others():
    with Net("slow", ["n1", "n2", "n3"]) as net:
        net.wires["n3"].set(rate=125000.0)  # 1 Mbit/s
        head = net.start("head", [TASKS, net.endpoint, net.key, 3, "n3", 4])
        head.wait_line("listening", timeout=PATIENCE)
        nodes = [net.node(host, "--cpus", 1, "--build", "namespaces", SKIFF_WORKER=TASKS, SKIFF_TEST_HOST=host)
                 for host in net.hosts]
        line = head.wait_line('"alone"', timeout=PATIENCE)[1]
        rate = json.loads(line)
        tell("rounds per second of the fast hosts: %.1f alone, %.1f while one fetches", rate["alone"],
             rate["meanwhile"])
        net.wires["n3"].set(rate=0.0)
        assert head.wait(PATIENCE) == 0, (head.said(), [node.said() for node in nodes])
        assert head.find("arrived") and not head.find("was lost"), head.said()
        assert rate["was_fetching"] and rate["meanwhile"] > 0.4 * rate["alone"], rate


# ---- one run that has to go through all of it ----------------------------------------------------------------------
def raw_talk(net, host, chunks):
    """Send bytes (as Python says them) to the head's port from a host; gives whether the head hung up."""
    program = ("import socket,sys\n"
               "s=socket.create_connection((%r,%d),10); s.settimeout(20)\n"
               "try:\n"
               "  for c in (%s,): s.sendall(c)\n"
               "  while s.recv(4096): pass\n"
               "except ConnectionError: pass\n"
               "except socket.timeout: sys.exit(3)\n" % (namespaces.HEAD_ADDRESS, namespaces.PORT, ", ".join(chunks)))
    talker = net.start(host, [sys.executable, "-c", program])
    return talker.wait(PATIENCE) == 0


def greeting(mechanism):
    """Of ZMTP 3.0 (RFC 23): signature, version, mechanism, not a server."""
    return repr(b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + mechanism.ljust(20, b"\0") + bytes(32))


STRANGERS = (("plain client", [greeting(b"NULL"), r"b'\x04\x19\x05READY' + bytes(20)"]),
             ("garbage", ["bytes(range(1, 256)) * 40"]),
             ("oversized frame", [greeting(b"CURVE"), r"b'\x06' + (1 << 40).to_bytes(8, 'big')", "bytes(65536)"]))


def other_key(net):
    """A key that another cluster has made."""
    path = os.path.join(net.dir, "other.key")
    words = [SKIFF, "train", write_config(net), "env_runners.placement=remote", "cluster.bind=tcp://127.0.0.1:0",
             "cluster.key_file=" + path, "cluster.wait_s=0", "--run-dir", "other"]
    subprocess.run(words, cwd=net.dir, capture_output=True, timeout=PATIENCE)
    assert os.stat(path).st_mode & 0o777 == 0o600, oct(os.stat(path).st_mode)
    return path


def refused(net, head, what, *words, key=None, wanted=()):
    """A node that may not join: it says so and ends, the head says so too, training goes on."""
    since = time.monotonic()
    node = net.node("n3", "--wait", 2, *words, key=key)
    status = node.wait(PATIENCE)
    assert status not in (0, None) and status > 0, (what, status, node.said())
    for word in wanted:
        assert word in node.said(), (what, word, node.said())
    goes_on(net)
    tell("%s: exit %d: %s", what, status, node.said().splitlines()[-1])
    return since


def strangers_are_refused(net, head):
    since = refused(net, head, "wrong key", key=["--key", other_key(net)])
    assert head.wait_line("refused a connection", "key", timeout=PATIENCE, since=since)
    refused(net, head, "missing key", key=[], wanted=["key"])
    since = refused(net, head, "other build", "--build", "another-build 9.9", wanted=["another-build 9.9", "0.1.0"])
    assert head.wait_line("may not join", "another-build 9.9", "0.1.0", timeout=PATIENCE, since=since)
    time.sleep(1.1)  # troubles are told once per second
    for what, chunks in STRANGERS:
        since = time.monotonic()
        assert raw_talk(net, "n3", chunks), "%s: the head has not hung up" % what
        tell("%s: %s", what, head.wait_line("refused a connection", timeout=PATIENCE, since=since)[1])
        goes_on(net)
        time.sleep(1.1)


def the_port_is_taken(net):
    other = start_training(net, run="second", n_hosts=1)
    status = other.wait(PATIENCE)
    assert status not in (0, None) and "in use" in other.said() and str(namespaces.PORT) in other.said(), other.said()
    tell("port in use: exit %d: %s", status, other.said().splitlines()[-1])


def a_short_cut_loses_nobody(net, head):
    cut = time.monotonic()
    net.wires["n1"].set(cut=True)
    time.sleep(2.5)
    net.wires["n1"].set(cut=False)
    goes_on(net)
    time.sleep(2.0)
    tell("cut for 2.5 s: goes on %.1f s after the cut", time.monotonic() - cut - 2.0)
    assert not head.find("was lost", since=cut) and n_restarts(net) == 0, head.said()


def a_host_is_cut_off(net, head, node):
    assert len(net.pids("n1")) > 1, "there is no worker on n1 that could be lost"
    cut = time.monotonic()
    net.wires["n1"].set(cut=True)
    lost = head.wait_line("n1", "was lost", timeout=within(5), since=cut)
    wait_for(lambda: n_restarts(net) >= 1, within(10) - (time.monotonic() - cut), "its runner is made anew")
    restarted = time.monotonic()
    wait_for(lambda: net.pids("n1") == [node.pid], within(10) - (time.monotonic() - cut), "the host has no workers")
    ended = time.monotonic()
    tell("cut off: noticed after %.2f s, its runner at work elsewhere after %.2f s, its workers ended after %.2f s",
         lost[0] - cut, restarted - cut, ended - cut)
    heal = time.monotonic()
    net.wires["n1"].set(cut=False)
    joined = head.wait_line("host n1", "has joined", timeout=PATIENCE, since=heal)
    tell("joined anew %.2f s after it was healed", joined[0] - heal)
    goes_on(net)
    assert node.is_alive()


@test
def a_run_with_strangers_and_hosts_that_are_cut_off_ends_with_the_bits_of_one_host():
    with Net("run", ["n1", "n2", "n3"]) as net:
        for wire in net.wires.values():
            wire.set(delay_ms=5)
        head = start_training(net, steps=FOR_EVER, n_hosts=2)
        first, second = [net.node(host, "--cpus", 2, "--rejoin", "--wait", 60) for host in ("n1", "n2")]
        wait_for(lambda: len(reports(net)) > 2, PATIENCE, "training has begun", head.said)
        strangers_are_refused(net, head)
        the_port_is_taken(net)
        assert n_restarts(net) == 0 and not head.find("was lost"), head.said()
        a_short_cut_loses_nobody(net, head)
        a_host_is_cut_off(net, head, first)
        assert second.is_alive() and head.is_alive()
        os.kill(head.pid, signal.SIGINT)
        assert head.wait(PATIENCE) == 130, head.said()
        for node in (first, second):  # a head that ends says goodbye
            assert node.wait(PATIENCE) == 0, node.said()
        same_bits(net)


# ---- heads that are gone -------------------------------------------------------------------------------------------
def lose_the_head(tag, how):
    with Net(tag, ["n1", "n2"]) as net:
        head = start_training(net, steps=FOR_EVER)
        nodes = [net.node(host, "--cpus", 1) for host in net.hosts]
        wait_for(lambda: len(reports(net)) > 2, PATIENCE, "training has begun", head.said)
        assert all(len(net.pids(host)) == 2 for host in net.hosts), [net.pids(host) for host in net.hosts]
        gone = time.monotonic()
        if how == "cut":
            for wire in net.wires.values():
                wire.set(cut=True)
        else:
            os.kill(head.pid, signal.SIGKILL)
        wait_for(lambda: not any(net.pids(host) for host in net.hosts), within(10), "nodes and workers have ended")
        seconds = time.monotonic() - gone
        assert all(node.wait(PATIENCE) > 0 for node in nodes), [node.said() for node in nodes]
        return seconds


@test
def without_their_head_nodes_and_workers_end_within_10_s():
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        runs = [(how, pool.submit(lose_the_head, how, how)) for how in ("cut", "kill")]
        for how, run in runs:
            tell("head %s: all ended after %.2f s", {"cut": "cut off", "kill": "killed"}[how], run.result())


@test
def nothing_is_left_behind():
    left = [name for name in namespaces.ip("netns", "list").splitlines() if name.startswith("skiff-%d-" % os.getpid())]
    assert not left, left


if __name__ == "__main__":
    why = namespaces.missing()
    if why:
        print("1..0 # SKIP " + why)
        sys.exit(0)
    namespaces.end_in_good_order()
    run_all()
