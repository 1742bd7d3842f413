/* fuzz: what the fuzz targets share. A target is one function that takes any bytes; it is linked either with libFuzzer,
 * which makes them up, or with replay.c, which feeds it the files of its corpus. It may refuse its input but not crash,
 * hang, leak, or break a promise it checks with FUZZ_CHECK. */
#ifndef SK_TESTS_FUZZ_FUZZ_H
#define SK_TESTS_FUZZ_FUZZ_H
#include "core/base/pack.h"
#include "core/base/status.h"
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Print and abort: to both drivers a crash. */
#define FUZZ_CHECK(cond) SK_ASSERT(cond)
/* A failure has a status and a text, a success has none. */
static inline void fuzz_check_status(sk_status status, const sk_error *err) {
    FUZZ_CHECK(status == SK_OK || (err->status == status && err->msg[0]));
}

/* An input of a container target: a whole file, recognised by its magic, whose checksum is made right; or, easier to
 * mutate, the JSON text, a zero byte, the body, of which head, padding and checksum are made here. The bytes are the
 * caller's to free. */
uint8_t *fuzz_pack(const uint8_t *data, size_t size, sk_pack_kind kind, size_t *ret_size);

/* A folder that goes at exit with everything in it. */
const char *fuzz_folder(void);
/* Write a file anew. */
void fuzz_write(const char *path, const void *bytes, size_t size);
/* From here on standard output goes nowhere. */
void fuzz_mute(void);

#endif
