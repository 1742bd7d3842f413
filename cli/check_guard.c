/* Looks after the process while foreign code runs in it. */
#include "cli/check.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { STACK_BYTES = 1 << 16, N_SIGNALS = 6 };
static const int signals[N_SIGNALS] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM};

struct sk_guard {
    int              kept;             /* file of what is printed           */
    int              old_out, old_err; /* where 1 and 2 belong        */
    off_t            taken;            /* what take has returned already    */
    bool             on;
    void            *stack; /* for a handler after an overflow   */
    stack_t          old_stack;
    struct sigaction old[N_SIGNALS];
    sk_guard_words   last_words;
};

static sk_guard *volatile guard; /* the one that is on, for the handlers */

/* Only what a signal handler may do. */
static void write_all(int out, const char *text, size_t size) {
    while (size > 0) {
        ssize_t n = write(out, text, size);
        if (n <= 0) return;
        text += n, size -= (size_t)n;
    }
}

/* Report, show on stderr what was printed, and leave. */
static void leave(const char *what) {
    char      text[4096];
    ssize_t   n;
    sk_guard *self = guard;
    guard = NULL;
    self->last_words(self->old_out, what);
    if (lseek(self->kept, 0, SEEK_SET) == 0)
        while ((n = read(self->kept, text, sizeof text)) > 0) write_all(self->old_err, text, (size_t)n);
    _exit(1);
}

static void on_signal(int number) {
    if (!guard) _exit(1);
    leave(number == SIGSEGV   ? "it crashed (SIGSEGV)"
          : number == SIGBUS  ? "it crashed (SIGBUS)"
          : number == SIGFPE  ? "it crashed (SIGFPE)"
          : number == SIGILL  ? "it crashed (SIGILL)"
          : number == SIGABRT ? "it aborted (SIGABRT)"
                              : "it did not come to an end in time");
}

static void on_exit_call(void) {
    if (guard) leave("it called exit");
}

void sk_guard_destroy(sk_guard **self_p) {
    if (!self_p || !*self_p) return;
    sk_guard *self = *self_p;
    if (self->on) sk_guard_end(self);
    if (self->kept >= 0) close(self->kept);
    if (self->old_out >= 0) close(self->old_out);
    if (self->old_err >= 0) close(self->old_err);
    free(self->stack);
    free(self);
    *self_p = NULL;
}

sk_status sk_guard_create(sk_guard_words last_words, sk_guard **ret_guard, sk_error *reterr) {
    static bool registered;
    SK_AUTO(sk_guard) self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "out of memory");
    self->last_words = last_words;
    self->kept = memfd_create("check-env", MFD_CLOEXEC);
    self->old_out = dup(1);
    self->old_err = dup(2);
    self->stack = malloc(STACK_BYTES);
    if (!self->stack) return SK_FAIL(reterr, SK_ENOMEM, "out of memory");
    if (self->kept < 0 || self->old_out < 0 || self->old_err < 0)
        return SK_FAIL(reterr, SK_EIO, "cannot keep what the environment prints: %s", strerror(errno));
    if (!registered && atexit(on_exit_call) != 0) return SK_FAIL(reterr, SK_ENOMEM, "out of memory");
    registered = true;
    *ret_guard = self;
    self = NULL;
    return SK_OK;
}

void sk_guard_begin(sk_guard *self, int timeout_s) {
    stack_t          stack = {.ss_sp = self->stack, .ss_size = STACK_BYTES};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK | SA_NODEFER};
    SK_ASSERT(!guard);
    fflush(stdout);
    fflush(stderr);
    dup2(self->kept, 1);
    dup2(self->kept, 2);
    guard = self;
    self->on = true;
    sigemptyset(&action.sa_mask);
    sigaltstack(&stack, &self->old_stack);
    for (int i = 0; i < N_SIGNALS; i++) sigaction(signals[i], &action, &self->old[i]);
    alarm((unsigned)timeout_s);
}

void sk_guard_end(sk_guard *self) {
    alarm(0);
    for (int i = 0; i < N_SIGNALS; i++) sigaction(signals[i], &self->old[i], NULL);
    sigaltstack(&self->old_stack, NULL);
    fflush(stdout); /* of the environment: still into the file */
    fflush(stderr);
    dup2(self->old_out, 1);
    dup2(self->old_err, 2);
    guard = NULL;
    self->on = false;
}

size_t sk_guard_take(sk_guard *self, char *ret_text, size_t size) {
    off_t end = lseek(self->kept, 0, SEEK_END);
    if (end <= self->taken) return ret_text[0] = '\0', 0;
    ssize_t n = pread(self->kept, ret_text, size - 1, self->taken);
    size_t  total = (size_t)(end - self->taken);
    ret_text[n > 0 ? n : 0] = '\0';
    for (char *s = ret_text; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == '"' || (unsigned char)*s > 0x7e) *s = *s == '\n' ? ' ' : '?';
    self->taken = end;
    return total;
}
