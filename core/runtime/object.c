#include "core/base/log.h"
#include "core/runtime/driver.h"
#include "core/runtime/host.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- failures -------------------------------------------------------------------------------------------- */
/* Where there is no memory to say more. */
static sk__failure no_memory = {.n_users = 1, .status = SK_ENOMEM};

sk__failure *sk__failure_create(sk_status status, const char *fmt, ...) {
    char    text[sizeof(((sk_error *)0)->msg)];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    size_t       size = strlen(text) + 1;
    sk__failure *self = malloc(sizeof *self + size);
    if (!self) return &no_memory;
    *self = (sk__failure){.n_users = 1, .status = status};
    memcpy(self->text, text, size);
    return self;
}

sk__failure *sk__failure_acquire(sk__failure *self) {
    if (self != &no_memory) self->n_users++;
    return self;
}

void sk__failure_release(sk__failure *self) {
    if (self && self != &no_memory && --self->n_users == 0) free(self);
}

const char *sk__failure_text(const sk__failure *self) { return self == &no_memory ? "out of memory" : self->text; }

sk_status sk__failure_tell(const sk__failure *self, sk_error *reterr) {
    /* The place where it arose is part of the text, if it is known. */
    return sk_error_set(reterr, self->status, NULL, 0, "%s", sk__failure_text(self));
}

/* ---- life ------------------------------------------------------------------------------------------------ */
sk__object *sk__object_create(sk__driver *d, uint32_t n_program) {
    sk__object *self = sk__slab_take(&d->objects);
    if (!self) return NULL;
    self->state = SK__PENDING;
    self->n_program = n_program;
    self->board_row = -1;
    d->n.n_objects++;
    return self;
}

void sk__object_count(sk__driver *d, sk__object *self) {
    if (self->in_stock) d->n.n_objects++;
    self->in_stock = false;
}

sk__object *sk__object_find(sk__driver *d, uint64_t id) { return sk__slab_find(&d->objects, id); }

/* ---- the order in which objects leave the store: least recently used first ------------------------------- */
static void lru_remove(sk__driver *d, sk__object *self) {
    *(self->lru_prev ? &self->lru_prev->lru_next : &d->lru_first) = self->lru_next;
    *(self->lru_next ? &self->lru_next->lru_prev : &d->lru_last) = self->lru_prev;
    self->lru_prev = self->lru_next = NULL;
}

static void lru_push(sk__driver *d, sk__object *self) {
    self->lru_prev = d->lru_last;
    self->lru_next = NULL;
    *(d->lru_last ? &d->lru_last->lru_next : &d->lru_first) = self;
    d->lru_last = self;
}

/* Its bytes go, wherever they are. */
static void drop_bytes(sk__driver *d, sk__object *self) {
    switch ((sk__object_place)self->place) {
    case SK__NOWHERE:
    case SK__IN_ITEM: break;
    case SK__IN_HEAP: free(self->at.heap); break;
    case SK__IN_STORE:
        lru_remove(d, self);
        sk_store_free(d->store, self->at.extent);
        d->room_changed = d->has_mail_work = true;
        break;
    case SK__SPILLED: sk_store_drop_spilled(d->store, &self->at.spilled); break;
    }
    if (self->place != SK__NOWHERE) d->n.object_bytes -= self->size;
    self->place = SK__NOWHERE;
}

/* Those of jobs that have ended before it had a value. */
static void drop_dependents(sk__object *self) {
    for (sk__dependent *one = self->dependents, *next; one; one = next) {
        next = one->next;
        free(one);
    }
    self->dependents = NULL;
}

void sk__object_settle(sk__driver *d, sk__object *self) {
    if (self->n_program || self->n_jobs || self->n_pins || self->holds) return;
    drop_bytes(d, self);
    sk__watch_object(d, self);
    /* A pending one's maker finds no such object when it is done; a past one is not needed any more. */
    sk__job *maker = self->state == SK__PENDING ? NULL : self->maker;
    sk__failure_release(self->failure);
    drop_dependents(self);
    if (!self->in_stock) d->n.n_objects--;
    sk__slab_give(&d->objects, self);
    if (maker) sk__job_release(d, maker);
}

/* ---- values ---------------------------------------------------------------------------------------------- */
sk_status sk__object_fill(sk__driver *d, sk__object *self, const void *data, size_t size, sk_error *reterr) {
    if (size > SK_INLINE_MAX) {
        sk_extent extent;
        SK_TRY(sk__objects_alloc(d, size, &extent, reterr));
        memcpy((uint8_t *)sk_store_data(d->store) + extent.offset, data, size);
        sk__object_take_extent(d, self, extent);
        return SK_OK;
    }
    uint8_t *to = self->at.item;
    if (size > SK__ITEM_BYTES) {
        to = malloc(size);
        if (!to) return SK_FAIL(reterr, SK_ENOMEM, "no memory for an object of %zu bytes", size);
        self->at.heap = to;
    }
    if (size) memcpy(to, data, size);
    self->place = size > SK__ITEM_BYTES ? SK__IN_HEAP : SK__IN_ITEM;
    self->size = size;
    d->n.object_bytes += size;
    return SK_OK;
}

