/* What worker processes ask for. Nothing they say is believed: ids, extents and counts are checked against what
 * they own. */
#include "core/runtime/host.h"
#include "core/runtime/program.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { IDS_MAX = 4096, RESOURCES_MAX = 64, BUNDLES_MAX = 256 };

/* A request that has to wait for something. */
struct sk__request {
    sk__request *next;
    sk__peer    *peer;
    uint64_t     job;     /* the worker's number of it */
    uint64_t     subject; /* actor or group; size      */
    sk_ask       ask;     /* 0: ALLOC                  */
};

static void answer(sk__peer *peer, uint64_t request, sk_status status, const void *payload, size_t size) {
    sk_message m = {.kind = SK_MSG_ANSWER, .job = request, .status = status};
    sk__peer_send(peer, &m, payload, size);
}

static void answer_error(sk__peer *peer, uint64_t request, const sk_error *err) {
    answer(peer, request, err->status, err->msg, strlen(err->msg));
}

/* ---- objects --------------------------------------------------------------------------------------------- */
static void on_ids(sk__driver *d, sk__peer *self, const sk_message *m) {
    int       n = m->a > 0 && m->a <= IDS_MAX ? (int)m->a : IDS_MAX;
    uint64_t *ids = malloc((size_t)n * sizeof *ids);
    int       made = 0;
    for (; ids && made < n; made++) {
        sk__object *object = sk__object_create(d, 0);
        if (!object) break;
        if (!sk__hold_add(d, object, self)) {
            sk__object_settle(d, object);
            break;
        }
        object->in_stock = true;
        d->n.n_objects--;
        ids[made] = object->id;
    }
    sk_error err = {0};
    if (made > 0) answer(self, m->job, SK_OK, ids, (size_t)made * sizeof *ids);
    else if (SK_FAIL(&err, SK_ENOMEM, "no memory for %d objects", n) != SK_OK) answer_error(self, m->job, &err);
    free(ids);
}

static sk_status remember_extent(sk__peer *self, sk_extent extent, sk_error *reterr) {
    if (self->n_extents == self->cap_extents) {
        int        cap = self->cap_extents ? 2 * self->cap_extents : 8;
        sk_extent *grown = realloc(self->extents, (size_t)cap * sizeof *grown);
        if (!grown) return SK_FAIL(reterr, SK_ENOMEM, "no memory to note an extent");
        self->extents = grown;
        self->cap_extents = cap;
    }
    self->extents[self->n_extents++] = extent;
    return SK_OK;
}

/* True: it is answered. False: the store is full, and what runs may make room. */
static bool try_alloc(sk__driver *d, sk__peer *self, uint64_t request, uint64_t size) {
    sk_error  err = {0};
    sk_extent extent;
    sk_status status = sk__objects_alloc(d, size, &extent, &err);
    if (status == SK_ELIMIT && sk__driver_may_make_room(d) && size <= sk_store_get_stats(d->store).bytes) return false;
    if (status == SK_OK && self->host && (status = sk__host_note_copy(self->host, extent, &err)) != SK_OK)
        sk_store_free(d->store, extent);
    if (status == SK_OK && (status = remember_extent(self, extent, &err)) != SK_OK) sk_store_free(d->store, extent);
    if (status == SK_OK) answer(self, request, SK_OK, &extent, sizeof extent);
    else answer_error(self, request, &err);
    return true;
}

static void count_alloc_wait(sk__driver *d, sk__peer *peer, int by) {
    d->n_alloc_waits += by;
    peer->n_alloc_waits += by;
}

static sk_status queue_request(sk__driver *d, sk__peer *self, const sk_message *m, uint64_t subject, sk_error *reterr) {
    sk__request *request = calloc(1, sizeof *request);
    if (!request) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a request");
    *request = (sk__request){d->requests, self, m->job, subject, m->kind == SK_MSG_ALLOC ? 0 : (sk_ask)m->method};
    if (!request->ask) count_alloc_wait(d, self, 1);
    d->requests = request;
    return SK_OK;
}

