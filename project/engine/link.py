"""Requests to an agent over one channel: answers, progress, data."""

import contextlib
import time
from collections.abc import Callable, Iterable
from typing import Any

from project.core import protocol
from project.core.errors import Bug, ClusterError, JobferryError, from_wire
from project.core.process import quote
from project.engine import boot
from project.engine.agentfile import AgentFile
from project.transports.base import Channel, Transport

Json = dict[str, Any]
OnMessage = Callable[[Json, bytes], None]
PIECE = 256 * 1024
# Seconds after the last answer for which the agent is taken to be there still.
TRUSTED = 15.0
# Seconds for the exit status of a command whose output has ended.
_END = 30.0
_NOBODY = "00000000-0000-0000-0000-000000000000"


class Link:
    """An agent that runs on a cluster. Requests are made one after the other."""

    def __init__(self, transport: Transport, channel: Channel, name: str, hello: Json) -> None:
        self._transport = transport
        self._channel = channel
        self.name = name
        self.hello = hello
        self._heard = time.monotonic()
        # False also while a request has no result yet: what comes after one that was given up belongs to it.
        self._sound = True

    def request(
        self,
        op: str,
        sending: Iterable[bytes] | None = None,
        on_message: OnMessage | None = None,
        **fields: Any,
    ) -> Json:
        """Ask, and wait for the result.

        :param sending: bytes that follow the request.
        :param on_message: called with every message before the result, and its payload.

        Raises what the agent raised, or ClusterError (transient) when the connection breaks.
        """
        refused: ClusterError | None = None
        self._sound = False
        try:
            self._send(op, sending, fields)
        except ClusterError as error:
            # The agent may have said why before it stopped listening. It ends when its input does.
            refused = error
            with contextlib.suppress(JobferryError, OSError, ValueError):
                self._channel.stdin.close()
        try:
            return self._result(on_message)
        except ClusterError as error:
            raise refused or error from None

    def _send(self, op: str, sending: Iterable[bytes] | None, fields: Json) -> None:
        try:
            protocol.write(self._channel.stdin, {"op": op, **fields})
            if sending is not None:
                for piece in sending:
                    protocol.write(self._channel.stdin, {"type": "data"}, piece)
                protocol.write(self._channel.stdin, {"type": "end"})
        except (OSError, ValueError) as error:
            # ValueError: the stream is closed, after an earlier failure.
            raise self._broken() from error

    def _result(self, on_message: OnMessage | None) -> Json:
        while True:
            header, payload = self._read()
            kind = header.get("type")
            if kind in {"result", "error"}:
                self._heard, self._sound = time.monotonic(), True
            if kind == "result":
                return header
            if kind == "error":
                raise from_wire(header)
            if on_message is not None:
                on_message(header, payload)

    def _read(self) -> tuple[Json, bytes]:
        try:
            return protocol.read(self._channel.stdout)
        except protocol.StreamEnded as error:
            raise self._broken() from error
        except protocol.ProtocolError as error:
            raise Bug(f"The agent on {self.name} sent something that is no message ({error}).") from error
        except (OSError, ValueError) as error:
            # ValueError, as in `_send`: the stream is closed.
            raise self._broken() from error

    def shell(self, line: str) -> tuple[int, bytes]:
        """Run a line of POSIX shell beside the agent, on the same connection: exit status and output. Raises ClusterError."""
        channel = self._transport.open("exec /bin/sh -c " + quote(line) + " </dev/null")
        try:
            printed = channel.stdout.read()
            return channel.wait(_END), printed
        finally:
            channel.close()

    def answers(self) -> bool:
        """False when the connection is gone or a request was broken off. After a while of silence it is asked: one round trip."""
        if self._sound and time.monotonic() - self._heard > TRUSTED:
            # An error of the agent's is an answer too.
            with contextlib.suppress(JobferryError):
                self.request("have", workdir="", uuid=_NOBODY)
        return self._sound

    def _broken(self) -> ClusterError:
        said = self._channel.stderr_tail()
        last = f" Its last words: {said.splitlines()[-1]}" if said else ""
        return ClusterError(
            f"The connection to {self._transport.description} was lost.{last}",
            "Check the network and call again: what was done is kept.",
            transient=True,
        )

    def close(self) -> None:
        """End the agent's session and the connection."""
        with contextlib.suppress(JobferryError, OSError, ValueError):
            self._channel.close()
        self._transport.close()


def open_link(
    transport: Transport, agent: AgentFile, name: str, python: str = "", root: str = "$HOME/.jobferry"
) -> Link:
    """Start the agent over `transport` and hear its greeting. Raises ClusterError; the transport is closed then."""
    channel = None
    try:
        channel = transport.open(boot.command(agent, python, root))
        boot.start(channel.stdin, channel.stdout, agent, transport.description)
        hello, _ = protocol.read(channel.stdout)
    except (protocol.ProtocolError, OSError, ValueError) as error:
        said = channel.stderr_tail() if channel else ""
        transport.close()
        raise ClusterError(
            f"The agent on {transport.description} does not start ({said.splitlines()[-1] if said else error}).",
            transient=True,
        ) from error
    except JobferryError:
        transport.close()
        raise
    return Link(transport, channel, name, hello)


def pieces(data: bytes) -> Iterable[bytes]:
    """`data` in pieces that a frame may carry."""
    for start in range(0, len(data), PIECE):
        yield data[start : start + PIECE]
