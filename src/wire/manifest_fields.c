/* The fields of a manifest row, as text in and out; the two forms differ in what is around it. */
#include <stdio.h>
#include <string.h>

#include "base/codec.h"
#include "wire/manifest_int.h"

/* The longest row is one of JSON whose texts all need an escape, or of CSV whose twin is quotes. */
_Static_assert(2 * LK_MANIFEST_TWIN_MAX + LK_MANIFEST_EKS_MAX * LK_MANIFEST_EK_MAX * 3 / 2 +
                       LK_MANIFEST_HUBS_MAX * LK_HOST_NAME_MAX + 4096 <
                   LK_MANIFEST_LINE_MAX,
               "every row that can be read can be written and read again");

static const char *const field_names[FIELDS_COUNT] = {
    [FIELD_REGISTRATION_ID] = "registrationId",
    [FIELD_ENDORSEMENT_KEY] = "endorsementKey",
    [FIELD_DEVICE_ID] = "deviceId",
    [FIELD_PROVISIONING_STATUS] = "provisioningStatus",
    [FIELD_ALLOCATION_POLICY] = "allocationPolicy",
    [FIELD_IOT_HUBS] = "iotHubs",
    [FIELD_INITIAL_TWIN] = "initialTwin",
    [FIELD_REPROVISION_POLICY] = "reprovisionPolicy",
    [FIELD_EK_ID] = "ekId",
    [FIELD_EK_TYPE] = "ekType",
    [FIELD_TPM_KIND] = "tpmKind",
};

static const char *const status_words[] = {"enabled", "disabled"};
static const char *const allocation_words[] = {
    [LK_MANIFEST_ALLOC_DEFAULT] = "",       [LK_MANIFEST_ALLOC_HASHED] = "hashed",
    [LK_MANIFEST_ALLOC_GEO] = "geoLatency", [LK_MANIFEST_ALLOC_STATIC] = "static",
    [LK_MANIFEST_ALLOC_CUSTOM] = "custom",
};
static const char *const reprovision_words[] = {
    [LK_MANIFEST_REPROVISION_DEFAULT] = "",
    [LK_MANIFEST_MIGRATE] = "migrate",
    [LK_MANIFEST_RESET] = "reset",
    [LK_MANIFEST_NEVER] = "never",
};

const char *
lk_manifest_field_name(enum manifest_field field)
{
    return field_names[field];
}

static enum lk_err
word_find(const char *const *words, size_t words_count, const char *text, size_t len, size_t *ret)
{
    for (size_t i = 0; i < words_count; i++) {
        if (strlen(words[i]) == len && memcmp(words[i], text, len) == 0) {
            *ret = i;
            return LK_OK;
        }
    }
    return LK_ERR_FORMAT;
}

enum lk_err
lk_manifest_field_find(const char *name, size_t len, enum manifest_field *ret)
{
    size_t index;

    if (word_find(field_names, FIELDS_COUNT, name, len, &index) != LK_OK) {
        return LK_ERR_FORMAT;
    }
    *ret = (enum manifest_field)index;
    return LK_OK;
}

/* ---- the row --------------------------------------------------------------------------------- */

void
lk_manifest_row_init(struct lk_manifest_row *row)
{
    memset(row, 0, sizeof(*row));
    for (size_t i = 0; i < LK_MANIFEST_EKS_MAX; i++) {
        row->eks[i].max = LK_MANIFEST_EK_MAX;
    }
    row->initial_twin.max = LK_MANIFEST_TWIN_MAX;
}

void
lk_manifest_row_fini(struct lk_manifest_row *row)
{
    for (size_t i = 0; i < LK_MANIFEST_EKS_MAX; i++) {
        lk_buf_fini(&row->eks[i]);
    }
    lk_buf_fini(&row->initial_twin);
}

