#include "cli/interrupt.h"
#include "cli/exit_code.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

static volatile int interrupted;
static const char *volatile the_message;

static void on_signal(int signal_number) {
    if (interrupted) _exit(SK_EXIT_INTERRUPTED);
    interrupted = signal_number;
    int saved = errno;
    const char *message = the_message;
    if (message && write(STDERR_FILENO, message, strlen(message)) < 0) { /* nowhere to tell that */
    }
    errno = saved;
}

const volatile int *sk_interrupt_install(const char *message) {
    the_message = message;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL); /* cannot fail for these */
    (void)sigaction(SIGTERM, &action, NULL);
    (void)signal(SIGXFSZ, SIG_IGN); /* a file may grow no more: an error of write, as a full disk is */
    (void)signal(SIGPIPE, SIG_IGN);
    return &interrupted;
}
