/* registry: the algorithms of skiff. To add one: a folder, and a line here. */
#include "algorithms/dqn/dqn.h"
#include "algorithms/ppo/ppo.h"
#include "algorithms/sac/sac.h"
#include "algorithms/td3/td3.h"
#include "rl/algorithm.h"

#include <string.h>

static const sk_algorithm_api *const algorithms[] = {
    &sk_ppo_api,
    &sk_sac_api,
    &sk_td3_api,
    &sk_ddpg_api,
    &sk_dqn_api,
};

const sk_algorithm_api *sk_algorithm_at(int index) {
    return index >= 0 && index < SK_COUNT(algorithms) ? algorithms[index] : NULL;
}

const sk_algorithm_api *sk_algorithm_find(const char *name) {
    for (int i = 0; i < SK_COUNT(algorithms); i++)
        if (strcmp(algorithms[i]->name, name) == 0) return algorithms[i];
    return NULL;
}