static void on_alloc(sk__driver *d, sk__peer *self, const sk_message *m) {
    sk_error err = {0};
    count_alloc_wait(d, self, 1); /* who asks does not make room itself */
    bool answered = m->a > 0 && try_alloc(d, self, m->job, (uint64_t)m->a);
    count_alloc_wait(d, self, -1);
    if (answered) return;
    sk_status status = m->a > 0 ? queue_request(d, self, m, (uint64_t)m->a, &err)
                                : SK_FAIL(&err, SK_EINVAL, "an allocation of %" PRId64 " bytes", m->a);
    if (status != SK_OK) answer_error(self, m->job, &err);
}

static bool on_free(sk__driver *d, sk__peer *self, sk_bytes payload) {
    sk_extent extent;
    if (payload.size != sizeof extent) return false;
    memcpy(&extent, payload.data, sizeof extent);
    if (!sk__peer_claim(self, extent)) return false;
    sk_store_free(d->store, extent);
    return true;
}

static bool on_put(sk__driver *d, sk__peer *self, const sk_message *m, sk_bytes payload) {
    sk__object *object = sk__object_find(d, m->subject);
    sk__hold   *hold = object ? sk__hold_find(object, self) : NULL;
    sk_record   record;
    sk_error    err = {0};
    if (!hold || object->state != SK__PENDING || object->maker) return false;
    if (m->status != SK_OK) { /* it was to be made by an inline task */
        sk__failure *failure =
            sk__failure_create((sk_status)m->status, "%.*s", (int)payload.size, (const char *)payload.data);
        sk__object_count(d, object);
        sk__object_fail(d, object, failure);
        sk__failure_release(failure);
        return true;
    }
    if (sk_packed_next(&payload, &record, NULL) != SK_OK) return false;
    sk__object_count(d, object);
    if (record.kind == SK_PACKED_EXTENT) {
        if (!sk__peer_claim(self, record.extent)) return false;
        sk__object_take_extent(d, object, record.extent);
    } else if (record.kind != SK_PACKED_VALUE) {
        return false;
    } else if (sk__object_fill(d, object, record.value.data, record.value.size, &err) != SK_OK) {
        sk__failure *failure = sk__failure_create(err.status, "%s", err.msg);
        sk__object_fail(d, object, failure);
        sk__failure_release(failure);
        return true;
    }
    sk__object_announce(d, object);
    return true;
}

static void send_gone(sk__peer *self, uint64_t id) {
    static const char text[] = "there is no such object (any more)";
    sk_message        m = {.kind = SK_MSG_VALUE, .subject = id, .status = SK_ENOTFOUND};
    sk__peer_send(self, &m, text, sizeof text - 1);
}

static void on_fetch(sk__driver *d, sk__peer *self, const sk_message *m) {
    sk__object *object = sk__object_find(d, m->subject);
    sk__hold   *hold = object ? sk__hold_add(d, object, self) : NULL;
    if (!hold) {
        send_gone(self, m->subject);
        return;
    }
    hold->wants_value = true;
    if (object->state == SK__READY || object->state == SK__FAILED) sk__peer_send_value(d, hold);
}

static bool on_counts(sk__driver *d, sk__peer *self, bool acquire, sk_bytes payload) {
    if (payload.size % sizeof(uint64_t)) return false;
    for (size_t i = 0; i < payload.size / sizeof(uint64_t); i++) {
        uint64_t id;
        memcpy(&id, (const uint8_t *)payload.data + i * sizeof id, sizeof id);
        sk__object *object = sk__object_find(d, id);
        if (!object) continue;
        sk__hold *hold = acquire ? sk__hold_add(d, object, self) : sk__hold_find(object, self);
        if (hold && !acquire) sk__hold_remove(d, hold);
    }
    return true;
}

