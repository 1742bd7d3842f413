#include "core/transport/keys.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LABEL     "skiff-cluster-key-1"
#define VARIABLE  "SKIFF_CLUSTER_KEY"
#define FILE_NAME "skiff/cluster.key"
enum { KEY_BYTES = 32, Z85_CHARS = 40, WHERE_SIZE = 512 };
_Static_assert(KEY_BYTES == crypto_scalarmult_BYTES && KEY_BYTES == crypto_scalarmult_SCALARBYTES, "Curve25519");
_Static_assert(sizeof(sk_cluster_key) == 4 * SK_KEY_Z85, "four texts and nothing else");

/* ---- Z85 (ZeroMQ RFC 32): five characters for four bytes, highest first ------------------------------------ */
static const char alphabet[] =
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

static void z85_write(const uint8_t bytes[KEY_BYTES], char ret_text[SK_KEY_Z85]) {
    for (int i = 0; i < KEY_BYTES / 4; i++) {
        uint32_t word = (uint32_t)bytes[4 * i] << 24 | (uint32_t)bytes[4 * i + 1] << 16 |
                        (uint32_t)bytes[4 * i + 2] << 8 | bytes[4 * i + 3];
        for (int k = 4; k >= 0; k--, word /= 85) ret_text[5 * i + k] = alphabet[word % 85];
    }
    ret_text[Z85_CHARS] = 0;
}

static bool z85_read(const char *text, uint8_t ret_bytes[KEY_BYTES]) {
    for (int i = 0; i < KEY_BYTES / 4; i++) {
        uint64_t word = 0;
        for (int k = 0; k < 5; k++) {
            const char *at = text[5 * i + k] ? strchr(alphabet, text[5 * i + k]) : NULL;
            if (!at) return false;
            word = word * 85 + (uint64_t)(at - alphabet);
        }
        if (word > UINT32_MAX) return false;
        for (int k = 0; k < 4; k++) ret_bytes[4 * i + k] = (uint8_t)(word >> (24 - 8 * k));
    }
    return true;
}

/* ---- making, writing, reading ------------------------------------------------------------------------------ */
static void create_pair(char ret_public[SK_KEY_Z85], char ret_secret[SK_KEY_Z85]) {
    uint8_t secret[KEY_BYTES], public[KEY_BYTES];
    randombytes_buf(secret, sizeof secret);
    SK_ASSERT(crypto_scalarmult_base(public, secret) == 0);
    z85_write(public, ret_public);
    z85_write(secret, ret_secret);
    sodium_memzero(secret, sizeof secret);
}

sk_status sk_cluster_key_create(sk_cluster_key *ret_key, sk_error *reterr) {
    SK_ASSERT(ret_key);
    if (sodium_init() < 0) return SK_FAIL(reterr, SK_EIO, "cannot make a key: this machine gives no random numbers");
    create_pair(ret_key->head_public, ret_key->head_secret);
    create_pair(ret_key->node_public, ret_key->node_secret);
    return SK_OK;
}

void sk_cluster_key_write(const sk_cluster_key *self, char ret_text[SK_KEY_TEXT_MAX]) {
    SK_ASSERT(self && ret_text);
    int n = snprintf(ret_text, SK_KEY_TEXT_MAX, "%s %s %s %s %s", LABEL, self->head_public, self->head_secret,
                     self->node_public, self->node_secret);
    SK_ASSERT(n > 0 && n < SK_KEY_TEXT_MAX);
}

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static sk_status check_pair(const char *whose, const char *public_text, const char *secret_text, sk_error *reterr) {
    uint8_t secret[KEY_BYTES], public[KEY_BYTES], wanted[KEY_BYTES];
    bool    fits = z85_read(public_text, public) && z85_read(secret_text, secret) &&
                crypto_scalarmult_base(wanted, secret) == 0 && memcmp(public, wanted, sizeof wanted) == 0;
    sodium_memzero(secret, sizeof secret);
    if (!fits)
        return SK_FAIL(reterr, SK_ECORRUPT, "not a cluster key: the %s's public key does not belong to its secret one",
                       whose);
    return SK_OK;
}

