/* Imports of a service elsewhere: what is below /latchkey/v1/imports. Errors are those of
 * cli/remote.h. */
#ifndef LK_CLI_REMOTE_IMPORT_H
#define LK_CLI_REMOTE_IMPORT_H

#include "cli/remote.h"
#include "provision/import.h"

/* At most limit of them, the latest first, before the import `before` (0: from the latest). */
LK_MUST_CHECK enum lk_err
lk_remote_imports(struct lk_remote *r, int64_t before, size_t limit,
                  enum lk_err (*each)(void *ctx, const struct lk_import *), void *ctx);
/* As lk_import_undo(), with as many calls as it takes. */
LK_MUST_CHECK enum lk_err lk_remote_import_undo(struct lk_remote *r, int64_t import_id, bool force,
                                                void (*progress)(void *ctx, int64_t rows_removed),
                                                void *ctx, struct lk_import_undone *ret);

#endif
