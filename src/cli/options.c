/* The options that the commands on the store share, and what is shown to people. */
#include "cli/options.h"

#include <string.h>

#include "base/codec.h"

/* Handles the common options and hands the rest to the command. */
static enum lk_err
option_take(const struct lk_cli_form *form, int option, struct lk_cli_common *common, void *ctx)
{
    switch (option) {
    case LK_CLI_OPT_CONFIG:
        common->config = optarg;
        return LK_OK;
    case LK_CLI_OPT_SCOPE:
        common->scope = optarg;
        return LK_OK;
    case LK_CLI_OPT_JSON:
        common->json = true;
        return LK_OK;
    case LK_CLI_OPT_PROFILE:
        common->profile = optarg;
        return LK_OK;
    case LK_CLI_OPT_CONNECTION:
        common->connection = optarg;
        return LK_OK;
    case LK_CLI_OPT_CA_FILE:
        common->ca_file = optarg;
        return LK_OK;
    default:
        return form->take(ctx, option, optarg);
    }
}

static int
words_check(const struct lk_cli_form *form, int argc, char **argv)
{
    char shown[LK_CLI_SHOWN_CAP];

    if (argc - optind > form->words_max) {
        return lk_cli_usage(form->usage, "\"%s\" is one argument too many",
                            lk_cli_shown(argv[optind + form->words_max], shown));
    }
    if (argc - optind < form->words_min) {
        return lk_cli_usage(form->usage, "an argument is missing");
    }
    return 0;
}

bool
lk_cli_options(const struct lk_cli_form *form, int argc, char **argv, struct lk_cli_common *common,
               void *ctx, int *ret_code)
{
    char shown[LK_CLI_SHOWN_CAP];
    int option, index = 0;
    enum lk_err err;

    optind = 0; /* glibc: start over, main's own parsing is done */
    while ((option = getopt_long(argc, argv, ":", form->options, &index)) != -1) {
        if (option == ':' || option == '?') {
            *ret_code = lk_cli_usage(form->usage, "%s \"%s\"",
                                     option == ':' ? "a value is missing after" : "no option",
                                     lk_cli_shown(argv[optind - 1], shown));
            return false;
        }
        if (option == LK_CLI_OPT_HELP) {
            (void)printf("usage: %s\n\n%s", form->usage, form->help);
            *ret_code = 0;
            return false;
        }
        if ((err = option_take(form, option, common, ctx)) == LK_ERR_ARG) {
            *ret_code =
                lk_cli_usage(form->usage, "--%s cannot be \"%s\"", form->options[index].name,
                             lk_cli_shown(optarg != NULL ? optarg : "", shown));
            return false;
        }
        if (err != LK_OK) {
            *ret_code = lk_cli_fail(err, "cannot take --%s", form->options[index].name);
            return false;
        }
    }
    *ret_code = words_check(form, argc, argv);
    return *ret_code == 0;
}

enum lk_err
lk_cli_number(const char *value, uint64_t min, uint64_t max, uint64_t *ret)
{
    uint64_t number;

    if (lk_decimal_parse(value, strlen(value), &number) != LK_OK || number < min || number > max) {
        return LK_ERR_ARG;
    }
    *ret = number;
    return LK_OK;
}

const char *
lk_cli_shown(const char *text, char buf[LK_CLI_SHOWN_CAP])
{
    static const char hex[] = "0123456789abcdef";
    static const char more[] = "...";
    size_t n = 0;

    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;

        if (n + 4 + sizeof(more) > LK_CLI_SHOWN_CAP) { /* room for one escape and the ellipsis */
            memcpy(buf + n, more, sizeof(more));
            return buf;
        }
        if (c >= ' ' && c <= '~') {
            buf[n++] = (char)c;
            if (c == '\\') {
                buf[n++] = '\\';
            }
            continue;
        }
        buf[n++] = '\\';
        buf[n++] = 'x';
        buf[n++] = hex[c >> 4];
        buf[n++] = hex[c & 15];
    }
    buf[n] = '\0';
    return buf;
}

json_t *
lk_cli_json_text(const char *text)
{
    char shown[LK_CLI_SHOWN_CAP];
    json_t *value = json_string(text);

    return value != NULL ? value : json_string(lk_cli_shown(text, shown));
}

const char *
lk_cli_time(int64_t unix_ms, char buf[LK_CLI_TIME_CAP])
{
    char text[LK_TIMESTAMP_CAP];

    if (unix_ms == 0) {
        return strcpy(buf, "-");
    }
    lk_timestamp_format(unix_ms, text);
    (void)snprintf(buf, LK_CLI_TIME_CAP, "%.23sZ", text); /* to the millisecond */
    return buf;
}
