/* namespaces_tasks: does one slow host hold up the others? A head that sends the same work to all hosts but one, first
 * alone, then while that one has megabytes to fetch over its slow way. Also the worker program of its nodes.
 *
 * usage: namespaces_tasks BIND KEY_FILE N_HOSTS SLOW_HOST SECONDS      each worker has $SKIFF_TEST_HOST
 *
 * Says "listening" once hosts can join, then one JSON object: rounds per second alone and meanwhile, and whether the
 * slow host was still fetching at the end of that. Then it waits until all has arrived there too, and says
 * "arrived". */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "skiff/skiff.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* More than what libzmq itself keeps for a host (256 frames): the head has to wait with the rest. */
enum { HOSTS_MAX = 16, ROUND_BYTES = 256 << 10, SLOW_BYTES = 32 << 20, WAIT_MS = 60000 };

/* ---- what runs on the hosts ---------------------------------------------------------------------------------- */
static sk_status where(sk_call *call, sk_error *reterr) {
    const char *name = getenv("SKIFF_TEST_HOST");
    if (!name) return SK_FAIL(reterr, SK_ENOTFOUND, "there is no SKIFF_TEST_HOST");
    return sk_call_write(call, 0, name, strlen(name) + 1, reterr);
}

/* A sum of all bytes: that they are there, and the right ones. */
static sk_status sum(sk_call *call, sk_error *reterr) {
    sk_bytes bytes = sk_call_arg(call, 0);
    uint64_t total = 0;
    for (size_t i = 0; i < bytes.size; i++) total += ((const uint8_t *)bytes.data)[i];
    return sk_call_write(call, 0, &total, sizeof total, reterr);
}

static const sk_task_def tasks[] = {{"namespaces.where", where}, {"namespaces.sum", sum}};
static const sk_module   module = {.abi = SK_MODULE_ABI, .struct_size = sizeof(sk_module), .name = "namespaces",
                                   .tasks = tasks, .n_tasks = SK_COUNT(tasks)};
static const sk_module *const modules[] = {&module};

/* ---- the head ------------------------------------------------------------------------------------------------ */
typedef struct head {
    sk_runtime *rt;
    sk_group    group; /* one bundle per host */
    int         n_hosts, slow; /* its bundle */
    uint8_t    *bytes; /* (SLOW_BYTES) */
} head;

static sk_status submit(head *h, const char *function, int bundle, sk_ref arg, sk_ref *ret_ref, sk_error *reterr) {
    sk_arg  args[] = {sk_by_ref(arg)};
    sk_task task = {.function = function, .args = args, .n_args = arg.id ? 1 : 0, .placement = SK_PLACE_REMOTE,
                    .group = h->group, .bundle = bundle};
    return sk_submit(h->rt, &task, ret_ref, reterr);
}

static sk_status find_slow(head *h, const char *name, sk_error *reterr) {
    h->slow = -1;
    for (int i = 0; i < h->n_hosts; i++) {
        sk_ref   ref = {0};
        sk_bytes value = {0};
        SK_TRY(submit(h, "namespaces.where", i, (sk_ref){0}, &ref, reterr));
        SK_TRY(sk_get(h->rt, ref, WAIT_MS, &value, reterr));
        if (strcmp(value.data, name) == 0) h->slow = i;
        sk_release(h->rt, &ref);
    }
    if (h->slow < 0) return SK_FAIL(reterr, SK_ENOTFOUND, "no bundle of the group lies on host \"%s\"", name);
    return SK_OK;
}

static uint64_t sum_of(const uint8_t *bytes, size_t size) {
    uint64_t total = 0;
    for (size_t i = 0; i < size; i++) total += bytes[i];
    return total;
}

static sk_status check_sum(head *h, sk_ref ref, uint64_t wanted, sk_error *reterr) {
    sk_bytes value = {0};
    uint64_t got = 0;
    SK_TRY(sk_get(h->rt, ref, WAIT_MS, &value, reterr));
    if (value.size == sizeof got) memcpy(&got, value.data, sizeof got);
    if (got != wanted) return SK_FAIL(reterr, SK_ECORRUPT, "a host read other bytes than were sent");
    return SK_OK;
}

/* A new object to every fast host, and their answers. */
static sk_status run_round(head *h, sk_error *reterr) {
    sk_ref object = {0}, answers[HOSTS_MAX] = {0};
    h->bytes[0]++;
    uint64_t wanted = sum_of(h->bytes, ROUND_BYTES);
    SK_TRY(sk_put(h->rt, h->bytes, ROUND_BYTES, &object, reterr));
    for (int i = 0; i < h->n_hosts; i++)
        if (i != h->slow) SK_TRY(submit(h, "namespaces.sum", i, object, &answers[i], reterr));
    for (int i = 0; i < h->n_hosts; i++) {
        if (i != h->slow) SK_TRY(check_sum(h, answers[i], wanted, reterr));
        sk_release(h->rt, &answers[i]);
    }
    sk_release(h->rt, &object);
    return SK_OK;
}

