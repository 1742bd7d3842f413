#include "core/base/log.h"
#include "core/runtime/node_internal.h"
#include "core/runtime/resources.h"
#include "core/runtime/spawn.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <unistd.h>

extern char **environ;

/* ---- what we say ----------------------------------------------------------------------------------------- */
static sk_status write_resources(sk__node *self, sk_error *reterr) {
    const sk_node_params *params = self->params;
    sk_resource_row       rows[SK_RESOURCE_KINDS_MAX];
    int                   n = 0;
    SK_TRY(sk_resources_of_machine(params->resources, params->n_resources, rows, &n, reterr));
    if (n > SK_WIRE_RESOURCES_MAX)
        return SK_FAIL(reterr, SK_ELIMIT, "a host has at most %d kinds of resources, got %d", SK_WIRE_RESOURCES_MAX, n);
    for (int i = 0; i < n; i++) {
        sk_resource_wire *wire = &self->join.resources[i];
        snprintf(wire->name, sizeof wire->name, "%.23s", rows[i].name);
        wire->amount = rows[i].total;
    }
    self->join.n_resources = n;
    return SK_OK;
}

sk_status sk__node_write_join(sk__node *self, sk_error *reterr) {
    const char *build = self->params->build ? self->params->build : "";
    self->join = (sk_wire_join){.pid = getpid(), .store_bytes = self->store_bytes};
    if (strlen(build) >= sizeof self->join.build)
        return SK_FAIL(reterr, SK_EINVAL, "the name of a build has at most %zu characters, got %zu",
                       sizeof self->join.build - 1, strlen(build));
    memcpy(self->join.build, build, strlen(build));
    memcpy(self->join.name, self->name, sizeof self->join.name);
    return write_resources(self, reterr);
}

/* ---- what the head says ---------------------------------------------------------------------------------- */
void sk__node_forget_welcome(sk__node *self) {
    free(self->welcome);
    free(self->plugins);
    free(self->env);
    self->welcome = NULL;
    self->plugins = self->env = NULL;
    self->n_plugins = 0;
}

/* The next text of a WELCOME, in self->welcome. */
static sk_status next_text(sk_bytes *rest, char **at, const char **ret_text, sk_error *reterr) {
    sk_record record;
    SK_TRY(sk_packed_next(rest, &record, reterr));
    if (record.kind != SK_PACKED_VALUE || memchr(record.value.data, 0, record.value.size))
        return SK_FAIL(reterr, SK_ECORRUPT, "what the head says at the beginning is damaged: wanted a text");
    *ret_text = *at;
    if (record.value.size) memcpy(*at, record.value.data, record.value.size);
    (*at)[record.value.size] = 0;
    *at += record.value.size + 1;
    return SK_OK;
}

static sk_status check_plugin(const char *path, const char *wanted, sk_error *reterr) {
    char      hash[SK_SPAWN_HASH_TEXT];
    sk_error  err = {0};
    sk_status status = sk_spawn_hash_file(path, hash, &err);
    if (status == SK_ENOTFOUND) return SK_FAIL(reterr, SK_ECONFIG, "plugin %s is not on this host", path);
    if (status != SK_OK) return SK_FAIL(reterr, SK_ECONFIG, "plugin: %s", err.msg);
    if (strcmp(hash, wanted) != 0)
        return SK_FAIL(reterr, SK_ECONFIG, "plugin %s has another content than the head's", path);
    return SK_OK;
}

static sk_status read_plugins(sk__node *self, sk_bytes *rest, char **at, sk_error *reterr) {
    const char *text = NULL, *hash = NULL;
    char       *end = NULL;
    SK_TRY(next_text(rest, at, &text, reterr));
    errno = 0;
    unsigned long n = strtoul(text, &end, 10);
    if (end == text || *end || errno || n > rest->size / (2 * sizeof(sk_packed)))
        return SK_FAIL(reterr, SK_ECORRUPT, "the head says that it has \"%.20s\" plugins", text);
    self->plugins = calloc(n + 1, sizeof *self->plugins);
    if (!self->plugins) return SK_FAIL(reterr, SK_ENOMEM, "no memory for %lu plugins", n);
    for (unsigned long i = 0; i < n; i++) {
        SK_TRY(next_text(rest, at, &self->plugins[i], reterr));
        SK_TRY(next_text(rest, at, &hash, reterr));
        SK_TRY(check_plugin(self->plugins[i], hash, reterr));
        self->n_plugins++;
    }
    return SK_OK;
}

/* Has one of the n texts the same NAME= as this one? */
static bool is_named(const char **texts, size_t n, const char *entry) {
    const char *equals = strchr(entry, '=');
    size_t      length = equals ? (size_t)(equals - entry) + 1 : strlen(entry);
    for (size_t i = 0; i < n; i++)
        if (strncmp(texts[i], entry, length) == 0) return true;
    return false;
}

/* The head's entries, then those of this process that they do not replace. */
static sk_status read_env(sk__node *self, sk_bytes *rest, char **at, sk_error *reterr) {
    size_t n_own = 0, n = 0;
    while (environ && environ[n_own]) n_own++;
    size_t n_most = rest->size / sizeof(sk_packed);
    self->env = calloc(n_own + n_most + 1, sizeof *self->env);
    if (!self->env) return SK_FAIL(reterr, SK_ENOMEM, "no memory for the workers' environment");
    while (rest->size) {
        SK_TRY(next_text(rest, at, &self->env[n], reterr));
        if (!strchr(self->env[n], '='))
            return SK_FAIL(reterr, SK_ECORRUPT, "the head wants \"%.40s\" in the workers' environment", self->env[n]);
        n++;
    }
    size_t n_heads = n;
    for (size_t i = 0; i < n_own; i++)
        if (!is_named(self->env, n_heads, environ[i])) self->env[n++] = environ[i];
    return SK_OK;
}

sk_status sk__node_read_welcome(sk__node *self, const sk_link_frame *frame, sk_error *reterr) {
    sk_bytes    rest = {frame->payload, frame->size};
    const char *name = NULL;
    sk__node_forget_welcome(self);
    self->number = (int)frame->a;
    self->welcome = malloc(frame->size + 1); /* a record's head is longer than the end of its text */
    if (!self->welcome) return SK_FAIL(reterr, SK_ENOMEM, "no memory for what the head says");
    char *at = self->welcome;
    SK_TRY(next_text(&rest, &at, &name, reterr));
    snprintf(self->head_name, sizeof self->head_name, "%s", name);
    SK_TRY(read_plugins(self, &rest, &at, reterr));
    return read_env(self, &rest, &at, reterr);
}
