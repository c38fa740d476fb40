/* The table as a file to begin with. */
#include <string.h>

#include "daemon/config_int.h"

static const struct lk_config_setting *
setting_find(const char *key, const struct lk_config_setting *settings, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (settings[i].value != NULL && strcmp(settings[i].key, key) == 0) {
            return &settings[i];
        }
    }
    return NULL;
}

/* The default as it would stand in this file: below the data folder that the file names. */
static enum lk_err
fallback_put(const struct lk_config_row *row, const char *data_dir, struct lk_buf *ret)
{
    static const char mark[] = "<data-dir>";
    const char *at = strstr(row->fallback, mark);
    enum lk_err err;

    if (at == NULL) {
        return lk_buf_puts(ret, row->fallback);
    }
    if ((err = lk_buf_put(ret, row->fallback, (size_t)(at - row->fallback))) != LK_OK ||
        (err = lk_buf_puts(ret, data_dir)) != LK_OK) {
        return err;
    }
    return lk_buf_puts(ret, at + sizeof(mark) - 1);
}

static enum lk_err
row_put(const struct lk_config_row *row, const struct lk_config_setting *setting,
        const char *data_dir, struct lk_buf *ret)
{
    const char *unit = row->kind == LK_ROW_NUMBER ? row->unit : "";
    enum lk_err err;

    if ((err = lk_buf_printf(ret, "\n# %s%s%s%s\n", row->sentence, unit[0] != '\0' ? " (" : "",
                             unit, unit[0] != '\0' ? ")" : "")) != LK_OK) {
        return err;
    }
    if (setting != NULL) {
        return lk_buf_printf(ret, "%s = %s\n", row->key, setting->value);
    }
    if ((err = lk_buf_printf(ret, "#%s = ", row->key)) != LK_OK ||
        (err = fallback_put(row, data_dir, ret)) != LK_OK) {
        return err;
    }
    return lk_buf_puts(ret, "\n");
}

enum lk_err
lk_config_template(const struct lk_config_setting *settings, size_t settings_count,
                   struct lk_buf *ret)
{
    const struct lk_config_setting *dir = setting_find("data-dir", settings, settings_count);
    enum lk_err err;

    for (size_t i = 0; i < settings_count; i++) {
        if (settings[i].value != NULL && strpbrk(settings[i].value, "\r\n") != NULL) {
            return LK_ERR_ARG;
        }
    }
    err = lk_buf_puts(ret, "# Configuration of latchkeyd: latchkeyd.conf(5). Keys in comments are "
                           "at their defaults.\n");
    for (size_t i = 0; i < lk_config_rows_count && err == LK_OK; i++) {
        const struct lk_config_row *row = &lk_config_rows[i];

        err = row_put(row, setting_find(row->key, settings, settings_count),
                      dir != NULL ? dir->value : lk_config_rows[0].fallback, ret);
    }
    return err;
}
