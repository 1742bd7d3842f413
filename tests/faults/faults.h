/* faults: makes the n-th call of some functions fail, where skiff's own code makes it. The linker sends those calls here
 * (-Wl,--wrap, see meson.build), so libraries are not touched: ZeroMQ aborts where memory is short. jansson is,
 * but for its parser, since it takes its memory from functions it is given.
 *
 * Threads: calls are counted in all of them. */
#ifndef SK_TESTS_FAULTS_FAULTS_H
#define SK_TESTS_FAULTS_FAULTS_H
#include <stddef.h>

typedef enum fault_kind {
    FAULT_MEMORY, /* malloc and its like give NULL                                          */
    FAULT_SYSTEM  /* threads, mappings, descriptors, sockets: as the system refuses them    */
} fault_kind;

/* Let call number `n` (from 0) of this kind fail, counted from now. */
void fault_arm(fault_kind kind, long n);
/* Stop; 1 = it came to that. *ret_what (nullable): the function that failed. */
int fault_disarm(const char **ret_what);
/* Where that call stood, for addr2line. */
void *fault_caller(void);
/* Blocks taken by skiff and not given back. */
long fault_n_live(void);
/* Have jansson use these functions too. */
void fault_take_jansson(void);

#endif
