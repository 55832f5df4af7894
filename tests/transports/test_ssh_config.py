"""The SSH configuration as OpenSSH reads it."""

import pytest

from project.core.errors import UserError
from project.transports import ssh_config


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(ssh_config, "SYSTEM_FILE", str(tmp_path / "system"))
    (tmp_path / ".ssh").mkdir()

    def write(name, text):
        path = tmp_path / ".ssh" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    return write


def test_nothing_there(config):
    assert not ssh_config.present()
    assert ssh_config.lookup("host")["hostname"] == "host"


def test_an_alias(config):
    config("config", "Host hpc\n  HostName login.example.org\n  Port 2222\n  User jane\n  ProxyJump gate\n")
    assert ssh_config.present()
    found = ssh_config.lookup("hpc")
    assert (found["hostname"], found["port"], found["user"]) == ("login.example.org", "2222", "jane")
    assert found["proxyjump"] == "gate"


def test_include(config):
    config(
        "config",
        "Include conf.d/*\nHost hpc\n  Include inner\n  Port 1\nHost late\n  Port 9\n",
    )
    config("conf.d/one", "Host hpc\n  HostName from-one\n")
    config("conf.d/two", "Host other\n  HostName from-two\n")
    config("inner", "User from-inner\n")
    found = ssh_config.lookup("hpc")
    assert (found["hostname"], found["port"], found["user"]) == ("from-one", "1", "from-inner")
    assert ssh_config.lookup("other")["hostname"] == "from-two"
    assert "user" not in ssh_config.lookup("late")


def test_an_include_of_itself_ends(config):
    config("config", "Host hpc\n  Port 3\nInclude config\n")
    assert ssh_config.lookup("hpc")["port"] == "3"


def test_the_first_value_counts_and_the_system_comes_last(config, tmp_path):
    config("config", "Host hpc\n  Port 1\n")
    (tmp_path / "system").write_text("Port 2\nUser system\n")
    assert ssh_config.lookup("hpc")["port"] == "1"
    assert ssh_config.lookup("hpc")["user"] == "system"
    assert ssh_config.lookup("other")["port"] == "2"


def test_nonsense_is_the_user_s_to_mend(config):
    config("config", "Host a\n  Port\n  garbage without sense = = =\n\x00")
    config("config", "justoneword\n")
    with pytest.raises(UserError, match="cannot be understood"):
        ssh_config.load()
