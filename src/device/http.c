/* HTTPS through libcurl, driven so that a deadline and a cancellation are noticed while it waits.
 */
#include "device/http.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <curl/curl.h>

#include <latchkey/latchkey.h>

LK_DEFINE_AUTO(struct curl_slist, curl_headers, curl_slist_free_all);

struct lk_http_conn {
    CURLM *multi; /* owns the connection between exchanges */
    CURL *easy;
    struct lk_buf base; /* "https://host[:port]" */
    char *ca_file;      /* NULL: the system's */
};

/* ---- setting up ------------------------------------------------------------------------------ */

static void
global_init(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT); /* curl_easy_init() fails if this did */
}

void
lk_http_free(struct lk_http_conn *c)
{
    if (c == NULL) {
        return;
    }
    curl_easy_cleanup(c->easy);
    (void)curl_multi_cleanup(c->multi); /* NULL is allowed */
    lk_buf_fini(&c->base);
    free(c->ca_file);
    free(c);
}

/* host[:port] and nothing else: no user, no path, no query. Names are checked by the TLS layer. */
static bool
authority_ok(const char *text, size_t len)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]";

    return len > 0 && len <= 260 && strspn(text, allowed) >= len && text[0] != ':';
}

static enum lk_err
base_take(struct lk_http_conn *c, const char *url)
{
    static const char scheme[] = "https://";
    size_t len;
    enum lk_err err;

    if (strncasecmp(url, scheme, sizeof(scheme) - 1) == 0) {
        url += sizeof(scheme) - 1;
    }
    len = strlen(url);
    if (len > 0 && url[len - 1] == '/') {
        len--;
    }
    if (!authority_ok(url, len)) {
        return LK_ERR_ARG;
    }
    if ((err = lk_buf_puts(&c->base, scheme)) != LK_OK) {
        return err;
    }
    return lk_buf_put(&c->base, url, len);
}

enum lk_err
lk_http_new(const char *base_url, const char *ca_file, struct lk_http_conn **ret)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    LK_AUTO(lk_http) struct lk_http_conn *c = calloc(1, sizeof(*c));
    enum lk_err err;

    if (c == NULL || pthread_once(&once, global_init) != 0) {
        return LK_ERR_NOMEM;
    }
    if ((err = base_take(c, base_url)) != LK_OK) {
        return err;
    }
    if (ca_file != NULL) {
        if (access(ca_file, R_OK) != 0) {
            return LK_ERR_IO;
        }
        if ((c->ca_file = strdup(ca_file)) == NULL) {
            return LK_ERR_NOMEM;
        }
    }
    c->multi = curl_multi_init();
    c->easy = curl_easy_init();
    if (c->multi == NULL || c->easy == NULL) {
        return LK_ERR_NOMEM;
    }
    *ret = lk_http_take(&c);
    return LK_OK;
}

/* ---- one exchange ---------------------------------------------------------------------------- */

static size_t
body_write(char *data, size_t size, size_t count, void *ctx)
{
    struct lk_http_answer *answer = (struct lk_http_answer *)ctx;

    return lk_buf_put(&answer->body, data, size * count) == LK_OK ? size * count : 0;
}

static enum lk_err
header_add(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);

    if (longer == NULL) {
        return LK_ERR_NOMEM;
    }
    *list = longer;
    return LK_OK;
}

static enum lk_err
headers_make(const char *authorization, struct curl_slist **list)
{
    LK_AUTO_BUF struct lk_buf line = LK_BUF_INIT;
    enum lk_err err;

    if ((err = header_add(list, "Content-Type: application/json; charset=utf-8")) != LK_OK ||
        (err = header_add(list, "Accept: application/json")) != LK_OK ||
        (err = header_add(list, "Expect:")) != LK_OK || authorization == NULL) {
        return err;
    }
    if ((err = lk_buf_printf(&line, "Authorization: %s", authorization)) != LK_OK) {
        return err;
    }
    return lk_buf_text(&line) == NULL ? LK_ERR_NOMEM : header_add(list, lk_buf_text(&line));
}

/* The options that make it safe: HTTPS only, verified, nothing followed, no signals. */
static CURLcode
options_safe(const struct lk_http_conn *c)
{
    CURL *e = c->easy;
    CURLcode rc;

    if ((rc = curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "https")) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L)) != CURLE_OK || c->ca_file == NULL) {
        return rc;
    }
    /* The given CAs instead of, not besides, the system's. */
    if ((rc = curl_easy_setopt(e, CURLOPT_CAPATH, NULL)) != CURLE_OK) {
        return rc;
    }
    return curl_easy_setopt(e, CURLOPT_CAINFO, c->ca_file);
}