static sk_status run_rounds(head *h, double seconds, double *ret_per_s, sk_error *reterr) {
    double start_s = sk_clock_now_s(), now_s = start_s;
    int    n = 0;
    for (; now_s - start_s < seconds; n++) {
        SK_TRY(run_round(h, reterr));
        now_s = sk_clock_now_s();
    }
    *ret_per_s = n / (now_s - start_s);
    return SK_OK;
}

static sk_status compare(head *h, double seconds, sk_error *reterr) {
    double   alone = 0.0, meanwhile = 0.0;
    sk_ref   large = {0}, answer = {0};
    uint8_t  ended = 0;
    int      n_ended = 0;
    SK_TRY(run_rounds(h, 0.5, &alone, reterr)); /* warm: workers are there */
    SK_TRY(run_rounds(h, seconds, &alone, reterr));
    uint64_t wanted = sum_of(h->bytes, SLOW_BYTES);
    SK_TRY(sk_put(h->rt, h->bytes, SLOW_BYTES, &large, reterr));
    SK_TRY(submit(h, "namespaces.sum", h->slow, large, &answer, reterr));
    SK_TRY(run_rounds(h, seconds, &meanwhile, reterr));
    sk_status waited = sk_wait(h->rt, &answer, 1, 1, 0, &ended, &n_ended, NULL);
    if (waited != SK_OK && waited != SK_ETIMEOUT)
        return SK_FAIL(reterr, waited, "cannot ask for the slow host's answer");
    printf("{\"alone\": %.3f, \"meanwhile\": %.3f, \"was_fetching\": %s}\n", alone, meanwhile,
           ended ? "false" : "true");
    fflush(stdout);
    SK_TRY(check_sum(h, answer, wanted, reterr));
    sk_release(h->rt, &answer);
    sk_release(h->rt, &large);
    printf("arrived\n");
    return SK_OK;
}

static sk_status make_group(head *h, sk_error *reterr) {
    static const sk_resource one_cpu = {"cpu", 1.0};
    sk_bundle                bundles[HOSTS_MAX];
    for (int i = 0; i < h->n_hosts; i++) bundles[i] = (sk_bundle){&one_cpu, 1};
    SK_TRY(sk_group_create(h->rt, bundles, h->n_hosts, SK_STRICT_SPREAD, &h->group, reterr));
    return sk_group_wait(h->rt, h->group, WAIT_MS, reterr);
}

static sk_status run(head *h, char **argv, sk_error *reterr) {
    sk_cluster_params cluster = {.bind = argv[1], .key_path = argv[2], .build = "namespaces"};
    sk_runtime_params params = {.name = "namespaces", .modules = modules, .n_modules = SK_COUNT(modules),
                                .worker_has_modules = true, .cluster = &cluster};
    SK_TRY(sk_runtime_create(&params, &h->rt, reterr));
    printf("listening\n");
    fflush(stdout);
    SK_TRY(sk_runtime_wait_hosts(h->rt, h->n_hosts, WAIT_MS, NULL, reterr));
    SK_TRY(make_group(h, reterr));
    SK_TRY(find_slow(h, argv[4], reterr));
    return compare(h, atof(argv[5]), reterr);
}

static void print_line(void *user, sk_log_level level, const char *line) {
    (void)user, (void)level;
    fprintf(stderr, "%s\n", line);
}

int main(int argc, char **argv) {
    sk_error err = {0};
    sk_log_set_sink(print_line, NULL);
    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        return sk_worker_main(argc - 2, argv + 2, modules, SK_COUNT(modules));
    head h = {.n_hosts = argc == 6 ? atoi(argv[3]) : 0};
    if (h.n_hosts < 2 || h.n_hosts > HOSTS_MAX) {
        fprintf(stderr, "usage: namespaces_tasks BIND KEY_FILE N_HOSTS SLOW_HOST SECONDS\n");
        return 2;
    }
    h.bytes = calloc(1, SLOW_BYTES);
    if (!h.bytes) return 1;
    for (int i = 0; i < SLOW_BYTES; i++) h.bytes[i] = (uint8_t)((unsigned)i * 2654435761u >> 24);
    sk_status status = run(&h, argv, &err);
    if (status != SK_OK) fprintf(stderr, "namespaces_tasks: %s\n", err.msg);
    if (h.rt) sk_group_destroy(h.rt, &h.group);
    sk_runtime_destroy(&h.rt);
    free(h.bytes);
    return status == SK_OK ? 0 : 1;
}
