/* build_text: which build of skiff this is. The hosts of one cluster must have the very same: what functions they have
 * and how they compute depends on it.
 *
 * Threads: the first call is made before others start. */
#ifndef SK_CLI_BUILD_TEXT_H
#define SK_CLI_BUILD_TEXT_H

/* "skiff 0.3.0 f804af4c0ffe gcc 12.2.0"; where the sources were no commit, with the hash of the program. Borrowed for
 * ever. */
const char *sk_build_text(void);

#endif
