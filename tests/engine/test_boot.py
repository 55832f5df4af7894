"""Starting an agent through a real shell: sent when missing, found when there, refused when nothing can run it."""

import hashlib
import io
import os
import subprocess
import sys
import zipfile

import pytest

from project.core.errors import ClusterError
from project.engine import agentfile, boot
from project.engine.agentfile import AgentFile

AGENT = (
    "import sys, os\nprint('agent', sys.argv[1:], os.path.basename(sys.argv[0])[:6], sys.stdin.readline().strip())\n"
)


@pytest.fixture
def agent(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as whole:
        whole.writestr("__main__.py", AGENT)
    path = tmp_path / "agent.pyz"
    path.write_bytes(buffer.getvalue())
    return AgentFile(path, len(buffer.getvalue()), hashlib.sha256(buffer.getvalue()).hexdigest())


class Session:
    def __init__(self, command, env=None):
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=env,
        )

    def go(self, agent):
        with self.process:
            fields = boot.start(self.process.stdin, self.process.stdout, agent, "there")
            self.process.stdin.write(b"hello\n")
            self.process.stdin.close()
            return fields, self.process.stdout.read().decode()


def test_sent_once_then_found(agent, tmp_path):
    root = str(tmp_path / "it's a root; touch x #")
    command = boot.command(agent, sys.executable, root)
    for _ in range(2):
        fields, printed = Session(command).go(agent)
        assert printed == "agent ['serve'] agent- hello\n"
        assert fields["need"] is False
    kept = os.listdir(os.path.join(root, "agent"))
    assert len(kept) == 1
    assert kept[0].startswith(f"agent-{agent.sha256[:16]}-")


def test_a_damaged_copy_is_replaced(agent, tmp_path):
    command = boot.command(agent, sys.executable, str(tmp_path))
    Session(command).go(agent)
    (path,) = (tmp_path / "agent").iterdir()
    path.write_bytes(b"damaged")
    _, printed = Session(command).go(agent)
    assert "hello" in printed


def test_what_arrives_damaged_is_not_run(agent, tmp_path):
    wrong = agent._replace(sha256="0" * 64)
    with pytest.raises(ClusterError, match="did not arrive whole"):
        Session(boot.command(wrong, sys.executable, str(tmp_path))).go(wrong)
    assert not any(name.endswith(".pyz") for name in os.listdir(tmp_path / "agent"))


def test_no_python_is_a_clear_error(agent, tmp_path):
    empty = tmp_path / "bin"
    empty.mkdir()
    (empty / "python3").write_text("#!/bin/sh\nexit 99\n")
    (empty / "python3").chmod(0o755)
    with pytest.raises(ClusterError, match=r"Python 3\.6") as caught:
        Session(boot.command(agent, "", str(tmp_path)), env={"PATH": str(empty), "HOME": str(tmp_path)}).go(agent)
    assert "`python` key" in caught.value.hint


def test_a_python_that_is_too_old_is_passed_over(agent, tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "old python").write_text("#!/bin/sh\nexit 99\n")
    (folder / "old python").chmod(0o755)
    (folder / "python3").symlink_to(sys.executable)
    env = {"PATH": f"{folder}:/usr/bin:/bin", "HOME": str(tmp_path)}
    command = boot.command(agent, str(folder / "old python"), "$HOME/root")
    _, printed = Session(command, env).go(agent)
    assert "hello" in printed
    assert (tmp_path / "root" / "agent").is_dir()


def test_login_files_may_chatter(agent, tmp_path):
    command = "printf 'welcome\\nno newline'; " + boot.command(agent, sys.executable, str(tmp_path))
    _, printed = Session(command).go(agent)
    assert "hello" in printed


def test_a_place_that_cannot_be_written_to(agent, tmp_path):
    (tmp_path / "agent").write_text("a file where a folder should be")
    with pytest.raises(ClusterError, match="cannot be put on there"):
        Session(boot.command(agent, sys.executable, str(tmp_path))).go(agent)


def test_a_shell_that_ends(agent):
    with pytest.raises(ClusterError, match="ended before"):
        Session("exit 1").go(agent)


def test_the_archive_is_always_the_same(tmp_path):
    first = agentfile.build(tmp_path)
    again = agentfile.build(tmp_path)
    elsewhere = agentfile.build(tmp_path / "other")
    assert first.sha256 == again.sha256 == elsewhere.sha256
    assert first.size == len(first.data())
    with zipfile.ZipFile(first.path) as whole:
        names = set(whole.namelist())
    assert {"__main__.py", "project/__init__.py", "project/core/protocol.py", "project/agent/serve.py"} <= names
    assert not any(name.startswith(("project/engine", "api_srv")) for name in names)
