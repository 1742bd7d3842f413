#!/usr/bin/env python3
"""Put MuJoCo and the models of Gymnasium's environments into a folder, from their wheels on PyPI.

    python3 envs/mujoco/fetch.py [FOLDER]      (default: .cache/mujoco of this repository)

The folder then holds lib/libmujoco.so.4.0.0, include/mujoco/*.h, models/*.xml and their licences, and is what the meson
option mujoco_dir and $SKIFF_MUJOCO_DIR name. Nothing is done where it is complete. Needs pip, x86-64 and glibc 2.28.
"""
import hashlib
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile

MUJOCO = ("mujoco-core==4.0.0", "885bd9b9cc0a6b5ba1114923eb954027652a6a0c115fa46b3218b83bae72ac4f")
GYMNASIUM = ("gymnasium==1.4.0", "1cb947c59e7c72d8eabb2c2274c00cd20948e69f8452a9ef4092223be24fdf0e")
STAMP = "complete"  # the last file to be written; holds what the folder was made from


def wanted_stamp():
    return "".join(f"{name} sha256:{digest}\n" for name, digest in (MUJOCO, GYMNASIUM))


def is_complete(folder):
    try:
        return (folder / STAMP).read_text() == wanted_stamp()
    except OSError:
        return False


def download(wheel, into):
    """Download one wheel, check its bytes, return its path."""
    name, digest = wheel
    into.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--retries", "1",
               "--timeout", "20", "--disable-pip-version-check", "--platform", "manylinux_2_28_x86_64",
               "--python-version", "3.11", "--dest", str(into), name]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise OSError(f"pip could not download {name}: {lines[-1].strip() if lines else 'no reason given'}; "
                      "can PyPI be reached?")
    path, = into.glob("*.whl")
    got = hashlib.sha256(path.read_bytes()).hexdigest()
    if got != digest:
        raise OSError(f"{path.name} has SHA-256 {got}, wanted {digest}")
    return path


def extract(archive, choose, folder):
    """Write the members for which choose(name) gives a path below `folder`."""
    with zipfile.ZipFile(archive) as members:
        for member in members.namelist():
            to = choose(member)
            if to and not member.endswith("/"):
                (folder / to).parent.mkdir(parents=True, exist_ok=True)
                (folder / to).write_bytes(members.read(member))


def mujoco_part(member):
    name = member.rsplit("/", 1)[-1]
    if member.startswith("mujoco/libmujoco.so."):
        return "lib/" + name
    if member.startswith("mujoco/include/mujoco/"):
        return "include/mujoco/" + name
    if "/licenses/" in member:
        return "licenses/mujoco/" + name
    return None


def gymnasium_part(member):
    name = member.rsplit("/", 1)[-1]
    if member.startswith("gymnasium/envs/mujoco/assets/"):
        return "models/" + name
    if member.endswith("/licenses/LICENSE"):
        return "models/LICENSE"
    return None


def fetch(folder):
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise OSError(f"there is no fixed wheel for {platform.system()} on {platform.machine()}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = pathlib.Path(tempfile.mkdtemp(prefix=folder.name + ".", dir=folder.parent))
    try:
        new = work / "new"
        extract(download(MUJOCO, work / "mujoco"), mujoco_part, new)
        extract(download(GYMNASIUM, work / "gymnasium"), gymnasium_part, new)
        for needed in ("lib/libmujoco.so.4.0.0", "include/mujoco/mujoco.h", "models/ant.xml", "models/LICENSE"):
            if not (new / needed).is_file():
                raise OSError(f"the wheels do not hold {needed}")
        (new / STAMP).write_text(wanted_stamp())
        if folder.exists():
            folder.rename(work / "old")
        new.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    root = pathlib.Path(__file__).resolve().parent.parent.parent
    target = pathlib.Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else root / ".cache" / "mujoco"
    if not is_complete(target):
        try:
            fetch(target)
        except OSError as error:
            sys.exit(f"MuJoCo was not fetched: {error}")
