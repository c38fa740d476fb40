/* A peer's text in the log: whatever it is, the line stays one line and one JSON object. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "fuzz.h"

#define LINE_MAX_LEN 4096u

/* What was logged since the last call. */
static size_t
logged(int fd, char *buf, size_t cap)
{
    ssize_t len = pread(fd, buf, cap, 0);

    check(len > 0 && ftruncate(fd, 0) == 0 && lseek(fd, 0, SEEK_SET) == 0);
    return (size_t)len;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    LK_AUTO_BUF struct lk_buf peer = LK_BUF_INIT;
    LK_AUTO(json) json_t *object = NULL;
    char line[LINE_MAX_LEN + 1];
    size_t len;

    if (fd < 0) {
        check((fd = memfd_create("log", MFD_CLOEXEC)) >= 0);
        lk_log_open(LK_LOG_JSON, fd);
    }
    check(lk_buf_put(&peer, data, size) == LK_OK);
    check(lk_buf_text(&peer) != NULL);
    lk_log(LK_LOG_ERROR, "fuzz", LK_F_TEXT("peer", lk_buf_text(&peer)),
           LK_F_TEXT("again", lk_buf_text(&peer)), LK_F_INT("size", (int64_t)size));
    len = logged(fd, line, sizeof(line));
    check(len <= LINE_MAX_LEN && memchr(line, '\n', len) == line + len - 1);
    for (size_t i = 0; i + 1 < len; i++) {
        check((uint8_t)line[i] >= 0x20 && line[i] != 0x7f);
    }
    check(lk_json_parse(line, len, false, NULL, &object) == LK_OK);
    check(json_is_integer(json_object_get(object, "size")));
    return 0;
}
