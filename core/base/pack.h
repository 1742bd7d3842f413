/* pack: the one file container of skiff (policies, checkpoints). Versioned, checksummed, code-free,
 * little-endian; docs/formats.md has the layout. A file is a JSON text (jansson) plus named byte sections.
 *
 *   magic "SKIFFPK1" | u32 kind | u32 version | u64 json_bytes | u64 body_bytes | json | sections (each
 *   at a multiple of 64) | SHA-256 of everything before it
 *
 * Writing is atomic: a temporary file in the same folder, fsync, rename, fsync of the folder; after any
 * failure the old file is untouched and the temporary one is gone.
 * Threads: one owner. */
#ifndef SK_BASE_PACK_H
#define SK_BASE_PACK_H
#include "core/base/status.h"
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

typedef enum sk_pack_kind { SK_PACK_POLICY = 1, SK_PACK_CHECKPOINT = 2 } sk_pack_kind;

typedef struct sk_pack_writer sk_pack_writer;
typedef struct sk_pack sk_pack; /* a file that was read, checked and is held in memory */

/* Start a file of `kind` at `version` (>= 1). Caller destroys. */
SK_NODISCARD sk_status sk_pack_writer_create(sk_pack_kind kind, uint32_t version,
                                             sk_pack_writer **ret_writer, sk_error *reterr);
void sk_pack_writer_destroy(sk_pack_writer **self_p);
/* The JSON object at the head, to be filled by the caller. Borrowed until destroy. The key
 * "sections" is the container's own. */
json_t *sk_pack_writer_json(sk_pack_writer *self);
/* Add bytes under a name not used before. Copied. */
SK_NODISCARD sk_status sk_pack_writer_add(sk_pack_writer *self, const char *name, const void *bytes,
                                          size_t size, sk_error *reterr);
/* The same without a copy, for what is large: `n_runs` runs of `run_bytes`, each beginning `stride` bytes after the one
 * before it, as one section. Borrowed: must stay as it is until the file is saved or the writer destroyed. */
SK_NODISCARD sk_status sk_pack_writer_add_borrowed(sk_pack_writer *self, const char *name, const void *bytes,
                                                   size_t run_bytes, size_t stride, size_t n_runs, sk_error *reterr);
/* Write all of it to `path`, atomically. SK_EIO names the path and what the system said. */
SK_NODISCARD sk_status sk_pack_writer_save(sk_pack_writer *self, const char *path, sk_error *reterr);

/* Read and check a file: size, magic, kind, version <= max_version, checksum, section bounds. Sizes are
 * checked before anything is allocated. SK_EIO, SK_ECORRUPT, SK_EVERSION (names both). Caller destroys. */
SK_NODISCARD sk_status sk_pack_load(const char *path, sk_pack_kind kind, uint32_t max_version,
                                    sk_pack **ret_pack, sk_error *reterr);
/* The same from memory (for fuzzing and embedded files). `bytes` is copied. `name` is for messages. */
SK_NODISCARD sk_status sk_pack_parse(const void *bytes, size_t size, const char *name, sk_pack_kind kind,
                                     uint32_t max_version, sk_pack **ret_pack, sk_error *reterr);
void sk_pack_destroy(sk_pack **self_p);
const json_t *sk_pack_json(const sk_pack *self);  /* Borrowed until destroy. */
uint32_t      sk_pack_version(const sk_pack *self);
/* A section that must be there with exactly `size` bytes (SIZE_MAX: any size; *ret_size tells).
 * 64-byte aligned, borrowed until destroy. SK_ECORRUPT names the section, got, wanted. */
SK_NODISCARD sk_status sk_pack_section(const sk_pack *self, const char *name, size_t size,
                                       const void **ret_bytes, size_t *ret_size, sk_error *reterr);

/* A JSON value as compact text, whole or not at all: where memory is short, json_dumps leaves characters out and says
 * nothing. Caller frees; NULL: no memory. */
char *sk_json_text(const json_t *json);

/* Lower-case hex SHA-256 of `bytes` into ret_hex[65]. */
void sk_sha256_hex(const void *bytes, size_t size, char ret_hex[65]);
/* Write text to a file as atomically as above. */
SK_NODISCARD sk_status sk_file_write_atomic(const char *path, const void *bytes, size_t size, sk_error *reterr);

#endif
