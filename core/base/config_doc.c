/* config_doc: YAML text and overrides -> a tree with marks. libfyaml is used through its events only:
 * it prints nothing, keeps nothing, and what it lets pass silently (doubled keys, bytes that are not
 * UTF-8, NULs) is refused here. */
#include "core/base/config_internal.h"

#include <libfyaml.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- memory: one malloc per piece, so that ASAN sees every overrun --- */

typedef struct sk__block {
    struct sk__block *next;
    max_align_t       data[];
} sk__block;

void *sk__doc_alloc(sk__doc *doc, size_t bytes) {
    sk__block *block = calloc(1, sizeof *block + bytes);
    if (!block) return NULL;
    block->next = doc->blocks;
    doc->blocks = block;
    return block->data;
}

char *sk__doc_printf(sk__doc *doc, const char *fmt, ...) {
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int   size = vsnprintf(NULL, 0, fmt, args);
    char *text = size < 0 ? NULL : sk__doc_alloc(doc, (size_t)size + 1);
    if (text) vsnprintf(text, (size_t)size + 1, fmt, again);
    va_end(again);
    va_end(args);
    return text;
}

void sk__doc_deinit(sk__doc *doc) {
    while (doc->blocks) {
        sk__block *next = doc->blocks->next;
        free(doc->blocks);
        doc->blocks = next;
    }
    doc->root = NULL;
}

/* --- looking things up --- */

sk__node *sk__node_child(const sk__node *map, const char *name, size_t size) {
    if (map->kind != SK__MAP) return NULL;
    for (sk__node *child = map->first; child; child = child->next)
        if (!strncmp(child->name, name, size) && child->name[size] == '\0') return child;
    return NULL;
}

sk__node *sk__node_at(const sk__node *root, const char *path) {
    const sk__node *node = root;
    while (node) {
        size_t    size = strcspn(path, ".");
        sk__node *child = sk__node_child(node, path, size);
        if (path[size] == '\0') return child;
        path += size + 1;
        node = child;
    }
    return NULL;
}

size_t sk__utf8_check(const char *text, size_t size) {
    const unsigned char *s = (const unsigned char *)text;
    for (size_t i = 0; i < size;) {
        size_t   n = s[i] < 0x80 ? 1 : s[i] >> 5 == 6 ? 2 : s[i] >> 4 == 14 ? 3 : s[i] >> 3 == 30 ? 4 : 0;
        uint32_t code = n == 1 ? s[i] : n == 2 ? s[i] & 31u : n == 3 ? s[i] & 15u : s[i] & 7u;
        if (n == 0 || n > size - i) return i;
        for (size_t k = 1; k < n; k++) {
            if (s[i + k] >> 6 != 2) return i;
            code = code << 6 | (s[i + k] & 63u);
        }
        /* Overlong forms, surrogates, beyond the last code point. */
        static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
        if (code < least[n] || code > 0x10ffff || code >> 11 == 27) return i;
        i += n;
    }
    return size;
}

/* --- events -> tree --- */

typedef struct anchor {
    struct anchor  *next;
    const char     *name;
    const sk__node *node;
} anchor;

typedef struct builder {
    sk__doc          *doc;
    sk__source        source;
    const char       *text; /* what is parsed                                          */
    size_t            size;
    struct fy_diag   *diag;
    struct fy_parser *parser;
    struct fy_event  *event;   /* the present event; NULL after the last one           */
    anchor           *anchors; /* newest first: a later anchor of the same name wins   */
    sk_error         *reterr;
    char              said[160]; /* what libfyaml wrote instead of collecting          */
} builder;

/* libfyaml's marks count from 0 and stand behind a quote or an alias's star. Events without a token (an
 * empty value) get `otherwise`. */
static const char *mark_of(builder *b, struct fy_event *event, const char *otherwise) {
    const struct fy_mark *mark = fy_event_start_mark(event);
    if (!b->source.is_file) return b->source.name;
    if (!mark) return otherwise ? otherwise : b->source.name;
    enum fy_scalar_style style = FYSS_PLAIN;
    if (event->type == FYET_SCALAR) style = fy_token_scalar_style(event->scalar.value);
    int before = event->type == FYET_ALIAS || style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED;
    return sk__doc_printf(b->doc, "%s:%d:%d", b->source.name, mark->line + 1,
                          mark->column + 1 - (before && mark->column > 0));
}

