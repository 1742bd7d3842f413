/* config_internal: what config*.c share. A YAML document as a tree that remembers where everything was
 * written, and the reading of one declared key from such a tree.
 *
 *   config_doc.c    YAML text and overrides -> tree      (the only file that knows libfyaml)
 *   config_value.c  tree + sk_key -> value, and the sentences about what a key wants
 *   config.c        the public functions: open, peek, bind
 *   config_emit.c   structs -> YAML, tables -> Markdown
 *
 * Threads: one owner. All memory of a document is its own and dies with it. */
#ifndef SK_BASE_CONFIG_INTERNAL_H
#define SK_BASE_CONFIG_INTERNAL_H
#include "core/base/config.h"

enum {
    SK__FILE_MAX = 1 << 20,  /* bytes of a config file                                          */
    SK__NODES_MAX = 4096,    /* values in a document, copies made by aliases included           */
    SK__DEPTH_MAX = 32,      /* nesting                                                         */
    SK__NAME_MAX = 256,      /* bytes of a name in a map                                        */
    SK__WORDS_MAX = 224      /* buffer for a sentence's part                                    */
};

typedef enum sk__node_kind { SK__NULL, SK__SCALAR, SK__LIST, SK__MAP } sk__node_kind;

typedef struct sk__node {
    sk__node_kind    kind;
    bool             quoted;       /* scalar: written in quotes or as a block, so never a number    */
    const char      *text;         /* scalar: UTF-8 without NUL inside                              */
    const char      *mark;         /* where the value stands: "file:line:column" or `override "..."` */
    const char      *name;         /* its name if it is in a map, else NULL                         */
    const char      *name_mark;    /* where the name stands                                         */
    struct sk__node *first, *last; /* list, map: children in document order                         */
    struct sk__node *next;
    struct sk__node *was;          /* the scalar that an override below it turned into this map, or NULL */
} sk__node;

typedef struct sk__doc {
    struct sk__block *blocks; /* all memory, newest first */
    sk__node         *root;
    int               n_nodes;
} sk__doc;

/* Where a text comes from: marks are "name:line:column", or just `name` if the place is no file. */
typedef struct sk__source {
    const char *name;
    bool        is_file;
} sk__source;

/* Zeroed memory / a formatted string that lives as long as the document. NULL: out of memory. */
void *sk__doc_alloc(sk__doc *doc, size_t bytes);
char *sk__doc_printf(sk__doc *doc, const char *fmt, ...) SK_PRINTF(2, 3);
void  sk__doc_deinit(sk__doc *doc);

#define SK__NO_MEMORY(reterr) SK_FAIL(reterr, SK_ENOMEM, "out of memory for a configuration")

/* One YAML document -> a tree in `doc`'s memory. An empty text gives an SK__NULL. */
SK_NODISCARD sk_status sk__doc_parse(sk__doc *doc, const char *text, size_t size, sk__source source,
                                     sk__node **ret_node, sk_error *reterr);
/* Apply "key.path=value" to doc->root. */
SK_NODISCARD sk_status sk__doc_override(sk__doc *doc, const char *assignment, sk_error *reterr);

/* The child of a map by name (`size` bytes), or NULL. */
sk__node *sk__node_child(const sk__node *map, const char *name, size_t size);
/* The node at a dotted path below `root`, or NULL. */
sk__node *sk__node_at(const sk__node *root, const char *path);

/* Bytes of a key's value in its struct. */
size_t sk__key_size(sk_key_type type);

typedef union sk__value {
    bool        flag;
    int64_t     integer;
    double      number;
    const char *text;
    int         choice;
    sk_int_list list;
    sk_schedule schedule;
    sk_pairs    pairs;
    sk_texts    texts;
} sk__value;

/* Read one key's value. SK_ECONFIG names the mark, the key, what it must be and what it is. */
SK_NODISCARD sk_status sk__value_read(const sk_key *key, const sk__node *node, sk__value *ret_value,
                                      sk_error *reterr);

/* Parts of sentences. What a key must be: "a number in [0, 1]". What a node is: `"abc"`, `a list`.
 * A text in double quotes, cut when long, without control characters. */
void sk__words_wanted(const sk_key *key, char words[SK__WORDS_MAX]);
void sk__words_got(const sk__node *node, char words[SK__WORDS_MAX]);
void sk__words_quoted(const char *text, char words[SK__WORDS_MAX]);
/* A key's range: "in [0, 1]", ">= 0", "<= 5" or "". */
void sk__words_range(const sk_key *key, char words[SK__WORDS_MAX]);

/* Shortest decimal text that reads back as the same double; the caller has the C locale (below). */
enum { SK__NUMBER_TEXT = 40 };
void sk__number_text(double number, char text[SK__NUMBER_TEXT]);
bool sk__text_is_number(const char *text);
/* The index of a choice in "auto|cpu|cuda", or -1; the i-th choice and its length, or NULL. */
int         sk__choice_find(const char *choices, const char *text);
const char *sk__choice_at(const char *choices, int i, size_t *ret_size);

/* Is it UTF-8? The offset of the first wrong byte, or `size`. */
size_t sk__utf8_check(const char *text, size_t size);

/* Numbers are read and written with a decimal point whatever the program's locale is: between enter
 * and leave this thread has the C locale. */
typedef struct sk__locale {
    void *c_locale, *old;
} sk__locale;
sk__locale sk__locale_enter(void);
void       sk__locale_leave(sk__locale *self);

#endif
