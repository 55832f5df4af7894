"""Who calls: accounts with argon2 passwords, account tokens, job tokens; and how often one may guess."""

import hashlib
import hmac
import re
import secrets
import threading
from collections.abc import Callable
from typing import NamedTuple

from api_srv.problems import RefusedError
from api_srv.services import checks, tokens
from api_srv.services.context import Account, Services
from api_srv.store.base import Document
from project.core import history

REMEMBERED_SECONDS = 300.0
REMEMBERED_COUNT = 1000
# Failed sign-ins of one name from one address, and of one address at all, within the window.
TRIES_PER_NAME = 10
TRIES_PER_ADDRESS = 50
WINDOW_SECONDS = 300.0
MIN_PASSWORD = 8
MAX_PASSWORD = 1024
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,63}\Z")


class _Remembered(NamedTuple):
    password_hash: str
    until: float


class Authenticator:
    """Checks credentials. One per process; safe for threads.

    A verified password is remembered for some minutes under a keyed hash (the key lives in this process only), so that a
    request does not cost an argon2 hash. A changed password or a removed account ends it at once.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._key = secrets.token_bytes(32)
        self._remembered: dict[bytes, _Remembered] = {}
        self._failures: dict[tuple[str, str], list[float]] = {}
        self._lock = threading.Lock()
        # An argon2 hash takes 64 MiB: a flood of guesses must not take all the memory.
        self._hashing = threading.BoundedSemaphore(2)

    def basic(self, name: str, password: str, address: str = "") -> Account:
        """The account with this password. Raises RefusedError 401, or 429 after too many failures from `address`."""
        now = self._services.clock()
        account = self._services.store.account(name) if _NAME.match(name) else None
        mark = self._mark(name, password)
        with self._lock:
            known = self._remembered.get(mark)
        if (
            account
            and known
            and known.until > now
            and hmac.compare_digest(known.password_hash, account["password_hash"])
        ):
            return Account(account["name"], bool(account["admin"]))
        self._check_rate(name, address, now)
        with self._hashing:
            fine = verify(account["password_hash"] if account else _nobody(), password)
        if not account or not fine:
            self._failed(name, address, now)
            raise RefusedError(401, "The user name or the password is wrong.")
        with self._lock:
            if len(self._remembered) >= REMEMBERED_COUNT:
                self._remembered.clear()
            self._remembered[mark] = _Remembered(account["password_hash"], now + REMEMBERED_SECONDS)
            self._failures.pop((name, address), None)
        return Account(account["name"], bool(account["admin"]))

    def bearer(self, token: str, address: str = "") -> Account:
        """The account or job of this token. Raises RefusedError 401 or 429."""
        now = self._services.clock()
        kind, who = tokens.meant_for(token)
        account = self._job_account(who, token) if kind == "job" else self._user_account(who, token)
        if account is None:
            self._check_rate("", address, now)
            self._failed("", address, now)
            raise RefusedError(401, "The token is not valid.")
        return account

    def _job_account(self, uuid: str, token: str) -> Account | None:
        record = self._services.store.job(uuid) if checks.is_uuid(uuid) else None
        if record is None or not tokens.among(token, record.token_hashes):
            return None
        return Account(str(record.document["owner"]), job=uuid)

    def _user_account(self, name: str, token: str) -> Account | None:
        account = self._services.store.account(name) if _NAME.match(name) else None
        if account is None or not tokens.among(token, account["tokens"]):
            return None
        return Account(account["name"], bool(account["admin"]))

    def _mark(self, name: str, password: str) -> bytes:
        raw = name.encode("utf-8", "surrogatepass") + b"\0" + password.encode("utf-8", "surrogatepass")
        return hmac.new(self._key, raw, hashlib.sha256).digest()

    def _check_rate(self, name: str, address: str, now: float) -> None:
        with self._lock:
            for key, most in (((name, address), TRIES_PER_NAME), (("*", address), TRIES_PER_ADDRESS)):
                recent = [moment for moment in self._failures.get(key, ()) if moment > now - WINDOW_SECONDS]
                if len(recent) >= most:
                    wait = int(recent[0] + WINDOW_SECONDS - now) + 1
                    raise RefusedError(429, f"Too many failed sign-ins. Wait {wait} seconds.", retry_after=wait)

    def _failed(self, name: str, address: str, now: float) -> None:
        with self._lock:
            if len(self._failures) > REMEMBERED_COUNT:
                old = now - WINDOW_SECONDS
                self._failures = {key: times for key, times in self._failures.items() if times[-1] > old}
            for key in ((name, address), ("*", address)):
                times = self._failures.setdefault(key, [])
                times.append(now)
                del times[:-TRIES_PER_ADDRESS]


def hash_password(password: str) -> str:
    """The argon2id hash (parameters: the library's defaults, RFC 9106's low-memory profile)."""
    import argon2

    return argon2.PasswordHasher().hash(password.encode("utf-8", "surrogatepass"))


def verify(password_hash: str, password: str) -> bool:
    """True when `password` is the one that was hashed."""
    import argon2

    if len(password) > MAX_PASSWORD:
        return False
    try:
        return argon2.PasswordHasher().verify(password_hash, password.encode("utf-8", "surrogatepass"))
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False


_NOBODY: list[str] = []


def _nobody() -> str:
    """A hash of nothing known: an unknown name takes as long as a wrong password."""
    if not _NOBODY:
        _NOBODY.append(hash_password(secrets.token_urlsafe(16)))
    return _NOBODY[0]


def add(services: Services, name: str, password: str, *, admin: bool = False) -> None:
    """A new account. Raises RefusedError 422 or 409."""
    if not _NAME.match(name):
        raise RefusedError(422, "A user name is 1 to 64 letters, digits, or . _ @ + -", "name")
    account: Document = {
        "name": name,
        "admin": admin,
        "password_hash": hash_password(_checked(password)),
        "tokens": [],
        "created": history.now(),
    }
    if not services.store.put_account(account, new=True):
        raise RefusedError(409, f"There is an account {name} already.", "name")


def set_password(services: Services, name: str, password: str) -> None:
    """A new password. Raises RefusedError 404 or 422. The account's tokens end with the old one."""
    hashed = hash_password(_checked(password))
    _change(services, name, lambda _account: {"password_hash": hashed, "tokens": []})


