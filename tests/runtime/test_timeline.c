#include "core/runtime/board.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A board and a folder for its timelines. */
typedef struct rig {
    sk_block *block;
    sk_board *board;
    char dir[64], path[96];
} rig;

static rig make_rig(void) {
    rig self = {.dir = "/tmp/test-timeline-XXXXXX"};
    cr_assert_eq(sk_board_create("driver \"quoted\"", &self.block, &self.board, NULL), SK_OK);
    cr_assert_not_null(mkdtemp(self.dir));
    snprintf(self.path, sizeof self.path, "%s/trace.json", self.dir);
    return self;
}

static int n_files(const char *path) {
    DIR *dir = opendir(path);
    cr_assert_not_null(dir);
    int n = 0;
    for (struct dirent *entry; (entry = readdir(dir));) n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

static void drop_rig(rig *self) {
    unlink(self->path);
    cr_assert_eq(rmdir(self->dir), 0);
    sk_block_destroy(&self->block);
}

/* The events of kind `ph` ("X": runs, "M": names). Caller decrefs *ret_root. */
static json_t *load(const rig *self, const char *ph, json_t **ret_root) {
    json_error_t error;
    *ret_root = json_load_file(self->path, JSON_REJECT_DUPLICATES, &error);
    cr_assert_not_null(*ret_root, "line %d: %s", error.line, error.text);
    json_t *all = json_object_get(*ret_root, "traceEvents"), *some = json_array(), *event;
    cr_assert(json_is_array(all));
    size_t i;
    json_array_foreach(all, i, event)
        if (strcmp(json_string_value(json_object_get(event, "ph")), ph) == 0) json_array_append(some, event);
    json_object_set_new(*ret_root, "some", some);
    return some;
}

static const char *text_of(const json_t *event, const char *key) {
    const char *text = json_string_value(json_object_get(event, key));
    cr_assert_not_null(text, "%s", key);
    return text;
}

static double number_of(const json_t *event, const char *key) {
    const json_t *number = json_object_get(event, key);
    cr_assert(json_is_number(number), "%s", key);
    return json_number_value(number);
}

static void write_timeline(const rig *self) {
    sk_error err = {0};
    cr_assert_eq(sk_board_write_timeline(self->board, self->path, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(n_files(self->dir), 1, "no temporary file stays");
}

Test(timeline, says_what_ran_when_and_where) {
    rig self = make_rig();
    strcpy(self.board->functions[0].name, "pi.sample");
    strcpy(self.board->functions[3].name, "counter");
    const sk_board_event events[] = {
        {.start_ns = 1234567, .duration_ns = 89, .id = 0xabc, .function = 0, .method = -1, .pid = 70, .thread = 0},
        {.start_ns = 2000000, .duration_ns = 5000, .id = UINT64_MAX, .function = 3, .method = -2, .pid = 71,
         .thread = 1},
        {.start_ns = 3000001, .duration_ns = 0, .id = 1, .function = 3, .method = 4, .pid = 71, .thread = 1,
         .status = SK_EENV},
        {.start_ns = 4000000, .duration_ns = 1, .id = 2, .function = 0, .method = -1, .pid = 50, .thread = -3},
    };
    static const struct {
        const char *name, *id;
        double ts, dur;
        int pid, tid, status;
    } wanted[] = {{"pi.sample", "abc", 1234.567, 0.089, 70, 0, 0},
                  {"counter.create", "ffffffffffffffff", 2000, 5, 71, 1, 0},
                  {"counter.method 4", "1", 3000.001, 0, 71, 1, SK_EENV},
                  {"pi.sample", "2", 4000, 0.001, 50, 3, 0}};
    for (int i = 0; i < SK_COUNT(events); i++) sk_board_add_event(self.board, &events[i]);
    cr_assert_eq(atomic_load(&self.board->n_events), SK_COUNT(events));
    write_timeline(&self);

    json_t *root = NULL, *runs = load(&self, "X", &root);
    cr_assert_eq(json_array_size(runs), SK_COUNT(wanted));
    for (int i = 0; i < SK_COUNT(wanted); i++) {
        const json_t *run = json_array_get(runs, (size_t)i), *args = json_object_get(run, "args");
        cr_assert_str_eq(text_of(run, "name"), wanted[i].name);
        cr_assert_float_eq(number_of(run, "ts"), wanted[i].ts, 1e-9);
        cr_assert_float_eq(number_of(run, "dur"), wanted[i].dur, 1e-9);
        cr_assert_eq(number_of(run, "pid"), wanted[i].pid);
        cr_assert_eq(number_of(run, "tid"), wanted[i].tid);
        cr_assert_eq(number_of(args, "status"), wanted[i].status);
        cr_assert_str_eq(text_of(args, "id"), wanted[i].id);
    }
    json_decref(root);
    drop_rig(&self);
}

Test(timeline, names_processes_and_escapes_what_json_needs_escaped) {
    rig self = make_rig();
    strcpy(self.board->functions[0].name, "a \"b\" \\ \n\t\x01 \xc3\xa9");
    strcpy(self.board->functions[1].name, "not utf-8: \xff\xc3");
    memset(self.board->functions[2].name, 'n', SK_BOARD_NAME); /* a damaged board: not terminated */
    self.board->workers[0].pid = 900;
    strcpy(self.board->workers[0].name, "worker-\"0\"");
    self.board->workers[2047].pid = 901;
    memset(self.board->workers[2047].name, 'w', SK_BOARD_NAME);
    for (int i = -1; i <= SK_BOARD_FUNCTIONS; i++) /* 512 of them, and numbers that are none */
        sk_board_add_event(self.board, &(sk_board_event){.function = i, .method = -1, .pid = 900, .start_ns = -5});
    sk_board_add_event(self.board, &(sk_board_event){.pid = 901, .thread = 2047});
    sk_board_add_event(self.board, &(sk_board_event){.pid = 902, .thread = 2046}); /* has ended: nobody knows it */
    sk_board_add_event(self.board, &(sk_board_event){.pid = 903, .thread = SK_BOARD_LINES}); /* damaged */
    write_timeline(&self);

    json_t *root = NULL, *runs = load(&self, "X", &root);
    cr_assert_eq(json_array_size(runs), SK_BOARD_FUNCTIONS + 5);
    cr_assert_str_eq(text_of(json_array_get(runs, 0), "name"), "?");
    cr_assert_str_eq(text_of(json_array_get(runs, 1), "name"), "a \"b\" \\ \n\t\x01 \xc3\xa9");
    cr_assert_str_eq(text_of(json_array_get(runs, 2), "name"), "not utf-8: ??");
    cr_assert_eq(strlen(text_of(json_array_get(runs, 3), "name")), SK_BOARD_NAME);
    cr_assert_str_eq(text_of(json_array_get(runs, SK_BOARD_FUNCTIONS + 1), "name"), "?");
    cr_assert_eq(number_of(json_array_get(runs, 0), "ts"), 0);
    json_decref(root);

    json_t *names = load(&self, "M", &root);
    cr_assert_eq(json_array_size(names), 3);
    static const int pids[] = {0, 900, 901};
    for (int i = 0; i < 3; i++) {
        const json_t *name = json_array_get(names, (size_t)i), *args = json_object_get(name, "args");
        cr_assert_str_eq(text_of(name, "name"), "process_name");
        cr_assert_eq(number_of(name, "pid"), i == 0 ? getpid() : pids[i]);
        if (i == 0) cr_assert_str_eq(text_of(args, "name"), "driver \"quoted\"");
        if (i == 1) cr_assert_str_eq(text_of(args, "name"), "worker-\"0\"");
        if (i == 2) cr_assert_eq(strlen(text_of(args, "name")), SK_BOARD_NAME);
    }
    json_decref(root);
    drop_rig(&self);
}

Test(timeline, keeps_processes_of_different_hosts_apart) {
    rig self = make_rig();
    strcpy(self.board->hosts[1].name, "n1");
    memset(self.board->hosts[SK_BOARD_HOSTS - 1].name, 'h', SK_BOARD_NAME);
    static const struct {
        int host, line, pid;
        const char *name; /* of its worker; NULL: that is gone */
    } workers[] = {{0, 0, 77, "runner-0"}, {1, 1, 77, "runner-1"}, {SK_BOARD_HOSTS - 1, 2, 77, "runner-2"},
                   {1, 3, 4194303, NULL}, {0, 4, 78, NULL}, {2, 5, 77, NULL}};
    for (int i = 0; i < SK_COUNT(workers); i++) {
        sk_board_worker *row = &self.board->workers[workers[i].line];
        sk_board_event event = {.pid = workers[i].pid, .thread = workers[i].line, .method = -1};
        event.host = row->host = workers[i].host;
        if (workers[i].name) {
            row->pid = workers[i].pid;
            strcpy(row->name, workers[i].name);
        }
        for (int n = 0; n < 2; n++) sk_board_add_event(self.board, &event);
    }
    /* Ran here; the line has a worker of another host now, of the same pid. */
    self.board->workers[6] = (sk_board_worker){.pid = 79, .host = 1, .name = "not its name"};
    sk_board_add_event(self.board, &(sk_board_event){.pid = 79, .thread = 6, .method = -1});
    /* Damaged: host numbers that are none. */
    sk_board_add_event(self.board, &(sk_board_event){.pid = 77, .thread = 9, .host = SK_BOARD_HOSTS, .method = -1});
    sk_board_add_event(self.board, &(sk_board_event){.pid = -5, .thread = 9, .host = 1, .method = -1});
    write_timeline(&self);

    json_t *root = NULL, *runs = load(&self, "X", &root);
    double  number[SK_COUNT(workers)];
    for (int i = 0; i < SK_COUNT(workers); i++) {
        number[i] = number_of(json_array_get(runs, 2 * (size_t)i), "pid");
        cr_assert_eq(number_of(json_array_get(runs, 2 * (size_t)i + 1), "pid"), number[i]);
        cr_assert(number[i] >= 0 && number[i] <= UINT32_MAX, "viewers read 32 bits");
        cr_assert(workers[i].host != 0 || number[i] == workers[i].pid);
        for (int j = 0; j < i; j++) cr_assert_neq(number[i], number[j], "%d and %d are one process", i, j);
    }
    json_decref(root);

    json_t *names = load(&self, "M", &root);
    char long_name[2 * SK_BOARD_NAME];
    snprintf(long_name, sizeof long_name, "runner-2@%.*s", SK_BOARD_NAME,
             "hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh");
    const char *const wanted[] = {"runner-0", "runner-1@n1", long_name, "process 4194303@n1", "process 77@host 2"};
    static const int of[] = {0, 1, 2, 3, 5};
    cr_assert_eq(json_array_size(names), 1 + SK_COUNT(wanted), "each once, after the driver");
    for (int i = 0; i < SK_COUNT(wanted); i++) {
        const json_t *name = json_array_get(names, (size_t)i + 1);
        cr_assert_str_eq(text_of(json_object_get(name, "args"), "name"), wanted[i]);
        cr_assert_eq(number_of(name, "pid"), number[of[i]]);
    }
    json_decref(root);
    drop_rig(&self);
}

Test(timeline, without_events_is_valid) {
    rig self = make_rig();
    write_timeline(&self);
    json_t *root = NULL;
    cr_assert_eq(json_array_size(load(&self, "X", &root)), 0);
    json_decref(root);
    drop_rig(&self);
}

Test(timeline, keeps_the_last_events_when_there_are_more_than_fit) {
    rig self = make_rig();
    strcpy(self.board->functions[0].name, "f");
    const uint64_t n = SK_BOARD_EVENTS + 1000;
    for (uint64_t i = 0; i < n; i++)
        sk_board_add_event(self.board, &(sk_board_event){.start_ns = (int64_t)i * 1000, .id = i, .method = -1});
    write_timeline(&self);
    json_t *root = NULL, *runs = load(&self, "X", &root);
    cr_assert_eq(json_array_size(runs), SK_BOARD_EVENTS);
    for (size_t i = 0; i < SK_BOARD_EVENTS; i++)
        cr_assert_eq(number_of(json_array_get(runs, i), "ts"), (double)(n - SK_BOARD_EVENTS + i));
    json_decref(root);
    drop_rig(&self);
}

/* A thread goes on adding events whose fields all tell the same number, several times around. */
typedef struct adder {
    sk_board *board;
    _Atomic bool stop;
} adder;

static void *add_events(void *arg) {
    adder *self = arg;
    for (int32_t i = 0; !atomic_load(&self->stop); i++)
        sk_board_add_event(self->board, &(sk_board_event){.start_ns = i * (int64_t)1000,
                                                          .duration_ns = i * (int64_t)1000, .id = (uint64_t)i,
                                                          .method = -1, .pid = i, .thread = i, .status = -(i % 7)});
    return NULL;
}

Test(timeline, has_only_whole_events_while_more_are_added) {
    rig self = make_rig();
    adder other = {.board = self.board};
    pthread_t thread;
    strcpy(self.board->functions[0].name, "f");
    cr_assert_eq(pthread_create(&thread, NULL, add_events, &other), 0);
    while (atomic_load(&self.board->n_events) < SK_BOARD_EVENTS) usleep(1000);
    for (int round = 0; round < 5; round++) {
        write_timeline(&self);
        json_t *root = NULL, *runs = load(&self, "X", &root), *run;
        double last = -1;
        size_t i;
        json_array_foreach(runs, i, run) {
            double number = number_of(run, "ts");
            cr_assert_gt(number, last, "in order");
            last = number;
            cr_assert(number_of(run, "dur") == number && number_of(run, "pid") == number &&
                          number_of(run, "tid") == number,
                      "event %.0f is mixed with another", number);
            cr_assert_eq(strtoull(text_of(json_object_get(run, "args"), "id"), NULL, 16), (uint64_t)number);
            cr_assert_eq(number_of(json_object_get(run, "args"), "status"), -((int)number % 7));
        }
        json_decref(root);
    }
    atomic_store(&other.stop, true);
    pthread_join(thread, NULL);
    drop_rig(&self);
}

Test(timeline, that_cannot_be_written_names_its_path_and_leaves_the_old_one) {
    rig self = make_rig();
    sk_error err = {0};
    cr_assert_eq(sk_board_write_timeline(self.board, "/nonexistent-folder/t.json", &err), SK_EIO);
    cr_assert(strstr(err.msg, "/nonexistent-folder/t.json"), "%s", err.msg);
    cr_assert_eq(sk_board_write_timeline(self.board, self.dir, &err), SK_EIO, "a folder is in its place");
    cr_assert_eq(n_files(self.dir), 0);
    write_timeline(&self);
    write_timeline(&self); /* replaces it */
    drop_rig(&self);
}
