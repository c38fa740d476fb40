"""How each client speaks (device-protocol.md 1.1 to 1.9): the bytes it sends and its token.

A dialect has: name, api_version, fresh_connections (a TCP connection for each request, not one for
the flow), register(flow, token) and poll(flow, token) giving the bytes of a request, and
token(flow, key). flow has host, scope, registration_id, ek and srk (bytes), key_name, operation_id
and payload (None, or a JSON value).
"""
import base64
import json
from urllib.parse import quote_plus
from uuid import uuid4

from lib import https, sas

JSON_UTF8 = "application/json; charset=utf-8"


def compact(value):
    return json.dumps(value, separators=(",", ":")).encode()


def tpm_member(flow):
    return {"endorsementKey": base64.b64encode(flow.ek).decode(),
            "storageRootKey": base64.b64encode(flow.srk).decode()}


def register_body(flow, with_tpm=True):
    body = {"registrationId": flow.registration_id}
    if with_tpm:
        body["tpm"] = tpm_member(flow)
    if flow.payload is not None:
        body["payload"] = flow.payload
    return body


class Dialect:
    """What most of them share."""

    api_version = "2019-03-31"
    fresh_connections = False

    def path_id(self, flow):
        return flow.registration_id

    def register_target(self, flow):
        return (f"/{flow.scope}/registrations/{self.path_id(flow)}/register"
                f"?api-version={self.api_version}")

    def poll_target(self, flow):
        return (f"/{flow.scope}/registrations/{self.path_id(flow)}/operations/{flow.operation_id}"
                f"?api-version={self.api_version}")

    def resource(self, flow):
        return f"{flow.scope}/registrations/{flow.registration_id}"

    def register(self, flow, token=None):
        return self.put(flow, compact(register_body(flow)), token)

    def token(self, flow, key):
        return sas.token(key, sas.escape(self.resource(flow)), sas.in_s(3600), "registration")


class C(Dialect):
    """azure-iot-sdk-c, uhttp: one connection, "UserAgent", content-length on GET."""

    name = "c"
    api_version = "2021-06-01"

    def headers(self, flow, token, length):
        return ([("UserAgent", "prov_device_client/1.0"), ("Accept", "application/json"),
                 ("Connection", "keep-alive"), ("Content-Type", JSON_UTF8)] +
                ([("Authorization", token)] if token else []) +
                [("Host", f"{flow.host}:443"), ("content-length", str(length))])

    def put(self, flow, body, token):
        return https.request("PUT", self.register_target(flow),
                             self.headers(flow, token, len(body)), body)

    def poll(self, flow, token):
        return https.request("GET", self.poll_target(flow), self.headers(flow, token, 0))

    def token(self, flow, key):
        sr = sas.escape_lower(self.resource(flow))
        return sas.token(key, sr, sas.in_s(2400), flow.key_name, sas.escape_lower)


class Node(Dialect):
    """azure-iot-provisioning-device-http: its GET carries the body {}."""

    name = "node"

    def headers(self, flow, token, length):
        return ([("Accept", "application/json"), ("Content-Type", JSON_UTF8)] +
                ([("Authorization", token)] if token else []) +
                [("Request-Id", str(uuid4())),
                 ("User-Agent", "azure-iot-provisioning-device/1.9.1 (node v20.0.0)"),
                 ("Content-Length", str(length)), ("Host", flow.host),
                 ("Connection", "keep-alive")])

    def put(self, flow, body, token):
        return https.request("PUT", self.register_target(flow),
                             self.headers(flow, token, len(body)), body)

    def poll(self, flow, token):
        return https.request("GET", self.poll_target(flow), self.headers(flow, token, 2), b"{}")


class CSharp(Dialect):
    """azure-iot-sdk-csharp: form-style encoding of the ID in the path, token for a day."""

    name = "csharp"

    def path_id(self, flow):
        return quote_plus(flow.registration_id, safe="-._!*()")

    def headers(self, flow, token):
        return ([("Host", flow.host),
                 ("User-Agent", ".NET/1.19.4 (.NET 6.0.0; Linux; X64)")] +
                ([("Authorization", token)] if token else []))

    def put(self, flow, body, token):
        return https.request("PUT", self.register_target(flow), self.headers(flow, token) + [
            ("Content-Type", JSON_UTF8), ("Content-Length", str(len(body)))], body)

    def poll(self, flow, token):
        return https.request("GET", self.poll_target(flow), self.headers(flow, token))

    def token(self, flow, key):
        return sas.token(key, sas.escape(self.resource(flow)), sas.in_s(86400), "registration")


class Java(Dialect):
    """azure-iot-sdk-java: raw sr, empty skn, payload always a string, "=" escaped in JSON."""

    name = "java"
    fresh_connections = True

    def headers(self, flow, token):
        return ([("User-Agent",
                  "com.microsoft.azure.sdk.iot.dps.dps-device-client/2.1.0 (Java 11; Linux)"),
                 ("Accept", "application/json"), ("Content-Type", JSON_UTF8)] +
                ([("authorization", token)] if token else []) +
                [("Host", flow.host), ("Connection", "keep-alive")])

    def put(self, flow, body, token):
        body = body.replace(b"=", b"\\u003d")
        return https.request("PUT", self.register_target(flow), self.headers(flow, token) + [
            ("Content-Length", str(len(body)))], body)

    def poll(self, flow, token):
        return https.request("GET", self.poll_target(flow), self.headers(flow, token))

    def register(self, flow, token=None):
        body = register_body(flow)
        if "payload" in body:
            body["payload"] = json.dumps(body["payload"])
        return self.put(flow, compact(body), token)

    def token(self, flow, key):
        return sas.token(key, self.resource(flow), sas.in_s(3600), "")


class Rust(Dialect):
    """iot-identity-service: lower-cased sr, no tpm in the second register, a token of 30 s."""

    name = "rust"
    api_version = "2021-06-01"
    fresh_connections = True
    token_life_s = 30

    def headers(self, flow, token):
        return ([("content-type", "application/json")] +
                ([("authorization", token)] if token else []) + [("host", flow.host)])

    def put(self, flow, body, token):
        return https.request("PUT", self.register_target(flow), self.headers(flow, token) + [
            ("content-length", str(len(body)))], body)

    def poll(self, flow, token):
        return https.request("GET", self.poll_target(flow), self.headers(flow, token))

    def register(self, flow, token=None):
        return self.put(flow, compact(register_body(flow, with_tpm=token is None)), token)

    def token(self, flow, key):
        return sas.token(key, sas.escape(self.resource(flow).lower()),
                         sas.in_s(self.token_life_s), "registration")


ALL = [C(), Node(), CSharp(), Java(), Rust()]