/* ---- submissions ----------------------------------------------------------------------------------------- */
/* Take `size` bytes off the front; NULL: there are not so many. */
static const void *take(sk_bytes *rest, size_t size) {
    if (rest->size < size) return NULL;
    const void *at = rest->data;
    rest->data = (const uint8_t *)rest->data + size;
    rest->size -= size;
    return at;
}

/* Resources as they travel -> as skiff.h has them, in ret[RESOURCES_MAX]; their names stay in the message. */
static bool take_resources(sk_bytes *rest, int n, sk_resource *ret) {
    if (n < 0 || n > RESOURCES_MAX) return false;
    const sk_resource_wire *wire = take(rest, (size_t)n * sizeof *wire);
    if (!wire) return false;
    for (int i = 0; i < n; i++) {
        if (!memchr(wire[i].name, 0, sizeof wire[i].name)) return false;
        ret[i] = (sk_resource){wire[i].name, wire[i].amount};
    }
    return true;
}

/* Arguments that did not fit the message: all of them lie in an extent of the peer's. */
static bool unwrap_blob(sk__driver *d, sk__peer *self, sk_bytes *packed, sk_extent *ret_blob) {
    sk_bytes  rest = *packed;
    sk_record first;
    *ret_blob = (sk_extent){0};
    if (packed->size == 0 || sk_packed_next(&rest, &first, NULL) != SK_OK || first.kind != SK_PACKED_BLOB) return true;
    if (!sk__peer_claim(self, first.extent)) return false;
    *ret_blob = first.extent;
    *packed = (sk_bytes){(uint8_t *)sk_store_data(d->store) + first.extent.offset, first.extent.size};
    return true;
}

/* It cannot be: the references say why. */
static void refuse(sk__driver *d, sk__peer *self, const uint64_t *ids, uint32_t n, const sk_error *err) {
    sk__failure *failure = sk__failure_create(err->status, "%s", err->msg);
    for (uint32_t i = 0; i < n; i++) {
        sk__object *object = sk__object_find(d, ids[i]);
        sk__hold   *hold = object ? sk__hold_find(object, self) : NULL;
        if (!hold || object->state != SK__PENDING || object->maker) continue;
        hold->wants_value = true;
        sk__object_count(d, object);
        sk__object_fail(d, object, failure);
    }
    sk__failure_release(failure);
}

static sk_status submit(sk__driver *d, sk__peer *self, const sk_message *m, const sk_submit_head *head,
                        const sk_resource *resources, const uint64_t *ids, sk_bytes packed, sk_error *reterr) {
    if (m->kind == SK_MSG_SUBMIT_CALL) {
        sk_method method = {.method = m->method,
                            .n_args = (int)m->n_args,
                            .n_returns = (int)m->n_returns,
                            .timeout_ms = head->timeout_ms};
        return sk__submit_call(d, (sk_actor){m->subject}, &method, self, packed, ids, NULL, NULL, reterr);
    }
    const sk_function *function = sk_registry_find(d->registry, m->function);
    if (!function)
        return SK_FAIL(reterr, SK_ENOTFOUND, "the driver has no function of that name (hash %" PRIx64 ")",
                       m->function);
    sk_task task = {.function = function->name,
                    .name = *head->name ? head->name : NULL,
                    .n_args = (int)m->n_args,
                    .n_returns = (int)m->n_returns,
                    .placement = (sk_placement)head->placement,
                    .resources = head->n_resources < 0 ? NULL : resources,
                    .n_resources = head->n_resources < 0 ? 0 : head->n_resources,
                    .max_retries = head->max_retries,
                    .retry_errors = head->retry_errors != 0,
                    .timeout_ms = head->timeout_ms,
                    .group = {head->group},
                    .bundle = head->bundle};
    if (task.placement == SK_PLACE_INLINE) task.placement = SK_PLACE_DEFAULT;
    return sk__submit_task(d, &task, self, packed, ids, NULL, NULL, reterr);
}

