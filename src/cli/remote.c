/* HTTPS to a service, signed with a policy's key, through libcurl. */
#include "cli/remote.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <curl/curl.h>

#include <latchkey/latchkey.h>

#include "base/clock.h"
#include "base/codec.h"
#include "cli/options.h"
#include "crypto/crypto.h"
#include "wire/dps.h"
#include "wire/sas.h"

#define API_VERSION "2021-10-01"
#define CONNECT_MS 15000L
#define CALL_MS 120000L /* a bulk call on a busy service takes its time */
#define TOKEN_LIFE_S 3600
#define BUSY_TRIES 6u
#define BUSY_WAIT_MAX_S 30
#define PAGE_ROWS "200"

LK_DEFINE_AUTO(struct curl_slist, curl_headers, curl_slist_free_all);

struct lk_remote {
    struct lk_svc_connection connection;
    char *ca_file;
    CURL *easy;
    char host[LK_HOST_NAME_MAX + 3];  /* as URLs have it: an IPv6 address in brackets */
    char name[LK_HOST_NAME_MAX + 16]; /* and its port, where that is another than 443 */
    char curl_error[CURL_ERROR_SIZE]; /* of the last exchange */
    int status;                       /* of the last answer; 0: there was none */
    int32_t code;                     /* the service's errorCode; 0: none */
    char message[LK_REMOTE_MESSAGE_CAP];
};

/* ---- the object ------------------------------------------------------------------------------ */

void
lk_remote_free(struct lk_remote *r)
{
    if (r == NULL) {
        return;
    }
    curl_easy_cleanup(r->easy);
    lk_svc_connection_wipe(&r->connection);
    free(r->ca_file);
    free(r);
}

enum lk_err
lk_remote_new(const struct lk_svc_connection *connection, const char *ca_file,
              struct lk_remote **ret)
{
    LK_AUTO(lk_remote) struct lk_remote *r = calloc(1, sizeof(*r));
    const struct lk_svc_connection *c = connection;

    if (r == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return LK_ERR_NOMEM;
    }
    r->connection = *connection;
    if (ca_file != NULL) {
        if (access(ca_file, R_OK) != 0) {
            return LK_ERR_IO;
        }
        if ((r->ca_file = strdup(ca_file)) == NULL) {
            return LK_ERR_NOMEM;
        }
    }
    if ((r->easy = curl_easy_init()) == NULL) {
        return LK_ERR_NOMEM;
    }
    (void)snprintf(r->host, sizeof(r->host), c->is_ipv6 ? "[%s]" : "%s", c->host);
    (void)snprintf(r->name, sizeof(r->name), c->port == 443 ? "%s" : "%s:%u", r->host, c->port);
    *ret = lk_remote_take(&r);
    return LK_OK;
}

const char *
lk_remote_name(const struct lk_remote *r)
{
    return r->name;
}

int32_t
lk_remote_code(const struct lk_remote *r)
{
    return r->code;
}

void
lk_remote_answer_fini(struct lk_remote_answer *a)
{
    json_decref(a->json);
    a->json = NULL;
}

/* ---- what is sent ---------------------------------------------------------------------------- */

/* The token opens the whole host: one is enough for a command's every call. */
static enum lk_err
token_make(const struct lk_remote *r, struct lk_buf *ret)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    const struct lk_svc_connection *c = &r->connection;
    uint64_t expiry = (uint64_t)(lk_clock_unix_ms(&lk_clock_system) / 1000) + TOKEN_LIFE_S;
    uint8_t sig[LK_SAS_SIG_LEN];
    enum lk_err err;

    if ((err = lk_sas_string_to_sign(r->host, expiry, &text)) != LK_OK ||
        (err = lk_hmac(LK_SHA256, c->key, c->key_len, &LK_PART(text.data, text.len), 1, sig)) !=
            LK_OK) {
        return err;
    }
    return lk_sas_format(r->host, expiry, sig, c->key_name, ret);
}

