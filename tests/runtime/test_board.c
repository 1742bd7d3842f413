#include "core/base/clock.h"
#include "core/runtime/board.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static sk_board *make_board(sk_block **ret_block) {
    sk_board *board = NULL;
    sk_error err = {0};
    cr_assert_eq(sk_board_create("a test", ret_block, &board, &err), SK_OK, "%s", err.msg);
    return board;
}

/* What the block's memory takes from the machine now [bytes]. */
static int64_t taken_bytes(sk_block *block) {
    char path[64];
    struct stat st;
    snprintf(path, sizeof path, "/proc/self/fd/%d", sk_block_get_ref(block).fd);
    cr_assert_eq(stat(path, &st), 0);
    return (int64_t)st.st_blocks * 512;
}

/* ---- the memory ------------------------------------------------------------------------------------------------- */
Test(board, is_headed_and_takes_hardly_any_memory) {
    sk_block *block = NULL;
    int64_t before_ns = sk_clock_now_ns();
    sk_board *board = make_board(&block);
    cr_assert_str_eq(board->magic, SK_BOARD_MAGIC);
    cr_assert_eq(board->version, SK_BOARD_VERSION);
    cr_assert_eq(board->pid, getpid());
    cr_assert_eq(board->size, sizeof(sk_board));
    cr_assert_str_eq(board->name, "a test");
    cr_assert(board->started_ns >= before_ns && board->started_ns <= sk_clock_now_ns());
    cr_assert_gt(board->started_s, 1500000000);
    cr_assert_eq((uintptr_t)board->lines % 64, 0);
    cr_assert_leq(taken_bytes(block), 8192);
    sk_block_destroy(&block);
}

Test(board, cuts_a_name_that_is_too_long) {
    char name[300];
    memset(name, 'x', sizeof name);
    name[299] = '\0';
    sk_block *block = NULL;
    sk_board *board = NULL;
    cr_assert_eq(sk_board_create(name, &block, &board, NULL), SK_OK);
    cr_assert_eq(strlen(board->name), SK_BOARD_NAME - 1);
    sk_block_destroy(&block);
    cr_assert_eq(sk_board_create(NULL, &block, &board, NULL), SK_OK);
    cr_assert_str_empty(board->name);
    sk_block_destroy(&block);
}

