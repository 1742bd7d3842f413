#include "core/runtime/store.h"