static bool on_submit(sk__driver *d, sk__peer *self, const sk_message *m, sk_bytes payload) {
    const sk_submit_head *head = take(&payload, sizeof *head);
    const uint64_t *ids = m->n_returns <= 1024 ? take(&payload, ((size_t)m->n_returns * 8 + 15) / 16 * 16) : NULL;
    sk_resource     resources[RESOURCES_MAX];
    sk_extent       blob;
    sk_error        err = {0};
    if (!head || !ids || m->n_args > INT32_MAX || !memchr(head->name, 0, sizeof head->name) || head->placement < 0 ||
        head->placement > SK_PLACE_REMOTE ||
        !take_resources(&payload, head->n_resources < 0 ? 0 : head->n_resources, resources) ||
        !unwrap_blob(d, self, &payload, &blob))
        return false;
    sk_status status =
        d->n_open < (int64_t)d->params.max_pending
            ? submit(d, self, m, head, resources, ids, payload, &err)
            : SK_FAIL(&err, SK_ELIMIT, "%zu tasks and calls are pending already", d->params.max_pending);
    if (blob.size) sk_store_free(d->store, blob);
    if (status != SK_OK) refuse(d, self, ids, m->n_returns, &err);
    return true;
}

/* ---- the rest -------------------------------------------------------------------------------------------- */
static sk_status create_actor(sk__driver *d, sk__peer *self, const sk_message *m, sk_bytes payload, sk_error *reterr) {
    const sk_actor_head *head = take(&payload, sizeof *head);
    sk_resource          resources[RESOURCES_MAX];
    sk_extent            blob;
    sk__actor           *actor = NULL;
    if (!head || !memchr(head->class_name, 0, sizeof head->class_name) || !memchr(head->name, 0, sizeof head->name) ||
        head->placement < 0 || head->placement > SK_PLACE_REMOTE || head->n_args < 0 ||
        !take_resources(&payload, head->n_resources, resources) || !unwrap_blob(d, self, &payload, &blob))
        return SK_FAIL(reterr, SK_ECORRUPT, "a damaged order for an actor");
    sk_actor_params params = {.class_name = head->class_name,
                              .name = *head->name ? head->name : NULL,
                              .placement = head->placement == SK_PLACE_INLINE ? SK_PLACE_DEFAULT
                                                                              : (sk_placement)head->placement,
                              .n_args = head->n_args,
                              .resources = resources,
                              .n_resources = head->n_resources,
                              .max_restarts = head->max_restarts,
                              .restart_window_s = head->restart_window_s,
                              .restart_backoff_ms = head->restart_backoff_ms,
                              .max_task_retries = head->max_task_retries,
                              .max_concurrency = head->max_concurrency,
                              .max_pending_calls = head->max_pending_calls,
                              .group = {head->group},
                              .bundle = head->bundle};
    sk_status       status = sk__actor_create(d, &params, self, payload, &actor, reterr);
    if (blob.size) sk_store_free(d->store, blob);
    if (status == SK_OK) answer(self, m->job, SK_OK, &actor->id, sizeof actor->id);
    return status;
}

static sk_status create_group(sk__driver *d, sk__peer *self, const sk_message *m, sk_bytes payload, sk_error *reterr) {
    sk_bundle   *bundles = calloc(BUNDLES_MAX, sizeof *bundles);
    sk_resource *resources = calloc(BUNDLES_MAX * 8, sizeof *resources);
    int          n_used = 0;
    sk_group     group = {0};
    sk_status    status = bundles && resources ? SK_OK : SK_FAIL(reterr, SK_ENOMEM, "no memory for a placement group");
    if (status == SK_OK && m->n_args > BUNDLES_MAX)
        status = SK_FAIL(reterr, SK_ELIMIT, "a placement group made by a worker has at most %d bundles, got %u",
                         BUNDLES_MAX, m->n_args);
    for (uint32_t i = 0; status == SK_OK && i < m->n_args; i++) {
        uint64_t    n = 0;
        const void *count = take(&payload, sizeof n);
        if (count) memcpy(&n, count, sizeof n);
        if (!count || n > 8 || !take_resources(&payload, (int)n, resources + n_used))
            status = SK_FAIL(reterr, SK_ECORRUPT, "bundle %u is damaged or has more than 8 resources", i);
        bundles[i] = (sk_bundle){resources + n_used, (int)n};
        n_used += (int)n;
    }
    if (status == SK_OK)
        status = sk_resources_group_create(d->resources, bundles, (int)m->n_args, (sk_strategy)m->a,
                                           sk__group_reach(d), &group, reterr);
    if (status != SK_OK) sk__tell_where_hosts_join(d, status, reterr);
    free(bundles);
    free(resources);
    SK_TRY(status);
    d->n.n_groups++;
    answer(self, m->job, SK_OK, &group.id, sizeof group.id);
    return SK_OK;
}

