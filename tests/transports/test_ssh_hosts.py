"""Host keys: shown and asked about, refused where nobody can answer, written when accepted."""

import stat

import paramiko
import pytest

from project.core.errors import ClusterError
from project.engine.ui import SilentUi
from project.transports import ssh_hosts


class Answering(SilentUi):
    interactive = True

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def confirm(self, question):
        super().confirm(question)
        return self.answer


@pytest.fixture(scope="module")
def key():
    return paramiko.ECDSAKey.generate()


def test_the_fingerprint_is_openssh_s():
    line = "AAAAC3NzaC1lZDI1NTE5AAAAIGIdiRab9wwlI+DNmt00SMnMgbQKa06aUsicvU+f0Rct"
    (entry,) = [paramiko.hostkeys.HostKeyEntry.from_line(f"host ssh-ed25519 {line}")]
    # What `ssh-keygen -lf` says of this line.
    assert ssh_hosts.fingerprint(entry.key) == "SHA256:OXo+0QdiFPG0hItJjUwzvQUqjohIhPoubo8rl3THxFU"


def test_unknown_and_nobody_there(tmp_path, key):
    policy = ssh_hosts.Policy(SilentUi(), False, tmp_path / "known_hosts")
    with pytest.raises(ClusterError, match="SHA256:") as caught:
        policy.missing_host_key(None, "host", key)
    assert "--accept-new-host-key" in caught.value.hint
    assert not (tmp_path / "known_hosts").exists()


@pytest.mark.parametrize("answer", [True, False])
def test_asked_on_a_terminal(tmp_path, key, answer):
    ui = Answering(answer)
    policy = ssh_hosts.Policy(ui, False, tmp_path / ".ssh" / "known_hosts")
    if answer:
        policy.missing_host_key(None, "host", key)
    else:
        with pytest.raises(ClusterError, match="not accepted"):
            policy.missing_host_key(None, "host", key)
    assert ssh_hosts.fingerprint(key) in ui.lines[0]
    assert (tmp_path / ".ssh" / "known_hosts").exists() == answer


def test_written_so_that_it_is_known_next_time(tmp_path, key):
    path = tmp_path / "known_hosts"
    path.write_bytes(b"# no newline at the end")
    ssh_hosts.Policy(SilentUi(), True, path).missing_host_key(None, "[host]:2222", key)
    keys, write_to = ssh_hosts.known({"userknownhostsfile": str(path), "globalknownhostsfile": "none"})
    assert keys.lookup("[host]:2222")[key.get_name()] == key
    assert write_to == path
    new = tmp_path / "new" / "known_hosts"
    ssh_hosts.Policy(SilentUi(), True, new).missing_host_key(None, "host", key)
    assert stat.S_IMODE(new.stat().st_mode) == 0o600
    assert stat.S_IMODE(new.parent.stat().st_mode) == 0o700


def test_a_changed_key_says_what_to_do(key):
    error = ssh_hosts.changed("host", key)
    assert "CHANGED" in error.message
    assert "ssh-keygen -R host" in error.hint
