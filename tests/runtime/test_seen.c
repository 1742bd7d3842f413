/* What a running program shows on its board: counters that add up, tables, events, who waits for what. */
#include "tests/runtime/harness.h"
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>

enum { MIB = 1024 * 1024 };

static const volatile sk_board_function *function_row(const char *name) {
    for (int i = 0; i < SK_BOARD_FUNCTIONS; i++)
        if (strcmp(look()->functions[i].name, name) == 0) return &look()->functions[i];
    return NULL;
}

/* Tasks that succeed, fail, are retried and cancelled, with calls and nested ones between them. */
static void work(sk_runtime *rt) {
    enum { N = 40 };
    sk_ref    added[N], failed[N], called[N], cancelled = run_int(rt, "probe.sleep", 60000);
    sk_actor  actor = make(rt, "worker bee", SK_PLACE_PROCESS);
    for (int i = 0; i < N; i++) {
        added[i] = run_long(rt, "probe.add", i);
        failed[i] = run(rt, "probe.fail", "as it should", 12);
        called[i] = call_int(rt, actor, PROBE_SLEEP, 0);
    }
    for (int i = 0; i < N; i++) {
        cr_assert_eq(take_long(rt, added[i]), i);
        take_error(rt, failed[i], SK_EENV);
        take_int(rt, called[i]);
    }
    take_long(rt, run_long(rt, "probe.spread", N));
    take_error(rt, run_int(rt, "probe.exit", 1), SK_EDEAD); /* four runs */
    sk_cancel(rt, cancelled, SK_CANCEL_KILL);
    take_error(rt, cancelled, SK_ECANCELED);
}

Test(seen, counters_add_up) {
    sk_runtime *rt = start();
    work(rt);
    const volatile sk_board_counters *c = seen();
    AWAIT(c->n_running == 0 && c->n_queued == 0);
    cr_assert_eq(c->n_submitted, c->n_done + c->n_failed + c->n_canceled, "%llu = %llu + %llu + %llu",
                 (unsigned long long)c->n_submitted, (unsigned long long)c->n_done, (unsigned long long)c->n_failed,
                 (unsigned long long)c->n_canceled);
    cr_assert_eq(c->n_failed, 41);
    cr_assert_eq(c->n_canceled, 1);
    cr_assert_eq(c->n_retried, 3);
    cr_assert_geq(c->n_done, 40 + 40 + 41); /* an actor's create may count as well */
    cr_assert_eq(c->n_worker_deaths, 5);
    cr_assert_eq(c->n_actors, 1);
    cr_assert_eq(c->n_malformed, 0);
    AWAIT(c->n_objects == 0 && c->object_bytes == 0);
    leave(rt);
}

Test(seen, functions_are_counted_by_name) {
    sk_runtime *rt = start();
    work(rt);
    AWAIT(seen()->n_running == 0);
    const volatile sk_board_function *add = function_row("probe.add"), *fail = function_row("probe.fail"),
                                     *ended = function_row("probe.exit"), *slow = function_row("probe.sleep");
    cr_assert(add && fail && ended && slow && function_row("probe"), "tasks and classes");
    cr_assert_eq(add->n_submitted, 80);
    cr_assert_eq(add->n_done, 80);
    cr_assert_eq(fail->n_failed, 40);
    cr_assert_eq(ended->n_retried, 3);
    cr_assert_eq(ended->n_failed, 1);
    cr_assert_eq(slow->n_canceled, 1);
    cr_assert_gt(add->total_ns, 0);
    uint64_t sums[4] = {0};
    for (int i = 0; i < SK_BOARD_FUNCTIONS; i++) {
        const sk_board_function *f = &look()->functions[i];
        sums[0] += f->n_submitted, sums[1] += f->n_done, sums[2] += f->n_failed, sums[3] += f->n_canceled;
        cr_assert_eq(f->n_running, 0, "%s", f->name);
    }
    cr_assert(sums[0] == seen()->n_submitted && sums[1] == seen()->n_done && sums[2] == seen()->n_failed &&
              sums[3] == seen()->n_canceled, "the counters are the sums");
    leave(rt);
}

