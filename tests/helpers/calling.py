"""`python -m project` called in this process, or on a pseudo-terminal of 80 columns."""

import contextlib
import io
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from fcntl import ioctl
from pathlib import Path
from typing import NamedTuple

from project.cli import main

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Called(NamedTuple):
    """An exit code, and what was printed."""

    code: int
    out: str
    err: str

    @property
    def data(self):
        """The JSON document on stdout."""
        return json.loads(self.out)

    @property
    def last(self):
        """The last line on stdout."""
        return self.out.rstrip("\n").rpartition("\n")[2]


def call(*words, code=0):
    """`main` without a terminal; an exit code other than `code` fails the test."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        got = main([str(word) for word in words])
    called = Called(got, out.getvalue(), err.getvalue())
    assert code is None or got == code, called
    return called


def until(check, what="it to happen"):
    """The first true value of `check`."""
    deadline = time.monotonic() + PATIENCE
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited in vain for {what}; last: {value!r}"
        time.sleep(0.1)


class Terminal:
    """The program on a terminal. `screen` is what it wrote so far, without control sequences."""

    def __init__(self, *words, env=None, cwd=None):
        master, slave = pty.openpty()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
        inherited = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS")}
        settings = {**inherited, "PYTHONPATH": str(ROOT), "TERM": "xterm", **(env or {})}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "project", *map(str, words)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=settings,
            cwd=cwd,
            start_new_session=True,
        )
        os.close(slave)
        self._master = master
        self.raw = b""

    @property
    def screen(self):
        return ANSI.sub("", self.raw.decode("utf-8", "replace")).replace("\r\n", "\n")

    def _read(self, seconds):
        ready, _, _ = select.select([self._master], [], [], seconds)
        if not ready:
            return True
        try:
            piece = os.read(self._master, 65536)
        except OSError:
            return False
        self.raw += piece
        return bool(piece)

    def expect(self, text):
        """Read until `text` is on the screen."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.screen:
            assert time.monotonic() < deadline, f"{text!r} did not appear: {self.screen}"
            assert self._read(0.5) or text in self.screen, f"ended without {text!r}: {self.screen}"

    def type(self, text):
        """Type a line, or a control character."""
        os.write(self._master, text.encode())

    def end(self, code=0):
        """Read to the end; what was on the screen."""
        deadline = time.monotonic() + PATIENCE
        while self._read(0.5):
            if time.monotonic() > deadline:
                self.process.kill()
                break
        os.close(self._master)
        got = self.process.wait(PATIENCE)
        assert got == code, f"exit status {got}: {self.screen}"
        return self.screen
