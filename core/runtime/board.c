#include "core/runtime/board.h"
#include "core/base/clock.h"
#include "core/transport/fence.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A board lies behind the block's head (block.c) in its memory file. */
#define BLOCK_HEAD_BYTES 64
#define BLOCK_FILE       "/memfd:skiff"

_Static_assert(sizeof SK_BOARD_MAGIC == 8, "written as one word");
_Static_assert(sizeof(sk_board) % 64 == 0 && sizeof(sk_line) % 64 == 0, "lines share no cache line");

/* ---- the driver ------------------------------------------------------------------------------------------ */
sk_status sk_board_create(const char *name, sk_block **ret_block, sk_board **ret_board, sk_error *reterr) {
    SK_ASSERT(ret_block && ret_board);
    sk_block *block = NULL;
    SK_TRY(sk_block_create(sizeof(sk_board), &block, reterr));
    sk_board *board = sk_block_data(block);
    /* The memory is zero and stays untouched, but for this. */
    board->version = SK_BOARD_VERSION;
    board->pid = getpid();
    board->size = sizeof *board;
    board->started_ns = sk_clock_now_ns();
    board->started_s = time(NULL);
    snprintf(board->name, sizeof board->name, "%s", name ? name : "");
    /* Last, at once: who sees the magic sees the rest. */
    uint64_t magic;
    memcpy(&magic, SK_BOARD_MAGIC, sizeof magic);
    atomic_store_explicit((_Atomic uint64_t *)(void *)board->magic, magic, memory_order_release);
    *ret_block = block;
    *ret_board = board;
    return SK_OK;
}

void sk_board_clear_line(sk_board *board, int line) {
    SK_ASSERT(board && line >= 0 && line < SK_BOARD_LINES);
    uint8_t *from = (uint8_t *)&board->lines[line], *to = from + sizeof(sk_line);
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uint8_t *first = from + (page - (uintptr_t)from % page) % page, *last = to - (uintptr_t)to % page;
    /* Whole pages go back to the machine and read as zero; the pages at both ends are shared with the neighbours. */
    if (first >= last || madvise(first, (size_t)(last - first), MADV_REMOVE) != 0) {
        memset(from, 0, sizeof(sk_line));
        return;
    }
    memset(from, 0, (size_t)(first - from));
    memset(last, 0, (size_t)(to - last));
}

void sk_board_take_mail(sk_board *board, void (*on_line)(void *arg, int line), void *arg) {
    for (int i = 0; i < SK_BOARD_LINES / 64; i++) {
        _Atomic uint64_t *word = &board->mail[i];
        if (atomic_load_explicit(word, memory_order_relaxed) == 0) continue;
        uint64_t bits = atomic_exchange_explicit(word, 0, memory_order_seq_cst);
        /* A worker that has seen its bit still set has published before: we see that from here on. */
        (void)sk__load64_after_stores(word);
        for (; bits; bits &= bits - 1) on_line(arg, i * 64 + __builtin_ctzll(bits));
    }
}

bool sk_board_has_mail(const sk_board *board) {
    uint64_t any = 0;
    for (int i = 0; i < SK_BOARD_LINES / 64; i++) any |= atomic_load_explicit(&board->mail[i], memory_order_acquire);
    return any != 0;
}

/* ---- a worker -------------------------------------------------------------------------------------------- */
void sk_board_post(sk_board *board, int line, sk_urgency urgency) {
    SK_ASSERT(board && line >= 0 && line < SK_BOARD_LINES);
    _Atomic uint64_t *word = &board->mail[line / 64];
    uint64_t bit = UINT64_C(1) << (line % 64);
    /* Set already: whoever clears it reads the ring afterwards, and that looks at what is published by now. */
    if (!(sk__load64_after_stores(word) & bit)) atomic_fetch_or_explicit(word, bit, memory_order_seq_cst);
    sk_bell_ring(&board->leader);
    /* Who leads looks for mail once more after it has said that it does not any more. */
    if (urgency == SK_MAIL_URGENT && !sk__load32_after_stores(&board->has_leader)) sk_bell_ring(&board->pump);
}

/* ---- readers --------------------------------------------------------------------------------------------- */
/* What all versions have in front. */
typedef struct board_head {
    char     magic[8];
    uint32_t version;
    int32_t  pid;
    uint64_t size;
    int64_t  started_ns;
} board_head;
_Static_assert(offsetof(sk_board, started_ns) == offsetof(board_head, started_ns), "the head of every version");

/* Open a descriptor of process `pid` if it is the board of that very process. -1: it is not. Others map it too, and a
 * store may hold anything. */
static int open_if_board(const char *dir, const char *fd_name, int pid, board_head *ret_head) {
    char path[300], target[64];
    snprintf(path, sizeof path, "%s/%s", dir, fd_name);
    ssize_t n = readlink(path, target, sizeof target);
    if (n < (ssize_t)sizeof BLOCK_FILE - 1 || memcmp(target, BLOCK_FILE, sizeof BLOCK_FILE - 1) != 0) return -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return -1;
    board_head head;
    if (pread(fd, &head, sizeof head, BLOCK_HEAD_BYTES) == (ssize_t)sizeof head &&
        memcmp(head.magic, SK_BOARD_MAGIC, sizeof head.magic) == 0 && head.pid == pid) {
        *ret_head = head;
        return fd;
    }
    close(fd);
    return -1;
}

