/* config: the public side. Opening builds the tree (config_doc.c); binding walks it against the tables
 * of keys, reads every value into a scratch copy and only then fills the structs. */
#include "core/base/config.h"
#include "core/base/config_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sk_config {
    const char *name; /* the file's name in messages */
    sk__doc     doc;
};

/* --- open --- */

static sk_status fill(sk_config *self, const char *text, size_t size, const char *name,
                      const char *const *overrides, int n_overrides, sk_error *reterr) {
    self->name = sk__doc_printf(&self->doc, "%s", name);
    if (!self->name) return SK__NO_MEMORY(reterr);
    if (size > SK__FILE_MAX)
        return SK_FAIL(reterr, SK_ECONFIG, "%s: longer than %d bytes, which no configuration is", name,
                       SK__FILE_MAX);
    sk__source source = {.name = self->name, .is_file = true};
    SK_TRY(sk__doc_parse(&self->doc, text, size, source, &self->doc.root, reterr));
    const sk__node *root = self->doc.root;
    if (root->kind == SK__NULL)
        return SK_FAIL(reterr, SK_ECONFIG,
                       "%s: holds no keys, wanted a map of keys (\"{}\" takes all defaults)", name);
    if (root->kind != SK__MAP) {
        char got[SK__WORDS_MAX];
        sk__words_got(root, got);
        return SK_FAIL(reterr, SK_ECONFIG, "%s: the document must be a map of keys, got %s", root->mark, got);
    }
    for (int i = 0; i < n_overrides; i++) SK_TRY(sk__doc_override(&self->doc, overrides[i], reterr));
    return SK_OK;
}

static sk_status create(const char *text, size_t size, const char *name, const char *const *overrides,
                        int n_overrides, sk_config **ret_cfg, sk_error *reterr) {
    sk_config *self = calloc(1, sizeof *self);
    if (!self) return SK__NO_MEMORY(reterr);
    sk_status status = fill(self, text, size, name, overrides, n_overrides, reterr);
    if (status != SK_OK) {
        sk_config_destroy(&self);
        return status;
    }
    *ret_cfg = self;
    return SK_OK;
}

sk_status sk_config_parse(const char *text, const char *name, const char *const *overrides, int n_overrides,
                          sk_config **ret_cfg, sk_error *reterr) {
    SK_ASSERT(text && name && ret_cfg && (overrides || n_overrides == 0));
    return create(text, strlen(text), name, overrides, n_overrides, ret_cfg, reterr);
}

sk_status sk_config_open(const char *path, const char *const *overrides, int n_overrides, sk_config **ret_cfg,
                         sk_error *reterr) {
    SK_ASSERT(path && ret_cfg && (overrides || n_overrides == 0));
    FILE *file = fopen(path, "re");
    if (!file) return SK_FAIL(reterr, SK_EIO, "%s: cannot be opened: %s", path, strerror(errno));
    /* One byte more than allowed, to see that there is more. */
    char *text = malloc(SK__FILE_MAX + 1);
    errno = 0;
    size_t    size = text ? fread(text, 1, SK__FILE_MAX + 1, file) : 0;
    sk_status status = SK_OK;
    if (!text)
        status = SK__NO_MEMORY(reterr);
    else if (ferror(file))
        status = SK_FAIL(reterr, SK_EIO, "%s: cannot be read: %s", path, strerror(errno));
    fclose(file);
    if (status == SK_OK) status = create(text, size, path, overrides, n_overrides, ret_cfg, reterr);
    free(text);
    return status;
}

void sk_config_destroy(sk_config **self_p) {
    if (!self_p || !*self_p) return;
    sk__doc_deinit(&(*self_p)->doc);
    free(*self_p);
    *self_p = NULL;
}

/* --- look --- */