static bool is_zero(const void *data, size_t size) {
    const uint8_t *bytes = data;
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

Test(board, clears_a_line_and_gives_its_memory_back) {
    sk_block *block = NULL;
    sk_board *board = make_board(&block);
    /* Lines are not whole pages: take the first, some in the middle, and the last. */
    static const int lines[] = {0, 1, 2, 777, SK_BOARD_LINES - 1};
    for (int i = 0; i < SK_COUNT(lines); i++) {
        int line = lines[i], from = line > 0 ? line - 1 : 0, to = line < SK_BOARD_LINES - 1 ? line + 1 : line;
        for (int k = from; k <= to; k++) memset(&board->lines[k], 0xa5, sizeof(sk_line));
        int64_t before = taken_bytes(block);
        sk_board_clear_line(board, line);
        cr_assert_geq(before - taken_bytes(block), (int64_t)sizeof(sk_line) - 2 * 4096, "line %d", line);
        cr_assert(is_zero(&board->lines[line], sizeof(sk_line)), "line %d", line);
        for (int k = from; k <= to; k++) {
            if (k == line) continue;
            const uint8_t *bytes = (const uint8_t *)&board->lines[k];
            cr_assert(bytes[0] == 0xa5 && memcmp(bytes, bytes + 1, sizeof(sk_line) - 1) == 0,
                      "line %d was touched with line %d", k, line);
        }
    }
    sk_block_destroy(&block);
}

Test(board, has_lines_that_work_again_after_they_were_cleared) {
    sk_block *block = NULL;
    sk_board *board = make_board(&block);
    for (int round = 0; round < 3; round++) {
        sk_ring_writer writer;
        sk_ring_reader reader;
        sk_ring_writer_init(&writer, &board->lines[5].up);
        sk_ring_reader_init(&reader, &board->lines[5].up);
        for (int i = 0; i < 10; i++) {
            int *data = sk_ring_reserve(&writer, 60000), got;
            cr_assert_not_null(data);
            data[0] = i;
            sk_ring_commit(&writer, 60000);
            const void *bytes;
            size_t size;
            cr_assert_eq(sk_ring_peek(&reader, &bytes, &size, NULL), SK_OK);
            memcpy(&got, bytes, sizeof got);
            cr_assert_eq(got, i);
            sk_ring_pop(&reader);
        }
        sk_board_clear_line(board, 5);
    }
    sk_block_destroy(&block);
}

/* ---- mail ------------------------------------------------------------------------------------------------------- */
static void mark(void *arg, int line) { ((int *)arg)[line]++; }

Test(board, tells_once_of_each_line_that_has_mail) {
    sk_block *block = NULL;
    sk_board *board = make_board(&block);
    static int seen[SK_BOARD_LINES];
    cr_assert_not(sk_board_has_mail(board));
    sk_board_take_mail(board, mark, seen);
    static const int lines[] = {0, 63, 64, 1000, SK_BOARD_LINES - 1};
    for (int i = 0; i < SK_COUNT(lines); i++) {
        sk_board_post(board, lines[i], SK_MAIL_PLAIN);
        sk_board_post(board, lines[i], SK_MAIL_URGENT);
        cr_assert(sk_board_has_mail(board));
    }
    sk_board_take_mail(board, mark, seen);
    cr_assert_not(sk_board_has_mail(board));
    int n = 0;
    for (int i = 0; i < SK_BOARD_LINES; i++) n += seen[i];
    cr_assert_eq(n, SK_COUNT(lines));
    for (int i = 0; i < SK_COUNT(lines); i++) cr_assert_eq(seen[lines[i]], 1, "line %d", lines[i]);
    sk_block_destroy(&block);
}

/* Whether a bell was rung: a ticket that was taken before is out of date. */
static uint32_t start_listening(sk_bell *bell) { return sk_bell_prepare(bell); }
static bool was_rung(sk_bell *bell, uint32_t ticket) {
    sk_bell_cancel(bell);
    return atomic_load(&bell->count) != ticket;
}

Test(board, wakes_the_leader_and_the_pump_only_if_nobody_leads) {
    static const struct {
        uint32_t has_leader;
        sk_urgency urgency;
        bool pump;
    } cases[] = {{0, SK_MAIL_PLAIN, false}, {0, SK_MAIL_URGENT, true}, {1, SK_MAIL_PLAIN, false},
                 {1, SK_MAIL_URGENT, false}};
    sk_block *block = NULL;
    sk_board *board = make_board(&block);
    for (int i = 0; i < SK_COUNT(cases); i++)
        for (int again = 0; again < 2; again++) { /* the bit may be set already */
            atomic_store(&board->has_leader, cases[i].has_leader);
            uint32_t leader = start_listening(&board->leader), pump = start_listening(&board->pump);
            sk_board_post(board, 3, cases[i].urgency);
            cr_assert(was_rung(&board->leader, leader), "case %d", i);
            cr_assert_eq(was_rung(&board->pump, pump), cases[i].pump, "case %d", i);
        }
    sk_block_destroy(&block);
}

/* Threads post numbers into their rings and mark the mail; the leader reads only lines that are marked. A mark that is
 * lost leaves messages behind. */
typedef struct poster {
    sk_board *board;
    int line;
} poster;
enum { N_POSTERS = 3, N_POSTS = 30000 };

static void *post_numbers(void *arg) {
    poster *self = arg;
    sk_ring_writer writer;
    sk_ring_writer_init(&writer, &self->board->lines[self->line].up);
    for (uint32_t i = 0; i < N_POSTS; i++) {
        while (!sk_ring_has_room(&writer, sizeof i)) sk_ring_wait_room(&writer, 1000000000);
        memcpy(sk_ring_reserve(&writer, sizeof i), &i, sizeof i);
        sk_ring_commit(&writer, sizeof i);
        sk_board_post(self->board, self->line, SK_MAIL_PLAIN);
    }
    return NULL;
}

typedef struct leader {
    sk_ring_reader readers[N_POSTERS]; /* of lines 63, 64, 65: over the border of two words */
    uint32_t next[N_POSTERS];
    int n_read;
} leader;

static void read_line(void *arg, int line) {
    leader *self = arg;
    int i = line - 63;
    const void *data;
    size_t size;
    cr_assert(i >= 0 && i < N_POSTERS, "line %d has no mail", line);
    while (sk_ring_peek(&self->readers[i], &data, &size, NULL) == SK_OK) {
        cr_assert(size == 4 && memcmp(data, &self->next[i], 4) == 0);
        self->next[i]++;
        self->n_read++;
        sk_ring_pop(&self->readers[i]);
    }
}

Test(board, loses_no_mail) {
    sk_block *block = NULL;
    sk_board *board = make_board(&block);
    leader self = {0};
    poster posters[N_POSTERS];
    pthread_t threads[N_POSTERS];
    for (int i = 0; i < N_POSTERS; i++) {
        posters[i] = (poster){board, 63 + i};
        sk_ring_reader_init(&self.readers[i], &board->lines[63 + i].up);
        cr_assert_eq(pthread_create(&threads[i], NULL, post_numbers, &posters[i]), 0);
    }
    while (self.n_read < N_POSTERS * N_POSTS) {
        sk_board_take_mail(board, read_line, &self);
        uint32_t ticket = sk_bell_prepare(&board->leader);
        if (sk_board_has_mail(board) || self.n_read == N_POSTERS * N_POSTS) {
            sk_bell_cancel(&board->leader);
            continue;
        }
        int64_t start = sk_clock_now_ns(), patience_ns = (int64_t)20 * 1000000000;
        sk_bell_wait(&board->leader, ticket, patience_ns);
        cr_assert_lt(sk_clock_now_ns() - start, patience_ns, "something was lost after %d messages", self.n_read);
    }
    for (int i = 0; i < N_POSTERS; i++) pthread_join(threads[i], NULL);
    sk_block_destroy(&block);
}

/* ---- readers ---------------------------------------------------------------------------------------------------- */
/* Start a child that holds a board (after `change` has seen it) until it is killed, or this process ends. */
static pid_t start_holder(void (*change)(sk_board *board)) {
    int ready[2];
    cr_assert_eq(pipe2(ready, O_CLOEXEC), 0);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    char byte = 0;
    if (pid == 0) {
        sk_block *block = NULL;
        sk_board *board = NULL;
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) _exit(1);
        if (sk_board_create("held", &block, &board, NULL) != SK_OK) _exit(2);
        if (change) change(board);
        if (write(ready[1], &byte, 1) != 1) _exit(3);
        for (;;) pause();
    }
    close(ready[1]);
    cr_assert_eq(read(ready[0], &byte, 1), 1, "the child has no board");
    close(ready[0]);
    return pid;
}

