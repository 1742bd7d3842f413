/* Teams of threads: every item is done once, and the caller sees all of it. Under ThreadSanitizer:
 * tests/stress/stress_team.c. */
#include "nn/cpu/team.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { N_MAX = 4 };

static sk_team *create(int n) {
    sk_team *team = NULL;
    sk_error err = {0};
    cr_assert_eq(sk_team_create(n, &team, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(sk_team_size(team), n);
    return team;
}

static void sleep_ms(long ms) { nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL); }

enum { ITEMS_MAX = 1000 };
typedef struct roll_call {
    int n_members, times[ITEMS_MAX], wrong_member;
} roll_call;
static void answer(void *arg, int item, int member) {
    roll_call *r = arg;
    r->times[item]++;
    if (member < 0 || member >= r->n_members) r->wrong_member++;
}
static void run_and_check(sk_team *team, int n_members, int n_items) {
    roll_call r = {.n_members = n_members};
    sk_team_run(team, n_items, answer, &r);
    for (int i = 0; i < ITEMS_MAX; i++) cr_assert_eq(r.times[i], i < n_items, "item %d of %d, %d members", i, n_items, n_members);
    cr_assert_eq(r.wrong_member, 0);
}

Test(team, every_item_is_done_once) {
    for (int n = 1; n <= N_MAX; n++) {
        sk_team *team = create(n);
        for (int run = 0; run < 300; run++) run_and_check(team, n, run % 3 == 0 ? run : run % 7);
        run_and_check(team, n, ITEMS_MAX);
        sk_team_destroy(&team);
        cr_assert_null(team);
    }
}

/* Items that run at the same time have different members: each marks its member as busy. */
typedef struct busy {
    _Atomic int in[N_MAX], clashes;
} busy;
static void be_busy(void *arg, int item, int member) {
    busy *b = arg;
    (void)item;
    if (atomic_fetch_add(&b->in[member], 1) != 0) atomic_fetch_add(&b->clashes, 1);
    sleep_ms(1);
    atomic_fetch_sub(&b->in[member], 1);
}
Test(team, a_member_does_one_item_at_a_time) {
    busy b = {{0}, 0};
    sk_team *team = create(N_MAX);
    for (int run = 0; run < 5; run++) sk_team_run(team, 12, be_busy, &b);
    cr_assert_eq(atomic_load(&b.clashes), 0);
    sk_team_destroy(&team);
}

/* A job sees all that the job before it wrote: cells are summed one job later. */
typedef struct ledger {
    int cell[ITEMS_MAX], round, wrong;
} ledger;
static void write_cell(void *arg, int item, int member) {
    ledger *l = arg;
    (void)member;
    l->cell[item] = l->round;
}
static void sum_cells(void *arg, int item, int member) {
    ledger *l = arg;
    (void)item, (void)member;
    int sum = 0;
    for (int i = 0; i < 16; i++) sum += l->cell[i];
    if (item == 0 && sum != 16 * l->round) l->wrong++;
}
static void keep_ledger(sk_team *team, ledger *l, int rounds) {
    for (int i = 0; i < rounds; i++) {
        l->round++;
        sk_team_run(team, 16, write_cell, l);
        sk_team_run(team, 2, sum_cells, l);
    }
}
Test(team, a_job_sees_what_the_one_before_wrote) {
    for (int n = 1; n <= N_MAX; n++) {
        ledger l = {.round = 0};
        sk_team *team = create(n);
        keep_ledger(team, &l, 3000);
        cr_assert_eq(l.wrong, 0);
        sk_team_destroy(&team);
    }
}

Test(team, sleeping_members_wake_up) {
    sk_team *team = create(3);
    for (int run = 1; run <= 20; run++) {
        sleep_ms(run % 4); /* the members' patience is well below a millisecond */
        run_and_check(team, 3, 9);
    }
    sk_team_destroy(&team);
}

static void dawdle(void *arg, int item, int member) {
    (void)arg, (void)member;
    if (item == 1) sleep_ms(3); /* the others, the caller among them, fall asleep meanwhile */
}
Test(team, a_caller_that_sleeps_until_the_last_item_wakes_up) {
    sk_team *team = create(3);
    for (int run = 0; run < 10; run++) sk_team_run(team, 3, dawdle, NULL);
    sk_team_destroy(&team);
}

static pid_t member_tid;
static void tell_tid(void *arg, int item, int member) {
    (void)arg, (void)item;
    if (member == 1) member_tid = gettid();
    sleep_ms(1); /* so that the other member gets an item too */
}
/* The state letter of a thread of this process: R runs, S sleeps. */
static char state_of(pid_t tid) {
    char path[64], text[256] = "", *end;
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)tid);
    FILE *file = fopen(path, "r");
    cr_assert(file && fgets(text, sizeof text, file) && (end = strrchr(text, ')')));
    fclose(file);
    return end[2];
}
Test(team, an_idle_member_goes_to_sleep) {
    sk_team *team = create(2);
    char state = 'R';
    while (!member_tid) sk_team_run(team, 8, tell_tid, NULL);
    for (int i = 0; i < 1000 && state != 'S'; i++) {
        sleep_ms(5);
        state = state_of(member_tid);
    }
    cr_assert_eq(state, 'S', "still %c after 5 s", state);
    sk_team_destroy(&team);
}

Test(team, starts_and_ends_many_times) {
    for (int i = 0; i < 200; i++) {
        sk_team *team = create(1 + i % N_MAX);
        if (i % 3) run_and_check(team, 1 + i % N_MAX, 5);
        sk_team_destroy(&team);
    }
}

typedef struct caller {
    sk_team *team;
    ledger l;
} caller;
static void *run_from_here(void *arg) {
    caller *c = arg;
    keep_ledger(c->team, &c->l, 1000);
    return NULL;
}
Test(team, jobs_of_several_threads_wait_for_each_other) {
    static caller a, b;
    pthread_t other;
    a.team = b.team = create(3);
    cr_assert_eq(pthread_create(&other, NULL, run_from_here, &a), 0);
    run_from_here(&b);
    pthread_join(other, NULL);
    cr_assert(a.l.wrong == 0 && b.l.wrong == 0 && a.l.round == 1000 && b.l.round == 1000);
    sk_team_destroy(&a.team);
}

Test(team, refuses_sizes_that_make_no_sense) {
    sk_team *team = NULL;
    sk_error err = {0};
    cr_assert_eq(sk_team_create(0, &team, &err), SK_EINVAL);
    cr_assert(strstr(err.msg, "got 0"), "%s", err.msg);
    cr_assert_eq(sk_team_create(-3, &team, &err), SK_EINVAL);
    cr_assert_eq(sk_team_create(1025, &team, &err), SK_EINVAL);
    cr_assert_null(team);
    sk_team_destroy(&team);
    sk_team_destroy(NULL);
}