Test(seen, actors_and_workers_are_listed) {
    const char *folder = make_folder();
    sk_runtime *rt = start_with((sk_runtime_params){.log_dir = folder});
    sk_actor    actor = make(rt, "runner-7", SK_PLACE_PROCESS), thread = make(rt, "runner-8", SK_PLACE_THREAD);
    int         pid = pid_of(rt, actor), n_seen = 0;
    take_int(rt, call(rt, actor, PROBE_COUNT, NULL, 0));
    sk_ref busy = call_int(rt, actor, PROBE_SLEEP, 300);
    for (int i = 0; i < SK_BOARD_ACTORS; i++) {
        const volatile sk_board_actor *row = &look()->actors[i];
        if (row->id != actor.id && row->id != thread.id) continue;
        n_seen++;
        cr_assert_eq(row->state, SK_ACTOR_ALIVE);
        cr_assert_eq(row->pid, row->id == actor.id ? pid : getpid());
        cr_assert_eq(row->placement, row->id == actor.id ? SK_PLACE_PROCESS : SK_PLACE_THREAD);
        cr_assert_str_eq((const char *)row->class_name, "probe");
        cr_assert_str_eq((const char *)row->name, row->id == actor.id ? "runner-7" : "runner-8");
        if (row->id == actor.id) AWAIT(row->n_pending == 1);
    }
    cr_assert_eq(n_seen, 2);
    int line = -1;
    for (int i = 0; i < SK_BOARD_LINES; i++)
        if (look()->workers[i].pid == pid) line = i;
    cr_assert_geq(line, 0);
    const volatile sk_board_worker *worker = &look()->workers[line];
    cr_assert_eq(worker->actor, actor.id);
    cr_assert_str_eq((const char *)worker->name, "runner-7");
    AWAIT(worker->state == SK_WORKER_BUSY);
    cr_assert_eq(file_size((const char *)worker->log_path) >= 0, true, "%s", (const char *)worker->log_path);
    take_int(rt, busy);
    AWAIT(worker->state == SK_WORKER_IDLE);
    sk_actor_join(rt, &actor, 1, READY_MS);
    AWAIT(worker->pid != pid && worker->state == SK_WORKER_NONE);
    finish(rt);
    remove_folder(folder);
}

Test(seen, what_workers_print_is_in_their_logs) {
    const char *folder = make_folder();
    sk_runtime *rt = start_with((sk_runtime_params){.log_dir = folder});
    sk_actor    actor = make(rt, "writer", SK_PLACE_PROCESS);
    take_error(rt, call_int(rt, actor, PROBE_EXIT, 0), SK_EDEAD);
    take_long(rt, run_long(rt, "probe.add", 1));
    cr_assert_geq(count_entries(folder), 2 + 2, "one file per worker");
    leave(rt);
    remove_folder(folder);
}

Test(seen, large_objects_are_listed) {
    sk_runtime *rt = start_with((sk_runtime_params){.store_bytes = 4 * MIB});
    sk_ref      refs[6];
    int         n_in_memory = 0, n_spilled = 0;
    for (int i = 0; i < 6; i++) refs[i] = i ? put(rt, MIB) : run_long(rt, "probe.big", MIB);
    value_of(rt, refs[5]);
    AWAIT(seen()->n_running == 0);
    for (int i = 0; i < SK_BOARD_OBJECTS; i++) {
        const volatile sk_board_object *row = &look()->objects[i];
        if (row->id == 0) continue;
        cr_assert_eq(row->size, MIB);
        n_in_memory += row->place == SK_OBJECT_IN_MEMORY;
        n_spilled += row->place == SK_OBJECT_SPILLED;
        if (row->id == refs[5].id) cr_assert_gt(row->n_pins, 0);
        if (row->id == refs[0].id)
            cr_assert_str_eq(look()->functions[row->function].name, "probe.big");
        else
            cr_assert_eq(row->function, -1);
    }
    cr_assert_eq(n_in_memory + n_spilled, 6);
    cr_assert_geq(n_spilled, 2);
    cr_assert_eq(seen()->store_bytes, 4 * MIB);
    cr_assert_eq(seen()->spilled_bytes, (uint64_t)n_spilled * MIB);
    for (int i = 0; i < 6; i++) drop(rt, refs[i]);
    AWAIT(seen()->n_objects == 0);
    for (int i = 0; i < SK_BOARD_OBJECTS; i++) cr_assert_eq(look()->objects[i].id, 0);
    finish(rt);
}

Test(seen, runs_are_on_the_timeline) {
    const char *folder = make_folder();
    char        path[300], text[16] = "";
    sk_error    err = {0};
    sk_runtime *rt = start();
    sk_actor    actor = make(rt, "runner-0", SK_PLACE_THREAD);
    int32_t     pid = take_int(rt, submit(rt, (sk_task){.function = "probe.pid"}));
    take_int(rt, run_int(rt, "probe.sleep", 20));
    take_int(rt, call(rt, actor, PROBE_COUNT, NULL, 0));
    take_error(rt, run(rt, "probe.fail", "x", 1), SK_EENV);
    int      n_of_task = 0, n_of_call = 0, n_failed = 0;
    uint64_t n = look()->n_events;
    cr_assert_geq(n, 4);
    for (uint64_t e = 0; e < n; e++) {
        const sk_board_event *event = &look()->events[e];
        const char           *name = look()->functions[event->function].name;
        n_of_call += strcmp(name, "probe") == 0 && event->method == PROBE_COUNT && event->thread < 0;
        n_failed += strcmp(name, "probe.fail") == 0 && event->status == SK_EENV;
        if (strcmp(name, "probe.sleep") == 0) {
            n_of_task++;
            cr_assert(event->duration_ns >= 20000000 && event->start_ns > look()->started_ns && event->method == -1);
            cr_assert(event->pid != getpid() && event->thread >= 0);
        }
    }
    cr_assert(n_of_task == 1 && n_of_call == 1 && n_failed == 1 && pid != getpid());
    snprintf(path, sizeof path, "%s/trace.json", folder);
    cr_assert_eq(sk_runtime_timeline(rt, path, &err), SK_OK, "%s", err.msg);
    cr_assert_gt(file_size(path), 100);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(fgets(text, sizeof text, file));
    cr_assert(text[0] == '{' || text[0] == '[', "%s", text);
    fclose(file);
    cr_assert_neq(sk_runtime_timeline(rt, "/no/such/folder/trace.json", &err), SK_OK);
    cr_assert(strstr(err.msg, "/no/such/folder"), "%s", err.msg);
    remove_folder(folder);
    finish(rt);
}

