"""`ivif fuse` of two TIFF files in tiles: from file to file where that can be, else in memory."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from ivif.commands import fuse_large
from ivif.datamodules.datasets import io
from ivif.files import pictures
from tests.commands.runs import newest_run, tiny_run
from tests.inference.test_large import write_pair
from tests.inputs import brings
from tests.refusals import accepted, refused


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from ivif.commands.cli import main

    runs = tmp_path_factory.mktemp("runs")
    assert main(tiny_run("fit", runs, "--trainer.limit_val_batches=0")) == 0
    return newest_run(runs) / "checkpoints" / "last.ckpt"


def line(paths: tuple[Path, Path], out: Path, checkpoint: Path, *options: str) -> list[str]:
    return ["fuse", *map(str, paths), f"--out={out}", f"--model={checkpoint}", "--device=cpu", *options]


def lower_the_limit(monkeypatch: pytest.MonkeyPatch, pixels: int) -> None:
    monkeypatch.setattr(fuse_large, "MAX_PIXELS", pixels)
    defaults = io.image_size.__defaults__
    assert defaults == (pictures.MAX_PIXELS,)
    monkeypatch.setattr(io.image_size, "__defaults__", (pixels,))


@brings("pictures", "a pair of TIFF files larger than memory", "works", "with `--tile`, of any size, from file to file")
def test_files_of_more_pixels_than_memory_may_hold(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, memory, files = write_pair(tmp_path, 150, 210, "uint16"), tmp_path / "a.png", tmp_path / "b.tif"
    accepted(line(paths, memory, checkpoint, "--tile=48"), capsys)
    lower_the_limit(monkeypatch, 20_000)
    assert str(files) in accepted(line(paths, files, checkpoint, "--tile=48"), capsys)
    with tifffile.TiffFile(files) as tiff:
        assert tiff.pages.first.is_tiled
        assert np.array_equal(tiff.asarray(), np.asarray(Image.open(memory)))
    words = ("infrared.tif", "more than 20000 pixels", "--tile 1024 and --out NAME.tif")
    refused(line(paths, tmp_path / "c.png", checkpoint, "--tile=48"), capsys, *words)
    refused(line(paths, tmp_path / "c.tif", checkpoint), capsys, *words)
    accepted(line(paths, tmp_path / "c.tif", checkpoint, "--tile=auto"), capsys)


@brings(
    "pictures", "a TIFF larger than memory of which parts cannot be read", "refused", "what is in the way, how to store"
)
def test_what_cannot_be_read_in_parts_is_fused_in_memory_or_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_pair(tmp_path, 150, 210)
    values = tifffile.imread(paths[1])
    tifffile.imwrite(paths[1], values, photometric="rgb", extratags=[(274, "H", 1, 3, True)])
    accepted(line(paths, tmp_path / "a.tif", checkpoint, "--tile=48"), capsys)
    lower_the_limit(monkeypatch, 20_000)
    refused(line(paths, tmp_path / "b.tif", checkpoint, "--tile=48"), capsys, "visible.tif", "on its side", "Store it")
    assert not (tmp_path / "b.tif").exists()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda values: values[:100], ("210x100 pixels", "210x150", "Resample")),
        (lambda values: np.stack([values] * 3, -1), ("three channels", "Store one channel")),
    ],
)
def test_infrared_that_does_not_fit_is_named(
    change: Any,
    named: tuple[str, ...],
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paths = write_pair(tmp_path, 150, 210)
    values = change(tifffile.imread(paths[0]))
    tifffile.imwrite(paths[0], values, photometric="rgb" if values.ndim == 3 else "minisblack", metadata=None)
    lower_the_limit(monkeypatch, 20_000)
    refused(line(paths, tmp_path / "b.tif", checkpoint, "--tile=48"), capsys, "infrared.tif", *named)


def test_a_network_that_needs_the_whole_is_named_with_one_that_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_pair(tmp_path, 150, 210)
    call = line(paths, tmp_path / "a.tif", Path("text-to-pixels-light"), "--tile=96")
    accepted(call, capsys)  # in memory
    lower_the_limit(monkeypatch, 20_000)
    refused([*call, "--overwrite=true"], capsys, "TextToPixelsTask", "all tokens", "promptfusion-light")
