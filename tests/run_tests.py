"""Runs all tests of skiff: `./skiff test [--quick]`. The last line says `N passed, N failed`; exit status 0 means that
tests ran and none failed.

Several builds under build-test/, since each finds other mistakes:
  plain  gcc, no warnings; every test
  asan   AddressSanitizer and UndefinedBehaviorSanitizer; every test that is not about learning
  tsan   ThreadSanitizer; the stress programs (it cannot run Criterion)
  clang  no warnings; compiled only
  fuzz   clang and libFuzzer: 10,000 made-up inputs for each target of tests/fuzz/ (SKIFF_FUZZ_S=N: N seconds of new ones)
With --quick only the first.
"""
import collections
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WORK = os.path.join(ROOT, "build-test")

Build = collections.namedtuple("Build", "name compiler options suites")  # suites: None = all, [] = compile only
NO_LEARNING = ["unit", "parity", "grad", "golden", "fault", "cli", "python", "fuzz"]
BUILDS = [
    Build("plain", None, ["-Dwerror=true", "-Dtests=enabled"], None),
    Build("asan", None, ["-Db_sanitize=address,undefined", "-Db_lundef=false", "-Doptimization=1", "-Ddebug=true",
                         "-Dtests=enabled"], NO_LEARNING),
    Build("tsan", None, ["-Db_sanitize=thread", "-Db_lundef=false", "-Doptimization=1", "-Ddebug=true",
                         "-Dtests=disabled", "-Dstress=true"], ["stress"]),
    Build("clang", "clang", ["-Dwerror=true", "-Dtests=enabled"], []),
    Build("fuzz", "clang", ["-Db_sanitize=address,undefined", "-Db_lundef=false", "-Doptimization=1", "-Ddebug=true",
                            "-Dtests=disabled", "-Dfuzz=enabled"], ["fuzz"]),
]

Count = collections.namedtuple("Count", "passed failed skipped")


def say(text):
    print(text, flush=True)


def run_quietly(command, env):
    """True if the command succeeded; otherwise its output is shown."""
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        sys.stdout.write(done.stdout.decode(errors="replace"))
        say("failed (%d): %s" % (done.returncode, " ".join(command)))
    return done.returncode == 0


def compile_build(build, folder, env):
    """Configure (anew if the options or the place changed) and compile."""
    made_as = repr((ROOT, build.compiler, build.options))
    note = os.path.join(folder, ".made-as")
    if not os.path.exists(note) or open(note).read() != made_as:
        shutil.rmtree(folder, ignore_errors=True)
        env_setup = dict(env, CC=build.compiler) if build.compiler else env
        if not run_quietly(["meson", "setup", folder, ROOT] + build.options, env_setup):
            return False
        with open(note, "w") as file:
            file.write(made_as)
    return run_quietly(["ninja", "-C", folder], env)


def count_test(test):
    """One entry of meson's testlog.json: a Criterion program or script speaks TAP, a stress program only exits."""
    lines = [line for line in test.get("stdout", "").splitlines() if re.match(r"(not )?ok\b", line)]
    skipped = sum(1 for line in lines if re.search(r"# *skip", line, re.I))
    failed = sum(1 for line in lines if line.startswith("not ok") and not re.search(r"# *skip", line, re.I))
    passed = len(lines) - skipped - failed
    if test["result"] == "SKIP" and not lines:
        skipped = 1
    elif test["result"] not in ("OK", "SKIP"):
        failed = max(failed, 1)  # it crashed, hung, leaked, or its exit status alone says no
    elif not lines:
        passed = 1
    return Count(passed, failed, skipped)


def run_suites(build, folder, env):
    log = os.path.join(folder, "meson-logs", "testlog.json")
    if os.path.exists(log):
        os.remove(log)
    # One more than there are cores: many tests wait for other processes most of the time.
    command = ["meson", "test", "-C", folder, "--no-rebuild", "--print-errorlogs", "--num-processes",
               str(len(os.sched_getaffinity(0)) + 1)]
    if build.name != "plain":
        command += ["--timeout-multiplier", "2"]  # sanitizers are slow
    for suite in build.suites or []:
        command += ["--suite", suite]
    status = subprocess.run(command, env=env, stdin=subprocess.DEVNULL).returncode
    tests = [json.loads(line) for line in open(log)] if os.path.exists(log) else []
    counts = [count_test(test) for test in tests]
    total = Count(*(sum(column) for column in zip(*counts))) if counts else Count(0, 0, 0)
    if status != 0 and total.failed == 0 or total.passed + total.failed == 0:
        say("meson test ended with %d after %d tests" % (status, len(tests)))
        total = total._replace(failed=total.failed + 1)
    return total


def run_build(build, env):
    folder = os.path.join(WORK, build.name)
    start = time.monotonic()
    say("== %s: compile" % build.name)
    if not compile_build(build, folder, env):
        return Count(0, 1, 0)
    compiled = time.monotonic()
    if build.suites == []:
        count = Count(1, 0, 0)  # that it compiled is the test
    else:
        say("== %s: test" % build.name)
        count = run_suites(build, folder, env)
    say("== %s: %d passed, %d failed, %d skipped; compiled in %.0f s, tested in %.0f s\n" % (
        (build.name,) + count + (compiled - start, time.monotonic() - compiled)))
    return count


def run_all(builds):
    """All builds, with a temporary folder of their own that goes with everything left in it."""
    scratch = tempfile.mkdtemp(prefix="skiff-test-")
    env = dict(os.environ, TMPDIR=scratch)
    if len(builds) == 1:
        env.setdefault("SKIFF_SOAK_S", "1")
    for name in ("CFLAGS", "LDFLAGS", "CC", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "SKIFF_ISA"):
        env.pop(name, None)
    try:
        return [run_build(build, env) for build in builds]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def interrupted(number, frame):
    raise KeyboardInterrupt


def main(arguments):
    if arguments not in ([], ["--quick"]):
        print("usage: skiff test [--quick]", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, interrupted)
    os.makedirs(WORK, exist_ok=True)
    with open(os.path.join(WORK, ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            counts = run_all(BUILDS[:1] if arguments else BUILDS)
        except KeyboardInterrupt:
            say("interrupted")
            return 130
    passed, failed, _ = (sum(column) for column in zip(*counts))
    say("%d passed, %d failed" % (passed, failed))
    return 0 if passed > 0 and failed == 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
