/* skiff rollout --actions: a file of actions. The first byte chooses the environment. */
#include "cli/commands.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char *const envs[] = {"CartPole-v1", "Pendulum-v1", "Taxi-v3", "Blackjack-v1"};
    static char        path[300];
    if (!path[0]) {
        snprintf(path, sizeof path, "%s/actions.csv", fuzz_folder());
        fuzz_mute();
    }
    if (size == 0) return 0;
    fuzz_write(path, data + 1, size - 1);
    char *argv[] = {"rollout", envs[data[0] % SK_COUNT(envs)], "--actions", path, data[0] & 4 ? "--json" : NULL, NULL};
    int   code = sk_cmd_rollout(argv[4] ? 5 : 4, argv);
    FUZZ_CHECK(code >= 0 && code <= 2);
    return 0;
}
