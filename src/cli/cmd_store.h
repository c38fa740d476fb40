/* What the files of `latchkey store` share. */
#ifndef LK_CLI_CMD_STORE_H
#define LK_CLI_CMD_STORE_H

#include "cli/options.h"
#include "cli/service.h"

/* store_numbers.c */
int lk_cmd_store_status(int argc, char **argv);
int lk_cmd_store_verify(int argc, char **argv);

#endif