static enum lk_err
url_make(const struct lk_remote *r, const struct lk_remote_request *q, struct lk_buf *ret)
{
    enum lk_err err;

    if ((err = lk_buf_printf(ret, "https://%s%s", r->name, q->path)) != LK_OK ||
        (q->id != NULL && ((err = lk_buf_puts(ret, "/")) != LK_OK ||
                           (err = lk_percent_encode(q->id, strlen(q->id), ret)) != LK_OK)) ||
        (err = lk_buf_puts(ret, q->tail != NULL ? q->tail : "")) != LK_OK ||
        (err = lk_buf_printf(ret, "?api-version=%s%s%s", API_VERSION, q->query != NULL ? "&" : "",
                             q->query != NULL ? q->query : "")) != LK_OK) {
        return err;
    }
    return lk_buf_text(ret) == NULL ? LK_ERR_NOMEM : LK_OK;
}

static enum lk_err
header_add(struct curl_slist **list, const char *name, const char *value)
{
    LK_AUTO_BUF struct lk_buf line = LK_BUF_INIT;
    struct curl_slist *longer;

    if (lk_buf_printf(&line, "%s: %s", name, value) != LK_OK || lk_buf_text(&line) == NULL ||
        (longer = curl_slist_append(*list, lk_buf_text(&line))) == NULL) {
        return LK_ERR_NOMEM;
    }
    *list = longer;
    return LK_OK;
}

static enum lk_err
headers_make(const struct lk_remote *r, const struct lk_remote_request *q, struct curl_slist **ret)
{
    LK_AUTO_BUF struct lk_buf token = LK_BUF_INIT;
    char etag[LK_ETAG_CAP + 2];
    enum lk_err err = token_make(r, &token);

    if (err != LK_OK) {
        return err;
    }
    (void)snprintf(etag, sizeof(etag), "\"%s\"", q->if_match != NULL ? q->if_match : "");
    if (lk_buf_text(&token) == NULL ||
        header_add(ret, "Authorization", lk_buf_text(&token)) != LK_OK ||
        header_add(ret, "Accept", "application/json") != LK_OK ||
        header_add(ret, LK_SVC_DETAILS_HEADER, "1") != LK_OK ||
        header_add(ret, "x-ms-max-item-count", PAGE_ROWS) != LK_OK ||
        header_add(ret, "Expect", "") != LK_OK ||
        (q->body != NULL &&
         header_add(ret, "Content-Type", "application/json; charset=utf-8") != LK_OK) ||
        (q->if_match != NULL && header_add(ret, "If-Match", etag) != LK_OK) ||
        (q->continuation != NULL && q->continuation[0] != '\0' &&
         header_add(ret, "x-ms-continuation", q->continuation) != LK_OK)) {
        return LK_ERR_NOMEM;
    }
    return LK_OK;
}

/* ---- what comes back ------------------------------------------------------------------------- */

struct exchange {
    struct lk_buf body;
    char continuation[LK_REMOTE_CONTINUATION_CAP];
    bool continuation_long; /* longer than any of ours */
};

static size_t
body_write(char *data, size_t size, size_t count, void *ctx)
{
    struct exchange *x = (struct exchange *)ctx;

    return lk_buf_put(&x->body, data, size * count) == LK_OK ? size * count : 0;
}

static size_t
header_read(char *data, size_t size, size_t count, void *ctx)
{
    static const char name[] = "x-ms-continuation:";
    struct exchange *x = (struct exchange *)ctx;
    size_t len = size * count, at = strlen(name), end = len;

    if (len < at || !lk_ascii_caseeq(data, at, name, at)) {
        return len;
    }
    while (at < end && (data[at] == ' ' || data[at] == '\t')) {
        at++;
    }
    while (end > at && (data[end - 1] == '\r' || data[end - 1] == '\n' || data[end - 1] == ' ')) {
        end--;
    }
    if (end - at >= sizeof(x->continuation) || memchr(data + at, 0, end - at) != NULL) {
        x->continuation_long = true;
        return len;
    }
    memcpy(x->continuation, data + at, end - at);
    x->continuation[end - at] = '\0';
    return len;
}

static CURLcode
options_safe(const struct lk_remote *r)
{
    CURL *e = r->easy;
    CURLcode rc;

    if ((rc = curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "https")) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, CALL_MS)) != CURLE_OK || r->ca_file == NULL) {
        return rc;
    }
    /* The given authorities instead of, not besides, the system's. */
    if ((rc = curl_easy_setopt(e, CURLOPT_CAPATH, NULL)) != CURLE_OK) {
        return rc;
    }
    return curl_easy_setopt(e, CURLOPT_CAINFO, r->ca_file);
}

