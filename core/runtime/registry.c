#include "core/runtime/registry.h"
