#include "cli/interrupt.h"
#include "cli/exit_code.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

static volatile int interrupted;

static void on_signal(int signal_number) {
    (void)signal_number;
    if (interrupted) _exit(SK_EXIT_INTERRUPTED);
    interrupted = 1;
}

const volatile int *sk_interrupt_install(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL); /* cannot fail for these */
    (void)sigaction(SIGTERM, &action, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    return &interrupted;
}
