#!/bin/sh
# What the pages claim about the sources: files and tests that they name exist, links lead somewhere, folders know only
# the folders above them.
set -u
. "$SKIFF_SOURCE_DIR/tests/docs/tap.sh"
cd "$SKIFF_SOURCE_DIR" || exit 99
pages="README.md docs/*.md"

# Report every line of standard input as a fault of the kind $1; succeed if there is none.
none() {
    faults=$(cat)
    [ -z "$faults" ] || {
        echo "$faults" | sed "s/^/# $1: /"
        return 1
    }
}

# `a/b.c` in backquotes; a folder ends in a slash. Build products and patterns are not sources.
paths_exist() {
    grep -ohE '`[a-z_.]+/[A-Za-z0-9_./-]*`' $pages | tr -d '`' | sort -u |
        grep -vE '^(build|runs|logs|checkpoints|learner|evaluation|perf|replay|lib|pi|vf|shared|q|q1|q2|sensor|joint|body|site|geom|actuator|tendon)/|^\./' |
        while IFS= read -r path; do [ -e "$path" ] || echo "$path"; done | none "no such file"
}

links_lead_somewhere() {
    for page in $pages; do
        grep -oE '\]\([^)]+\)' "$page" | sed -E 's/^..//; s/[)#].*$//' | grep -v '^https\?:' | sort -u |
            while IFS= read -r target; do [ -e "$(dirname "$page")/$target" ] || echo "$page -> $target"; done
    done | none "broken link"
}

# `suite.name_as_a_sentence`
tests_exist() {
    grep -rhoE 'Test\([a-z_0-9]+, [a-zA-Z_0-9]+' tests | sed -E 's/Test\(([a-z_0-9]+), /\1./' | sort -u >"$scratch/tests"
    grep -ohE '`[a-z0-9_]+\.[a-zA-Z0-9]+_[a-zA-Z0-9_]+`' docs/design.md docs/adding_an_algorithm.md | tr -d '`' | sort -u |
        grep -vE '^(training|env_runners|checkpoint|evaluation|model|learners|env|replay_buffer_config)\.' >"$scratch/named"
    [ -s "$scratch/named" ] && comm -23 "$scratch/named" "$scratch/tests" | none "no such test"
}

# knows FOLDER ALLOWED...: FOLDER includes only its own headers and those of the allowed folders.
knows() {
    folder=$1
    shift
    allowed=$folder
    for other in "$@"; do allowed="$allowed|$other"; done
    grep -rHE '^#include "' "$folder" --include='*.c' --include='*.h' | grep -vE "#include \"($allowed)/" |
        grep -vE '#include "[^/"]+"$' | none "should not know"
}

# How many seeds met the bar of a config: README.md says what docs/results.md says.
results_agree() {
    grep -oE '`[a-z_]+` \| [^|]+ \| [0-9]+ of [0-9]+' README.md | sed -E 's/`([a-z_]+)`.* ([0-9]+ of [0-9]+)$/\1 \2/' |
        while read -r config met; do
            grep -F "configs/$config.yaml" docs/results.md | grep -q -F "| $met |" || echo "$config: $met"
        done | none "not in docs/results.md"
}

# A block marked with a file, as in "```c examples/act.c", is cut from it: its lines are there in this order, maybe indented.
snippets_are_cut_from_their_files() {
    grep -q '^```c examples/' docs/runtime.md && awk '
        function bare(line) { sub(/^[ \t]+/, "", line); return line }
        function lines_of(file, all, line) {
            all = "\n"
            while ((getline line <file) > 0) all = all bare(line) "\n"
            close(file)
            return all
        }
        !on && /^```[a-z]+ [^ ]+$/ { on = 1; file = $2; first = ""; text = "\n"; next }
        on && /^```$/ { on = 0; if (!index(lines_of(file), text)) print FILENAME ": " first " -> " file; next }
        on { text = text bare($0) "\n"; if (first == "") first = bare($0) }' $pages | none "not cut from it"
}

is_short() { [ "$(wc -l <README.md)" -le 150 ]; }

scratch=$(mktemp -d) || exit 99
trap 'rm -rf "$scratch"' EXIT
check "readme_has_at_most_150_lines" is_short
check "paths_exist" paths_exist
check "links_lead_somewhere" links_lead_somewhere
check "tests_that_are_named_exist" tests_exist
check "snippets_are_cut_from_their_files" snippets_are_cut_from_their_files
check "results_are_those_of_the_results_page" results_agree
check "base_knows_the_installed_headers" knows core/base skiff
check "transport_knows_base" knows core/transport core/base
check "runtime_knows_transport" knows core/runtime core/transport core/base skiff
check "nn_knows_base" knows nn core/base
check "envs_know_base_and_the_contract" knows envs core/base skiff
check "policies_know_nn" knows policies nn core/base skiff
check "rl_knows_policies_runtime_and_envs" knows rl policies nn core/runtime core/transport core/base envs skiff
check "algorithms_know_rl" knows algorithms rl policies nn core/base
check "the_environment_contract_stands_alone" eval '! grep "#include \"" include/skiff/env.h'
check "the_runtime_header_needs_status_h_alone" eval \
    '! grep "#include \"" include/skiff/skiff.h include/skiff/status.h | grep -v "\"skiff/status.h\"$"'
finish
