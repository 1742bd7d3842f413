#include "cli/cluster.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Slurm's own commands wait about as long for its controller. */
enum { ASK_MS = 15000 };

/* Run a command of Slurm's that must succeed. Caller deinits. */
static sk_status ask(const char *const *argv, sk_process_said *ret_said, sk_error *reterr) {
    SK_TRY(sk_process_run(argv, NULL, ASK_MS, ret_said, reterr));
    if (ret_said->code == 0) return SK_OK;
    ret_said->err[strcspn(ret_said->err, "\n")] = '\0';
    sk_status status = strstr(ret_said->err, "Invalid job id") ? SK_ENOTFOUND : SK_EIO;
    status = SK_FAIL(reterr, status, "%s: %s", argv[0], *ret_said->err ? ret_said->err : "it failed");
    sk_process_said_deinit(ret_said);
    return status;
}

/* ---- jobs ---- */
/* The value of NAME=VALUE in a line of words, up to the next blank. */
static bool find_field(const char *text, const char *name, char *ret_value, size_t size) {
    size_t length = strlen(name);
    for (const char *at = text; (at = strstr(at, name)); at += length) {
        if ((at > text && at[-1] != ' ') || at[length] != '=') continue;
        const char *value = at + length + 1;
        size_t n = strcspn(value, " \n");
        if (n >= size) return false;
        memcpy(ret_value, value, n);
        ret_value[n] = '\0';
        return true;
    }
    return false;
}

/* A path, which may have blanks in it: it ends before the next NAME=. */
static void find_path(const char *text, const char *name, char *ret_path, size_t size) {
    char head[32];
    snprintf(head, sizeof head, " %s=", name);
    const char *at = strstr(text, head);
    *ret_path = '\0';
    if (!at) return;
    at += strlen(head);
    const char *end = at;
    while (*end && *end != '\n') {
        if (*end == ' ') {
            const char *word = end + 1;
            while (isalpha((unsigned char)*word)) word++;
            if (*word == '=' || *word == '\0' || *word == '\n') break;
        }
        end++;
    }
    if ((size_t)(end - at) >= size) return;
    memcpy(ret_path, at, (size_t)(end - at));
    ret_path[end - at] = '\0';
}

static int64_t read_time(const char *text) {
    struct tm tm = {.tm_isdst = -1};
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    return end && *end == '\0' ? (int64_t)mktime(&tm) : 0;
}

sk_status sk_slurm_job_parse(const char *text, sk_slurm_job *ret_job, sk_error *reterr) {
    sk_slurm_job job = {0};
    char value[64] = "";
    /* what comes before is the user's own text */
    const char *from = strstr(text, " UserId=");
    if (!from || !find_field(from, "JobState", job.state, sizeof job.state))
        return SK_FAIL(reterr, SK_ECORRUPT, "scontrol show job: no JobState in \"%.100s\"", text);
    if (!find_field(from, "Reason", job.reason, sizeof job.reason)) strcpy(job.reason, "None");
    if (!find_field(from, "NodeList", job.hosts, sizeof job.hosts))
        return SK_FAIL(reterr, SK_ECORRUPT, "scontrol show job: no NodeList, or one of more than %zu bytes",
                       sizeof job.hosts);
    if (strcmp(job.hosts, "(null)") == 0) *job.hosts = '\0';
    if (find_field(from, "Restarts", value, sizeof value)) job.restarts = atoi(value);
    if (find_field(from, "BatchFlag", value, sizeof value)) job.is_batch = atoi(value) > 0;
    if (find_field(from, "ExitCode", value, sizeof value)) {
        char *colon = strchr(value, ':');
        job.exit_code = atoi(value);
        job.exit_signal = colon ? atoi(colon + 1) : 0;
    }
    if (find_field(from, "EndTime", value, sizeof value)) job.end_s = read_time(value);
    find_path(from, "StdOut", job.log, sizeof job.log);
    *ret_job = job;
    return SK_OK;
}

sk_status sk_slurm_job_ask(const char *job, sk_slurm_job *ret_job, sk_error *reterr) {
    sk_process_said said;
    SK_TRY(ask((const char *const[]){"scontrol", "-o", "show", "job", job, NULL}, &said, reterr));
    sk_status status = sk_slurm_job_parse(said.out, ret_job, reterr);
    sk_process_said_deinit(&said);
    return status;
}