static sk_status parse(const char *text, sk_cluster_key *key, sk_error *reterr) {
    static const char *const parts[] = {"head's public", "head's secret", "node's public", "node's secret"};
    char *const              places[] = {key->head_public, key->head_secret, key->node_public, key->node_secret};
    if (strncmp(text, LABEL, strlen(LABEL)) != 0)
        return SK_FAIL(reterr, SK_ECORRUPT, "not a cluster key: it does not begin with \"%s\"", LABEL);
    text += strlen(LABEL);
    for (int i = 0; i < SK_COUNT(parts); i++) {
        uint8_t bytes[KEY_BYTES];
        bool    is_key = text[0] == ' ' && z85_read(text + 1, bytes);
        sodium_memzero(bytes, sizeof bytes);
        if (!is_key)
            return SK_FAIL(reterr, SK_ECORRUPT,
                           "not a cluster key: after a blank the %s key in 40 characters of Z85 should follow",
                           parts[i]);
        memcpy(places[i], text + 1, Z85_CHARS);
        places[i][Z85_CHARS] = 0;
        text += 1 + Z85_CHARS;
    }
    while (is_blank(*text)) text++;
    if (*text)
        return SK_FAIL(reterr, SK_ECORRUPT, "not a cluster key: %zu characters follow its four keys", strlen(text));
    SK_TRY(check_pair("head", key->head_public, key->head_secret, reterr));
    return check_pair("node", key->node_public, key->node_secret, reterr);
}

sk_status sk_cluster_key_parse(const char *text, sk_cluster_key *ret_key, sk_error *reterr) {
    SK_ASSERT(text && ret_key);
    sk_cluster_key key;
    sk_status      status = parse(text, &key, reterr);
    if (status == SK_OK) *ret_key = key;
    sk_cluster_key_forget(&key);
    return status;
}

sk_status sk_cluster_key_node_bytes(const sk_cluster_key *self, uint8_t ret_bytes[32], sk_error *reterr) {
    SK_ASSERT(self && ret_bytes);
    if (!z85_read(self->node_public, ret_bytes))
        return SK_FAIL(reterr, SK_ECORRUPT, "not a cluster key: the nodes' public one is not 40 characters of Z85");
    return SK_OK;
}

void sk_cluster_key_forget(sk_cluster_key *self) { sodium_memzero(self, sizeof *self); }

/* ---- its file ---------------------------------------------------------------------------------------------- */
/* The file when none is named. False: this user has no home. */
static bool default_path(char *ret_path, size_t size) {
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    char        buffer[4096];
    int         n = -1;
    if (config && config[0] == '/') n = snprintf(ret_path, size, "%s/%s", config, FILE_NAME);
    else {
        struct passwd entry, *user = NULL;
        if (!home || home[0] != '/')
            home = getpwuid_r(geteuid(), &entry, buffer, sizeof buffer, &user) == 0 && user ? entry.pw_dir : NULL;
        if (home) n = snprintf(ret_path, size, "%s/.config/%s", home, FILE_NAME);
    }
    return n > 0 && (size_t)n < size;
}

static sk_status check_file(int fd, const char *path, sk_error *reterr) {
    struct stat at;
    if (fstat(fd, &at) != 0) return SK_FAIL(reterr, SK_EIO, "cannot look at %s: %s", path, strerror(errno));
    if (!S_ISREG(at.st_mode)) return SK_FAIL(reterr, SK_EINVAL, "%s is not a file, so no cluster key", path);
    if (at.st_uid != geteuid())
        return SK_FAIL(reterr, SK_EINVAL, "%s belongs to user %u, not to you (%u): a cluster key is its owner's alone",
                       path, (unsigned)at.st_uid, (unsigned)geteuid());
    if (at.st_mode & 077)
        return SK_FAIL(reterr, SK_EINVAL,
                       "others can use the cluster key %s (mode %03o): chmod 600 it, or make a new one", path,
                       (unsigned)at.st_mode & 0777);
    return SK_OK;
}