static void keep_output(struct fy_diag *diag, void *user, const char *text, size_t size) {
    (void)diag;
    builder *b = user;
    size_t   n = size < sizeof b->said - 1 ? size : sizeof b->said - 1;
    memcpy(b->said, text, n);
    b->said[n] = '\0';
    b->said[strcspn(b->said, "\r\n")] = '\0';
}

/* The first error that libfyaml has collected, with its own place. */
static sk_status fail_syntax(builder *b) {
    void                 *at = NULL;
    struct fy_diag_error *e = fy_diag_errors_iterate(b->diag, &at);
    if (e && b->source.is_file)
        return SK_FAIL(b->reterr, SK_ECONFIG, "%s:%d:%d: YAML: %s", b->source.name, e->line, e->column,
                       e->msg);
    const char *said = e ? e->msg : b->said[0] ? b->said : "not readable";
    return SK_FAIL(b->reterr, SK_ECONFIG, "%s: YAML: %s", b->source.name, said);
}

/* Free the present event and fetch the next one. */
static sk_status advance(builder *b) {
    if (b->event) fy_parser_event_free(b->parser, b->event);
    b->event = fy_parser_parse(b->parser);
    if (!b->event && (fy_parser_get_stream_error(b->parser) || b->said[0])) return fail_syntax(b);
    return SK_OK;
}

/* A token's text, copied. */
static sk_status copy_text(builder *b, struct fy_token *token, const char *mark, const char **ret_text) {
    size_t      size = 0;
    const char *text = token ? fy_token_get_text(token, &size) : NULL;
    if (!text) size = 0;
    if (size > 0 && (memchr(text, 0, size) || sk__utf8_check(text, size) < size))
        return SK_FAIL(b->reterr, SK_ECONFIG, "%s: a string may not hold \"\\0\" or half a character", mark);
    char *copy = sk__doc_alloc(b->doc, size + 1);
    if (!copy) return SK__NO_MEMORY(b->reterr);
    if (size > 0) memcpy(copy, text, size);
    *ret_text = copy;
    return SK_OK;
}

static sk_status add_node(builder *b, sk__node_kind kind, const char *mark, sk__node **ret_node) {
    if (++b->doc->n_nodes > SK__NODES_MAX)
        return SK_FAIL(b->reterr, SK_ECONFIG,
                       "%s: too large: more than %d values, an alias counted whenever used",
                       mark ? mark : b->source.name, SK__NODES_MAX);
    sk__node *node = sk__doc_alloc(b->doc, sizeof *node);
    if (!node || !mark) return SK__NO_MEMORY(b->reterr);
    node->kind = kind;
    node->mark = mark;
    *ret_node = node;
    return SK_OK;
}

static void append(sk__node *parent, sk__node *child) {
    if (parent->last)
        parent->last->next = child;
    else
        parent->first = child;
    parent->last = child;
}

/* An alias is a copy. The marks stay: they say where the values were written. */
static sk_status copy_node(builder *b, const sk__node *from, sk__node **ret_node) {
    sk__node *node = NULL;
    SK_TRY(add_node(b, from->kind, from->mark, &node));
    node->quoted = from->quoted;
    node->text = from->text;
    for (const sk__node *child = from->first; child; child = child->next) {
        sk__node *copy = NULL;
        SK_TRY(copy_node(b, child, &copy));
        copy->name = child->name;
        copy->name_mark = child->name_mark;
        append(node, copy);
    }
    *ret_node = node;
    return SK_OK;
}

static sk_status build_alias(builder *b, const char *mark, sk__node **ret_node) {
    const char *name = NULL;
    SK_TRY(copy_text(b, b->event->alias.anchor, mark, &name));
    /* An anchor counts from the end of its value on, so nothing can contain itself. */
    for (const anchor *a = b->anchors; a; a = a->next)
        if (!strcmp(a->name, name)) return copy_node(b, a->node, ret_node);
    return SK_FAIL(b->reterr, SK_ECONFIG, "%s: alias \"*%.60s\" names no anchor before it", mark, name);
}

/* Refuse what libfyaml 0.7.12 reads as another text (seen against PyYAML over 40,000 documents): two
 * escaped quotes in a row in single quotes, a line that ends in \\\ in double quotes, and folded blocks
 * with deeper lines. Nobody needs them here; a value read wrongly would be found by nobody. */
