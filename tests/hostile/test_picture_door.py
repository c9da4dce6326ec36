"""One door for every picture: known formats, a limit of pixels, little memory, no more processors than allowed."""

import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from PIL import Image

from ivif.callbacks.image_logger import FUSED, previous_picture, step_folder
from ivif.datamodules.datasets.base import ReadingConfig
from ivif.datamodules.datasets.folder import FolderDataset
from ivif.datamodules.datasets.io import image_header, read_image, read_image_and_digest
from ivif.files.errors import UnreadableFileError
from ivif.files.pictures import load_rgb
from ivif.machine.processors import usable_processors
from tests.commands.test_report_run import write_run
from tests.fakes import png_16_bit, write_folder
from tests.hostile.damaged_images import tiled_tiff
from tests.hostile.images import DEEP_COLOR, encode, png
from tests.refusals import accepted, refusal, refused

SIDE: Final = 3000
MARKER: Final = "started"
PROGRAM: Final = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"


def _flat(depth: int, kind: int, channels: int) -> bytes:
    """A PNG of `SIDE` x `SIDE` zeros: a few kilobytes."""
    return png((SIDE, SIDE), (b"\0" + bytes(SIDE * channels * depth // 8)) * SIDE, depth, kind)


def _rise(path: Path) -> int:
    script = Path(__file__).with_name("image_memory.py")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script), str(path)], capture_output=True, encoding="utf-8", check=True, env=environment
    )
    return int(done.stdout)


@pytest.mark.parametrize(
    ("depth", "kind", "channels", "most"),
    [
        (16, 6, 4, 20),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in ((16, 2, 3, 20), (16, 4, 2, 10), (8, 6, 4, 16))),
        (8, 2, 3, 12),
    ],
    ids=["16-bit RGBA", "16-bit RGB", "16-bit grey with alpha", "8-bit RGBA", "8-bit RGB"],
)
def test_reading_takes_a_small_multiple_of_the_pixels(
    depth: int, kind: int, channels: int, most: int, place: Path
) -> None:
    path = place / "x.png"
    path.write_bytes(_flat(depth, kind, channels))
    assert path.stat().st_size < 100_000
    assert _rise(path) < most * SIDE * SIDE + 10_000_000  # `most` bytes a pixel; 36 before, for 16-bit RGBA


def test_what_is_refused_is_not_unfolded(place: Path) -> None:
    tiles = place / "tiles.tif"
    packer = zlib.compressobj(1)
    tiles.write_bytes(
        tiled_tiff(12_000, b"".join([packer.compress(bytes(12_000)) for _ in range(12_000)] + [packer.flush()]))
    )
    sparse = place / "sparse.png"
    with sparse.open("wb") as stream:
        stream.truncate(1 << 40)
    for path in (tiles, sparse):
        assert _rise(path) < 20_000_000, path.name
    refusal(lambda: read_image(sparse), UnreadableFileError, "sparse.png", f"{1 << 40} bytes", "reading.max_pixels")


def test_the_limit_is_an_option(place: Path) -> None:
    path = place / "x.png"
    path.write_bytes(encode(np.zeros((10, 11), dtype=np.uint8), "PNG"))
    for read in (read_image, image_header, read_image_and_digest):
        read(path, max_pixels=110)
        refusal(
            lambda read=read: read(path, max_pixels=109),  # type: ignore[misc]
            UnreadableFileError,
            *("x.png", "11x10 pixels", "reading.max_pixels allows pictures of 109", "report score: --max_pixels"),
        )
    path.write_bytes(png_16_bit(DEEP_COLOR))
    refusal(lambda: read_image(path, max_pixels=142), UnreadableFileError, "13x11 pixels")
    dataset = FolderDataset(write_folder(place / "data", count=1, size=(24, 26)), reading=ReadingConfig(max_pixels=623))
    refusal(lambda: dataset[0], UnreadableFileError, "000.png", "26x24 pixels", "623")
    refusal(lambda: dataset.image_size(0), UnreadableFileError, "000.png", "26x24 pixels")
    refusal(lambda: ReadingConfig(max_pixels=0), ValueError, "reading.max_pixels is 0")


