"""Archives from the web: no name leads out, nothing unfolds without end, and damage is seen."""

import stat
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ivif.files.unpacking import UnpackError, unpack
from tests.refusals import refusal
from tests.web import files_below


def archive_of(path: Path, *entries: tuple[str, bytes], kind: int = 0) -> Path:
    """A zip archive; `kind` is the kind of file that its entries say they are."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings(action="ignore"):
        for name, content in entries:
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (kind | 0o644) << 16
            archive.writestr(entry, content)
    return path


def unpacked(path: Path, folder: Path) -> list[str]:
    folder.mkdir()
    unpack(path, folder)
    return files_below(folder)


def test_one_folder_around_everything_is_left_out(place: Path) -> None:
    entries = (("Set-abc/ir/1.png", b"ir"), ("Set-abc/vi/1.png", b"vi"), ("Set-abc/README.md", b"Read"))
    others = (("__MACOSX/Set-abc/ir/._1.png", b""), ("Set-abc/vi/Thumbs.db", b""))
    assert unpacked(archive_of(place / "a.zip", *entries, *others), place / "a") == [
        "README.md",
        "ir/1.png",
        "vi/1.png",
    ]
    assert (place / "a" / "ir" / "1.png").read_bytes() == b"ir"
    flat = archive_of(place / "b.zip", ("ir/1.png", b"ir"), ("vi/1.png", b"vi"))
    assert unpacked(flat, place / "b") == ["ir/1.png", "vi/1.png"]


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("../out.png", "leads out"),
        ("a/../../out.png", "leads out"),
        ("/tmp/out.png", "leads out"),
        ("..\\out.png", "leads out"),
        ("C:/out.png", "leads out"),
        ("a\x1b[2J/../../out.png", "\\x1b[2J"),
    ],
)
def test_a_name_that_leads_out_is_refused_before_anything_is_written(place: Path, name: str, named: str) -> None:
    path = archive_of(place / "a.zip", ("ir/1.png", b"ir"), (name, b"out"))
    (place / "in").mkdir()
    message = refusal(lambda: unpack(path, place / "in"), UnpackError, str(path), named)
    assert "\x1b" not in message
    assert files_below(place) == ["a.zip"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_pipes_and_devices_are_refused(place: Path, kind: int) -> None:
    path = archive_of(place / "a.zip", ("ir", b"/etc"), kind=kind)
    (place / "in").mkdir()
    refusal(lambda: unpack(path, place / "in"), UnpackError, "'ir'", "a link, pipe or device")
    assert list((place / "in").iterdir()) == []


def test_a_bomb_is_refused_before_it_unfolds(place: Path) -> None:
    path = archive_of(place / "a.zip", *((f"{n}.png", bytes(40_000_000)) for n in range(3)))
    (place / "in").mkdir()
    refusal(lambda: unpack(path, place / "in"), UnpackError, "3 files of 120 MB", "more than an archive of pictures")
    assert list((place / "in").iterdir()) == []


def test_a_length_that_is_a_lie_does_not_unfold_further(place: Path) -> None:
    path = archive_of(place / "a.zip", ("1.png", bytes(1_000_000)))
    lied = path.read_bytes().replace(struct.pack("<I", 1_000_000), struct.pack("<I", 10))
    path.write_bytes(lied)
    (place / "in").mkdir()
    refusal(lambda: unpack(path, place / "in"), UnpackError, "no whole zip archive", "Bad CRC-32")


def _twice(path: Path) -> None:
    archive_of(path, ("ir/1.png", b"one"), ("ir/1.png", b"two"))


def _encrypted(path: Path) -> None:
    archive_of(path, ("ir/1.png", b"one"))
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(content))


def _unusual(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("ir/1.png", b"one")


def _damaged(path: Path) -> None:
    archive_of(path, ("ir/1.png", bytes(range(256)) * 100))
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF
    path.write_bytes(bytes(content))


def _cut(path: Path) -> None:
    archive_of(path, ("ir/1.png", bytes(range(256)) * 100))
    path.write_bytes(path.read_bytes()[:-30])


def _page(path: Path) -> None:
    path.write_bytes(b"<!DOCTYPE html><title>Quota exceeded</title>")


@pytest.mark.parametrize(
    ("write", "named"),
    [
        (_twice, "a name that it has twice"),
        (_encrypted, "encrypted"),
        (_unusual, "compressed in an unusual way"),
        (_damaged, "no whole zip archive"),
        (_cut, "no whole zip archive"),
        (_page, "no whole zip archive"),
    ],
)
def test_what_cannot_be_trusted_is_refused_by_name(place: Path, write: Callable[[Path], None], named: str) -> None:
    write(place / "a.zip")
    (place / "in").mkdir()
    refusal(lambda: unpack(place / "a.zip", place / "in"), UnpackError, str(place / "a.zip"), named)