sk_status sk_config_peek(const sk_config *self, const char *path, const char *fallback, char *ret_text,
                         size_t size, sk_error *reterr) {
    SK_ASSERT(self && path && ret_text && size > 0);
    const sk__node *node = sk__node_at(self->doc.root, path);
    if (!node && !fallback) return SK_FAIL(reterr, SK_ECONFIG, "%s: \"%s\" must be given", self->name, path);
    if (node && node->kind == SK__NULL)
        return SK_FAIL(reterr, SK_ECONFIG, "%s: %s has no value", node->mark, path);
    if (node && node->kind != SK__SCALAR) {
        char got[SK__WORDS_MAX];
        sk__words_got(node, got);
        return SK_FAIL(reterr, SK_ECONFIG, "%s: %s must be a single word or number, got %s", node->mark, path,
                       got);
    }
    const char *text = node ? node->text : fallback;
    if (strlen(text) >= size)
        return SK_FAIL(reterr, SK_ECONFIG, "%s: %s has %zu bytes, wanted at most %zu",
                       node ? node->mark : self->name, path, strlen(text), size - 1);
    memcpy(ret_text, text, strlen(text) + 1);
    return SK_OK;
}

bool sk_config_given(const sk_config *self, const char *path) {
    return sk__node_at(self->doc.root, path) != NULL;
}

const char *sk_config_mark(const sk_config *self, const char *path) {
    const sk__node *node = sk__node_at(self->doc.root, path);
    return node ? node->name_mark : self->name;
}

/* --- bind --- */

/* Every key of all parts, in order, with what was read for it. */
typedef struct slot {
    const sk_key *key;
    void         *base; /* the struct it goes into */
    bool          filled;
    sk__value     value;
} slot;

typedef struct binding {
    sk_config *config;
    slot      *slots;
    int        n_slots;
    sk_error  *reterr;
} binding;

static slot *find_slot(const binding *b, const char *path) {
    for (int i = 0; i < b->n_slots; i++)
        if (!strcmp(b->slots[i].key->path, path)) return &b->slots[i];
    return NULL;
}

/* Is `path` a proper prefix of some key's path: "env_runners"? */
static bool is_section(const binding *b, const char *path) {
    size_t size = strlen(path);
    for (int i = 0; i < b->n_slots; i++)
        if (!strncmp(b->slots[i].key->path, path, size) && b->slots[i].key->path[size] == '.') return true;
    return false;
}

/* The key that a scalar at `section` stands for, or NULL. */
static const sk_key *shorthand_of(const binding *b, const char *section) {
    for (int i = 0; i < b->n_slots; i++)
        if (b->slots[i].key->shorthand && !strcmp(b->slots[i].key->shorthand, section))
            return b->slots[i].key;
    return NULL;
}

static const char *last_name(const char *path) {
    const char *dot = strrchr(path, '.');
    return dot ? dot + 1 : path;
}

/* The names of `prefix`'s children, sections included, in the document's memory. */
static int sibling_names(const binding *b, const char *prefix, const char **ret_names) {
    size_t size = strlen(prefix);
    int    n = 0;
    for (int i = 0; i < b->n_slots; i++) {
        const char *path = b->slots[i].key->path;
        if (size > 0 && (strncmp(path, prefix, size) != 0 || path[size] != '.')) continue;
        const char *name = path + size + (size > 0);
        ret_names[n] = sk__doc_printf(&b->config->doc, "%.*s", (int)strcspn(name, "."), name);
        if (ret_names[n]) n++;
    }
    return n;
}

/* The nearest known path to an unknown one: a key of that very name elsewhere (gamma: training.gamma),
 * a sibling, any key by its last name, any key by its whole path. NULL if none is near. */
static const char *nearest_path(const binding *b, const char *prefix, const char *name, const char *path) {
    const char **names = calloc((size_t)b->n_slots + 1, sizeof *names), *found = NULL;
    if (!names) return NULL;
    for (int i = 0; i < b->n_slots && !found; i++)
        if (!strcmp(last_name(b->slots[i].key->path), name)) found = b->slots[i].key->path;
    if (!found) {
        found = sk_nearest_name(name, names, sibling_names(b, prefix, names));
        if (found) found = sk__doc_printf(&b->config->doc, "%s%s%s", prefix, *prefix ? "." : "", found);
    }
    if (!found) {
        for (int i = 0; i < b->n_slots; i++) names[i] = last_name(b->slots[i].key->path);
        const char *last = sk_nearest_name(name, names, b->n_slots);
        for (int i = 0; i < b->n_slots && last && !found; i++)
            if (names[i] == last) found = b->slots[i].key->path;
    }
    if (!found) {
        for (int i = 0; i < b->n_slots; i++) names[i] = b->slots[i].key->path;
        found = sk_nearest_name(path, names, b->n_slots);
    }
    free(names);
    return found;
}

