/* gymnasium: what the config of a Gymnasium environment comes to. Internal to envs/external. */
#ifndef SK_ENVS_GYMNASIUM_H
#define SK_ENVS_GYMNASIUM_H
#include "core/base/status.h"
#include "skiff/env.h"
#include <stdbool.h>

typedef struct sk_gymnasium_settings {
    char  *python;  /* the interpreter                                             */
    char  *script;  /* path of worker.py                                           */
    char  *request; /* {"id": ..., "kwargs": {name: text}} as JSON                  */
    double timeout_s;
} sk_gymnasium_settings;

/* Read the config and find the interpreter's name and the script. SK_ECONFIG, SK_ENOTFOUND. Caller deinits on
 * success. */
SK_NODISCARD sk_status sk_gymnasium_settings_init(sk_gymnasium_settings *self, const sk_env_config *config,
                                                  sk_error *reterr);
void                   sk_gymnasium_settings_deinit(sk_gymnasium_settings *self);
bool sk_gymnasium_settings_same(const sk_gymnasium_settings *a, const sk_gymnasium_settings *b);

#endif
