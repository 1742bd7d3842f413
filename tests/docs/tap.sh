# shellcheck shell=sh
# tap.sh: for test scripts in sh. They say what they find in TAP, which meson reads; `finish` at the end.
n_checks=0
n_failed=0

# check NAME COMMAND...: one test, passed if the command succeeds.
check() {
    name=$1
    shift
    n_checks=$((n_checks + 1))
    if "$@"; then
        echo "ok $n_checks - $name"
    else
        n_failed=$((n_failed + 1))
        echo "not ok $n_checks - $name"
    fi
}

# Show a file that explains a failure.
show() { sed 's/^/# /' "$1"; }

finish() {
    echo "1..$n_checks"
    [ "$n_failed" = 0 ]
}
