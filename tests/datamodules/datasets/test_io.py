from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from ivif.datamodules.datasets import io, remembered
from ivif.datamodules.datasets.io import content_id, has_colours, image_size, read_image, to_infrared, to_visible
from ivif.datamodules.datasets.thermal import Pixels, ThermalRange
from ivif.files.errors import UnreadableFileError
from ivif.files.pictures import open_picture
from tests.fakes import png_16_bit, skip_without_ycbcr

GREY = np.arange(7 * 5, dtype=np.uint8).reshape(7, 5) * 7
COLOR = np.stack((GREY, GREY[::-1], 255 - GREY), axis=-1)


def write(path: Path, pixels: Pixels, mode: str | None = None, orientation: int = 1) -> Path:
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = orientation
    (image.convert(mode) if mode else image).save(path, exif=exif)
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_grey_and_color_files_give_their_values(tmp_path: Path, suffix: str) -> None:
    assert np.array_equal(read_image(write(tmp_path / f"grey{suffix}", GREY)), GREY)
    assert np.array_equal(read_image(write(tmp_path / f"color{suffix}", COLOR)), COLOR)


def test_jpeg_luma_is_the_stored_grey(tmp_path: Path) -> None:
    smooth = np.tile(np.linspace(0, 255, 32, dtype=np.uint8), (16, 1))
    path = write(tmp_path / "grey.jpg", np.stack([smooth] * 3, axis=-1))
    assert np.array_equal(read_image(path, luma=True), read_image(path)[..., 0])
    assert np.abs(read_image(path, luma=True).astype(int) - smooth).max() <= 3


@pytest.mark.parametrize("mode", ["RGBA", "CMYK", "YCbCr"])
def test_color_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    skip_without_ycbcr(mode)
    path = write(tmp_path / ("image.png" if mode == "RGBA" else "image.tif"), COLOR, mode)
    pixels = read_image(path)
    assert pixels.shape == COLOR.shape
    assert np.abs(pixels.astype(int) - COLOR).max() <= (3 if mode == "YCbCr" else 0)


def test_palette_one_bit_and_grey_with_alpha(tmp_path: Path) -> None:
    palette = Image.fromarray(COLOR).quantize(64)
    palette.save(tmp_path / "palette.png")
    assert np.array_equal(read_image(tmp_path / "palette.png"), np.asarray(palette.convert("RGB")))
    assert np.array_equal(read_image(write(tmp_path / "alpha.png", GREY, "LA")), GREY)
    bits = np.where(GREY > 99, 255, 0).astype(np.uint8)
    assert np.array_equal(read_image(write(tmp_path / "bits.png", bits, "1")), bits)


def test_16_bits_keep_their_precision(tmp_path: Path) -> None:
    deep = GREY.astype(np.uint16) * 257 + 3
    deep_color = np.stack((deep, deep + 1, deep + 2), axis=-1)
    Image.fromarray(deep).save(tmp_path / "deep.tif")
    (tmp_path / "deep.png").write_bytes(png_16_bit(deep))
    (tmp_path / "color.png").write_bytes(png_16_bit(deep_color))
    for name in ("deep.tif", "deep.png"):
        assert read_image(tmp_path / name).dtype == np.uint16
        assert np.array_equal(read_image(tmp_path / name), deep)
    assert np.array_equal(read_image(tmp_path / "color.png"), deep_color)
    visible = to_visible(read_image(tmp_path / "color.png"))
    torch.testing.assert_close(visible[2], torch.from_numpy((deep + 2).astype(np.float32) / 65535))
    grey = to_visible(read_image(tmp_path / "deep.png"))
    assert grey.shape == (3, 7, 5)
    torch.testing.assert_close(grey[0], grey[2])


def test_32_bit_integers_beyond_16_bits_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 70_000, dtype=np.int32)).save(tmp_path / "wide.tif")
    with pytest.raises(UnreadableFileError, match=r"wide\.tif.*70000"):
        read_image(tmp_path / "wide.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_matches_pil(tmp_path: Path, orientation: int) -> None:
    for suffix in (".tif", ".png"):
        path = write(tmp_path / f"image{suffix}", COLOR, orientation=orientation)
        expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))
        assert np.array_equal(read_image(path), expected)
        assert image_size(path) == expected.shape[:2]
        assert to_visible(read_image(path)).shape == (3, *expected.shape[:2])


def test_visible_planes_follow_the_channels() -> None:
    color = to_visible(COLOR)
    assert color.dtype == torch.uint8
    assert np.array_equal(color[2].numpy(), COLOR[..., 2])
    assert np.array_equal(to_visible(GREY)[1].numpy(), GREY)


def test_infrared_takes_one_of_equal_channels_else_luma() -> None:
    assert np.array_equal(to_infrared(np.stack([GREY] * 3, axis=-1))[0].numpy(), GREY)
    red = np.zeros((2, 2, 3), dtype=np.uint8)
    red[..., 0] = 200
    assert set(to_infrared(red).flatten().tolist()) == {60}
    assert to_infrared(GREY.astype(np.uint16), ThermalRange("fixed", 0, 100))[0, 0, 1].item() == pytest.approx(0.07)


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_unreadable_files_are_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "broken.png"
    if content is not None:
        path.write_bytes(content)
    for read in (read_image, image_size):
        with pytest.raises(UnreadableFileError, match=r"broken\.png"):
            read(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
def test_truncated_files_are_named(tmp_path: Path, suffix: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    path = write(tmp_path / f"cut{suffix}", pixels)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableFileError, match=r"cut\."):
        read_image(path)


def test_truncated_deep_png_is_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 65535, (64, 64, 3), dtype=np.uint16)
    (tmp_path / "cut.png").write_bytes(png_16_bit(noise)[:9000])
    with pytest.raises(UnreadableFileError, match=r"cut\.png"):
        read_image(tmp_path / "cut.png")


def test_content_id_follows_bytes_not_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, copy = tmp_path / "a.png", tmp_path / "b.png", tmp_path / "copy.png"
    first.write_bytes(b"one")
    second.write_bytes(b"two")
    copy.write_bytes(b"one")
    identity = content_id(first, second)
    assert len(identity) == 32
    assert content_id(copy, second) == identity
    assert content_id(second, first) != identity
    assert content_id(first, second, "fixed") != identity
    with monkeypatch.context() as patch:
        patch.setattr(io, "_read_bytes", lambda _: pytest.fail("a known file was read again"))
        assert content_id(first, second) == identity
    first.write_bytes(b"changed")
    assert content_id(first, second) != identity


def test_a_grey_file_that_was_read_is_not_opened_to_learn_its_colours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grey, colour = write(tmp_path / "grey.png", GREY), write(tmp_path / "colour.png", COLOR)
    read_image(grey, luma=True)
    read_image(colour, luma=True)
    opened: list[Path] = []

    def watched(path: Path, max_pixels: int) -> AbstractContextManager[Image.Image]:
        opened.append(path)
        return open_picture(path, max_pixels=max_pixels)

    monkeypatch.setattr(io, "open_picture", watched)
    assert (has_colours(grey), has_colours(colour)) == (False, True)
    assert opened == [colour]


def test_what_is_remembered_of_files_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "MOST", 2)
    known: remembered.Remembered[bytes] = remembered.Remembered()
    monkeypatch.setattr(io, "_digests", known)
    paths = [write(tmp_path / f"{number}.png", GREY + number) for number in range(3)]
    for path in paths:
        io.read_image_and_digest(path)
    assert [Path(name) for name, *_ in known] == paths[1:]
    assert content_id(paths[0], paths[1]) != content_id(paths[1], paths[2])
