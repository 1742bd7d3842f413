#include "core/runtime/board.h"
