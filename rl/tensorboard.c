#include "rl/tensorboard.h"
#include "core/base/clock.h"
#include "rl/tensorboard/event.pb-c.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    BUFFER_BYTES = 1 << 16, /* about 40 events                                     */
    EVENT_BYTES = 1 << 13,  /* more than all metrics take                          */
    FRAME_BYTES = 16        /* around each event: length, its CRC, the event's CRC */
};
static const double FLUSH_S = 1.0;
static const char   PREFIX[] = "events.out.tfevents.";

struct sk_tensorboard {
    char    *path;
    int      fd;
    uint8_t *buffer;    /* (BUFFER_BYTES) records not written yet         */
    size_t   used;      /* bytes of them                                  */
    size_t   last;      /* where the newest record begins; == used: none  */
    int64_t  last_step; /* its step                                       */
    double   flushed_s; /* when the buffer was last written               */
    uint32_t crc_table[256];
    /* the one summary that every report fills anew */
    Tensorboard__Summary__Value  values[SK_METRIC_COUNT];
    Tensorboard__Summary__Value *present[SK_METRIC_COUNT];
};

#define NO_MEMORY(reterr) SK_FAIL(reterr, SK_ENOMEM, "out of memory for TensorBoard events")

/* ---- TFRecord framing ---- */

/* CRC-32C (Castagnoli), reflected polynomial 0x82f63b78. */
static void fill_crc_table(uint32_t table[256]) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
        table[i] = crc;
    }
}

/* Masked, as TFRecord wants it: a CRC over data that holds CRCs is weak. */
static uint32_t masked_crc(const sk_tensorboard *self, const uint8_t *bytes, size_t size) {
    uint32_t crc = ~0u;
    for (size_t i = 0; i < size; i++) crc = self->crc_table[(crc ^ bytes[i]) & 0xff] ^ crc >> 8;
    crc = ~crc;
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

static void put_little_endian(uint8_t *at, uint64_t value, int n_bytes) {
    for (int i = 0; i < n_bytes; i++) at[i] = (uint8_t)(value >> 8 * i);
}

/* u64 length | u32 masked CRC of it | event | u32 masked CRC of the event */
static void append_record(sk_tensorboard *self, const Tensorboard__Event *event) {
    uint8_t *head = self->buffer + self->used, *body = head + 12;
    size_t   size = tensorboard__event__pack(event, body);
    put_little_endian(head, size, 8);
    put_little_endian(head + 8, masked_crc(self, head, 8), 4);
    put_little_endian(body + size, masked_crc(self, body, size), 4);
    self->last = self->used;
    self->last_step = event->step;
    self->used += size + FRAME_BYTES;
}

/* ---- the file ---- */

/* Write the first `size` bytes of the buffer, all or (disk full) nothing; they leave the buffer in any
 * case. */
static sk_status write_out(sk_tensorboard *self, size_t size, sk_error *reterr) {
    off_t  start = lseek(self->fd, 0, SEEK_CUR);
    size_t done = 0;
    int    error = 0;
    while (done < size && !error) {
        ssize_t n = write(self->fd, self->buffer + done, size - done);
        if (n > 0) done += (size_t)n;
        else if (n == 0 || errno != EINTR) error = n < 0 ? errno : EIO;
    }
    /* half a record would hide all that come after it */
    if (error && done > 0 && (ftruncate(self->fd, start) != 0 || lseek(self->fd, start, SEEK_SET) < 0))
        error = errno;
    memmove(self->buffer, self->buffer + size, self->used - size);
    self->used -= size;
    self->last = self->last >= size ? self->last - size : 0;
    self->flushed_s = sk_clock_now_s();
    if (error) return SK_FAIL(reterr, SK_EIO, "cannot write %s: %s", self->path, strerror(error));
    return SK_OK;
}

/* TensorBoard reads the files of a folder in the order of their names, which begin with a time: now, or
 * later than the latest that is there. */
static long long pick_time(const char *folder) {
    long long      latest = (long long)time(NULL);
    DIR           *dir = opendir(folder);
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        if (strncmp(entry->d_name, PREFIX, sizeof PREFIX - 1) != 0) continue;
        long long theirs = strtoll(entry->d_name + sizeof PREFIX - 1, NULL, 10);
        if (theirs >= latest && theirs < 9999999999) latest = theirs + 1; /* ten digits sort like numbers */
    }
    if (dir) closedir(dir);
    return latest;
}

