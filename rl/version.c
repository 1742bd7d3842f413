#include "rl/version.h"
#include "rl/version_number.h"

const char *sk_version(void) { return SKIFF_VERSION; }
