#include "api/manage_json.h"

#include <string.h>

#include "base/codec.h"
#include "net/regions.h"
#include "wire/members.h"

/* ---- members ----------------------------------------------------------------------------------
 */

json_t *
lk_any_text_json(const char *text)
{
    LK_AUTO_BUF struct lk_buf utf8 = LK_BUF_INIT;
    json_t *value = json_string(text);

    for (; value == NULL && *text != '\0'; text++) {
        unsigned char ch = (unsigned char)*text;
        uint8_t two[2] = {(uint8_t)(0xc0 | ch >> 6), (uint8_t)(0x80 | (ch & 0x3f))};

        if (lk_buf_put(&utf8, ch < 0x80 ? &ch : two, ch < 0x80 ? 1 : 2) != LK_OK) {
            return NULL;
        }
    }
    return value != NULL ? value : json_stringn((const char *)utf8.data, utf8.len);
}

static enum lk_err
hash_put(json_t *object, const uint8_t hash[32])
{
    LK_AUTO_BUF struct lk_buf hex = LK_BUF_INIT;
    enum lk_err err = lk_hex_encode(hash, 32, &hex);

    return err != LK_OK
               ? err
               : lk_member_put(object, "hash", json_stringn((const char *)hex.data, hex.len));
}

static enum lk_err
hash_get(const json_t *object, uint8_t ret[32])
{
    LK_AUTO_BUF struct lk_buf hash = LK_BUF_INIT;
    const char *hex = json_string_value(json_object_get(object, "hash"));

    if (hex == NULL || lk_hex_decode(hex, strlen(hex), &hash) != LK_OK || hash.len != 32) {
        return LK_ERR_FORMAT;
    }
    memcpy(ret, hash.data, 32);
    return LK_OK;
}

static enum lk_err
time_get(const json_t *object, const char *name, int64_t *ret)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text != NULL ? lk_timestamp_parse(text, strlen(text), ret) : LK_ERR_FORMAT;
}

static enum lk_err
text_get(const json_t *object, const char *name, char *buf, size_t cap)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text != NULL && lk_strcpy(buf, cap, text) == LK_OK ? LK_OK : LK_ERR_FORMAT;
}

/* ---- hubs -------------------------------------------------------------------------------------
 */

static const char *
kind_name(enum lk_hub_kind kind)
{
    return kind == LK_HUB_EMBEDDED ? "embedded" : "http";
}

enum lk_err
lk_hub_json_put(const struct lk_hub *hub, json_t *object)
{
    enum lk_err err;

    if ((err = lk_member_text(object, "name", hub->name)) != LK_OK ||
        (err = lk_member_text(object, "kind", kind_name(hub->kind))) != LK_OK ||
        (err = lk_member_put(object, "weight", json_integer(hub->weight))) != LK_OK ||
        (err = lk_member_put(object, "allocatable", json_boolean(hub->allocatable))) != LK_OK ||
        (err = lk_member_text(object, "region", hub->region)) != LK_OK) {
        return err;
    }
    return lk_member_time_some(object, "createdDateTimeUtc", hub->created_ms);
}

enum lk_err
lk_hub_json_parse(const json_t *object, struct lk_hub *ret)
{
    const json_t *allocatable = json_object_get(object, "allocatable");
    struct lk_hub hub = {.kind = LK_HUB_EMBEDDED};
    int32_t weight = 0;
    char kind[16];

    if (text_get(object, "name", hub.name, sizeof(hub.name)) != LK_OK ||
        !lk_host_name_ok(hub.name, strlen(hub.name)) ||
        text_get(object, "kind", kind, sizeof(kind)) != LK_OK ||
        text_get(object, "region", hub.region, sizeof(hub.region)) != LK_OK ||
        lk_member_get_int32(object, "weight", &weight) != LK_OK || weight < 0 ||
        !json_is_boolean(allocatable) ||
        time_get(object, "createdDateTimeUtc", &hub.created_ms) != LK_OK) {
        return LK_ERR_FORMAT;
    }
    hub.kind = strcmp(kind, kind_name(LK_HUB_EMBEDDED)) == 0 ? LK_HUB_EMBEDDED : LK_HUB_HTTP;
    hub.weight = (uint32_t)weight;
    hub.allocatable = json_is_true(allocatable);
    *ret = hub;
    return LK_OK;
}

enum lk_err
lk_hub_request_put(const struct lk_hub_request *r, json_t *object)
{
    const struct lk_hub_change *c = &r->change;
    enum lk_err err;

    if ((c->weight != 0 &&
         (err = lk_member_put(object, "weight", json_integer(c->weight))) != LK_OK) ||
        (c->has_allocatable &&
         (err = lk_member_put(object, "allocatable", json_boolean(c->allocatable))) != LK_OK) ||
        (c->region != NULL && (err = lk_member_text(object, "region", c->region)) != LK_OK) ||
        (r->connection != NULL &&
         (err = lk_member_text(object, "connectionString", r->connection)) != LK_OK) ||
        (r->authorities != NULL &&
         (err = lk_member_text(object, "authorities", r->authorities)) != LK_OK)) {
        return err;
    }
    return LK_OK;
}

