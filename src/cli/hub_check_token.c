/* latchkey hub check-token: what a hub says to a device's token. */
#include <inttypes.h>
#include <string.h>

#include "cli/cmd_hub.h"
#include "hub/hub.h"

enum { OPT_HUB = LK_CLI_OPT_COMMAND, OPT_TOKEN_FILE };

struct check {
    const char *hub_given, *token_file;
    char hub[LK_HOST_NAME_MAX + 1];
    struct lk_hub_core *core;
    struct lk_buf token;
    struct lk_device_check found;
};

static void
check_fini(struct check *c)
{
    lk_hub_core_free(c->core);
    lk_buf_fini(&c->token);
}

static enum lk_err
check_take(void *ctx, int option, const char *value)
{
    struct check *c = (struct check *)ctx;

    if (option == OPT_HUB) {
        c->hub_given = value;
    } else {
        c->token_file = value;
    }
    return LK_OK;
}

static const struct lk_cli_form check_form = {
    .usage = "latchkey hub check-token --hub HUB [--token-file FILE] [--json] [--config FILE]",
    .help =
        "Check a device's SAS token as the hub's registry does when the device logs on. Exit code\n"
        "0: it is good; 77: it is refused. As with a log-on, the first use of a new key retires\n"
        "the previous one.\n\n"
        "  --hub HUB                the hub that the token is for\n"
        "  --token-file FILE        where the token is; default - (stdin)\n" LK_CLI_JSON_HELP
            LK_CLI_CONFIG_HELP,
    .options = (const struct option[]){{"hub", required_argument, NULL, OPT_HUB},
                                       {"token-file", required_argument, NULL, OPT_TOKEN_FILE},
                                       LK_CLI_JSON_OPTION,
                                       LK_CLI_CONFIG_OPTION,
                                       LK_CLI_END_OPTIONS},
    .take = check_take,
};

static enum lk_err
check_run(struct lk_txn *tx, void *arg)
{
    struct check *c = (struct check *)arg;

    memset(&c->found, 0, sizeof(c->found));
    return lk_hub_check_device(c->core, tx, c->hub, NULL, (const char *)c->token.data, c->token.len,
                               lk_txn_now_ms(tx), &c->found);
}

static enum lk_err
retire_run(struct lk_txn *tx, void *arg)
{
    struct check *c = (struct check *)arg;

    return lk_hub_retire_secondary(c->core, tx, c->hub, &c->found);
}

static int
check_refused(const struct lk_cli_common *common, const struct check *c)
{
    const char *reason = c->found.reason != NULL ? c->found.reason : "unknown";
    LK_AUTO(json) json_t *o = NULL;

    if (!common->json) {
        lk_cli_note("the token is refused: %s", reason);
        return lk_err_exit_code(LK_ERR_REFUSED);
    }
    o = json_pack("{s:b, s:s}", "accepted", false, "reason", reason);
    if (o == NULL) {
        return lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer");
    }
    return lk_cli_print_json(o) != 0 ? lk_err_exit_code(LK_ERR_IO)
                                     : lk_err_exit_code(LK_ERR_REFUSED);
}

static int
check_accepted(const struct lk_cli_common *common, const struct check *c)
{
    const char *slot = c->found.slot == LK_KEY_PRIMARY ? "primary" : "secondary";
    int64_t expiry_ms = c->found.expiry_unix_s > INT64_MAX / 1000
                            ? INT64_MAX
                            : (int64_t)c->found.expiry_unix_s * 1000;
    LK_AUTO(json) json_t *o = NULL;
    char expiry[LK_CLI_TIME_CAP];

    (void)lk_cli_time(expiry_ms, expiry);
    if (!common->json) {
        (void)printf("device ID         %s\nsigned by         %s key\nexpires           %s\n",
                     c->found.device_id, slot, expiry);
        return 0;
    }
    o = json_pack("{s:b, s:s, s:s, s:s}", "accepted", true, "deviceId", c->found.device_id, "key",
                  slot, "expiry", expiry);
    return o == NULL ? lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer") : lk_cli_print_json(o);
}

static int
check_token(struct lk_cli_service *s, const struct lk_cli_common *common, struct check *c)
{
    enum lk_err err;

    if ((err = lk_hub_core_new(s->ring, &lk_rand_system, &c->core)) != LK_OK) {
        return lk_cli_fail(err, "cannot start");
    }
    if ((err = lk_store_read_wait(s->session, check_run, c)) == LK_ERR_REFUSED) {
        return check_refused(common, c);
    }
    if (err != LK_OK) {
        return lk_cli_store_fail(err, "cannot check the token");
    }
    if (c->found.retire_secondary &&
        (err = lk_store_write_wait(s->session, retire_run, c)) != LK_OK) {
        return lk_cli_store_fail(err, "cannot retire the previous key");
    }
    return check_accepted(common, c);
}

int
lk_cli_hub_check_token(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    __attribute__((cleanup(check_fini))) struct check c = {.token_file = "-"};
    struct lk_cli_common common = {.json = false};
    char shown[LK_CLI_SHOWN_CAP];
    int code;
    enum lk_err err;

    if (!lk_cli_options(&check_form, argc, argv, &common, &c, &code)) {
        return code;
    }
    if (c.hub_given == NULL) {
        return lk_cli_usage(check_form.usage, "--hub is needed");
    }
    if ((code = lk_cli_hub_word(&check_form, c.hub_given, c.hub)) != 0) {
        return code;
    }
    if ((err = lk_cli_secret_read(c.token_file, &c.token)) != LK_OK) {
        return lk_cli_fail(err, "cannot read %s", lk_cli_shown(c.token_file, shown));
    }
    if ((code = lk_cli_service_open(common.config, LK_CLI_WRITE, &s)) != 0) {
        return code;
    }
    return check_token(&s, &common, &c);
}
