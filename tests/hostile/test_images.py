"""Unusual images are read as what they are; damaged ones, and what only looks like one, are refused by name."""

import os
import random
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ivif.datamodules.datasets.io import (
    image_header,
    image_size,
    read_image,
    read_image_and_digest,
    to_infrared,
    to_visible,
)
from ivif.datamodules.datasets.thermal import Pixels
from ivif.files.errors import UnreadableFileError
from tests.fakes import skip_without_ycbcr
from tests.hostile.damaged_images import REFUSED
from tests.hostile.images import CLOSE, COLOR, EXACT, GREY, encode
from tests.refusals import refusal

REMEDY = "remove its pair from the dataset"


def _short(name: str) -> str:
    return name if len(name) < 60 else f"{name[:20]}...{name[-8:]}"


def _write(place: Path, name: str, data: bytes) -> Path:
    path = place / name
    path.write_bytes(data)
    return path


def _save(path: Path, pixels: Pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("name", EXACT, ids=_short)
def test_unusual_files_give_exactly_their_values(name: str, place: Path) -> None:
    data, expected = EXACT[name]()
    path = _write(place, name, data)
    pixels, _ = read_image_and_digest(path)
    assert pixels.dtype == expected.dtype
    assert np.array_equal(pixels, expected)
    assert np.array_equal(read_image(path), expected)
    assert image_size(path) == expected.shape[:2]
    assert image_header(path).deep == (expected.dtype != np.uint8)
    assert to_visible(pixels).shape == (3, *expected.shape[:2])
    assert to_infrared(read_image(path, luma=True)).shape == (1, *expected.shape[:2])


@pytest.mark.parametrize("name", CLOSE)
def test_lossy_files_give_nearly_their_values(name: str, place: Path) -> None:
    skip_without_ycbcr(name)
    data, expected = CLOSE[name]()
    path = _write(place, name, data)
    pixels = read_image(path)
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected).max() <= 3
    assert image_size(path) == expected.shape[:2]
    luma = to_infrared(read_image(path, luma=True))[0].numpy()
    assert np.abs(luma.astype(int) - (expected if expected.ndim == 2 else expected[..., 0])).max() <= 3


@pytest.mark.parametrize("name", REFUSED)
def test_hostile_files_are_refused_by_name(name: str, place: Path) -> None:
    data, words = REFUSED[name]
    path = _write(place, name, data())
    refusal(lambda: read_image(path), UnreadableFileError, name, words, REMEDY)
    refusal(lambda: read_image(path, luma=True), UnreadableFileError, name, words, REMEDY)
    with suppress(UnreadableFileError):  # what is wrong may also lie behind the header
        assert min(image_header(path)[:2]) > 0


def _folder(path: Path) -> None:
    path.mkdir()


def _link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def _link_to_nothing(path: Path) -> None:
    path.symlink_to("nothing")


def _link_to_endless_zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda _: None, "does not exist"),
        (_folder, "a folder"),
        (_link_to_itself, "symbolic links"),
        (_link_to_nothing, "does not exist"),
        (_link_to_endless_zeros, "no regular file"),
        (_pipe, "no regular file"),
    ],
    ids=["missing", "folder", "link to itself", "dangling link", "endless device", "pipe nobody writes into"],
)
def test_what_is_no_file_is_refused_at_once(make: Callable[[Path], None], words: str, place: Path) -> None:
    path = place / "x.png"
    make(path)
    for read in (read_image, image_header, read_image_and_digest):
        refusal(lambda read=read: read(path), UnreadableFileError, "x.png", words, REMEDY)  # type: ignore[misc]


def test_a_file_without_permission_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _save(place / "x.png", GREY)

    def denied(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", denied)  # the superuser may read everything
    refusal(lambda: read_image(path), UnreadableFileError, "x.png", "Permission denied", REMEDY)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "WEBP", "PPM", "16-bit-colour.png", "float.tif"])
def test_randomly_damaged_files_are_read_or_refused(kind: str, place: Path) -> None:
    original = EXACT[kind]()[0] if kind in EXACT else encode(COLOR, kind)
    draw = random.Random(kind)
    refusals = 0
    for number in range(40):
        data = bytearray(original)
        for _ in range(draw.choice((1, 1, 3))):
            data[draw.randrange(min(len(data), 200) if number % 2 else len(data))] = draw.randrange(256)
        path = _write(place, f"{number}", bytes(data[: draw.choice((None, None, draw.randrange(len(data))))]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL's, about the same damage
            try:
                read_image(path, max_pixels=10_000)  # some will claim a hundred megapixels, which takes time
            except UnreadableFileError:
                refusals += 1
    assert 3 < refusals <= 40
