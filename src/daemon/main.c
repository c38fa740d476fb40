/* latchkeyd: the provisioning service. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "base/err.h"
#include "daemon/daemon.h"

enum { OPT_CHECK = 256, OPT_VERSION, OPT_MAN_ROWS };

static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                        {"check-config", no_argument, NULL, OPT_CHECK},
                                        {"help", no_argument, NULL, 'h'},
                                        {"version", no_argument, NULL, OPT_VERSION},
                                        {"man-rows", no_argument, NULL, OPT_MAN_ROWS},
                                        {NULL, 0, NULL, 0}};

static const char usage[] =
    "usage: latchkeyd [--config FILE] [--check-config]\n"
    "\n"
    "The provisioning service. It stays in the foreground; SIGTERM stops it, SIGHUP makes it\n"
    "read certificates, keyring and log level again.\n"
    "\n"
    "  -c, --config FILE   default $LATCHKEY_CONFIG, else " LK_CONFIG_DEFAULT_PATH "\n"
    "      --check-config  say what is wrong with FILE and what it names, and end\n"
    "  -h, --help          this text\n"
    "      --version\n"
    "\n"
    "Keys of the configuration, one \"key = value\" a line:\n"
    "\n";

static int
print_table(bool roff)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    enum lk_err err = lk_config_describe(roff, &text);

    if (err != LK_OK) {
        return lk_err_exit_code(err);
    }
    if (!roff) {
        (void)fputs(usage, stdout); /* seen below */
    }
    return fwrite(text.data, 1, text.len, stdout) == text.len && fflush(stdout) == 0 ? 0 : EX_IOERR;
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

    while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            path = optarg;
            break;
        case OPT_CHECK:
            check = true;
            break;
        case 'h':
            return print_table(false);
        case OPT_VERSION:
            (void)printf("latchkeyd %s\n", LK_VERSION);
            return 0;
        case OPT_MAN_ROWS:
            return print_table(true);
        default:
            return EX_USAGE; /* getopt_long() has told what */
        }
    }
    if (optind < argc) {
        (void)fprintf(stderr, "latchkeyd: unexpected argument: see latchkeyd --help\n");
        return EX_USAGE;
    }
    return check ? lk_daemon_check(path) : lk_daemon_run(path);
}
