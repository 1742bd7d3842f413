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
# For LunarLander, for reading event files, for judging YAML files by schemas; there are wheels for common machines only,
# and a few tests are skipped without.
for more in 'gymnasium[box2d]' 'tensorboard==2.21.0' 'jsonschema==4.26.0' 'packaging==26.3' \
    'PyYAML==6.0.4'; do
    "$venv/bin/pip" install --disable-pip-version-check --only-binary :all: "$more" >"$log" 2>&1 || :
done
# The schemas of Kubernetes and SkyPilot, of which only the wheels are wanted, unpacked by nobody.
for more in 'kubernetes-validate==1.37.0' 'skypilot==0.14.1'; do
    "$venv/bin/pip" download --disable-pip-version-check --no-deps --only-binary :all: -d "$venv/wheels" "$more" \
        >"$log" 2>&1 || :
done
cp -- "$here/requirements.txt" "$stamp"
