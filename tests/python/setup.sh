#!/bin/sh
# Makes .cache/python-test, a Python environment with Gymnasium for the tests of suite "python"; nothing to do if it is
# there already. Exit status 1, with a line on stderr, if it cannot be made: those tests are skipped then.
set -eu
here=$(dirname -- "$(readlink -f -- "$0")")
venv=$(dirname -- "$(dirname -- "$here")")/.cache/python-test
stamp=$venv/.made-of

cmp -s -- "$here/requirements.txt" "$stamp" && [ -x "$venv/bin/python" ] && exit 0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "skiff: installing Gymnasium into $venv for the tests" >&2
rm -rf -- "$venv"
mkdir -p -- "$(dirname -- "$venv")"
if ! { python3 -m venv "$venv" && "$venv/bin/pip" install --disable-pip-version-check -r "$here/requirements.txt"; } \
    >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    echo "skiff: Gymnasium cannot be installed; tests that need it will be skipped" >&2
    rm -rf -- "$venv"
    exit 1
fi
# For LunarLander and for reading event files; there are wheels for common machines only, and a few tests are skipped
# without.
for more in 'gymnasium[box2d]' 'tensorboard==2.21.0'; do
    "$venv/bin/pip" install --disable-pip-version-check --only-binary :all: "$more" >"$log" 2>&1 || :
done
cp -- "$here/requirements.txt" "$stamp"
