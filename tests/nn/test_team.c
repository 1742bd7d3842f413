/* Teams of threads: everyone runs, everyone waits for everyone. Under ThreadSanitizer:
 * tests/stress/stress_team.c. */
#include "nn/cpu/team.h"

#include <criterion/criterion.h>
#include <pthread.h>
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

typedef struct roll_call {
    int seen[N_MAX], n_members[N_MAX];
    pthread_t thread[N_MAX];
} roll_call;
static void answer(void *arg, int member, int n_members) {
    roll_call *r = arg;
    r->seen[member]++;
    r->n_members[member] = n_members;
    r->thread[member] = pthread_self();
}

Test(team, every_member_runs_once_in_a_thread_of_its_own) {
    for (int n = 1; n <= N_MAX; n++) {
        sk_team *team = create(n);
        roll_call r = {0};
        for (int run = 1; run <= 100; run++) {
            sk_team_run(team, answer, &r);
            for (int i = 0; i < N_MAX; i++) cr_assert_eq(r.seen[i], i < n ? run : 0, "member %d of %d", i, n);
        }
        cr_assert(pthread_equal(r.thread[0], pthread_self()), "the caller is member 0");
        for (int i = 0; i < n; i++) {
            cr_assert_eq(r.n_members[i], n);
            for (int j = 0; j < i; j++) cr_assert_not(pthread_equal(r.thread[i], r.thread[j]));
        }
        sk_team_destroy(&team);
        cr_assert_null(team);
    }
}

/* Each member adds to its own cell, then, behind a barrier, sums all cells: a member that runs ahead or lags
 * is seen. */
typedef struct ledger {
    sk_team *team;
    int rounds, cell[N_MAX], wrong[N_MAX];
} ledger;
static void keep_ledger(void *arg, int member, int n) {
    ledger *l = arg;
    for (int round = 1; round <= l->rounds; round++) {
        l->cell[member] = round;
        sk_team_barrier(l->team);
        int sum = 0;
        for (int i = 0; i < n; i++) sum += l->cell[i];
        if (sum != n * round) l->wrong[member]++;
        sk_team_barrier(l->team);
    }
}

Test(team, a_barrier_holds_everyone_back) {
    for (int n = 1; n <= N_MAX; n++) {
        ledger l = {.team = create(n), .rounds = n > 2 ? 300 : 5000}; /* slow where cores are few */
        for (int run = 0; run < 3; run++) sk_team_run(l.team, keep_ledger, &l);
        for (int i = 0; i < n; i++)
            cr_assert_eq(l.wrong[i], 0, "member %d of %d was wrong %d times", i, n, l.wrong[i]);
        sk_team_destroy(&l.team);
    }
}

Test(team, sleeping_members_wake_up) {
    sk_team *team = create(3);
    roll_call r = {0};
    for (int run = 1; run <= 20; run++) {
        sleep_ms(run % 4); /* the members' patience is well below a millisecond */
        sk_team_run(team, answer, &r);
        for (int i = 0; i < 3; i++) cr_assert_eq(r.seen[i], run);
    }
    sk_team_destroy(&team);
}

static void dawdle(void *arg, int member, int n) {
    ledger *l = arg;
    (void)n;
    if (member == 1) sleep_ms(3); /* the others fall asleep in the barrier */
    l->cell[member]++;
    sk_team_barrier(l->team);
    if (member == 0) sleep_ms(3);
}
Test(team, members_that_sleep_in_a_barrier_wake_up) {
    ledger l = {.team = create(3)};
    for (int run = 1; run <= 10; run++) {
        sk_team_run(l.team, dawdle, &l);
        for (int i = 0; i < 3; i++) cr_assert_eq(l.cell[i], run);
    }
    sk_team_destroy(&l.team);
}

static pid_t member_tid;
static void tell_tid(void *arg, int member, int n) {
    (void)arg, (void)n;
    if (member == 1) member_tid = gettid();
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
    sk_team_run(team, tell_tid, NULL);
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
        roll_call r = {0};
        if (i % 3) sk_team_run(team, answer, &r);
        sk_team_destroy(&team);
    }
}

static void *run_from_here(void *arg) {
    ledger *l = arg;
    for (int run = 0; run < 50; run++) sk_team_run(l->team, keep_ledger, l);
    return NULL;
}
Test(team, runs_of_several_threads_wait_for_each_other) {
    ledger a = {.team = create(3), .rounds = 20}, b = {.team = a.team, .rounds = 20};
    pthread_t other;
    cr_assert_eq(pthread_create(&other, NULL, run_from_here, &a), 0);
    run_from_here(&b);
    pthread_join(other, NULL);
    for (int i = 0; i < 3; i++) cr_assert(a.wrong[i] == 0 && b.wrong[i] == 0);
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
