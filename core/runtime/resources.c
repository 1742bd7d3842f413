#include "core/runtime/resources.h"
