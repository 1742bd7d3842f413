/* Objects: put, get, counts across processes, spilling, losing and making again. */
#include "tests/runtime/harness.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

enum { KIB = 1024, MIB = 1024 * 1024 };

static sk_runtime *start_store(size_t store_bytes, size_t spill_bytes) {
    return start_with((sk_runtime_params){.store_bytes = store_bytes, .spill_bytes = spill_bytes});
}

/* ---- put and get ---------------------------------------------------------------------------------------------------- */
Test(objects, come_back_as_they_were_put) {
    size_t      sizes[] = {0, 1, 4095, 4096, 4097, 65536, 3 * MIB};
    sk_runtime *rt = start();
    uint8_t    *bytes = malloc(3 * MIB);
    probe_fill(bytes, 3 * MIB);
    for (int i = 0; i < SK_COUNT(sizes); i++) {
        sk_ref   copied = {0}, filled = put(rt, sizes[i]);
        sk_error err = {0};
        cr_assert_eq(sk_put(rt, bytes, sizes[i], &copied, &err), SK_OK, "%s", err.msg);
        sk_bytes a = value_of(rt, copied), b = value_of(rt, filled);
        cr_assert(a.size == sizes[i] && b.size == sizes[i]);
        cr_assert(probe_is_filled(a) && probe_is_filled(b), "%zu bytes", sizes[i]);
        drop(rt, copied);
        drop(rt, filled);
    }
    free(bytes);
    AWAIT(seen()->n_objects == 0 && seen()->store_used == 0);
    finish(rt);
}

/* Reading is looking at the object's own memory: the same place each time, and so for the results of tasks. */
Test(objects, are_read_in_place) {
    sk_runtime *rt = start();
    sk_ref      refs[] = {put(rt, 64), put(rt, 1 * MIB), run_long(rt, "probe.big", 1 * MIB)};
    for (int i = 0; i < SK_COUNT(refs); i++) {
        sk_bytes first = value_of(rt, refs[i]), second = value_of(rt, refs[i]);
        cr_assert_eq(first.data, second.data);
        cr_assert_eq((uintptr_t)first.data % (i ? 64 : 16), 0, "%p", first.data);
        cr_assert(probe_is_filled(first));
        drop(rt, refs[i]);
    }
    finish(rt);
}

Test(objects, cannot_be_read_before_they_are_sealed) {
    sk_runtime *rt = start();
    for (int i = 0; i < 2; i++) {
        sk_ref   ref = {0};
        void    *data = NULL;
        sk_error err = {0};
        size_t   size = i ? MIB : 100;
        cr_assert_eq(sk_put_begin(rt, size, &ref, &data, &err), SK_OK, "%s", err.msg);
        cr_assert_eq((uintptr_t)data % 64, 0);
        cr_assert_eq(sk_get(rt, ref, 5, NULL, &err), SK_ETIMEOUT);
        sk_ref sum = run_on(rt, "probe.sum", ref); /* waits for it as well */
        probe_fill(data, size);
        cr_assert_eq(sk_put_end(rt, ref, &err), SK_OK, "%s", err.msg);
        cr_assert(probe_is_filled(value_of(rt, ref)));
        cr_assert_eq((uint64_t)take_long(rt, sum), probe_sum(value_of(rt, ref)));
        drop(rt, ref);
    }
    sk_ref abandoned = {0};
    void  *data = NULL;
    cr_assert_eq(sk_put_begin(rt, MIB, &abandoned, &data, NULL), SK_OK);
    drop(rt, abandoned);
    AWAIT(seen()->store_used == 0);
    finish(rt);
}

Test(objects, unknown_references_are_refused) {
    sk_runtime *rt = start();
    sk_ref      none = {0}, made_up = {UINT64_C(0x123456789)};
    sk_error    err = {0};
    cr_assert_neq(sk_get(rt, none, 0, NULL, &err), SK_OK);
    cr_assert_neq(err.msg[0], 0);
    cr_assert_neq(sk_get(rt, made_up, 0, NULL, &err), SK_OK);
    cr_assert_neq(err.msg[0], 0);
    sk_ref gone = put(rt, 100), copy = gone;
    sk_release(rt, &gone);
    cr_assert_neq(sk_get(rt, copy, 0, NULL, &err), SK_OK);
    finish(rt);
}

