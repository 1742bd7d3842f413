/* asan_fork: Criterion forks for every test, from a process that has threads. AddressSanitizer (of gcc 12) does not put
 * its allocator in order for that: if a thread is in the middle of it, the child waits for ever at an allocation, about
 * once in 2,000 tests. So under AddressSanitizer this fork() tries the child's allocator out before anybody relies on
 * it, and forks again if it is stuck. In other builds this file is empty.
 *
 * Linked into every test program; Criterion finds it because test programs export their symbols. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SK_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(SK_ASAN)
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TRIES = 20, PATIENCE_MS = 3000, CHUNKS = 260, CLASS_BYTES = 1 << 17, LARGEST = 1 << 15 };

/* Enough chunks of every size class to go beyond what a thread keeps for itself, where the locks are. */
static void use_allocator(void) {
    static void *volatile chunks[CHUNKS];
    for (size_t size = 8; size <= LARGEST; size += size < 512 ? 16 : size / 8) {
        int n = (int)(CLASS_BYTES / size) + 2 < CHUNKS ? (int)(CLASS_BYTES / size) + 2 : CHUNKS;
        for (int i = 0; i < n; i++) chunks[i] = malloc(size);
        for (int i = 0; i < n; i++) free(chunks[i]);
    }
}

static int says_it_is_well(int from_child) {
    struct pollfd poll_fd = {.fd = from_child, .events = POLLIN};
    char          byte;
    return poll(&poll_fd, 1, PATIENCE_MS) == 1 && read(from_child, &byte, 1) == 1;
}

pid_t fork(void) {
    pid_t (*real_fork)(void);
    *(void **)&real_fork = dlsym(RTLD_NEXT, "fork");
    for (int i = 0; i < TRIES; i++) {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) != 0) return -1;
        pid_t child = real_fork();
        if (child == 0) {
            use_allocator();
            int told = write(ends[1], "", 1) == 1;
            close(ends[0]);
            close(ends[1]);
            if (told) return 0;
            _exit(1);
        }
        close(ends[1]);
        int well = child > 0 && says_it_is_well(ends[0]);
        close(ends[0]);
        if (well || child < 0) return child;
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    return -1;
}
#else
typedef int sk_asan_fork_is_not_needed;
#endif