/* A descriptor of the board of process `pid`. -1: it has none, or *ret_errno says why it cannot be looked into. */
static int open_board_of(int pid, board_head *ret_head, int *ret_errno) {
    char dir_path[32];
    snprintf(dir_path, sizeof dir_path, "/proc/%d/fd", pid);
    *ret_errno = 0;
    DIR *dir = opendir(dir_path);
    if (!dir) {
        *ret_errno = errno;
        return -1;
    }
    int fd = -1;
    for (const struct dirent *entry; fd < 0 && (entry = readdir(dir));)
        if (isdigit((unsigned char)entry->d_name[0])) fd = open_if_board(dir_path, entry->d_name, pid, ret_head);
    closedir(dir);
    return fd;
}

/* Does the process belong to this user? Root could look into all, but was asked for its own. */
static bool is_ours(const char *pid_name) {
    char path[300];
    struct stat st;
    snprintf(path, sizeof path, "/proc/%s", pid_name);
    return stat(path, &st) == 0 && st.st_uid == geteuid();
}

/* Keep the oldest `max`, in order: n have been found so far. */
static void insert(int *pids, int64_t *started, int max, int n, const board_head *head) {
    int i = n < max ? n : max;
    if (i == max && (max == 0 || started[max - 1] <= head->started_ns)) return;
    if (i == max) i--;
    for (; i > 0 && started[i - 1] > head->started_ns; i--) {
        started[i] = started[i - 1];
        pids[i] = pids[i - 1];
    }
    started[i] = head->started_ns;
    pids[i] = head->pid;
}

int sk_board_find(int *ret_pids, int max) {
    SK_ASSERT(max >= 0 && (ret_pids || max == 0));
    int64_t *started = calloc((size_t)max + 1, sizeof *started);
    DIR *dir = started ? opendir("/proc") : NULL;
    int n = 0;
    for (const struct dirent *entry; dir && (entry = readdir(dir));) {
        if (!isdigit((unsigned char)entry->d_name[0]) || !is_ours(entry->d_name)) continue;
        board_head head;
        int cause, fd = open_board_of(atoi(entry->d_name), &head, &cause);
        if (fd < 0) continue;
        close(fd);
        insert(ret_pids, started, max, n++, &head);
    }
    if (dir) closedir(dir);
    free(started);
    return n;
}

/* Only a file of the right size that cannot shrink may be touched through a mapping. Takes `fd` where it succeeds. */
static sk_status check_and_map(int fd, const board_head *head, sk_board_view *ret_view, sk_error *reterr) {
    if (head->version != SK_BOARD_VERSION || head->size != sizeof(sk_board))
        return SK_FAIL(reterr, SK_EVERSION,
                       "the runtime of process %d is of another version of skiff: its board is version %u with %llu "
                       "bytes, this program reads version %u with %zu",
                       head->pid, head->version, (unsigned long long)head->size, SK_BOARD_VERSION, sizeof(sk_board));
    struct stat st;
    size_t map_size = BLOCK_HEAD_BYTES + sizeof(sk_board);
    int seals = fcntl(fd, F_GET_SEALS);
    if (fstat(fd, &st) != 0 || (uint64_t)st.st_size != map_size || seals < 0 || !(seals & F_SEAL_SHRINK))
        return SK_FAIL(reterr, SK_ECORRUPT, "the board of process %d is not a sealed block of %zu bytes", head->pid,
                       map_size);
    void *map = mmap(NULL, map_size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return SK_FAIL(reterr, SK_ENOMEM, "cannot map the board of process %d: %s", head->pid, strerror(errno));
    *ret_view = (sk_board_view){.board = (const sk_board *)(const void *)((const uint8_t *)map + BLOCK_HEAD_BYTES),
                                .map_size = map_size,
                                .map = map,
                                .fd = fd};
    return SK_OK;
}

sk_status sk_board_open(int pid, sk_board_view *ret_view, sk_error *reterr) {
    SK_ASSERT(ret_view);
    board_head head;
    int cause, fd = open_board_of(pid, &head, &cause);
    if (cause == ENOENT || cause == ESRCH) return SK_FAIL(reterr, SK_ENOTFOUND, "there is no process %d", pid);
    if (cause) return SK_FAIL(reterr, SK_EIO, "cannot look into process %d: %s", pid, strerror(cause));
    if (fd < 0) return SK_FAIL(reterr, SK_ENOTFOUND, "process %d has no runtime of skiff", pid);
    sk_status status = check_and_map(fd, &head, ret_view, reterr); /* keeps the memory, even if the process ends */
    if (status != SK_OK) close(fd);
    return status;
}

void sk_board_close(sk_board_view *self) {
    if (!self || !self->map) return;
    munmap((void *)(uintptr_t)self->map, self->map_size);
    close(self->fd);
    close(self->fd);
    *self = (sk_board_view){0};
}
