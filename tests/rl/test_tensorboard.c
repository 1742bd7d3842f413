/* TensorBoard's event files, byte by byte: the reader here knows the format only from its description.
 * That TensorBoard itself reads them is tested in tests/python/test_tensorboard.py. */
#include "rl/tensorboard.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { FILE_MAX = 1 << 20, EVENTS_MAX = 512, TAGS_MAX = 64 };

/* What one event says. */
typedef struct event {
    double  wall_time;
    int64_t step;
    char    version[32]; /* "" = none */
    int     has_summary, session_status, n_values;
    struct {
        char  tag[64];
        float value;
    } values[TAGS_MAX];
} event;

static char  root[64];
static event events[EVENTS_MAX];
static int   n_events;

static void setup(void) {
    strcpy(root, "/tmp/skiff-events-XXXXXX");
    cr_assert_not_null(mkdtemp(root));
}

static void teardown(void) {
    DIR *dir = opendir(root);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", root, e->d_name);
        unlink(path);
    }
    if (dir) closedir(dir);
    rmdir(root);
}

TestSuite(tensorboard, .init = setup, .fini = teardown);

/* ---- reading ---- */

/* Bit by bit, unlike the writer's. */
static uint32_t masked_crc(const uint8_t *bytes, size_t size) {
    uint32_t crc = ~0u;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0x82f63b78u & -(crc & 1u));
    }
    crc = ~crc;
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

static uint64_t little_endian(const uint8_t *at, int n) {
    uint64_t value = 0;
    for (int i = 0; i < n; i++) value |= (uint64_t)at[i] << 8 * i;
    return value;
}

static uint64_t varint(const uint8_t **at) {
    uint64_t value = 0;
    int      shift = 0;
    do value |= (uint64_t)(**at & 0x7f) << shift, shift += 7;
    while (*(*at)++ & 0x80);
    return value;
}

/* The next field of a message: its number, and its bytes or its number as 8 bytes. */
static int field(const uint8_t **at, const uint8_t **ret_bytes, size_t *ret_size, uint64_t *ret_number) {
    uint64_t key = varint(at);
    *ret_size = key % 8 == 1 ? 8 : key % 8 == 5 ? 4 : 0;
    if (key % 8 == 0) *ret_number = varint(at);
    if (key % 8 == 2) *ret_size = varint(at);
    *ret_bytes = *at;
    *at += *ret_size;
    return (int)(key / 8);
}

static void parse_value(event *e, const uint8_t *at, const uint8_t *end) {
    const uint8_t *bytes;
    size_t         size;
    uint64_t       number;
    cr_assert_lt(e->n_values, TAGS_MAX);
    e->values[e->n_values].value = NAN;
    while (at < end) {
        switch (field(&at, &bytes, &size, &number)) {
        case 1: memcpy(e->values[e->n_values].tag, bytes, size < 63 ? size : 63); break;
        case 2: memcpy(&e->values[e->n_values].value, bytes, 4); break;
        default: cr_assert(0, "an unknown field of a value");
        }
    }
    e->n_values++;
}

static void parse_event(event *e, const uint8_t *at, const uint8_t *end) {
    const uint8_t *bytes;
    size_t         size;
    uint64_t       number = 0;
    memset(e, 0, sizeof *e);
    while (at < end) {
        int            n = field(&at, &bytes, &size, &number);
        const uint8_t *inner = bytes;
        switch (n) {
        case 1: memcpy(&e->wall_time, bytes, 8); break;
        case 2: e->step = (int64_t)number; break;
        case 3: memcpy(e->version, bytes, size < 31 ? size : 31); break;
        case 5:
            e->has_summary = 1;
            while (inner < bytes + size) {
                const uint8_t *value;
                size_t         value_size;
                cr_assert_eq(field(&inner, &value, &value_size, &number), 1);
                parse_value(e, value, value + value_size);
            }
            break;
        case 7:
            cr_assert_eq(field(&inner, &bytes, &size, &number), 1);
            e->session_status = (int)number;
            break;
        default: cr_assert(0, "an unknown field %d of an event", n);
        }
    }
    cr_assert_eq(at, end);
}

