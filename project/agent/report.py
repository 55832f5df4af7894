"""Whom the agent tells what it does: nobody (the watcher), or a client at the other end of a stream."""

from typing import Any, BinaryIO, Dict, Optional

from project.core import protocol
from project.core.history import Event


class Reporter:
    """Tells nobody. Events are in the job's folder anyway."""

    def progress(self, text: str, stage: str = "") -> None:
        """Something is going on."""

    def event(self, event: Event) -> None:
        """An event was recorded."""


class Client(Reporter):
    """Tells the client. A client that has gone away is no error once its job is taken: `carry_on` stops the telling."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream: Optional[BinaryIO] = stream
        self._must_hear = True

    def carry_on(self) -> None:
        """From now on it does not matter whether the client is still there."""
        self._must_hear = False

    def send(self, header: Dict[str, Any], payload: bytes = b"") -> None:
        """Send a frame. Raises OSError when the client is gone, unless `carry_on` was called."""
        if self._stream is None:
            return
        try:
            protocol.write(self._stream, header, payload)
        except (OSError, ValueError):
            self._stream = None
            if self._must_hear:
                raise

    def progress(self, text: str, stage: str = "") -> None:
        header = {"type": "progress", "text": text}
        if stage:
            header["stage"] = stage
        self.send(header)

    def event(self, event: Event) -> None:
        self.send({"type": "event", "event": event})