static enum lk_err
change_parse(const json_t *object, struct lk_svc_fault *fault, struct lk_hub_change *ret)
{
    const json_t *allocatable = json_object_get(object, "allocatable");
    int32_t weight = 0;
    enum lk_err err;

    if (lk_member_get_int32(object, "weight", &weight) != LK_OK || weight < 0 ||
        weight > (int32_t)LK_HUB_WEIGHT_MAX ||
        (weight == 0 && json_is_integer(json_object_get(object, "weight")))) {
        return lk_svc_fault(fault, LK_SVC_BAD_REQUEST, "weight: expected a number from 1 to %u",
                            LK_HUB_WEIGHT_MAX);
    }
    if ((err = lk_svc_bool(object, "allocatable", fault, &ret->allocatable)) != LK_OK ||
        (err = lk_svc_text(object, "region", LK_SVC_BAD_REQUEST, fault, &ret->region)) != LK_OK) {
        return err;
    }
    if (ret->region != NULL && ret->region[0] != '\0' && !lk_region_ok(ret->region)) {
        return lk_svc_fault(fault, LK_SVC_BAD_REQUEST,
                            "region: expected at most %u letters, digits and -", LK_REGION_MAX);
    }
    ret->weight = (uint32_t)weight;
    ret->has_allocatable = json_is_boolean(allocatable);
    return LK_OK;
}

enum lk_err
lk_hub_request_parse(const json_t *object, struct lk_svc_fault *fault, struct lk_hub_request *ret)
{
    struct lk_hub_request r = {.connection = NULL};
    enum lk_err err;

    if ((err = change_parse(object, fault, &r.change)) != LK_OK ||
        (err = lk_svc_text(object, "connectionString", LK_SVC_BAD_REQUEST, fault, &r.connection)) !=
            LK_OK ||
        (err = lk_svc_text(object, "authorities", LK_SVC_BAD_REQUEST, fault, &r.authorities)) !=
            LK_OK) {
        return err;
    }
    if (r.authorities != NULL && r.connection == NULL) {
        return lk_svc_fault(fault, LK_SVC_BAD_REQUEST, "authorities: goes with connectionString");
    }
    *ret = r;
    return LK_OK;
}

enum lk_err
lk_hub_removal_json_put(const struct lk_hub_removal *r, json_t *object)
{
    enum lk_err err =
        lk_member_put(object, "identities", json_integer((json_int_t)r->identities_count));

    return err != LK_OK ? err : lk_member_put(object, "left", json_boolean(r->left));
}

enum lk_err
lk_hub_removal_json_parse(const json_t *object, struct lk_hub_removal *ret)
{
    const json_t *identities = json_object_get(object, "identities");
    const json_t *left = json_object_get(object, "left");

    if (!json_is_integer(identities) || json_integer_value(identities) < 0 ||
        !json_is_boolean(left)) {
        return LK_ERR_FORMAT;
    }
    ret->identities_count = (size_t)json_integer_value(identities);
    ret->left = json_is_true(left);
    return LK_OK;
}

/* ---- policies ---------------------------------------------------------------------------------
 */

enum lk_err
lk_policy_rights_json_put(unsigned rights, json_t *object)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    enum lk_err err = lk_rights_format(rights, &text);

    return err != LK_OK
               ? err
               : lk_member_put(object, "rights", json_stringn((const char *)text.data, text.len));
}

enum lk_err
lk_policy_rights_json_parse(const json_t *object, struct lk_svc_fault *fault, unsigned *ret)
{
    const char *text = json_string_value(json_object_get(object, "rights"));

    return text != NULL && lk_rights_parse(text, ret) == LK_OK
               ? LK_OK
               : lk_svc_fault(fault, LK_SVC_BAD_REQUEST,
                              "rights: expected some of ServiceConfig, EnrollmentRead, "
                              "EnrollmentWrite, DeviceConnect, RegistrationStatusRead, "
                              "RegistrationStatusWrite, apart by commas");
}

enum lk_err
lk_policy_slot_json_parse(const json_t *object, struct lk_svc_fault *fault,
                          enum lk_policy_slot *ret)
{
    const char *text = json_string_value(json_object_get(object, "key"));

    for (enum lk_policy_slot s = LK_POLICY_PRIMARY; text != NULL && s <= LK_POLICY_SECONDARY; s++) {
        if (strcmp(text, lk_policy_slot_name(s)) == 0) {
            *ret = s;
            return LK_OK;
        }
    }
    return lk_svc_fault(fault, LK_SVC_BAD_REQUEST, "key: expected primary or secondary");
}

static const char *
key_member(enum lk_policy_slot slot)
{
    return slot == LK_POLICY_PRIMARY ? "primaryKey" : "secondaryKey";
}

