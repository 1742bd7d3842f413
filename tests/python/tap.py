"""A little test harness: @test functions, reported as TAP; skip("why") inside of one skips it."""
import os
import sys
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
VENV_PYTHON = os.path.join(ROOT, ".cache", "python-test", "bin", "python")

tests = []


class Skipped(Exception):
    pass


def skip(why):
    raise Skipped(why)


def test(function):
    tests.append(function)
    return function


def need_gymnasium():
    """Leave, skipping everything, where tests/python/setup.sh has not been able to install it."""
    if not os.path.exists(VENV_PYTHON):
        print("1..0 # SKIP there is no Gymnasium: tests/python/setup.sh installs it into .cache/python-test")
        sys.exit(0)


def run_all():
    print(f"1..{len(tests)}")
    n_failed = 0
    for number, function in enumerate(tests, 1):
        name = function.__name__
        try:
            function()
            print(f"ok {number} - {name}", flush=True)
        except Skipped as why:
            print(f"ok {number} - {name} # SKIP {why}", flush=True)
        except Exception:
            n_failed += 1
            text = "".join("# " + line for line in traceback.format_exc().splitlines(keepends=True))
            print(f"not ok {number} - {name}\n{text}", flush=True)
    sys.exit(1 if n_failed else 0)