static sk_status check_style(builder *b, struct fy_token *token, const char *mark) {
    enum fy_scalar_style style = fy_token_scalar_style(token);
    if (style == FYSS_FOLDED)
        return SK_FAIL(b->reterr, SK_ECONFIG,
                       "%s: folded text (\">\") is not supported, wanted quotes or \"|\"", mark);
    if (style != FYSS_SINGLE_QUOTED && style != FYSS_DOUBLE_QUOTED) return SK_OK;
    const struct fy_mark *start = fy_token_start_mark(token), *end = fy_token_end_mark(token);
    if (!start || !end || start->input_pos > end->input_pos || end->input_pos > b->size)
        return SK_FAIL(b->reterr, SK_ECONFIG, "%s: a quoted string without a place in the text", mark);
    const char *raw = b->text + start->input_pos;
    size_t      size = end->input_pos - start->input_pos;
    if (memchr(raw, '\n', size) || memchr(raw, '\r', size))
        return SK_FAIL(b->reterr, SK_ECONFIG,
                       "%s: a quoted string must end on its line (\"\\n\" breaks one in double quotes)",
                       mark);
    if (style == FYSS_SINGLE_QUOTED && memmem(raw, size, "''''", 4))
        return SK_FAIL(b->reterr, SK_ECONFIG,
                       "%s: two quotes in a row in single quotes, wanted double quotes around them", mark);
    return SK_OK;
}

static sk_status build_scalar(builder *b, const char *mark, sk__node **ret_node) {
    struct fy_token *token = b->event->scalar.value;
    SK_TRY(add_node(b, SK__SCALAR, mark, ret_node));
    sk__node *node = *ret_node;
    if (token) SK_TRY(check_style(b, token, mark));
    SK_TRY(copy_text(b, token, mark, &node->text));
    node->quoted = token && fy_token_scalar_style(token) != FYSS_PLAIN;
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    for (int i = 0; i < SK_COUNT(nulls) && !node->quoted; i++)
        if (!strcmp(node->text, nulls[i])) node->kind = SK__NULL;
    return SK_OK;
}

static sk_status build_node(builder *b, const char *mark_otherwise, int depth, sk__node **ret_node);

static sk_status build_list(builder *b, const char *mark, int depth, sk__node **ret_node) {
    SK_TRY(add_node(b, SK__LIST, mark, ret_node));
    for (;;) {
        SK_TRY(advance(b));
        if (b->event && b->event->type == FYET_SEQUENCE_END) return SK_OK;
        sk__node *child = NULL;
        SK_TRY(build_node(b, mark, depth + 1, &child));
        append(*ret_node, child);
    }
}

/* The present event as a name in a map. */
static sk_status read_name(builder *b, const sk__node *map, const char **ret_name, const char **ret_mark) {
    if (!b->event) return fail_syntax(b);
    const char *before = map->last ? map->last->mark : map->mark;
    const char *mark = mark_of(b, b->event, before);
    if (!mark) return SK__NO_MEMORY(b->reterr);
    if (b->event->type == FYET_SCALAR && !b->event->scalar.value)
        return SK_FAIL(b->reterr, SK_ECONFIG, "%s: a value without a key stands here or next", mark);
    if (b->event->type != FYET_SCALAR)
        return SK_FAIL(b->reterr, SK_ECONFIG, "%s: a key must be a plain name", mark);
    SK_TRY(check_style(b, b->event->scalar.value, mark));
    SK_TRY(copy_text(b, b->event->scalar.value, mark, ret_name));
    char words[SK__WORDS_MAX];
    sk__words_quoted(*ret_name, words);
    if (strlen(*ret_name) > SK__NAME_MAX)
        return SK_FAIL(b->reterr, SK_ECONFIG, "%s: the key %s has %zu bytes, wanted at most %d", mark, words,
                       strlen(*ret_name), SK__NAME_MAX);
    if (!strcmp(*ret_name, "<<") && fy_token_scalar_style(b->event->scalar.value) == FYSS_PLAIN)
        return SK_FAIL(b->reterr, SK_ECONFIG,
                       "%s: merge keys (\"<<\") are not part of YAML 1.2; write the keys out", mark);
    const sk__node *twin = sk__node_child(map, *ret_name, strlen(*ret_name));
    if (twin)
        return SK_FAIL(b->reterr, SK_ECONFIG, "%s: the key %s is given twice, first at %s", mark, words,
                       twin->name_mark);
    *ret_mark = mark;
    return SK_OK;
}

