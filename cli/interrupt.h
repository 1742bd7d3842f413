/* interrupt: Ctrl-C and SIGTERM set a flag, so that the work can end in order; the second one ends the
 * program at once with SK_EXIT_INTERRUPTED. A closed pipe on stdout becomes a failed write instead of a
 * signal. Threads: install by the main thread, once; the flag may be read by all. */
#ifndef SK_CLI_INTERRUPT_H
#define SK_CLI_INTERRUPT_H

/* The flag: 0, the first signal's number after it came. Static storage. `message` (nullable, static storage) is written
 * to stderr then, so that nobody waits in doubt. */
const volatile int *sk_interrupt_install(const char *message);

#endif
