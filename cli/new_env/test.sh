#!/bin/sh
# The test of MyEnv-v0: it builds, keeps its promises, and can be trained on. SKIFF names the program if it is not in
# the path.
set -eu
skiff=$(readlink -f -- "$(command -v -- "${SKIFF:-skiff}")")
cd -- "$(dirname -- "$0")"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
sh ./build.sh
"$skiff" check-env ./my_env.so
"$skiff" train my_env.yaml 'stop={training_iteration: 3}' --run-dir "$scratch/run"
echo "MyEnv-v0: ok"