static sk_status build_map(builder *b, const char *mark, int depth, sk__node **ret_node) {
    SK_TRY(add_node(b, SK__MAP, mark, ret_node));
    for (;;) {
        SK_TRY(advance(b));
        if (b->event && b->event->type == FYET_MAPPING_END) return SK_OK;
        const char *name = NULL, *name_mark = NULL;
        SK_TRY(read_name(b, *ret_node, &name, &name_mark));
        SK_TRY(advance(b));
        sk__node *child = NULL;
        SK_TRY(build_node(b, name_mark, depth + 1, &child));
        child->name = name;
        child->name_mark = name_mark;
        append(*ret_node, child);
    }
}

/* The value that starts at the present event; afterwards the present event is its last one. */
static sk_status build_node(builder *b, const char *mark_otherwise, int depth, sk__node **ret_node) {
    if (!b->event) return fail_syntax(b);
    const char *mark = mark_of(b, b->event, mark_otherwise);
    if (!mark) return SK__NO_MEMORY(b->reterr);
    if (depth > SK__DEPTH_MAX)
        return SK_FAIL(b->reterr, SK_ECONFIG, "%s: nested deeper than %d", mark, SK__DEPTH_MAX);
    if (fy_event_get_tag_token(b->event))
        return SK_FAIL(b->reterr, SK_ECONFIG, "%s: tags (\"!...\") are not supported", mark);
    struct fy_token *anchor_token = fy_event_get_anchor_token(b->event);
    anchor          *mine = NULL;
    if (anchor_token && b->event->type != FYET_ALIAS) {
        mine = sk__doc_alloc(b->doc, sizeof *mine);
        if (!mine) return SK__NO_MEMORY(b->reterr);
        SK_TRY(copy_text(b, anchor_token, mark, &mine->name));
    }
    switch (b->event->type) {
    case FYET_SCALAR: SK_TRY(build_scalar(b, mark, ret_node)); break;
    case FYET_ALIAS: SK_TRY(build_alias(b, mark, ret_node)); break;
    case FYET_SEQUENCE_START: SK_TRY(build_list(b, mark, depth, ret_node)); break;
    case FYET_MAPPING_START: SK_TRY(build_map(b, mark, depth, ret_node)); break;
    default: return fail_syntax(b);
    }
    if (mine) {
        mine->node = *ret_node;
        mine->next = b->anchors;
        b->anchors = mine;
    }
    return SK_OK;
}

/* The whole stream: exactly one document, or none. */
static sk_status build_stream(builder *b, sk__node **ret_node) {
    *ret_node = NULL;
    for (;;) {
        SK_TRY(advance(b));
        if (!b->event) break;
        if (b->event->type != FYET_DOCUMENT_START) continue;
        SK_TRY(advance(b));
        if (*ret_node) {
            const char *mark = b->event ? mark_of(b, b->event, NULL) : b->source.name;
            return SK_FAIL(b->reterr, SK_ECONFIG, "%s: a second YAML document starts here, wanted one",
                           mark ? mark : b->source.name);
        }
        SK_TRY(build_node(b, NULL, 1, ret_node));
    }
    return *ret_node ? SK_OK : add_node(b, SK__NULL, b->source.name, ret_node);
}

/* libfyaml takes bytes that are not text for the end of a value, so they are refused first. */
static sk_status check_text(const char *text, size_t size, sk__source source, sk_error *reterr) {
    size_t bad = sk__utf8_check(text, size);
    for (size_t i = 0; i < bad; i++)
        if (((unsigned char)text[i] < 0x20 && !strchr("\t\n\r", text[i])) || text[i] == 0 || text[i] == 0x7f)
            bad = i;
    if (bad == size) return SK_OK;
    int line = 1, column = 1;
    for (size_t i = 0; i < bad; i++) {
        column = text[i] == '\n' ? 1 : column + ((unsigned char)text[i] >> 6 != 2);
        line += text[i] == '\n';
    }
    unsigned byte = (unsigned char)text[bad];
    if (!source.is_file)
        return SK_FAIL(reterr, SK_ECONFIG, "%s: byte 0x%02x is not text, wanted UTF-8", source.name, byte);
    return SK_FAIL(reterr, SK_ECONFIG, "%s:%d:%d: byte 0x%02x is not text, wanted UTF-8", source.name, line,
                   column, byte);
}

