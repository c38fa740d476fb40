/* What the programs add to <latchkey/err.h>: how each code leaves the process. */
#ifndef LK_BASE_ERR_H
#define LK_BASE_ERR_H

#include <latchkey/err.h>

/* HTTP status for err, 200 for LK_OK. */
int lk_err_http_status(enum lk_err err);

/* Process exit code for err (sysexits.h where one fits), 0 for LK_OK. */
int lk_err_exit_code(enum lk_err err);

#endif
