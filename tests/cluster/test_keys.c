#include "core/transport/keys.h"
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A folder that the test removes itself, and an environment in which nothing of the user's is found. */
static char folder[64], path[256];

static void begin(void) {
    snprintf(folder, sizeof folder, "/tmp/skiff-test-keys-XXXXXX");
    cr_assert(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/some.key", folder);
    cr_assert_eq(setenv("HOME", folder, 1), 0);
    cr_assert_eq(unsetenv("XDG_CONFIG_HOME"), 0);
    cr_assert_eq(unsetenv("SKIFF_CLUSTER_KEY"), 0);
}

static void end(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    cr_assert_eq(system(command), 0);
}

static void write_file(const char *name, const char *text, mode_t mode) {
    FILE *file = fopen(name, "w");
    cr_assert(file);
    cr_assert(fputs(text, file) >= 0);
    cr_assert_eq(fclose(file), 0);
    cr_assert_eq(chmod(name, mode), 0);
}

static mode_t mode_of(const char *name) {
    struct stat at;
    cr_assert_eq(stat(name, &at), 0, "%s", name);
    return at.st_mode & 07777;
}

static int n_files(void) {
    char command[128];
    int  n = -1;
    snprintf(command, sizeof command, "find '%s' -type f | wc -l", folder);
    FILE *out = popen(command, "r");
    cr_assert(out);
    cr_assert_eq(fscanf(out, "%d", &n), 1);
    pclose(out);
    return n;
}

static sk_cluster_key new_key(char ret_text[SK_KEY_TEXT_MAX]) {
    sk_cluster_key key;
    sk_error       err = {0};
    cr_assert_eq(sk_cluster_key_create(&key, &err), SK_OK, "%s", err.msg);
    sk_cluster_key_write(&key, ret_text);
    return key;
}

/* The key pair of CurveZMQ's own example (RFC 26 and libzmq's tests). */
#define KNOWN_PUBLIC "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
#define KNOWN_SECRET "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"

Test(keys, a_known_pair_of_curve_is_a_pair) {
    sk_cluster_key key;
    sk_error       err = {0};
    uint8_t        bytes[32];
    const char    *text = "skiff-cluster-key-1 " KNOWN_PUBLIC " " KNOWN_SECRET " " KNOWN_PUBLIC " " KNOWN_SECRET;
    cr_assert_eq(sk_cluster_key_parse(text, &key, &err), SK_OK, "%s", err.msg);
    cr_assert_str_eq(key.head_public, KNOWN_PUBLIC);
    cr_assert_str_eq(key.node_secret, KNOWN_SECRET);
    cr_assert_eq(sk_cluster_key_node_bytes(&key, bytes, &err), SK_OK, "%s", err.msg);
    static const uint8_t first[] = {0xbb, 0x88, 0x47, 0x1d}; /* of the RFC's listing of that key */
    cr_assert_eq(memcmp(bytes, first, sizeof first), 0, "%02x%02x%02x%02x", bytes[0], bytes[1], bytes[2], bytes[3]);
}

Test(keys, a_key_reads_as_it_was_written) {
    char           text[SK_KEY_TEXT_MAX], again[SK_KEY_TEXT_MAX], with_end[SK_KEY_TEXT_MAX + 8];
    sk_cluster_key key = new_key(text), read;
    sk_error       err = {0};
    cr_assert_eq(strlen(text), strlen("skiff-cluster-key-1") + 4 * 41);
    cr_assert_eq(sk_cluster_key_parse(text, &read, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(memcmp(&key, &read, sizeof key), 0);
    sk_cluster_key_write(&read, again);
    cr_assert_str_eq(text, again);
    snprintf(with_end, sizeof with_end, "%s\r\n \n", text);
    cr_assert_eq(sk_cluster_key_parse(with_end, &read, &err), SK_OK, "%s", err.msg);
}

Test(keys, two_keys_differ_in_every_part) {
    char           text[SK_KEY_TEXT_MAX];
    sk_cluster_key a = new_key(text), b = new_key(text);
    cr_assert_str_neq(a.head_public, b.head_public);
    cr_assert_str_neq(a.head_secret, b.head_secret);
    cr_assert_str_neq(a.node_public, b.node_public);
    cr_assert_str_neq(a.node_secret, b.node_secret);
    cr_assert_str_neq(a.head_secret, a.node_secret);
}

static void expect_refused(const char *text, const char *wanted) {
    sk_cluster_key key = {.head_public = "untouched"};
    sk_error       err = {0};
    cr_assert_eq(sk_cluster_key_parse(text, &key, &err), SK_ECORRUPT, "%s", text);
    cr_assert(strstr(err.msg, wanted), "wanted '%s' in '%s'", wanted, err.msg);
    cr_assert_str_eq(key.head_public, "untouched");
}

Test(keys, what_is_no_key_is_refused_with_the_part_that_is_wrong) {
    char           good[SK_KEY_TEXT_MAX], text[SK_KEY_TEXT_MAX + 8];
    sk_cluster_key key = new_key(good), other = new_key(text);
    size_t         head = strlen("skiff-cluster-key-1");
    expect_refused("", "does not begin with");
    expect_refused("skiff-cluster-key-2", "does not begin with");
    expect_refused("skiff-cluster-key-1", "head's public key");
    static const char *const parts[] = {"head's public", "head's secret", "node's public", "node's secret"};
    for (int i = 0; i < 4; i++) {
        strcpy(text, good);
        text[head + 1 + 41 * (size_t)i + 20] = '~'; /* not of Z85 */
        expect_refused(text, parts[i]);
        strcpy(text, good);
        text[head + 41 * (size_t)i] = '-'; /* no blank */
        expect_refused(text, parts[i]);
        strcpy(text, good);
        memset(text + head + 1 + 41 * (size_t)i, '#', 5); /* more than 32 bits */
        expect_refused(text, parts[i]);
        strcpy(text, good);
        text[head + 41 * (size_t)i + 30] = 0; /* cut short */
        expect_refused(text, parts[i]);
    }
    snprintf(text, sizeof text, "%sx", good);
    expect_refused(text, "1 characters follow");
    snprintf(text, sizeof text, "skiff-cluster-key-1 %s %s %s %s", other.head_public, key.head_secret, key.node_public,
             key.node_secret);
    expect_refused(text, "the head's public key does not belong");
    snprintf(text, sizeof text, "skiff-cluster-key-1 %s %s %s %s", key.head_public, key.head_secret, other.node_public,
             key.node_secret);
    expect_refused(text, "the node's public key does not belong");
}

Test(keys, an_error_never_shows_the_key) {
    char           text[SK_KEY_TEXT_MAX];
    sk_cluster_key key = new_key(text);
    sk_error       err = {0};
    begin();
    text[strlen(text) - 1] = text[strlen(text) - 1] == '0' ? '1' : '0';
    cr_assert_eq(setenv("SKIFF_CLUSTER_KEY", text, 1), 0);
    cr_assert_eq(sk_cluster_key_find(NULL, SK_KEY_MUST_EXIST, &key, NULL, &err), SK_ECORRUPT);
    cr_assert(strstr(err.msg, "$SKIFF_CLUSTER_KEY"), "%s", err.msg);
    for (size_t at = strlen("skiff-cluster-key-1"); at + 12 < strlen(text); at++) {
        char piece[13];
        snprintf(piece, sizeof piece, "%.12s", text + at);
        cr_assert_null(strstr(err.msg, piece), "%s", err.msg);
    }
    end();
}

Test(keys, forgetting_leaves_nothing) {
    char           text[SK_KEY_TEXT_MAX];
    sk_cluster_key key = new_key(text), zeros = {0};
    sk_cluster_key_forget(&key);
    cr_assert_eq(memcmp(&key, &zeros, sizeof key), 0);
}

/* ---- finding it ---- */

Test(keys, without_a_key_all_places_are_named) {
    sk_cluster_key key;
    sk_error       err = {0};
    begin();
    cr_assert_eq(sk_cluster_key_find(NULL, SK_KEY_MUST_EXIST, &key, NULL, &err), SK_ENOTFOUND);
    char wanted[128];
    snprintf(wanted, sizeof wanted, "%s/.config/skiff/cluster.key", folder);
    cr_assert(strstr(err.msg, wanted) && strstr(err.msg, "$SKIFF_CLUSTER_KEY"), "%s", err.msg);
    cr_assert_eq(sk_cluster_key_find(path, SK_KEY_MUST_EXIST, &key, NULL, &err), SK_ENOTFOUND);
    cr_assert(strstr(err.msg, path), "%s", err.msg);
    cr_assert_eq(n_files(), 0);
    end();
}

Test(keys, a_named_file_goes_before_the_variable_and_that_before_the_users_file) {
    char           named[SK_KEY_TEXT_MAX], variable[SK_KEY_TEXT_MAX], where[512];
    sk_cluster_key in_file = new_key(named), in_variable = new_key(variable), made, got;
    sk_error       err = {0};
    begin();
    cr_assert_eq(sk_cluster_key_find("", SK_KEY_MAKE, &made, where, &err), SK_OK, "%s", err.msg);
    cr_assert(strstr(where, "/.config/skiff/cluster.key"), "%s", where);
    write_file(path, named, 0600);
    cr_assert_eq(setenv("SKIFF_CLUSTER_KEY", variable, 1), 0);
    cr_assert_eq(sk_cluster_key_find(path, SK_KEY_MUST_EXIST, &got, where, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(memcmp(&got, &in_file, sizeof got), 0);
    cr_assert_str_eq(where, path);
    cr_assert_eq(sk_cluster_key_find(NULL, SK_KEY_MAKE, &got, where, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(memcmp(&got, &in_variable, sizeof got), 0);
    cr_assert_str_eq(where, "$SKIFF_CLUSTER_KEY");
    cr_assert_eq(setenv("SKIFF_CLUSTER_KEY", "", 1), 0);
    cr_assert_eq(sk_cluster_key_find(NULL, SK_KEY_MUST_EXIST, &got, NULL, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(memcmp(&got, &made, sizeof got), 0);
    char other[128];
    snprintf(other, sizeof other, "%s/elsewhere", folder);
    cr_assert_eq(setenv("XDG_CONFIG_HOME", other, 1), 0);
    cr_assert_eq(sk_cluster_key_find(NULL, SK_KEY_MUST_EXIST, &got, NULL, &err), SK_ENOTFOUND);
    cr_assert(strstr(err.msg, "/elsewhere/skiff/cluster.key"), "%s", err.msg);
    end();
}

Test(keys, a_made_file_is_its_owners_alone_whatever_the_umask) {
    sk_cluster_key made, again;
    sk_error       err = {0};
    char           name[256];
    begin();
    snprintf(name, sizeof name, "%s/a/b/cluster.key", folder);
    static const mode_t masks[] = {0, 0177, 0777};
    for (int i = 0; i < SK_COUNT(masks); i++) {
        mode_t old = umask(masks[i]);
        cr_assert_eq(sk_cluster_key_find(name, SK_KEY_MAKE, &made, NULL, &err), SK_OK, "%03o: %s", masks[i], err.msg);
        umask(old);
        cr_assert_eq(mode_of(name), 0600);
        char above[256];
        snprintf(above, sizeof above, "%s/a/b", folder);
        cr_assert_eq(mode_of(above), 0700);
        cr_assert_eq(n_files(), 1, "nothing but the key itself");
        cr_assert_eq(sk_cluster_key_find(name, SK_KEY_MAKE, &again, NULL, &err), SK_OK, "%s", err.msg);
        cr_assert_eq(memcmp(&made, &again, sizeof made), 0, "an existing key stays");
        cr_assert_eq(unlink(name), 0);
        cr_assert_eq(rmdir(above), 0);
    }
    end();
}

Test(keys, a_file_that_others_can_use_is_refused) {
    char           text[SK_KEY_TEXT_MAX];
    sk_cluster_key key = new_key(text);
    begin();
    static const mode_t modes[] = {0640, 0604, 0620, 0602, 0610, 0601, 0666};
    for (int i = 0; i < SK_COUNT(modes); i++) {
        sk_error err = {0};
        char     mode[8];
        write_file(path, text, modes[i]);
        snprintf(mode, sizeof mode, "%03o", (unsigned)modes[i]);
        cr_assert_eq(sk_cluster_key_find(path, SK_KEY_MAKE, &key, NULL, &err), SK_EINVAL, "%s", mode);
        cr_assert(strstr(err.msg, path) && strstr(err.msg, mode), "%s", err.msg);
    }
    sk_error err = {0};
    write_file(path, text, 0400);
    cr_assert_eq(sk_cluster_key_find(path, SK_KEY_MAKE, &key, NULL, &err), SK_OK, "%s", err.msg);
    end();
}

Test(keys, a_file_of_another_owner_is_refused) {
    if (geteuid() != 0) cr_skip_test("only root can give a file away");
    char           text[SK_KEY_TEXT_MAX];
    sk_cluster_key key = new_key(text);
    sk_error       err = {0};
    begin();
    write_file(path, text, 0600);
    cr_assert_eq(chown(path, 12345, 12345), 0);
    cr_assert_eq(sk_cluster_key_find(path, SK_KEY_MAKE, &key, NULL, &err), SK_EINVAL);
    cr_assert(strstr(err.msg, "belongs to user 12345"), "%s", err.msg);
    end();
}

Test(keys, a_file_without_a_whole_key_is_refused_and_stays) {
    char           text[SK_KEY_TEXT_MAX], longer[2 * SK_KEY_TEXT_MAX];
    sk_cluster_key key = new_key(text);
    sk_error       err = {0};
    begin();
    write_file(path, "", 0600);
    cr_assert_eq(sk_cluster_key_find(path, SK_KEY_MAKE, &key, NULL, &err), SK_ECORRUPT);
    cr_assert(strstr(err.msg, path), "%s", err.msg);
    memset(longer, ' ', sizeof longer);
    memcpy(longer, text, strlen(text));
    longer[sizeof longer - 1] = 0;
    write_file(path, longer, 0600);
    cr_assert_eq(sk_cluster_key_find(path, SK_KEY_MAKE, &key, NULL, &err), SK_ECORRUPT);
    cr_assert(strstr(err.msg, "too long"), "%s", err.msg);
    cr_assert_eq(sk_cluster_key_find(folder, SK_KEY_MUST_EXIST, &key, NULL, &err), SK_EINVAL);
    cr_assert(strstr(err.msg, "not a file"), "%s", err.msg);
    cr_assert_eq(n_files(), 1);
    end();
}

typedef struct maker {
    pthread_t          thread;
    pthread_barrier_t *start;
    sk_cluster_key     key;
    sk_status          status;
} maker;

static void *run_maker(void *arg) {
    maker *self = arg;
    pthread_barrier_wait(self->start);
    self->status = sk_cluster_key_find(path, SK_KEY_MAKE, &self->key, NULL, NULL);
    return NULL;
}

Test(keys, of_many_that_make_one_at_once_all_have_the_same) {
    enum { N = 16, ROUNDS = 20 };
    begin();
    for (int round = 0; round < ROUNDS; round++) {
        maker             makers[N];
        pthread_barrier_t start;
        pthread_barrier_init(&start, NULL, N);
        for (int i = 0; i < N; i++) {
            makers[i].start = &start;
            cr_assert_eq(pthread_create(&makers[i].thread, NULL, run_maker, &makers[i]), 0);
        }
        for (int i = 0; i < N; i++) {
            pthread_join(makers[i].thread, NULL);
            cr_assert_eq(makers[i].status, SK_OK);
            cr_assert_eq(memcmp(&makers[i].key, &makers[0].key, sizeof makers[0].key), 0);
        }
        pthread_barrier_destroy(&start);
        cr_assert_eq(n_files(), 1);
        cr_assert_eq(unlink(path), 0);
    }
    end();
}
