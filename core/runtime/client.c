#include "core/base/log.h"
#include "core/runtime/client.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the table of objects -------------------------------------------------------------------------------- */
/* Ids are made of counters: spread them over the table. */
static size_t slot_of(const sk__client *self, uint64_t id) {
    uint64_t h = id * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(h ^ (h >> 32)) & (self->known_cap - 1);
}

sk__known *sk__known_find(const sk__client *self, uint64_t id) {
    if (self->known_cap == 0 || id == 0) return NULL;
    for (size_t i = slot_of(self, id);; i = (i + 1) & (self->known_cap - 1)) {
        if (self->known[i].id == id) return &self->known[i];
        if (self->known[i].id == 0) return NULL;
    }
}

static sk__known *free_slot(sk__client *self, uint64_t id) {
    size_t i = slot_of(self, id);
    while (self->known[i].id != 0) i = (i + 1) & (self->known_cap - 1);
    return &self->known[i];
}

/* At least half of the table is free. */
static bool grow_known(sk__client *self) {
    if (2 * (self->n_known + 1) <= self->known_cap) return true;
    size_t     old_cap = self->known_cap, cap = old_cap ? 2 * old_cap : 64;
    sk__known *old = self->known, *grown = calloc(cap, sizeof *grown);
    if (!grown) return false;
    self->known = grown;
    self->known_cap = cap;
    for (size_t i = 0; i < old_cap; i++)
        if (old[i].id) *free_slot(self, old[i].id) = old[i];
    free(old);
    return true;
}

sk__known *sk__known_add(sk__client *self, uint64_t id) {
    if (!grow_known(self)) return NULL;
    sk__known *known = free_slot(self, id);
    *known = (sk__known){.id = id, .n_counts = 1};
    self->n_known++;
    return known;
}

void sk__known_remove(sk__client *self, sk__known *known) {
    if (known->owns) free(known->data);
    self->n_known--;
    /* close the gap: what follows and belongs at it, or before it, moves up */
    size_t mask = self->known_cap - 1, gap = (size_t)(known - self->known);
    for (size_t i = (gap + 1) & mask; self->known[i].id != 0; i = (i + 1) & mask) {
        size_t home = slot_of(self, self->known[i].id);
        if (((i - home) & mask) < ((i - gap) & mask)) continue;
        self->known[gap] = self->known[i];
        gap = i;
    }
    self->known[gap] = (sk__known){0};
}

void sk__client_drop_objects(sk__client *self) {
    for (size_t i = 0; i < self->known_cap; i++)
        if (self->known[i].id && self->known[i].owns) free(self->known[i].data);
    free(self->known);
    self->known = NULL;
    self->known_cap = self->n_known = 0;
}

void *sk__client_place(const sk__client *self, sk_extent extent) {
    if (extent.size == 0 || extent.size > self->store_size || extent.offset > self->store_size - extent.size)
        return NULL;
    return self->store + extent.offset;
}

/* ---- values that come ------------------------------------------------------------------------------------ */
/* malloc's, so 16-byte aligned, and never NULL for a value of no bytes. */
static bool keep_copy(sk__known *known, const void *data, size_t size) {
    known->data = malloc(size ? size : 1);
    if (!known->data) return false;
    if (size) memcpy(known->data, data, size);
    known->size = size;
    known->owns = true;
    return true;
}

static void end_object(sk__client *self, sk__known *known, sk__known_state state, sk_status status) {
    known->state = (uint8_t)state;
    known->status = (int16_t)status;
    self->n_ended++;
    if (state == SK__KNOWN_FAILED) self->n_bad++;
}

