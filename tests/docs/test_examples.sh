#!/bin/sh
# The examples of tasks and actors: each is run as its head comment says and must print what stands there, on one core as
# on all of them, and leave no process behind.
set -u
. "$SKIFF_SOURCE_DIR/tests/docs/tap.sh"
unset SKIFF_WORKER # each is its own worker program
examples=$SKIFF_SOURCE_DIR/examples

if nm -D "$SKIFF_BUILD_DIR/libskiff.so" | grep -q -e __tsan_; then
    echo "1..0 # SKIP for the other sanitizers"
    exit 0
fi
scratch=$(mktemp -d) || exit 99
trap 'rm -rf "$scratch"' EXIT
cp "$SKIFF_BUILD_DIR/examples/words.so" "$scratch" && cd "$scratch" || exit 99

# shown SOURCE: what the head comment shows behind "prints".
shown() {
    awk '/\*\/$/ { last = 1 } on && sub(/^ \*     /, "") { sub(/ \*\/$/, ""); print } /^ \* prints$/ { on = 1 } last { exit }' "$1"
}

is_short() { [ "$(wc -l <"$1")" -le 120 ] && awk 'length > 120 { exit 1 }' "$1"; }

# Only the installed header and the C library's.
is_alone() { ! grep '#include' "$1" | grep -v -e '^#include <skiff/skiff\.h>$' -e '^#include <[a-z]*\.h>$'; }

prints_what_is_shown() {
    shown "$1" >expected
    shift
    "$@" >out 2>err </dev/null
    status=$?
    [ $status = 0 ] && [ -s expected ] && [ ! -s err ] && cmp -s expected out && return
    echo "# exit status $status"
    diff expected out | sed 's/^/# /'
    show err
    return 1
}

# Workers are this program too; ended ones may be reaped by nobody for a moment.
leaves_no_process() {
    for exe in /proc/[0-9]*/exe; do
        [ "$(readlink "$exe" 2>/dev/null)" != "$1" ] || { echo "# ${exe%/exe} still runs"; return 1; }
    done
}

try_example() {
    example=$1 source=$2 program=$(readlink -f "$SKIFF_BUILD_DIR/examples/$1")
    shift 2
    check "${example}_is_short" is_short "$source"
    check "${example}_needs_the_installed_header_only" is_alone "$source"
    check "${example}_prints_what_its_head_says" prints_what_is_shown "$source" "$program" "$@"
    check "${example}_prints_the_same_on_one_core" prints_what_is_shown "$source" taskset -c "$a_core" "$program" "$@"
    check "${example}_leaves_no_process" leaves_no_process "$program"
}

a_core=$(taskset -cp $$ | sed 's/.*: *\([0-9]*\).*/\1/')
for each in parallel_pi tree_reduction actor_pool parameter_server streaming_pipeline; do
    try_example $each "$examples/$each.c"
done
check "words_is_short" is_short "$examples/plugin_tasks/words.c"
check "words_needs_the_installed_header_only" is_alone "$examples/plugin_tasks/words.c"
try_example plugin_tasks "$examples/plugin_tasks/main.c" ./words.so

# says_why WORDS COMMAND...: it fails, and its only line has the words.
says_why() {
    words=$1
    shift
    "$@" >out 2>err
    [ $? = 1 ] && [ ! -s out ] && [ "$(wc -l <err)" = 1 ] && grep -q "$words" err && return
    show out
    show err
    return 1
}
check "plugin_tasks_says_which_plugin_it_cannot_load" says_why 'nowhere\.so' \
    "$SKIFF_BUILD_DIR/examples/plugin_tasks" ./nowhere.so
# That they fail shows that these examples run in processes.
for each in parallel_pi actor_pool; do
    check "${each}_says_that_its_workers_cannot_run" says_why 'exited with status 1' \
        env SKIFF_WORKER=/bin/false "$SKIFF_BUILD_DIR/examples/$each"
done
finish