sk_status sk__doc_parse(sk__doc *doc, const char *text, size_t size, sk__source source, sk__node **ret_node,
                        sk_error *reterr) {
    SK_TRY(check_text(text, size, source, reterr));
    builder            b = {.doc = doc, .source = source, .text = text, .size = size, .reterr = reterr};
    struct fy_diag_cfg diag_cfg = {
        .output_fn = keep_output, .user = &b, .level = FYET_ERROR, .module_mask = ~0u};
    sk_status status = SK_OK;
    b.diag = fy_diag_create(&diag_cfg);
    if (!b.diag) return SK__NO_MEMORY(reterr);
    fy_diag_set_collect_errors(b.diag, true);
    struct fy_parse_cfg cfg = {.flags = FYPCF_DEFAULT_VERSION_1_2 | FYPCF_JSON_NONE, .diag = b.diag};
    b.parser = fy_parser_create(&cfg);
    if (!b.parser || fy_parser_set_string(b.parser, text, size))
        status = SK__NO_MEMORY(reterr);
    else
        status = build_stream(&b, ret_node);
    if (b.event) fy_parser_event_free(b.parser, b.event);
    if (b.parser) fy_parser_destroy(b.parser);
    fy_diag_destroy(b.diag);
    return status;
}

/* --- overrides --- */

/* The map's child of that name, made if it is not there. */
static sk_status child_or_new(sk__doc *doc, sk__node *map, const char *name, size_t size, const char *mark,
                              sk__node **ret_child, sk_error *reterr) {
    *ret_child = sk__node_child(map, name, size);
    if (*ret_child) return SK_OK;
    sk__node *child = sk__doc_alloc(doc, sizeof *child);
    char     *copy = sk__doc_alloc(doc, size + 1);
    if (!child || !copy) return SK__NO_MEMORY(reterr);
    memcpy(copy, name, size);
    *child = (sk__node){.kind = SK__NULL, .mark = mark, .name = copy, .name_mark = mark};
    append(map, child);
    *ret_child = child;
    return SK_OK;
}

/* A node that is about to get children by override. A scalar waits in `was` until the schema says
 * whether it has a meaning there (`env: CartPole-v1` and env.plugin=...). */
static sk_status become_map(sk__doc *doc, sk__node *node, const char *mark, sk_error *reterr) {
    if (node->kind == SK__MAP) return SK_OK;
    if (node->kind == SK__LIST)
        return SK_FAIL(reterr, SK_ECONFIG, "%s: \"%.100s\" is a list (%s), wanted a map", mark, node->name,
                       node->mark);
    if (node->kind == SK__SCALAR) {
        node->was = sk__doc_alloc(doc, sizeof *node->was);
        if (!node->was) return SK__NO_MEMORY(reterr);
        *node->was = *node;
        node->was->next = NULL;
        node->was->was = NULL;
    }
    node->kind = SK__MAP;
    node->text = NULL;
    return SK_OK;
}

sk_status sk__doc_override(sk__doc *doc, const char *assignment, sk_error *reterr) {
    char words[SK__WORDS_MAX];
    sk__words_quoted(assignment, words);
    const char *mark = sk__doc_printf(doc, "override %s", words);
    if (!mark) return SK__NO_MEMORY(reterr);
    SK_TRY(check_text(assignment, strlen(assignment), (sk__source){.name = mark}, reterr));
    const char *equals = strchr(assignment, '='), *path = assignment;
    path += strspn(path, " ");
    size_t path_size = equals && equals > path ? (size_t)(equals - path) : 0;
    while (path_size > 0 && path[path_size - 1] == ' ') path_size--;
    if (path_size == 0)
        return SK_FAIL(reterr, SK_ECONFIG, "%s: wanted key.path=value, such as training.gamma=0.99", mark);

    sk__node *value = NULL;
    SK_TRY(sk__doc_parse(doc, equals + 1, strlen(equals + 1), (sk__source){.name = mark}, &value, reterr));
    sk__node *node = doc->root;
    for (size_t at = 0, size = 0; at <= path_size; at += size + 1) {
        for (size = 0; at + size < path_size && path[at + size] != '.'; size++) {
        }
        if (size == 0 || size > SK__NAME_MAX)
            return SK_FAIL(reterr, SK_ECONFIG,
                           "%s: the path has an empty or overlong name, wanted key.path=value", mark);
        SK_TRY(become_map(doc, node, mark, reterr));
        SK_TRY(child_or_new(doc, node, path + at, size, mark, &node, reterr));
    }
    /* Replace everything but the name and the place among the siblings. */
    sk__node *next = node->next;
    value->name = node->name;
    *node = *value;
    node->name_mark = mark;
    node->next = next;
    return SK_OK;
}