static sk_status find_actor(sk__driver *d, sk__peer *self, const sk_message *m, sk_bytes payload, sk_error *reterr) {
    char name[SK_BOARD_NAME] = "";
    if (payload.size >= sizeof name) return SK_FAIL(reterr, SK_ENOTFOUND, "no actor has so long a name");
    memcpy(name, payload.data, payload.size);
    const sk__actor *actor = sk__actor_find_name(d, name);
    if (!actor) return SK_FAIL(reterr, SK_ENOTFOUND, "there is no living actor named %s", name);
    answer(self, m->job, SK_OK, &actor->id, sizeof actor->id);
    return SK_OK;
}

static sk_status check_actor(sk__driver *d, sk__peer *self, const sk_message *m, sk_error *reterr) {
    const sk__actor *actor = sk__actor_find(d, m->subject);
    if (!actor) return SK_FAIL(reterr, SK_ENOTFOUND, "there is no actor %" PRIx64 " (any more)", m->subject);
    if (actor->state == SK_ACTOR_DEAD) return sk__actor_tell_end(actor, reterr);
    int64_t pid = !sk__in_process(actor->placement) ? d->board->pid : actor->peer ? actor->peer->pid : 0;
    answer(self, m->job, SK_OK, &pid, sizeof pid);
    return SK_OK;
}

/* True: it is answered. */
static bool try_request(sk__driver *d, sk__peer *peer, uint64_t request, sk_ask ask, uint64_t subject) {
    sk_error err = {0};
    if (ask == SK_ASK_GROUP_WAIT) {
        sk_group group = {subject};
        if (!sk_resources_group_exists(d->resources, group))
            (void)SK_FAIL(&err, SK_ENOTFOUND, "there is no placement group %" PRIx64 " (any more)", subject);
        else if (!sk_resources_group_is_reserved(d->resources, group)) return false;
    } else {
        const sk__actor *actor = sk__actor_find(d, subject);
        if (!actor) (void)SK_FAIL(&err, SK_ENOTFOUND, "there is no actor %" PRIx64 " (any more)", subject);
        else if (actor->state == SK_ACTOR_DEAD) err.status = sk__actor_tell_end(actor, &err);
        else if (actor->state != SK_ACTOR_ALIVE && actor->state != SK_ACTOR_STOPPING) return false;
    }
    if (err.status != SK_OK) answer_error(peer, request, &err);
    else answer(peer, request, SK_OK, NULL, 0);
    return true;
}

static sk_status wait_later(sk__driver *d, sk__peer *self, const sk_message *m, sk_error *reterr) {
    if (try_request(d, self, m->job, (sk_ask)m->method, m->subject)) return SK_OK;
    return queue_request(d, self, m, m->subject, reterr);
}

static void drop_request(sk__driver *d, sk__request **link) {
    sk__request *request = *link;
    if (!request->ask) count_alloc_wait(d, request->peer, -1);
    *link = request->next;
    free(request);
}

void sk__requests_check(sk__driver *d) {
    for (sk__request **link = &d->requests; *link;) {
        sk__request *request = *link;
        bool         answered = request->ask ? try_request(d, request->peer, request->job, request->ask, request->subject)
                                             : try_alloc(d, request->peer, request->job, request->subject);
        if (answered) drop_request(d, link);
        else link = &request->next;
    }
}

