"""Serves the client's requests on a stream until it ends. The protocol is in `core.protocol`."""

import contextlib
import os
import socket
import sys
import time
from typing import Any, BinaryIO, Callable, Dict, Iterator

from project.agent import spawn, texts
from project.agent.names import last_lines, user
from project.agent.report import Client
from project.agent.runner import Runner
from project.core import protocol
from project.core.errors import Bug, ClusterError, JobferryError, UserError, to_wire
from project.core.paths import Root

# op → the function that serves it, "module:function"; imported when it is asked for.
OPS = {
    "submit": "submit:submit",
    "have": "submit:have",
    "sync": "sync:sync",
    "cancel": "control:cancel",
    "hold": "control:hold",
    "release": "control:release",
    "remove": "control:remove",
    "reached": "reached:reached",
    "logs": "logs:logs",
    "outputs": "outputs:outputs",
    "facts": "facts:facts",
    "check": "check:check",
}


class Session:
    """One client: its stream, the root, and what the ops need of both."""

    def __init__(self, root: str, source: BinaryIO, sink: BinaryIO) -> None:
        self.root = Root(root)
        self.client = Client(sink)
        self.runner = Runner(root)
        self.user = user()
        self._source = source
        self._uploading = False
        # When the client was last heard while it uploads (time.monotonic).
        self.heard = time.monotonic()

    def hello(self) -> None:
        """The first frame."""
        self.client.send(
            {
                "type": "hello",
                "version": protocol.VERSION,
                "root": texts.from_path(self.root.root),
                "workdir": texts.from_path(self.root.jobs),
                "host": socket.gethostname(),
                "user": self.user,
                "python": "{}.{}.{}".format(*sys.version_info[:3]),
            }
        )

    def workdir(self, request: Dict[str, Any]) -> str:
        """The folder of the jobs that a request means, absolute."""
        return texts.expand(str(request.get("workdir") or ""), self.root.jobs)

    def pieces(self) -> Iterator[bytes]:
        """The payload of an upload, piece by piece; it ends with the client's `end`."""
        self._uploading = True
        while self._uploading:
            self.heard = time.monotonic()
            header, payload = protocol.read(self._source)
            if header.get("type") == "end":
                self._uploading = False
            elif header.get("type") == "data":
                if payload:
                    yield payload
            else:
                raise protocol.ProtocolError("{!r} in the middle of an upload".format(header.get("type")))

    def serve(self) -> None:
        """All requests until the end of the stream. Raises protocol.ProtocolError when the client speaks nonsense."""
        while True:
            try:
                request, _ = protocol.read(self._source)
            except protocol.StreamEnded:
                return
            self.client.send(self._answer(request))

    def _answer(self, request: Dict[str, Any]) -> Dict[str, Any]:
        self._uploading = bool(request.get("upload"))
        try:
            result = _function(request)(self, request)
            return dict(result, type="result")
        except protocol.ProtocolError:
            raise
        except JobferryError as error:
            answer = to_wire(error)
        except BrokenPipeError:
            raise
        except OSError as error:
            answer = to_wire(from_os(error))
        except Exception as error:
            # A bug of ours: the client hears of it, and the next request is served.
            answer = to_wire(Bug("The agent failed: {!r}.".format(error), last_lines()))
        for _ in self.pieces() if self._uploading else ():
            pass
        return answer


def from_os(error: OSError) -> JobferryError:
    """An error of the operating system as one of the cluster: a full disk may have room again."""
    from project.agent import plans

    where = texts.from_path(error.filename) if isinstance(error.filename, str) else ""
    message = "{}{}".format(error.strerror or error, " ({})".format(where) if where else "")
    hint = {
        "disk": "Is the disk full, the quota used up, or the workdir mounted read-only? `jobferry doctor` looks."
    }.get(plans.cause_of(error), "")
    return ClusterError(message, hint, transient=bool(hint), condition="internal_error")


def serve(root: str, source: BinaryIO, sink: BinaryIO) -> int:
    """Serve one client; the exit status."""
    session = Session(root, source, sink)
    # Where that is not possible every op says why; looking at a job may work all the same.
    with contextlib.suppress(OSError):
        os.makedirs(session.root.live, mode=0o700, exist_ok=True)
    try:
        session.hello()
        spawn.watcher_if_needed(session.root)
        session.serve()
    except BrokenPipeError:
        return 0
    except protocol.StreamEnded:
        return 0
    except protocol.ProtocolError as error:
        session.client.carry_on()
        session.client.send(to_wire(Bug("The client sent something that is no request: {}.".format(error))))
        return 70
    return 0


def _function(request: Dict[str, Any]) -> Callable[[Session, Dict[str, Any]], Dict[str, Any]]:
    import importlib

    place = OPS.get(str(request.get("op")))
    if place is None:
        raise UserError("The agent knows no operation {!r}.".format(request.get("op")))
    module, _, name = place.partition(":")
    found: Callable[[Session, Dict[str, Any]], Dict[str, Any]] = getattr(
        importlib.import_module("project.agent." + module), name
    )
    return found
