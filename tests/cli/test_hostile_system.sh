#!/bin/sh
# The program on a system that refuses: full disks, folders that cannot be written, few open files, closed standard
# files. It ends with a status and a text, and what was there before is still there.
set -u
. "${SKIFF_SOURCE_DIR:?}/tests/docs/tap.sh"
skiff=${SKIFF_BIN:?}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 143' TERM
trap 'exit 130' INT HUP
cd "$work" || exit 1

cat >small.yaml <<'END'
algorithm: ppo
env: CartPole-v1
seed: 1
model: {fcnet_hiddens: [16, 16]}
env_runners: {num_env_runners: 2, num_envs_per_env_runner: 2, rollout_fragment_length: 16}
training: {num_epochs: 1, minibatch_size: 64}
checkpoint: {interval_steps: 64, keep: 100}
evaluation: {num_episodes: 1}
stop: {training_iteration: 4}
END
# Its policy has 540 KiB, the rest of its checkpoint twice that.
sed 's/\[16, 16\]/[256, 256]/' small.yaml >large.yaml

# expect STATUS COMMAND...: run it with standard error in ./err.
expect() {
    wanted=$1
    shift
    "$@" 2>err
    got=$?
    [ "$got" = "$wanted" ] && return
    echo "# exit status $got, wanted $wanted"
    show err
    return 1
}
says() { grep -q -e "$1" err || { show err; false; }; }
clean() { [ -z "$(find "$1" -name '*tmp*')" ] || { find "$1" -name '*tmp*' | sed 's/^/# /'; false; }; }
acts() { expect 0 "$skiff" eval "$1" --episodes 2 >/dev/null; }

# ---- a file may not grow ----
limited() { (ulimit -f 1600 && exec "$skiff" train large.yaml --run-dir limit --resume 'stop={training_iteration: 6}'); }
check "a run without limits" expect 0 "$skiff" train large.yaml --run-dir limit
check "a limit of file sizes that is too low for shared memory ends the run with 1" expect 1 limited
check "the message names the limit" says 'ulimit -f'
check "the checkpoints before it are there" test -f limit/checkpoints/256/state.skiff -a ! -e limit/checkpoints/320
check "nothing half-written is left" clean limit
check "the policy acts" acts limit
check "and the run goes on from it" expect 0 "$skiff" train large.yaml --run-dir limit --resume 'stop={training_iteration: 6}'

# ---- a full disk, a folder that cannot be written: in a mount namespace of one's own ----
mkdir disk
# on_disk MOUNT-OPTIONS COMMAND: in a shell whose ./disk is a file system of its own; the rest of the output is for checks
on_disk() { unshare -rm sh -c "mount -t tmpfs -o $1 none disk && { $2; }"; }
if unshare -rm sh -c 'mount -t tmpfs none "$0"' disk 2>/dev/null; then
    export skiff
    on_disk size=96k '"$skiff" train small.yaml --run-dir disk/run "stop={training_iteration: 100}" 2>err
        echo "$?" >status; find disk -name "*tmp*" >left; cp -r disk copy'
    check "a full disk ends the run with 1" test "$(cat status)" = 1
    check "the message names the file and the reason" says 'error: cannot write disk/run/.*: No space left on device'
    check "nothing half-written is left on it" test ! -s left
    check "the checkpoints before it are there" test -f copy/run/checkpoints/64/state.skiff
    check "and act" acts copy/run
    check "and the run goes on where there is room" \
        expect 0 "$skiff" train small.yaml --run-dir copy/run --resume 'stop={training_iteration: 12}'
    on_disk ro '"$skiff" train small.yaml --run-dir disk/run 2>err; echo "$?" >status'
    check "a folder that cannot be written ends the run with 1" test "$(cat status)" = 1
    check "the message names it" says 'disk/run: Read-only file system'
else
    n_checks=$((n_checks + 1))
    echo "ok $n_checks - a full disk # SKIP no mount namespaces here"
fi

# ---- few open files ----
few() { (ulimit -n "$1" && exec "$skiff" train small.yaml --run-dir "few$1"); }
check "64 open files are enough" expect 0 few 64
for n in 16 12 10 8; do
    check "$n open files are not, or they are: no crash" \
        sh -c '(ulimit -n "$1" && exec "$2" train small.yaml --run-dir "few$1") 2>err; s=$?; [ $s -le 1 ] || { echo "# status $s"; false; }' \
        sh "$n" "$skiff"
done
check "the limit is named" says 'ulimit -n\|Too many open files'

# ---- closed standard files ----
no_output() { "$skiff" train small.yaml --run-dir closed --json <&- >&-; }
no_files() { sh -c '"$1" train small.yaml --run-dir closed2 --json <&- >&- 2>&-' sh "$skiff"; }
lines_are_objects() { ! grep -v '^{.*}$' "$1"; }
check "standard output closed" expect 0 no_output
check "what is printed goes into no other file" lines_are_objects closed/metrics.jsonl
check "nor into the policy" acts closed
check "all of them closed" expect 0 no_files
check "nor then" lines_are_objects closed2/metrics.jsonl
piped() { { "$skiff" train small.yaml --run-dir piped --json 2>err; echo "$?" >status; } | true; }
check "a reader that goes away" piped
check "does not end the run" test -f piped/result.json
finish