/* ---- counts ------------------------------------------------------------------------------------------------------------ */
Test(objects, live_as_long_as_somebody_counts_on_them) {
    sk_runtime *rt = start();
    sk_ref      ref = put(rt, MIB), same = ref;
    cr_assert_geq(seen()->store_used, MIB);
    sk_acquire(rt, ref);
    drop(rt, ref);
    cr_assert(probe_is_filled(value_of(rt, same)), "one count is left");
    drop(rt, same);
    AWAIT(seen()->n_objects == 0 && seen()->store_used == 0);
    finish(rt);
}

Test(objects, live_as_long_as_another_process_counts_on_them) {
    sk_runtime *rt = start();
    sk_actor    keeper = make(rt, "keeper", SK_PLACE_PROCESS);
    sk_ref      ref = put(rt, MIB), same = ref;
    uint64_t    wanted = probe_sum(value_of(rt, ref)), sum = 0;
    take(rt, call(rt, keeper, PROBE_KEEP, &ref, sizeof ref), &sum, sizeof sum);
    cr_assert_eq(sum, wanted);
    drop(rt, ref);
    take(rt, run(rt, "probe.read_ref", &same, sizeof same), &sum, sizeof sum);
    cr_assert_eq(sum, wanted, "it lives on the keeper's count alone");
    cr_assert_geq(seen()->store_used, MIB);
    take(rt, call(rt, keeper, PROBE_DROP, NULL, 0), NULL, 0);
    AWAIT(seen()->n_objects == 0 && seen()->store_used == 0);
    finish(rt);
}

Test(objects, put_by_a_worker_are_read_by_the_driver) {
    sk_runtime *rt = start();
    for (int64_t size = 100; size <= 1000000; size *= 100) {
        sk_actor keeper = make(rt, "keeper", SK_PLACE_PROCESS);
        sk_ref   ref;
        take(rt, call_long(rt, keeper, PROBE_PUT, size), &ref, sizeof ref);
        sk_acquire(rt, ref);
        take(rt, call(rt, keeper, PROBE_DROP, NULL, 0), NULL, 0);
        sk_actor_join(rt, &keeper, 1, READY_MS);
        sk_bytes value = value_of(rt, ref);
        cr_assert(value.size == (size_t)size && probe_is_filled(value), "it outlives who put it");
        drop(rt, ref);
    }
    AWAIT(seen()->n_objects == 0 && seen()->store_used == 0);
    finish(rt);
}

Test(objects, of_a_killed_worker_are_given_back) {
    sk_runtime *rt = start();
    sk_ref      shared = put(rt, MIB);
    for (int i = 0; i < 3; i++) {
        sk_actor keeper = make(rt, "keeper", SK_PLACE_PROCESS), other = make(rt, "other", SK_PLACE_PROCESS);
        sk_ref   own;
        uint64_t sum;
        take(rt, call(rt, keeper, PROBE_KEEP, &shared, sizeof shared), &sum, sizeof sum);
        take(rt, call_long(rt, other, PROBE_PUT, 2 * MIB), &own, sizeof own);
        drop(rt, call_long(rt, keeper, PROBE_BIG, 3 * MIB)); /* perhaps in the middle of this */
        kill(pid_of(rt, keeper), SIGKILL);
        kill(pid_of(rt, other), SIGKILL);
        AWAIT(sk_actor_check(rt, keeper, NULL, NULL) == SK_EDEAD && sk_actor_check(rt, other, NULL, NULL) == SK_EDEAD);
        AWAIT(seen()->store_used < 2 * MIB);
    }
    cr_assert(probe_is_filled(value_of(rt, shared)), "what others count on stays");
    drop(rt, shared);
    AWAIT(seen()->n_objects == 0 && seen()->store_used == 0);
    leave(rt);
}

