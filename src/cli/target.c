/* Which service a command works on: that of this machine, or one elsewhere. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/profile.h"
#include "cli/service.h"

static const char *
environment(const char *name)
{
    const char *value = getenv(name);

    return value != NULL && value[0] != '\0' ? value : NULL;
}

/* Whether one elsewhere was chosen; *ret_by is by what, for messages. */
static bool
is_elsewhere(const struct lk_cli_common *common, const char **ret_by)
{
    *ret_by =
        common->profile != NULL      ? "--profile"
        : common->connection != NULL ? "--connection"
        : common->config != NULL     ? NULL
        : environment("LATCHKEY_PROFILE") != NULL
            ? "$LATCHKEY_PROFILE"
            : (environment("LATCHKEY_CONNECTION_STRING") != NULL ? "$LATCHKEY_CONNECTION_STRING"
                                                                 : NULL);
    return *ret_by != NULL;
}

int
lk_cli_store_needed(const struct lk_cli_common *common)
{
    const char *by;

    if (!is_elsewhere(common, &by)) {
        return 0;
    }
    lk_cli_note(
        "this command works on the store itself, and %s names a service elsewhere: run it on "
        "that machine, or give --config for this one",
        by);
    return lk_err_exit_code(LK_ERR_ARG);
}

/* ---- the connection string ------------------------------------------------------------------- */

static void
profile_wipe(struct lk_profile *p)
{
    lk_svc_connection_wipe(&p->connection);
}
#define AUTO_PROFILE __attribute__((cleanup(profile_wipe))) struct lk_profile

static int
profile_load(const char *name, struct lk_profile *ret)
{
    char path[LK_PROFILE_PATH_CAP], error[LK_PROFILE_ERROR_CAP] = "";
    char shown[LK_CLI_SHOWN_CAP];
    enum lk_err err = lk_profile_path(path);

    if (err != LK_OK) {
        lk_cli_note("there is no home to look for profiles in: set $HOME or $XDG_CONFIG_HOME");
        return lk_err_exit_code(LK_ERR_CONFIG);
    }
    if ((err = lk_profile_load(path, name, error, ret)) == LK_OK) {
        return 0;
    }
    lk_cli_note("%s", lk_cli_shown(error[0] != '\0' ? error : lk_err_text(err), shown));
    return lk_err_exit_code(err == LK_ERR_FORMAT || err == LK_ERR_NOT_FOUND ? LK_ERR_CONFIG : err);
}

static int
connection_read(const char *text, size_t len, const char *from, struct lk_svc_connection *ret)
{
    char error[LK_SVC_CONNECTION_ERROR_CAP] = "", shown[LK_CLI_SHOWN_CAP];
    enum lk_err err = lk_svc_connection_parse(LK_SVC_CONNECTION_SERVICE, text, len, error, ret);

    if (err == LK_OK) {
        return 0;
    }
    lk_cli_note("%s is no connection string: %s", lk_cli_shown(from, shown),
                error[0] != '\0' ? error : lk_err_text(err));
    return lk_err_exit_code(LK_ERR_CONFIG);
}

static int
connection_load(const char *path, struct lk_svc_connection *ret)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    char shown[LK_CLI_SHOWN_CAP];
    bool is_stdin = strcmp(path, "-") == 0;
    enum lk_err err;

    errno = 0;
    if ((err = lk_cli_secret_read(path, &text)) != LK_OK) {
        return lk_cli_fail(err, "cannot read the connection string %s", lk_cli_shown(path, shown));
    }
    return connection_read(text.data != NULL ? (const char *)text.data : "", text.len,
                           is_stdin ? "standard input" : path, ret);
}

/* The option before the variable, a profile before a string. */
static int
choice_load(const struct lk_cli_common *common, struct lk_profile *ret)
{
    const char *profile = common->profile, *text;

    if (common->connection != NULL) {
        return connection_load(common->connection, &ret->connection);
    }
    if (profile != NULL || (profile = environment("LATCHKEY_PROFILE")) != NULL) {
        return profile_load(profile, ret);
    }
    text = environment("LATCHKEY_CONNECTION_STRING");
    return connection_read(text, strlen(text), "$LATCHKEY_CONNECTION_STRING", &ret->connection);
}

/* ---- opening --------------------------------------------------------------------------------- */

static int
remote_open(const struct lk_cli_common *common, struct lk_cli_service *ret)
{
    AUTO_PROFILE p = {.ca_file = ""};
    char shown[LK_CLI_SHOWN_CAP];
    const char *ca = common->ca_file;
    int code;
    enum lk_err err;

    if ((err = lk_crypto_init()) != LK_OK) {
        return lk_cli_fail(err, "cannot start");
    }
    if ((code = choice_load(common, &p)) != 0) {
        return code;
    }
    if (ca == NULL && (ca = environment("LATCHKEY_CA_FILE")) == NULL && p.ca_file[0] != '\0') {
        ca = p.ca_file;
    }
    errno = 0;
    if ((err = lk_remote_new(&p.connection, ca, &ret->remote)) != LK_OK) {
        return err == LK_ERR_IO
                   ? lk_cli_fail(err, "cannot read the CA file %s", lk_cli_shown(ca, shown))
                   : lk_cli_fail(err, "cannot start");
    }
    return 0;
}

int
lk_cli_target_open(const struct lk_cli_common *common, enum lk_cli_access access,
                   struct lk_cli_service *ret)
{
    const char *by;

    memset(ret, 0, sizeof(*ret));
    if ((common->config != NULL) + (common->profile != NULL) + (common->connection != NULL) > 1) {
        lk_cli_note("only one of --config, --profile and --connection is possible");
        return lk_err_exit_code(LK_ERR_ARG);
    }
    if (is_elsewhere(common, &by)) {
        return remote_open(common, ret);
    }
    if (common->ca_file != NULL) {
        lk_cli_note("--ca-file goes with a service elsewhere: --profile, --connection or "
                    "$LATCHKEY_CONNECTION_STRING");
        return lk_err_exit_code(LK_ERR_ARG);
    }
    return lk_cli_service_open(common->config, access, ret);
}