/* All events of a file; every length and checksum must be right, and nothing left over. */
static void read_events(const char *path) {
    static uint8_t bytes[FILE_MAX];
    FILE          *file = fopen(path, "rb");
    cr_assert_not_null(file);
    size_t size = fread(bytes, 1, sizeof bytes, file), at = 0;
    fclose(file);
    for (n_events = 0; at < size; n_events++) {
        cr_assert(at + 16 <= size && n_events < EVENTS_MAX, "torn at %zu of %zu", at, size);
        size_t length = little_endian(bytes + at, 8);
        cr_assert(length <= size - at - 16, "length %zu at %zu of %zu", length, at, size);
        cr_assert_eq(little_endian(bytes + at + 8, 4), masked_crc(bytes + at, 8));
        cr_assert_eq(little_endian(bytes + at + 12 + length, 4), masked_crc(bytes + at + 12, length));
        parse_event(&events[n_events], bytes + at + 12, bytes + at + 12 + length);
        at += length + 16;
    }
    cr_assert_geq(n_events, 1);
    cr_assert_str_eq(events[0].version, "brain.Event:2");
}

static float value_of(const event *e, const char *tag) {
    for (int i = 0; i < e->n_values; i++)
        if (strcmp(e->values[i].tag, tag) == 0) return e->values[i].value;
    return NAN;
}

/* ---- writing ---- */

static sk_tensorboard *create(void) {
    sk_tensorboard *board = NULL;
    sk_error        err = {0};
    cr_assert_eq(sk_tensorboard_create(root, &board, &err), SK_OK, "%s", err.msg);
    return board;
}

static sk_status add(sk_tensorboard *board, int64_t step, double loss, sk_error *reterr) {
    sk_metrics m = {0};
    sk_metrics_set(&m, SK_METRIC_TOTAL_LOSS, loss);
    sk_metrics_set(&m, SK_METRIC_ENV_STEPS, (double)step);
    return sk_tensorboard_add(board, &m, step, reterr);
}

/* The path outlives the board. */
static const char *path_of(const sk_tensorboard *board) {
    static char path[512];
    snprintf(path, sizeof path, "%s", sk_tensorboard_path(board));
    return path;
}

Test(tensorboard, the_test_knows_the_checksum) {
    /* CRC-32C of "123456789" is 0xe3069283, as RFC 3720's appendix and everybody else says */
    cr_assert_eq(masked_crc((const uint8_t *)"123456789", 9),
                 (0xe3069283u >> 15 | 0xe3069283u << 17) + 0xa282ead8u);
}

Test(tensorboard, writes_an_event_per_report) {
    sk_tensorboard *board = create();
    const char     *path = path_of(board);
    cr_assert(strstr(path, "/events.out.tfevents."), "%s", path);
    cr_assert_eq(add(board, 0, 0.0, NULL), SK_OK);
    cr_assert_eq(add(board, 5000000000, -2.5, NULL), SK_OK);
    sk_tensorboard_destroy(&board);
    cr_assert_null(board);
    read_events(path);
    cr_assert_eq(n_events, 3);
    cr_assert(events[0].wall_time > 1.7e9 && events[0].wall_time < 1e10);
    cr_assert_eq(events[1].n_values, 2, "absent metrics stay out");
    cr_assert_eq(value_of(&events[1], "learner/total_loss"), 0.0f, "a zero is written too");
    cr_assert_eq(events[2].step, 5000000000);
    cr_assert_eq(value_of(&events[2], "learner/total_loss"), -2.5f);
    cr_assert_eq(value_of(&events[2], "num_env_steps_sampled_lifetime"), 5e9f);
}

Test(tensorboard, writes_all_metrics) {
    sk_tensorboard *board = create();
    const char     *path = path_of(board);
    sk_metrics      m = {0};
    for (int i = 0; i < SK_METRIC_COUNT; i++) sk_metrics_set(&m, (sk_metric)i, i + 0.5);
    cr_assert_eq(sk_tensorboard_add(board, &m, 1, NULL), SK_OK);
    sk_tensorboard_destroy(&board);
    read_events(path);
    cr_assert_eq(events[1].n_values, SK_METRIC_COUNT);
    for (int i = 0; i < SK_METRIC_COUNT; i++)
        cr_assert_eq(value_of(&events[1], sk_metric_info_get((sk_metric)i)->name), (float)i + 0.5f);
}