/* ---- the store is full ---------------------------------------------------------------------------------------------------- */
Test(objects, go_to_the_disk_and_come_back) {
    enum { N = 10 };
    sk_runtime *rt = start_store(4 * MIB, 0);
    sk_ref      refs[N];
    for (int i = 0; i < N; i++) refs[i] = i % 2 ? put(rt, MIB) : run_long(rt, "probe.big", MIB);
    cr_assert_eq(sk_get_all(rt, refs, N, READY_MS, NULL), SK_OK);
    cr_assert_gt(seen()->n_spills, 0);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < N; i++) /* a task looks at it only as long as it runs */
            cr_assert_eq(take_long(rt, run_on(rt, "probe.sum", refs[i])), 131064401, "object %d", i);
    cr_assert_gt(seen()->n_unspills, 0);
    cr_assert_leq(seen()->store_used, 4 * MIB);
    for (int i = 0; i < N; i++) { /* and so does the driver */
        cr_assert(probe_is_filled(value_of(rt, refs[i])));
        drop(rt, refs[i]);
    }
    AWAIT(seen()->n_objects == 0 && seen()->store_used == 0 && seen()->spilled_bytes == 0);
    finish(rt);
}

Test(objects, that_fit_nowhere_are_refused_with_the_sizes) {
    sk_runtime *rt = start_store(2 * MIB, 3 * MIB);
    sk_ref      refs[20], ref;
    sk_error    err = {0};
    sk_status   status = SK_OK;
    int         n = 0;
    void       *data = NULL;
    while (n < 20 && status == SK_OK) {
        status = sk_put_begin(rt, MIB / 2, &refs[n], &data, &err);
        if (status == SK_OK) status = sk_put_end(rt, refs[n++], &err);
    }
    cr_assert_eq(status, SK_ELIMIT, "%s", err.msg);
    cr_assert(n >= 8 && n <= 10, "%d halves of a MiB went into 5 MiB", n);
    cr_assert(strstr(err.msg, "524288") && strstr(err.msg, "2097152") && strstr(err.msg, "3145728"), "%s", err.msg);

    /* A task's result has no room either: told in the same words, by its reference. */
    const char *msg = take_error(rt, run_long(rt, "probe.big", MIB), SK_ELIMIT);
    cr_assert(strstr(msg, "probe.big"), "%s", msg);
    for (int i = 0; i < n; i++) drop(rt, refs[i]);
    AWAIT(seen()->store_used == 0 && seen()->spilled_bytes == 0);
    ref = put(rt, MIB);
    cr_assert(probe_is_filled(value_of(rt, ref)), "with room again it goes on");
    drop(rt, ref);
    finish(rt);
}

Test(objects, in_use_are_not_moved) {
    sk_runtime *rt = start_store(2 * MIB, 16 * MIB);
    sk_ref      used = put(rt, MIB), others[8];
    sk_bytes    value = value_of(rt, used);
    for (int i = 0; i < 8; i++) others[i] = put(rt, MIB / 2);
    cr_assert(probe_is_filled(value));
    cr_assert_eq(value_of(rt, used).data, value.data);
    for (int i = 0; i < 8; i++) drop(rt, others[i]);
    drop(rt, used);
    AWAIT(seen()->store_used == 0);
    finish(rt);
}

/* Two of four objects in memory and in use, the others on the disk: nothing can move. */
static void fill_up(sk_runtime *rt, sk_ref refs[4]) {
    for (int i = 0; i < 4; i++) refs[i] = put(rt, MIB);
    for (int i = 2; i < 4; i++) value_of(rt, refs[i]);
}

