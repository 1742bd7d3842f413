#!/bin/sh
# Every command that README.md and docs/adding_an_env.md show is run here, in order, in a folder that looks like a clone.
# Each must succeed; where nothing in the output depends on the machine, it must also be the output that is shown.
set -u
. "$SKIFF_SOURCE_DIR/tests/docs/tap.sh"

scratch=$(mktemp -d) || exit 99
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/clone"
cd "$scratch/clone" || exit 99
for name in skiff configs examples include; do ln -s "$SKIFF_SOURCE_DIR/$name" "$name"; done

# commands_of PAGE: lines behind "$ " in console blocks, all lines of sh blocks.
commands_of() {
    awk '/^```/ { kind = kind ? "" : substr($0, 4); next }
         kind == "console" && sub(/^\$ /, "") { print }
         kind == "sh" { print }' "$1"
}

# shown_after PAGE COMMAND: the output that the page shows for it.
shown_after() {
    awk -v wanted="\$ $2" '/^```/ || /^\$ / { on = ($0 == wanted); next } on { print }' "$1"
}

is_stable() {
    case $1 in
    "./skiff envs"* | "./skiff rollout"*) true ;;
    *) false ;;
    esac
}

runs() {
    sh -c "$1" >"$scratch/out" 2>"$scratch/err" </dev/null || {
        echo "# exit status $?"
        show "$scratch/err"
        return 1
    }
}

prints_what_is_shown() {
    while IFS= read -r line; do
        grep -qxF -e "$line" "$scratch/out" && continue
        printf '# shown but not printed: %s\n' "$line"
        return 1
    done <"$scratch/shown"
}

try_page() {
    commands_of "$1" >"$scratch/commands"
    check "$2 shows commands" test -s "$scratch/commands"
    while IFS= read -r command; do
        case $command in
        "./skiff test"*) continue ;; # that is what runs this
        esac
        check "$2: $command" runs "$command"
        shown_after "$1" "$command" >"$scratch/shown"
        if [ -s "$scratch/shown" ] && is_stable "$command"; then
            check "$2 shows the output of $command" prints_what_is_shown
        fi
    done <"$scratch/commands"
}

try_page "$SKIFF_SOURCE_DIR/README.md" README
try_page "$SKIFF_SOURCE_DIR/docs/adding_an_env.md" adding_an_env
finish