static sk_status fail_unknown(const binding *b, const char *prefix, const sk__node *node, const char *path) {
    char words[SK__WORDS_MAX];
    sk__words_quoted(path, words);
    if (strchr(node->name, '.'))
        return SK_FAIL(b->reterr, SK_ECONFIG,
                       "%s: unknown key %s; dots do not nest in a file, write \"a: {b: ...}\" for a.b",
                       node->name_mark, words);
    const char *nearest = nearest_path(b, prefix, node->name, path);
    if (!nearest) return SK_FAIL(b->reterr, SK_ECONFIG, "%s: unknown key %s", node->name_mark, words);
    return SK_FAIL(b->reterr, SK_ECONFIG, "%s: unknown key %s; did you mean \"%s\"?", node->name_mark, words,
                   nearest);
}

/* A section's node as a map: a scalar becomes {name: scalar} where a shorthand says so. */
static sk_status to_section(const binding *b, sk__node *node, const char *path) {
    const sk_key   *key = shorthand_of(b, path);
    const sk__node *scalar = node->kind == SK__SCALAR ? node : node->was;
    if (node->kind == SK__NULL || (node->kind == SK__MAP && !scalar)) return SK_OK;
    if (node->kind == SK__LIST || !key) {
        char got[SK__WORDS_MAX], wanted[SK__WORDS_MAX] = "";
        sk__words_got(scalar ? scalar : node, got);
        if (key) sk__words_wanted(key, wanted);
        return SK_FAIL(b->reterr, SK_ECONFIG, "%s: %s must be a map of keys%s%s, got %s",
                       scalar ? scalar->mark : node->mark, path, key ? " or " : "", wanted, got);
    }
    const char *name = last_name(key->path);
    if (!sk__node_child(node, name, strlen(name))) {
        sk__node *child = sk__doc_alloc(&b->config->doc, sizeof *child);
        if (!child) return SK__NO_MEMORY(b->reterr);
        *child = *scalar;
        child->name = name;
        child->next = node->kind == SK__MAP ? node->first : NULL;
        if (!child->next) node->last = child;
        node->first = child;
    }
    node->kind = SK__MAP;
    node->was = NULL;
    return SK_OK;
}

/* Everything the document gives below `map`, whose path is `prefix` ("" for the document). */
static sk_status bind_map(const binding *b, const sk__node *map, const char *prefix) {
    for (sk__node *child = map->first; child; child = child->next) {
        const char *path = sk__doc_printf(&b->config->doc, "%s%s%s", prefix, *prefix ? "." : "", child->name);
        if (!path) return SK__NO_MEMORY(b->reterr);
        bool  dotted = strchr(child->name, '.') != NULL;
        slot *s = dotted ? NULL : find_slot(b, path);
        if (s) {
            SK_TRY(sk__value_read(s->key, child, &s->value, b->reterr));
            s->filled = true;
        } else if (!dotted && is_section(b, path)) {
            SK_TRY(to_section(b, child, path));
            SK_TRY(bind_map(b, child, path));
        } else {
            return fail_unknown(b, prefix, child, path);
        }
    }
    return SK_OK;
}

/* A key that the document does not give. */
static sk_status bind_fallback(const binding *b, slot *s) {
    const sk_key *key = s->key;
    if (!key->fallback) {
        char wanted[SK__WORDS_MAX];
        sk__words_wanted(key, wanted);
        return SK_FAIL(b->reterr, SK_ECONFIG, "%s: the key \"%s\" is missing, wanted %s (%s)",
                       b->config->name, key->path, wanted, key->help ? key->help : "");
    }
    s->filled = true;
    if (key->type == SK_KEY_STRING && !*key->fallback) {
        s->value.text = "";
        return SK_OK;
    }
    const char *name = sk__doc_printf(&b->config->doc, "default of %s", key->path);
    if (!name) return SK__NO_MEMORY(b->reterr);
    sk__node *node = NULL;
    SK_TRY(sk__doc_parse(&b->config->doc, key->fallback, strlen(key->fallback), (sk__source){.name = name},
                         &node, b->reterr));
    return sk__value_read(key, node, &s->value, b->reterr);
}