Test(objects, that_have_no_room_hold_up_nobody_else) {
    sk_runtime *rt = start_store(2 * MIB, 2 * MIB);
    sk_ref      refs[4];
    fill_up(rt, refs);
    const char *msg = take_error(rt, run_on(rt, "probe.sum", refs[0]), SK_ELIMIT); /* nobody will make room */
    cr_assert(strstr(msg, "probe.sum") && strstr(msg, "1048576"), "%s", msg);
    cr_assert_eq(sk_get(rt, refs[0], READY_MS, NULL, NULL), SK_ELIMIT);

    /* One that runs might make room: the others wait, and go on as soon as there is some. */
    sk_ref  busy = run_int(rt, "probe.sleep", 300), sum = run_on(rt, "probe.sum", refs[0]);
    int64_t two = 2;
    sk_arg  arg = sk_by_value(&two, sizeof two);
    sk_task other = {.function = "probe.add", .args = &arg, .n_args = 1, .placement = SK_PLACE_THREAD};
    for (int i = 0; i < 20; i++) cr_assert_eq(take_long(rt, submit(rt, other)), 2);
    drop(rt, refs[2]);
    cr_assert_eq(take_long(rt, sum), 131064401);
    cr_assert_eq(take_int(rt, busy), 300);
    for (int i = 0; i < 4; i++)
        if (i != 2) drop(rt, refs[i]);
    AWAIT(seen()->store_used == 0 && seen()->spilled_bytes == 0);
    finish(rt);
}

/* Those that run wait for tasks which are queued behind one that has no room. */
Test(objects, that_have_no_room_do_not_lock_up_nested_tasks) {
    sk_runtime *rt = start_store(2 * MIB, 2 * MIB);
    sk_ref      refs[4], sums[8], fib = run_long(rt, "probe.fib", 13);
    fill_up(rt, refs);
    for (int i = 0; i < 8; i++) sums[i] = run_on(rt, "probe.sum", refs[i % 4]);
    cr_assert_eq(take_long(rt, fib), 233);
    for (int i = 0; i < 8; i++)
        cr_assert_neq(sk_get(rt, sums[i], READY_MS, NULL, NULL), SK_ETIMEOUT, "sum %d", i);
    leave(rt);
}

/* Not only those of other callers: what was submitted later, too. */
Test(objects, that_have_no_room_let_later_tasks_go_first) {
    sk_runtime *rt = start_store(2 * MIB, 2 * MIB);
    int32_t     ms = 10000;
    sk_ref      refs[4], slow = run(rt, "probe.sleep", &ms, sizeof ms);
    fill_up(rt, refs);
    sk_ref stuck = run_on(rt, "probe.sum", refs[0]), later = run_long(rt, "probe.add", 7);
    cr_assert_eq(take_long(rt, later), 7);
    cr_assert_eq(sk_get(rt, stuck, 0, NULL, NULL), SK_ETIMEOUT, "the one that sleeps may make room");
    drop(rt, refs[3]);
    cr_assert_eq(sk_get(rt, stuck, READY_MS, NULL, NULL), SK_OK);
    cr_assert_eq(sk_get(rt, slow, 0, NULL, NULL), SK_ETIMEOUT);
    sk_cancel(rt, slow, SK_CANCEL_KILL);
    sk_ref all[] = {slow, stuck, refs[0], refs[1], refs[2]};
    for (int i = 0; i < SK_COUNT(all); i++) drop(rt, all[i]);
    leave(rt);
}

/* One that waits for memory is one that waits, however it says so. */
Test(objects, that_a_task_makes_wait_for_room_while_another_runs) {
    sk_runtime *rt = start_store(2 * MIB, 2 * MIB);
    int32_t     ms = READY_MS;
    sk_ref      refs[4], slow = run(rt, "probe.sleep", &ms, sizeof ms);
    fill_up(rt, refs);
    sk_ref big = run_long(rt, "probe.big", MIB);
    cr_assert_eq(sk_get(rt, big, 200, NULL, NULL), SK_ETIMEOUT, "the one that sleeps may make room");
    drop(rt, refs[3]);
    cr_assert(probe_is_filled(value_of(rt, big)));
    sk_cancel(rt, slow, SK_CANCEL_KILL);
    sk_ref all[] = {slow, big, refs[0], refs[1], refs[2]};
    for (int i = 0; i < SK_COUNT(all); i++) drop(rt, all[i]);
    leave(rt);
}