static CURLcode
options_request(const struct lk_http_conn *c, const char *url, const char *method,
                const struct lk_buf *body, struct curl_slist *headers,
                struct lk_http_answer *answer)
{
    CURL *e = c->easy;
    CURLcode rc;

    if ((rc = curl_easy_setopt(e, CURLOPT_URL, url)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_USERAGENT, "latchkey/" LK_VERSION)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_HTTPHEADER, headers)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, body_write)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_WRITEDATA, answer)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)LK_HTTP_CONNECT_MS)) !=
            CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)LK_HTTP_REQUEST_MS)) != CURLE_OK) {
        return rc;
    }
    if (body == NULL) {
        return curl_easy_setopt(e, CURLOPT_HTTPGET, 1L);
    }
    if ((rc = curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body->len)) !=
            CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_POSTFIELDS, (const char *)body->data)) != CURLE_OK) {
        return rc;
    }
    return curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, method);
}

static enum lk_err
curl_err(CURLcode rc)
{
    switch (rc) {
    case CURLE_OK:
        return LK_OK;
    case CURLE_OUT_OF_MEMORY:
        return LK_ERR_NOMEM;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return LK_ERR_ARG;
    case CURLE_WRITE_ERROR: /* body_write() had no more room */
    case CURLE_FILESIZE_EXCEEDED:
        return LK_ERR_LIMIT;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
        return LK_ERR_TLS;
    default: /* CURLE_SSL_CONNECT_ERROR too: a server that restarts breaks handshakes */
        return LK_ERR_NETWORK;
    }
}

/* Run the transfer that has been added to c->multi. */
static enum lk_err
transfer_run(struct lk_http_conn *c, const struct lk_waiter *w)
{
    int running = 1;
    CURLMsg *message;
    int left;
    enum lk_err err;

    for (;;) {
        if (curl_multi_perform(c->multi, &running) != CURLM_OK) {
            return LK_ERR_NETWORK;
        }
        if (running == 0) {
            message = curl_multi_info_read(c->multi, &left);
            return message != NULL ? curl_err(message->data.result) : LK_ERR_NETWORK;
        }
        if ((err = lk_waiter_check(w)) != LK_OK) {
            return err;
        }
        if (curl_multi_poll(c->multi, NULL, 0, (int)LK_WAIT_SLICE_MS, NULL) != CURLM_OK) {
            return LK_ERR_NETWORK;
        }
    }
}

static void
answer_head_read(struct lk_http_conn *c, struct lk_http_answer *ret)
{
    curl_off_t retry_after = 0;
    long status = 0;

    (void)curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status); /* stays 0 on failure */
    (void)curl_easy_getinfo(c->easy, CURLINFO_RETRY_AFTER, &retry_after);
    ret->status = (int)status;
    ret->retry_after_s = retry_after > 0 && retry_after < UINT32_MAX ? (uint32_t)retry_after : 0;
}

enum lk_err
lk_http_exchange(struct lk_http_conn *c, const struct lk_waiter *w, const char *method,
                 const char *path, const char *authorization, const struct lk_buf *body,
                 struct lk_http_answer *ret)
{
    LK_AUTO(curl_headers) struct curl_slist *headers = NULL;
    LK_AUTO_BUF struct lk_buf url = LK_BUF_INIT;
    enum lk_err err;

    lk_buf_reset(&ret->body);
    ret->body.max = LK_HTTP_ANSWER_MAX;
    ret->status = 0;
    ret->retry_after_s = 0;
    if ((err = lk_waiter_check(w)) != LK_OK ||
        (err = lk_buf_put(&url, c->base.data, c->base.len)) != LK_OK ||
        (err = lk_buf_puts(&url, path)) != LK_OK ||
        (err = headers_make(authorization, &headers)) != LK_OK) {
        return err;
    }
    if (lk_buf_text(&url) == NULL) {
        return LK_ERR_NOMEM;
    }
    curl_easy_reset(c->easy); /* options only: the connection stays with c->multi */
    if ((err = curl_err(options_safe(c))) != LK_OK ||
        (err = curl_err(options_request(c, lk_buf_text(&url), method, body, headers, ret))) !=
            LK_OK) {
        return err;
    }
    if (curl_multi_add_handle(c->multi, c->easy) != CURLM_OK) {
        return LK_ERR_NOMEM;
    }
    if ((err = transfer_run(c, w)) == LK_OK) {
        answer_head_read(c, ret);
    }
    (void)curl_multi_remove_handle(c->multi, c->easy);
    return err;
}
