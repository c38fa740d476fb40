/*
 * What is judged of a request to the device API before provision/ sees it: form alone. In the order
 * of the checks each may rely on those before it.
 */
#include <stdio.h>
#include <string.h>

#include "api/device_int.h"
#include "base/codec.h"

const struct lk_device_operation lk_device_op_register = {"register", LK_HTTP_PUT, "PUT, OPTIONS",
                                                          lk_provision_register};
const struct lk_device_operation lk_device_op_poll = {"poll", LK_HTTP_GET, "GET, OPTIONS",
                                                      lk_provision_poll};
const struct lk_device_operation lk_device_op_lookup = {"lookup", LK_HTTP_POST, "POST, OPTIONS",
                                                        lk_provision_lookup};

const char *
lk_device_call_scope(const struct lk_device_call *c)
{
    return c->op == NULL ? NULL : c->path.segments[0];
}

const char *
lk_device_call_registration_id(const struct lk_device_call *c)
{
    return c->op == NULL ? NULL : c->path.segments[2];
}

/* Always false, so that a check can end with it. */
static bool
fault(struct lk_device_fault *ret, int32_t code, const char *reason, const char *message)
{
    ret->code = code;
    ret->reason = reason;
    (void)snprintf(ret->message, sizeof(ret->message), "%s", message);
    return false;
}

static const struct lk_device_operation *
operation_of(const struct lk_path *p)
{
    if (p->count < 3 || !lk_path_is(p, 1, "registrations") || p->segments[0][0] == '\0' ||
        p->segments[2][0] == '\0') {
        return NULL;
    }
    if (p->count == 3) {
        return &lk_device_op_lookup;
    }
    if (p->count == 4 && lk_path_is(p, 3, "register")) {
        return &lk_device_op_register;
    }
    if (p->count == 5 && lk_path_is(p, 3, "operations") && p->segments[4][0] != '\0') {
        return &lk_device_op_poll;
    }
    return NULL;
}

static bool
check_path(struct lk_device_call *c, struct lk_device_fault *ret)
{
    enum lk_err err = lk_path_parse(lk_http_request_path(c->req), &c->path);

    if (err == LK_ERR_FORMAT) {
        return fault(ret, LK_DPS_BAD_REQUEST, "path.escape",
                     "The path has a broken percent-escape or a NUL");
    }
    if (err == LK_ERR_NOMEM) {
        return fault(ret, LK_DPS_UNAVAILABLE, "path.memory", "Busy, try again later");
    }
    if (err == LK_OK) {
        c->op = operation_of(&c->path);
    }
    if (c->op == NULL) {
        return fault(ret, LK_DPS_NOT_FOUND, "path.unknown", "Not found");
    }
    return true;
}

static bool
check_method(struct lk_device_call *c, struct lk_device_fault *ret)
{
    if (lk_http_request_method(c->req) == c->op->method) {
        return true;
    }
    return fault(ret, LK_DPS_METHOD_NOT_ALLOWED, "method", "Method not allowed");
}

static bool
check_query(struct lk_device_call *c, struct lk_device_fault *ret)
{
    enum lk_err err = lk_query_api_version(lk_http_request_query(c->req));

    if (err != LK_OK) {
        return fault(ret, LK_DPS_BAD_REQUEST, "query.api_version",
                     err == LK_ERR_NOT_FOUND
                         ? "The query needs api-version, for example api-version=2021-06-01"
                         : "api-version: expected once, YYYY-MM-DD or YYYY-MM-DD-preview");
    }
    return true;
}

static bool
check_ids(struct lk_device_call *c, struct lk_device_fault *ret)
{
    const char *scope = lk_device_call_scope(c), *id = lk_device_call_registration_id(c);

    if (!lk_id_scope_ok(scope, strlen(scope))) {
        return fault(ret, LK_DPS_BAD_REQUEST, "path.scope",
                     "idScope: expected 1 to 64 letters, digits and '-'");
    }
    if (!lk_registration_id_ok(id, strlen(id))) {
        return fault(ret, LK_DPS_BAD_REQUEST, "path.registration_id",
                     "registrationId: expected 1 to 128 letters, digits and - . _ : with a letter, "
                     "digit or dash last");
    }
    return true;
}

static bool
check_headers(struct lk_device_call *c, struct lk_device_fault *ret)
{
    if (lk_http_request_header_count(c->req, "Authorization") > 1) {
        return fault(ret, LK_DPS_BAD_REQUEST, "header.authorization",
                     "Authorization: expected at most once");
    }
    if (c->op != &lk_device_op_poll && !lk_api_is_json(c->req)) {
        return fault(ret, LK_DPS_MEDIA_TYPE, "header.content_type",
                     "Content-Type: expected application/json");
    }
    return true;
}

/* The body of a poll says nothing and is not read: some clients send one. */
static bool
check_body(struct lk_device_call *c, struct lk_device_fault *ret)
{
    struct lk_reader body = lk_http_request_body(c->req);
    const char *id = lk_device_call_registration_id(c), *said = c->body.registration_id;
    char error[LK_JSON_ERROR_CAP] = "";
    enum lk_err err;

    if (c->op == &lk_device_op_poll) {
        return true;
    }
    err = lk_dps_register_parse(body.p, body.left, error, &c->body);
    if (err == LK_ERR_NOMEM) {
        return fault(ret, LK_DPS_UNAVAILABLE, "body.memory", "Busy, try again later");
    }
    if (err != LK_OK) {
        return fault(ret, err == LK_ERR_LIMIT ? LK_DPS_TOO_LARGE : LK_DPS_BAD_REQUEST,
                     err == LK_ERR_LIMIT ? "body.limit" : "body.form", error);
    }
    if (said[0] != '\0' && !lk_ascii_caseeq(said, strlen(said), id, strlen(id))) {
        return fault(ret, LK_DPS_BAD_REQUEST, "body.registration_id",
                     "registrationId: expected the one in the path");
    }
    return true;
}

/* A token or the keys of a TPM come first: then certificates are not looked at. */
static bool
check_certs(struct lk_device_call *c, struct lk_device_fault *ret)
{
    enum lk_err err;

    if (c->body.has_tpm || lk_http_request_header(c->req, "Authorization") != NULL) {
        return true;
    }
    err = lk_http_request_peer_certs(c->req, c->certs, &c->certs_count);
    if (err == LK_ERR_LIMIT) {
        return fault(ret, LK_DPS_BAD_REQUEST, "tls.peer_certs",
                     "TLS client certificate: expected a chain of at most 4, 16 KiB each");
    }
    if (err != LK_OK && err != LK_ERR_NOT_FOUND) {
        return fault(ret, LK_DPS_UNAVAILABLE, "tls.memory", "Busy, try again later");
    }
    for (size_t i = 0; i < c->certs_count; i++) {
        c->cert_parts[i] = LK_PART(c->certs[i].data, c->certs[i].len);
    }
    return true;
}

bool
lk_device_call_check(struct lk_device_call *c, struct lk_device_fault *ret)
{
    return check_path(c, ret) && check_method(c, ret) && check_query(c, ret) && check_ids(c, ret) &&
           check_headers(c, ret) && check_body(c, ret) && check_certs(c, ret);
}