void sk__requests_forget(sk__driver *d, const sk__peer *peer) {
    for (sk__request **link = &d->requests; *link;) {
        if ((*link)->peer == peer) drop_request(d, link);
        else link = &(*link)->next;
    }
}

/* Requests that only do something: answered at once. */
static sk_status do_it(sk__driver *d, const sk_message *m, sk_error *reterr) {
    if (m->method == SK_ASK_GROUP_DESTROY) {
        sk__group_destroy(d, (sk_group){m->subject});
        return SK_OK;
    }
    sk__actor *actor = sk__actor_find(d, m->subject);
    if (!actor) return SK_FAIL(reterr, SK_ENOTFOUND, "there is no actor %" PRIx64 " (any more)", m->subject);
    if (actor->placement == SK_PLACE_INLINE)
        return SK_FAIL(reterr, SK_EUNSUPPORTED, "%s lives in its program's own thread", actor->name);
    if (m->method == SK_ASK_ACTOR_STOP) sk__actor_stop(d, actor);
    else sk__actor_kill(d, actor, m->a == SK_KILL_MAY_RESTART ? SK_KILL_MAY_RESTART : SK_KILL_FOR_GOOD);
    return SK_OK;
}

static void on_ask(sk__driver *d, sk__peer *self, const sk_message *m, sk_bytes payload) {
    sk_error  err = {0};
    sk_status status = SK_OK;
    switch ((sk_ask)m->method) {
    case SK_ASK_ACTOR_CREATE: status = create_actor(d, self, m, payload, &err); break;
    case SK_ASK_GROUP_CREATE: status = create_group(d, self, m, payload, &err); break;
    case SK_ASK_ACTOR_FIND: status = find_actor(d, self, m, payload, &err); break;
    case SK_ASK_ACTOR_CHECK: status = check_actor(d, self, m, &err); break;
    case SK_ASK_ACTOR_WAIT:
    case SK_ASK_GROUP_WAIT: status = wait_later(d, self, m, &err); break;
    case SK_ASK_ACTOR_STOP:
    case SK_ASK_ACTOR_KILL:
    case SK_ASK_GROUP_DESTROY:
        status = do_it(d, m, &err);
        if (status == SK_OK) answer(self, m->job, SK_OK, NULL, 0);
        break;
    default: status = SK_FAIL(&err, SK_ECORRUPT, "request %d is unknown", m->method);
    }
    if (status != SK_OK) answer_error(self, m->job, &err);
}

bool sk__peer_on_request(sk__driver *d, sk__peer *self, const sk_message *m, sk_bytes payload) {
    d->has_mail_work = true;
    d->n_requests++;
    switch ((sk_message_kind)m->kind) {
    case SK_MSG_IDS: on_ids(d, self, m); return true;
    case SK_MSG_ALLOC: on_alloc(d, self, m); return true;
    case SK_MSG_FREE: return on_free(d, self, payload);
    case SK_MSG_PUT: return on_put(d, self, m, payload);
    case SK_MSG_FETCH: on_fetch(d, self, m); return true;
    case SK_MSG_ACQUIRE: return on_counts(d, self, true, payload);
    case SK_MSG_RELEASE: return on_counts(d, self, false, payload);
    case SK_MSG_SUBMIT:
    case SK_MSG_SUBMIT_CALL: return on_submit(d, self, m, payload);
    case SK_MSG_CANCEL: {
        sk__object *object = sk__object_find(d, m->subject);
        if (object && object->state == SK__PENDING && object->maker)
            sk__job_cancel(d, object->maker, m->a == SK_CANCEL_KILL ? SK_CANCEL_KILL : SK_CANCEL_ASK);
        return true;
    }
    case SK_MSG_ASK: on_ask(d, self, m, payload); return true;
    default: return false;
    }
}
