"""A TCP proxy that cuts, stalls or lets through: connections as bad networks make them."""

import contextlib
import selectors
import socket
import threading


class Proxy:
    """Forwards connections on `port` to (host, port) until told otherwise.

    :param cut_after: close a connection once this many bytes went towards the server (None: never).
    :param stall_after: forward nothing more, in either direction, once this many bytes went towards the server.
    :param cut_first_back: close the first connection once this many bytes came back from the server.
    """

    def __init__(
        self,
        target: "tuple[str, int]",
        cut_after: "int | None" = None,
        stall_after: "int | None" = None,
        cut_first_back: "int | None" = None,
    ) -> None:
        self.cut_after = cut_after
        self.stall_after = stall_after
        self.cut_first_back = cut_first_back
        self.connections = 0
        self._target = target
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_args: object) -> None:
        self.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                self._sockets.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            server = socket.create_connection(self._target)
            self._sockets.append(server)
            self._pump(client, server)
        for sock in (client, server):
            sock.close()

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        sent = back = 0
        first = self.connections == 1
        with selectors.DefaultSelector() as ready:
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in ready.select():
                    if self.stall_after is not None and sent >= self.stall_after:
                        threading.Event().wait()
                    data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                    if not data:
                        return
                    if key.fileobj is client:
                        if self.cut_after is not None and sent + len(data) > self.cut_after:
                            server.sendall(data[: self.cut_after - sent])
                            return
                        sent += len(data)
                    elif first and self.cut_first_back is not None:
                        back += len(data)
                        if back > self.cut_first_back:
                            return
                    key.data.sendall(data)

    def close(self) -> None:
        self._listener.close()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
