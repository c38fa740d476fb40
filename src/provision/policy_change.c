/* Changes of shared access policies, by operators on the machine and over the network alike. */
#include "provision/policy.h"

#include <string.h>

const char *
lk_policy_slot_name(enum lk_policy_slot slot)
{
    return slot == LK_POLICY_PRIMARY ? "primary" : "secondary";
}

/* Names and values are words of ours, or hexadecimal digits: nothing in them needs an escape. */
static enum lk_err
audit(struct lk_txn *tx, const struct lk_policy_author *by, const char *action, const char *scope,
      const char *name, const char *member, const char *value)
{
    LK_AUTO_BUF struct lk_buf detail = LK_BUF_INIT;
    enum lk_err err = LK_OK;

    if (by->request_id != NULL) {
        err = lk_buf_printf(&detail, "{\"requestId\":\"%s\"", by->request_id);
    }
    if (err == LK_OK && member != NULL) {
        err = lk_buf_printf(&detail, "%s\"%s\":\"%s\"", detail.len == 0 ? "{" : ",", member, value);
    }
    if (err == LK_OK) {
        err = lk_buf_puts(&detail, detail.len == 0 ? "" : "}");
    }
    if (err != LK_OK || lk_buf_text(&detail) == NULL) {
        return err != LK_OK ? err : LK_ERR_NOMEM;
    }
    return lk_txn_audit_append(tx, by->actor, action, scope, name, lk_buf_text(&detail));
}

static bool
may_change(const struct lk_policy_author *by, unsigned rights)
{
    return (rights & ~by->rights) == 0;
}

struct count {
    size_t all, owners; /* owners have every right */
};

static enum lk_err
count_each(void *ctx, const struct lk_policy *p)
{
    struct count *c = (struct count *)ctx;

    c->all++;
    c->owners += p->rights == LK_RIGHTS_ALL;
    return LK_OK;
}

/* Whether there is room for one more, of a name that is free. */
static enum lk_err
place_check(struct lk_txn *tx, const struct lk_policy *p)
{
    struct lk_policy there = {.rights = 0};
    struct count count = {.all = 0};
    enum lk_err err = lk_txn_policy_get(tx, p->scope, p->name, &there);

    lk_policy_fini(&there);
    if (err != LK_ERR_NOT_FOUND) {
        return err == LK_OK ? LK_ERR_EXISTS : err;
    }
    err = lk_txn_policy_each(tx, p->scope, count_each, &count);
    return err == LK_OK && count.all >= LK_POLICIES_MAX ? LK_ERR_LIMIT : err;
}

enum lk_err
lk_policy_add(struct lk_txn *tx, const struct lk_policy_author *by, const struct lk_policy *p)
{
    LK_AUTO_BUF struct lk_buf rights = LK_BUF_INIT;
    enum lk_err err;

    if (!may_change(by, p->rights)) {
        return LK_ERR_REFUSED;
    }
    if ((err = place_check(tx, p)) != LK_OK || (err = lk_txn_policy_put(tx, p)) != LK_OK ||
        (err = lk_rights_format(p->rights, &rights)) != LK_OK) {
        return err;
    }
    return lk_buf_text(&rights) == NULL
               ? LK_ERR_NOMEM
               : audit(tx, by, "policy.add", p->scope, p->name, "rights", lk_buf_text(&rights));
}

enum lk_err
lk_policy_roll(struct lk_txn *tx, const struct lk_policy_author *by, const struct lk_keyring *ring,
               const struct lk_rand *rnd, enum lk_policy_slot slot, struct lk_policy *p)
{
    enum lk_err err = lk_txn_policy_get(tx, p->scope, p->name, p);

    if (err != LK_OK || !may_change(by, p->rights)) {
        return err != LK_OK ? err : LK_ERR_REFUSED;
    }
    if ((err = lk_policy_key_set(ring, rnd, slot, NULL, 0, p)) != LK_OK ||
        (err = lk_txn_policy_put(tx, p)) != LK_OK ||
        (err = audit(tx, by, "policy.roll", p->scope, p->name, "key", lk_policy_slot_name(slot))) !=
            LK_OK) {
        return err;
    }
    return lk_txn_policy_get(tx, p->scope, p->name, p); /* with the time of the change */
}

enum lk_err
lk_policy_remove(struct lk_txn *tx, const struct lk_policy_author *by, const char *scope,
                 const char *name)
{
    struct lk_policy p = {.rights = 0};
    struct count count = {.all = 0};
    enum lk_err err = lk_txn_policy_get(tx, scope, name, &p);

    lk_policy_fini(&p);
    if (err != LK_OK || !may_change(by, p.rights)) {
        return err != LK_OK ? err : LK_ERR_REFUSED;
    }
    if (by->is_remote && p.rights == LK_RIGHTS_ALL) {
        if ((err = lk_txn_policy_each(tx, scope, count_each, &count)) != LK_OK) {
            return err;
        }
        if (count.owners == 1) {
            return LK_ERR_PRECONDITION;
        }
    }
    err = lk_txn_policy_delete(tx, scope, name);
    return err != LK_OK ? err : audit(tx, by, "policy.remove", scope, name, NULL, NULL);
}