void sk__object_take_extent(sk__driver *d, sk__object *self, sk_extent extent) {
    self->at.extent = extent;
    self->place = SK__IN_STORE;
    self->size = extent.size;
    d->n.object_bytes += extent.size;
    sk__hosts_name_copies(d, extent, self->id);
    lru_push(d, self);
    sk__watch_object(d, self);
}

static void tell(sk__driver *d, sk__object *self) {
    sk__dependent *dependents = self->dependents;
    self->dependents = NULL;
    for (sk__hold *hold = self->holds, *next; hold; hold = next) {
        next = hold->next;
        if (hold->wants_value) sk__peer_send_value(d, hold);
    }
    while (dependents) {
        sk__dependent *next = dependents->next;
        sk__job_on_argument(d, dependents->job, self);
        free(dependents);
        dependents = next;
    }
    sk__object_unpin(d, self);
}

/* Who hears of it may end other objects in turn: they line up here, since a chain of tasks can be long. An object
 * is pinned while it is in line. */
static void tell_all(sk__driver *d, sk__object *self) {
    sk__object_pin(d, self);
    self->tell_next = NULL;
    *(d->tell_last ? &d->tell_last->tell_next : &d->tell_first) = self;
    d->tell_last = self;
    if (d->telling) return;
    d->telling = true;
    while (d->tell_first) {
        sk__object *object = d->tell_first;
        d->tell_first = object->tell_next;
        if (!d->tell_first) d->tell_last = NULL;
        tell(d, object);
    }
    d->telling = false;
    sk__driver_notify(d);
}

void sk__object_announce(sk__driver *d, sk__object *self) {
    self->state = SK__READY;
    tell_all(d, self);
}

void sk__object_fail(sk__driver *d, sk__object *self, sk__failure *failure) {
    drop_bytes(d, self);
    self->state = SK__FAILED;
    self->maker = NULL;
    self->failure = sk__failure_acquire(failure);
    d->n_failures_seen++;
    tell_all(d, self);
}

sk_bytes sk__object_bytes(sk__driver *d, const sk__object *self) {
    sk_bytes bytes = {self->at.item, self->size};
    if (self->place == SK__IN_HEAP) bytes.data = self->at.heap;
    if (self->place == SK__IN_STORE) bytes.data = (uint8_t *)sk_store_data(d->store) + self->at.extent.offset;
    return bytes;
}

void sk__object_pin(sk__driver *d, sk__object *self) {
    self->n_pins++;
    if (self->board_row >= 0) sk__watch_object(d, self);
}

void sk__object_unpin(sk__driver *d, sk__object *self) {
    SK_ASSERT(self->n_pins > 0);
    self->n_pins--;
    if (self->board_row >= 0) sk__watch_object(d, self);
    if (self->n_pins == 0 && self->place == SK__IN_STORE) { /* used just now */
        lru_remove(d, self);
        lru_push(d, self);
        d->room_changed = d->has_mail_work = true;
    }
    sk__object_settle(d, self);
}

/* ---- the store when it is full --------------------------------------------------------------------------- */
/* Write the least recently used object that nobody reads to disk. SK_ENOTFOUND: all are being read. */
static sk_status spill_one(sk__driver *d, sk_error *reterr) {
    sk__object *object = d->lru_first;
    while (object && (object->n_pins || object->state != SK__READY)) object = object->lru_next;
    if (!object) return SK_FAIL(reterr, SK_ENOTFOUND, "all objects in it are in use");
    sk_spilled spilled;
    SK_TRY(sk_store_spill(d->store, object->at.extent, &spilled, reterr));
    lru_remove(d, object);
    object->place = SK__SPILLED;
    object->at.spilled = spilled;
    sk__watch_object(d, object);
    return SK_OK;
}

sk_status sk__objects_alloc(sk__driver *d, size_t size, sk_extent *ret_extent, sk_error *reterr) {
    for (;;) {
        sk_error  err = {0}, why = {0};
        sk_status status = sk_store_alloc(d->store, size, ret_extent, &err);
        if (status == SK_OK) return SK_OK;
        bool full = status == SK_ELIMIT && size <= sk_store_get_stats(d->store).bytes;
        if (full && spill_one(d, &why) == SK_OK) continue;
        if (full) return SK_FAIL(reterr, SK_ELIMIT, "%s; %s", err.msg, why.msg);
        if (reterr) *reterr = err;
        return status;
    }
}

