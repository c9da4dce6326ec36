"""A web server on this machine for tests: each request in a thread of its own, silent about clients that hang up."""

import socket
import sys
from http.server import ThreadingHTTPServer
from typing import Any


class LoopbackServer(ThreadingHTTPServer):
    """Serves at a free port of 127.0.0.1, until it is shut down.

    Python's own prints a traceback wherever a client ends a transfer early, at some time in some test: into what the
    command under test is asserted to have printed.
    """

    daemon_threads = True

    def __init__(self, handler: Any) -> None:
        super().__init__(("127.0.0.1", 0), handler)

    @property
    def address(self) -> str:
        """Where it answers: `http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self.server_port}"

    def get_request(self) -> tuple[Any, Any]:
        """A connection that sends what it is given at once: a small answer else waits 40 ms for the client's word."""
        connection, client = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, client

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)