/* All of it into text; one byte more than a key has is room enough to see that it is none. */
static sk_status read_text(int fd, const char *path, char ret_text[SK_KEY_TEXT_MAX + 1], sk_error *reterr) {
    size_t n = 0;
    while (n < SK_KEY_TEXT_MAX) {
        ssize_t got = read(fd, ret_text + n, SK_KEY_TEXT_MAX - n);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return SK_FAIL(reterr, SK_EIO, "cannot read %s: %s", path, strerror(errno));
        if (got == 0) break;
        n += (size_t)got;
    }
    ret_text[n] = 0;
    if (n == SK_KEY_TEXT_MAX || strlen(ret_text) != n)
        return SK_FAIL(reterr, SK_ECORRUPT, "%s: not a cluster key: %s", path,
                       n == SK_KEY_TEXT_MAX ? "it is too long" : "it has a zero byte");
    return SK_OK;
}

/* SK_ENOTFOUND without text: there is no such file. */
static sk_status read_key(const char *path, sk_cluster_key *ret_key, sk_error *reterr) {
    char text[SK_KEY_TEXT_MAX + 1];
    int  fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) return SK_ENOTFOUND;
    if (fd < 0) return SK_FAIL(reterr, SK_EIO, "cannot open the cluster key %s: %s", path, strerror(errno));
    sk_status status = check_file(fd, path, reterr);
    if (status == SK_OK) status = read_text(fd, path, text, reterr);
    close(fd);
    if (status == SK_OK) {
        status = sk_cluster_key_parse(text, ret_key, reterr);
        if (status != SK_OK) sk_error_prefix(reterr, "%s", path);
    }
    sodium_memzero(text, sizeof text);
    return status;
}

/* The folders above a path that are not there. */
static sk_status make_folders(const char *path, sk_error *reterr) {
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    for (char *at = strchr(folder + 1, '/'); at; at = strchr(at + 1, '/')) {
        *at = 0;
        if (mkdir(folder, 0700) == 0) {
            if (chmod(folder, 0700) != 0) /* whatever the umask took away */
                return SK_FAIL(reterr, SK_EIO, "cannot set the mode of %s: %s", folder, strerror(errno));
        } else if (errno != EEXIST)
            return SK_FAIL(reterr, SK_EIO, "cannot make the folder %s for a cluster key: %s", folder, strerror(errno));
        *at = '/';
    }
    return SK_OK;
}

static sk_status write_whole(int fd, const char *path, const char *text, sk_error *reterr) {
    size_t size = strlen(text), n = 0;
    while (n < size) {
        ssize_t done = write(fd, text + n, size - n);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return SK_FAIL(reterr, SK_EIO, "cannot write %s: %s", path, strerror(errno));
        n += (size_t)done;
    }
    if (fchmod(fd, 0600) != 0 || fsync(fd) != 0)
        return SK_FAIL(reterr, SK_EIO, "cannot keep %s: %s", path, strerror(errno));
    return SK_OK;
}

/* Give a finished file its name, unless there is one of that name: then that one stays, which is fine too. */
static sk_status name_file(const char *temporary, const char *path, sk_error *reterr) {
    if (link(temporary, path) == 0 || errno == EEXIST) return SK_OK;
    /* not every file system has links */
    if (renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE) == 0 || errno == EEXIST) return SK_OK;
    return SK_FAIL(reterr, SK_EIO, "cannot make the cluster key %s: %s", path, strerror(errno));
}

