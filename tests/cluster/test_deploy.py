#!/usr/bin/env python3
"""deploy/*.yaml: valid for those who read them, in agreement with themselves and with skiff; and their scripts do on
this machine (over loopback) what they are to do on a cluster."""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "python"))
import tap  # noqa: E402
from tap import ROOT, skip, test  # noqa: E402

VENV = os.path.dirname(os.path.dirname(tap.VENV_PYTHON))
if os.path.exists(tap.VENV_PYTHON) and os.path.realpath(sys.prefix) != os.path.realpath(VENV):
    os.execv(tap.VENV_PYTHON, [tap.VENV_PYTHON] + sys.argv)
try:
    import yaml
    import jsonschema  # noqa: F401
except ImportError:
    print("1..0 # SKIP there is no PyYAML or jsonschema: tests/python/setup.sh installs them into .cache/python-test")
    sys.exit(0)

SKIFF = os.environ.get("SKIFF_BIN", os.path.join(ROOT, "build", "skiff"))
WHEELS = os.path.join(VENV, "wheels")
PATIENCE_S = 120
SMALL = ["stop={num_env_steps_sampled_lifetime: 4000}"]


def read(name):
    with open(os.path.join(ROOT, "deploy", name)) as file:
        return file.read()


def kubernetes():
    return {document["kind"]: document for document in yaml.safe_load_all(read("kubernetes.yaml"))}


def pod():
    return kubernetes()["Job"]["spec"]["template"]["spec"]


def container():
    only, = pod()["containers"]
    return only


def environment():
    return {row["name"]: row.get("value") for row in container()["env"]}


def sky():
    return yaml.safe_load(read("skypilot.yaml"))


# ---- schemas -------------------------------------------------------------------------------------------------------
def schemas(name):
    import deploy_schemas
    wheel = deploy_schemas.find_wheel(WHEELS, name)
    if not wheel:
        skip(f"there is no wheel of {name}: tests/python/setup.sh downloads it")
    return deploy_schemas, wheel


@test
def kubernetes_takes_the_manifest():
    module, wheel = schemas("kubernetes_validate")
    for version in ("1.31", "1.33", "1.37"):
        judge = module.Kubernetes(wheel, version)
        for kind, document in kubernetes().items():
            assert judge.faults(document) == [], (version, kind, judge.faults(document))


@test
def kubernetes_would_refuse_what_is_wrong():
    module, wheel = schemas("kubernetes_validate")
    judge = module.Kubernetes(wheel, "1.37")
    job = kubernetes()["Job"]
    job["spec"]["template"]["spec"]["terminationGracePeriod"] = 5  # a field that there is not
    assert len(judge.faults(job)) == 1
    job = kubernetes()["Job"]
    job["spec"]["completions"] = "four"
    assert len(judge.faults(job)) == 1
    job = kubernetes()["Job"]
    del job["spec"]["podFailurePolicy"]["rules"][1]["onExitCodes"]["operator"]
    assert len(judge.faults(job)) == 1


@test
def skypilot_takes_the_task():
    module, wheel = schemas("skypilot")
    judge = module.SkyPilot(wheel)
    assert judge.faults(sky()) == [], judge.faults(sky())
    task = sky()
    task["nodes"] = 3  # a field that there is not
    assert len(judge.faults(task)) == 1
    task = sky()
    task["resources"]["cpu"] = 4
    assert len(judge.faults(task)) == 1
    task = sky()
    task["num_nodes"] = "3"
    assert len(judge.faults(task)) == 1


# ---- agreement -----------------------------------------------------------------------------------------------------
@test
def parts_of_the_manifest_fit_together():
    documents, values = kubernetes(), environment()
    service, job, claim = documents["Service"], documents["Job"], documents["PersistentVolumeClaim"]
    name = job["metadata"]["name"]
    template = job["spec"]["template"]
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == int(values["HOSTS"]) + 1
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["publishNotReadyAddresses"]
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    assert pod()["subdomain"] == service["metadata"]["name"]
    port = service["spec"]["ports"][0]["port"]
    assert values["HEAD"] == f"tcp://{name}-0.{service['metadata']['name']}:{port}"
    assert values["BIND"] == f"tcp://0.0.0.0:{port}"
    volumes = {volume["name"]: volume for volume in pod()["volumes"]}
    assert volumes["runs"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container()["volumeMounts"]}
    assert mounts.keys() == volumes.keys() and values["RUN_DIR"].startswith(mounts["runs"] + "/")
    rule = job["spec"]["podFailurePolicy"]["rules"][1]["onExitCodes"]
    assert rule["containerName"] == container()["name"]
    assert pod()["restartPolicy"] == "Never", "podFailurePolicy takes nothing else"
    secret, = [row["valueFrom"]["secretKeyRef"] for row in container()["env"] if row["name"] == "SKIFF_CLUSTER_KEY"]
    assert f"kubectl create secret generic {secret['name']} --from-file={secret['key']}=" in read("kubernetes.yaml")
    limits, requests = container()["resources"]["limits"], container()["resources"]["requests"]
    assert limits == requests, "the node gives away what the pod is limited to"


@test
def configs_that_are_named_are_there():
    image = environment()["CONFIG"]
    assert image.startswith("/opt/skiff/") and os.path.exists(os.path.join(ROOT, image[len("/opt/skiff/"):]))
    assert os.path.exists(os.path.join(ROOT, sky()["envs"]["CONFIG"]))
    assert "COPY --from=build /opt/skiff/configs /opt/skiff/configs" in read("Dockerfile")


