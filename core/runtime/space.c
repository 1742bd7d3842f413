#include "core/runtime/space.h"
#include <stdlib.h>
#include <string.h>

enum { LINE = 64, PAGE = 4096, LARGE = 1 << 20, NIL = 0 };

struct sk_space_hole {
    uint64_t offset, size;
    uint64_t largest; /* of this one and all below           */
    uint32_t left, right;
    uint32_t rank;    /* random; never below its children's. Unused nodes: the next of the list is `left` */
};

uint64_t sk_space_round(uint64_t size) {
    uint64_t unit = size < LARGE ? LINE : PAGE;
    return (size + unit - 1) / unit * unit;
}

/* ---- holes: a treap ordered by offset -------------------------------------------------------------------- */
static void refresh(sk_space *self, uint32_t at) {
    sk_space_hole *h = self->holes;
    uint64_t left = h[h[at].left].largest, right = h[h[at].right].largest;
    h[at].largest = left > right ? left : right;
    if (h[at].size > h[at].largest) h[at].largest = h[at].size;
}

/* Join two trees, all of `a` before all of `b`; the root of both. */
static uint32_t join(sk_space *self, uint32_t a, uint32_t b) {
    if (a == NIL || b == NIL) return a == NIL ? b : a;
    sk_space_hole *h = self->holes;
    uint32_t top = h[a].rank >= h[b].rank ? a : b;
    if (top == a)
        h[a].right = join(self, h[a].right, b);
    else
        h[b].left = join(self, a, h[b].left);
    refresh(self, top);
    return top;
}

/* Part the tree at `offset`, which no hole has. */
static void part(sk_space *self, uint32_t at, uint64_t offset, uint32_t *ret_before, uint32_t *ret_after) {
    if (at == NIL) {
        *ret_before = *ret_after = NIL;
        return;
    }
    sk_space_hole *hole = &self->holes[at];
    if (hole->offset < offset) {
        part(self, hole->right, offset, &hole->right, ret_after);
        *ret_before = at;
    } else {
        part(self, hole->left, offset, ret_before, &hole->left);
        *ret_after = at;
    }
    refresh(self, at);
}

static uint32_t take_node(sk_space *self, uint64_t offset, uint64_t size) {
    uint32_t at = self->unused;
    SK_ASSERT(at != NIL); /* make_room saw to it */
    self->unused = self->holes[at].left;
    self->random ^= self->random << 13; /* xorshift32 */
    self->random ^= self->random >> 17;
    self->random ^= self->random << 5;
    self->holes[at] = (sk_space_hole){.offset = offset, .size = size, .largest = size, .rank = self->random};
    return at;
}

static void drop_node(sk_space *self, uint32_t at) {
    self->holes[at] = (sk_space_hole){.left = self->unused};
    self->unused = at;
}

static void insert_hole(sk_space *self, uint64_t offset, uint64_t size) {
    uint32_t before, after;
    part(self, self->root, offset, &before, &after);
    self->root = join(self, join(self, before, take_node(self, offset, size)), after);
}

/* Take the hole at `offset` out of the tree; its new root. */
static uint32_t remove_hole(sk_space *self, uint32_t at, uint64_t offset) {
    SK_ASSERT(at != NIL);
    sk_space_hole *hole = &self->holes[at];
    if (hole->offset == offset) {
        uint32_t rest = join(self, hole->left, hole->right);
        drop_node(self, at);
        return rest;
    }
    if (offset < hole->offset)
        hole->left = remove_hole(self, hole->left, offset);
    else
        hole->right = remove_hole(self, hole->right, offset);
    refresh(self, at);
    return at;
}

/* Cut `size` bytes off the front of the lowest hole that has them (there is one); the tree's new root. */
static uint32_t cut_lowest(sk_space *self, uint32_t at, uint64_t size, uint64_t *ret_offset) {
    sk_space_hole *hole = &self->holes[at];
    if (self->holes[hole->left].largest >= size) {
        hole->left = cut_lowest(self, hole->left, size, ret_offset);
    } else if (hole->size >= size) {
        *ret_offset = hole->offset;
        hole->offset += size; /* stays where it is in the order */
        hole->size -= size;
        if (hole->size == 0) {
            uint32_t rest = join(self, hole->left, hole->right);
            drop_node(self, at);
            return rest;
        }
    } else {
        hole->right = cut_lowest(self, hole->right, size, ret_offset);
    }
    refresh(self, at);
    return at;
}

/* The holes on both sides of `offset`; NIL: none. */
static void find_neighbours(const sk_space *self, uint64_t offset, uint32_t *ret_before, uint32_t *ret_after) {
    *ret_before = *ret_after = NIL;
    for (uint32_t at = self->root; at != NIL;) {
        const sk_space_hole *hole = &self->holes[at];
        if (hole->offset < offset) {
            *ret_before = at;
            at = hole->right;
        } else {
            *ret_after = at;
            at = hole->left;
        }
    }
}

/* ---- pieces: a hash table by offset ---------------------------------------------------------------------- */
static uint64_t home_of(const sk_space *self, uint64_t offset) {
    uint64_t mixed = offset / LINE * UINT64_C(0x9e3779b97f4a7c15); /* 2^64 / golden ratio */
    return (mixed >> 32) & (self->pieces_cap - 1);
}

