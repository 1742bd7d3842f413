#include "tests/runtime/harness.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>

static sk_block *make_block(size_t size) {
    sk_block *block = NULL;
    sk_error err = {0};
    cr_assert_eq(sk_block_create(size, &block, &err), SK_OK, "%s", err.msg);
    return block;
}

static void expect_refused(sk_block_ref ref, sk_status wanted) {
    sk_block *block = NULL;
    sk_error err = {0};
    sk_status got = sk_block_open(&ref, &block, &err);
    cr_assert_eq(got, wanted, "wanted %s, got %s: %s", sk_status_text(wanted), sk_status_text(got), err.msg);
    cr_assert_null(block);
}

Test(block, is_zeroed_and_aligned) {
    sk_block *block = make_block(100000);
    uint8_t *data = sk_block_data(block);
    cr_assert_eq((uintptr_t)data % 64, 0);
    for (int i = 0; i < 100000; i++) cr_assert_eq(data[i], 0);
    cr_assert_eq(sk_block_get_ref(block).size_bytes, 100000);
    cr_assert_eq(sk_block_get_ref(block).pid, getpid());
    sk_block_destroy(&block);
    cr_assert_null(block);
}

Test(block, refuses_sizes_that_cannot_be) {
    sk_block *block = NULL;
    sk_error err = {0};
    cr_assert_eq(sk_block_create(0, &block, &err), SK_EINVAL);
    cr_assert_eq(sk_block_create(SIZE_MAX, &block, &err), SK_EINVAL);
    cr_assert_eq(sk_block_create((size_t)1 << 62, &block, &err), SK_ENOMEM);
    cr_assert(strstr(err.msg, "4611686018427387968"), "%s", err.msg);
    cr_assert_null(block);
}

Test(block, cannot_change_its_size) {
    sk_block *block = make_block(5000);
    int fd = sk_block_get_ref(block).fd;
    cr_assert_neq(ftruncate(fd, 100), 0);
    cr_assert_neq(ftruncate(fd, 1000000), 0);
    sk_block_destroy(&block);
}

Test(block, opened_in_its_own_process_is_the_same_memory) {
    sk_block *block = make_block(64), *again = NULL;
    sk_block_ref ref = sk_block_get_ref(block);
    cr_assert_eq(sk_block_open(&ref, &again, NULL), SK_OK);
    cr_assert_eq(sk_block_data(again), sk_block_data(block));
    memset(sk_block_data(block), 7, 64);
    sk_block_destroy(&block);
    cr_assert_eq(((uint8_t *)sk_block_data(again))[63], 7, "it lives while the second user has it");
    sk_block_destroy(&again);
    expect_refused(ref, SK_ENOTFOUND);
}

Test(block, refuses_a_reference_that_does_not_fit_in_its_own_process) {
    sk_block *block = make_block(64);
    sk_block_ref ref = sk_block_get_ref(block), bad = ref;
    bad.size_bytes = 128;
    expect_refused(bad, SK_ECORRUPT);
    bad = ref;
    bad.fd++;
    expect_refused(bad, SK_ECORRUPT);
    bad = ref;
    bad.id++;
    expect_refused(bad, SK_ENOTFOUND);
    sk_block_destroy(&block);
}

Test(block, destroy_accepts_null) {
    sk_block *block = NULL;
    sk_block_destroy(&block);
    sk_block_destroy(NULL);
}

