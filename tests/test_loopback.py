"""The tests' own server: what a client does to it never shows in what a test reads."""

import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from tests.loopback import LoopbackServer

ENOUGH = 1 << 26
"""Bytes that no socket takes at once, so that whoever sends them notices a client that has gone."""


def _hung_up(asked: str) -> None:
    """One request whose client goes away at once; returns when the server is done with it."""
    done = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/fault":
                raise ValueError("a fault of the server's")
            self.wfile.write(bytes(ENOUGH))

        def log_message(self, *arguments: object) -> None:
            pass

    class Watched(LoopbackServer):
        def shutdown_request(self, request: Any) -> None:
            super().shutdown_request(request)
            done.set()

    with Watched(Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        client = socket.create_connection(("127.0.0.1", server.server_port))
        client.sendall(f"GET {asked} HTTP/1.0\r\n\r\n".encode())
        client.recv(1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset, not closed
        client.close()
        assert done.wait(30)
        server.shutdown()


def test_a_client_that_hangs_up_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    _hung_up("/file")
    assert capsys.readouterr() == ("", "")


def test_any_other_fault_of_the_server_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    _hung_up("/fault")
    assert "a fault of the server's" in capsys.readouterr().err
