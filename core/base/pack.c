#include "core/base/pack.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the layout; offsets in bytes ----
 *
 *    0  magic "SKIFFPK1"
 *    8  u32 kind, 12 u32 version, 16 u64 json_bytes, 24 u64 body_bytes
 *   32  JSON text, then zeros up to a multiple of 64: there the body begins
 *       body: the sections in the order in which the JSON names them, each followed by zeros up to a
 *       multiple of 64; offsets in the JSON count from the start of the body
 *  -32  SHA-256 of everything before it */
enum {
    MAGIC_BYTES = 8,
    HEAD_BYTES = 32,
    HASH_BYTES = crypto_hash_sha256_BYTES,
    SECTION_ALIGN = 64,
    JSON_DEPTH_MAX = 64 /* files nest a handful deep; this bounds the parser's recursion */
};
static const char     MAGIC[MAGIC_BYTES] = {'S', 'K', 'I', 'F', 'F', 'P', 'K', '1'};
static const uint64_t JSON_BYTES_MAX = (uint64_t)16 << 20;
static const uint64_t FILE_BYTES_MAX = (uint64_t)4 << 30;
static const char     SECTIONS_KEY[] = "sections";

/* What the head of a file says. */
typedef struct layout {
    uint32_t kind, version;
    uint64_t json_bytes, body_bytes;
} layout;

/* A run of bytes on its way into a file. Borrowed. */
typedef struct piece {
    const void *bytes;
    size_t      size;
} piece;

static uint64_t align_up(uint64_t n) { return (n + SECTION_ALIGN - 1) / SECTION_ALIGN * SECTION_ALIGN; }

static uint64_t body_at(const layout *l) { return align_up(HEAD_BYTES + l->json_bytes); }

/* Both sizes must be below FILE_BYTES_MAX: then this cannot wrap round. */
static uint64_t file_bytes(const layout *l) { return body_at(l) + l->body_bytes + HASH_BYTES; }

