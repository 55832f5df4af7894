"""A TCP proxy that breaks a connection at an exact place."""

import contextlib
import socket
import threading


class Proxy:
    """Forwards to a port of this machine. `mode` is `drop`, `stall` or `truncate` after `limit` bytes to the server.

    `drop` resets both sides; `truncate` forwards exactly `limit` bytes and then closes as if all had been sent;
    `stall` keeps both sides open and forwards nothing more; `refuse` lets nobody in at all. After `heal()` new connections go through whole.
    """

    def __init__(self, target: int, mode: str, limit: int) -> None:
        self._target, self._mode, self._limit = target, mode, limit
        self._broken = threading.Event()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def heal(self) -> None:
        self._mode = ""

    def close(self) -> None:
        self._listener.close()
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._mode == "refuse":
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._target))
            self._sockets += [client, server]
            mode = self._mode
            threading.Thread(target=self._pump, args=(client, server, mode), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, ""), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, mode: str) -> None:
        left = self._limit
        with contextlib.suppress(OSError):
            while piece := source.recv(4096):
                if not mode:
                    sink.sendall(piece)
                    continue
                sink.sendall(piece[:left]) if mode != "stall" or left > 0 else None
                left -= len(piece)
                if left <= 0 and mode != "stall":
                    self._break(source, sink, mode)
                    return
            sink.shutdown(socket.SHUT_WR)

    @staticmethod
    def _break(source: socket.socket, sink: socket.socket, mode: str) -> None:
        if mode == "drop":
            for each in (source, sink):
                # SO_LINGER 0: a reset instead of an orderly end.
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        for each in (source, sink):
            with contextlib.suppress(OSError):
                # Also wakes the other thread, whose recv would keep the connection open.
                each.shutdown(socket.SHUT_RDWR if mode == "truncate" else socket.SHUT_RD)
            each.close()
