/* version: the number of this skiff, from meson.build. Any thread. */
#ifndef SK_RL_VERSION_H
#define SK_RL_VERSION_H

/* "0.1.0" */
const char *sk_version(void);

#endif
