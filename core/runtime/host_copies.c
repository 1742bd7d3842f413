#include "core/runtime/driver.h"
#include "core/runtime/host.h"
#include "core/runtime/space.h"
#include <inttypes.h>
#include <stdlib.h>

/* ---- the table ------------------------------------------------------------------------------------------- */
static sk__copy **bucket(const sk__hosts *hosts, uint64_t offset) {
    return &hosts->buckets[(offset / 64 * 0x9e3779b97f4a7c15u >> 20) & (hosts->n_buckets - 1)];
}

static sk__copy *find(const sk__host *self, uint64_t offset) {
    const sk__hosts *hosts = self->d->hosts;
    if (hosts->n_copies == 0) return NULL;
    sk__copy *copy = *bucket(hosts, offset);
    while (copy && (copy->host != self || copy->extent.offset != offset)) copy = copy->next;
    return copy;
}

bool sk__host_has_copy(const sk__host *self, uint64_t offset) { return find(self, offset) != NULL; }

/* Twice as many buckets once there are as many copies; without memory for them it goes on, slower. */
static bool grow(sk__hosts *hosts) {
    if (hosts->n_copies < hosts->n_buckets) return true;
    size_t     n = hosts->n_buckets ? 2 * hosts->n_buckets : 256, n_before = hosts->n_buckets;
    sk__copy **before = hosts->buckets, **grown = calloc(n, sizeof *grown);
    if (!grown) return before != NULL;
    hosts->buckets = grown;
    hosts->n_buckets = n;
    for (size_t i = 0; i < n_before; i++)
        for (sk__copy *copy = before[i], *next; copy; copy = next) {
            next = copy->next;
            sk__copy **to = bucket(hosts, copy->extent.offset);
            copy->next = *to;
            *to = copy;
        }
    free(before);
    return true;
}

/* ---- by use ---------------------------------------------------------------------------------------------- */
static void leave_line(sk__copy *copy) {
    *(copy->older ? &copy->older->newer : &copy->host->oldest) = copy->newer;
    *(copy->newer ? &copy->newer->older : &copy->host->newest) = copy->older;
}

static void join_line(sk__copy *copy) {
    copy->newer = NULL;
    copy->older = copy->host->newest;
    *(copy->older ? &copy->older->newer : &copy->host->oldest) = copy;
    copy->host->newest = copy;
}

/* ---- life ------------------------------------------------------------------------------------------------ */
static sk__copy *add(sk__host *self, sk_extent extent, uint64_t object) {
    sk__hosts *hosts = self->d->hosts;
    sk__copy  *copy = grow(hosts) ? calloc(1, sizeof *copy) : NULL;
    if (!copy) return NULL;
    copy->host = self;
    copy->extent = extent;
    copy->object = object;
    sk__copy **to = bucket(hosts, extent.offset);
    copy->next = *to;
    *to = copy;
    hosts->n_copies++;
    join_line(copy);
    self->n_copies++;
    self->copied_bytes += sk_space_round(extent.size);
    return copy;
}

/* Out of the table; `link` points to it in its bucket. What was not sent of it is not sent any more. */
static void take_out(sk__copy **link) {
    sk__copy *copy = *link;
    *link = copy->next;
    copy->host->d->hosts->n_copies--;
    leave_line(copy);
    copy->host->n_copies--;
    copy->host->copied_bytes -= sk_space_round(copy->extent.size);
    if (copy->parcel) copy->parcel->copy = NULL;
    free(copy);
}

/* The host is told after all that was queued before: messages that name it still find it. */
static void drop(sk__copy **link) {
    sk__host *host = (*link)->host;
    uint64_t  offset = (*link)->extent.offset;
    take_out(link);
    sk__host_send(host, &(sk_link_frame){.kind = SK_WIRE_DROP, .a = offset}, NULL, 0);
}

static sk__copy **link_to(const sk__copy *copy) {
    sk__copy **link = bucket(copy->host->d->hosts, copy->extent.offset);
    while (*link != copy) link = &(*link)->next;
    return link;
}

