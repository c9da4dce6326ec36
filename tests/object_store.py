"""A loopback object store: the few calls of S3 that packing and reading need, on a plain server of this machine."""

import base64
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from unittest.mock import patch
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from tests.loopback import LoopbackServer

BUCKET = "fusion"
KEYS = {"AWS_ACCESS_KEY_ID": "loopback", "AWS_SECRET_ACCESS_KEY": "secret-of-the-tests"}


@dataclass
class Store:
    """What a store has, how it behaves, and what it was asked.

    Args:
        objects: Contents by key.
        notes: Metadata by key.
        page: Objects in one answer of a listing.
        fail_after: Writes that succeed before all others fail; None: all succeed.
        break_after: Bytes after which its next transfers end, one entry for each.
        asked: Method, key and range of each request.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    notes: dict[str, dict[str, str]] = field(default_factory=dict)
    page: int = 2
    fail_after: int | None = None
    break_after: list[int] = field(default_factory=list)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    address: str = ""

    def count(self, method: str, ending: str = "") -> int:
        """How many requests there were of a method, for keys that end so."""
        return sum(each[0] == method and each[1].endswith(ending) for each in self.asked)


class _Handler(BaseHTTPRequestHandler):
    store: Store
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        if (key := self._key()) is None:
            return
        if not key:
            self._list()
        elif key not in self.store.objects:
            self._error(404, "NoSuchKey")
        else:
            self._send(self.store.objects[key], self.headers.get("Range", ""), self._notes(key))

    def do_HEAD(self) -> None:
        if (key := self._key()) is None:
            return
        if key not in self.store.objects:
            self._answer(404, b"")
        else:
            self._answer(200, self.store.objects[key], self._notes(key))

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if (key := self._key()) is None:
            return
        checksum = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
        if self.headers.get("Content-MD5") != checksum:
            self._error(400, "BadDigest")
        elif self.store.fail_after == 0:
            self._error(507, "InsufficientStorage")
        else:
            if self.store.fail_after:
                self.store.fail_after -= 1
            self.store.objects[key] = content
            self.store.notes[key] = {
                name: value for name, value in self.headers.items() if name.startswith("x-amz-meta")
            }
            self._answer(200, b"")

    def _key(self) -> str | None:
        """The object that is asked for, "" for the bucket; None where an error was answered."""
        bucket, _, key = unquote(urlsplit(self.path).path).lstrip("/").partition("/")
        self.store.asked.append((self.command, key, self.headers.get("Range", "")))
        if f"Credential={KEYS['AWS_ACCESS_KEY_ID']}/" not in self.headers.get("Authorization", ""):
            self._error(403, "InvalidAccessKeyId")
        elif bucket != BUCKET:
            self._error(404, "NoSuchBucket")
        else:
            return key
        return None

    def _notes(self, key: str) -> dict[str, str]:
        return self.store.notes.get(key, {})

    def _list(self) -> None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        prefix, begin = query.get("prefix", ""), query.get("continuation-token", "")
        keys = sorted(key for key in self.store.objects if key.startswith(prefix) and key > begin)
        here = [key for key in keys if "/" not in key.removeprefix(prefix)]
        shown, more = here[: self.store.page], len(here) > self.store.page
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.store.objects[key])}</Size></Contents>" for key in shown
        )
        after = f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>" if more else ""
        body = f"<IsTruncated>{str(more).lower()}</IsTruncated>{after}{entries}"
        self._answer(200, f'<?xml version="1.0"?><ListBucketResult>{body}</ListBucketResult>'.encode())

    def _send(self, content: bytes, part: str, headers: dict[str, str]) -> None:
        if not part:
            self._answer(200, content, headers)
            return
        first, _, last = part.removeprefix("bytes=").partition("-")
        begin, end = int(first), min(int(last) if last else len(content) - 1, len(content) - 1)
        where = {"Content-Range": f"bytes {begin}-{end}/{len(content)}"}
        self._answer(206, content[begin : end + 1], headers | where)

    def _error(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code><Message>told by a test</Message></Error>".encode())

    def _answer(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.command == "GET" and status in (200, 206) and self.store.break_after:
            self.wfile.write(content[: self.store.break_after.pop(0)])
            self.close_connection = True
            return
        self.wfile.write(content)


@contextmanager
def storing() -> Iterator[Store]:
    """A store with one empty bucket, which this process and its children find by their environment."""
    store = Store()
    handler = type("Handler", (_Handler,), {"store": store})
    with LoopbackServer(handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        store.address = server.address
        own = {"AWS_ENDPOINT_URL": store.address, "no_proxy": "*", "NO_PROXY": "*", "AWS_CONFIG_FILE": os.devnull}
        own |= {"AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_EC2_METADATA_DISABLED": "true"}
        others = {name: "" for name in os.environ if name.startswith("AWS_")}
        with patch.dict(os.environ, others | own | KEYS):
            for name in others.keys() - own.keys() - KEYS.keys():
                del os.environ[name]
            yield store
        server.shutdown()
