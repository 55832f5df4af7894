"""Private keys of every kind and form, and where their passphrases come from."""

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from project.core.errors import UserError
from project.engine.ui import SilentUi
from project.transports import ssh_keys

MAKERS = {
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "ecdsa": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}
OPENSSH = serialization.PrivateFormat.OpenSSH
PEM = serialization.PrivateFormat.TraditionalOpenSSL


class Typing(SilentUi):
    """Somebody who types these texts."""

    interactive = True

    def __init__(self, *texts):
        super().__init__()
        self.texts = list(texts)

    def secret(self, prompt):
        super().secret(prompt)
        return self.texts.pop(0)


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr(ssh_keys, "_from_keyring", lambda path: "")


def write(path, kind="ed25519", form=OPENSSH, passphrase=""):
    lock = serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    key = MAKERS[kind]()
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, lock))
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    path.with_name(path.name + ".pub").write_bytes(public + b" comment\n")
    return str(path)


@pytest.mark.parametrize("passphrase", ["", "sésame 'x'"])
@pytest.mark.parametrize(
    ("kind", "form"),
    [("rsa", OPENSSH), ("rsa", PEM), ("ecdsa", OPENSSH), ("ecdsa", PEM), ("ed25519", OPENSSH)],
    ids=["rsa", "rsa-pem", "ecdsa", "ecdsa-pem", "ed25519"],
)
def test_every_kind(tmp_path, kind, form, passphrase):
    path = write(tmp_path / "key", kind, form, passphrase)
    found = ssh_keys.describe(path)
    assert found.encrypted == bool(passphrase)
    assert found.kind == kind
    key = ssh_keys.load(path, passphrase, SilentUi())
    assert key.get_base64().encode() in (tmp_path / "key.pub").read_bytes()
    assert key.asbytes() == found.public or not found.public


def test_a_wrong_passphrase_in_the_input(tmp_path):
    path = write(tmp_path / "key", passphrase="right")
    with pytest.raises(UserError, match="does not open") as caught:
        ssh_keys.load(path, "wrong-secret", SilentUi())
    assert "wrong-secret" not in str(caught.value)


def test_nobody_to_ask(tmp_path):
    path = write(tmp_path / "key", passphrase="right")
    with pytest.raises(UserError, match="nobody is asked") as caught:
        ssh_keys.load(path, "", SilentUi())
    assert "ssh-add" in caught.value.hint


def test_three_tries_on_a_terminal(tmp_path):
    path = write(tmp_path / "key", passphrase="right")
    ui = Typing("a", "b", "right")
    assert ssh_keys.load(path, "", ui) is not None
    assert len(ui.warnings) == 2
    ui = Typing("a", "b", "", "right")
    with pytest.raises(UserError, match="Three wrong"):
        ssh_keys.load(path, "", ui)
    assert ui.texts == ["right"]


def test_the_keyring(tmp_path, monkeypatch):
    path = write(tmp_path / "key", passphrase="right")
    monkeypatch.setattr(ssh_keys, "_from_keyring", {path: "right"}.get)
    assert ssh_keys.load(path, "", SilentUi()) is not None


def test_the_agent_holds_it(tmp_path, monkeypatch):
    path = write(tmp_path / "key", passphrase="right")
    monkeypatch.setattr(ssh_keys, "_agent_has", lambda key: True)
    assert ssh_keys.load(path, "", SilentUi()) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello", "is not a private key"),
        (b"ssh-ed25519 AAAA me", "is not a private key"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", "damaged"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "not understood"),
        (b"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n", "damaged"),
    ],
    ids=["text", "public", "openssh", "pkcs8", "rsa"],
)
def test_no_key(tmp_path, content, message):
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(UserError, match=message):
        ssh_keys.load(str(tmp_path / "key"), "", SilentUi())


def test_no_file(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        ssh_keys.describe(str(tmp_path / "missing"))


def test_the_first_identity(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ssh_keys.first_identity({}) == ""
    (tmp_path / ".ssh").mkdir()
    default = write(tmp_path / ".ssh" / "id_ecdsa")
    assert ssh_keys.first_identity({}) == default
    named = write(tmp_path / "named")
    assert ssh_keys.first_identity({"identityfile": ["/missing", "~/named"]}) == named
