/*
 * What the subcommands of `latchkey` share. Results go to stdout, messages to stderr; secrets come
 * from a file or stdin, never from an argument.
 *
 * A subcommand is a function `int (*)(int argc, char **argv)` that gets its own name as argv[0] and
 * returns the process's exit code. To add one: write src/cli/cmd_<name>.c with lk_cmd_<name>(),
 * declare it below and give it a row in main.c.
 */
#ifndef LK_CLI_CLI_H
#define LK_CLI_CLI_H

#include <stdio.h>

#include "base/err.h"
#include "base/json.h"

/* One row of a table of commands. A row without a name ends the table. */
struct lk_command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help; /* one line, without a full stop; NULL: another spelling, not shown */
};

/*
 * Run the row that argv[1] names, with argv shifted by one. `help`, `--help` and `-h` print the
 * table to stdout; no command or an unknown one prints it to stderr and is a usage error. path is
 * how the user reached this table, for example "latchkey device".
 */
int lk_cli_dispatch(const struct lk_command *table, const char *path, int argc, char **argv);

/* Print "latchkey: <text>" and the usage line to stderr; returns the exit code of a usage error. */
int lk_cli_usage(const char *usage, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Print "latchkey: <text>: <what err means>" to stderr; returns err's exit code. */
int lk_cli_fail(enum lk_err err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Print "latchkey: <text>" to stderr, for what is no failure. */
void lk_cli_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Print one JSON document in ASCII and a newline to stdout; the exit code of a failure, 0 if all is
 * well. */
int lk_cli_print_json(const json_t *value);

/* Append the same to out. Takes over value, which may be NULL: LK_ERR_NOMEM then. */
LK_MUST_CHECK enum lk_err lk_cli_put_json(struct lk_buf *out, json_t *value);

#define LK_CLI_SECRET_MAX 4096u /* bytes of a secret that comes from a file */

/*
 * Read a secret from the file at path, or from stdin for "-". One final newline is not part of it.
 * Appended to ret, which gets LK_CLI_SECRET_MAX as its limit. LK_ERR_IO, LK_ERR_LIMIT,
 * LK_ERR_NOMEM; LK_ERR_FORMAT when there is a NUL in it.
 */
LK_MUST_CHECK enum lk_err lk_cli_secret_read(const char *path, struct lk_buf *ret);

/* Read a whole file, or stdin for "-", of at most max bytes. Errors as lk_cli_secret_read(), which
 * differs only in the final newline. */
LK_MUST_CHECK enum lk_err lk_cli_file_read(const char *path, size_t max, struct lk_buf *ret);

/* The same for a file that is no text: a NUL is a byte like others. */
LK_MUST_CHECK enum lk_err lk_cli_bytes_read(const char *path, size_t max, struct lk_buf *ret);

/*
 * Flush stdout and tell whether everything got there: a full disk or a closed pipe is a failure.
 * Returns code when it did, the exit code of LK_ERR_IO otherwise.
 */
int lk_cli_finish(int code);

/* The subcommands. */
int lk_cmd_audit(int argc, char **argv);
int lk_cmd_device(int argc, char **argv);
int lk_cmd_doctor(int argc, char **argv);
int lk_cmd_enrollment(int argc, char **argv);
int lk_cmd_group(int argc, char **argv);
int lk_cmd_hub(int argc, char **argv);
int lk_cmd_init(int argc, char **argv);
int lk_cmd_key(int argc, char **argv);
int lk_cmd_policy(int argc, char **argv);
int lk_cmd_registration(int argc, char **argv);
int lk_cmd_scope(int argc, char **argv);
int lk_cmd_store(int argc, char **argv);
int lk_cmd_trust(int argc, char **argv);

#endif