/* The value of an object out of its record. */
static sk_status take_value(sk__client *self, sk__known *known, sk_bytes payload, sk_error *reterr) {
    sk_record record;
    SK_TRY(sk_packed_next(&payload, &record, reterr));
    if (payload.size > 0)
        return SK_FAIL(reterr, SK_ECORRUPT, "a VALUE with %zu bytes behind its record", payload.size);
    if (record.kind == SK_PACKED_EXTENT) {
        void *place = sk__client_place(self, record.extent);
        if (!place)
            return SK_FAIL(reterr, SK_ECORRUPT, "a VALUE of %" PRIu64 " bytes at %" PRIu64 ", outside of the store",
                           record.extent.size, record.extent.offset);
        known->data = place;
        known->size = record.extent.size;
    } else if (record.kind != SK_PACKED_VALUE)
        return SK_FAIL(reterr, SK_ECORRUPT, "a VALUE whose record is of kind %d", record.kind);
    else if (!keep_copy(known, record.value.data, record.value.size)) {
        end_object(self, known, SK__KNOWN_FAILED, SK_ENOMEM);
        return SK_OK;
    }
    end_object(self, known, SK__KNOWN_VALUE, SK_OK);
    return SK_OK;
}

void sk__client_on_value(sk__client *self, const sk_message *message, sk_bytes payload) {
    sk__known *known = sk__known_find(self, message->subject);
    sk_error   err = {0};
    /* forgotten meanwhile: the driver hears of it */
    if (!known || known->state != SK__KNOWN_PENDING) return;
    if (message->status != SK_OK) {
        if (keep_copy(known, payload.data, payload.size)) end_object(self, known, SK__KNOWN_FAILED, message->status);
        else end_object(self, known, SK__KNOWN_FAILED, SK_ENOMEM);
    } else if (take_value(self, known, payload, &err) != SK_OK) {
        self->n_malformed++;
        sk_log(SK_LOG_WARN, "worker: dropped a message: %s", err.msg);
    }
}

/* ---- counts ---------------------------------------------------------------------------------------------- */
void sk__client_flush(sk__client *self) {
    if (self->n_released == 0) return;
    sk_message head = {.kind = SK_MSG_RELEASE};
    sk_error   err = {0};
    size_t     size = (size_t)self->n_released * sizeof *self->released;
    self->n_released = 0;
    if (sk__mail_put(self, &head, self->released, size, SK_MAIL_PLAIN, &err) != SK_OK)
        sk_log(SK_LOG_WARN, "worker: objects stay counted: %s", err.msg);
}

static void queue_release(sk__client *self, uint64_t id) {
    self->released[self->n_released++] = id;
    if (self->n_released == SK__RELEASE_BATCH) sk__client_flush(self);
}

/* True: the driver has not heard of the release yet, and will not. */
static bool take_release_back(sk__client *self, uint64_t id) {
    for (int i = 0; i < self->n_released; i++) {
        if (self->released[i] != id) continue;
        self->released[i] = self->released[--self->n_released];
        return true;
    }
    return false;
}

/* The process counts on one more object. NULL: no memory. */
static sk__known *acquire_new(sk__client *self, uint64_t id) {
    sk__known *known = sk__known_add(self, id);
    if (!known || take_release_back(self, id)) return known;
    sk_message head = {.kind = SK_MSG_ACQUIRE};
    sk_error   err = {0};
    if (sk__mail_put(self, &head, &id, sizeof id, SK_MAIL_PLAIN, &err) != SK_OK)
        sk_log(SK_LOG_WARN, "worker: %s", err.msg);
    return known;
}

static void release_one(sk__client *self, sk__known *known) {
    uint64_t id = known->id;
    if (--known->n_counts > 0) return;
    if (known->state == SK__KNOWN_FILLING) { /* nobody else knows it */
        if (known->extent.size > 0) sk__client_free_extent(self, known->extent);
        sk__known_remove(self, known);
        sk__client_give_ids(self, 1, &(sk_ref){id});
        return;
    }
    sk__known_remove(self, known);
    queue_release(self, id);
}

void sk__client_acquire(sk__client *self, sk_ref ref) {
    if (ref.id == 0) return;
    pthread_mutex_lock(&self->lock);
    sk__known *known = sk__known_find(self, ref.id);
    if (known) known->n_counts++;
    else if (!acquire_new(self, ref.id)) sk_log(SK_LOG_ERROR, "worker: no memory to count on object %" PRIu64, ref.id);
    pthread_mutex_unlock(&self->lock);
}

void sk__client_release(sk__client *self, sk_ref *ref) {
    uint64_t id = ref->id;
    ref->id = 0;
    if (id == 0) return;
    pthread_mutex_lock(&self->lock);
    sk__known *known = sk__known_find(self, id);
    if (known) release_one(self, known);
    pthread_mutex_unlock(&self->lock);
}

