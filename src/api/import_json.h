/*
 * The JSON of imports below /latchkey/v1, each encoder beside its decoder:
 *
 *   GET    imports?before&limit  {imports: [{id, state, rows, begunDateTimeUtc,
 *                                touchedDateTimeUtc, source}]}, the latest first, before the
 *                                import `before`
 *   DELETE imports/{id}?force=1  undo it or give it up: {unfinished, gone, kept, left}. While left,
 *                                the same call removes more of its rows
 */
#ifndef LK_API_IMPORT_JSON_H
#define LK_API_IMPORT_JSON_H

#include "base/json.h"
#include "provision/import.h"

#define LK_IMPORT_UNDO_ROWS 500u /* removed by one call, so that the writer is soon free again */

/* All decoders: LK_ERR_FORMAT when object is not what the encoder makes. */

/* Without the scope. */
LK_MUST_CHECK enum lk_err lk_import_entry_put(const struct lk_import *i, json_t *object);
LK_MUST_CHECK enum lk_err lk_import_entry_parse(const json_t *object, struct lk_import *ret);

LK_MUST_CHECK enum lk_err lk_import_undone_put(const struct lk_import_undone *u, bool left,
                                               json_t *object);
LK_MUST_CHECK enum lk_err lk_import_undone_parse(const json_t *object, struct lk_import_undone *ret,
                                                 bool *ret_left);

#endif
