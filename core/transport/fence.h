/* fence: the handshake of two sides of which each first says something and then looks at what the other says: one
 * publishes and looks for sleepers, the other says that it sleeps and looks for what was published. If both look by
 * these functions, at least one sees the other.
 *
 * ThreadSanitizer does not know fences, but sees what goes through one word: there the look is an exchange.
 *
 * Threads: that is what it is for. */
#ifndef SK_TRANSPORT_FENCE_H
#define SK_TRANSPORT_FENCE_H
#include <stdatomic.h>
#include <stdint.h>

#if defined(__SANITIZE_THREAD__)
#define SK_FENCE_BY_EXCHANGE 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SK_FENCE_BY_EXCHANGE 1
#endif
#endif

/* The value of `word` as of after everybody can see all that this thread has stored before. */
static inline uint32_t sk__load32_after_stores(_Atomic uint32_t *word) {
#ifdef SK_FENCE_BY_EXCHANGE
    return atomic_fetch_add_explicit(word, 0, memory_order_seq_cst);
#else
    atomic_thread_fence(memory_order_seq_cst);
    return atomic_load_explicit(word, memory_order_acquire);
#endif
}

static inline uint64_t sk__load64_after_stores(_Atomic uint64_t *word) {
#ifdef SK_FENCE_BY_EXCHANGE
    return atomic_fetch_add_explicit(word, 0, memory_order_seq_cst);
#else
    atomic_thread_fence(memory_order_seq_cst);
    return atomic_load_explicit(word, memory_order_acquire);
#endif
}

#endif
