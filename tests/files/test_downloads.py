"""A file of the web is fetched once, resumed, checked, and in its place only when it is whole."""

import errno
import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ivif.files import downloads
from ivif.files.downloads import DownloadError, PlaceError, fetch, shown_address
from tests.refusals import refusal
from tests.web import Web, files_below, serving, silent

ROOT = Path(__file__).resolve().parents[2]
CONTENT = bytes(range(256)) * 12_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def web() -> Iterator[Web]:
    with serving({"/file.bin": CONTENT}) as web:
        yield web


def test_a_file_arrives_whole(web: Web, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "new" / "file.bin"
    assert fetch(f"{web.address}/file.bin", target, DIGEST) == target
    assert target.read_bytes() == CONTENT
    assert files_below(tmp_path) == ["new/file.bin"]
    assert f"Fetching {web.address}/file.bin to {target}" in capsys.readouterr().err
    fetch(f"{web.address}/file.bin", target, DIGEST)
    assert web.transfers() == [""]


def test_a_bar_shows_how_far_it_is(
    web: Web, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    fetch(f"{web.address}/file.bin", tmp_path / "file.bin", DIGEST)
    assert "3.1/3.1 MB" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)


def test_a_transfer_that_breaks_goes_on_where_it_was(web: Web, tmp_path: Path) -> None:
    web.break_after = [1_000_000, 500_000]
    fetch(f"{web.address}/file.bin", tmp_path / "file.bin", DIGEST)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert web.transfers() == ["", "bytes=1000000-", "bytes=1500000-"]


def test_a_later_run_goes_on_where_the_last_one_was(web: Web, tmp_path: Path) -> None:
    web.break_after = [100, 100, 100]
    target = tmp_path / "file.bin"
    with pytest.raises(DownloadError, match=rf"ended after 300 of {len(CONTENT)} bytes; the next try goes on there"):
        fetch(f"{web.address}/file.bin", target, DIGEST)
    assert not target.exists()
    fetch(f"{web.address}/file.bin", target, DIGEST)
    assert target.read_bytes() == CONTENT
    assert web.transfers()[-1] == "bytes=300-"
    assert files_below(tmp_path) == ["file.bin"]


def test_a_server_without_ranges_sends_all_of_it_again(web: Web, tmp_path: Path) -> None:
    web.ranges, web.break_after = False, [1_000_000]
    fetch(f"{web.address}/file.bin", tmp_path / "file.bin", DIGEST)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_part_that_does_not_follow_is_not_joined(web: Web, tmp_path: Path) -> None:
    web.misplaced, web.break_after = True, [1_000_000]
    fetch(f"{web.address}/file.bin", tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert web.transfers() == ["", "bytes=1000000-", ""]


def test_all_of_it_had_arrived_when_the_process_was_killed(web: Web, tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    web.break_after = [1000, 0]
    with pytest.raises(DownloadError):
        fetch(f"{web.address}/file.bin", target)
    (partial,) = tmp_path.iterdir()
    partial.write_bytes(CONTENT)
    fetch(f"{web.address}/file.bin", target)
    assert target.read_bytes() == CONTENT
    target.unlink()
    partial.write_bytes(CONTENT + b"longer than the file is")
    fetch(f"{web.address}/file.bin", target)
    assert target.read_bytes() == CONTENT
    assert files_below(tmp_path) == ["file.bin"]


def test_another_file_than_the_published_one_is_removed(web: Web, tmp_path: Path) -> None:
    web.files["/file.bin"] = CONTENT[:-1] + b"x"
    refusal(lambda: fetch(f"{web.address}/file.bin", tmp_path / "f", DIGEST), DownloadError, "sha256", DIGEST[:16])
    assert files_below(tmp_path) == []


def test_a_link_in_its_place_is_replaced_where_it_holds_something_else(web: Web, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"other")
    (tmp_path / "file.bin").symlink_to(other)
    fetch(f"{web.address}/file.bin", tmp_path / "file.bin", DIGEST)
    assert other.read_bytes() == b"other"
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_line_and_is_not_left_full(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    line = refusal(
        lambda: fetch(f"{web.address}/file.bin", tmp_path / "file.bin", remedy="Make room."),
        PlaceError,
        f"Cannot write '{tmp_path / 'file.bin'}': {os.strerror(number)}. Make room.",
    )
    assert "\n" not in line
    assert files_below(tmp_path) == []


def test_a_disk_without_room_is_seen_before_anything_is_fetched(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=2_000_000))
    refusal(lambda: fetch(f"{web.address}/file.bin", tmp_path / "file.bin"), PlaceError, "3 MB more, and 2 MB are free")
    assert files_below(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_one_line(web: Web, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    refusal(lambda: fetch(f"{web.address}/file.bin", tmp_path / "file.bin"), PlaceError, "Permission denied")


def test_a_file_where_the_folder_should_be_is_one_line(web: Web, tmp_path: Path) -> None:
    (tmp_path / "folder").write_bytes(b"")
    refusal(lambda: fetch(f"{web.address}/file.bin", tmp_path / "folder" / "f"), PlaceError, "Cannot write")


def test_what_is_no_address_of_the_web_is_not_fetched(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.write_bytes(b"private")
    for address in (private.as_uri(), "ftp://127.0.0.1/file", str(private)):
        refusal(lambda address=address: fetch(address, tmp_path / "f"), DownloadError, "only http and https")  # type: ignore[misc]
    assert files_below(tmp_path) == ["private"]


@pytest.mark.parametrize("address", ["http://user:pa55word@127.0.0.1:9/f", "http://pa55word@127.0.0.1/f?key=pa55word"])
def test_addresses_with_passwords_are_not_used_and_not_shown(address: str, tmp_path: Path) -> None:
    line = refusal(lambda: fetch(address, tmp_path / "f"), DownloadError, "a name or password in them")
    assert "pa55word" not in line + shown_address(address)
    assert shown_address(address).startswith("http://127.0.0.1")


def test_a_redirect_that_leaves_https_is_not_followed() -> None:
    handler = downloads._StaysProtected()
    request: Any = type("Request", (), {"type": "https"})
    with pytest.raises(DownloadError, match="without https"):
        handler.redirect_request(request, None, 302, "", None, "http://127.0.0.1/f")  # type: ignore[arg-type]


def test_a_server_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "STALL_SECONDS", 0.2)
    with silent() as address:
        refusal(lambda: fetch(f"{address}/file.bin", tmp_path / "f"), DownloadError, "no answer")
    assert files_below(tmp_path) == []


FETCH = """
import pathlib, sys
from ivif.files.downloads import fetch
fetch(sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3])
"""


def fetching(web: Web, target: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", FETCH, f"{web.address}/file.bin", str(target), DIGEST]
    return subprocess.Popen(command, cwd=ROOT, text=True, stderr=subprocess.PIPE)


def until(condition: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_several_processes_fetch_once(web: Web, tmp_path: Path) -> None:
    web.wait = threading.Event()
    target = tmp_path / "file.bin"
    processes = [fetching(web, target) for _ in range(3)]
    until(lambda: len(web.asked) == 1)
    time.sleep(0.5)
    web.wait.set()
    said = [process.communicate(timeout=30)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert web.transfers() == [""]
    assert target.read_bytes() == CONTENT
    assert files_below(tmp_path) == ["file.bin"]


def test_a_kill_leaves_nothing_that_counts_and_the_next_process_goes_on(web: Web, tmp_path: Path) -> None:
    web.wait = threading.Event()
    target = tmp_path / "file.bin"
    process = fetching(web, target)
    until(lambda: any(path.stat().st_size >= 1_000_000 for path in tmp_path.iterdir()))
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    assert not target.exists()
    web.wait.set()
    fetch(f"{web.address}/file.bin", target, DIGEST)
    assert target.read_bytes() == CONTENT
    assert web.transfers()[1].startswith("bytes=1")


def test_a_lock_that_a_filesystem_lacks_is_done_without(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", none)
    fetch(f"{web.address}/file.bin", tmp_path / "file.bin", DIGEST)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_name_that_nothing_knows_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    refusal(lambda: fetch("https://example.org/f", tmp_path / "f"), DownloadError, "Name or service not known")