@test
def options_and_keys_are_those_of_skiff():
    helps = {}
    for command in ("node", "train", "cluster"):
        done = subprocess.run([SKIFF, command, "--help"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        helps[command] = set(re.findall(r"--[a-z][a-z-]*", done.stdout + done.stderr))
    with open(os.path.join(ROOT, "docs", "config.md")) as file:
        keys = set(re.findall(r"^\| `([a-z_.]+)`", file.read(), re.M))
    for name, text in (("kubernetes", "\n".join(container()["args"])), ("skypilot", sky()["run"])):
        commands = re.findall(r"skiff (node (?:[^\n]|\\\n)*)", text)
        commands += re.findall(r"set -- (train [^\n]*)", text)
        assert len(commands) == 3, (name, commands)
        for command in commands:
            asked = set(re.findall(r"--[a-z][a-z-]*", command))
            assert asked <= helps[command.split()[0]], (name, command, asked - helps[command.split()[0]])
        assert "--resume" in helps["train"]
        for key in re.findall(r"\"?\b([a-z_]+\.[a-z_]+)=", text):
            assert key in keys, (name, key)


# ---- the scripts at work ---------------------------------------------------------------------------------------------
def free_port():
    import socket
    with socket.socket() as there:
        there.bind(("127.0.0.1", 0))
        return there.getsockname()[1]


class Rig:
    """A folder, a key, and shells that run the scripts with a `skiff` that trains little."""

    def __init__(self, script, values):
        self.folder = tempfile.mkdtemp(prefix="skiff-deploy-")
        os.mkdir(os.path.join(self.folder, "bin"))
        self.script, self.processes, self.logs = script, [], []
        self.run_dir = os.path.join(self.folder, "runs", "one")
        os.mkdir(os.path.dirname(self.run_dir))
        key = os.path.join(self.folder, "key")
        subprocess.run([SKIFF, "cluster", "key", "--key", key], check=True, stdout=subprocess.DEVNULL)
        with open(key) as file:
            secret = file.read()
        # What the scripts call: the real one, which trains only a little.
        with open(os.path.join(self.folder, "bin", "skiff"), "w") as file:
            small = " ".join(f"'{word}'" for word in SMALL)
            file.write(f'#!/bin/sh\ncase $* in *" -- train "*) set -- "$@" {small} ;; esac\nexec "{SKIFF}" "$@"\n')
        os.chmod(os.path.join(self.folder, "bin", "skiff"), 0o755)
        self.values = dict(os.environ, PATH=os.path.join(self.folder, "bin") + ":" + os.environ["PATH"], RUNNERS="2",
                           CONFIG=os.path.join(ROOT, "configs", "cartpole_ppo.yaml"), RUN_DIR=self.run_dir,
                           SKIFF_CLUSTER_KEY=secret, HOME=self.folder, **values)

    def start(self, **values):
        log = os.path.join(self.folder, f"log-{len(self.logs)}")
        with open(log, "w") as to:
            process = subprocess.Popen(self.script, cwd=self.folder, env=dict(self.values, **values), stdout=to,
                                       stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)
        self.processes.append(process)
        self.logs.append(log)
        return process

    def said(self, number):
        with open(self.logs[number]) as file:
            return file.read()

    def end(self):
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        shutil.rmtree(self.folder)


def wait_for(process, rig):
    try:
        return process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        raise AssertionError("it does not end:\n" + "\n".join(rig.said(i) for i in range(len(rig.logs)))) from None


@test
def pods_train_and_a_head_that_comes_back_goes_on():
    port = free_port()
    words = container()["command"] + container()["args"]
    rig = Rig(words, {"BIND": f"tcp://127.0.0.1:{port}", "HEAD": f"tcp://127.0.0.1:{port}", "HOSTS": "1", "CPUS": "2",
                      "MEMORY": str(1 << 30)})
    try:
        os.mkdir(rig.run_dir)  # begun by a head that was lost before its first checkpoint
        with open(os.path.join(rig.run_dir, "config.yaml"), "w") as file:
            file.write("seed: 1\n")
        node = rig.start(JOB_COMPLETION_INDEX="1")
        head = rig.start(JOB_COMPLETION_INDEX="0")
        assert wait_for(head, rig) == 0, rig.said(1) + rig.said(0)
        assert os.path.exists(os.path.join(rig.run_dir, "result.json"))
        assert len(os.listdir(os.path.dirname(rig.run_dir))) == 2, "what was begun is moved away, not removed"
        assert node.poll() is None, "a pod that helps does not succeed by itself: " + rig.said(0)
        again = rig.start(JOB_COMPLETION_INDEX="0")
        assert wait_for(again, rig) == 0, rig.said(2) + rig.said(0)
        assert "--resume" in rig.said(2), rig.said(2)
        assert len(os.listdir(os.path.dirname(rig.run_dir))) == 2
        node.send_signal(signal.SIGTERM)
        assert wait_for(node, rig) == 143, rig.said(0)
        for number in range(3):
            assert "warning" not in rig.said(number).lower(), rig.said(number)
    finally:
        rig.end()


@test
def machines_of_skypilot_train():
    port = free_port()
    rig = Rig(["/bin/bash", "-c", sky()["run"].replace("./skiff", "skiff")],
              {"SKYPILOT_NODE_IPS": "127.0.0.1\n127.0.0.2", "SKYPILOT_NUM_NODES": "2", "PORT": str(port)})
    try:
        node = rig.start(SKYPILOT_NODE_RANK="1")
        head = rig.start(SKYPILOT_NODE_RANK="0", RUN_DIR="~/runs/one")
        assert wait_for(head, rig) == 0, rig.said(1) + rig.said(0)
        assert wait_for(node, rig) == 0, rig.said(0)
        assert os.path.exists(os.path.join(rig.run_dir, "result.json"))
    finally:
        rig.end()


if __name__ == "__main__":
    tap.run_all()
