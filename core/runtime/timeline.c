/* timeline: the events of a board, in and out: the driver adds them, anyone turns them into a Chrome trace. */
#include "core/base/pack.h"
#include "core/runtime/board.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- events ---------------------------------------------------------------------------------------------- */
/* Readers look while the driver goes on, so an event is written and read word by word. The last word holds its number:
 * 0 while the others change, so a reader whose event still has its number afterwards has all of it. */
#define EVENT_WORDS (sizeof(sk_board_event) / 8)
#define LAST        (EVENT_WORDS - 1)
typedef uint64_t __attribute__((may_alias)) event_word;

_Static_assert(sizeof(sk_board_event) % 8 == 0 && offsetof(sk_board_event, seq) == LAST * 8 + 4, "the last word");

static uint32_t seq_of(uint64_t number) { return (uint32_t)(number % UINT32_MAX) + 1; }

void sk_board_add_event(sk_board *board, const sk_board_event *event) {
    uint64_t number = atomic_load_explicit(&board->n_events, memory_order_relaxed);
    event_word *at = (event_word *)&board->events[number % SK_BOARD_EVENTS];
    sk_board_event numbered = *event;
    numbered.seq = seq_of(number);
    uint64_t words[EVENT_WORDS];
    memcpy(words, &numbered, sizeof words);

    __atomic_store_n(&at[LAST], 0, __ATOMIC_RELAXED);
    for (size_t i = 0; i < LAST; i++) __atomic_store_n(&at[i], words[i], __ATOMIC_RELEASE);
    __atomic_store_n(&at[LAST], words[LAST], __ATOMIC_RELEASE);
    atomic_store_explicit(&board->n_events, number + 1, memory_order_release);
}

/* False: it was overwritten meanwhile. */
static bool read_event(const sk_board *board, uint64_t number, sk_board_event *ret_event) {
    const event_word *at = (const event_word *)&board->events[number % SK_BOARD_EVENTS];
    uint64_t words[EVENT_WORDS];
    for (size_t i = 0; i < LAST; i++) words[i] = __atomic_load_n(&at[i], __ATOMIC_ACQUIRE);
    words[LAST] = __atomic_load_n(&at[LAST], __ATOMIC_ACQUIRE);
    memcpy(ret_event, words, sizeof words);
    return ret_event->seq == seq_of(number);
}

/* The last events as of now, oldest first. Caller frees. */
static sk_status copy_events(const sk_board *board, sk_board_event **ret_events, size_t *ret_n, sk_error *reterr) {
    uint64_t end = atomic_load_explicit(&board->n_events, memory_order_acquire);
    uint64_t number = end > SK_BOARD_EVENTS ? end - SK_BOARD_EVENTS : 0;
    sk_board_event *events = malloc((size_t)(end - number + 1) * sizeof *events);
    if (!events) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a timeline of %zu events", (size_t)(end - number));
    size_t n = 0;
    for (; number < end; number++)
        if (read_event(board, number, &events[n])) n++;
    *ret_events = events;
    *ret_n = n;
    return SK_OK;
}

/* ---- the trace ------------------------------------------------------------------------------------------- */
enum {
    PROCESS_NAME = 2 * SK_BOARD_NAME + 2, /* "worker@host", with its end                              */
    PIDS_OF_HOST = 1 << 22,               /* as many as Linux has; SK_BOARD_HOSTS times that fit 32 bits */
};

typedef struct trace {
    FILE *to;
    char *functions[SK_BOARD_FUNCTIONS]; /* quoted for JSON, made when first used */
    int64_t named[SK_BOARD_LINES];       /* the process that line's last event was named after, + 1 */
    bool  is_first;
} trace;

/* A name of the board in quotes, for JSON; bytes that are not UTF-8 become '?'. NULL: no memory. Caller frees. */
static char *quote(const char *name, size_t size) {
    char text[PROCESS_NAME];
    size_t length = strnlen(name, size < sizeof text ? size : sizeof text - 1);
    memcpy(text, name, length);
    text[length] = '\0';
    json_t *json = json_string(text);
    if (!json) {
        for (char *c = text; *c; c++)
            if ((unsigned char)*c >= 0x80) *c = '?';
        json = json_string(text);
    }
    char *quoted = json ? sk_json_text(json) : NULL;
    json_decref(json);
    return quoted;
}

/* Of function `index`, whatever a foreign board says. NULL: no memory. Borrowed. */
static const char *function_name(trace *self, const sk_board *board, int32_t index) {
    if (index < 0 || index >= SK_BOARD_FUNCTIONS) return "\"?\"";
    char **name = &self->functions[index];
    if (!*name) *name = quote(board->functions[index].name, SK_BOARD_NAME);
    return *name;
}

/* Chrome wants microseconds. */
static void put_us(trace *self, const char *key, int64_t ns) {
    long long at = ns > 0 ? ns : 0;
    fprintf(self->to, ",\"%s\":%lld.%03lld", key, at / 1000, at % 1000);
}

static void begin(trace *self) {
    fputs(self->is_first ? "\n" : ",\n", self->to);
    self->is_first = false;
}

/* The number of a process in the trace: its pid, and one that no process here can have for those of other hosts, whose
 * pids may be the same. */
