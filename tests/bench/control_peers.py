"""The peers of compare_control.py: how each is installed under .cache/, and the command that measures it."""
import glob, os, subprocess, sys, zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CACHE = os.path.join(ROOT, ".cache")
# One thread for libraries that would otherwise take all; settings meant for other programs would slow the peers down.
ENV = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}
ENV.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
# What the figures in docs/ were taken with, else the newest that installs.
PACKAGES = {"sbx": (["sbx-rl==0.28.0", "gymnasium[mujoco]==1.4.0", "mujoco==4.0.0"], ["sbx-rl", "gymnasium[mujoco]"]),
            "envpool": (["envpool==1.2.5"], ["envpool"])}
RLTOOLS = "rltools==2.2.1"  # its headers are in the Python package
RLTOOLS_ELSEWHERE = 2.3     # s, row 3c of an earlier measurement: commit 9acdf5c, another day on this kind of machine
MODELS = {"HalfCheetah-v5": "half_cheetah", "Ant-v5": "ant", "Humanoid-v5": "humanoid"}


def venv(name):
    """Its python; the environment is made on first use."""
    folder = os.path.join(CACHE, name)
    python = os.path.join(folder, "bin", "python")
    if not os.path.exists(os.path.join(folder, "complete")):
        print(f"making .cache/{name} (once)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        for packages in PACKAGES[name]:
            if subprocess.run([python, "-m", "pip", "install", "-q", *packages]).returncode == 0:
                break
        else:
            raise OSError(f"cannot install {PACKAGES[name][-1][0]}")
        open(os.path.join(folder, "complete"), "w").close()
    return python


def site(name):
    return glob.glob(os.path.join(os.path.dirname(os.path.dirname(venv(name))), "lib", "python*", "site-packages"))[0]


def build(program, *command):
    done = subprocess.run([*command, "-o", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise OSError(f"cannot build {os.path.basename(program)}\n{done.stdout[-2000:]}")
    return program


def newer(program, *sources):
    return os.path.exists(program) and all(os.path.getmtime(program) > os.path.getmtime(s) for s in sources)


def rltools():
    """Its SAC, built with serial OpenBLAS, as fast as it gets."""
    folder, source = os.path.join(CACHE, "rltools"), os.path.join(HERE, "rltools_sac.cpp")
    program, headers = os.path.join(folder, "sac"), os.path.join(folder, "rltools", "external", "rl_tools", "include")
    if not os.path.exists(headers):
        os.makedirs(folder, exist_ok=True)
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, RLTOOLS], check=True)
        for wheel in glob.glob(os.path.join(folder, "*.whl")):
            zipfile.ZipFile(wheel).extractall(folder)
    blas = glob.glob("/usr/lib/*/openblas-serial")
    if not blas:
        raise OSError("there is no serial OpenBLAS: apt-get install libopenblas-serial-dev")
    if not newer(program, source):
        build(program, "g++", "-std=c++17", "-Ofast", "-march=native", "-DRL_TOOLS_BACKEND_ENABLE_OPENBLAS",
              "-I", headers, source, "-L", blas[0], "-Wl,-rpath," + blas[0], "-lopenblas")
    return program


def mujoco_loop():
    """The bare C loop, with the MuJoCo of Gymnasium's environment."""
    package, source = os.path.join(site("sbx"), "mujoco"), os.path.join(HERE, "mujoco_loop.c")
    program = os.path.join(CACHE, "sbx", "mujoco_loop")
    if not newer(program, source):
        library = glob.glob(os.path.join(package, "libmujoco.so.*"))[0]
        build(program, "cc", "-O2", "-std=gnu17", "-I", os.path.join(package, "include"), source, library,
              "-Wl,-rpath," + package, "-pthread")
    return program


def command(peer, kind, env, threads, seconds, seed):
    """Measures one row for about so many seconds; prints JSON."""
    if peer in ("sbx", "sb3"):
        return [venv("sbx"), os.path.join(HERE, "sb3_control.py"), peer, kind, str(seconds), str(threads), str(seed)]
    if peer == "rltools":
        return [rltools(), str(seed)]
    if peer in ("loop", "mj_step"):
        model = os.path.join(site("sbx"), "gymnasium", "envs", "mujoco", "assets", MODELS[env] + ".xml")
        return [mujoco_loop(), model, env, str(threads), str(seconds)] + (["alone"] if peer == "mj_step" else [])
    python = venv("envpool" if peer == "envpool" else "sbx")
    return [python, os.path.join(HERE, "step_envs.py"), peer, env, str(threads), str(seconds)]


