"""Tokens: made, kept as hashes, compared. Light, since every submission makes one."""

import base64
import hashlib
import os
from collections.abc import Iterable

_RANDOM_BYTES = 32


def for_job(uuid: str) -> str:
    """A new token that may report on this job."""
    return f"job.{uuid}.{_random()}"


def for_account(name: str) -> str:
    """A new token that may do what the account may."""
    encoded = base64.urlsafe_b64encode(name.encode("utf-8")).decode("ascii").rstrip("=")
    return f"user.{encoded}.{_random()}"


def meant_for(token: str) -> tuple[str, str]:
    """("job", UUID) or ("user", account name); ("", "") for what is no token."""
    kind, _, rest = token.partition(".")
    who, _, secret = rest.partition(".")
    if not secret or "." in secret:
        return "", ""
    if kind == "job":
        return kind, who
    try:
        return (
            ("user", base64.urlsafe_b64decode(who + "=" * (-len(who) % 4)).decode("utf-8"))
            if kind == "user"
            else ("", "")
        )
    except ValueError:
        return "", ""


def hashed(token: str) -> str:
    """How a token is kept. It has 256 random bits: a plain hash is enough."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def among(token: str, hashes: Iterable[str]) -> bool:
    """True when the token is one of those that were hashed."""
    import hmac

    mine = hashed(token)
    return any(hmac.compare_digest(mine, one) for one in hashes)


def _random() -> str:
    return base64.urlsafe_b64encode(os.urandom(_RANDOM_BYTES)).decode("ascii").rstrip("=")