static void stop_holder(pid_t pid) {
    cr_assert_eq(kill(pid, SIGKILL), 0);
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
}

/* The place of `pid` among the boards of this user, which may be others' too; -1: it is not there. */
static int place_of(int pid) {
    int pids[256];
    int n = sk_board_find(pids, SK_COUNT(pids));
    for (int i = 0; i < n && i < SK_COUNT(pids); i++)
        if (pids[i] == pid) return i;
    return -1;
}

static void set_worker(sk_board *board) {
    board->workers[7].pid = 4711;
    strcpy(board->workers[7].name, "seven");
    atomic_store(&board->lines[9].job, 99);
}

Test(board, is_found_and_read_from_another_process_until_that_ends) {
    pid_t first = start_holder(set_worker), second = start_holder(NULL);
    int a = place_of(first), b = place_of(second);
    cr_assert(a >= 0 && b > a, "oldest first: places %d and %d", a, b);
    int n = sk_board_find(NULL, 0);
    cr_assert_geq(n, 2);

    sk_board_view view = {0};
    sk_error err = {0};
    cr_assert_eq(sk_board_open(first, &view, &err), SK_OK, "%s", err.msg);
    cr_assert_str_eq(view.board->name, "held");
    cr_assert_eq(view.board->pid, first);
    cr_assert_eq(view.board->workers[7].pid, 4711);
    cr_assert_str_eq(view.board->workers[7].name, "seven");
    cr_assert_eq(atomic_load((_Atomic uint64_t *)&view.board->lines[9].job), 99);

    stop_holder(first);
    cr_assert_str_eq(view.board->workers[7].name, "seven", "what was mapped stays");
    char name[SK_BOARD_NAME]; /* and can be read from its descriptor, at the same place */
    off_t at = (off_t)((const char *)view.board->workers[7].name - (const char *)view.map);
    cr_assert_eq(pread(view.fd, name, sizeof name, at), (ssize_t)sizeof name);
    cr_assert_str_eq(name, "seven");
    sk_board_close(&view);
    sk_board_close(&view);
    cr_assert_null(view.board);
    cr_assert_eq(place_of(first), -1);
    cr_assert_eq(sk_board_open(first, &view, &err), SK_ENOTFOUND);
    stop_holder(second);
}

Test(board, is_found_oldest_first_where_there_is_no_room_for_all) {
    pid_t holders[4];
    int pids[256], few[2];
    for (int i = 0; i < SK_COUNT(holders); i++) holders[i] = start_holder(NULL);
    int n = sk_board_find(pids, SK_COUNT(pids)), n_few = sk_board_find(few, 2);
    cr_assert_geq(n, 4);
    cr_assert_geq(n_few, 4, "it says how many there are");
    int at = 0; /* other programs of this user come and go */
    for (int i = 0; i < n && at < 4; i++) at += pids[i] == holders[at];
    cr_assert_eq(at, 4, "in order of their start");
    for (int i = 0; i < SK_COUNT(holders); i++) stop_holder(holders[i]);
}

