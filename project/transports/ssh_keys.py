"""Private keys: read, and unlocked with a passphrase from the agent, the input, the keyring or the terminal."""

import base64
import contextlib
import os
from typing import TYPE_CHECKING, NamedTuple, Protocol

from project.core.errors import UserError

if TYPE_CHECKING:
    from paramiko import PKey

TRIES = 3
# The service name under which a passphrase is kept; the user name is the key's path.
KEYRING_SERVICE = "jobferry"
_MAGIC = b"openssh-key-v1\0"
_DEFAULTS = ("id_ed25519", "id_ecdsa", "id_rsa")


class Asks(Protocol):
    """The part of the user interface that this file needs."""

    @property
    def interactive(self) -> bool:
        """True when somebody can answer."""

    def secret(self, prompt: str) -> str:
        """A text typed without echo."""

    def warn(self, text: str) -> None:
        """A line for the user."""


class KeyFile(NamedTuple):
    """What a private key file shows without a passphrase. `public` is empty when it cannot be seen."""

    path: str
    kind: str
    encrypted: bool
    public: bytes


def check_readable(path: str) -> str:
    """The absolute path. Raises UserError when there is no readable file."""
    full = os.path.abspath(os.path.expanduser(path))
    try:
        with open(full, "rb") as stream:
            head = stream.read(65536)
    except OSError as error:
        raise UserError(
            f"The private key {path} cannot be read ({error.strerror}).", "Correct private_key, or leave it out."
        ) from error
    if b"PRIVATE KEY-----" not in head:
        hint = "Name the private half of the pair." if head[:4] in {b"ssh-", b"ecds"} else ""
        raise UserError(f"{path} is not a private key in OpenSSH or PEM form.", hint)
    return full


def describe(path: str) -> KeyFile:
    """Read the file's outside. Raises UserError."""
    full = check_readable(path)
    with open(full, "rb") as stream:
        text = stream.read()
    if b"OPENSSH PRIVATE KEY" in text:
        return _openssh(full, text)
    for word, kind in ((b"BEGIN RSA", "rsa"), (b"BEGIN EC", "ecdsa")):
        if word in text:
            return KeyFile(full, kind, b"ENCRYPTED" in text, _public_beside(full))
    raise UserError(
        f"The private key {path} is of a form that is not understood here.",
        f"Convert it with `ssh-keygen -p -f {path}`, or make an Ed25519 key.",
    )


def _openssh(path: str, text: bytes) -> KeyFile:
    body = b"".join(line for line in text.splitlines() if line and b"-----" not in line)
    try:
        blob = base64.b64decode(body)
        if not blob.startswith(_MAGIC):
            raise ValueError("magic")
        cipher, rest = _string(blob[len(_MAGIC) :])
        _kdf, rest = _string(rest)
        _options, rest = _string(rest)
        public, _ = _string(rest[4:])
        kind, _ = _string(public)
    except (ValueError, IndexError) as error:
        raise UserError(f"The private key {path} is damaged.") from error
    name = kind.decode("ascii", "replace")
    short = "ecdsa" if name.startswith("ecdsa") else name.removeprefix("ssh-")
    return KeyFile(path, short, cipher != b"none", public)


def _string(blob: bytes) -> tuple[bytes, bytes]:
    length = int.from_bytes(blob[:4], "big")
    if len(blob) < 4 + length:
        raise ValueError("short")
    return blob[4 : 4 + length], blob[4 + length :]


def _public_beside(path: str) -> bytes:
    with contextlib.suppress(OSError, ValueError, IndexError), open(path + ".pub", "rb") as stream:
        return base64.b64decode(stream.read().split()[1])
    return b""


def load(path: str, passphrase: str, ui: Asks) -> "PKey | None":
    """The key, unlocked; None when the SSH agent holds it.

    Raises UserError: unreadable, wrong passphrase (three tries on a terminal), or nobody to ask.
    """
    key = describe(path)
    if not key.encrypted:
        return _unlocked(key, "")
    if passphrase:
        with contextlib.suppress(_Wrong):
            return _unlocked(key, passphrase)
        if not ui.interactive:
            raise UserError(f"The passphrase in the input does not open the private key {path}.")
        ui.warn(f"The passphrase in the input does not open {path}.")
    elif _agent_has(key):
        return None
    if kept := _from_keyring(key.path):
        with contextlib.suppress(_Wrong):
            return _unlocked(key, kept)
        ui.warn(f"The passphrase that the keyring holds does not open {path}.")
    if not ui.interactive:
        raise UserError(
            f"The private key {path} is protected by a passphrase, and nobody is asked for it here.",
            f"Add it to the SSH agent (`ssh-add {path}`), put the passphrase into the input, or keep it with"
            f" `keyring set {KEYRING_SERVICE} {key.path}`.",
        )
    return _ask(key, path, ui)


def _ask(key: KeyFile, path: str, ui: Asks) -> "PKey":
    for attempt in range(TRIES):
        try:
            return _unlocked(key, ui.secret(f"Passphrase for {path}: "))
        except _Wrong:
            if attempt + 1 < TRIES:
                ui.warn("That is not the passphrase; try again.")
    raise UserError(f"Three wrong passphrases for the private key {path}.")


class _Wrong(Exception):
    """A passphrase that does not fit."""


def _unlocked(key: KeyFile, passphrase: str) -> "PKey":
    import paramiko

    kinds: dict[str, type[paramiko.PKey]] = {
        "rsa": paramiko.RSAKey,
        "ecdsa": paramiko.ECDSAKey,
        "ed25519": paramiko.Ed25519Key,
    }
    if key.kind not in kinds:
        raise UserError(
            f"The private key {key.path} is of the kind {key.kind}, which is not supported.",
            "Use an Ed25519, ECDSA or RSA key, or put this one into the SSH agent.",
        )
    if key.encrypted and not passphrase:
        raise _Wrong
    try:
        return kinds[key.kind].from_private_key_file(key.path, passphrase or None)
    except (paramiko.SSHException, ValueError, TypeError, UnicodeError) as error:
        if key.encrypted:
            raise _Wrong from None
        raise UserError(f"The private key {key.path} is damaged ({error}).") from error


def _agent_has(key: KeyFile) -> bool:
    if not os.environ.get("SSH_AUTH_SOCK"):
        return False
    public = key.public or _public_beside(key.path)
    import paramiko

    try:
        agent = paramiko.Agent()
    except (paramiko.SSHException, OSError):
        return False
    try:
        return any(held.asbytes() == public for held in agent.get_keys())
    finally:
        agent.close()


def _from_keyring(path: str) -> str:
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        return ""
    try:
        return keyring.get_password(KEYRING_SERVICE, path) or ""
    except (KeyringError, RuntimeError):
        return ""


def first_identity(options: dict[str, object]) -> str:
    """The first existing key file that the SSH configuration, or OpenSSH by default, would use; "" if none."""
    named = options.get("identityfile")
    names = [str(name) for name in named] if isinstance(named, list) else []
    names = names or [os.path.join("~/.ssh", name) for name in _DEFAULTS]
    for name in names:
        path = os.path.expanduser(name)
        if os.access(path, os.R_OK):
            return path
    return ""