static sk_status bind_all(const binding *b) {
    SK_TRY(bind_map(b, b->config->doc.root, ""));
    for (int i = 0; i < b->n_slots; i++)
        if (!b->slots[i].filled) SK_TRY(bind_fallback(b, &b->slots[i]));
    return SK_OK;
}

/* The tables are the program's own text: what is wrong in them is a programmer's mistake. */
static void check_tables(const binding *b) {
    for (int i = 0; i < b->n_slots; i++) {
        const sk_key *key = b->slots[i].key;
        SK_ASSERT(key->path && find_slot(b, key->path) == &b->slots[i]); /* declared once     */
        SK_ASSERT(!is_section(b, key->path));                            /* a key or a prefix */
        SK_ASSERT(key->type != SK_KEY_ENUM || key->choices);
        size_t size = key->shorthand ? strlen(key->shorthand) : 0;
        SK_ASSERT(size == 0 || (!strncmp(key->path, key->shorthand, size) && key->path[size] == '.' &&
                                last_name(key->path) == key->path + size + 1));
    }
}

sk_status sk_config_bind(sk_config *self, const sk_config_part *parts, int n_parts, sk_error *reterr) {
    SK_ASSERT(self && (parts || n_parts == 0));
    binding b = {.config = self, .reterr = reterr};
    for (int p = 0; p < n_parts; p++) b.n_slots += parts[p].n_keys;
    b.slots = calloc((size_t)b.n_slots + 1, sizeof *b.slots);
    if (!b.slots) return SK__NO_MEMORY(reterr);
    slot *s = b.slots;
    for (int p = 0; p < n_parts; p++)
        for (int k = 0; k < parts[p].n_keys; k++, s++)
            *s = (slot){.key = &parts[p].keys[k], .base = parts[p].base};
    check_tables(&b);

    sk__locale locale = sk__locale_enter();
    sk_status  status = bind_all(&b);
    sk__locale_leave(&locale);
    for (int i = 0; i < b.n_slots && status == SK_OK; i++)
        memcpy((char *)b.slots[i].base + b.slots[i].key->offset, &b.slots[i].value,
               sk__key_size(b.slots[i].key->type));
    free(b.slots);
    return status;
}

/* --- helpers without a config --- */

double sk_schedule_at(const sk_schedule *self, double env_step) {
    SK_ASSERT(self);
    int last = self->n - 1;
    if (last < 0) return 0;
    if (!(env_step > self->step[0])) return self->value[0];
    for (int i = 1; i <= last; i++) {
        if (env_step == self->step[i]) return self->value[i];
        if (env_step > self->step[i]) continue;
        double t = (env_step - self->step[i - 1]) / (self->step[i] - self->step[i - 1]);
        return self->value[i - 1] + t * (self->value[i] - self->value[i - 1]);
    }
    return self->value[last];
}

/* Levenshtein's distance of two texts of at most NEAR_MAX bytes, one row of the table at a time. */
enum { NEAR_MAX = 128 };
static int distance(const char *a, size_t a_size, const char *b, size_t b_size) {
    int row[NEAR_MAX + 1];
    for (size_t j = 0; j <= b_size; j++) row[j] = (int)j;
    for (size_t i = 0; i < a_size; i++) {
        int diagonal = row[0];
        row[0] = (int)i + 1;
        for (size_t j = 0; j < b_size; j++) {
            int swap = diagonal + (a[i] != b[j]), shorter = row[j] < row[j + 1] ? row[j] : row[j + 1];
            diagonal = row[j + 1];
            row[j + 1] = swap < shorter + 1 ? swap : shorter + 1;
        }
    }
    return row[b_size];
}

const char *sk_nearest_name(const char *name, const char *const *names, int n_names) {
    SK_ASSERT(name && (names || n_names == 0));
    size_t      size = strlen(name);
    int         best = (int)(size / 3) + 2; /* one more than allowed */
    const char *found = NULL;
    for (int i = 0; i < n_names && size <= NEAR_MAX; i++) {
        size_t other = strlen(names[i]), gap = other > size ? other - size : size - other;
        if (other > NEAR_MAX || gap >= (size_t)best) continue;
        int d = distance(name, size, names[i], other);
        if (d >= best) continue;
        best = d;
        found = names[i];
    }
    return found;
}