void
lk_manifest_row_reset(struct lk_manifest_row *row, int64_t line)
{
    row->line = line;
    row->registration_id[0] = '\0';
    for (size_t i = 0; i < LK_MANIFEST_EKS_MAX; i++) {
        lk_buf_reset(&row->eks[i]);
    }
    row->eks_count = 0;
    row->device_id[0] = '\0';
    row->disabled = false;
    row->allocation = LK_MANIFEST_ALLOC_DEFAULT;
    row->hubs_count = 0;
    lk_buf_reset(&row->initial_twin);
    row->reprovision = LK_MANIFEST_REPROVISION_DEFAULT;
    row->ek_id[0] = '\0';
    row->software_tpm = false;
}

/* ---- what is wrong --------------------------------------------------------------------------- */

/* Copy len bytes of anything as printable text of at most cap - 1 bytes. */
static void
printable_copy(char *buf, size_t cap, const char *text, size_t len)
{
    size_t copied = len < cap - 1 ? len : cap - 1;

    for (size_t i = 0; i < copied; i++) {
        buf[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
    }
    buf[copied] = '\0';
}

const char *
lk_manifest_excerpt(const char *text, size_t len, char buf[EXCERPT_CAP])
{
    printable_copy(buf, EXCERPT_CAP, text, len);
    if (len >= EXCERPT_CAP) {
        memcpy(buf + EXCERPT_CAP - 4, "...", 4);
    }
    return buf;
}

enum lk_err
lk_manifest_refuse(struct lk_manifest_problem *problem, const char *name, const char *fmt, ...)
{
    va_list ap;

    printable_copy(problem->field, sizeof(problem->field), name, strlen(name));
    va_start(ap, fmt);
    (void)vsnprintf(problem->reason, sizeof(problem->reason), fmt, ap);
    va_end(ap);
    return LK_ERR_FORMAT;
}

/* The usual refusal: what was expected, and what was there instead. */
static enum lk_err
refuse_value(struct lk_manifest_problem *problem, enum manifest_field field, const char *expected,
             const char *text, size_t len)
{
    char excerpt[EXCERPT_CAP];

    return lk_manifest_refuse(problem, field_names[field], "expected %s, not \"%s\"", expected,
                              lk_manifest_excerpt(text, len, excerpt));
}

/* ---- in -------------------------------------------------------------------------------------- */

static enum lk_err
ek_add(struct lk_manifest_row *row, const char *text, size_t len,
       struct lk_manifest_problem *problem)
{
    enum lk_err err;

    if (row->eks_count == LK_MANIFEST_EKS_MAX) {
        return lk_manifest_refuse(problem, field_names[FIELD_ENDORSEMENT_KEY],
                                  "expected at most %u keys", LK_MANIFEST_EKS_MAX);
    }
    err = lk_base64_decode(text, len, &row->eks[row->eks_count]);
    if (err == LK_ERR_LIMIT) {
        return lk_manifest_refuse(problem, field_names[FIELD_ENDORSEMENT_KEY],
                                  "expected a key of at most %zu bytes", LK_MANIFEST_EK_MAX);
    }
    if (err == LK_ERR_FORMAT) {
        return refuse_value(problem, FIELD_ENDORSEMENT_KEY, "base64 with its padding", text, len);
    }
    row->eks_count += err == LK_OK ? 1 : 0;
    return err;
}

static enum lk_err
hub_add(struct lk_manifest_row *row, const char *text, size_t len,
        struct lk_manifest_problem *problem)
{
    char *hub = row->hubs[row->hubs_count < LK_MANIFEST_HUBS_MAX ? row->hubs_count : 0];

    if (row->hubs_count == LK_MANIFEST_HUBS_MAX) {
        return lk_manifest_refuse(problem, field_names[FIELD_IOT_HUBS],
                                  "expected at most %u host names", LK_MANIFEST_HUBS_MAX);
    }
    if (!lk_host_name_ok(text, len)) {
        return refuse_value(problem, FIELD_IOT_HUBS, "host names", text, len);
    }
    memcpy(hub, text, len);
    hub[len] = '\0';
    row->hubs_count++;
    return LK_OK;
}

static enum lk_err
id_set(char *buf, bool (*id_ok)(const char *, size_t), enum manifest_field field,
       const char *expected, const char *text, size_t len, struct lk_manifest_problem *problem)
{
    if (!id_ok(text, len)) {
        return refuse_value(problem, field, expected, text, len);
    }
    memcpy(buf, text, len);
    buf[len] = '\0';
    return LK_OK;
}

static bool
ek_id_ok(const char *text, size_t len)
{
    LK_AUTO_BUF struct lk_buf id = {.max = LK_MANIFEST_EK_ID_CAP};

    return len == LK_MANIFEST_EK_ID_CAP - 1 && lk_hex_decode(text, len, &id) == LK_OK;
}

static enum lk_err
ek_id_set(struct lk_manifest_row *row, const char *text, size_t len,
          struct lk_manifest_problem *problem)
{
    enum lk_err err =
        id_set(row->ek_id, ek_id_ok, FIELD_EK_ID, "64 hexadecimal digits", text, len, problem);

    lk_ascii_lower(row->ek_id);
    return err;
}

static enum lk_err
word_set(const char *const *words, size_t words_count, enum manifest_field field,
         const char *expected, const char *text, size_t len, struct lk_manifest_problem *problem,
         size_t *ret)
{
    return word_find(words, words_count, text, len, ret) == LK_OK
               ? LK_OK
               : refuse_value(problem, field, expected, text, len);
}

enum lk_err
lk_manifest_twin_set(struct lk_manifest_row *row, const json_t *value,
                     struct lk_manifest_problem *problem)
{
    enum lk_err err;

    if (!json_is_object(value)) {
        return lk_manifest_refuse(problem, field_names[FIELD_INITIAL_TWIN],
                                  "expected a JSON object");
    }
    err = lk_json_write(value, &row->initial_twin);
    if (err == LK_ERR_LIMIT) {
        return lk_manifest_refuse(problem, field_names[FIELD_INITIAL_TWIN],
                                  "expected at most %zu bytes of JSON", LK_MANIFEST_TWIN_MAX);
    }
    return err;
}

/* In brackets, so that what nests deep enough here nests deep enough in a row of JSON. */
static enum lk_err
twin_parse(struct lk_manifest_row *row, const char *text, size_t len,
           struct lk_manifest_problem *problem)
{
    LK_AUTO_BUF struct lk_buf brackets = LK_BUF_INIT;
    LK_AUTO(json) json_t *value = NULL;
    char error[LK_JSON_ERROR_CAP];
    enum lk_err err;

    if ((err = lk_buf_put_u8(&brackets, '[')) != LK_OK ||
        (err = lk_buf_put(&brackets, text, len)) != LK_OK ||
        (err = lk_buf_put_u8(&brackets, ']')) != LK_OK) {
        return err;
    }
    err = lk_json_parse(brackets.data, brackets.len, true, error, &value);
    if (err == LK_ERR_FORMAT) {
        return lk_manifest_refuse(problem, field_names[FIELD_INITIAL_TWIN],
                                  "expected a JSON object: %s", error);
    }
    if (err != LK_OK) {
        return err;
    }
    return lk_manifest_twin_set(row, json_array_size(value) == 1 ? json_array_get(value, 0) : NULL,
                                problem);
}

enum lk_err
lk_manifest_value_set(struct lk_manifest_row *row, enum manifest_field field, const char *text,
                      size_t len, struct lk_manifest_problem *problem)
{
    size_t word = 0;
    enum lk_err err = LK_OK;

    if (len == 0) {
        return LK_OK;
    }
    switch (field) {
    case FIELD_REGISTRATION_ID:
        return id_set(row->registration_id, lk_registration_id_ok, field,
                      "1 to 128 letters, digits, '-', '.', '_', ':' with a letter, digit or '-' "
                      "last",
                      text, len, problem);
    case FIELD_ENDORSEMENT_KEY:
        return ek_add(row, text, len, problem);
    case FIELD_DEVICE_ID:
        return id_set(row->device_id, lk_device_id_ok, field,
                      "1 to 128 letters, digits and -:.+%_#*?!(),=@;$'", text, len, problem);
    case FIELD_PROVISIONING_STATUS:
        err = word_set(status_words, LK_ARRAY_LEN(status_words), field, "enabled or disabled", text,
                       len, problem, &word);
        row->disabled = word == 1;
        return err;
    case FIELD_ALLOCATION_POLICY:
        err = word_set(allocation_words, LK_ARRAY_LEN(allocation_words), field,
                       "hashed, geoLatency, static or custom", text, len, problem, &word);
        row->allocation = (enum lk_manifest_allocation)word;
        return err;
    case FIELD_IOT_HUBS:
        return hub_add(row, text, len, problem);
    case FIELD_INITIAL_TWIN:
        return twin_parse(row, text, len, problem);
    case FIELD_REPROVISION_POLICY:
        err = word_set(reprovision_words, LK_ARRAY_LEN(reprovision_words), field,
                       "migrate, reset or never", text, len, problem, &word);
        row->reprovision = (enum lk_manifest_reprovision)word;
        return err;
    case FIELD_EK_ID:
        return ek_id_set(row, text, len, problem);
    case FIELD_TPM_KIND:
        row->software_tpm = len == strlen("software") && memcmp(text, "software", len) == 0;
        return LK_OK;
    case FIELD_EK_TYPE:
    case FIELDS_COUNT:
        break;
    }
    return LK_OK;
}

enum lk_err
lk_manifest_row_check(const struct lk_manifest_row *row, struct lk_manifest_problem *problem)
{
    if (row->registration_id[0] == '\0') {
        return lk_manifest_refuse(problem, field_names[FIELD_REGISTRATION_ID], "is missing");
    }
    if (row->eks_count == 0) {
        return lk_manifest_refuse(problem, field_names[FIELD_ENDORSEMENT_KEY], "is missing");
    }
    return LK_OK;
}

/* ---- out ------------------------------------------------------------------------------------- */

size_t
lk_manifest_values_count(const struct lk_manifest_row *row, enum manifest_field field)
{
    switch (field) {
    case FIELD_REGISTRATION_ID:
    case FIELD_PROVISIONING_STATUS:
        return 1;
    case FIELD_ENDORSEMENT_KEY:
        return row->eks_count;
    case FIELD_DEVICE_ID:
        return row->device_id[0] != '\0' ? 1 : 0;
    case FIELD_ALLOCATION_POLICY:
        return row->allocation != LK_MANIFEST_ALLOC_DEFAULT ? 1 : 0;
    case FIELD_IOT_HUBS:
        return row->hubs_count;
    case FIELD_INITIAL_TWIN:
        return row->initial_twin.len > 0 ? 1 : 0;
    case FIELD_REPROVISION_POLICY:
        return row->reprovision != LK_MANIFEST_REPROVISION_DEFAULT ? 1 : 0;
    case FIELD_EK_ID:
    case FIELD_EK_TYPE:
    case FIELD_TPM_KIND:
    case FIELDS_COUNT:
        break;
    }
    return 0;
}

enum lk_err
lk_manifest_value_put(const struct lk_manifest_row *row, enum manifest_field field, size_t index,
                      struct lk_buf *ret)
{
    switch (field) {
    case FIELD_REGISTRATION_ID:
        return lk_buf_puts(ret, row->registration_id);
    case FIELD_ENDORSEMENT_KEY:
        return lk_base64_encode(row->eks[index].data, row->eks[index].len, ret);
    case FIELD_DEVICE_ID:
        return lk_buf_puts(ret, row->device_id);
    case FIELD_PROVISIONING_STATUS:
        return lk_buf_puts(ret, status_words[row->disabled ? 1 : 0]);
    case FIELD_ALLOCATION_POLICY:
        return lk_buf_puts(ret, allocation_words[row->allocation]);
    case FIELD_IOT_HUBS:
        return lk_buf_puts(ret, row->hubs[index]);
    case FIELD_INITIAL_TWIN:
        return lk_buf_put(ret, row->initial_twin.data, row->initial_twin.len);
    case FIELD_REPROVISION_POLICY:
        return lk_buf_puts(ret, reprovision_words[row->reprovision]);
    case FIELD_EK_ID:
    case FIELD_EK_TYPE:
    case FIELD_TPM_KIND:
    case FIELDS_COUNT:
        break;
    }
    return LK_OK;
}
