#!/bin/sh
# run.sh FUZZER CORPUS [OPTION...]: 10,000 inputs made from a copy of the corpus, the same ones every time so that a test
# run does not end by chance; with SKIFF_FUZZ_S, as many as that number of seconds allows, always others. An input that
# breaks the target is kept as crash-*, leak-* or timeout-* in $SKIFF_BUILD_DIR/fuzz-found/: put it into the corpus with
# its repair, where tests/fuzz/replay.c keeps it a test.
set -eu
fuzzer=$1
corpus=$2
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 143' TERM
trap 'exit 130' INT HUP
found=${SKIFF_BUILD_DIR:-.}/fuzz-found
mkdir -p "$found" "$work/corpus"
cp "$corpus"/* "$work/corpus"
# A target must not take more than 1 GiB for an input of some KiB, nor a minute: less than that is what a busy disk takes.
if [ -n "${SKIFF_FUZZ_S:-}" ]; then amount=-max_total_time=$SKIFF_FUZZ_S seed=0; else amount=-runs=10000 seed=1; fi
TMPDIR=$work "$fuzzer" "$amount" -seed="$seed" -timeout=60 -rss_limit_mb=1024 -malloc_limit_mb=256 \
    -print_final_stats=1 -verbosity=1 -artifact_prefix="$found/$(basename "$fuzzer")-" "$@" "$work/corpus"