static bool is_blocked(int pid) {
    const sk_board *board = look();
    for (int i = 0; i < SK_BOARD_LINES; i++)
        if (board->workers[i].pid == pid) return board->workers[i].state == SK_WORKER_BLOCKED;
    return false;
}

/* Its memory is granted, but it has not woken up: it will make room. */
Test(objects, that_a_task_makes_wait_for_one_that_has_its_memory_and_sleeps_yet) {
    sk_runtime *rt = start_store(2 * MIB, 4 * MIB);
    int32_t     ms = READY_MS;
    sk_ref      used[2] = {put(rt, MIB), put(rt, MIB)}, slow = run(rt, "probe.sleep", &ms, sizeof ms);
    for (int i = 0; i < 2; i++) value_of(rt, used[i]);
    sk_actor actor = make(rt, "sleepy", SK_PLACE_PROCESS);
    int      pid = pid_of(rt, actor);
    sk_ref   first = call_long(rt, actor, PROBE_BIG, MIB);
    AWAIT(is_blocked(pid));
    cr_assert_eq(rt->driver->n_alloc_waits, 1);
    kill(pid, SIGSTOP);
    drop(rt, used[0]);
    AWAIT(rt->driver->n_alloc_waits == 0);
    sk_cancel(rt, slow, SK_CANCEL_KILL);
    take_error(rt, slow, SK_ECANCELED);
    AWAIT(seen()->n_running == 1);
    sk_ref second = run_long(rt, "probe.big", MIB);
    cr_assert_eq(sk_get(rt, second, 200, NULL, NULL), SK_ETIMEOUT);
    kill(pid, SIGCONT);
    cr_assert_eq(sk_get(rt, first, READY_MS, NULL, NULL), SK_OK);
    cr_assert(probe_is_filled(value_of(rt, second)));
    sk_ref all[] = {used[1], first, second};
    for (int i = 0; i < SK_COUNT(all); i++) drop(rt, all[i]);
    leave(rt);
}

/* All that run wait, and have heard all there is to hear: nobody will make room, and that is told at once. */
Test(objects, that_nobody_will_make_room_for_are_refused_to_those_that_wait) {
    sk_runtime *rt = start_store(2 * MIB, 2 * MIB);
    sk_ref      refs[4], big[2];
    sk_actor    actor = make(rt, "waiter", SK_PLACE_PROCESS);
    fill_up(rt, refs);
    for (int i = 0; i < 2; i++) big[i] = run_long(rt, "probe.big", MIB);
    sk_ref calls[3];
    for (int i = 0; i < 3; i++) calls[i] = call_long(rt, actor, PROBE_BIG, MIB); /* the others wait behind the first */
    for (int i = 0; i < 2; i++) take_error(rt, big[i], SK_ELIMIT);
    for (int i = 0; i < 3; i++) take_error(rt, calls[i], SK_ELIMIT);
    for (int i = 0; i < 4; i++) drop(rt, refs[i]);
    leave(rt);
}

/* The first ones are on the disk, which has no room for those that would have to leave for them. */
Test(objects, change_places_when_memory_and_disk_are_full) {
    enum { N = 16 };
    sk_runtime *rt = start_store(2 * MIB, 2 * MIB);
    sk_ref      refs[N];
    for (int i = 0; i < N; i++) refs[i] = put(rt, MIB / 4);
    for (int i = 0; i < N / 4; i++) cr_assert(probe_is_filled(value_of(rt, refs[i])), "object %d", i);
    cr_assert_eq(sk_store_get_stats(rt->driver->store).used, 2 * MIB);
    for (int i = 0; i < N; i++) drop(rt, refs[i]);
    leave(rt);
}

