/* What a long run needs: episodes that end for the right reason, memory that does not grow, and speed. */
#include "cli/check.h"
#include "core/base/clock.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- ends ---- */

enum { ENDS_ENVS = 3, ENDS_EPISODES = 30 };
static const int64_t ENDS_STEPS =
    300000; /* of all environments together: an episode of random actions may be long */
static const double ENDS_S =
    10.0; /* but so much patience only                                              */

typedef struct ends {
    int64_t steps, episodes, at_limit, beyond;
    int     longest;
} ends;

/* How do episodes end where no host counts? By termination exactly at the stated limit: suspicious. */
static sk_verdict count_ends(sk_checker *check, sk_bare *self, ends *sum) {
    int    limit = check->info->max_episode_steps;
    double until_s = sk_clock_now_s() + ENDS_S;
    if (sk_bare_reset_all(check, self) != SK_CHECK_PASS) return SK_CHECK_FAIL;
    for (int64_t t = 0;
         sum->steps < ENDS_STEPS && sum->episodes < ENDS_EPISODES && sk_clock_now_s() < until_s; t++) {
        sk_check_choose(check, (int)self->rows, 0, t, self->mask, self->action);
        if (sk_bare_step(check, self, 0, self->n_envs) != SK_CHECK_PASS) return SK_CHECK_FAIL;
        for (int e = 0; e < self->n_envs; e++) {
            bool terminated = self->terminated[(size_t)e * (size_t)check->info->n_agents];
            bool over = sk_bare_settle(check, self, e);
            sum->steps++;
            if (self->age[e] > sum->longest) sum->longest = self->age[e];
            sum->beyond += limit && self->age[e] == limit + 1;
            if (!over && !(limit && self->age[e] > limit)) continue;
            sum->episodes++;
            sum->at_limit += over && terminated && self->age[e] == limit;
            if (sk_bare_reset(check, self, e, NULL) != SK_CHECK_PASS) return SK_CHECK_FAIL;
        }
    }
    return SK_CHECK_PASS;
}

sk_verdict sk_check_ends(sk_checker *check) {
    sk_bare    self;
    sk_error   error = {0};
    ends       sum = {0};
    int        limit = check->info->max_episode_steps;
    sk_verdict result = SK_CHECK_FAIL;
    if (sk_bare_create(check, ENDS_ENVS, &self, &error) != SK_OK) SK_CHECK_SAY(check, "%s", error.msg);
    else result = count_ends(check, &self, &sum);
    sk_bare_destroy(check, &self);
    if (result != SK_CHECK_PASS) return result;
    if (limit && limit > 1 && sum.at_limit >= 3 && sum.beyond == 0) {
        SK_CHECK_SAY(
            check,
            "%lld of %lld episodes were terminated exactly at step %d, the stated time limit, none went on: "
            "wanted the host to count and to truncate there",
            (long long)sum.at_limit, (long long)sum.episodes, limit);
        return SK_CHECK_FAIL;
    }
    if (!limit && sum.episodes == 0) {
        SK_CHECK_SAY(
            check,
            "no episode ended within %lld steps and no time limit is stated: wanted max_episode_steps in "
            "describe, or an end",
            (long long)sum.steps);
        return SK_CHECK_FAIL;
    }
    if (limit)
        SK_CHECK_SAY(check, "time limit %d, longest of %lld episodes %d%s", limit, (long long)sum.episodes,
                     sum.longest > limit ? limit : sum.longest, sum.beyond ? " (met)" : "");
    else
        SK_CHECK_SAY(check, "no time limit, longest of %lld episodes %d", (long long)sum.episodes,
                     sum.longest);
    return SK_CHECK_PASS;
}

/* ---- memory ---- */

enum { SPANS = 8, LAST = 4, CYCLES = 5 };
static const int64_t HEAP_SLACK = 64,
                     RESIDENT_SLACK = 1 << 20; /* growth over LAST spans that means nothing [bytes] */

/* Sanitizers bring their own heap. */
__attribute__((weak)) size_t __sanitizer_get_current_allocated_bytes(void);

static bool is_sanitized(void) { return __sanitizer_get_current_allocated_bytes != NULL; }

/* Bytes that are allocated at present, exactly. */
static int64_t heap_bytes(void) {
    if (is_sanitized()) return (int64_t)__sanitizer_get_current_allocated_bytes();
    struct mallinfo2 info = mallinfo2();
    return (int64_t)(info.uordblks + info.hblkhd);
}

