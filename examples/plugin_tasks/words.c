/* words: a plugin with a task and a kind of actor, in one file that needs nothing but skiff/skiff.h. It runs in threads
 * of the program that loads it and in that program's worker processes; main.c beside it is such a program.
 *
 *     cc -O2 -shared -fPIC -fvisibility=hidden words.c $(pkg-config --cflags skiff) -o words.so
 *
 * It is not linked with libskiff: the program has it already. */
#include <skiff/skiff.h>

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* Find the next word at or behind *at: where it begins; its length is 0 behind the last one. */
static const char *next_word(const char *at, const char *end, size_t *ret_length) {
    while (at < end && !isalpha((unsigned char)*at)) at++;
    *ret_length = 0;
    while (at + *ret_length < end && isalpha((unsigned char)at[*ret_length])) ++*ret_length;
    return at;
}

/* Everybody may call a plugin's functions, so they look at what they get. */
static sk_status read_text(const sk_call *call, sk_bytes *ret_text, sk_error *reterr) {
    int n = sk_call_n_args(call);
    if (n != 1) return SK_FAIL(reterr, SK_EINVAL, "wanted a text, got %d arguments", n);
    *ret_text = sk_call_arg(call, 0);
    return SK_OK;
}

/* ---- the task words.count(text): int ---- */
static sk_status count_task(sk_call *call, sk_error *reterr) {
    sk_bytes text;
    size_t   length;
    int      n = 0;
    SK_TRY(read_text(call, &text, reterr));
    const char *at = text.data, *end = at + text.size;
    while (at = next_word(at, end, &length), length > 0) at += length, n++;
    return sk_call_write(call, 0, &n, sizeof n, reterr);
}

/* ---- the actor words.Longest ---- */
typedef struct longest {
    char   word[64];
    size_t length;
} longest;

static sk_status longest_create(sk_call *call, void **ret_self, sk_error *reterr) {
    (void)call;
    *ret_self = calloc(1, sizeof(longest));
    return *ret_self ? SK_OK : SK_FAIL(reterr, SK_ENOMEM, "no memory for a word");
}

static void longest_destroy(void *self) { free(self); }

/* add(text): the longest word of all texts so far. What it knows is kept, with the answer or not at all. */
static sk_status longest_call(void *impl, int method, sk_call *call, sk_error *reterr) {
    longest *self = impl;
    sk_bytes text;
    size_t   length;
    if (method != 0) return SK_FAIL(reterr, SK_EINVAL, "words.Longest has no method %d", method);
    SK_TRY(read_text(call, &text, reterr));
    const char *at = text.data, *end = at + text.size;
    for (; at = next_word(at, end, &length), length > 0; at += length) {
        if (length <= self->length || length > sizeof self->word) continue;
        memcpy(self->word, at, length);
        self->length = length;
    }
    SK_TRY(sk_call_save(call, self, sizeof *self, reterr));
    return sk_call_write(call, 0, self->word, self->length, reterr);
}

/* After its process died: create has run again, and this is what was kept. */
static sk_status longest_restore(void *self, sk_bytes state, sk_error *reterr) {
    if (state.size != sizeof(longest))
        return SK_FAIL(reterr, SK_ECORRUPT, "state: got %zu bytes, wanted %zu", state.size, sizeof(longest));
    memcpy(self, state.data, state.size);
    return SK_OK;
}

static const char *const    methods[] = {"add"};
static const sk_actor_class longest_class = {
    .name = "words.Longest", .methods = methods, .n_methods = SK_COUNT(methods), .create = longest_create,
    .call = longest_call, .destroy = longest_destroy, .restore = longest_restore,
};

/* ---- what it offers, and the one symbol that skiff looks for ---- */
static const sk_task_def           tasks[] = {{"words.count", count_task}};
static const sk_actor_class *const classes[] = {&longest_class};
static const sk_module             module = {
    .abi = SK_MODULE_ABI, .struct_size = sizeof module, .name = "words",
    .tasks = tasks, .n_tasks = SK_COUNT(tasks), .classes = classes, .n_classes = SK_COUNT(classes),
};

SK_API const sk_module *skiff_module(void) { return &module; }