static void put_le(uint8_t *at, uint64_t value, int n_bytes) {
    for (int i = 0; i < n_bytes; i++) at[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get_le(const uint8_t *at, int n_bytes) {
    uint64_t value = 0;
    for (int i = 0; i < n_bytes; i++) value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static const char *kind_text(uint32_t kind) {
    switch (kind) {
    case SK_PACK_POLICY: return "policy";
    case SK_PACK_CHECKPOINT: return "checkpoint";
    }
    return "unknown kind";
}

/* Printable ASCII without quotes, so that a section's name reads well in a message. */
static int is_valid_name(const char *name) {
    size_t n = 0;
    for (; name[n]; n++) {
        if (name[n] <= ' ' || name[n] > '~' || name[n] == '\'') return 0;
    }
    return n > 0 && n <= 128;
}

/* The deepest nesting of a JSON text, looked up before the recursive parser sees it. */
static int json_depth(const char *text, size_t size) {
    int depth = 0, deepest = 0, in_string = 0;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\') i++;
            else if (c == '"') in_string = 0;
        } else if (c == '"') {
            in_string = 1;
        } else if (c == '{' || c == '[') {
            if (++depth > deepest) deepest = depth;
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return deepest;
}

/* ---- SHA-256 ---- */

static pthread_once_t the_sodium_once = PTHREAD_ONCE_INIT;

static void start_sodium(void) { SK_ASSERT(sodium_init() >= 0); }

static void hash_pieces(const piece *pieces, size_t n, uint8_t ret_hash[HASH_BYTES]) {
    crypto_hash_sha256_state state;
    pthread_once(&the_sodium_once, start_sodium);
    crypto_hash_sha256_init(&state);
    for (size_t i = 0; i < n; i++) {
        if (pieces[i].size) crypto_hash_sha256_update(&state, pieces[i].bytes, pieces[i].size);
    }
    crypto_hash_sha256_final(&state, ret_hash);
}

void sk_sha256_hex(const void *bytes, size_t size, char ret_hex[65]) {
    SK_ASSERT((bytes || size == 0) && ret_hex);
    uint8_t hash[HASH_BYTES];
    hash_pieces(&(piece){bytes, size}, 1, hash);
    sodium_bin2hex(ret_hex, 2 * HASH_BYTES + 1, hash, sizeof hash);
}

/* ---- atomic writing ---- */

/* "cannot <verb> <path>: <what the system said>" */
static sk_status fail_io(sk_error *reterr, const char *verb, const char *path, int err) {
    char text[128];
    return SK_FAIL(reterr, SK_EIO, "cannot %s %s: %s", verb, path, strerror_r(err, text, sizeof text));
}

/* 0 or an errno. */
static int write_piece(int fd, piece rest) {
    while (rest.size > 0) {
        ssize_t n = write(fd, rest.bytes, rest.size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno;
        rest.bytes = (const char *)rest.bytes + n;
        rest.size -= (size_t)n;
    }
    return 0;
}

/* All pieces into an open temporary file, readable by all, onto the disk, closed. 0 or an errno. */
static int fill_and_close(int fd, const piece *pieces, size_t n) {
    int err = 0;
    for (size_t i = 0; i < n && !err; i++) err = write_piece(fd, pieces[i]);
    if (!err && fchmod(fd, 0644) != 0) err = errno;
    if (!err && fsync(fd) != 0) err = errno;
    if (close(fd) != 0 && !err) err = errno;
    return err;
}

/* Make a rename last: sync the folder of `path`. If this fails the new file is in place, but a power cut
 * may undo it. `scratch` holds as many bytes as `path`. 0 or an errno. */
static int sync_folder(const char *path, char *scratch) {
    const char *slash = strrchr(path, '/');
    if (!slash) strcpy(scratch, ".");
    else if (slash == path) strcpy(scratch, "/");
    else {
        memcpy(scratch, path, (size_t)(slash - path));
        scratch[slash - path] = '\0';
    }
    int fd = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return errno;
    /* Some file systems know no sync of folders and say EINVAL; they have nothing to lose then. */
    int err = fsync(fd) != 0 && errno != EINVAL ? errno : 0;
    close(fd);
    return err;
}

static sk_status write_atomic(const char *path, const piece *pieces, size_t n, sk_error *reterr) {
    static const char suffix[] = ".tmp.XXXXXX";
    size_t            path_bytes = strlen(path) + sizeof suffix;
    char             *temp = malloc(path_bytes);
    if (!temp) return SK_FAIL(reterr, SK_ENOMEM, "cannot write %s: out of memory", path);
    snprintf(temp, path_bytes, "%s%s", path, suffix);

    int fd = mkostemp(temp, O_CLOEXEC);
    int err = fd < 0 ? errno : fill_and_close(fd, pieces, n);
    if (!err && rename(temp, path) != 0) err = errno;
    if (err && fd >= 0) unlink(temp);
    if (!err) err = sync_folder(path, temp);
    free(temp);
    return err ? fail_io(reterr, "write", path, err) : SK_OK;
}

sk_status sk_file_write_atomic(const char *path, const void *bytes, size_t size, sk_error *reterr) {
    SK_ASSERT(path && (bytes || size == 0));
    return write_atomic(path, &(piece){bytes, size}, 1, reterr);
}

/* ---- JSON ---- */

char *sk_json_text(const json_t *json) {
    const size_t flags = JSON_COMPACT | JSON_ENCODE_ANY;
    size_t       size = json_dumpb(json, NULL, 0, flags);
    char        *text = size ? malloc(size + 1) : NULL;
    if (text && json_dumpb(json, text, size, flags) != size) { /* nothing to fail for want of room */
        free(text);
        text = NULL;
    }
    if (text) text[size] = '\0';
    return text;
}

/* ---- the writer ---- */

struct sk_pack_writer {
    sk_pack_kind kind;
    uint32_t     version;
    json_t      *json;     /* the head; holds `sections` too            */
    json_t      *sections; /* {name: [offset, size]}                    */
    uint64_t     body_bytes;
    size_t       n_sections, n_room, n_runs; /* n_runs: of all sections together */
    struct section {
        void       *copy;  /* owned, NULL if there is none           */
        const char *bytes; /* the first run; the copy, or borrowed   */
        size_t      run_bytes, stride, n_runs;
    } *items;
};

sk_status sk_pack_writer_create(sk_pack_kind kind, uint32_t version, sk_pack_writer **ret_writer,
                                sk_error *reterr) {
    SK_ASSERT(ret_writer && version >= 1);
    SK_ASSERT(kind == SK_PACK_POLICY || kind == SK_PACK_CHECKPOINT);
    SK_AUTO(sk_pack_writer) self = calloc(1, sizeof *self);
    if (self) {
        self->kind = kind;
        self->version = version;
        self->json = json_object();
        self->sections = json_object();
    }
    if (!self || !self->sections || json_object_set(self->json, SECTIONS_KEY, self->sections) != 0)
        return SK_FAIL(reterr, SK_ENOMEM, "cannot start a %s file: out of memory", kind_text(kind));
    *ret_writer = self;
    self = NULL;
    return SK_OK;
}

void sk_pack_writer_destroy(sk_pack_writer **self_p) {
    if (!self_p || !*self_p) return;
    sk_pack_writer *self = *self_p;
    for (size_t i = 0; i < self->n_sections; i++) free(self->items[i].copy);
    free(self->items);
    json_decref(self->sections);
    json_decref(self->json);
    free(self);
    *self_p = NULL;
}

json_t *sk_pack_writer_json(sk_pack_writer *self) {
    SK_ASSERT(self);
    return self->json;
}

/* Room for one more section, and its entry in the JSON. */
static int reserve_section(sk_pack_writer *self, const char *name, size_t size) {
    if (self->n_sections == self->n_room) {
        size_t n_room = self->n_room ? 2 * self->n_room : 8;
        void  *items = realloc(self->items, n_room * sizeof *self->items);
        if (!items) return 0;
        self->items = items;
        self->n_room = n_room;
    }
    json_t *entry = json_pack("[I, I]", (json_int_t)self->body_bytes, (json_int_t)size);
    return json_object_set_new(self->sections, name, entry) == 0;
}

/* May a section of this name and size be added? */
static sk_status check_section(const sk_pack_writer *self, const char *name, uint64_t size, sk_error *reterr) {
    if (!is_valid_name(name))
        return SK_FAIL(reterr, SK_EINVAL, "section '%.128s': a name is 1 to 128 printable characters", name);
    if (json_object_get(self->sections, name))
        return SK_FAIL(reterr, SK_EINVAL, "section '%s' was added before", name);
    if (size > FILE_BYTES_MAX || self->body_bytes + size > FILE_BYTES_MAX)
        return SK_FAIL(reterr, SK_ELIMIT, "section '%s' with %llu bytes: a file ends at %llu bytes", name,
                       (unsigned long long)size, (unsigned long long)FILE_BYTES_MAX);
    return SK_OK;
}

/* `section` begins to belong to the writer; it was checked and there is room. */
static void push_section(sk_pack_writer *self, const struct section *section) {
    self->items[self->n_sections++] = *section;
    self->n_runs += section->n_runs;
    self->body_bytes = align_up(self->body_bytes + section->run_bytes * section->n_runs);
}

sk_status sk_pack_writer_add(sk_pack_writer *self, const char *name, const void *bytes, size_t size,
                             sk_error *reterr) {
    SK_ASSERT(self && name && (bytes || size == 0));
    SK_TRY(check_section(self, name, size, reterr));
    void *copy = size ? malloc(size) : NULL;
    if ((size && !copy) || !reserve_section(self, name, size)) {
        free(copy);
        return SK_FAIL(reterr, SK_ENOMEM, "section '%s': no room for %zu bytes", name, size);
    }
    if (size) memcpy(copy, bytes, size);
    push_section(self, &(struct section){copy, copy, size, size, 1});
    return SK_OK;
}

sk_status sk_pack_writer_add_borrowed(sk_pack_writer *self, const char *name, const void *bytes, size_t run_bytes,
                                      size_t stride, size_t n_runs, sk_error *reterr) {
    SK_ASSERT(self && name && (bytes || run_bytes == 0 || n_runs == 0) && (stride >= run_bytes || n_runs < 2));
    uint64_t size = run_bytes && n_runs > FILE_BYTES_MAX / run_bytes ? UINT64_MAX : (uint64_t)run_bytes * n_runs;
    SK_TRY(check_section(self, name, size, reterr));
    if (!reserve_section(self, name, (size_t)size)) return SK_FAIL(reterr, SK_ENOMEM, "section '%s': no memory", name);
    push_section(self, &(struct section){NULL, bytes, run_bytes, stride, n_runs});
    return SK_OK;
}

/* Head, JSON and sections with their padding, then the hash of it all. `pieces` has room for
 * 4 + n_sections + n_runs. */
static sk_status save_text(const sk_pack_writer *self, const char *path, const char *text, piece *pieces,
                           sk_error *reterr) {
    static const uint8_t zeros[SECTION_ALIGN];
    uint8_t              head[HEAD_BYTES], hash[HASH_BYTES];
    layout               l = {self->kind, self->version, strlen(text), self->body_bytes};
    if (l.json_bytes > JSON_BYTES_MAX || file_bytes(&l) > FILE_BYTES_MAX)
        return SK_FAIL(reterr, SK_ELIMIT,
                       "cannot write %s: %llu bytes of JSON and %llu of sections are too much",
                       path, (unsigned long long)l.json_bytes, (unsigned long long)l.body_bytes);
    if (json_depth(text, l.json_bytes) > JSON_DEPTH_MAX)
        return SK_FAIL(reterr, SK_ELIMIT, "cannot write %s: its JSON is nested deeper than %d", path,
                       JSON_DEPTH_MAX);
    memcpy(head, MAGIC, MAGIC_BYTES);
    put_le(head + 8, l.kind, 4);
    put_le(head + 12, l.version, 4);
    put_le(head + 16, l.json_bytes, 8);
    put_le(head + 24, l.body_bytes, 8);

    size_t n = 0;
    pieces[n++] = (piece){head, HEAD_BYTES};
    pieces[n++] = (piece){text, l.json_bytes};
    pieces[n++] = (piece){zeros, body_at(&l) - HEAD_BYTES - l.json_bytes};
    for (size_t i = 0; i < self->n_sections; i++) {
        const struct section *from = &self->items[i];
        size_t                size = from->run_bytes * from->n_runs;
        for (size_t r = 0; r < from->n_runs; r++)
            pieces[n++] = (piece){from->bytes + (from->run_bytes ? r * from->stride : 0), from->run_bytes};
        pieces[n++] = (piece){zeros, align_up(size) - size};
    }
    hash_pieces(pieces, n, hash);
    pieces[n++] = (piece){hash, HASH_BYTES};
    return write_atomic(path, pieces, n, reterr);
}

sk_status sk_pack_writer_save(sk_pack_writer *self, const char *path, sk_error *reterr) {
    SK_ASSERT(self && path);
    if (json_object_get(self->json, SECTIONS_KEY) != self->sections)
        return SK_FAIL(reterr, SK_EINVAL, "cannot write %s: the JSON key \"%s\" is the container's own", path,
                       SECTIONS_KEY);
    char     *text = sk_json_text(self->json);
    piece    *pieces = calloc(4 + self->n_sections + self->n_runs, sizeof *pieces);
    sk_status status = text && pieces
                           ? save_text(self, path, text, pieces, reterr)
                           : SK_FAIL(reterr, SK_ENOMEM, "cannot write %s: no room for its JSON", path);
    free(pieces);
    free(text);
    return status;
}

/* ---- the reader ---- */

struct sk_pack {
    char     name[256]; /* of the file, for messages, cut if longer */
    layout   l;
    uint8_t *bytes; /* (size) the whole file, 64-byte aligned   */
    size_t   size;
    json_t  *json;
};

void sk_pack_destroy(sk_pack **self_p) {
    if (!self_p || !*self_p) return;
    json_decref((*self_p)->json);
    free((*self_p)->bytes);
    free(*self_p);
    *self_p = NULL;
}

static sk_status check_size(uint64_t size, const char *name, sk_error *reterr) {
    if (size < HEAD_BYTES + HASH_BYTES)
        return SK_FAIL(reterr, SK_ECORRUPT, "%s: %llu bytes are too few for a skiff file", name,
                       (unsigned long long)size);
    if (size > FILE_BYTES_MAX)
        return SK_FAIL(reterr, SK_ECORRUPT, "%s: %llu bytes are too many, a skiff file has at most %llu",
                       name, (unsigned long long)size, (unsigned long long)FILE_BYTES_MAX);
    return SK_OK;
}

/* Magic and sizes. After this `*ret` describes a file of exactly `size` bytes. */
static sk_status read_head(const uint8_t head[HEAD_BYTES], uint64_t size, const char *name, layout *ret,
                           sk_error *reterr) {
    if (memcmp(head, MAGIC, MAGIC_BYTES) != 0)
        return SK_FAIL(reterr, SK_ECORRUPT, "%s: not a skiff file (it does not start with SKIFFPK1)", name);
    layout l = {(uint32_t)get_le(head + 8, 4), (uint32_t)get_le(head + 12, 4), get_le(head + 16, 8),
                get_le(head + 24, 8)};
    if (l.json_bytes > JSON_BYTES_MAX || l.body_bytes > FILE_BYTES_MAX || file_bytes(&l) != size)
        return SK_FAIL(reterr, SK_ECORRUPT,
                       "%s: damaged or cut short: it has %llu bytes, its head promises %llu of JSON and "
                       "%llu of sections",
                       name, (unsigned long long)size, (unsigned long long)l.json_bytes,
                       (unsigned long long)l.body_bytes);
    *ret = l;
    return SK_OK;
}

/* Memory for a file whose head was checked. */
static sk_status create_pack(const layout *l, const char *name, sk_pack **ret_pack, sk_error *reterr) {
    sk_pack *self = calloc(1, sizeof *self);
    void    *bytes = NULL;
    size_t   size = (size_t)file_bytes(l);
    if (!self || posix_memalign(&bytes, SECTION_ALIGN, size) != 0) {
        free(self);
        return SK_FAIL(reterr, SK_ENOMEM, "%s: no room for its %zu bytes", name, size);
    }
    *self = (sk_pack){.l = *l, .bytes = bytes, .size = size};
    snprintf(self->name, sizeof self->name, "%s", name);
    *ret_pack = self;
    return SK_OK;
}

static sk_status parse_json(sk_pack *self, sk_error *reterr) {
    const char  *text = (const char *)self->bytes + HEAD_BYTES;
    json_error_t err;
    if (json_depth(text, self->l.json_bytes) > JSON_DEPTH_MAX)
        return SK_FAIL(reterr, SK_ECORRUPT, "%s: its JSON is nested deeper than %d", self->name,
                       JSON_DEPTH_MAX);
    self->json = json_loadb(text, self->l.json_bytes, JSON_REJECT_DUPLICATES, &err);
    /* jansson says nothing at all where its first allocations fail. */
    if (!self->json && (!err.text[0] || json_error_code(&err) == json_error_out_of_memory))
        return SK_FAIL(reterr, SK_ENOMEM, "%s: no room for its JSON", self->name);
    if (!self->json)
        return SK_FAIL(reterr, SK_ECORRUPT, "%s: its JSON at byte %d: %s", self->name, err.position,
                       err.text);
    if (!json_is_object(self->json))
        return SK_FAIL(reterr, SK_ECORRUPT, "%s: its JSON is not an object", self->name);
    return SK_OK;
}

/* Each section begins where the one before it ended, the last ends with the body: so none overlap, none
 * reach outside, and no byte of the file is left unaccounted for. */
static sk_status check_sections(const sk_pack *self, sk_error *reterr) {
    json_t     *sections = json_object_get(self->json, SECTIONS_KEY), *entry;
    const char *name;
    uint64_t    next = 0;
    if (!json_is_object(sections))
        return SK_FAIL(reterr, SK_ECORRUPT, "%s: its JSON has no object \"%s\"", self->name, SECTIONS_KEY);
    json_object_foreach(sections, name, entry) {
        if (!is_valid_name(name))
            return SK_FAIL(reterr, SK_ECORRUPT, "%s: a section's name is not 1 to 128 printable characters",
                           self->name);
        const json_t *at = json_array_get(entry, 0), *size = json_array_get(entry, 1);
        if (json_array_size(entry) != 2 || !json_is_integer(at) || !json_is_integer(size))
            return SK_FAIL(reterr, SK_ECORRUPT, "%s: section '%s' is not [offset, size]", self->name, name);
        json_int_t offset = json_integer_value(at), n = json_integer_value(size);
        if (offset != (json_int_t)next || n < 0 || (uint64_t)n > self->l.body_bytes - next)
            return SK_FAIL(reterr, SK_ECORRUPT,
                           "%s: section '%s' has %lld bytes at %lld; wanted at %llu, end within %llu",
                           self->name, name, (long long)n, (long long)offset, (unsigned long long)next,
                           (unsigned long long)self->l.body_bytes);
        next = align_up(next + (uint64_t)n);
    }
    if (next != self->l.body_bytes)
        return SK_FAIL(reterr, SK_ECORRUPT, "%s: its sections end at %llu of %llu bytes", self->name,
                       (unsigned long long)next, (unsigned long long)self->l.body_bytes);
    return SK_OK;
}

/* Everything that is not a matter of size. The checksum comes first: what it vouches for, the other
 * messages may quote. */
static sk_status check_pack(sk_pack *self, sk_pack_kind kind, uint32_t max_version, sk_error *reterr) {
    uint8_t hash[HASH_BYTES];
    hash_pieces(&(piece){self->bytes, self->size - HASH_BYTES}, 1, hash);
    if (memcmp(hash, self->bytes + self->size - HASH_BYTES, HASH_BYTES) != 0)
        return SK_FAIL(reterr, SK_ECORRUPT, "%s: damaged: its checksum does not match", self->name);
    if (self->l.kind != kind)
        return SK_FAIL(reterr, SK_ECORRUPT, "%s: is a %s file (kind %u), wanted a %s file (kind %u)",
                       self->name, kind_text(self->l.kind), self->l.kind, kind_text(kind), kind);
    if (self->l.version == 0 || self->l.version > max_version)
        return SK_FAIL(reterr, SK_EVERSION,
                       "%s: is a %s file of version %u, this skiff reads versions 1 to %u",
                       self->name, kind_text(kind), self->l.version, max_version);
    SK_TRY(parse_json(self, reterr));
    return check_sections(self, reterr);
}

sk_status sk_pack_parse(const void *bytes, size_t size, const char *name, sk_pack_kind kind,
                        uint32_t max_version, sk_pack **ret_pack, sk_error *reterr) {
    SK_ASSERT((bytes || size == 0) && name && ret_pack);
    layout l;
    SK_AUTO(sk_pack) self = NULL;
    SK_TRY(check_size(size, name, reterr));
    SK_TRY(read_head(bytes, size, name, &l, reterr));
    SK_TRY(create_pack(&l, name, &self, reterr));
    memcpy(self->bytes, bytes, size);
    SK_TRY(check_pack(self, kind, max_version, reterr));
    *ret_pack = self;
    self = NULL;
    return SK_OK;
}

static sk_status read_all(int fd, const char *path, uint8_t *ret_bytes, size_t size, sk_error *reterr) {
    size_t done = 0;
    while (done < size) {
        ssize_t n = read(fd, ret_bytes + done, size - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_io(reterr, "read", path, errno);
        if (n == 0) return SK_FAIL(reterr, SK_EIO, "cannot read %s: it became shorter meanwhile", path);
        done += (size_t)n;
    }
    return SK_OK;
}

/* An open file into memory: first its size and head, then all of it. */
static sk_status read_pack(int fd, const char *path, sk_pack **ret_pack, sk_error *reterr) {
    struct stat st;
    uint8_t     head[HEAD_BYTES];
    layout      l;
    SK_AUTO(sk_pack) self = NULL;
    if (fstat(fd, &st) != 0) return fail_io(reterr, "read", path, errno);
    if (!S_ISREG(st.st_mode))
        return SK_FAIL(reterr, SK_EIO, "cannot read %s: it is not a regular file", path);
    SK_TRY(check_size((uint64_t)st.st_size, path, reterr));
    SK_TRY(read_all(fd, path, head, sizeof head, reterr));
    SK_TRY(read_head(head, (uint64_t)st.st_size, path, &l, reterr));
    SK_TRY(create_pack(&l, path, &self, reterr));
    memcpy(self->bytes, head, HEAD_BYTES);
    SK_TRY(read_all(fd, path, self->bytes + HEAD_BYTES, self->size - HEAD_BYTES, reterr));
    *ret_pack = self;
    self = NULL;
    return SK_OK;
}

sk_status sk_pack_load(const char *path, sk_pack_kind kind, uint32_t max_version, sk_pack **ret_pack,
                       sk_error *reterr) {
    SK_ASSERT(path && ret_pack);
    SK_AUTO(sk_pack) self = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* not to wait for a pipe's writer */
    if (fd < 0) return fail_io(reterr, "read", path, errno);
    sk_status status = read_pack(fd, path, &self, reterr);
    close(fd);
    SK_TRY(status);
    SK_TRY(check_pack(self, kind, max_version, reterr));
    *ret_pack = self;
    self = NULL;
    return SK_OK;
}

const json_t *sk_pack_json(const sk_pack *self) {
    SK_ASSERT(self);
    return self->json;
}

uint32_t sk_pack_version(const sk_pack *self) {
    SK_ASSERT(self);
    return self->l.version;
}

sk_status sk_pack_section(const sk_pack *self, const char *name, size_t size, const void **ret_bytes,
                          size_t *ret_size, sk_error *reterr) {
    SK_ASSERT(self && name && ret_bytes);
    const json_t *entry = json_object_get(json_object_get(self->json, SECTIONS_KEY), name);
    if (!entry) return SK_FAIL(reterr, SK_ECORRUPT, "%s: has no section '%.128s'", self->name, name);
    size_t offset = (size_t)json_integer_value(json_array_get(entry, 0));
    size_t got = (size_t)json_integer_value(json_array_get(entry, 1));
    if (size != SIZE_MAX && got != size)
        return SK_FAIL(reterr, SK_ECORRUPT, "%s: section '%.128s' has %zu bytes, wanted %zu", self->name,
                       name, got, size);
    *ret_bytes = self->bytes + body_at(&self->l) + offset;
    if (ret_size) *ret_size = got;
    return SK_OK;
}