/* What a job gets without having acquired it is its own until it ends. */
static sk__known *borrow(sk__client *self, uint64_t id) {
    sk__work *work = sk__work_current();
    bool      in_job = work && work->job;
    if (in_job && work->n_borrowed == work->borrowed_cap) {
        int       cap = work->borrowed_cap ? 2 * work->borrowed_cap : 8;
        uint64_t *grown = realloc(work->borrowed, (size_t)cap * sizeof *grown);
        if (!grown) return NULL;
        work->borrowed = grown;
        work->borrowed_cap = cap;
    }
    sk__known *known = acquire_new(self, id);
    if (known && in_job) {
        known->borrowed = true;
        work->borrowed[work->n_borrowed++] = id;
    }
    return known;
}

void sk__client_end_job(sk__client *self, sk__work *work) {
    for (int i = 0; i < work->n_borrowed; i++) {
        sk__known *known = sk__known_find(self, work->borrowed[i]);
        if (!known || !known->borrowed) continue;
        known->borrowed = false;
        release_one(self, known);
    }
    work->n_borrowed = 0;
    sk__client_flush(self);
}

/* ---- put ------------------------------------------------------------------------------------------------- */
/* A small object is told at once and kept: a get of it asks nobody. */
static sk_status tell_small(sk__client *self, uint64_t id, const void *data, size_t size, sk_error *reterr) {
    size_t      packed = sk_packed_value_size(size);
    sk_message *head = sk__mail_begin(self, SK_MSG_PUT, packed);
    if (!head) return SK_FAIL(reterr, SK_EINTERRUPTED, "the program is ending");
    head->subject = id;
    sk_packed_put_value((uint8_t *)(head + 1), data, size);
    sk__mail_send(self, packed, SK_MAIL_PLAIN);
    return SK_OK;
}

/* A large one is read through a VALUE like any other: until then the driver may move it. */
static sk_status tell_large(sk__client *self, uint64_t id, sk_extent extent, sk_error *reterr) {
    sk_message head = {.kind = SK_MSG_PUT, .subject = id};
    _Alignas(16) uint8_t record[SK_PACKED_EXTENT_SIZE];
    sk_packed_put_extent(record, extent);
    return sk__mail_put(self, &head, record, sizeof record, SK_MAIL_PLAIN, reterr);
}

static sk_status put_small(sk__client *self, const void *data, size_t size, sk_ref *ret_ref, sk_error *reterr) {
    sk_ref ref = {0};
    SK_TRY(sk__client_take_ids(self, 1, &ref, reterr));
    sk__known *known = sk__known_add(self, ref.id);
    sk_status  status = SK_OK;
    if (!known || !keep_copy(known, data, size))
        status = SK_FAIL(reterr, SK_ENOMEM, "no memory for an object of %zu bytes", size);
    else
        status = tell_small(self, ref.id, data, size, reterr);
    if (status != SK_OK) {
        if (known) sk__known_remove(self, known);
        sk__client_give_ids(self, 1, &ref);
        return status;
    }
    known->state = SK__KNOWN_VALUE;
    *ret_ref = ref;
    return SK_OK;
}

sk_status sk__client_put_failure(sk__client *self, sk_ref ref, sk_status status, const char *text, sk_error *reterr) {
    sk_message head = {.kind = SK_MSG_PUT, .subject = ref.id, .status = status};
    sk__known *known = sk__known_add(self, ref.id);
    if (!known || !keep_copy(known, text, strlen(text))) {
        if (known) sk__known_remove(self, known);
        return SK_FAIL(reterr, SK_ENOMEM, "no memory for an object");
    }
    end_object(self, known, SK__KNOWN_FAILED, status);
    return sk__mail_put(self, &head, text, strlen(text), SK_MAIL_PLAIN, reterr);
}

sk_status sk__client_put_extent(sk__client *self, sk_ref ref, sk_extent extent, sk_error *reterr) {
    if (!sk__known_add(self, ref.id)) return SK_FAIL(reterr, SK_ENOMEM, "no memory for an object");
    return tell_large(self, ref.id, extent, reterr);
}