Test(board, of_this_process_can_be_read_too) {
    sk_block *block = NULL;
    sk_board *board = make_board(&block);
    sk_board_view view = {0};
    sk_error err = {0};
    cr_assert_eq(sk_board_open(getpid(), &view, &err), SK_OK, "%s", err.msg);
    cr_assert_str_eq(view.board->name, "a test");
    board->workers[3].pid = 5;
    cr_assert_eq(view.board->workers[3].pid, 5, "the view is live");
    sk_board_close(&view);
    sk_block_destroy(&block);
}

static void set_old(sk_board *board) { board->version = SK_BOARD_VERSION + 1; }
static void set_other_size(sk_board *board) { board->size -= 64; }
static void set_other_pid(sk_board *board) { board->pid++; }
static void set_other_magic(sk_board *board) { board->magic[0] = 'X'; }

static sk_status open_changed(void (*change)(sk_board *board), sk_error *reterr) {
    pid_t pid = start_holder(change);
    sk_board_view view = {0};
    sk_status status = sk_board_open(pid, &view, reterr);
    bool is_found = place_of(pid) >= 0;
    cr_assert_eq(is_found, status == SK_EVERSION, "a board of another version is shown, others are none");
    stop_holder(pid);
    cr_assert_null(view.board);
    return status;
}

Test(board, of_another_version_is_refused_naming_both) {
    sk_error err = {0};
    char text[32];
    cr_assert_eq(open_changed(set_old, &err), SK_EVERSION);
    snprintf(text, sizeof text, "version %u", SK_BOARD_VERSION + 1);
    cr_assert(strstr(err.msg, text), "%s", err.msg);
    snprintf(text, sizeof text, "version %u", SK_BOARD_VERSION);
    cr_assert(strstr(err.msg, text), "%s", err.msg);
    cr_assert_eq(open_changed(set_other_size, &err), SK_EVERSION);
    snprintf(text, sizeof text, "%zu", sizeof(sk_board));
    cr_assert(strstr(err.msg, text), "%s", err.msg);
    snprintf(text, sizeof text, "%zu", sizeof(sk_board) - 64);
    cr_assert(strstr(err.msg, text), "%s", err.msg);
}

Test(board, that_is_foreign_is_none) {
    sk_error err = {0};
    cr_assert_eq(open_changed(set_other_pid, &err), SK_ENOTFOUND);
    cr_assert_eq(open_changed(set_other_magic, &err), SK_ENOTFOUND);
    sk_board_view view = {0};
    cr_assert_eq(sk_board_open(getpid(), &view, &err), SK_ENOTFOUND);
    cr_assert(strstr(err.msg, "no runtime"), "%s", err.msg);
    cr_assert_eq(sk_board_open(-5, &view, &err), SK_ENOTFOUND);
    cr_assert_eq(sk_board_open(INT32_MAX, &view, &err), SK_ENOTFOUND);
}

/* A memory file that says that it is a board, but could be cut under a reader, or is shorter than it says. */
static void expect_refused_file(unsigned flags, off_t size, int seals) {
    int fd = memfd_create("skiff-block", flags);
    cr_assert_geq(fd, 0);
    struct {
        char block_head[64], magic[8];
        uint32_t version;
        int32_t pid;
        uint64_t size;
        int64_t started_ns;
    } head = {.magic = SK_BOARD_MAGIC, .version = SK_BOARD_VERSION, .pid = getpid(), .size = sizeof(sk_board)};
    cr_assert_eq(write(fd, &head, sizeof head), (ssize_t)sizeof head);
    cr_assert_eq(ftruncate(fd, size), 0);
    cr_assert(seals == 0 || fcntl(fd, F_ADD_SEALS, seals) == 0);
    sk_board_view view = {0};
    sk_error err = {0};
    cr_assert_eq(sk_board_open(getpid(), &view, &err), SK_ECORRUPT, "%s", err.msg);
    close(fd);
}

Test(board, that_could_fault_under_its_reader_is_refused) {
    off_t size = (off_t)sizeof(sk_board) + 64;
    expect_refused_file(MFD_CLOEXEC | MFD_ALLOW_SEALING, size, 0);
    expect_refused_file(MFD_CLOEXEC, size, 0);
    expect_refused_file(MFD_CLOEXEC | MFD_ALLOW_SEALING, size - 64, F_SEAL_SHRINK);
    expect_refused_file(MFD_CLOEXEC | MFD_ALLOW_SEALING, 4096, F_SEAL_SHRINK);
}
