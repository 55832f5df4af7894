"""Signatures of callbacks, for receivers: HMAC SHA-256 of the body, as psik and GitHub sign theirs.

>>> from project import verify_signature
>>> verify_signature(body, "the cb_secret", request.headers.get("x-hub-signature-256"))

Take the body as it arrived, before any JSON is read: another order of keys is another body.
"""

import hashlib
import hmac
from typing import Optional, Union

HEADER = "x-hub-signature-256"


class SignatureError(Exception):
    """The message has no signature, or one that its body and the secret do not give. No secret is in the text."""


def sign_message(body: Union[str, bytes], secret: Union[str, bytes]) -> str:
    """The value of the header `x-hub-signature-256`: `sha256=` and 64 hex digits. Texts are taken as UTF-8."""
    return "sha256=" + hmac.new(_raw(secret), _raw(body), hashlib.sha256).hexdigest()


def verify_signature(body: Union[str, bytes], secret: Union[str, bytes], header: Optional[str]) -> None:
    """Return when the message was signed with the secret. Raises SignatureError; answer 403 then.

    :param header: the value of `x-hub-signature-256`, None when there is none. The comparison takes the same time wherever they differ.
    """
    if not secret:
        raise SignatureError("There is no secret to verify with: anybody could have signed it.")
    if not header:
        raise SignatureError("The header {} is missing.".format(HEADER))
    if not hmac.compare_digest(_raw(sign_message(body, secret)), _raw(header.strip())):
        raise SignatureError("The header {} does not fit the body and the secret.".format(HEADER))


def _raw(value: Union[str, bytes]) -> bytes:
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
