"""Servers on this machine that answer as those of weights and datasets do: a hub, its storage, an archive's address."""

import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from unittest.mock import patch

from tests.loopback import LoopbackServer

SIGNATURE = "X-Amz-Signature=5igned"
"""What a hub's redirects carry, and no message may show."""


@dataclass
class Web:
    """What a server has, how it behaves, and what it was asked.

    Args:
        files: Contents by path.
        ranges: Whether it sends parts of a file.
        misplaced: Whether the parts that it sends begin one byte later than asked for.
        break_after: Bytes after which its next transfers end, one entry for each.
        wait: Held while set: transfers stop after their first half until it is.
        names_sha256: As a hub: whether it names the sha256 of its files.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    misplaced: bool = False
    break_after: list[int] = field(default_factory=list)
    wait: threading.Event | None = None
    names_sha256: bool = True
    asked: list[tuple[str, str, str, str]] = field(default_factory=list)
    address: str = ""
    storage: str = ""

    def transfers(self) -> list[str]:
        """The ranges that were asked for, in order, of all transfers; empty for a whole file."""
        return [part for method, path, part, _ in self.asked if method == "GET" and not path.startswith("/hub/")]


class _Handler(BaseHTTPRequestHandler):
    web: Web
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        web = self.web
        part, key = self.headers.get("Range", ""), self.headers.get("Authorization", "")
        web.asked.append((self.command, self.path, part, key))
        plain = self.path.partition("?")[0]
        if plain.startswith("/hub/"):
            self._redirect(plain.removeprefix("/hub").replace("/resolve/main/", "/"))
        elif plain in web.files:
            self._send(web.files[plain], part)
        else:
            self._empty(404)

    def _redirect(self, path: str) -> None:
        """As huggingface.co answers for a file of LFS: where it lies, how long it is, and what its sha256 is."""
        web = self.web
        if path not in web.files:
            self._empty(404, {"X-Error-Code": "EntryNotFound"})
            return
        named = hashlib.sha256(web.files[path]).hexdigest() if web.names_sha256 else "0" * 40
        headers = {"X-Repo-Commit": "c" * 40, "X-Linked-Etag": f'"{named}"', "ETag": f'"{"1" * 32}"'}
        headers |= {"X-Linked-Size": str(len(web.files[path])), "Location": f"{web.storage}{path}?{SIGNATURE}"}
        self._empty(302, headers)

    def _empty(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, content: bytes, part: str) -> None:
        begin = int(part.removeprefix("bytes=").rstrip("-")) if part and self.web.ranges else 0
        if begin and begin >= len(content):
            self._empty(416, {"Content-Range": f"bytes */{len(content)}"})
            return
        begin += bool(begin and self.web.misplaced)
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        rest = content[begin:]
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if self.command == "GET":
            self._write(rest)

    def _write(self, rest: bytes) -> None:
        if self.web.break_after:
            self.wfile.write(rest[: self.web.break_after.pop(0)])
            self.close_connection = True
            return
        self.wfile.write(rest[: len(rest) // 2])
        self.wfile.flush()
        if self.web.wait is not None:
            self.web.wait.wait(30)
        self.wfile.write(rest[len(rest) // 2 :])


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Web]:
    """A server of files by path; below `/hub` it is a hub, whose files lie at another host's address."""
    web = Web(files)
    handler = type("Handler", (_Handler,), {"web": web})
    direct = patch.dict(os.environ, {"no_proxy": "*", "NO_PROXY": "*"})
    with direct, LoopbackServer(handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        web.address = server.address
        web.storage = f"http://localhost:{server.server_port}"
        yield web
        server.shutdown()


@contextmanager
def silent() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def files_below(folder: Path) -> list[str]:
    """All files of a folder, hidden ones too, relative to it."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