static void *wait_for(void *arg) {
    sk_ref *ref = arg;
    (void)!sk_get((sk_runtime *)(uintptr_t)ref[1].id, ref[0], READY_MS, NULL, NULL);
    return NULL;
}

Test(seen, who_waits_is_shown_while_waiting) {
    sk_runtime *rt = start();
    sk_ref      args[2] = {run_int(rt, "probe.sleep", 400), {(uint64_t)(uintptr_t)rt}};
    pthread_t   thread;
    bool        shown = false;
    cr_assert_eq(pthread_create(&thread, NULL, wait_for, args), 0);
    while (!shown && !has_ended(rt, args[0])) {
        for (int i = 0; i < SK_BOARD_WAITS; i++)
            shown = shown || (look()->waits[i].since_ns > 0 && strstr(look()->waits[i].what, "probe.sleep"));
        usleep(1000);
    }
    pthread_join(thread, NULL);
    cr_assert(shown);
    for (int i = 0; i < SK_BOARD_WAITS; i++) cr_assert_eq(look()->waits[i].since_ns, 0);
    drop(rt, args[0]);
    finish(rt);
}

/* As if it were a quarter of a minute later. */
Test(seen, who_waits_for_what_is_logged_when_nothing_moves) {
    sk_runtime *rt = start();
    sk_ref      args[2] = {run_int(rt, "probe.sleep", 500), {(uint64_t)(uintptr_t)rt}};
    pthread_t   thread;
    cr_assert_eq(pthread_create(&thread, NULL, wait_for, args), 0);
    AWAIT(seen()->n_running == 1);
    for (int i = 0; n_warnings == 0 && i < 200; i++) { /* until the other thread waits */
        usleep(1000);
        sk__driver_lock(rt->driver);
        sk__watch_progress(rt->driver, sk_clock_now_ns() + INT64_C(15000000000));
        sk__driver_unlock(rt->driver);
    }
    cr_assert_eq(n_warnings, 2, "one line that nothing moves, and one for who waits");
    cr_assert(strstr(last_warning, "sk_get") && strstr(last_warning, "probe.sleep"), "%s", last_warning);
    cr_assert(strstr(last_warning, "worker-0") && strstr(last_warning, "process"), "%s", last_warning);
    pthread_join(thread, NULL);
    drop(rt, args[0]);
    leave(rt);
}

/* Nobody nudges it here. */
Test(seen, an_idle_program_shows_the_truth) {
    sk_runtime                       *rt = start();
    const volatile sk_board          *board = look();
    const volatile sk_board_counters *c = &board->counters;
    sk_group                          group = {0};
    const sk_resource                 two = {"cpu", 2};
    const sk_bundle                   bundle = {&two, 1};
    the_runtime = NULL;
    take_long(rt, run_long(rt, "probe.add", 1));
    AWAIT(c->n_running == 0 && c->n_done == 1 && c->n_workers > 0);
    AWAIT(board->workers[0].state == SK_WORKER_IDLE && board->workers[0].n_in_flight == 0);
    sk_ref ref = put(rt, MIB);
    cr_assert_eq(sk_group_create(rt, &bundle, 1, SK_PACK, &group, NULL), SK_OK);
    AWAIT(c->n_objects == 1 && c->store_used >= MIB && c->n_groups == 1);
    AWAIT(board->resources[0].free == board->resources[0].total - 2.0 || board->resources[1].free == 2.0);
    drop(rt, ref);
    sk_group_destroy(rt, &group);
    AWAIT(c->n_objects == 0 && c->store_used == 0 && c->n_groups == 0);
    finish(rt);
}

Test(seen, the_board_of_nobody_is_not_found) {
    sk_board_view none = {0};
    sk_error      err = {0};
    int           pids[64], n, own = 0;
    cr_assert_eq(sk_board_open(getpid(), &none, &err), SK_ENOTFOUND);
    cr_assert_neq(err.msg[0], 0);
    sk_runtime *rt = start();
    n = sk_board_find(pids, 64);
    for (int i = 0; i < n && i < 64; i++) own += pids[i] == getpid();
    cr_assert_eq(own, 1);
    finish(rt);
}
