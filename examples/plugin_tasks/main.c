/* plugin_tasks: a program that knows the functions of a plugin (words.c) by name only, and what becomes of an actor
 * whose process is killed.
 *
 *     cc -O2 -shared -fPIC -fvisibility=hidden words.c $(pkg-config --cflags skiff) -o words.so
 *     cc -O2 main.c $(pkg-config --cflags --libs skiff) -o plugin_tasks && ./plugin_tasks ./words.so
 *
 * prints
 *
 *     words: 9 and 4
 *     longest so far: quick
 *     the actor is killed, and knows it again
 *     longest so far: quick */
#include <skiff/skiff.h>

#include <stdio.h>
#include <string.h>

enum { PATIENCE_MS = 60000 };
static const char *const lines[] = {"The quick brown fox jumps over the lazy dog.", "It ate no hen."};

/* All answers of this plugin are small: copy one into `room` and release it. */
static sk_status take(sk_runtime *rt, sk_ref *answer, void *room, size_t size, sk_error *reterr) {
    sk_bytes value;
    SK_TRY(sk_get(rt, *answer, PATIENCE_MS, &value, reterr));
    if (value.size > size) return SK_FAIL(reterr, SK_EINVAL, "answer: got %zu bytes, wanted <= %zu", value.size, size);
    memcpy(room, value.data, value.size);
    sk_release(rt, answer);
    return SK_OK;
}

static sk_status count_words(sk_runtime *rt, int *ret_counts, sk_error *reterr) {
    sk_ref answers[SK_COUNT(lines)];
    for (int i = 0; i < SK_COUNT(lines); i++) {
        sk_arg text = sk_by_value(lines[i], strlen(lines[i]));
        SK_TRY(sk_submit(rt, &(sk_task){.function = "words.count", .args = &text, .n_args = 1}, &answers[i], reterr));
    }
    for (int i = 0; i < SK_COUNT(lines); i++) SK_TRY(take(rt, &answers[i], &ret_counts[i], sizeof(int), reterr));
    return SK_OK;
}

static sk_status add_line(sk_runtime *rt, sk_actor actor, int line, sk_error *reterr) {
    char   word[65] = {0};
    sk_ref answer;
    sk_arg text = sk_by_value(lines[line], strlen(lines[line]));
    SK_TRY(sk_actor_call(rt, actor, &(sk_method){.args = &text, .n_args = 1}, &answer, reterr));
    SK_TRY(take(rt, &answer, word, sizeof word - 1, reterr));
    printf("longest so far: %s\n", word);
    return SK_OK;
}

static sk_status run(sk_runtime *rt, sk_error *reterr) {
    int counts[SK_COUNT(lines)];
    SK_TRY(count_words(rt, counts, reterr));
    printf("words: %d and %d\n", counts[0], counts[1]);

    sk_actor        actor;
    sk_actor_params params = {.class_name = "words.Longest", .name = "longest", .max_restarts = 1};
    SK_TRY(sk_actor_create(rt, &params, &actor, reterr));
    SK_TRY(add_line(rt, actor, 0, reterr));
    sk_actor_kill(rt, actor, SK_KILL_MAY_RESTART);
    printf("the actor is killed, and knows it again\n");
    return add_line(rt, actor, 1, reterr);
}

int main(int argc, char **argv) {
    /* As a worker this program offers nothing of its own: the plugin is enough. */
    if (argc > 1 && strcmp(argv[1], "worker") == 0) return sk_worker_main(argc - 2, argv + 2, NULL, 0);
    if (argc != 2) {
        fprintf(stderr, "usage: plugin_tasks PLUGIN\n");
        return 2;
    }
    /* ---- create ---- */
    const char *const plugins[] = {argv[1]};
    sk_runtime_params params = {.plugins = plugins, .n_plugins = 1};
    sk_runtime       *rt = NULL;
    sk_error          err = {0};
    sk_status         status = sk_runtime_create(&params, &rt, &err);
    /* ---- run and report ---- */
    if (status == SK_OK) status = run(rt, &err);
    if (status != SK_OK) fprintf(stderr, "%s\n", err.msg);
    /* ---- destroy ---- */
    sk_runtime_destroy(&rt);
    return status == SK_OK ? 0 : 1;
}
