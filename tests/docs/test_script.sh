#!/bin/sh
# The skiff script, in a copy of the sources whose path has spaces.
set -u
. "$SKIFF_SOURCE_DIR/tests/docs/tap.sh"

scratch=$(mktemp -d) || exit 99
trap 'rm -rf "$scratch"' EXIT
copy="$scratch/a copy of skiff"
mkdir "$copy" "$scratch/elsewhere" "$scratch/bin"
tar -C "$SKIFF_SOURCE_DIR" --exclude='./build*' --exclude=./runs --exclude=./.git --exclude=./.cache -cf - . |
    tar -C "$copy" -xf -
mkdir "$copy/.cache"
[ ! -d "$SKIFF_SOURCE_DIR/.cache/mujoco" ] || cp -r "$SKIFF_SOURCE_DIR/.cache/mujoco" "$copy/.cache/"
cd "$scratch/elsewhere" || exit 99

is_silent() { [ ! -s "$scratch/err" ] || { show "$scratch/err"; false; }; }
skiff() { "$copy/skiff" "$@" >"$scratch/out" 2>"$scratch/err"; }

# ---- nothing is installed unasked ----
for tool in sh dirname readlink find mkdir flock; do ln -s "$(command -v $tool)" "$scratch/bin/"; done
says_what_is_missing() {
    PATH=$scratch/bin SKIFF_NO_INSTALL=1 "$copy/skiff" version >"$scratch/out" 2>"$scratch/err"
    [ $? = 1 ] && grep -q 'apt-get install .*meson.*libzmq3-dev' "$scratch/err" && [ ! -e "$copy/build/build.ninja" ]
}
check "says_what_is_missing_and_stops" says_what_is_missing

# ---- the first build, by two at once, without a standard input ----
builds_once_for_two() {
    "$copy/skiff" version <&- >"$scratch/out1" 2>"$scratch/err1" &
    first=$!
    "$copy/skiff" version <&- >"$scratch/out2" 2>"$scratch/err2"
    second=$?
    wait $first && [ $second = 0 ] && grep -q '^skiff' "$scratch/out1" && cmp -s "$scratch/out1" "$scratch/out2" &&
        [ "$(cat "$scratch/err1" "$scratch/err2" | wc -l)" = 1 ] ||
        { show "$scratch/err1"; show "$scratch/err2"; false; }
}
check "two_at_once_build_once_and_print_one_line" builds_once_for_two

# ---- when all is built ----
check "a_second_run_builds_nothing" eval 'skiff version && is_silent'
cp "$copy/configs/cartpole_ppo.yaml" mine.yaml
check "paths_are_relative_to_the_caller" eval 'skiff config mine.yaml && is_silent'
exit_status_passes_through() {
    skiff no-such-command
    [ $? = 2 ]
}
check "exit_status_passes_through" exit_status_passes_through
ln -s "$copy/skiff" "$scratch/bin/skiff"
check "works_through_a_link" eval '"$scratch/bin/skiff" version >/dev/null'

# ---- changes ----
touch "$copy/cli/main.c"
check "a_touched_source_is_built" eval 'skiff version && grep -q "building skiff" "$scratch/err"'
echo '#error broken on purpose' >>"$copy/cli/main.c"
shows_why_it_failed() {
    skiff version
    [ $? = 1 ] && grep -q 'broken on purpose' "$scratch/err" && [ ! -s "$scratch/out" ]
}
check "a_failed_build_shows_why" shows_why_it_failed
cp "$SKIFF_SOURCE_DIR/cli/main.c" "$copy/cli/main.c"
mv "$copy" "$scratch/moved"
copy=$scratch/moved
check "builds_anew_where_it_was_moved_to" eval 'skiff version || { show "$scratch/err"; false; }'
check "leaves_nothing_where_it_was_called" eval '[ "$(ls)" = mine.yaml ]'
finish
