#include "core/runtime/message.h"
