"""Accounts, passwords, tokens, and guessing."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from api_srv.problems import RefusedError
from api_srv.services import accounts
from api_srv.services.accounts import Authenticator
from api_srv.services.context import Services
from api_srv.store.sqlite import SqliteStore
from helpers.served import PASSWORD, add_accounts


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def services(tmp_path: Path, clock: Clock) -> Iterator[Services]:
    services = Services(SqliteStore.in_home(str(tmp_path)), clock=clock)
    add_accounts(services)
    yield services
    services.store.close()


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords that were really hashed; hashing itself is made cheap."""
    done: list[str] = []

    def verify(password_hash: str, password: str) -> bool:
        done.append(password)
        return password == PASSWORD and password_hash.startswith("$argon2id$")

    monkeypatch.setattr(accounts, "verify", verify)
    return done


def status(authenticator: Authenticator, name: str, password: str, address: str = "1.2.3.4") -> int:
    try:
        authenticator.basic(name, password, address)
    except RefusedError as refusal:
        return refusal.status
    return 200


def test_the_right_password_and_the_wrong_one(services: Services) -> None:
    authenticator = Authenticator(services)
    assert authenticator.basic("root", PASSWORD).admin is True
    assert authenticator.basic("ann", PASSWORD).admin is False
    for name, password in (
        ("ann", "wrong"),
        ("nobody", PASSWORD),
        ("ann\0", PASSWORD),
        ("é\ud800", "\ud800"),
        ("", ""),
    ):
        assert status(authenticator, name, password) == 401


def test_a_verified_password_is_remembered_for_minutes(services: Services, hashes: list[str], clock: Clock) -> None:
    authenticator = Authenticator(services)
    for _ in range(5):
        authenticator.basic("ann", PASSWORD)
    assert len(hashes) == 1
    clock.now += accounts.REMEMBERED_SECONDS + 1
    authenticator.basic("ann", PASSWORD)
    assert len(hashes) == 2
    memory = repr(authenticator.__dict__)
    assert PASSWORD not in memory


def test_a_changed_password_ends_what_was_remembered(services: Services) -> None:
    authenticator = Authenticator(services)
    authenticator.basic("ann", PASSWORD)
    accounts.set_password(services, "ann", "another password")
    assert status(authenticator, "ann", PASSWORD) == 401
    assert status(authenticator, "ann", "another password") == 200
    accounts.remove(services, "ann")
    assert status(authenticator, "ann", "another password") == 401


def test_guessing_is_slowed_down(services: Services, hashes: list[str], clock: Clock) -> None:
    authenticator = Authenticator(services)
    authenticator.basic("ann", PASSWORD, "1.2.3.4")
    for _ in range(accounts.TRIES_PER_NAME):
        assert status(authenticator, "ann", "guess") == 401
    assert status(authenticator, "ann", "guess") == 429
    hashed = len(hashes)
    # Who is signed in already goes on; another address and another name may try.
    assert status(authenticator, "ann", PASSWORD) == 200
    assert len(hashes) == hashed
    assert status(authenticator, "bob", PASSWORD) == 200
    assert status(authenticator, "ann", "guess", "5.6.7.8") == 401
    for number in range(accounts.TRIES_PER_ADDRESS):
        status(authenticator, f"user{number}", "guess")
    assert status(authenticator, "bob", "guess") == 429
    with pytest.raises(RefusedError) as caught:
        authenticator.bearer("user.x.y", "1.2.3.4")
    assert caught.value.retry_after > 0
    clock.now += accounts.WINDOW_SECONDS + 1
    assert status(authenticator, "ann", "guess") == 401


def test_the_memory_of_failures_is_bounded(services: Services, hashes: list[str], clock: Clock) -> None:
    authenticator = Authenticator(services)
    for number in range(3000):
        clock.now += 1
        status(authenticator, f"u{number}", "guess", f"10.0.{number // 250}.{number % 250}")
    assert len(authenticator._failures) <= 1500


def test_tokens_of_accounts(services: Services) -> None:
    authenticator = Authenticator(services)
    token = accounts.new_token(services, "root")
    assert authenticator.bearer(token).name == "root"
    assert authenticator.bearer(token).admin is True
    for bad in (token[:-1], "user.!!.x", "user..x", "user.AAAA.x", "job.x.y", "x", "a.b.c.d", "job.\ud800.x"):
        with pytest.raises(RefusedError):
            authenticator.bearer(bad)
    accounts.set_password(services, "root", "another password")
    with pytest.raises(RefusedError):
        authenticator.bearer(token)


def test_names_and_passwords_that_are_none(services: Services) -> None:
    for name in ("", "a b", "a/b", "-x", "x" * 65, "é", "a\n"):
        with pytest.raises(RefusedError) as caught:
            accounts.add(services, name, PASSWORD)
        assert caught.value.status == 422
    for password in ("short", "x" * 2000):
        with pytest.raises(RefusedError):
            accounts.add(services, "carl", password)
    with pytest.raises(RefusedError) as caught:
        accounts.add(services, "ann", PASSWORD)
    assert caught.value.status == 409
    for call in (accounts.remove, accounts.new_token):
        with pytest.raises(RefusedError) as caught:
            call(services, "nobody")
        assert caught.value.status == 404


def test_the_first_account(tmp_path: Path) -> None:
    services = Services(SqliteStore.in_home(str(tmp_path / "one")))
    made = accounts.first_admin(services, "", "")
    assert made is not None
    assert Authenticator(services).basic("admin", made).admin is True
    assert accounts.first_admin(services, "", "") is None
    services.store.close()
    services = Services(SqliteStore.in_home(str(tmp_path / "two")))
    assert accounts.first_admin(services, "boss", "given password") is None
    assert Authenticator(services).basic("boss", "given password").admin is True
    services.store.close()


def test_a_first_account_that_cannot_be_made_names_the_variable(services: Services, tmp_path: Path) -> None:
    empty = Services(SqliteStore.in_home(str(tmp_path / "empty")))
    for name, password, variable in (
        ("boss", "short", "JOBFERRY_ADMIN_PASSWORD"),
        ("a b", PASSWORD, "JOBFERRY_ADMIN_USER"),
    ):
        with pytest.raises(RefusedError, match=variable) as caught:
            accounts.first_admin(empty, name, password)
        assert caught.value.status == 422
    assert empty.store.accounts() == []
    empty.store.close()
    assert accounts.first_admin(services, "boss", "short") is None


def test_tokens_made_at_once_are_all_good(services: Services) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _number: accounts.new_token(services, "ann"), range(16)))
    authenticator = Authenticator(services)
    assert [authenticator.bearer(token).name for token in made] == ["ann"] * 16


def test_only_the_hash_is_kept(services: Services) -> None:
    accounts.add(services, "carl", "correct horse battery")
    kept = services.store.account("carl")
    assert kept is not None
    assert kept["password_hash"].startswith("$argon2id$")
    assert "correct horse battery" not in str(kept)