/* A worker writes what the driver reads, and the other way round. */
Test(block, is_shared_between_processes) {
    sk_runtime *rt = start();
    sk_actor actor = make(rt, "runner-0", SK_PLACE_PROCESS);
    sk_block *mine = make_block(70000), *theirs = NULL;
    fill_order fill = {.ref = sk_block_get_ref(mine), .byte = 0xc3};
    take(rt, call(rt, actor, PROBE_BLOCK_FILL, &fill, sizeof fill), NULL, 0);
    for (int i = 0; i < 70000; i++) cr_assert_eq(((uint8_t *)sk_block_data(mine))[i], 0xc3);

    int64_t size = 123457;
    sk_block_ref ref;
    sk_error err = {0};
    take(rt, call_long(rt, actor, PROBE_BLOCK_MAKE, size), &ref, sizeof ref);
    cr_assert_eq(ref.pid, pid_of(rt, actor));
    int n_fds = count_entries("/proc/self/fd");
    cr_assert_eq(sk_block_open(&ref, &theirs, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(count_entries("/proc/self/fd"), n_fds, "a mapped block keeps no descriptor");
    cr_assert_eq((uintptr_t)sk_block_data(theirs) % 64, 0);
    cr_assert_eq(sk_block_get_ref(theirs).id, ref.id);

    /* The memory outlives its owner where it is mapped; whoever comes later finds nothing. */
    sk_actor_join(rt, &actor, 1, READY_MS);
    for (int i = 0; i < size; i++) cr_assert_eq(((uint8_t *)sk_block_data(theirs))[i], 0x5a);
    expect_refused(ref, SK_ENOTFOUND);
    sk_block_destroy(&theirs);
    sk_block_destroy(&mine);
    leave(rt);
}

Test(block, a_worker_that_is_killed_leaves_nothing) {
    int n_fds = count_entries("/proc/self/fd"), n_shm = count_shm();
    sk_runtime *rt = start();
    sk_actor actor = make(rt, "runner-0", SK_PLACE_PROCESS);
    int64_t size = 1 << 20;
    sk_block_ref ref;
    take(rt, call_long(rt, actor, PROBE_BLOCK_MAKE, size), &ref, sizeof ref);
    kill(ref.pid, SIGKILL);
    cr_assert(wait_until_ended(ref.pid, READY_MS));
    expect_refused(ref, SK_ENOTFOUND);
    sk_runtime_destroy(&rt);
    cr_assert_eq(count_entries("/proc/self/fd"), n_fds);
    cr_assert_eq(count_shm(), n_shm);
}

/* References into another process that do not fit: told, and nothing is mapped or left open. */
Test(block, refuses_a_reference_that_does_not_fit_in_another_process) {
    sk_runtime *rt = start();
    sk_actor actor = make(rt, "runner-0", SK_PLACE_PROCESS);
    int64_t size = 4096;
    sk_block_ref ref, bad;
    take(rt, call_long(rt, actor, PROBE_BLOCK_MAKE, size), &ref, sizeof ref);
    int n_fds = count_entries("/proc/self/fd");

    bad = ref, bad.size_bytes = 8192;
    expect_refused(bad, SK_ECORRUPT);
    bad = ref, bad.size_bytes = UINT64_MAX - 10;
    expect_refused(bad, SK_ECORRUPT);
    bad = ref, bad.id ^= 1;
    expect_refused(bad, SK_ECORRUPT);
    bad = ref, bad.fd = 0; /* /dev/null */
    expect_refused(bad, SK_ECORRUPT);
    bad = ref, bad.fd = 9999;
    expect_refused(bad, SK_ENOTFOUND);
    bad = ref, bad.fd = -1;
    expect_refused(bad, SK_ECORRUPT);
    bad = ref, bad.pid = 0;
    expect_refused(bad, SK_ECORRUPT);
    cr_assert_eq(count_entries("/proc/self/fd"), n_fds);
    leave(rt);
}

Test(block, refuses_memory_that_is_not_sealed) {
    /* A worker is told of memory that could be shrunk under its hands. */
    sk_runtime *rt = start();
    sk_actor actor = make(rt, "runner-0", SK_PLACE_PROCESS);
    int fd = memfd_create("not-a-block", MFD_CLOEXEC);
    cr_assert_eq(ftruncate(fd, 64 + 4096), 0);
    fill_order fill = {.ref = {.pid = getpid(), .fd = fd, .id = 1, .size_bytes = 4096}, .byte = 1};
    const char *msg = take_error(rt, call(rt, actor, PROBE_BLOCK_FILL, &fill, sizeof fill), SK_ECORRUPT);
    cr_assert(strstr(msg, "is not a block"), "%s", msg);
    close(fd);
    leave(rt);
}
