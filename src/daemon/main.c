/* latchkeyd: the provisioning service. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "base/err.h"
#include "base/json.h"
#include "crypto/crypto.h"
#include "daemon/daemon.h"

enum { OPT_CHECK = 256, OPT_DEFAULTS, OPT_VERSION, OPT_MAN_ROWS };

static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                        {"check-config", no_argument, NULL, OPT_CHECK},
                                        {"default-config", no_argument, NULL, OPT_DEFAULTS},
                                        {"help", no_argument, NULL, 'h'},
                                        {"version", no_argument, NULL, OPT_VERSION},
                                        {"man-rows", no_argument, NULL, OPT_MAN_ROWS},
                                        {NULL, 0, NULL, 0}};

static const char usage[] =
    "usage: latchkeyd [--config FILE] [--check-config]\n"
    "       latchkeyd --default-config\n"
    "\n"
    "The provisioning service. It stays in the foreground; SIGTERM stops it, SIGHUP makes it\n"
    "read certificates, keyring and log level again.\n"
    "\n"
    "  -c, --config FILE     default $LATCHKEY_CONFIG, else " LK_CONFIG_DEFAULT_PATH "\n"
    "      --check-config    say what is wrong with FILE and what it names, and end\n"
    "      --default-config  print a file that shows every key at its default\n"
    "  -h, --help            this text\n"
    "      --version\n"
    "\n"
    "Keys of the configuration, one \"key = value\" a line:\n"
    "\n";

static int
print_text(enum lk_err err, const struct lk_buf *text)
{
    if (err != LK_OK) {
        return lk_err_exit_code(err);
    }
    return fwrite(text->data, 1, text->len, stdout) == text->len && fflush(stdout) == 0 ? 0
                                                                                        : EX_IOERR;
}

static int
print_help(void)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    enum lk_err err = lk_buf_puts(&text, usage);

    return print_text(err != LK_OK ? err : lk_config_describe(false, &text), &text);
}

/* For whoever keeps the manual: the unit tests compare it with the table. */
static int
print_man_rows(void)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;

    return print_text(lk_config_describe(true, &text), &text);
}

static int
print_default_config(void)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;

    return print_text(lk_config_template(NULL, 0, &text), &text);
}

static const char *
default_path(void)
{
    const char *path = getenv("LATCHKEY_CONFIG");

    return path == NULL || path[0] == '\0' ? LK_CONFIG_DEFAULT_PATH : path;
}

int
main(int argc, char **argv)
{
    const char *path = default_path();
    bool check = false;
    int option;
    enum lk_err err;

    while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            path = optarg;
            break;
        case OPT_CHECK:
            check = true;
            break;
        case 'h':
            return print_help();
        case OPT_DEFAULTS:
            return print_default_config();
        case OPT_VERSION:
            (void)printf("latchkeyd %s\n", LK_VERSION);
            return 0;
        case OPT_MAN_ROWS:
            return print_man_rows();
        default:
            return EX_USAGE; /* getopt_long() has told what */
        }
    }
    if (optind < argc) {
        (void)fprintf(stderr, "latchkeyd: unexpected argument: see latchkeyd --help\n");
        return EX_USAGE;
    }
    if ((err = lk_crypto_init()) != LK_OK || (err = lk_json_guard()) != LK_OK) {
        (void)fprintf(stderr, "latchkeyd: %s\n", lk_err_text(err));
        return lk_err_exit_code(err);
    }
    return check ? lk_daemon_check(path) : lk_daemon_run(path);
}