Test(tensorboard, the_last_report_of_a_step_counts) {
    sk_tensorboard *board = create();
    const char     *path = path_of(board);
    cr_assert_eq(add(board, 100, 1, NULL), SK_OK);
    cr_assert_eq(add(board, 200, 2, NULL), SK_OK);
    cr_assert_eq(add(board, 200, 3, NULL), SK_OK);
    sk_tensorboard_destroy(&board);
    read_events(path);
    cr_assert_eq(n_events, 3);
    cr_assert_eq(value_of(&events[1], "learner/total_loss"), 1);
    cr_assert_eq(value_of(&events[2], "learner/total_loss"), 3);
}

Test(tensorboard, loses_nothing_however_many_come) {
    sk_tensorboard *board = create();
    const char     *path = path_of(board);
    sk_metrics      m = {0};
    for (int i = 0; i < SK_METRIC_COUNT; i++) sk_metrics_set(&m, (sk_metric)i, 1e30);
    for (int i = 1; i <= 300; i++) cr_assert_eq(sk_tensorboard_add(board, &m, i, NULL), SK_OK);
    cr_assert_eq(sk_tensorboard_flush(board, NULL), SK_OK);
    read_events(path);
    cr_assert_eq(n_events, 301);
    for (int i = 1; i <= 300; i++) cr_assert_eq(events[i].step, i);
    cr_assert_eq(sk_tensorboard_flush(board, NULL), SK_OK);
    sk_tensorboard_destroy(&board);
    read_events(path);
    cr_assert_eq(n_events, 301);
}

Test(tensorboard, a_run_that_goes_on_has_a_file_that_comes_later) {
    char            first[512];
    sk_tensorboard *board = create();
    strcpy(first, path_of(board));
    sk_tensorboard_destroy(&board);
    board = create();
    const char *second = path_of(board);
    cr_assert_lt(strcmp(first, second), 0, "%s, then %s", first, second);
    cr_assert_eq(sk_tensorboard_restart(board, 300, NULL), SK_OK);
    cr_assert_eq(add(board, 300, 1, NULL), SK_OK);
    sk_tensorboard_destroy(&board);
    read_events(second);
    cr_assert_eq(n_events, 3);
    cr_assert_eq(events[1].session_status, 1, "START");
    cr_assert_eq(events[1].step, 300);
    cr_assert(events[2].has_summary);
}

/* A limit on the file's size stands in for a full disk. */
Test(tensorboard, a_full_disk_leaves_whole_events) {
    sk_error        err = {0};
    sk_tensorboard *board = create();
    const char     *path = path_of(board);
    struct rlimit   old, tight = {.rlim_cur = 150, .rlim_max = RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
    tight.rlim_max = old.rlim_max;
    cr_assert_eq(add(board, 1, 1, NULL), SK_OK);
    cr_assert_eq(add(board, 2, 2, NULL), SK_OK);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &tight), 0);
    sk_status status = sk_tensorboard_flush(board, &err);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
    cr_assert_eq(status, SK_EIO);
    cr_assert(strstr(err.msg, path) && strstr(err.msg, "File too large"), "%s", err.msg);
    read_events(path);
    cr_assert_eq(n_events, 1);
    cr_assert_eq(add(board, 3, 3, NULL), SK_OK);
    sk_tensorboard_destroy(&board);
    read_events(path);
    cr_assert_eq(n_events, 2);
    cr_assert_eq(events[1].step, 3);
}

Test(tensorboard, says_where_it_cannot_write) {
    sk_error        err = {0};
    sk_tensorboard *board = NULL;
    cr_assert_eq(sk_tensorboard_create("/nowhere/at/all", &board, &err), SK_EIO);
    cr_assert(strstr(err.msg, "/nowhere/at/all/events.out.tfevents."), "%s", err.msg);
    cr_assert_null(board);
    sk_tensorboard_destroy(&board);
    sk_tensorboard_destroy(NULL);
}
