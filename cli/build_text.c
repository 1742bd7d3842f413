#include "cli/build_text.h"
#include "cli/commit.h"
#include "core/runtime/spawn.h"
#include "rl/version.h"

#include <stdio.h>
#include <string.h>

#ifdef __clang__
#define COMPILER "clang"
#else
#define COMPILER "gcc"
#endif

enum { HASH_SHOWN = 16, COMPILER_SHOWN = 40 };

const char *sk_build_text(void) {
    static char text[160];
    char hash[SK_SPAWN_HASH_TEXT] = "";
    if (text[0]) return text;
    const char *dirty = strstr(SKIFF_COMMIT, "-dirty");
    sk_error err = {0};
    if ((!SKIFF_COMMIT[0] || dirty) && sk_spawn_hash_file("/proc/self/exe", hash, &err) != SK_OK)
        snprintf(hash, sizeof hash, "unknown");
    snprintf(text, sizeof text, "skiff %s %.32s%s%.*s %s %.*s", sk_version(), SKIFF_COMMIT, hash[0] ? "/" : "",
             HASH_SHOWN, hash, COMPILER, COMPILER_SHOWN, __VERSION__);
    return text;
}