sk_status sk__client_put(sk__client *self, const void *data, size_t size, sk_ref *ret_ref, sk_error *reterr) {
    if (size <= SK_INLINE_MAX) {
        pthread_mutex_lock(&self->lock);
        sk_status status = put_small(self, data, size, ret_ref, reterr);
        pthread_mutex_unlock(&self->lock);
        return status;
    }
    sk_ref ref = {0};
    void  *there = NULL;
    SK_TRY(sk__client_put_begin(self, size, &ref, &there, reterr));
    memcpy(there, data, size);
    sk_status status = sk__client_put_end(self, ref, reterr);
    if (status != SK_OK) sk__client_release(self, &ref);
    else *ret_ref = ref;
    return status;
}

/* Memory for a new object, and a row for it. */
static sk_status begin_object(sk__client *self, size_t size, uint64_t id, void **ret_data, sk_error *reterr) {
    sk_extent extent = {0};
    if (size > SK_INLINE_MAX)
        SK_TRY(sk__client_ask_extent(self, size, &extent, ret_data, reterr));
    else {
        *ret_data = aligned_alloc(64, (size + 63) / 64 * 64 + (size ? 0 : 64));
        if (!*ret_data) return SK_FAIL(reterr, SK_ENOMEM, "no memory for an object of %zu bytes", size);
    }
    sk__known *known = sk__known_add(self, id);
    if (!known) {
        if (extent.size > 0) sk__client_free_extent(self, extent);
        else free(*ret_data);
        return SK_FAIL(reterr, SK_ENOMEM, "no memory for an object");
    }
    known->state = SK__KNOWN_FILLING;
    known->data = *ret_data;
    known->size = size;
    known->owns = extent.size == 0;
    known->extent = extent;
    return SK_OK;
}

sk_status sk__client_put_begin(sk__client *self, size_t size, sk_ref *ret_ref, void **ret_data, sk_error *reterr) {
    sk_ref ref = {0};
    pthread_mutex_lock(&self->lock);
    sk_status status = sk__client_take_ids(self, 1, &ref, reterr);
    if (status == SK_OK) {
        status = begin_object(self, size, ref.id, ret_data, reterr);
        if (status != SK_OK) sk__client_give_ids(self, 1, &ref);
    }
    pthread_mutex_unlock(&self->lock);
    if (status == SK_OK) *ret_ref = ref;
    return status;
}

static sk_status end_filling(sk__client *self, sk_ref ref, sk_error *reterr) {
    sk__known *known = sk__known_find(self, ref.id);
    if (!known || known->state != SK__KNOWN_FILLING)
        return SK_FAIL(reterr, SK_EINVAL, "object %" PRIu64 " is not between sk_put_begin and sk_put_end", ref.id);
    if (known->extent.size == 0) {
        SK_TRY(tell_small(self, ref.id, known->data, known->size, reterr));
        end_object(self, known, SK__KNOWN_VALUE, SK_OK);
        return SK_OK;
    }
    SK_TRY(tell_large(self, ref.id, known->extent, reterr));
    known->data = NULL;
    known->extent = (sk_extent){0};
    known->state = SK__KNOWN_PENDING;
    self->n_ended++; /* those who wait for it have to ask for it now */
    return SK_OK;
}

sk_status sk__client_put_end(sk__client *self, sk_ref ref, sk_error *reterr) {
    pthread_mutex_lock(&self->lock);
    sk_status status = end_filling(self, ref, reterr);
    if (self->n_followers > 0) pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->lock);
    return status;
}

/* ---- get and wait ---------------------------------------------------------------------------------------- */
/* Has it ended? Sees to it that its value comes. */
static bool has_ended(sk__client *self, sk__known *known) {
    if (known->state == SK__KNOWN_VALUE || known->state == SK__KNOWN_FAILED) return true;
    if (known->state == SK__KNOWN_PENDING && !known->asked) {
        sk_message head = {.kind = SK_MSG_FETCH, .subject = known->id};
        known->asked = sk__mail_put(self, &head, NULL, 0, SK_MAIL_URGENT, NULL) == SK_OK;
    }
    return false;
}

