"""The TPM's part of a registration in software, for load and for bad peers.

Written from TPM 2.0 Part 1 and device-protocol.md section 2 without a look at the C code, so that
the two check each other. The keys live in this process: it proves nothing, which is its point.
"""
import hashlib
import hmac
import struct

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

TPM_ALG_RSA, TPM_ALG_KEYEDHASH, TPM_ALG_SHA256, TPM_ALG_ECC = 0x0001, 0x0008, 0x000B, 0x0023

# TPMA_OBJECT, TPM 2.0 Part 2, 8.3
FIXED_TPM, FIXED_PARENT, SENSITIVE_DATA_ORIGIN = 1 << 1, 1 << 4, 1 << 5
USER_WITH_AUTH, ADMIN_WITH_POLICY, NO_DA = 1 << 6, 1 << 7, 1 << 10
RESTRICTED, DECRYPT, SIGN = 1 << 16, 1 << 17, 1 << 18
PARENT = FIXED_TPM | FIXED_PARENT | SENSITIVE_DATA_ORIGIN | RESTRICTED | DECRYPT
EK_ATTRIBUTES = PARENT | ADMIN_WITH_POLICY
SRK_ATTRIBUTES = PARENT | USER_WITH_AUTH | NO_DA

# PolicySecret(TPM_RH_ENDORSEMENT), TCG EK Credential Profile, policy A
EK_POLICY = bytes.fromhex("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa")
AES_128_CFB = bytes.fromhex("000600800043")
SCHEME_NULL = bytes.fromhex("0010")
P256 = bytes.fromhex("0003")
KDF_NULL = bytes.fromhex("0010")

HMAC_KEY_PUBLIC_HEAD = bytes.fromhex("0008000b0004044000000005000b0020")


class Refused(Exception):
    """A TPM would not take this blob; says at which step."""


def sized(data):
    """A TPM2B: 16-bit size and the bytes."""
    return struct.pack(">H", len(data)) + data


class Reader:
    """Takes TPM2Bs off a byte string."""

    def __init__(self, data):
        self.data = data

    def take(self, count):
        if len(self.data) < count:
            raise Refused("truncated")
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    def sized(self):
        return self.take(struct.unpack(">H", self.take(2))[0])

    def end(self):
        if self.data:
            raise Refused("trailing bytes")


def kdf_a(key, label, u, v, bits):
    """TPM 2.0 Part 1, 11.4.10.2, SHA-256."""
    made = b""
    counter = 0
    while len(made) * 8 < bits:
        counter += 1
        block = struct.pack(">I", counter) + label + b"\0" + u + v + struct.pack(">I", bits)
        made += hmac.digest(key, block, "sha256")
    return made[: bits // 8]


def kdf_e(z, label, u, v, bits):
    """TPM 2.0 Part 1, 11.4.10.3, SHA-256; bits is at most 256 here."""
    data = struct.pack(">I", 1) + z + label + b"\0" + u + v
    return hashlib.sha256(data).digest()[: bits // 8]


def cfb_decrypt(key, data):
    decryptor = Cipher(algorithms.AES(key), modes.CFB(bytes(16))).decryptor()
    return decryptor.update(data) + decryptor.finalize()


class Key:
    """An EK or SRK: a private key and the public area around it."""

    def __init__(self, private, attributes, policy=b""):
        self.private = private
        self.public = public_area(private.public_key(), attributes, policy)
        self.name = struct.pack(">H", TPM_ALG_SHA256) + hashlib.sha256(self.public).digest()

    @property
    def tpm2b(self):
        return sized(self.public)

    def secret_open(self, data, label):
        """TPM2B_ENCRYPTED_SECRET's content to the seed, TPM 2.0 Part 1, B.10 and C.6."""
        if isinstance(self.private, rsa.RSAPrivateKey):
            oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), label + b"\0")
            try:
                return self.private.decrypt(data, oaep)
            except ValueError as error:
                raise Refused(f"{label}: OAEP") from error
        reader = Reader(data)
        x, y = reader.sized(), reader.sized()
        reader.end()
        point = ec.EllipticCurvePublicNumbers(
            int.from_bytes(x, "big"), int.from_bytes(y, "big"), self.private.curve)
        z = self.private.exchange(ec.ECDH(), point.public_key())
        own = self.private.public_key().public_numbers().x.to_bytes(len(z), "big")
        return kdf_e(z, label, x, own, 256)


def rsa_key(attributes, policy=b"", bits=2048):
    return Key(rsa.generate_private_key(65537, bits), attributes, policy)


def ecc_key(attributes, policy=b""):
    return Key(ec.generate_private_key(ec.SECP256R1()), attributes, policy)


