#include "core/transport/ring.h"