enum lk_err
lk_policy_key_json_put(const struct lk_keyring *ring, const struct lk_policy *p,
                       enum lk_policy_slot slot, json_t *object)
{
    LK_AUTO_BUF struct lk_buf key = LK_BUF_INIT;
    enum lk_err err = lk_policy_key_get(ring, p, slot, &key);

    return err != LK_OK ? err : lk_member_base64(object, key_member(slot), key.data, key.len);
}

enum lk_err
lk_policy_key_json_parse(const json_t *object, enum lk_policy_slot slot, struct lk_buf *ret)
{
    enum lk_err err;

    ret->max = LK_POLICY_KEY_MAX;
    err = lk_member_get_base64(object, key_member(slot), ret);
    return err == LK_OK || err == LK_ERR_NOMEM ? err : LK_ERR_FORMAT;
}

enum lk_err
lk_policy_json_put(const struct lk_policy *p, json_t *object)
{
    enum lk_err err;

    if ((err = lk_member_text(object, "name", p->name)) != LK_OK ||
        (err = lk_member_text(object, "scope", p->scope)) != LK_OK ||
        (err = lk_policy_rights_json_put(p->rights, object)) != LK_OK ||
        (err = lk_member_time_some(object, "createdDateTimeUtc", p->created_ms)) != LK_OK) {
        return err;
    }
    return lk_member_time_some(object, "lastUpdatedDateTimeUtc", p->updated_ms);
}

enum lk_err
lk_policy_json_parse(const json_t *object, struct lk_policy *ret)
{
    const char *rights = json_string_value(json_object_get(object, "rights"));
    struct lk_policy p = {.rights = 0};

    if (rights == NULL || lk_rights_parse(rights, &p.rights) != LK_OK ||
        text_get(object, "name", p.name, sizeof(p.name)) != LK_OK ||
        text_get(object, "scope", p.scope, sizeof(p.scope)) != LK_OK ||
        !lk_policy_name_ok(p.name, strlen(p.name)) ||
        time_get(object, "createdDateTimeUtc", &p.created_ms) != LK_OK ||
        time_get(object, "lastUpdatedDateTimeUtc", &p.updated_ms) != LK_OK) {
        return LK_ERR_FORMAT;
    }
    *ret = p;
    return LK_OK;
}

/* ---- audit records ----------------------------------------------------------------------------
 */

enum lk_err
lk_audit_json_put(const struct lk_audit *a, json_t *object)
{
    enum lk_err err;

    if ((err = lk_member_put(object, "seq", json_integer(a->seq))) != LK_OK ||
        (err = lk_member_time_some(object, "time", a->time_ms)) != LK_OK ||
        (err = lk_member_put(object, "actor", lk_any_text_json(a->actor))) != LK_OK ||
        (err = lk_member_put(object, "action", lk_any_text_json(a->action))) != LK_OK ||
        (err = lk_member_put(object, "scope", lk_any_text_json(a->scope))) != LK_OK ||
        (err = lk_member_put(object, "subject", lk_any_text_json(a->subject))) != LK_OK ||
        (err = lk_member_put(object, "detail", lk_any_text_json(a->detail))) != LK_OK) {
        return err;
    }
    return hash_put(object, a->hash);
}

enum lk_err
lk_audit_json_parse(const json_t *object, struct lk_audit *ret)
{
    const json_t *seq = json_object_get(object, "seq");
    struct lk_audit a = {.actor = json_string_value(json_object_get(object, "actor")),
                         .action = json_string_value(json_object_get(object, "action")),
                         .scope = json_string_value(json_object_get(object, "scope")),
                         .subject = json_string_value(json_object_get(object, "subject")),
                         .detail = json_string_value(json_object_get(object, "detail"))};

    if (!json_is_integer(seq) || a.actor == NULL || a.action == NULL || a.scope == NULL ||
        a.subject == NULL || a.detail == NULL || hash_get(object, a.hash) != LK_OK ||
        time_get(object, "time", &a.time_ms) != LK_OK) {
        return LK_ERR_FORMAT;
    }
    a.seq = json_integer_value(seq);
    *ret = a;
    return LK_OK;
}

enum lk_err
lk_cursor_json_put(const struct lk_audit_cursor *c, json_t *object)
{
    enum lk_err err = c->seq == 0 ? LK_OK : lk_member_put(object, "seq", json_integer(c->seq));

    return err != LK_OK || c->seq == 0 ? err : hash_put(object, c->hash);
}

enum lk_err
lk_cursor_json_parse(const json_t *object, struct lk_audit_cursor *ret)
{
    const json_t *seq = json_object_get(object, "seq");
    struct lk_audit_cursor c = {.seq = 0};

    if (seq != NULL) {
        c.seq = json_integer_value(seq);
        if (!json_is_integer(seq) || c.seq < 1 || hash_get(object, c.hash) != LK_OK) {
            return LK_ERR_FORMAT;
        }
    }
    *ret = c;
    return LK_OK;
}
