/* Rules of enrollment groups whose devices bring a certificate of their endorsement key. */
#include "provision/ek_group.h"

#include <stdio.h>
#include <string.h>

#include "base/codec.h"

/* ---- reading ----------------------------------------------------------------------------------
 */

static enum lk_err
refuse(enum lk_err err, char error[LK_JSON_ERROR_CAP], const char *member, const char *what)
{
    if (error != NULL) {
        (void)snprintf(error, LK_JSON_ERROR_CAP, "%s %s", member, what);
    }
    return err;
}

/* What a member's value, of the right kind, is read by. */
typedef enum lk_err value_fn(const json_t *value, struct lk_ek_rules *r);

static enum lk_err
root_get(const char *text, uint8_t ret[LK_EK_FINGERPRINT_LEN])
{
    LK_AUTO_BUF struct lk_buf raw = LK_BUF_INIT;
    enum lk_err err;

    if (strlen(text) != 2 * LK_EK_FINGERPRINT_LEN) {
        return LK_ERR_FORMAT;
    }
    if ((err = lk_hex_decode(text, strlen(text), &raw)) != LK_OK) {
        return err;
    }
    memcpy(ret, raw.data, LK_EK_FINGERPRINT_LEN);
    return LK_OK;
}

static enum lk_err
roots_get(const json_t *value, struct lk_ek_rules *r)
{
    size_t count = json_array_size(value);
    enum lk_err err;

    if (!json_is_array(value)) {
        return LK_ERR_FORMAT;
    }
    if (count > LK_EK_ROOTS_MAX) {
        return LK_ERR_LIMIT;
    }
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(value, i));

        if (text == NULL) {
            return LK_ERR_FORMAT;
        }
        if ((err = root_get(text, r->roots[i])) != LK_OK) {
            return err;
        }
    }
    r->roots_count = count;
    return LK_OK;
}

/* Texts of 1 to cap - 1 bytes, rows one after the other at list. An empty list is none that means
 * "any" by mistake. */
static enum lk_err
list_get(const json_t *value, char *list, size_t cap, size_t *ret_count)
{
    size_t count = json_array_size(value);

    if (!json_is_array(value) || count == 0) {
        return LK_ERR_FORMAT;
    }
    if (count > LK_EK_LIST_MAX) {
        return LK_ERR_LIMIT;
    }
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(value, i));
        enum lk_err err =
            text == NULL || text[0] == '\0' ? LK_ERR_FORMAT : lk_strcpy(list + i * cap, cap, text);

        if (err != LK_OK) {
            return err;
        }
    }
    *ret_count = count;
    return LK_OK;
}

static enum lk_err
issuers_get(const json_t *value, struct lk_ek_rules *r)
{
    return list_get(value, r->issuers[0], LK_EK_NAME_CAP, &r->issuers_count);
}

static enum lk_err
vendors_get(const json_t *value, struct lk_ek_rules *r)
{
    return list_get(value, r->vendors[0], LK_EK_ATTRIBUTE_CAP, &r->vendors_count);
}

static enum lk_err
models_get(const json_t *value, struct lk_ek_rules *r)
{
    return list_get(value, r->models[0], LK_EK_ATTRIBUTE_CAP, &r->models_count);
}

static enum lk_err
firmware_min_get(const json_t *value, struct lk_ek_rules *r)
{
    const char *text = json_string_value(value);

    r->has_firmware_min = true;
    return text == NULL ? LK_ERR_FORMAT : lk_ek_version_parse(text, &r->firmware_min);
}

static enum lk_err
firmware_max_get(const json_t *value, struct lk_ek_rules *r)
{
    const char *text = json_string_value(value);

    r->has_firmware_max = true;
    return text == NULL ? LK_ERR_FORMAT : lk_ek_version_parse(text, &r->firmware_max);
}

static enum lk_err
quota_get(const json_t *value, struct lk_ek_rules *r)
{
    r->quota = json_integer_value(value);
    return r->quota < 1 ? LK_ERR_FORMAT : r->quota > LK_EK_QUOTA_MAX ? LK_ERR_LIMIT : LK_OK;
}

