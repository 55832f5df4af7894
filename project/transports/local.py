"""The transport to this machine: the command is a child process."""

import contextlib
import subprocess
import threading
from pathlib import Path
from typing import IO, BinaryIO, cast

from project.core.errors import ClusterError
from project.core.process import clean_env
from project.transports.base import Tail, Transport


class LocalChannel:
    """A child process in a session of its own: Ctrl-C reaches us, and we decide what becomes of it."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._tail = Tail()
        self.stdin = cast(BinaryIO, process.stdin)
        self.stdout = cast(BinaryIO, process.stdout)
        self._drain = threading.Thread(target=self._read_stderr, args=(process.stderr,), daemon=True)
        self._drain.start()

    def _read_stderr(self, stream: IO[bytes]) -> None:
        with contextlib.suppress(ValueError, OSError), stream:
            while piece := stream.read1(65536):  # type: ignore[attr-defined]  # a BufferedReader
                self._tail.add(piece)

    def stderr_tail(self) -> str:
        if self._process.poll() is not None:
            self._drain.join(0.5)
        return self._tail.text()

    def wait(self, timeout: float) -> int:
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return -1

    def close(self) -> None:
        for stream in (self.stdin, self.stdout):
            with contextlib.suppress(OSError):
                stream.close()
        # An agent that has taken a job goes on without us; everything else ends at the end of its input.
        threading.Thread(target=self._process.wait, daemon=True).start()


class LocalTransport:
    """This machine. `home` is JOBFERRY_HOME."""

    description = "this machine"

    def __init__(self, home: Path) -> None:
        self._home = home
        self._channels: list[LocalChannel] = []

    def open(self, command: str) -> LocalChannel:
        try:
            process = subprocess.Popen(
                ["/bin/sh", "-c", command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd="/",
                env=clean_env(),
                start_new_session=True,
            )
        except OSError as error:
            raise ClusterError(f"A process on this machine cannot be started ({error}).", transient=True) from error
        channel = LocalChannel(process)
        self._channels.append(channel)
        return channel

    def close(self) -> None:
        for channel in self._channels:
            channel.close()
        self._channels.clear()


def connect(home: Path) -> Transport:
    """The transport to this machine."""
    return LocalTransport(home)