static sk_status open_file(sk_tensorboard *self, const char *folder, sk_error *reterr) {
    char host[128] = "";
    if (gethostname(host, sizeof host - 1) != 0 || !host[0]) strcpy(host, "localhost");
    for (char *s = host; *s; s++)
        if (*s == '/') *s = '-';
    if (asprintf(&self->path, "%s/%s%010lld.%s.%d.0", folder, PREFIX, pick_time(folder), host,
                 (int)getpid()) < 0) {
        self->path = NULL;
        return NO_MEMORY(reterr);
    }
    self->fd = open(self->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (self->fd < 0) return SK_FAIL(reterr, SK_EIO, "cannot write %s: %s", self->path, strerror(errno));
    return SK_OK;
}

static double wall_time_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* ---- public ---- */

sk_status sk_tensorboard_create(const char *folder, sk_tensorboard **ret_board, sk_error *reterr) {
    SK_ASSERT(folder && ret_board);
    SK_AUTO(sk_tensorboard) self = calloc(1, sizeof *self);
    if (!self) return NO_MEMORY(reterr);
    self->fd = -1;
    self->buffer = malloc(BUFFER_BYTES);
    if (!self->buffer) return NO_MEMORY(reterr);
    fill_crc_table(self->crc_table);
    for (int i = 0; i < SK_METRIC_COUNT; i++) {
        tensorboard__summary__value__init(&self->values[i]);
        self->values[i].tag = (char *)(uintptr_t)sk_metric_info_get((sk_metric)i)->name;
        self->values[i].value_case = TENSORBOARD__SUMMARY__VALUE__VALUE_SIMPLE_VALUE;
    }
    SK_TRY(open_file(self, folder, reterr));
    Tensorboard__Event event = TENSORBOARD__EVENT__INIT;
    event.wall_time = wall_time_s();
    event.what_case = TENSORBOARD__EVENT__WHAT_FILE_VERSION;
    event.file_version = (char *)(uintptr_t) "brain.Event:2";
    append_record(self, &event);
    sk_status status = write_out(self, self->used, reterr);
    if (status != SK_OK) {
        unlink(self->path);
        return status;
    }
    *ret_board = self;
    self = NULL;
    return SK_OK;
}

void sk_tensorboard_destroy(sk_tensorboard **self_p) {
    if (!self_p || !*self_p) return;
    sk_tensorboard *self = *self_p;
    if (self->fd >= 0) {
        sk_status ignored = write_out(self, self->used, NULL); /* nobody is left who could be told */
        (void)ignored;
        close(self->fd);
    }
    free(self->buffer);
    free(self->path);
    free(self);
    *self_p = NULL;
}

const char *sk_tensorboard_path(const sk_tensorboard *self) { return self->path; }

sk_status sk_tensorboard_restart(sk_tensorboard *self, int64_t step, sk_error *reterr) {
    Tensorboard__Event      event = TENSORBOARD__EVENT__INIT;
    Tensorboard__SessionLog log = TENSORBOARD__SESSION_LOG__INIT;
    log.status = TENSORBOARD__SESSION_LOG__SESSION_STATUS__START;
    event.wall_time = wall_time_s();
    event.step = step;
    event.what_case = TENSORBOARD__EVENT__WHAT_SESSION_LOG;
    event.session_log = &log;
    append_record(self, &event);
    return write_out(self, self->used, reterr);
}

sk_status sk_tensorboard_add(sk_tensorboard *self, const sk_metrics *metrics, int64_t step,
                             sk_error *reterr) {
    Tensorboard__Event   event = TENSORBOARD__EVENT__INIT;
    Tensorboard__Summary summary = TENSORBOARD__SUMMARY__INIT;
    for (int i = 0; i < SK_METRIC_COUNT; i++) {
        if (!metrics->present[i]) continue;
        self->values[i].simple_value = (float)metrics->value[i];
        self->present[summary.n_value++] = &self->values[i];
    }
    summary.value = self->present;
    event.wall_time = wall_time_s();
    event.step = step;
    event.what_case = TENSORBOARD__EVENT__WHAT_SUMMARY;
    event.summary = &summary;
    SK_ASSERT(tensorboard__event__get_packed_size(&event) + FRAME_BYTES <= EVENT_BYTES);

    sk_status status = SK_OK;
    if (self->last < self->used && self->last_step == step)
        self->used = self->last; /* this one takes its place */
    else if (self->used + EVENT_BYTES > BUFFER_BYTES || sk_clock_now_s() - self->flushed_s >= FLUSH_S)
        status = write_out(self, self->used, reterr);
    append_record(self, &event);
    return status;
}

sk_status sk_tensorboard_flush(sk_tensorboard *self, sk_error *reterr) {
    return write_out(self, self->used, reterr);
}
