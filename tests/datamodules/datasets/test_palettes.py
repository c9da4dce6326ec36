import io
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from ivif.datamodules.datasets.folder import FolderDataset
from ivif.datamodules.datasets.infrared_color import InfraredColor
from ivif.datamodules.datasets.io import has_colours
from ivif.datamodules.datasets.palettes import find_palette, intensities, palette_colours, palette_names
from ivif.datamodules.datasets.reading_config import ReadingConfig
from ivif.datamodules.datasets.synthetic import SyntheticDataset
from ivif.files.errors import UnreadableFileError
from tests.inputs import brings

Grey = NDArray[np.uint8]
SCENE = SyntheticDataset(1, (96, 128))[0]


@pytest.fixture(scope="module")
def grey() -> Grey:
    infrared = SCENE["infrared"]
    plane = (infrared.reshape(96, 128).numpy().astype(np.float64) - float(infrared.min())).clip(0)
    stretched: Grey = np.rint(plane / plane.max() * 255).astype(np.uint8)
    return stretched


def jpeg(pixels: Grey) -> Grey:
    stored = io.BytesIO()
    Image.fromarray(pixels).save(stored, "JPEG", quality=92, subsampling=0)
    return np.asarray(Image.open(stored))


@pytest.mark.parametrize("name", palette_names())
def test_a_palette_is_found_and_turned_back(name: str, grey: Grey) -> None:
    pixels = palette_colours(name)[grey]
    assert find_palette(pixels) == name
    assert np.abs(intensities(pixels, name).astype(int) - grey).max() <= 2


@pytest.mark.parametrize("name", palette_names())
def test_a_jpeg_of_a_palette_is_turned_back_about(name: str, grey: Grey) -> None:
    pixels = jpeg(palette_colours(name)[grey])
    found = find_palette(pixels)
    assert found is not None
    assert np.abs(intensities(pixels, found).astype(int) - grey).mean() < 4


def test_palettes_of_cameras_may_differ_a_little(grey: Grey) -> None:
    others = np.random.default_rng(0).normal(0, 5, (256, 1)) + palette_colours("iron")
    assert find_palette(np.rint(others).clip(0, 255).astype(np.uint8)[grey]) == "iron"


def test_photographs_have_no_palette() -> None:
    generator = np.random.default_rng(0)
    for dark in (1.0, 0.15):
        pixels = generator.uniform(0, 255 * dark, (64, 64, 3)).astype(np.uint8)
        assert find_palette(pixels) is None
    visible = SCENE["visible"]
    assert find_palette(np.ascontiguousarray(visible.permute(1, 2, 0).numpy())) is None


def folder(root: Path, pixels: Grey, suffix: str = "png") -> Path:
    for name in ("ir", "vi"):
        (root / name).mkdir(parents=True)
    Image.fromarray(pixels).save(root / "ir" / f"a.{suffix}", quality=95)
    visible = np.random.default_rng(1).integers(0, 256, (*pixels.shape[:2], 3), dtype=np.uint8)
    Image.fromarray(visible).save(root / "vi" / "a.png")
    return root


def read(root: Path, rule: InfraredColor = "invert") -> torch.Tensor:
    return FolderDataset(root, reading=ReadingConfig(infrared_color=rule))[0]["infrared"][0]


@brings(
    "pictures",
    "infrared in a known palette (iron, rainbow, inferno, ...)",
    "works",
    "intensities again; its name is said",
)
def test_a_dataset_reads_intensities(grey: Grey, tmp_path: Path) -> None:
    root = folder(tmp_path / "png", palette_colours("inferno")[grey])
    assert (read(root).int() - torch.from_numpy(grey).int()).abs().max() <= 2
    assert (
        FolderDataset(root)[0]["content_id"]
        != FolderDataset(root, reading=ReadingConfig(infrared_color="luma"))[0]["content_id"]
    )
    of_jpeg = read(folder(tmp_path / "jpg", palette_colours("inferno")[grey], "jpg"))
    assert (of_jpeg.float() - torch.from_numpy(grey).float()).abs().mean() < 4


def test_luma_is_as_it_was(grey: Grey, tmp_path: Path) -> None:
    pixels = palette_colours("jet")[grey]
    expected = np.asarray(Image.fromarray(pixels).convert("L"))
    assert torch.equal(read(folder(tmp_path, pixels), "luma"), torch.from_numpy(expected.copy()))


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_grey_in_three_channels_is_read_as_always(suffix: str, grey: Grey, tmp_path: Path) -> None:
    root = folder(tmp_path, np.stack([grey] * 3, axis=-1), suffix)
    assert not has_colours(root / "ir" / f"a.{suffix}")
    assert torch.equal(read(root), read(root, "luma"))
    assert torch.equal(read(root, "refuse"), read(root, "luma"))


@brings("pictures", "infrared in colours of no known palette", "refused", "names the file and `reading.infrared_color`")
def test_unknown_colours_are_refused(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    root = folder(tmp_path, pixels)
    with pytest.raises(
        UnreadableFileError, match=r"ir/a.png': .* no known palette.* `reading.infrared_color` to 'luma'"
    ):
        read(root)
    assert read(root, "luma").shape == (48, 64)


def test_known_colours_are_refused_where_asked(grey: Grey, tmp_path: Path) -> None:
    root = folder(tmp_path, palette_colours("iron")[grey])
    with pytest.raises(UnreadableFileError, match=r"in colours \(iron\)"):
        read(root, "refuse")


def test_the_rule_is_checked() -> None:
    with pytest.raises(ValueError, match=r"reading.infrared_color is 'colour'; known: invert, luma, refuse"):
        ReadingConfig(infrared_color="colour")  # type: ignore[arg-type]