/* ---- lost ------------------------------------------------------------------------------------------------------------------ */
/* Write nonsense over the file of spilled objects, which has no name. */
static void damage_spilled(const char *folder) {
    uint8_t        nonsense[4096];
    char           path[64], to[400];
    int            n_files = 0;
    DIR           *dir = opendir("/proc/self/fd");
    struct dirent *entry;
    memset(nonsense, 0xa5, sizeof nonsense);
    while (dir && (entry = readdir(dir))) {
        struct stat st;
        int         fd = atoi(entry->d_name);
        snprintf(path, sizeof path, "/proc/self/fd/%.20s", entry->d_name);
        ssize_t n = readlink(path, to, sizeof to - 1);
        if (n <= 0) continue;
        to[n] = 0;
        if (strncmp(to, folder, strlen(folder)) != 0 || !strstr(to, "(deleted)") || fstat(fd, &st) != 0) continue;
        n_files++;
        for (off_t at = 0; at < st.st_size; at += (off_t)sizeof nonsense)
            cr_assert_gt(pwrite(fd, nonsense, sizeof nonsense, at), 0);
    }
    closedir(dir);
    cr_assert_eq(n_files, 1, "%d files in %s", n_files, folder);
}

Test(objects, lost_on_the_disk_are_made_again_by_their_tasks) {
    enum { N = 8 };
    const char *folder = make_folder();
    sk_runtime *rt = start_with((sk_runtime_params){.store_bytes = 2 * MIB, .spill_dir = folder});
    sk_ref      refs[N], source = run_long(rt, "probe.add", MIB / 2), small = run_long(rt, "probe.add", 1);
    for (int i = 0; i < N; i++) {
        sk_arg args[] = {sk_by_ref(source), sk_by_ref(small)}; /* big: its size is the first of them */
        refs[i] = submit(rt, (sk_task){.function = "probe.big", .args = args, .n_args = 2});
    }
    cr_assert_eq(sk_get_all(rt, refs, N, READY_MS, NULL), SK_OK);
    drop(rt, source); /* their tasks may need it again */
    drop(rt, small);
    cr_assert_gt(seen()->spilled_bytes, 0);
    damage_spilled(folder);
    for (int i = 0; i < N; i++) {
        sk_bytes value = value_of(rt, refs[i]);
        cr_assert(value.size == MIB / 2 && probe_is_filled(value), "object %d", i);
        drop(rt, refs[i]);
    }
    cr_assert_gt(seen()->n_rebuilt, 0);
    AWAIT(seen()->n_objects == 0 && seen()->store_used == 0 && seen()->spilled_bytes == 0);
    leave(rt);
    cr_assert_eq(count_entries(folder), 2, "the file had no name");
    remove_folder(folder);
}

Test(objects, put_and_lost_on_the_disk_are_told_lost) {
    enum { N = 8 };
    const char *folder = make_folder();
    sk_runtime *rt = start_with((sk_runtime_params){.store_bytes = 2 * MIB, .spill_dir = folder});
    sk_ref      refs[N];
    int         n_lost = 0;
    for (int i = 0; i < N; i++) refs[i] = put(rt, MIB / 2);
    damage_spilled(folder);
    for (int i = 0; i < N; i++) {
        sk_error  err = {0};
        sk_bytes  value;
        sk_ref    sum = run_on(rt, "probe.sum", refs[i]);
        sk_status of_task = sk_get(rt, sum, READY_MS, NULL, &err), status = sk_get(rt, refs[i], READY_MS, &value, &err);
        cr_assert_eq(status, of_task, "a task with it as its argument fails alike");
        cr_assert(status == SK_OK || status == SK_ELOST, "%s", err.msg);
        cr_assert(status == SK_ELOST || probe_is_filled(value));
        cr_assert(status == SK_OK || err.msg[0]);
        n_lost += status == SK_ELOST;
        drop(rt, sum);
        drop(rt, refs[i]);
    }
    cr_assert(n_lost >= 4 && n_lost < N, "%d of %d are lost", n_lost, N);
    AWAIT(seen()->n_objects == 0 && seen()->store_used == 0 && seen()->spilled_bytes == 0);
    leave(rt);
    remove_folder(folder);
}