static CURLcode
options_request(struct lk_remote *r, const char *url, const char *method, const struct lk_buf *body,
                struct curl_slist *headers, struct exchange *x)
{
    CURL *e = r->easy;
    bool has_body = body->len > 0 || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0;
    CURLcode rc;

    if ((rc = curl_easy_setopt(e, CURLOPT_URL, url)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_USERAGENT, "latchkey/" LK_VERSION)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_HTTPHEADER, headers)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_ERRORBUFFER, r->curl_error)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, body_write)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_WRITEDATA, x)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, header_read)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_HEADERDATA, x)) != CURLE_OK) {
        return rc;
    }
    if (has_body &&
        ((rc = curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body->len)) !=
             CURLE_OK ||
         (rc = curl_easy_setopt(e, CURLOPT_POSTFIELDS,
                                body->len > 0 ? (const char *)body->data : "")) != CURLE_OK)) {
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
    case CURLE_OPERATION_TIMEDOUT:
        return LK_ERR_TIMEOUT;
    case CURLE_WRITE_ERROR: /* body_write() had no more room */
    case CURLE_FILESIZE_EXCEEDED:
        return LK_ERR_LIMIT;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_INVALIDCERTSTATUS:
        return LK_ERR_TLS;
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return LK_ERR_PROTOCOL;
    default:
        return LK_ERR_NETWORK;
    }
}

/* A connection that breaks in the handshake is a service that goes away, not one with a bad
 * certificate. */
static enum lk_err
perform(struct lk_remote *r)
{
    CURLcode rc = curl_easy_perform(r->easy);
    long os_errno = 0;

    if (rc == CURLE_SSL_CONNECT_ERROR &&
        curl_easy_getinfo(r->easy, CURLINFO_OS_ERRNO, &os_errno) == CURLE_OK && os_errno != 0) {
        return LK_ERR_NETWORK;
    }
    return curl_err(rc);
}

static enum lk_err
status_err(const struct lk_remote *r)
{
    switch (r->status) {
    case 400:
    case 415:
        return LK_ERR_FORMAT;
    case 401:
    case 403:
        return LK_ERR_REFUSED;
    case 404: /* without a code it is no service of this kind, and what was asked for may be there
               */
        return r->code != 0 ? LK_ERR_NOT_FOUND : LK_ERR_UNSUPPORTED;
    case 405:
        return LK_ERR_UNSUPPORTED;
    case 409:
        return LK_ERR_EXISTS;
    case 412:
        return LK_ERR_PRECONDITION;
    case 413:
        return LK_ERR_LIMIT;
    case 429:
    case 503:
        return LK_ERR_BUSY;
    default:
        return r->status >= 200 && r->status < 300 ? LK_OK : LK_ERR_PROTOCOL;
    }
}

/* What an error's body says, fit to be shown. */
static void
error_read(struct lk_remote *r, const struct lk_buf *body)
{
    char text[256] = "", shown[LK_CLI_SHOWN_CAP];

    if (lk_dps_error_parse(body->data, body->len, &r->code, text, sizeof(text)) != LK_OK) {
        r->code = 0;
        return;
    }
    (void)snprintf(r->message, sizeof(r->message), "%.300s", lk_cli_shown(text, shown));
}

/* ---- a call ---------------------------------------------------------------------------------- */

static enum lk_err
exchange_run(struct lk_remote *r, const struct lk_remote_request *q, const struct lk_buf *body,
             struct exchange *x)
{
    LK_AUTO(curl_headers) struct curl_slist *headers = NULL;
    LK_AUTO_BUF struct lk_buf url = LK_BUF_INIT;
    long status = 0;
    enum lk_err err;

    if ((err = url_make(r, q, &url)) != LK_OK || (err = headers_make(r, q, &headers)) != LK_OK) {
        return err;
    }
    lk_buf_reset(&x->body);
    x->continuation[0] = '\0';
    r->curl_error[0] = '\0';
    r->message[0] = '\0';
    r->status = 0;
    r->code = 0;
    curl_easy_reset(r->easy); /* options only: the connection is kept */
    if ((err = curl_err(options_safe(r))) != LK_OK ||
        (err = curl_err(options_request(r, lk_buf_text(&url), q->method, body, headers, x))) !=
            LK_OK) {
        return err;
    }
    err = perform(r);
    (void)curl_easy_setopt(r->easy, CURLOPT_HTTPHEADER, NULL); /* the list goes now */
    if (err != LK_OK) {
        return err;
    }
    (void)curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
    r->status = (int)status;
    return x->continuation_long ? LK_ERR_LIMIT : LK_OK;
}

