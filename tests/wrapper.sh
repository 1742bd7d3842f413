#!/bin/sh
# wrapper.sh PROGRAM [ARGUMENTS]: runs one test program for meson. The test fails also when a sanitizer reported anything
# in any of its processes: Criterion prints a leak that a test's own process had, but still exits with 0. Afterwards all
# that the program leaves in /tmp is removed: Criterion's socket, folders of tests that did not come to it.
scratch=$(mktemp -d) || exit 99
export SKIFF_TEST_FOLDERS="$scratch/folders" # filled by tests/note_folders.c
: >"$SKIFF_TEST_FOLDERS"
tidy_up() {
    [ ! -s "$scratch/pid" ] || rm -f "/tmp/criterion_$(cat "$scratch/pid").sock"
    while IFS= read -r folder; do
        case $folder in /tmp/?*) rm -rf "$folder" ;; esac
    done <"$SKIFF_TEST_FOLDERS"
    rm -rf "$scratch"
}
trap tidy_up EXIT
trap 'exit 143' TERM
trap 'exit 130' INT HUP

export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}log_path='$scratch/report'"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:+$UBSAN_OPTIONS:}print_stacktrace=1:log_path='$scratch/report'"
export TSAN_OPTIONS="${TSAN_OPTIONS:+$TSAN_OPTIONS:}log_path='$scratch/report'"

# Not in the background: a shell would make it ignore SIGINT, which some tests are about.
sh -c 'echo $$ >"$1"; shift; exec "$@"' sh "$scratch/pid" "$@"
status=$?

# No mistakes: a test that asks for more memory than there is gets a warning; so does a process in which a thread ends
# while leaks are looked for. A leak that was found has more lines.
expected='WARNING: AddressSanitizer failed to allocate\|^==[0-9]*==Unable to get registers from thread [0-9]*\.$'
for report in "$scratch"/report.*; do
    grep -q -v "$expected" "$report" 2>/dev/null || continue
    cat "$report" >&2
    status=1
done
exit $status