/* The references of one wait. */
typedef struct wanted {
    const sk_ref *refs;
    int           n, n_wanted, n_ended;
    bool          ends_at_failure, has_failed;
    uint8_t      *ended;  /* (n) nullable */
    uint64_t      seen;   /* n_ended of the client at the last look */
    int           at;     /* all before have values; for who wants all */
    uint64_t      failed_seen; /* n_bad of the client at the last look */
    bool          has_looked;
} wanted;

/* Whoever releases an object that another thread waits for ends that wait as well. */
static bool look(sk__client *self, sk_ref ref, bool *ret_failed) {
    sk__known *known = sk__known_find(self, ref.id);
    *ret_failed = !known || known->state == SK__KNOWN_FAILED;
    return !known || has_ended(self, known);
}

static bool is_enough(const wanted *w) {
    return w->n_ended >= w->n_wanted || (w->ends_at_failure && w->has_failed);
}

static bool are_ended(sk__client *self, void *arg) {
    wanted *w = arg;
    if (w->has_looked && w->seen == self->n_ended) return is_enough(w);
    w->seen = self->n_ended;
    if (w->ends_at_failure && w->has_looked && w->failed_seen == self->n_bad) { /* go on at the first that is open */
        bool failed = false;
        while (w->at < w->n && !failed && look(self, w->refs[w->at], &failed)) w->at++;
        w->has_failed |= failed;
        if (w->n_ended < w->at) w->n_ended = w->at;
        return w->at == w->n || w->has_failed;
    }
    w->failed_seen = self->n_bad;
    w->has_looked = true;
    w->n_ended = 0;
    for (int i = 0; i < w->n; i++) {
        bool failed = false;
        bool ended = (w->ended && w->ended[i]) || look(self, w->refs[i], &failed);
        if (w->ended) w->ended[i] = ended;
        w->n_ended += ended;
        w->has_failed |= failed;
    }
    return is_enough(w);
}

/* Make sure that all are known here. */
static sk_status know_all(sk__client *self, const sk_ref *refs, int n, sk_error *reterr) {
    for (int i = 0; i < n; i++) {
        if (refs[i].id == 0) return SK_FAIL(reterr, SK_EINVAL, "reference %d of %d names no object", i, n);
        if (!sk__known_find(self, refs[i].id) && !borrow(self, refs[i].id))
            return SK_FAIL(reterr, SK_ENOMEM, "no memory to know %d objects", n);
    }
    return SK_OK;
}

/* "object 12, which pi.count makes" */
static void describe(sk__client *self, sk_ref ref, char *ret_text, size_t size) {
    const sk__known   *known = sk__known_find(self, ref.id);
    const sk_function *function = known && known->function ? sk_registry_find(self->registry, known->function) : NULL;
    if (function) snprintf(ret_text, size, "object %" PRIu64 ", which %s makes,", ref.id, function->name);
    else snprintf(ret_text, size, "object %" PRIu64, ref.id);
}

/* The value of an object that has ended, or its error. */
static sk_status tell_value(sk__client *self, sk_ref ref, sk_bytes *ret_value, sk_error *reterr) {
    const sk__known *known = sk__known_find(self, ref.id);
    if (!known)
        return SK_FAIL(reterr, SK_EINVAL, "object %" PRIu64 " was released while a thread waited for it", ref.id);
    if (known->state == SK__KNOWN_FAILED) {
        sk_status status = (sk_status)known->status;
        bool      told = known->data && known->size > 0;
        /* its text says where it arose; this here is not the place */
        return sk_error_set(reterr, status, NULL, 0, "%.*s", told ? (int)known->size : 64,
                            told ? (const char *)known->data : sk_status_text(status));
    }
    if (ret_value) *ret_value = (sk_bytes){known->data, known->size};
    return SK_OK;
}