/* Its bytes are gone for good: run its task again, or tell that it is lost. */
static void rebuild(sk__driver *d, sk__object *self, const char *why) {
    sk__job *maker = self->maker;
    d->n.object_bytes -= self->size;
    self->place = SK__NOWHERE;
    sk__watch_object(d, self);
    if (!maker) {
        sk__failure *failure = sk__failure_create(SK_ELOST, "object %" PRIx64 " is lost: %s", self->id, why);
        sk__object_fail(d, self, failure);
        sk__failure_release(failure);
        return;
    }
    sk_log(SK_LOG_WARN, "object %" PRIx64 " is lost (%s); %s makes it again", self->id, why, sk__job_name(maker));
    self->state = SK__PENDING;
    d->n.n_rebuilt++;
    if (maker->state == SK__ENDED) {
        d->n_open++;
        d->n.n_submitted++;
        maker->n_users++; /* active once more */
        sk__job_start(d, maker);
    }
    sk__job_release(d, maker); /* the object's own count: a pending object's maker is not counted */
}

/* Neither memory nor disk has room: another object, not smaller, changes places with it. */
static sk_status swap_in(sk__driver *d, sk__object *self, sk_error *reterr) {
    sk__object *other = d->lru_first;
    while (other && (other->n_pins || other->state != SK__READY || other->at.extent.size < self->size))
        other = other->lru_next;
    if (!other) return SK_FAIL(reterr, SK_ELIMIT, "all objects in memory that are large enough are in use");
    sk_spilled in = self->at.spilled, out;
    sk_extent  extent;
    sk_status  status = sk_store_swap(d->store, &in, other->at.extent, &extent, &out, reterr);
    self->at.spilled = in;
    if (status != SK_OK) return status;
    lru_remove(d, other);
    other->place = SK__SPILLED;
    other->at.spilled = out;
    self->place = SK__IN_STORE;
    self->at.extent = extent;
    lru_push(d, self);
    sk__watch_object(d, other);
    sk__watch_object(d, self);
    return SK_OK;
}

sk_status sk__object_load(sk__driver *d, sk__object *self, sk_error *reterr) {
    while (self->state == SK__READY && self->place == SK__SPILLED) {
        sk_error   err = {0}, why = {0};
        sk_extent  extent;
        sk_spilled spilled = self->at.spilled;
        sk_status  status = sk_store_unspill(d->store, &spilled, &extent, &err);
        if (status == SK_OK) {
            self->place = SK__IN_STORE;
            self->at.extent = extent;
            lru_push(d, self);
            sk__watch_object(d, self);
        } else if (status != SK_ELIMIT && status != SK_ENOMEM) {
            rebuild(d, self, err.msg);
        } else if (spill_one(d, &why) != SK_OK) {
            status = swap_in(d, self, &why);
            if (status == SK_EIO || status == SK_ECORRUPT) rebuild(d, self, why.msg);
            else if (status != SK_OK) return SK_FAIL(reterr, SK_ELIMIT, "%s; %s", err.msg, why.msg);
        }
    }
    return SK_OK;
}

void sk__objects_deinit(sk__driver *d) {
    uint32_t    at = 0;
    sk__object *self;
    while ((self = sk__slab_next(&d->objects, &at))) {
        if (self->place == SK__IN_HEAP) free(self->at.heap);
        drop_dependents(self);
        sk__failure_release(self->failure);
    }
    sk__slab_deinit(&d->objects);
}

/* ---- holds ----------------------------------------------------------------------------------------------- */
sk__hold *sk__hold_find(sk__object *object, const sk__peer *peer) {
    sk__hold *hold = object->holds;
    while (hold && hold->peer != peer) hold = hold->next;
    return hold;
}

sk__hold *sk__hold_add(sk__driver *d, sk__object *object, sk__peer *peer) {
    (void)d;
    sk__hold *hold = sk__hold_find(object, peer);
    if (hold) return hold;
    hold = calloc(1, sizeof *hold);
    if (!hold) return NULL;
    hold->peer = peer;
    hold->object = object;
    hold->next = object->holds;
    object->holds = hold;
    hold->peer_next = peer->holds;
    hold->peer_link = &peer->holds;
    if (peer->holds) peer->holds->peer_link = &hold->peer_next;
    peer->holds = hold;
    return hold;
}

void sk__hold_remove(sk__driver *d, sk__hold *hold) {
    sk__object *object = hold->object;
    sk__hold  **link = &object->holds;
    while (*link != hold) link = &(*link)->next;
    *link = hold->next;
    *hold->peer_link = hold->peer_next;
    if (hold->peer_next) hold->peer_next->peer_link = hold->peer_link;
    bool pins = hold->pins;
    free(hold);
    if (pins) sk__object_unpin(d, object);
    else sk__object_settle(d, object);
}
