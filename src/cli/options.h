/* Reading the options of one command, and how values are shown: the same for all that work on the
 * store. */
#ifndef LK_CLI_OPTIONS_H
#define LK_CLI_OPTIONS_H

#include <getopt.h>

#include "cli/cli.h"

/* What the options of every such command gave. Borrowed from argv. */
struct lk_cli_common {
    const char *config; /* NULL: where lk_cli_service_open() looks */
    const char *scope;  /* NULL: the only one there is */
    bool json;
    /* A service elsewhere (service.h); NULL: what the environment says. */
    const char *profile, *connection, *ca_file;
};

/* Values of getopt_long(); a command's own begin at LK_CLI_OPT_COMMAND. */
enum {
    LK_CLI_OPT_CONFIG = 512,
    LK_CLI_OPT_SCOPE,
    LK_CLI_OPT_JSON,
    LK_CLI_OPT_PROFILE,
    LK_CLI_OPT_CONNECTION,
    LK_CLI_OPT_CA_FILE,
    LK_CLI_OPT_HELP,
    LK_CLI_OPT_COMMAND
};

/* Rows of a command's table. The last two belong to every table. */
#define LK_CLI_SCOPE_OPTION                                                                        \
    {                                                                                              \
        "scope", required_argument, NULL, LK_CLI_OPT_SCOPE                                         \
    }
#define LK_CLI_JSON_OPTION                                                                         \
    {                                                                                              \
        "json", no_argument, NULL, LK_CLI_OPT_JSON                                                 \
    }
#define LK_CLI_CONFIG_OPTION                                                                       \
    {                                                                                              \
        "config", required_argument, NULL, LK_CLI_OPT_CONFIG                                       \
    }
/* clang-format off */
/* In place of it where a command works on a service elsewhere too. */
#define LK_CLI_SERVICE_OPTIONS                                                                     \
    LK_CLI_CONFIG_OPTION,                                                                          \
    {"profile", required_argument, NULL, LK_CLI_OPT_PROFILE},                                      \
    {"connection", required_argument, NULL, LK_CLI_OPT_CONNECTION},                                \
    {"ca-file", required_argument, NULL, LK_CLI_OPT_CA_FILE}
/* clang-format on */
#define LK_CLI_END_OPTIONS                                                                         \
    {"help", no_argument, NULL, LK_CLI_OPT_HELP},                                                  \
    {                                                                                              \
        NULL, 0, NULL, 0                                                                           \
    }

/* Their lines of a --help text. */
#define LK_CLI_SCOPE_HELP "  --scope ID               ID scope; not needed when there is only one\n"
#define LK_CLI_JSON_HELP "  --json                   as JSON, one object a line\n"
#define LK_CLI_CONFIG_HELP                                                                         \
    "  --config FILE            default $LATCHKEY_CONFIG, else /etc/latchkey/latchkeyd.conf\n"

#define LK_CLI_SERVICE_HELP                                                                        \
    "\nSERVICE is that of this machine, or one that is reached over the network:\n"                \
    "  --config FILE            this machine's; default $LATCHKEY_CONFIG, else\n"                  \
    "                           /etc/latchkey/latchkeyd.conf\n"                                    \
    "  --profile NAME           one of ~/.config/latchkey/profiles.conf; default\n"                \
    "                           $LATCHKEY_PROFILE\n"                                               \
    "  --connection FILE|-      the one whose connection string a file or stdin holds; default\n"  \
    "                           the string in $LATCHKEY_CONNECTION_STRING\n"                       \
    "  --ca-file FILE           who signed its certificate; default $LATCHKEY_CA_FILE, else the\n" \
    "                           profile's ca-file, else the system's authorities\n"

/* A command's form. */
struct lk_cli_form {
    const char *usage; /* without "usage: " */
    const char *help;  /* what --help prints below it */
    const struct option *options;
    int words_min, words_max; /* arguments that are no options */
    /* Takes an option of the command's own. LK_ERR_ARG: its value is not acceptable. May be NULL.
     */
    enum lk_err (*take)(void *ctx, int option, const char *value);
};

/*
 * Read the command line; ctx is handed to form->take. True to go on, with the words that are no
 * options at argv[optind]. False when the command is over, with its exit code in *ret_code: --help
 * has been printed, or the mistake told.
 */
LK_MUST_CHECK bool lk_cli_options(const struct lk_cli_form *form, int argc, char **argv,
                                  struct lk_cli_common *common, void *ctx, int *ret_code);

/* A number of an option, from min to max; LK_ERR_ARG. */
LK_MUST_CHECK enum lk_err lk_cli_number(const char *value, uint64_t min, uint64_t max,
                                        uint64_t *ret);

#define LK_CLI_SHOWN_CAP 1040u /* bytes of a shown text with its NUL */

/*
 * text as a terminal may see it: everything but printable ASCII is \xNN, a backslash is doubled,
 * and what is longer than buf ends in an ellipsis. For whatever a stranger chose. Returns buf.
 */
const char *lk_cli_shown(const char *text, char buf[LK_CLI_SHOWN_CAP]);

/* A JSON string of text: as it is when it is UTF-8, else as shown. NULL when out of memory. */
json_t *lk_cli_json_text(const char *text);

/* Unix milliseconds as RFC 3339 in UTC to the millisecond; "-" for 0. Returns buf. */
#define LK_CLI_TIME_CAP 32u
const char *lk_cli_time(int64_t unix_ms, char buf[LK_CLI_TIME_CAP]);

#endif
