"""A proxy in front of Postgres that a test can freeze or cut."""

import select
import socket
import threading
from contextlib import suppress

import psycopg.conninfo

from tests.ports import free_port


class Wire:
    """Forwards a loopback port to the server of a connection string.

    `deaf`: connections stay open and new ones are accepted, but no data passes, as with a frozen
    server. `cut`: connections close and new ones are refused, as with a dead server.
    """

    def __init__(self, dsn: str) -> None:
        self.direct = dsn
        self._parts = psycopg.conninfo.conninfo_to_dict(dsn)
        self._open: list[socket.socket] = []
        self._flows = threading.Event()
        self._flows.set()
        self._listen(free_port())
        host, self.port = self._listening.getsockname()
        self.dsn = psycopg.conninfo.make_conninfo(dsn, host=host, port=self.port, sslmode="disable")

    def deaf(self) -> None:
        self._flows.clear()

    def heal(self) -> None:
        self._flows.set()

    def cut(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)  # close() alone lets a pending accept succeed
        self._listening.close()
        for end in self._open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def mend(self) -> None:
        self._listen(self.port)

    def _listen(self, port: int) -> None:
        self._listening = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def _accept(self, listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listening.accept()
                server = self._server()
                self._open += [client, server]
                threading.Thread(target=self._carry, args=(client, server), daemon=True).start()

    def _server(self) -> socket.socket:
        host, port = str(self._parts["host"]), self._parts.get("port") or 5432
        if not host.startswith("/"):
            return socket.create_connection((host, int(port)))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        other = {client: server, server: client}
        with suppress(OSError), client, server:
            while True:
                for end in select.select([client, server], [], [])[0]:
                    data = end.recv(65536)
                    self._flows.wait()
                    if not data:
                        return
                    other[end].sendall(data)
