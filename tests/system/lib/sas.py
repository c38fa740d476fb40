"""SAS tokens, whole or from parts that a test spoils (device-protocol.md 1.5 and 5.1)."""
import base64
import hmac
import time
from urllib.parse import quote


def escape(text):
    """Percent-encode all but the unreserved characters, upper-case hex."""
    return quote(text, safe="-._~")


def escape_lower(text):
    """As escape(), with lower-case hex: the C SDK."""
    head, *rest = escape(text).split("%")
    return head + "".join("%" + piece[:2].lower() + piece[2:] for piece in rest)


def in_s(seconds):
    """An expiry that many seconds from now."""
    return int(time.time()) + seconds


def signature(key, sr, expiry):
    """base64 of HMAC-SHA256(key, sr "\\n" se)."""
    return base64.b64encode(hmac.digest(key, f"{sr}\n{expiry}".encode(), "sha256")).decode()


def token(key, sr, expiry, skn=None, esc=escape):
    """sr goes in as given and is signed so; skn None leaves the member out."""
    text = f"SharedAccessSignature sr={sr}&sig={esc(signature(key, sr, expiry))}&se={expiry}"
    return text if skn is None else f"{text}&skn={skn}"


def hub_token(key, hub, device_id, expiry=None):
    """A device's token for its hub, as the Node SDK writes it."""
    return token(key, escape(f"{hub}/devices/{device_id}"), expiry or in_s(3600))
