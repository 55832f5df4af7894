"""Running other programs: one way to quote, one way to run, nothing left behind."""

import os
import selectors
import shlex
import signal
import subprocess
import time
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Union

# Our own settings, credentials among them, are for nobody else: no program that we start for a user gets them.
PREFIX = "JOBFERRY_"
# Those that are credentials.
SECRET_VARIABLES = frozenset(
    (
        "JOBFERRY_API_PASSWORD",
        "JOBFERRY_API_TOKEN",
        "JOBFERRY_ADMIN_PASSWORD",
        "JOBFERRY_NEW_PASSWORD",
        "JOBFERRY_SMTP_URL",
        "JOBFERRY_MONGO_URL",
        "JOBFERRY_API_USER",
        "JOBFERRY_CALLBACK_KEY",
    )
)
_CHUNK = 65536


def quote(text: str) -> str:
    """`text` as one word of a POSIX shell."""
    return shlex.quote(text)


def clean_env(extra: Optional[Mapping[str, str]] = None) -> Dict[str, str]:
    """This process's environment without our settings and credentials, plus `extra`."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
    env.update(extra or {})
    return env


class Completed(NamedTuple):
    """What a program did. `exit_status` is negative for a signal (as subprocess); `seconds` is wall time."""

    exit_status: int
    stdout: bytes
    stderr: bytes
    seconds: float
    timed_out: bool = False
    stopped: bool = False

    def text(self) -> str:
        """Standard output as text; undecodable bytes are replaced."""
        return self.stdout.decode("utf-8", "replace")

    def errors(self) -> str:
        """Standard error as text; undecodable bytes are replaced."""
        return self.stderr.decode("utf-8", "replace")


def run(
    command: Union[str, Sequence[str]],
    cwd: Optional[str] = None,
    env: Optional[Mapping[str, str]] = None,
    stdin: bytes = b"",
    timeout: Optional[float] = None,
    on_output: Optional[Callable[[bytes], None]] = None,
    limit: Optional[int] = None,
    stop: Optional[Callable[[], bool]] = None,
    pass_fds: Sequence[int] = (),
) -> Completed:
    """Run a program to its end; a text is a line for `/bin/sh`, a list is an argument vector.

    :param env: its whole environment; default `clean_env()`.
    :param timeout: seconds; then its whole process group is killed and `timed_out` is True.
    :param on_output: called with each piece of stdout or stderr as it comes.
    :param limit: keep only the last `limit` bytes of each stream; default all.
    :param stop: asked about every 0.2 s; when it says True the group is killed and `stopped` is True.
    :param pass_fds: descriptors that the program keeps open: a lock that holds as long as it runs.

    Raises OSError when the program cannot be started. A program that a child of it keeps running in the
    background with the output open does not hold us: we wait for the program, then 0.2 s for what is left.
    """
    begin = time.monotonic()
    argv = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
    process = subprocess.Popen(
        argv,
        cwd=cwd,
        env=dict(env) if env is not None else clean_env(),
        stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        pass_fds=tuple(pass_fds),
    )
    pump = _Pump(process, stdin, on_output, limit)
    deadline = None if timeout is None else begin + timeout
    timed_out = stopped = False
    try:
        while process.poll() is None or pump.fresh():
            pump.turn(0.2 if process.poll() is None else 0.0)
            if deadline is not None and time.monotonic() > deadline:
                timed_out = True
                break
            if stop is not None and stop():
                stopped = True
                break
    finally:
        if timed_out or stopped or process.poll() is None:
            _kill_group(process)
        process.wait()
        pump.drain()
        pump.close()
    return Completed(process.returncode, pump.output(0), pump.output(1), time.monotonic() - begin, timed_out, stopped)


class _Pump:
    """Feeds stdin and collects stdout and stderr without ever blocking on one of them."""

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        stdin: bytes,
        on_output: Optional[Callable[[bytes], None]],
        limit: Optional[int],
    ) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self._streams = [process.stdout, process.stderr]
        self._parts: List[List[bytes]] = [[], []]
        self._sizes = [0, 0]
        self._on_output = on_output
        self._limit = limit
        self._selector = selectors.DefaultSelector()
        for number, stream in enumerate(self._streams):
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, selectors.EVENT_READ, number)
        self._stdin = process.stdin
        self._rest = memoryview(stdin)
        self._read_something = False
        if self._stdin is not None:
            os.set_blocking(self._stdin.fileno(), False)
            self._selector.register(self._stdin, selectors.EVENT_WRITE, 2)

    def fresh(self) -> bool:
        """True when the last turn read something and a stream is still open: there may be more."""
        return self._read_something and bool(self._selector.get_map())

    def turn(self, wait: float) -> None:
        self._read_something = False
        if not self._selector.get_map():
            time.sleep(min(wait, 0.01))
            return
        for key, _ in self._selector.select(wait):
            if key.data == 2:
                self._feed()
            else:
                self._read(key.data)

    def drain(self) -> None:
        """Read what the ended program left in the pipes, for at most 0.2 s."""
        until = time.monotonic() + 0.2
        self._end_stdin()
        while self._selector.get_map() and time.monotonic() < until:
            self.turn(0.02)
            if not self._read_something:
                break

    def output(self, number: int) -> bytes:
        whole = b"".join(self._parts[number])
        return whole if self._limit is None else whole[-self._limit :]

    def close(self) -> None:
        self._selector.close()
        self._end_stdin()
        for stream in self._streams:
            stream.close()

    def _feed(self) -> None:
        assert self._stdin is not None
        try:
            self._rest = self._rest[os.write(self._stdin.fileno(), self._rest[:_CHUNK]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            # A program need not read what it is given.
            self._rest = memoryview(b"")
        if not self._rest:
            self._end_stdin()

    def _end_stdin(self) -> None:
        if self._stdin is not None:
            if self._stdin in [key.fileobj for key in (self._selector.get_map() or {}).values()]:
                self._selector.unregister(self._stdin)
            self._stdin.close()
            self._stdin = None

    def _read(self, number: int) -> None:
        stream = self._streams[number]
        try:
            piece = os.read(stream.fileno(), _CHUNK)
        except BlockingIOError:
            return
        if not piece:
            self._selector.unregister(stream)
            return
        self._read_something = True
        self._parts[number].append(piece)
        self._sizes[number] += len(piece)
        if self._limit is not None and self._sizes[number] > 4 * self._limit + _CHUNK:
            self._parts[number] = [self.output(number)]
            self._sizes[number] = len(self._parts[number][0])
        if self._on_output is not None:
            self._on_output(piece)


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=2)
    except ProcessLookupError:
        return
    except subprocess.TimeoutExpired:
        pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
