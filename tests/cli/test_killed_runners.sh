#!/bin/sh
# skiff train while its runners are killed: it ends with the very same parameters; with restarts off, with an error that
# names the runner.
set -u
. "${SKIFF_SOURCE_DIR:?}/tests/docs/tap.sh"
skiff=${SKIFF_BIN:?}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 143' TERM
trap 'exit 130' INT HUP
cd "$work" || exit 1

cat >run.yaml <<'YAML'
algorithm: ppo
env: CartPole-v1
seed: 7
model: {fcnet_hiddens: [32, 32]}
env_runners: {num_env_runners: 3, num_envs_per_env_runner: 4, rollout_fragment_length: 128, placement: process,
  observation_filter: MeanStdFilter, normalize_rewards: true}
training: {num_epochs: 2, minibatch_size: 256}
checkpoint: {interval_steps: 30000, keep: 2}
evaluation: {num_episodes: 0}
stop: {num_env_steps_sampled_lifetime: 1500000}
YAML

hunt() { "$SKIFF_SOURCE_DIR/tests/learn/kill_runners.py" run.yaml "$@" >said 2>&1; s=$?; show said; return "$s"; }
check "a kill every 100 ms changes no bit of the parameters" hunt --every 0.1 --kills 25

# ---- a run that goes on: its logs, and no restarts ----
children_of() { cat /proc/"$1"/task/*/children 2>/dev/null; }
child_of() { children_of "$1" | tr ' ' '\n' | sed '/^$/d' | head -n 1; }
start() { "$skiff" train run.yaml stop.num_env_steps_sampled_lifetime=1000000000 --run-dir "$@" >out 2>err & run=$!; }
# runs FOLDER: wait until the first report is there
runs() { i=0; while [ $i -lt 600 ] && ! [ -s "$1/metrics.jsonl" ]; do sleep 0.1; i=$((i + 1)); done; [ -s "$1/metrics.jsonl" ]; }
start off env_runners.restart_failed_env_runners=false
check "a run without restarts" runs off
victim=$(child_of "$run")
all=$(children_of "$run")
kill -9 "$victim"
wait "$run"
status=$?
check "ends with 1 when a runner is killed" test "$status" = 1
check "the message names the runner, its process and the signal" grep -q "runner-[0-9].*process $victim.*SIGKILL" err
gone() { for pid in $all; do ! kill -0 "$pid" 2>/dev/null || { echo "# process $pid is still there"; return 1; }; done; }
check "the other runners have ended, too" gone

start on
check "a run with restarts" runs on
check "its processes write their logs into its folder" test -d on/logs
kill -9 "$(child_of "$run")"
lines=$(wc -l <on/metrics.jsonl)
goes_on() {
    i=0
    while [ $i -lt 600 ] && ! tail -n 1 on/metrics.jsonl | grep -q '"num_env_runner_restarts_lifetime": *1[,}]'; do sleep 0.1; i=$((i + 1)); done
    [ "$(wc -l <on/metrics.jsonl)" -gt "$lines" ]
}
check "goes on after a kill and counts it" goes_on
kill -TERM "$run"
wait "$run"
status=$?
check "and can be interrupted" test "$status" = 130
finish
