/* registry: the named functions and classes of a process: those of the program and those of its plugins. Across
 * processes a function is named by the hash of its name.
 *
 * Threads: filled by one; then read by all. */
#ifndef SK_RUNTIME_REGISTRY_H
#define SK_RUNTIME_REGISTRY_H
#include "skiff/skiff.h"

typedef struct sk_registry sk_registry;

/* One name: a task or a class. */
typedef struct sk_function {
    uint64_t              hash;
    const char           *name;
    sk_task_fn            run;        /* NULL: it is a class            */
    const sk_actor_class *cls;        /* NULL: it is a task             */
    bool                  in_plugin;
    int                   index;      /* 0 .. n-1 in order of adding    */
} sk_function;

SK_NODISCARD sk_status sk_registry_create(sk_registry **ret_registry, sk_error *reterr);
void sk_registry_destroy(sk_registry **self_p); /* closes plugins */
/* Add all of a module. SK_EVERSION: its abi; SK_EINVAL: a name that is empty, longer than 63 bytes or known already
 * (names both modules), a function that is NULL. */
SK_NODISCARD sk_status sk_registry_add_module(sk_registry *self, const sk_module *module, sk_error *reterr);
/* Open a shared library and add its module. SK_EIO: what the loader says; SK_ENOTFOUND: it has no skiff_module. */
SK_NODISCARD sk_status sk_registry_add_plugin(sk_registry *self, const char *path, sk_error *reterr);
/* Borrowed until destroy; NULL: no such. */
const sk_function *sk_registry_find(const sk_registry *self, uint64_t hash);
/* By name; SK_ENOTFOUND names the nearest or lists the known. */
typedef enum sk_function_kind { SK_FUNCTION_TASK, SK_FUNCTION_CLASS } sk_function_kind;
SK_NODISCARD sk_status sk_registry_find_name(const sk_registry *self, sk_function_kind kind, const char *name,
                                             const sk_function **ret_function, sk_error *reterr);
int                sk_registry_n(const sk_registry *self);
const sk_function *sk_registry_at(const sk_registry *self, int index);
uint64_t           sk_function_hash(const char *name); /* FNV-1a, never 0 */

#endif
