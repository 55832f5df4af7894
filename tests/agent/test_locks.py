import errno
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from helpers.agent_client import PYTHONS, TREE, until
from project.agent import locks
from project.core import files

_HOLD = """
import sys; sys.path.insert(0, {tree!r})
import errno, fcntl
if {broken}:
    def no(*_): raise OSError(errno.ENOLCK, "No locks available")
    fcntl.flock = no
from project.agent import locks
with locks.held({path!r}):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(path, broken, python):
    code = _HOLD.format(tree=str(TREE), path=str(path), broken=broken)
    process = subprocess.Popen([python, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    return process


def finish(process):
    process.stdin.close()
    process.wait()
    process.stdout.close()


@pytest.fixture(params=[None, errno.ENOLCK, errno.ENOSYS])
def broken(request, monkeypatch):
    """With and without a file system that can lock."""
    if request.param is not None:

        def no(*_):
            raise OSError(request.param, os.strerror(request.param))

        monkeypatch.setattr(files.fcntl, "flock", no)
    return request.param is not None


@pytest.mark.parametrize("python", PYTHONS)
def test_a_lock_keeps_others_out_until_it_is_let_go(tmp_path, broken, python):
    path = str(tmp_path / "lock")
    process = holder(path, broken, python)
    assert locks.is_held(path)
    with pytest.raises(files.Busy):
        with locks.held(path, wait=False):
            raise AssertionError
    finish(process)
    assert not locks.is_held(path)


def test_a_killed_holder_leaves_nothing_behind(tmp_path, broken):
    path = str(tmp_path / "lock")
    process = holder(path, broken, sys.executable)
    process.kill()
    finish(process)
    with locks.held(path, wait=False):
        pass


def test_one_at_a_time(tmp_path, broken):
    path, inside, most = str(tmp_path / "lock"), [], []

    def work():
        for _ in range(10):
            with locks.held(path):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.001)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1


def test_a_lock_file_of_another_host_is_left_over_only_when_it_is_old(tmp_path):
    path = str(tmp_path / "lock.held")
    with open(path, "w") as stream:
        stream.write("elsewhere{} 1 1 x".format(socket.gethostname()))
    assert not locks._is_stale(path, "elsewhere 1 1 x")
    os.utime(path, (1, 1))
    assert locks._is_stale(path, "elsewhere 1 1 x")
    locks.refresh(str(tmp_path / "lock"))
    assert not locks._is_stale(path, "elsewhere 1 1 x")


def test_a_child_keeps_an_inherited_lock(tmp_path):
    path = str(tmp_path / "lock")
    with locks.inherited(path) as handles:
        process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=handles)
    assert locks.is_held(path)
    process.communicate(b"\n")
    until(lambda: not locks.is_held(path))
