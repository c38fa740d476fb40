"""The software device that the other tests register opens only what a TPM would open."""
import base64
import hmac
import json
import os

import pytest

from conftest import HERE
from lib import softtpm

VECTORS = os.path.join(HERE, "../data/vectors")


def load(name):
    with open(os.path.join(VECTORS, name), encoding="utf-8") as file:
        return json.load(file)


def sha256_vectors():
    """The blobs whose keys are named with SHA-256; the others are the C tests' business."""
    return [v for v in load("authentication-key.json")
            if v["ek_name"][:4] == v["srk_name"][:4] == "000b"]


def keys(vector):
    pem = {name: key["private_pem"] for name, key in load("keys.json").items()}
    return (softtpm.key_from_pem(pem[vector["ek_private"]], softtpm.EK_ATTRIBUTES,
                                 softtpm.EK_POLICY),
            softtpm.key_from_pem(pem[vector["srk_private"]], softtpm.SRK_ATTRIBUTES))


@pytest.fixture(params=sha256_vectors(), ids=lambda vector: vector["kind"])
def vector(request):
    return request.param


def test_opens_the_known_answer(vector):
    """Public areas, Names, key, text and the HMAC of the key are the vector's."""
    ek, srk = keys(vector)
    assert ek.tpm2b == base64.b64decode(vector["ek_tpm2b_public"])
    assert srk.tpm2b == base64.b64decode(vector["srk_tpm2b_public"])
    assert (ek.name.hex(), srk.name.hex()) == (vector["ek_name"], vector["srk_name"])
    key, uri = softtpm.authentication_key_open(ek, srk, base64.b64decode(vector["blob"]))
    assert key.hex() == vector["inputs"]["hmac_key"]
    assert uri.decode() == vector["inputs"]["uri"]
    signed = hmac.digest(key, vector["hmac_key_signs"]["text"].encode(), "sha256")
    assert base64.b64encode(signed).decode() == vector["hmac_key_signs"]["hmac_sha256"]


def test_refuses_any_changed_byte(vector):
    """Each byte but those of the sixth item, which carries no seal, is under some check."""
    ek, srk = keys(vector)
    blob = base64.b64decode(vector["blob"])
    for at in range(0, len(blob) - len(vector["inputs"]["uri"]), 7):
        changed = blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1:]
        with pytest.raises((softtpm.Refused, ValueError)):
            softtpm.authentication_key_open(ek, srk, changed)


def test_refuses_other_keys_and_lengths(vector):
    """Another EK, another SRK, a cut and a longer blob."""
    ek, srk = keys(vector)
    blob = base64.b64decode(vector["blob"])
    other = softtpm.SoftTpm("ecc" if "p256" in vector["kind"] else "rsa")
    for case in ((other.ek, srk, blob), (ek, other.srk, blob), (ek, srk, blob[:-1]),
                 (ek, srk, blob + b"\0")):
        with pytest.raises((softtpm.Refused, ValueError)):
            softtpm.authentication_key_open(*case)