/* The entry of that offset, or the empty one where it would go. */
static uint64_t find_entry(const sk_space *self, uint64_t offset) {
    uint64_t at = home_of(self, offset);
    while (self->pieces[at].size != 0 && self->pieces[at].offset != offset) at = (at + 1) & (self->pieces_cap - 1);
    return at;
}

/* Empty an entry and move up those behind it that would be found no more. */
static void remove_entry(sk_space *self, uint64_t empty) {
    uint64_t mask = self->pieces_cap - 1;
    for (uint64_t at = (empty + 1) & mask; self->pieces[at].size != 0; at = (at + 1) & mask) {
        uint64_t home = home_of(self, self->pieces[at].offset);
        if (((at - home) & mask) < ((at - empty) & mask)) continue; /* its home lies behind the empty one */
        self->pieces[empty] = self->pieces[at];
        empty = at;
    }
    self->pieces[empty] = (sk_space_piece){0};
}

static sk_status grow_pieces(sk_space *self, sk_error *reterr) {
    sk_space old = *self;
    sk_space_piece *more = calloc(old.pieces_cap * 2, sizeof *more);
    if (!more)
        return SK_FAIL(reterr, SK_ENOMEM, "no memory for a list of %llu pieces", (unsigned long long)old.n_pieces);
    self->pieces = more;
    self->pieces_cap = old.pieces_cap * 2;
    for (uint64_t i = 0; i < old.pieces_cap; i++)
        if (old.pieces[i].size != 0) self->pieces[find_entry(self, old.pieces[i].offset)] = old.pieces[i];
    free(old.pieces);
    return SK_OK;
}

static sk_status grow_holes(sk_space *self, sk_error *reterr) {
    uint32_t cap = self->holes_cap * 2;
    sk_space_hole *more = cap > self->holes_cap ? realloc(self->holes, cap * sizeof *more) : NULL;
    if (!more) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a list of %u holes", self->holes_cap);
    self->holes = more;
    uint32_t first = self->holes_cap;
    self->holes_cap = cap;
    for (uint32_t at = cap - 1; at >= first; at--) drop_node(self, at);
    return SK_OK;
}

/* For one more piece, now and when it is given back: n pieces leave at most n + 1 holes. */
static sk_status make_room(sk_space *self, sk_error *reterr) {
    if ((self->n_pieces + 1) * 4 > self->pieces_cap * 3) SK_TRY(grow_pieces(self, reterr));
    if (self->n_pieces + 3 > self->holes_cap) SK_TRY(grow_holes(self, reterr));
    return SK_OK;
}

/* ---- the whole ------------------------------------------------------------------------------------------- */
sk_status sk_space_init(sk_space *self, uint64_t size, sk_error *reterr) {
    SK_ASSERT(self && size > 0 && size % PAGE == 0);
    enum { FIRST_CAP = 64 };
    *self = (sk_space){.size = size, .random = 2463534242u, .holes_cap = FIRST_CAP, .pieces_cap = FIRST_CAP};
    self->holes = calloc(FIRST_CAP, sizeof *self->holes);
    self->pieces = calloc(FIRST_CAP, sizeof *self->pieces);
    if (!self->holes || !self->pieces) {
        sk_space_deinit(self);
        return SK_FAIL(reterr, SK_ENOMEM, "no memory for the books of a store");
    }
    for (uint32_t at = FIRST_CAP - 1; at > NIL; at--) drop_node(self, at);
    insert_hole(self, 0, size);
    return SK_OK;
}

void sk_space_deinit(sk_space *self) {
    free(self->holes);
    free(self->pieces);
    *self = (sk_space){0};
}

uint64_t sk_space_largest(const sk_space *self) { return self->holes[self->root].largest; }

sk_status sk_space_take(sk_space *self, uint64_t size, uint64_t *ret_offset, sk_error *reterr) {
    SK_ASSERT(self && size > 0 && ret_offset);
    if (size > sk_space_largest(self)) return SK_ELIMIT;
    uint64_t rounded = sk_space_round(size);
    if (rounded > sk_space_largest(self)) return SK_ELIMIT;
    SK_TRY(make_room(self, reterr));
    self->root = cut_lowest(self, self->root, rounded, ret_offset);
    self->pieces[find_entry(self, *ret_offset)] = (sk_space_piece){*ret_offset, size};
    self->n_pieces++;
    self->used += rounded;
    return SK_OK;
}

bool sk_space_owns(const sk_space *self, uint64_t offset, uint64_t size) {
    if (size == 0 || self->n_pieces == 0) return false;
    const sk_space_piece *found = &self->pieces[find_entry(self, offset)];
    return found->size == size && found->offset == offset;
}

void sk_space_give_back(sk_space *self, uint64_t offset, uint64_t size) {
    SK_ASSERT(self && sk_space_owns(self, offset, size));
    remove_entry(self, find_entry(self, offset));
    self->n_pieces--;
    uint64_t rounded = sk_space_round(size), end = offset + rounded;
    self->used -= rounded;

    /* Become one with the holes it touches. */
    uint32_t before, after;
    find_neighbours(self, offset, &before, &after);
    sk_space_hole left = self->holes[before], right = self->holes[after];
    if (before != NIL && left.offset + left.size == offset) {
        self->root = remove_hole(self, self->root, left.offset);
        offset = left.offset;
    }
    if (after != NIL && right.offset == end) {
        self->root = remove_hole(self, self->root, right.offset);
        end += right.size;
    }
    insert_hole(self, offset, end - offset);
}
