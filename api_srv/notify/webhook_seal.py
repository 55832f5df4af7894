"""What a callback needs later and nobody may read: sealed with a key that is not in the database.

Fernet (AES-128-CBC and HMAC-SHA256; cryptography.io/en/latest/fernet). The key is the setting `JOBFERRY_CALLBACK_KEY`, else the file
`JOBFERRY_HOME/callback.key`, made when something is sealed for the first time. Either may hold several keys, separated by commas or
line breaks: the first seals, all open.
"""

import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from project.core import files
from project.core.errors import UserError

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

VARIABLE = "JOBFERRY_CALLBACK_KEY"
NAME = "callback.key"
# A shorter word of a header's value is a word like Bearer.
_TOKEN = 8
_FORM = "Make one with: python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"


class UnsealError(Exception):
    """It cannot be opened: the key is lost or another one, or somebody changed what is stored."""


class Contents(NamedTuple):
    """What is in a seal."""

    secret: str
    headers: dict[str, str]

    def __repr__(self) -> str:
        """Without any of it."""
        return "Contents(…)"

    def values(self) -> list[str]:
        """Everything that must not be shown, the longest first: a receiver may name the token of `Bearer TOKEN` alone."""
        whole = [value for value in (self.secret, *self.headers.values()) if value]
        words = [word for value in self.headers.values() for word in value.split() if len(word) >= _TOKEN]
        return sorted({*whole, *words}, key=len, reverse=True)


class Sealer:
    """Seals and opens. `home` is JOBFERRY_HOME, `key` the setting."""

    def __init__(self, home: str, key: str = "") -> None:
        self._path = os.path.join(home, NAME)
        self._key = key
        self._box: MultiFernet | None = None

    def seal(self, job_uuid: str, url: str, secret: str, headers: dict[str, str]) -> str:
        """The secret and the headers, good for this job and this address alone. Raises UserError (no usable key), OSError."""
        box = self._opened(make=True)
        value = {"job": job_uuid, "url": url, "secret": secret, "headers": headers}
        return box.encrypt(json.dumps(value).encode("ascii")).decode("ascii")

    def unseal(self, sealed: str, job_uuid: str, url: str) -> Contents:
        """What was sealed for this job and address. Raises UnsealError."""
        from cryptography.fernet import InvalidToken

        try:
            value: dict[str, Any] = json.loads(self._opened(make=False).decrypt(sealed.encode("ascii")))
        except (InvalidToken, UnicodeError):
            # The key may have been put in place meanwhile.
            self._box = None
            text = (
                f"the callback's secret cannot be opened: it was sealed with another key than that of {self._source()}"
            )
            raise UnsealError(text) from None
        except (UserError, OSError) as error:
            raise UnsealError(f"the callback's secret cannot be opened: {error}") from None
        if (value["job"], value["url"]) != (job_uuid, url):
            raise UnsealError("the callback's secret was sealed for another job or address")
        return Contents(value["secret"], value["headers"])

    def check(self) -> None:
        """Raises UserError when the setting holds no key."""
        if self._key:
            self._opened(make=False)

    def _opened(self, *, make: bool) -> "MultiFernet":
        if self._box is None:
            self._box = _box(self._key or self._read(make=make), self._source())
        return self._box

    def _source(self) -> str:
        return VARIABLE if self._key else self._path

    def _read(self, *, make: bool) -> str:
        text = files.read_text(self._path)
        if text is None and make:
            from cryptography.fernet import Fernet

            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            # Of several processes one makes it; a key that another has used already must not be replaced.
            with files.locked(self._path + ".lock"):
                text = files.read_text(self._path)
                if text is None:
                    text = Fernet.generate_key().decode("ascii") + "\n"
                    files.write_atomic(self._path, text, mode=0o600)
        if text is None:
            raise UserError(f"there is no {self._path}.", f"Put it back, or set {VARIABLE}.")
        return text


def _box(text: str, source: str) -> "MultiFernet":
    from cryptography.fernet import Fernet, MultiFernet

    keys = text.replace(",", " ").split()
    try:
        return MultiFernet([Fernet(key) for key in keys])
    except (ValueError, TypeError):
        raise UserError(f"{source} holds no key for callbacks.", _FORM) from None
