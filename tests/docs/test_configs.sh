#!/bin/sh
# Every config that comes with skiff resolves, to one that resolves to the same, and says in its first line what it is.
set -u
. "$SKIFF_SOURCE_DIR/tests/docs/tap.sh"
cd "$SKIFF_SOURCE_DIR" || exit 99

# Where MuJoCo is not to be had, its environments' configs are only parsed up to there.
lacks_mujoco() { grep -q 'envs/mujoco/fetch.py' "$scratch/said"; }

resolves() {
    "$SKIFF_BIN" config "$1" >"$scratch/first.yaml" 2>"$scratch/said" || {
        lacks_mujoco && return 0
        show "$scratch/said"
        return 1
    }
    "$SKIFF_BIN" config "$scratch/first.yaml" >"$scratch/second.yaml" 2>"$scratch/said" &&
        cmp "$scratch/first.yaml" "$scratch/second.yaml" >>"$scratch/said" 2>&1 && return 0
    show "$scratch/said"
    return 1
}

has_a_head_comment() { head -1 "$1" | grep -q '^# [^ ].*'; }

# The file's name says environment and algorithm: the last part is the algorithm, or one of its ways to be set up.
names_its_algorithm() {
    algorithm=$(sed -n 's/^algorithm: *//p' "$1")
    case $1 in *_"$algorithm".yaml) return 0 ;; *_rainbow.yaml) [ "$algorithm" = dqn ] ;; *) return 1 ;; esac
}

scratch=$(mktemp -d) || exit 99
trap 'rm -rf "$scratch"' EXIT
for config in configs/*.yaml; do
    check "$config resolves" resolves "$config"
    check "$config has a head comment" has_a_head_comment "$config"
    check "$config names its algorithm" names_its_algorithm "$config"
done
finish