def key_from_pem(pem, attributes, policy=b""):
    return Key(serialization.load_pem_private_key(pem.encode(), None), attributes, policy)


def public_area(public, attributes, policy, sym=AES_128_CFB, scheme=SCHEME_NULL, exponent=0):
    """TPMT_PUBLIC with nameAlg SHA-256."""
    numbers = public.public_numbers()
    if isinstance(public, rsa.RSAPublicKey):
        size = public.key_size // 8
        return (struct.pack(">HHI", TPM_ALG_RSA, TPM_ALG_SHA256, attributes) + sized(policy) + sym +
                scheme + struct.pack(">HI", public.key_size, exponent) +
                sized(numbers.n.to_bytes(size, "big")))
    return (struct.pack(">HHI", TPM_ALG_ECC, TPM_ALG_SHA256, attributes) + sized(policy) + sym +
            scheme + P256 + KDF_NULL + sized(numbers.x.to_bytes(32, "big")) +
            sized(numbers.y.to_bytes(32, "big")))


def activate_credential(ek, srk, id_object, secret):
    """TPM2_ActivateCredential: the credential, if it is for this EK and this SRK."""
    reader = Reader(id_object)
    integrity = reader.sized()
    encrypted = reader.data
    seed = ek.secret_open(secret, b"IDENTITY")
    mac_key = kdf_a(seed, b"INTEGRITY", b"", b"", 256)
    if not hmac.compare_digest(hmac.digest(mac_key, encrypted + srk.name, "sha256"), integrity):
        raise Refused("credential: integrity")
    plain = Reader(cfb_decrypt(kdf_a(seed, b"STORAGE", srk.name, b"", 128), encrypted))
    credential = plain.sized()
    plain.end()
    return credential


def import_key(srk, credential, public, duplicate, secret):
    """TPM2_Import and TPM2_Load: the HMAC key, if all seals hold."""
    if public[:16] != HMAC_KEY_PUBLIC_HEAD or len(public) != 48:
        raise Refused("public area of the HMAC key")
    name = struct.pack(">H", TPM_ALG_SHA256) + hashlib.sha256(public).digest()
    reader = Reader(duplicate)
    integrity = reader.sized()
    outer = reader.data
    seed = srk.secret_open(secret, b"DUPLICATE")
    mac_key = kdf_a(seed, b"INTEGRITY", b"", b"", 256)
    if not hmac.compare_digest(hmac.digest(mac_key, outer + name, "sha256"), integrity):
        raise Refused("duplicate: outer integrity")
    inner = Reader(cfb_decrypt(credential,
                               cfb_decrypt(kdf_a(seed, b"STORAGE", name, b"", 128), outer)))
    inner_integrity = inner.sized()
    if hashlib.sha256(inner.data + name).digest() != inner_integrity:
        raise Refused("duplicate: inner integrity")
    sensitive = Reader(inner.sized())
    inner.end()
    if sensitive.take(4) != bytes.fromhex("00080000"):
        raise Refused("sensitive: type and auth")
    seed_value, key = sensitive.sized(), sensitive.sized()
    sensitive.end()
    if hashlib.sha256(seed_value + key).digest() != public[16:]:
        raise Refused("sensitive: unique")
    return key


def authentication_key_open(ek, srk, blob):
    """The HMAC key and the text in an authenticationKey blob, as a TPM with ek and srk opens it."""
    reader = Reader(blob)
    id_object, secret1, duplicate, secret2, public, uri = (reader.sized() for _ in range(6))
    reader.end()
    credential = activate_credential(ek, srk, id_object, secret1)
    if len(credential) != 16:
        raise Refused("credential: no AES-128 key")
    if not uri:
        raise Refused("empty sixth item")
    return import_key(srk, credential, public, duplicate, secret2), cfb_decrypt(credential, uri)


class SoftTpm:
    """A TPM with an EK and an SRK. kind is "rsa" or "ecc" (much cheaper to make)."""

    def __init__(self, kind="rsa", ek=None, srk=None):
        make = {"rsa": rsa_key, "ecc": ecc_key}[kind]
        self.ek = ek or make(EK_ATTRIBUTES, EK_POLICY)
        self.srk = srk or make(SRK_ATTRIBUTES)
        self.kind = kind

    def clear(self):
        """TPM2_Clear: another SRK, the same EK."""
        self.srk = {"rsa": rsa_key, "ecc": ecc_key}[self.kind](SRK_ATTRIBUTES)

    def open(self, blob):
        """The HMAC key in an authenticationKey blob."""
        return authentication_key_open(self.ek, self.srk, blob)[0]
