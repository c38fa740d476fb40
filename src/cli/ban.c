#include "cli/ban.h"

#include <string.h>

/* What may stand in a log and a table. */
static bool
reason_ok(const char *text)
{
    json_t *value = json_string(text); /* NULL: not UTF-8 */
    bool ok = value != NULL && strlen(text) <= LK_BAN_WHY_MAX;

    json_decref(value);
    for (; ok && *text != '\0'; text++) {
        ok = (unsigned char)*text >= ' ' && *text != 0x7f;
    }
    return ok;
}

enum lk_err
lk_cli_ban_take(struct lk_cli_ban *b, int option, const char *value)
{
    if (option == LK_CLI_OPT_BAN) {
        b->asked = true;
        return LK_OK;
    }
    b->reason = value;
    return reason_ok(value) ? LK_OK : LK_ERR_ARG;
}

bool
lk_cli_ban_is_due(const struct lk_cli_ban *b, bool enable, const char *actor, struct lk_ban *ret)
{
    const char *why = b->reason != NULL ? b->reason : "";

    *ret = (struct lk_ban){.actor = actor, .why = enable ? NULL : why};
    return enable || b->asked;
}