static int64_t number_of(const sk_board_event *event) {
    bool is_far = event->host > 0 && event->host < SK_BOARD_HOSTS && event->pid >= 0 && event->pid < PIDS_OF_HOST;
    return is_far ? (int64_t)event->host * PIDS_OF_HOST + event->pid : event->pid;
}

static sk_status put_process(trace *self, int64_t number, const char *name, size_t size, sk_error *reterr) {
    char *quoted = quote(name, size);
    if (!quoted) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a process's name in a timeline");
    begin(self);
    fprintf(self->to, "{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":%lld,\"tid\":0,\"args\":{\"name\":%s}}",
            (long long)number, quoted);
    free(quoted);
    return SK_OK;
}

/* "runner-3@n2"; of a worker that is gone, "process 1234@n2". */
static void name_far_process(const sk_board *board, const sk_board_event *event, const sk_board_worker *worker,
                             char ret_name[PROCESS_NAME]) {
    char who[SK_BOARD_NAME + 1], where[SK_BOARD_NAME + 1];
    if (worker) snprintf(who, sizeof who, "%.*s", SK_BOARD_NAME, worker->name);
    else snprintf(who, sizeof who, "process %d", event->pid);
    snprintf(where, sizeof where, "%.*s", SK_BOARD_NAME, board->hosts[event->host].name);
    if (!where[0]) snprintf(where, sizeof where, "host %d", event->host);
    snprintf(ret_name, PROCESS_NAME, "%s@%s", who, where);
}

/* The name of the process that ran an event, once: of one here if it still is there, of one on another host always.
 * Other rows are not looked at: reading memory that nobody has touched would take it from the machine. */
static sk_status put_process_of(trace *self, const sk_board *board, const sk_board_event *event, sk_error *reterr) {
    char    name[PROCESS_NAME];
    int64_t number = number_of(event);
    if (event->thread < 0 || event->thread >= SK_BOARD_LINES || self->named[event->thread] == number + 1) return SK_OK;
    const sk_board_worker *worker = &board->workers[event->thread];
    bool is_there = worker->pid == event->pid && worker->host == event->host, is_far = number != event->pid;
    if (!is_there && !is_far) return SK_OK;
    if (is_far) name_far_process(board, event, is_there ? worker : NULL, name);
    self->named[event->thread] = number + 1;
    return put_process(self, number, is_far ? name : worker->name, is_far ? sizeof name : SK_BOARD_NAME, reterr);
}

static sk_status put_event(trace *self, const sk_board *board, const sk_board_event *event, sk_error *reterr) {
    const char *name = function_name(self, board, event->function);
    if (!name) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a function's name in a timeline");
    SK_TRY(put_process_of(self, board, event, reterr));
    begin(self);
    /* The quoted name without its last quote: more may follow inside. */
    fprintf(self->to, "{\"name\":%.*s", (int)strlen(name) - 1, name);
    if (event->method >= 0) fprintf(self->to, ".method %d", event->method);
    else if (event->method == -2) fputs(".create", self->to);
    fprintf(self->to, "\",\"cat\":\"%s\",\"ph\":\"X\"", event->method == -1 ? "task" : "actor");
    put_us(self, "ts", event->start_ns);
    put_us(self, "dur", event->duration_ns);
    /* Viewers want thread numbers that are not negative; pool threads belong to another process than lines. */
    int64_t tid = event->thread >= 0 ? event->thread : -(int64_t)event->thread;
    fprintf(self->to, ",\"pid\":%lld,\"tid\":%lld,\"args\":{\"status\":%d,\"id\":\"%llx\"}}",
            (long long)number_of(event), (long long)tid, event->status, (unsigned long long)event->id);
    return SK_OK;
}

static sk_status put_all(trace *self, const sk_board *board, sk_error *reterr) {
    sk_board_event *events = NULL;
    size_t n = 0;
    fputs("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[", self->to);
    SK_TRY(put_process(self, board->pid, board->name[0] ? board->name : "driver", SK_BOARD_NAME, reterr));
    SK_TRY(copy_events(board, &events, &n, reterr));
    sk_status status = SK_OK;
    for (size_t i = 0; i < n && status == SK_OK; i++) status = put_event(self, board, &events[i], reterr);
    free(events);
    fputs("\n]}\n", self->to);
    return status;
}

/* The whole text in memory: some 10 MB at most. Caller frees. */
static sk_status make_text(const sk_board *board, char **ret_text, size_t *ret_size, sk_error *reterr) {
    char *text = NULL;
    size_t size = 0;
    trace self = {.to = open_memstream(&text, &size), .is_first = true};
    if (!self.to) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a timeline");
    sk_status status = put_all(&self, board, reterr);
    bool broken = ferror(self.to);
    if ((fclose(self.to) != 0 || broken) && status == SK_OK)
        status = SK_FAIL(reterr, SK_ENOMEM, "no memory for a timeline of %zu bytes", size);
    for (int i = 0; i < SK_BOARD_FUNCTIONS; i++) free(self.functions[i]);
    if (status != SK_OK) {
        free(text);
        return status;
    }
    *ret_text = text;
    *ret_size = size;
    return SK_OK;
}

sk_status sk_board_write_timeline(const sk_board *board, const char *path, sk_error *reterr) {
    SK_ASSERT(board && path);
    char *text = NULL;
    size_t size = 0;
    SK_TRY(make_text(board, &text, &size, reterr));
    sk_status status = sk_file_write_atomic(path, text, size, reterr);
    free(text);
    return status;
}