/* Resident bytes of this process; 0 where that means nothing. */
static int64_t resident_bytes(void) {
    char  text[128] = "";
    long  pages = 0;
    FILE *file = is_sanitized() ? NULL : fopen("/proc/self/statm", "re");
    if (!file) return 0;
    if (!fgets(text, sizeof text, file) || sscanf(text, "%*s %ld", &pages) != 1) pages = 0;
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

typedef struct growth {
    int64_t heap[SPANS], resident[SPANS];
} growth;

static void measure(growth *self, int span) {
    self->resident[span] = resident_bytes(); /* first: it borrows from the heap */
    self->heap[span] = heap_bytes();
}

/* What was gained over the last spans if it rose in nearly all of them, else 0: a cache fills up and
 * stays, a leak goes on. */
static int64_t gained(const int64_t bytes[SPANS], int64_t slack) {
    int rises = 0;
    for (int i = SPANS - LAST; i < SPANS; i++) rises += bytes[i] > bytes[i - 1];
    int64_t sum = bytes[SPANS - 1] - bytes[SPANS - 1 - LAST];
    return rises >= LAST - 1 && sum >= slack ? sum : 0;
}

static sk_verdict judge(sk_checker *check, const growth *self, const char *cause) {
    int64_t heap = gained(self->heap, HEAP_SLACK), resident = gained(self->resident, RESIDENT_SLACK);
    if (!heap && !resident) return SK_CHECK_PASS;
    SK_CHECK_SAY(check, "%s memory grew by %lld bytes, wanted none", cause,
                 (long long)(heap ? heap : resident));
    return SK_CHECK_FAIL;
}

/* Many steps and resets of one instance. */
static sk_verdict memory_of_steps(sk_checker *check, int64_t *ret_steps) {
    static growth sizes;
    sk_lane       self;
    sk_error      error = {0};
    sk_status     status = sk_lane_create(check, SK_CHECK_ENVS, 0, &self, &error);
    for (int span = 0; status == SK_OK && span < SPANS; span++) {
        status = sk_vec_reset(self.vec, self.obs, self.mask, &error);
        for (int64_t t = 0; status == SK_OK && t < check->n_steps; t++)
            status = sk_lane_step(check, &self, t, &error);
        measure(&sizes, span);
    }
    sk_lane_destroy(&self);
    *ret_steps = SPANS * check->n_steps * SK_CHECK_ENVS;
    if (status != SK_OK) return SK_CHECK_SAY(check, "%s", error.msg), SK_CHECK_FAIL;
    char cause[96];
    snprintf(cause, sizeof cause, "over %lld steps and their resets",
             (long long)(LAST * check->n_steps * SK_CHECK_ENVS));
    return judge(check, &sizes, cause);
}

static sk_status one_life(const sk_checker *check, sk_error *reterr) {
    sk_lane   self;
    sk_status status = sk_lane_create(check, SK_CHECK_ENVS, 0, &self, reterr);
    for (int64_t t = 0; status == SK_OK && t < 3; t++) status = sk_lane_step(check, &self, t, reterr);
    sk_lane_destroy(&self);
    return status;
}

/* Many instances, one after the other. Those that take their time (another process) get fewer. */
static sk_verdict memory_of_lives(sk_checker *check) {
    static growth sizes;
    sk_error      error = {0};
    double        start_s = sk_clock_now_s();
    sk_status     status = one_life(check, &error);
    int           cycles = sk_clock_now_s() - start_s > 0.05 ? 1 : CYCLES;
    for (int span = 0; status == SK_OK && span < SPANS; span++) {
        for (int i = 0; status == SK_OK && i < cycles; i++) status = one_life(check, &error);
        measure(&sizes, span);
    }
    if (status != SK_OK) return SK_CHECK_SAY(check, "%s", error.msg), SK_CHECK_FAIL;
    char cause[64];
    snprintf(cause, sizeof cause, "over %d times create and destroy", LAST * cycles);
    return judge(check, &sizes, cause);
}

sk_verdict sk_check_memory(sk_checker *check) {
    int64_t    steps = 0;
    sk_verdict result = memory_of_steps(check, &steps);
    if (result == SK_CHECK_PASS) result = memory_of_lives(check);
    if (result == SK_CHECK_PASS)
        SK_CHECK_SAY(check, "%lld steps, then create and destroy again and again%s", (long long)steps,
                     is_sanitized() ? "; only the heap, because of a sanitizer" : "");
    return result;
}

/* ---- speed ---- */

enum { SPEED_ENVS = 64 };
static const double SPEED_S = 0.3; /* how long the speed is measured */

/* Not a promise, but good to know: environment steps per second of one thread, the host's duties included. */
sk_verdict sk_check_speed(sk_checker *check) {
    sk_lane   self;
    sk_error  error = {0};
    int64_t   t = 0;
    sk_status status = sk_lane_create(check, SPEED_ENVS, 0, &self, &error);
    double    start_s = sk_clock_now_s(), wall_s = 0;
    for (; status == SK_OK && wall_s < SPEED_S; t++) {
        /* New actions only now and then, unless a mask may have changed: drawing them costs more than a
         * step. */
        if (t % 16 == 0 || check->info->mask_size)
            sk_check_choose(check, self.rows, 0, t, self.mask, self.action);
        status = sk_lane_step_on(&self, &error);
        wall_s = sk_clock_now_s() - start_s;
    }
    if (status == SK_OK) SK_CHECK_SAY(check, "%.4g steps/s", (double)t * SPEED_ENVS / wall_s);
    else SK_CHECK_SAY(check, "%s", error.msg);
    sk_lane_destroy(&self);
    return status == SK_OK ? SK_CHECK_PASS : SK_CHECK_FAIL;
}