def test_a_raised_limit_is_not_stopped_by_another_one(place: Path) -> None:
    path = place / "large.png"
    side = 14_000  # 196 million: beyond what PIL opens by itself
    packer = zlib.compressobj(1)
    rows = b"".join([packer.compress(bytes(side // 8 + 1)) for _ in range(side)] + [packer.flush()])
    path.write_bytes(png((side, side), zlib.decompress(rows), 1))
    refusal(lambda: image_header(path), UnreadableFileError, "large.png", " pixels; reading.max_pixels")
    before = Image.MAX_IMAGE_PIXELS
    try:
        assert image_header(path, max_pixels=200_000_000)[:2] == (side, side)
    finally:
        Image.MAX_IMAGE_PIXELS = before


def test_report_score_has_the_limit_too(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_folder(place / "data", count=2, size=(24, 26))
    (root / "vi" / "001.png").write_bytes(png((60_000, 60_000), b"\0\0"))
    options = [f"--infrared={root / 'ir'}", f"--visible={root / 'vi'}", f"--fused={root / 'ir'}", "--classic=false"]
    options += ["--metrics=EN", f"--out={place / 'tables'}"]
    printed = accepted(["report", "score", *options], capsys).replace("\n", "")
    assert "001.png': it has 3600000000 pixels; reading.max_pixels allows pictures of 100000000 pixels" in printed
    refused(["report", "score", *options, "--max_pixels=600"], capsys, "Nothing of ir could be scored")


def _ghostscript(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `gs` that leaves a mark."""
    program = place / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch '{place / MARKER}'\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)


PICTURES: Final = {
    "program": PROGRAM,
    "huge header": png((60_000, 60_000), b"\0\0"),
    "damaged": b"\x89PNG\r\n\x1a\n" + bytes(50),
    "nothing": b"",
    "other format": encode(Image.new("P", (4, 4)), "GIF"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_panels_are_opened_as_pictures_are(
    name: str, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _ghostscript(place, monkeypatch)
    run = write_run(place / "run")
    panel = run / "panels" / "val" / step_folder(30) / "made_0001.png"
    panel.write_bytes(PICTURES[name])
    refused(["report", "run", str(run)], capsys, "made_0001.png", "Remove it, and write the report again.")
    refusal(lambda: load_rgb(panel), UnreadableFileError, "made_0001.png")
    assert not (place / MARKER).exists()


def test_folders_that_are_no_step_of_a_run_are_left_out(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(place / "run")
    for name in ("stepX", "step", f"step{'9' * 5000}"[:250], "step-000001", "step٣٣٣٣٣٣٣"):
        folder = run / "panels" / "val" / name
        (folder / FUSED).mkdir(parents=True)
        for path in (folder / "made_0001.png", folder / FUSED / "made_0001.png"):
            path.write_bytes(b"no picture")
    accepted(["report", "run", str(run)], capsys)
    assert "validation after 30 steps" in (run / "report.html").read_text(encoding="utf-8")
    assert previous_picture(run / "panels" / "val" / step_folder(40), "made_0001.png", 40) == {}


def test_a_damaged_previous_picture_ends_no_training(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    panels = place / "panels" / "val"
    for step, data in ((10, encode(Image.new("RGB", (4, 4)), "PNG")), (20, PROGRAM)):
        folder = panels / step_folder(step) / FUSED / "made"
        folder.mkdir(parents=True)
        (folder / "[x].png").write_bytes(data)
    assert list(previous_picture(panels / step_folder(20), "made/[x].png", 20)) == ["previous (step 10)"]
    assert previous_picture(panels / step_folder(30), "made/[x].png", 30) == {}
    assert "[x].png" in caplog.text


def _files(root: Path, **texts: str) -> Path:
    for name, text in texts.items():
        path = root / name.replace("__", "/").replace("DOT", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_processors_are_those_of_affinity_and_job(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert usable_processors(place) == 8
    second = _files(
        place / "2", proc__self__cgroup="0::/job/step\n", sys__fs__cgroup__job__step__cpuDOTmax="max 100000\n"
    )
    assert usable_processors(second) == 8
    _files(second, sys__fs__cgroup__job__cpuDOTmax="250000 100000\n")
    assert usable_processors(second) == 2
    _files(second, sys__fs__cgroup__cpuDOTmax="50000 100000\n")
    assert usable_processors(second) == 1
    group = "sys__fs__cgroup__cpu__job__cpuDOTcfs"
    first = _files(place / "1", proc__self__cgroup="4:cpu,cpuacct:/job\n", **{f"{group}_period_us": "100000\n"})
    _files(first, **{f"{group}_quota_us": "-1\n"})
    assert usable_processors(first) == 8
    _files(first, **{f"{group}_quota_us": "300000\n"})
    assert usable_processors(first) == 3
