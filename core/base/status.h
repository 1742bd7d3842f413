/* status: see include/skiff/status.h, which is installed; this is its short name inside the library. */
#ifndef SK_BASE_STATUS_H
#define SK_BASE_STATUS_H
#include "skiff/status.h"

#endif