bool sk_slurm_job_has_ended(const sk_slurm_job *job) {
    static const char *const ends[] = {"COMPLETED", "FAILED",        "CANCELLED", "TIMEOUT",  "NODE_FAIL",
                                       "PREEMPTED", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE", "REVOKED"};
    for (int i = 0; i < SK_COUNT(ends); i++)
        if (strcmp(job->state, ends[i]) == 0) return true;
    return false;
}

sk_status sk_slurm_requeue(const char *job, sk_error *reterr) {
    sk_process_said said;
    SK_TRY(ask((const char *const[]){"scontrol", "requeue", job, NULL}, &said, reterr));
    sk_process_said_deinit(&said);
    return SK_OK;
}

/* ---- hosts ---- */
sk_status sk_slurm_hosts_init(const char *list, sk_slurm_hosts *ret_hosts, sk_error *reterr) {
    sk_process_said said;
    sk_slurm_hosts hosts = {0};
    SK_TRY(ask((const char *const[]){"scontrol", "show", "hostnames", list, NULL}, &said, reterr));
    int max = 1;
    for (const char *s = said.out; *s; s++) max += *s == '\n';
    hosts.names = calloc((size_t)max, sizeof *hosts.names);
    bool good = hosts.names;
    char *rest = said.out, *name;
    while (good && (name = strsep(&rest, "\n"))) {
        if (!*name) continue;
        hosts.names[hosts.n] = strdup(name);
        good = hosts.names[hosts.n] != NULL;
        hosts.n += good;
    }
    sk_process_said_deinit(&said);
    if (good && hosts.n > 0) {
        *ret_hosts = hosts;
        return SK_OK;
    }
    sk_slurm_hosts_deinit(&hosts);
    if (good) return SK_FAIL(reterr, SK_ECORRUPT, "scontrol names no host in \"%.100s\"", list);
    return SK_FAIL(reterr, SK_ENOMEM, "no memory for the names of hosts");
}

void sk_slurm_hosts_deinit(sk_slurm_hosts *self) {
    for (int i = 0; i < self->n; i++) free(self->names[i]);
    free(self->names);
    *self = (sk_slurm_hosts){0};
}

bool sk_slurm_hosts_have(const sk_slurm_hosts *self, const char *name) {
    for (int i = 0; i < self->n; i++)
        if (strcmp(self->names[i], name) == 0) return true;
    return false;
}

/* A word and flags: '*' does not answer; '~' '#' '!' '%' '^' are off, starting or stopping; '$' is maintenance, '@' and
 * '-' are plans for later. */
bool sk_slurm_state_is_up(const char *state) {
    static const char *const up[] = {"idle",     "mixed", "mix",      "allocated", "alloc",   "completing", "comp",
                                     "draining", "drng",  "reserved", "resv",      "planned", "plnd",       "maint"};
    size_t length = strspn(state, "abcdefghijklmnopqrstuvwxyz_");
    if (strpbrk(state + length, "*~#!%^")) return false;
    for (int i = 0; i < SK_COUNT(up); i++)
        if (strlen(up[i]) == length && strncmp(state, up[i], length) == 0) return true;
    return false;
}

void sk_slurm_state_of(const char *text, const char *name, char ret_state[32]) {
    size_t length = strlen(name);
    *ret_state = '\0';
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        if (strncmp(line, name, length) != 0 || line[length] != ' ') continue;
        const char *state = line + length + 1;
        size_t n = strcspn(state, " \n");
        if (n > 31) n = 31;
        memcpy(ret_state, state, n);
        ret_state[n] = '\0';
        return;
    }
}

sk_status sk_slurm_states_ask(const char *list, char **ret_text, sk_error *reterr) {
    sk_process_said said;
    SK_TRY(ask((const char *const[]){"sinfo", "-h", "-N", "-o", "%N %T", "-n", list, NULL}, &said, reterr));
    free(said.err);
    *ret_text = said.out;
    return SK_OK;
}

int sk_slurm_cpus_of(const char *text, int i) {
    while (*text) {
        char *end;
        long cpus = strtol(text, &end, 10), times = 1;
        if (end == text || cpus <= 0) return 0;
        if (strncmp(end, "(x", 2) == 0) {
            times = strtol(end + 2, &end, 10);
            if (times <= 0 || *end++ != ')') return 0;
        }
        if (i < times) return (int)cpus;
        i -= (int)times;
        text = *end == ',' ? end + 1 : end;
        if (*end && *end != ',') return 0;
    }
    return 0;
}