static enum lk_err
not_before_get(const json_t *value, struct lk_ek_rules *r)
{
    r->has_not_before = true;
    return !json_is_string(value)
               ? LK_ERR_FORMAT
               : lk_timestamp_parse(json_string_value(value), json_string_length(value),
                                    &r->not_before_ms);
}

static enum lk_err
not_after_get(const json_t *value, struct lk_ek_rules *r)
{
    r->has_not_after = true;
    return !json_is_string(value) ? LK_ERR_FORMAT
                                  : lk_timestamp_parse(json_string_value(value),
                                                       json_string_length(value), &r->not_after_ms);
}

static enum lk_err
any_id_get(const json_t *value, struct lk_ek_rules *r)
{
    r->any_registration_id = json_is_true(value);
    return json_is_boolean(value) ? LK_OK : LK_ERR_FORMAT;
}

static const struct member {
    const char *name;
    value_fn *get;
} members[] = {
    {"roots", roots_get},
    {"issuers", issuers_get},
    {"vendors", vendors_get},
    {"models", models_get},
    {"firmwareMin", firmware_min_get},
    {"firmwareMax", firmware_max_get},
    {"quota", quota_get},
    {"notBefore", not_before_get},
    {"notAfter", not_after_get},
    {"anyRegistrationId", any_id_get},
};

static value_fn *
member_find(const char *name)
{
    for (size_t i = 0; i < LK_ARRAY_LEN(members); i++) {
        if (strcmp(members[i].name, name) == 0) {
            return members[i].get;
        }
    }
    return NULL;
}

static enum lk_err
members_get(json_t *root, char error[LK_JSON_ERROR_CAP], struct lk_ek_rules *r)
{
    const char *name;
    json_t *value;

    json_object_foreach(root, name, value)
    {
        value_fn *get = member_find(name);
        enum lk_err err;

        if (get == NULL) {
            return refuse(LK_ERR_FORMAT, error, "the rules", "have a member that there is not");
        }
        if ((err = get(value, r)) != LK_OK) {
            return refuse(err, error, name,
                          err == LK_ERR_LIMIT ? "is too long or too large" : "is not acceptable");
        }
    }
    if (r->has_firmware_min && r->has_firmware_max && r->firmware_min > r->firmware_max) {
        return refuse(LK_ERR_FORMAT, error, "firmwareMax", "is below firmwareMin");
    }
    if (r->has_not_before && r->has_not_after && r->not_before_ms >= r->not_after_ms) {
        return refuse(LK_ERR_FORMAT, error, "notAfter", "is not after notBefore");
    }
    return LK_OK;
}

enum lk_err
lk_ek_rules_parse(const void *text, size_t len, char error[LK_JSON_ERROR_CAP],
                  struct lk_ek_rules *ret)
{
    LK_AUTO(json) json_t *root = NULL;
    struct lk_ek_rules r;
    enum lk_err err;

    memset(&r, 0, sizeof(r));
    if (len > LK_EK_RULES_MAX) {
        return refuse(LK_ERR_LIMIT, error, "the rules", "are too long");
    }
    if ((err = lk_json_parse(text, len, false, error, &root)) != LK_OK ||
        (err = members_get(root, error, &r)) != LK_OK) {
        return err;
    }
    *ret = r;
    return LK_OK;
}

/* ---- writing ---------------------------------------------------------------------------------
 */

static enum lk_err
put(json_t *object, const char *name, json_t *value)
{
    return json_object_set_new(object, name, value) == 0 ? LK_OK : LK_ERR_NOMEM;
}

static enum lk_err
roots_put(json_t *root, const struct lk_ek_rules *r)
{
    json_t *array = json_array();
    enum lk_err err = put(root, "roots", array);

    for (size_t i = 0; err == LK_OK && i < r->roots_count; i++) {
        LK_AUTO_BUF struct lk_buf hex = LK_BUF_INIT;
        const char *text;

        err = lk_hex_encode(r->roots[i], LK_EK_FINGERPRINT_LEN, &hex);
        text = err == LK_OK ? lk_buf_text(&hex) : NULL;
        if (text == NULL || json_array_append_new(array, json_string(text)) != 0) {
            return LK_ERR_NOMEM;
        }
    }
    return err;
}