/* As long as the service asks, within reason. */
static void
busy_wait(struct lk_remote *r, unsigned tries)
{
    curl_off_t asked = 0;
    struct timespec pause = {.tv_sec = 0};

    (void)curl_easy_getinfo(r->easy, CURLINFO_RETRY_AFTER, &asked); /* stays 0 when it is absent */
    pause.tv_sec = asked > BUSY_WAIT_MAX_S ? BUSY_WAIT_MAX_S : asked > 0 ? (time_t)asked : 0;
    if (pause.tv_sec == 0) {
        pause.tv_nsec = 200000000L << (tries < 2 ? tries : 2);
    }
    (void)nanosleep(&pause, NULL); /* a signal only makes it shorter */
}

static void
exchange_fini(struct exchange *x)
{
    lk_buf_fini(&x->body);
}

static enum lk_err
answer_take(struct lk_remote *r, const struct exchange *x, struct lk_remote_answer *ret)
{
    enum lk_err err;

    memcpy(ret->continuation, x->continuation, sizeof(ret->continuation));
    if (x->body.len == 0) {
        return LK_OK;
    }
    err = lk_json_parse(x->body.data, x->body.len, true, NULL, &ret->json);
    if (err == LK_ERR_FORMAT) {
        (void)snprintf(r->message, sizeof(r->message), "the answer is not JSON");
        return LK_ERR_PROTOCOL;
    }
    return err;
}

enum lk_err
lk_remote_call(struct lk_remote *r, const struct lk_remote_request *q, struct lk_remote_answer *ret)
{
    __attribute__((cleanup(exchange_fini))) struct exchange x = {
        .body = {.max = LK_REMOTE_ANSWER_MAX}};
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;
    enum lk_err err = q->body != NULL ? lk_json_write(q->body, &body) : LK_OK;

    lk_remote_answer_fini(ret);
    ret->continuation[0] = '\0';
    if (err != LK_OK) {
        return err;
    }
    for (unsigned tries = 0;; tries++) {
        if ((err = exchange_run(r, q, &body, &x)) != LK_OK) {
            return err;
        }
        if (r->status != 429 && r->status != 503) {
            break;
        }
        if (tries + 1 == BUSY_TRIES) {
            break;
        }
        busy_wait(r, tries);
    }
    if (r->status >= 300) {
        error_read(r, &x.body);
    }
    err = status_err(r);
    return err != LK_OK ? err : answer_take(r, &x, ret);
}

/* ---- what is told ---------------------------------------------------------------------------- */

static const char *
hint_of(const struct lk_remote *r, enum lk_err err)
{
    switch (err) {
    case LK_ERR_REFUSED:
        return "the policy's name or key is wrong, the policy lacks the right for this, or the "
               "clock of this machine is";
    case LK_ERR_TLS:
        if (strstr(r->curl_error, "expired") != NULL) {
            return "the service needs a new certificate, or the clock of this machine is wrong";
        }
        return r->ca_file == NULL
                   ? "name the authority that signed the service's certificate: --ca-file, "
                     "$LATCHKEY_CA_FILE, or ca-file in the profile"
                   : "the CA file is not that of the service's authority, or what answers there is "
                     "another machine";
    case LK_ERR_NETWORK:
    case LK_ERR_TIMEOUT:
        return "is the host name right, and the service running and reachable from here?";
    case LK_ERR_UNSUPPORTED:
        return "what answers there does not know this call: is it a Latchkey of this version?";
    case LK_ERR_PRECONDITION:
        return "try again";
    default:
        return NULL;
    }
}

int
lk_remote_fail(const struct lk_remote *r, enum lk_err err, const char *what)
{
    char shown[LK_CLI_SHOWN_CAP];
    const char *hint = hint_of(r, err);
    const char *said = r->message[0] != '\0' ? r->message : r->curl_error;

    if (said[0] == '\0') {
        said = lk_err_text(err);
    }
    if (r->status != 0 && r->message[0] == '\0') {
        lk_cli_note("%s: %s answered with status %d", what, r->name, r->status);
    } else {
        lk_cli_note("%s: %s: %s", what, r->name, lk_cli_shown(said, shown));
    }
    if (hint != NULL) {
        lk_cli_note("%s", hint);
    }
    return lk_err_exit_code(err);
}
