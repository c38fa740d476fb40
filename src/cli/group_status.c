/* latchkey group enable, disable: with the members at their hubs. */
#include <inttypes.h>
#include <string.h>

#include "cli/cmd_group.h"

#define BAN_BATCH 200u /* devices that one transaction bans */

static enum lk_err
status_run(struct lk_txn *tx, void *arg)
{
    struct lk_cli_group *c = (struct lk_cli_group *)arg;
    enum lk_err err = lk_cli_group_get_run(tx, arg);

    c->changed = err == LK_OK && c->g.enabled != c->enabled;
    if (!c->changed) {
        return err;
    }
    c->g.enabled = c->enabled;
    err = lk_txn_group_replace(tx, &c->g, NULL);
    return err != LK_OK ? err
                        : lk_cli_group_audit(tx, c, "group.update",
                                             c->enabled ? "{\"provisioningStatus\":\"enabled\"}"
                                                        : "{\"provisioningStatus\":\"disabled\"}");
}

static enum lk_err
status_send(struct lk_cli_group *c)
{
    enum lk_err err = lk_cli_group_fetch(c);

    c->changed = err == LK_OK && c->g.enabled != c->enabled;
    if (!c->changed) {
        return err;
    }
    c->g.enabled = c->enabled;
    return lk_cli_group_send(c);
}

static enum lk_err
status_take(void *ctx, int option, const char *value)
{
    return lk_cli_ban_take(&((struct lk_cli_group *)ctx)->ban, option, value);
}

static enum lk_err
ban_run(struct lk_txn *tx, void *arg)
{
    struct lk_cli_group *c = (struct lk_cli_group *)arg;
    struct lk_ban ban;

    c->batch = (struct lk_ban_count){0, 0, 0};
    c->last[0] = '\0';
    if (!lk_cli_ban_is_due(&c->ban, c->enabled, c->s.actor, &ban)) {
        return LK_OK;
    }
    return lk_hub_ban_group(tx, &ban, c->scope, c->g.id, c->after, BAN_BATCH, &c->batch, c->last);
}

/*
 * The members at their hubs, in batches: none can register while the group is disabled, so none is
 * missed, and a run that was cut short is taken up by running it again.
 */
static enum lk_err
members_ban(struct lk_cli_group *c, struct lk_ban_count *ret)
{
    enum lk_err err;

    do {
        if ((err = lk_store_write_wait(c->s.session, ban_run, c)) != LK_OK) {
            return err;
        }
        ret->done += c->batch.done;
        ret->elsewhere += c->batch.elsewhere;
        memcpy(c->after, c->last, sizeof(c->after));
    } while (c->last[0] != '\0');
    return LK_OK;
}

static void
members_tell(const struct lk_cli_group *c, const struct lk_ban_count *count)
{
    if (c->ban.asked || count->done > 0) {
        lk_cli_note("%" PRIu64 " of its devices %s", count->done,
                    c->enabled ? "are let in again at their hubs" : "are banned at their hubs");
    }
    if (count->elsewhere > 0 && !c->enabled) {
        lk_cli_note("%" PRIu64 " are at hubs that are not ours: disable them there too",
                    count->elsewhere);
    }
}

static int
status_set(const struct lk_cli_form *form, bool enabled, int argc, char **argv)
{
    LK_AUTO_CLI_GROUP c;
    struct lk_ban_count count = {0, 0, 0};
    int code;
    enum lk_err err;

    lk_cli_group_init(&c);
    c.enabled = enabled;
    if (!lk_cli_group_begin(&c, form, LK_CLI_WRITE, argc, argv, &code)) {
        return code;
    }
    if (c.ban.reason != NULL && !c.ban.asked) {
        return lk_cli_usage(form->usage, "--reason goes with --ban");
    }
    if (c.ban.asked && (code = lk_cli_store_needed(&c.common)) != 0) {
        return code;
    }
    err = c.s.remote != NULL ? status_send(&c) : lk_store_write_wait(c.s.session, status_run, &c);
    if (err != LK_OK) {
        return lk_cli_group_fail(err, &c, "cannot change the group");
    }
    lk_cli_note("the group %s is %s%s", c.g.id, lk_cli_group_status(&c.g),
                c.changed ? "" : " already");
    if (c.s.remote == NULL && (err = members_ban(&c, &count)) != LK_OK) {
        return lk_cli_store_fail(err, "cannot change its devices at their hubs");
    }
    members_tell(&c, &count);
    return 0;
}

static const struct lk_cli_form enable_form = {
    .usage = "latchkey group enable NAME [--scope ID] [SERVICE]",
    .help =
        "Let the devices of a group register again, and lift their bans (see `latchkey group\n"
        "disable`), where the service is this machine's.\n\n" LK_CLI_SCOPE_HELP LK_CLI_SERVICE_HELP,
    .options =
        (const struct option[]){LK_CLI_SCOPE_OPTION, LK_CLI_SERVICE_OPTIONS, LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
};

int
lk_cli_group_enable(int argc, char **argv)
{
    return status_set(&enable_form, true, argc, argv);
}

static const struct lk_cli_form disable_form = {
    .usage = "latchkey group disable NAME [--ban [--reason TEXT]] [--scope ID] [SERVICE]",
    .help =
        "Refuse the devices of a group that register. What they have at their hubs stays,\n"
        "unless they are banned.\n\n"
        "  --ban                    disable them at their embedded hubs too, which ends their\n"
        "                           sessions; `latchkey group enable` lifts that\n"
        "  --reason TEXT            for the hubs' operators, at most 120 bytes\n" LK_CLI_SCOPE_HELP
            LK_CLI_SERVICE_HELP,
    .options = (const struct option[]){LK_CLI_BAN_OPTIONS, LK_CLI_SCOPE_OPTION,
                                       LK_CLI_SERVICE_OPTIONS, LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
    .take = status_take,
};

int
lk_cli_group_disable(int argc, char **argv)
{
    return status_set(&disable_form, false, argc, argv);
}