static enum lk_err
list_put(json_t *root, const char *name, const char *list, size_t cap, size_t count)
{
    json_t *array = count > 0 ? json_array() : NULL;
    enum lk_err err = count > 0 ? put(root, name, array) : LK_OK;

    for (size_t i = 0; err == LK_OK && i < count; i++) {
        if (json_array_append_new(array, json_string(list + i * cap)) != 0) {
            return LK_ERR_NOMEM;
        }
    }
    return err;
}

static enum lk_err
firmware_put(json_t *root, const char *name, bool has, uint64_t version)
{
    char text[32];

    if (!has) {
        return LK_OK;
    }
    (void)snprintf(text, sizeof(text), "id:%08llX", (unsigned long long)version);
    return put(root, name, json_string(text));
}

static enum lk_err
time_put(json_t *root, const char *name, bool has, int64_t unix_ms)
{
    char text[LK_TIMESTAMP_CAP];

    if (!has) {
        return LK_OK;
    }
    lk_timestamp_format(unix_ms, text);
    return put(root, name, json_string(text));
}

enum lk_err
lk_ek_rules_format(const struct lk_ek_rules *r, struct lk_buf *ret)
{
    LK_AUTO(json) json_t *root = json_object();
    LK_AUTO_BUF struct lk_buf text = {.max = LK_EK_RULES_MAX}; /* escapes make it longer */
    enum lk_err err;

    if (root == NULL) {
        return LK_ERR_NOMEM;
    }
    if ((err = roots_put(root, r)) != LK_OK ||
        (err = list_put(root, "issuers", r->issuers[0], LK_EK_NAME_CAP, r->issuers_count)) !=
            LK_OK ||
        (err = list_put(root, "vendors", r->vendors[0], LK_EK_ATTRIBUTE_CAP, r->vendors_count)) !=
            LK_OK ||
        (err = list_put(root, "models", r->models[0], LK_EK_ATTRIBUTE_CAP, r->models_count)) !=
            LK_OK ||
        (err = firmware_put(root, "firmwareMin", r->has_firmware_min, r->firmware_min)) != LK_OK ||
        (err = firmware_put(root, "firmwareMax", r->has_firmware_max, r->firmware_max)) != LK_OK ||
        (r->quota != 0 && (err = put(root, "quota", json_integer(r->quota))) != LK_OK) ||
        (err = time_put(root, "notBefore", r->has_not_before, r->not_before_ms)) != LK_OK ||
        (err = time_put(root, "notAfter", r->has_not_after, r->not_after_ms)) != LK_OK ||
        (r->any_registration_id && (err = put(root, "anyRegistrationId", json_true())) != LK_OK) ||
        (err = lk_json_write(root, &text)) != LK_OK) {
        return err;
    }
    return lk_buf_put(ret, text.data, text.len);
}

/* ---- judging ---------------------------------------------------------------------------------
 */

/* Of "id:494E5443", "INTC": trailing NULs and spaces are what fills four characters. "": none. */
static void
vendor_spell(const char *manufacturer, char ret[5])
{
    uint64_t digits;
    size_t len = 4;

    ret[0] = '\0';
    if (strlen(manufacturer) != 3 + 8 || lk_ek_version_parse(manufacturer, &digits) != LK_OK) {
        return;
    }
    for (size_t i = 0; i < 4; i++) {
        ret[i] = (char)(digits >> (24 - 8 * i) & 0xff);
    }
    while (len > 0 && (ret[len - 1] == '\0' || ret[len - 1] == ' ')) {
        len--;
    }
    ret[len] = '\0';
}