def new_token(services: Services, name: str) -> str:
    """A token that may do what the account may (`JOBFERRY_API_TOKEN`). Raises RefusedError 404."""
    token = tokens.for_account(name)
    _change(services, name, lambda account: {"tokens": [*account["tokens"], tokens.hashed(token)]})
    return token


def remove(services: Services, name: str) -> None:
    """Remove an account; its jobs stay. Raises RefusedError 404."""
    if not services.store.delete_account(name):
        raise RefusedError(404, f"There is no account {name}.")


def first_admin(services: Services, name: str, password: str) -> str | None:
    """Make the first account if there is none; the password when one had to be made up, to be shown once."""
    if services.store.accounts():
        return None
    if password and not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        message = f"JOBFERRY_ADMIN_PASSWORD has {len(password)} characters; it needs {MIN_PASSWORD} to {MAX_PASSWORD}."
        raise RefusedError(422, message, "password")
    if name and not _NAME.match(name):
        raise RefusedError(422, "JOBFERRY_ADMIN_USER is no user name: 1 to 64 letters, digits, or . _ @ + -", "name")
    made = "" if password else secrets.token_urlsafe(12)
    try:
        add(services, name or "admin", password or made, admin=True)
    except RefusedError as refusal:
        if refusal.status == 409:
            # Another server process was first.
            return None
        raise
    return made or None


def _change(services: Services, name: str, fields: Callable[[Document], Document]) -> None:
    """Change an account by compare-and-set: two changes at once are both kept. Raises RefusedError 404."""
    while True:
        account = _existing(services, name)
        if services.store.put_account({**account, **fields(account)}, new=False, before=account):
            return


def _existing(services: Services, name: str) -> Document:
    account = services.store.account(name) if _NAME.match(name) else None
    if account is None:
        raise RefusedError(404, f"There is no account {name}.")
    return account


def _checked(password: str) -> str:
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise RefusedError(422, f"A password has {MIN_PASSWORD} to {MAX_PASSWORD} characters.", "password")
    return password
