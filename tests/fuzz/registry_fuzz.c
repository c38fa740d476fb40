/*
 * What a hub elsewhere answers, as each of the messages that it may be: bounded, and what is kept
 * of it can be sent again.
 */
#include <ctype.h>
#include <string.h>

#include "fuzz.h"
#include "link/registry.h"

static const uint8_t key[32];
static const struct lk_hub_identity identity = {
    .device_id = "dev-1", .keys = {key, key}, .keys_len = {sizeof(key), sizeof(key)}};

static void
device(const uint8_t *data, size_t size)
{
    char error[LK_JSON_ERROR_CAP] = "";
    struct lk_hub_snapshot s = {.found = false};
    struct lk_buf again = LK_BUF_INIT;
    enum lk_err err = lk_registry_device_parse(data, size, "dev-1", error, &s);

    check(s.found == (err == LK_OK));
    check(err == LK_OK || memchr(error, '\0', sizeof(error)) != NULL);
    if (err == LK_OK) {
        check(s.etag[0] != '\0' && strlen(s.etag) < sizeof(s.etag));
        for (const char *at = s.etag; *at != '\0'; at++) {
            check(isgraph((unsigned char)*at) && *at != '"' && *at != '\\');
        }
        check(s.keys_len[0] <= sizeof(s.keys[0]) && s.keys_len[1] <= sizeof(s.keys[1]));
        check(lk_registry_update_format(&s, &identity, &again) == LK_OK);
    }
    lk_buf_fini(&again);
    lk_hub_snapshot_fini(&s);
}

static void
twin(const uint8_t *data, size_t size)
{
    char error[LK_JSON_ERROR_CAP] = "";
    struct lk_hub_identity id = identity;
    struct lk_buf text = LK_BUF_INIT, again = LK_BUF_INIT;

    if (lk_registry_twin_parse(data, size, "dev-1", error, &text) == LK_OK && text.len > 0) {
        id.twin = lk_buf_text(&text);
        check(lk_registry_create_format(&id, &again) == LK_OK);
        lk_buf_reset(&again);
        check(lk_registry_twin_format(id.twin, &again) == LK_OK);
    }
    lk_buf_fini(&text);
    lk_buf_fini(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char error[LK_JSON_ERROR_CAP] = "", name[LK_REGISTRY_NAME_CAP];
    int64_t devices = 0;

    device(data, size);
    twin(data, size);
    if (lk_registry_bulk_parse(data, size, error) != LK_OK) {
        check(error[0] != '\0' && memchr(error, '\0', sizeof(error)) != NULL);
    }
    lk_registry_error_parse(data, size, name);
    for (const char *at = name; *at != '\0'; at++) {
        check(isalnum((unsigned char)*at) || *at == '-');
    }
    (void)lk_registry_statistics_parse(data, size, &devices);
    return 0;
}