static bool
vendor_fits(const struct lk_ek_rules *r, const char *manufacturer)
{
    char spelt[5];

    vendor_spell(manufacturer, spelt);
    for (size_t i = 0; i < r->vendors_count; i++) {
        const char *want = r->vendors[i];

        if (strcmp(want, spelt) == 0 ||
            lk_ascii_caseeq(want, strlen(want), manufacturer, strlen(manufacturer))) {
            return true;
        }
    }
    return r->vendors_count == 0;
}

/* text is in the list, or there is none. */
static bool
list_fits(const char *list, size_t cap, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list + i * cap, text) == 0) {
            return true;
        }
    }
    return count == 0;
}

/* A version that is asked for has to be there. */
static bool
firmware_fits(const struct lk_ek_rules *r, const char *version)
{
    uint64_t v;

    if (!r->has_firmware_min && !r->has_firmware_max) {
        return true;
    }
    return lk_ek_version_parse(version, &v) == LK_OK &&
           (!r->has_firmware_min || v >= r->firmware_min) &&
           (!r->has_firmware_max || v <= r->firmware_max);
}

static enum lk_err
id_judge(const struct lk_ek_rules *r, const struct lk_ek_claim *claim, const char **ret_why)
{
    char derived[LK_DEFAULT_REGISTRATION_ID_CAP];
    const char *id = claim->registration_id;
    enum lk_err err;

    if (r->any_registration_id) {
        return LK_OK;
    }
    *ret_why = "ek_cert.crypto";
    if ((err = lk_default_registration_id(claim->ek_pub.data, claim->ek_pub.len, derived)) !=
        LK_OK) {
        return err;
    }
    *ret_why = "group.registration_id";
    return lk_ascii_caseeq(id, strlen(id), derived, strlen(derived)) ? LK_OK : LK_ERR_REFUSED;
}

static const char *
facts_judge(const struct lk_ek_rules *r, const struct lk_ek_cert_facts *f)
{
    if (!list_fits(r->issuers[0], LK_EK_NAME_CAP, r->issuers_count, f->issuer)) {
        return "group.issuer";
    }
    if (!vendor_fits(r, f->manufacturer)) {
        return "group.vendor";
    }
    if (!list_fits(r->models[0], LK_EK_ATTRIBUTE_CAP, r->models_count, f->model)) {
        return "group.model";
    }
    return firmware_fits(r, f->version) ? NULL : "group.firmware";
}

/* What the group asks before it looks at the device. */
static const char *
group_judge(const struct lk_ek_rules *r, int64_t now_ms)
{
    if (r->roots_count == 0) {
        return "group.no_roots";
    }
    if (r->has_not_before && now_ms < r->not_before_ms) {
        return "group.not_started";
    }
    return r->has_not_after && now_ms >= r->not_after_ms ? "group.ended" : NULL;
}

enum lk_err
lk_ek_rules_judge(const struct lk_ek_rules *r, const struct lk_ek_claim *claim,
                  const struct lk_ek_trust *trust, int64_t now_ms, const char **ret_why)
{
    const struct lk_ek_cert_facts *facts = lk_ek_cert_facts(claim->cert);
    struct lk_ek_verify how = {.trust = trust,
                               .roots = r->roots,
                               .roots_count = r->roots_count,
                               .chain = claim->chain,
                               .chain_count = claim->chain_count,
                               .now_ms = now_ms};
    const char *why = group_judge(r, now_ms);
    enum lk_err err;

    if (why == NULL && !lk_tpm_key_is_certified(claim->ek, facts)) {
        why = "ek_cert.key_mismatch";
    }
    if (why != NULL) {
        *ret_why = why;
        return LK_ERR_REFUSED;
    }
    if ((err = id_judge(r, claim, ret_why)) != LK_OK) {
        return err;
    }
    if ((why = facts_judge(r, facts)) != NULL) {
        *ret_why = why;
        return LK_ERR_REFUSED;
    }
    return lk_ek_cert_verify(claim->cert, &how, ret_why);
}

bool
lk_ek_rules_have_room(const struct lk_ek_rules *r, int64_t registrations)
{
    return r->quota == 0 || registrations < r->quota;
}
