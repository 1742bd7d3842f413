/* reference: the pages of docs/ that are made from the program's own tables. A test compares them with the
 * files. */
#ifndef SK_CLI_REFERENCE_H
#define SK_CLI_REFERENCE_H
#include "core/base/status.h"

/* Every metric (docs/metrics.md); every config key, the common ones and each algorithm's (docs/config.md).
 * Markdown. Caller frees *ret_text. SK_ENOMEM. */
SK_NODISCARD sk_status sk_reference_metrics(char **ret_text, sk_error *reterr);
SK_NODISCARD sk_status sk_reference_config(char **ret_text, sk_error *reterr);

#endif
