"""A hub on this machine that takes uploads: the calls of Hugging Face's client, and what they left there."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.loopback import LoopbackServer

TOKEN = "hf_writer"  # noqa: S105 - of no hub but this one


@dataclass
class UploadHub:
    """What the hub holds, and how it behaves.

    Args:
        refuse: Status by the beginning of a path: what such calls are answered with.
        large: Names of files that are stored apart (LFS).
        drop: Beginning of a path whose calls end without an answer.
    """

    refuse: dict[str, int] = field(default_factory=dict)
    large: tuple[str, ...] = ("model.safetensors",)
    drop: str = ""
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    stored: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    address: str = ""


class _Handler(BaseHTTPRequestHandler):
    hub: UploadHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self._call()

    def do_POST(self) -> None:
        self._call()

    def do_PUT(self) -> None:
        self._call()

    def _call(self) -> None:
        hub, path = self.hub, self.path.partition("?")[0]
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        hub.asked.append(f"{self.command} {path}")
        if hub.drop and path.startswith(hub.drop):
            self.close_connection = True
            return
        status = next((status for begin, status in hub.refuse.items() if path.startswith(begin)), 0)
        apart = path.startswith("/stored/")  # signed addresses need no token
        if not status and not apart and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            status = 401
        if status:
            self._send(status, {"error": "refused"})
        elif apart:
            hub.stored[path.removeprefix("/stored/")] = content
            self._send(200, {})
        else:
            self._answer(path, content)

    def _answer(self, path: str, content: bytes) -> None:
        hub = self.hub
        if path == "/api/repos/create":
            asked = json.loads(content)
            name = f"{asked['organization']}/{asked['name']}"
            known = name in hub.repositories
            hub.repositories.setdefault(name, {})
            self._send(409 if known else 200, {"url": f"{hub.address}/{name}", "name": name})
        elif path == "/api/validate-yaml":
            self._send(200, {"errors": [], "warnings": []})
        elif "/preupload/" in path:
            names = [entry["path"] for entry in json.loads(content)["files"]]
            modes = ["lfs" if name in hub.large else "regular" for name in names]
            files = [
                {"path": name, "uploadMode": mode, "shouldIgnore": False}
                for name, mode in zip(names, modes, strict=True)
            ]
            self._send(200, {"files": files})
        elif path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**entry, "actions": {"upload": {"href": f"{hub.address}/stored/{entry['oid']}"}}}
                for entry in json.loads(content)["objects"]
            ]
            self._send(200, {"transfer": "basic", "objects": objects})
        elif "/commit/" in path:
            name = path.removeprefix("/api/models/").partition("/commit/")[0]
            self._commit(name, [json.loads(line) for line in content.splitlines()])
        else:
            self._send(404, {"error": "there is no such call"})

    def _commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        hub = self.hub
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                hub.messages.append(value["summary"])
            elif line["key"] == "file":
                hub.repositories[name][value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                data = hub.stored[value["oid"]]
                assert hashlib.sha256(data).hexdigest() == value["oid"]
                hub.repositories[name][value["path"]] = data
        self._send(200, {"commitUrl": f"{hub.address}/{name}/commit/{'c' * 40}", "commitOid": "c" * 40})

    def _send(self, status: int, answer: object) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def upload_hub(**behaviour: Any) -> Iterator[UploadHub]:
    """A hub that takes uploads by `TOKEN`; arguments are those of `UploadHub`."""
    hub = UploadHub(**behaviour)
    server = LoopbackServer(type("Handler", (_Handler,), {"hub": hub}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.address = server.address
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