static void sync_folder(const char *path) {
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    char *end = strrchr(folder, '/');
    if (end) *(end == folder ? end + 1 : end) = 0;
    int fd = open(end ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return; /* the file is there; that it outlives a power cut is more than was asked */
    (void)fsync(fd);
    close(fd);
}

static sk_status make_key(const char *path, sk_error *reterr) {
    sk_cluster_key key;
    char           text[SK_KEY_TEXT_MAX + 1], temporary[PATH_MAX + 32];
    SK_TRY(make_folders(path, reterr));
    SK_TRY(sk_cluster_key_create(&key, reterr));
    sk_cluster_key_write(&key, text);
    strcat(text, "\n");
    snprintf(temporary, sizeof temporary, "%s.%08x%08x", path, randombytes_random(), randombytes_random());
    int       fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    sk_status status = fd >= 0 ? SK_OK : SK_FAIL(reterr, SK_EIO, "cannot make %s: %s", temporary, strerror(errno));
    if (fd >= 0) {
        status = write_whole(fd, temporary, text, reterr);
        if (close(fd) != 0 && status == SK_OK)
            status = SK_FAIL(reterr, SK_EIO, "cannot keep %s: %s", temporary, strerror(errno));
        if (status == SK_OK) status = name_file(temporary, path, reterr);
        (void)unlink(temporary); /* gone already where it was renamed */
        if (status == SK_OK) sync_folder(path);
    }
    sk_cluster_key_forget(&key);
    sodium_memzero(text, sizeof text);
    return status;
}

static sk_status from_file(const char *path, sk_key_make make, sk_cluster_key *ret_key, sk_error *reterr) {
    sk_status status = read_key(path, ret_key, reterr);
    if (status != SK_ENOTFOUND || make == SK_KEY_MUST_EXIST) return status;
    SK_TRY(make_key(path, reterr));
    status = read_key(path, ret_key, reterr); /* ours, or of who was faster */
    if (status == SK_ENOTFOUND) return SK_FAIL(reterr, SK_EIO, "%s went away as soon as it was made", path);
    return status;
}

static sk_status from_variable(const char *text, sk_cluster_key *ret_key, sk_error *reterr) {
    sk_status status = sk_cluster_key_parse(text, ret_key, reterr);
    if (status != SK_OK) sk_error_prefix(reterr, "$%s", VARIABLE);
    return status;
}

sk_status sk_cluster_key_find(const char *path, sk_key_make make, sk_cluster_key *ret_key, char *ret_where,
                              sk_error *reterr) {
    SK_ASSERT(ret_key);
    char        fallback[PATH_MAX];
    const char *text = getenv(VARIABLE);
    bool        is_named = path && *path;
    if (sodium_init() < 0) return SK_FAIL(reterr, SK_EIO, "cannot use keys: this machine gives no random numbers");
    if (is_named && strlen(path) >= PATH_MAX)
        return SK_FAIL(reterr, SK_EINVAL, "the path of the cluster key has %zu characters, up to %d are possible",
                       strlen(path), PATH_MAX - 1);
    if (!is_named && text && *text) {
        if (ret_where) snprintf(ret_where, WHERE_SIZE, "$%s", VARIABLE);
        return from_variable(text, ret_key, reterr);
    }
    if (!is_named) {
        if (!default_path(fallback, sizeof fallback))
            return SK_FAIL(reterr, SK_ENOTFOUND,
                           "no cluster key: no file is named, $%s is not set, and you have no home", VARIABLE);
        path = fallback;
    }
    if (ret_where) snprintf(ret_where, WHERE_SIZE, "%.*s", WHERE_SIZE - 1, path);
    sk_status status = from_file(path, make, ret_key, reterr);
    if (status != SK_ENOTFOUND) return status;
    if (is_named) return SK_FAIL(reterr, SK_ENOTFOUND, "no cluster key: there is no %s", path);
    return SK_FAIL(reterr, SK_ENOTFOUND, "no cluster key: no file is named, $%s is not set, and there is no %s",
                   VARIABLE, path);
}
