#!/bin/sh
# What `meson install` puts into a folder of its own is enough for a program that knows nothing else of skiff.
set -u
. "$SKIFF_SOURCE_DIR/tests/docs/tap.sh"

if nm -D "$SKIFF_BUILD_DIR/libskiff.so" | grep -q -e __asan_ -e __tsan_ -e __ubsan_; then
    echo "1..0 # SKIP a plain program cannot use a library built with sanitizers"
    exit 0
fi
scratch=$(mktemp -d) || exit 99
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 99

quietly() { "$@" >out 2>err || { show err; false; }; }

check "installs" quietly meson install -C "$SKIFF_BUILD_DIR" --no-rebuild --destdir "$scratch/root"
bin=$(dirname "$(find "$scratch/root" -path '*/bin/skiff')")
lib=$(dirname "$(find "$scratch/root" -name libskiff.so)")
prefix=${bin%/bin}
include=$prefix/include
skiff_pc() { PKG_CONFIG_PATH=$lib/pkgconfig pkg-config --define-variable=prefix="$prefix" "$@" skiff; }
check "has_a_program_both_libraries_and_the_headers" eval '[ -x "$bin/skiff" ] && [ -f "$lib/libskiff.so.0" ] &&
    [ -f "$lib/libskiff.a" ] && [ "$(cd "$include/skiff" && echo *)" = "env.h policy.h skiff.h status.h" ]'

# ---- the library shows what its headers declare, and nothing else ----
nm -D --defined-only "$lib/libskiff.so.0" | awk '{print $3}' | sort >exported
grep -hE '^[^*]*(SK|SKIFF_POLICY)_API ' "$include"/skiff/*.h | grep -oE 'sk(iff)?_[a-z_]+\(' | tr -d '(' |
    grep -vx skiff_module | sort >declared # plugins define that one
check "exports_what_the_headers_declare" eval '[ -s declared ] && diff declared exported >out || { show out; false; }'
check "the_program_needs_no_libskiff" eval '! ldd "$bin/skiff" | grep -q libskiff'
check "the_program_runs" eval '"$bin/skiff" version >out && grep -q ^skiff out'
version=$("$bin/skiff" --version)
check "pkg_config_knows_the_version" eval '[ "skiff $(skiff_pc --modversion)" = "$version" ]'

# ---- a program against it ----
for header in env policy skiff status; do
    echo "#include <skiff/$header.h>" >$header.c
    check "${header}_h_stands_alone" quietly "${CC:-cc}" -std=c99 -Wall -Wextra -Wpedantic -Werror -c -I"$include" $header.c
done
# shellcheck disable=SC2046 # lists of words
check "the_example_builds" quietly "${CC:-cc}" -std=c11 -O2 -Wall -Wextra -Wpedantic -Werror \
    "$SKIFF_SOURCE_DIR/examples/act.c" $(skiff_pc --cflags --libs) -lm -o act
check "the_program_trains" quietly "$bin/skiff" train "$SKIFF_SOURCE_DIR/configs/cartpole_ppo.yaml" --run-dir "$scratch/run"
balances() {
    LD_LIBRARY_PATH=$lib ./act "$scratch/run" >out 2>err || { show out; show err; false; }
    grep -q 'balanced for 500 of 500 steps' out
}
check "the_example_acts" balances
exports() {
    "$bin/skiff" export "$scratch/run" --c pilot --out "$scratch" >out 2>err && grep -q 'pilot\.h$' out &&
        quietly "${CC:-cc}" -std=c99 -Wall -Wextra -Wpedantic -Werror -c pilot.c
}
check "the_program_exports" exports
acts_alone() {
    quietly "${CC:-cc}" -O2 -I"$include" "$SKIFF_SOURCE_DIR/examples/act.c" "$lib/libskiff.a" -ljansson -lsodium -lm \
        -lpthread -o act_static && ./act_static "$scratch/run" | grep -q 'balanced for 500 of 500 steps'
}
check "the_static_library_acts_with_jansson_and_libsodium_alone" acts_alone
# ---- tasks and actors ----
examples=$SKIFF_SOURCE_DIR/examples
builds() { # PROGRAM SOURCE
    # shellcheck disable=SC2046 # lists of words
    quietly "${CC:-cc}" -std=c11 -O2 -Wall -Wextra -Wpedantic -Werror "$2" $(skiff_pc --cflags --libs) -o "$1"
}
check "a_program_of_tasks_builds" builds parallel_pi "$examples/parallel_pi.c"
check "a_program_of_tasks_runs" eval 'env -u SKIFF_WORKER LD_LIBRARY_PATH="$lib" ./parallel_pi >out 2>err &&
    grep -q "pi is about 3.14" out || { show out; show err; false; }'
check "a_program_with_a_plugin_builds" eval 'builds plugin_tasks "$examples/plugin_tasks/main.c" &&
    quietly "${CC:-cc}" -O2 -shared -fPIC -fvisibility=hidden -I"$include" "$examples/plugin_tasks/words.c" -o words.so'
check "a_program_with_a_plugin_runs" eval 'env -u SKIFF_WORKER LD_LIBRARY_PATH="$lib" ./plugin_tasks ./words.so \
    >out 2>err && grep -q "words: 9 and 4" out || { show out; show err; false; }'

# ---- when it cannot ----
says_why() {
    LD_LIBRARY_PATH=$lib ./act "$scratch/nowhere" >out 2>err
    [ $? = 1 ] && grep -q nowhere err
}
check "the_example_says_why_it_cannot" says_why
finish