/* Not while a worker there reads it or is about to; who reads it elsewhere does not need this copy. What a worker fills
 * is no object yet, and stays. */
static bool may_leave(const sk__driver *d, const sk__copy *copy) {
    const sk__object *object = sk__slab_find((sk__slab *)(uintptr_t)&d->objects, copy->object);
    if (!object) return false;
    uint32_t n_elsewhere = object->program_pins;
    for (const sk__hold *hold = object->holds; hold; hold = hold->next) {
        if (hold->pins && hold->peer->host == copy->host) return false;
        n_elsewhere += hold->pins;
    }
    return object->n_pins == n_elsewhere; /* the rest are jobs' */
}

/* Let the least recently used go until `size` more fit. */
static sk_status make_room(sk__host *self, uint64_t size, sk_error *reterr) {
    uint64_t rounded = sk_space_round(size);
    size_t   n_left = self->n_copies; /* to look at */
    if (rounded <= self->store_bytes)
        while (self->copied_bytes + rounded > self->store_bytes && n_left-- > 0) {
            sk__copy *copy = self->oldest;
            if (may_leave(self->d, copy)) {
                drop(link_to(copy));
            } else { /* used just now, as it were: the next search does not begin with it */
                leave_line(copy);
                join_line(copy);
            }
        }
    if (self->copied_bytes + rounded <= self->store_bytes) return SK_OK;
    return SK_FAIL(reterr, SK_ELIMIT,
                   "host %s has no room for %" PRIu64 " bytes: %" PRIu64 " of the %" PRIu64 " of its store are in use",
                   self->name, size, self->copied_bytes, self->store_bytes);
}

static sk_status no_memory(const sk__host *self, sk_error *reterr) {
    return SK_FAIL(reterr, SK_ENOMEM, "no memory to note a copy on %s", self->name);
}

sk_status sk__host_need_copy(sk__host *self, sk_extent extent, uint64_t object, sk_error *reterr) {
    if (self->state == SK__HOST_GONE) return SK_OK; /* what is sent there goes nowhere */
    sk__copy *copy = find(self, extent.offset);
    if (copy) {
        leave_line(copy);
        join_line(copy);
        return SK_OK;
    }
    SK_TRY(make_room(self, extent.size, reterr));
    sk__parcel_out *parcel = calloc(1, sizeof *parcel);
    copy = parcel ? add(self, extent, object) : NULL;
    if (!copy) {
        free(parcel);
        return no_memory(self, reterr);
    }
    parcel->is_extent = true;
    parcel->copy = copy;
    parcel->frame = (sk_link_frame){.kind = SK_WIRE_COPY, .a = extent.offset, .b = extent.size};
    copy->parcel = parcel;
    sk__host_push(self, parcel);
    return SK_OK;
}

sk_status sk__host_note_copy(sk__host *self, sk_extent extent, sk_error *reterr) {
    if (self->state == SK__HOST_GONE) return SK_OK;
    SK_TRY(make_room(self, extent.size, reterr));
    return add(self, extent, 0) ? SK_OK : no_memory(self, reterr);
}

void sk__hosts_name_copies(sk__driver *d, sk_extent extent, uint64_t object) {
    if (!d->hosts || d->hosts->n_copies == 0) return;
    for (sk__copy *copy = *bucket(d->hosts, extent.offset); copy; copy = copy->next)
        if (copy->extent.offset == extent.offset) copy->object = object;
}

void sk__hosts_on_free(void *driver, sk_extent extent) {
    const sk__driver *d = driver;
    if (!d->hosts || d->hosts->n_copies == 0) return;
    for (sk__copy **link = bucket(d->hosts, extent.offset); *link;) {
        if ((*link)->extent.offset == extent.offset) drop(link);
        else link = &(*link)->next;
    }
}

void sk__host_free_copies(sk__host *self) {
    while (self->oldest) take_out(link_to(self->oldest));
}