/* The reference that a failed wait is about: the first that has not ended, or that has failed. */
static sk_status tell_end(sk__client *self, const wanted *w, sk_status status, sk_error *reterr) {
    char what[160] = "", text[224];
    for (int i = 0; i < w->n && !what[0]; i++) {
        bool failed = false;
        if (!look(self, w->refs[i], &failed)) describe(self, w->refs[i], what, sizeof what);
    }
    if (w->n == 1) snprintf(text, sizeof text, "value of %s", what);
    else snprintf(text, sizeof text, "more than %d of %d objects (%d wanted; not %s)", w->n_ended, w->n, w->n_wanted,
                  what);
    return sk__mail_fail(self, status, text, reterr);
}

static sk_status get_locked(sk__client *self, sk_ref ref, int64_t deadline_ns, sk_bytes *ret_value, sk_error *reterr) {
    SK_TRY(know_all(self, &ref, 1, reterr));
    wanted w = {.refs = &ref, .n = 1, .n_wanted = 1};
    if (!are_ended(self, &w)) {
        sk_status status = sk__mail_wait(self, are_ended, &w, deadline_ns, SK__IMPATIENT);
        if (status != SK_OK) return tell_end(self, &w, status, reterr);
    }
    return tell_value(self, ref, ret_value, reterr);
}

sk_status sk__client_get(sk__client *self, sk_ref ref, int timeout_ms, sk_bytes *ret_value, sk_error *reterr) {
    int64_t deadline_ns = sk__deadline_ns(timeout_ms);
    pthread_mutex_lock(&self->lock);
    sk_status status = get_locked(self, ref, deadline_ns, ret_value, reterr);
    pthread_mutex_unlock(&self->lock);
    return status;
}

sk_status sk__client_get_argument(sk__client *self, sk_ref ref, sk_bytes *ret_value, sk_error *reterr) {
    pthread_mutex_lock(&self->lock);
    sk_status status = get_locked(self, ref, INT64_MAX, ret_value, reterr);
    pthread_mutex_unlock(&self->lock);
    return status;
}

static sk_status get_all_locked(sk__client *self, const sk_ref *refs, int n, int timeout_ms, sk_error *reterr) {
    SK_TRY(know_all(self, refs, n, reterr));
    wanted    w = {.refs = refs, .n = n, .n_wanted = n, .ends_at_failure = true};
    sk_status status = sk__mail_wait(self, are_ended, &w, sk__deadline_ns(timeout_ms), SK__IMPATIENT);
    if (status != SK_OK) return tell_end(self, &w, status, reterr);
    for (int i = 0; i < n; i++) {
        bool failed = false;
        if (look(self, refs[i], &failed) && failed) return tell_value(self, refs[i], NULL, reterr);
    }
    return SK_OK;
}

sk_status sk__client_get_all(sk__client *self, const sk_ref *refs, int n, int timeout_ms, sk_error *reterr) {
    pthread_mutex_lock(&self->lock);
    sk_status status = get_all_locked(self, refs, n, timeout_ms, reterr);
    pthread_mutex_unlock(&self->lock);
    return status;
}

static sk_status wait_locked(sk__client *self, wanted *w, int timeout_ms, sk_error *reterr) {
    if (w->n_wanted < 0 || w->n_wanted > w->n)
        return SK_FAIL(reterr, SK_EINVAL, "%d of %d objects cannot be waited for", w->n_wanted, w->n);
    SK_TRY(know_all(self, w->refs, w->n, reterr));
    if (are_ended(self, w)) return SK_OK;
    sk_status status = sk__mail_wait(self, are_ended, w, sk__deadline_ns(timeout_ms), SK__IMPATIENT);
    return status == SK_OK ? SK_OK : tell_end(self, w, status, reterr);
}

sk_status sk__client_wait(sk__client *self, const sk_ref *refs, int n, int n_wanted, int timeout_ms, uint8_t *ret_ended,
                          int *ret_n_ended, sk_error *reterr) {
    wanted w = {.refs = refs, .n = n, .n_wanted = n_wanted, .ended = ret_ended};
    if (ret_ended && n > 0) memset(ret_ended, 0, (size_t)n);
    pthread_mutex_lock(&self->lock);
    sk_status status = wait_locked(self, &w, timeout_ms, reterr);
    pthread_mutex_unlock(&self->lock);
    if (ret_n_ended) *ret_n_ended = w.n_ended;
    return status;
}
