"""Image files to arrays to tensors: any bit depth and colour mode, EXIF rotation applied, errors that name the file.

A file is hashed (for `content_id`) when it is first read, from the bytes that are then decoded; later only decoded.
"""

import hashlib
import warnings
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ivif.datamodules.datasets.deep_png import decode_deep_color, is_deep_color_png
from ivif.datamodules.datasets.remembered import Remembered, file_key
from ivif.datamodules.datasets.thermal import BY_TYPE, Pixels, ThermalRange, divide_by_type_maximum
from ivif.files.errors import UnreadableFileError
from ivif.files.packed import content_digest
from ivif.files.pictures import MAX_PIXELS, file_status, noted_header, open_picture, reason

IMAGE_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
"""What counts as an image file in a dataset's folders (any case)."""

LUMA_WEIGHTS: Final = (0.299, 0.587, 0.114)

_EXIF_ORIENTATION: Final = 0x0112
_TIFF_BITS: Final = 258

_COLOURFUL: Final = 5
"""Mean distance between a pixel's channels, of 255, from which on a picture is in colour; cameras' grey has none."""

_digests: Remembered[bytes] = Remembered()
_coloured: Remembered[bool] = Remembered()

with warnings.catch_warnings():
    # PIL's arrays are read-only, of which torch warns once a process: here, unheard. Nobody writes into a sample.
    warnings.simplefilter("ignore")
    torch.from_numpy(np.frombuffer(bytes(1), dtype=np.uint8))


def read_image(path: Path, *, luma: bool = False, checked: bool = False, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Reads an image file.

    Args:
        path: The file.
        luma: Reduce 8-bit colour to its luma while decoding (for infrared stored in three channels: where the
            channels are equal that is the stored value itself, exactly). For a JPEG only the luma plane is decoded
            then.
        checked: Compare the checksums of a PNG, as for pictures of our own. Decoding does not: some damage passes as
            other pixels. (The files of data sets are taken as they are.)
        max_pixels: Most pixels that the file may have.

    Returns:
        (H, W) or (H, W, 3), EXIF rotation applied, alpha dropped, CMYK and palettes as RGB; uint8, or uint16 or float32
        where the file has more than 8 bits. Read-only. Of a 16-bit colour TIFF only the high bytes.

    Raises:
        UnreadableFileError: If the file is missing, empty, truncated, no image, too large, or holds several frames.
    """
    return _decode(path, _read_bytes(path, max_pixels), luma, max_pixels, checked)


def read_image_and_digest(path: Path, *, luma: bool = False, max_pixels: int = MAX_PIXELS) -> tuple[Pixels, bytes]:
    """As `read_image`, and the digest of the file's bytes, from a single read."""
    key = file_key(path, max_pixels)
    data = _read_bytes(path, max_pixels)  # in one piece: PIL would ask for it in many
    if key not in _digests:
        _digests[key] = content_digest(data)
    return _decode(path, data, luma, max_pixels), _digests[key]


class ImageHeader(NamedTuple):
    """What an image's header says: height and width as `read_image` returns them, and whether it has more than 8 bits.

    `deep` tells the type of the plane: float32 if set, else uint8.
    """

    height: int
    width: int
    deep: bool


def image_header(path: Path, max_pixels: int = MAX_PIXELS) -> ImageHeader:
    """Size and depth of an image without decoding it.

    Raises:
        UnreadableFileError: If the file is missing, empty, no image or too large.
    """
    if noted := noted_header(path, max_pixels):
        return ImageHeader(*noted)
    with open_picture(path, max_pixels=max_pixels) as image:
        width, height = image.size
        orientation = _orientation(image)
        deep = image.mode[0] in "IF" or is_deep_color_png(image)
    return ImageHeader(width, height, deep) if orientation >= 5 else ImageHeader(height, width, deep)


def image_size(path: Path, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """(height, width) as `read_image` would return it, from the header alone.

    Raises:
        UnreadableFileError: If the file is missing, empty, no image or too large.
    """
    header = image_header(path, max_pixels)
    return header.height, header.width


def is_colourful(pixels: Pixels) -> bool:
    """Whether decoded pixels, (H, W) or (H, W, 3), are a picture in colours: grey in three channels is none."""
    if pixels.ndim == 2:
        return False
    most = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1
    return float(np.ptp(pixels, axis=-1).mean()) > _COLOURFUL / 255 * most


def has_colours(path: Path, max_pixels: int = MAX_PIXELS) -> bool:
    """Whether a file of 8 bits is a picture in colours; asked once of each file, of a JPEG at an eighth of its size.

    Raises:
        UnreadableFileError: As `read_image`.
    """
    key = file_key(path, max_pixels)
    if key not in _coloured:
        with open_picture(path, max_pixels=max_pixels) as image:
            if _is_grey(image) or is_deep_color_png(image):
                _coloured[key] = False
            else:
                image.draft("RGB", (image.width // 8, image.height // 8))
                _coloured[key] = is_colourful(np.asarray(image.convert("RGB")))
    return _coloured[key]


def content_id(infrared_path: Path, visible_path: Path, salt: str = "") -> str:
    """A name for what the two files hold: the same bytes give the same id, wherever the files lie.

    Each file is hashed once a process.

    Args:
        infrared_path: The infrared file.
        visible_path: The visible file.
        salt: What else decides the pixels, e.g. a thermal range that is not the default.

    Returns:
        32 hexadecimal digits.

    Raises:
        UnreadableFileError: If a file is missing.
    """
    return combine_digests(_digest(infrared_path), _digest(visible_path), salt)


def combine_digests(infrared: bytes, visible: bytes, salt: str = "") -> str:
    """The content id of a pair from both files' digests."""
    return hashlib.blake2b(infrared + visible + salt.encode(), digest_size=16).hexdigest()


def to_visible(pixels: Pixels) -> Tensor:
    """Decoded pixels as a visible image.

    Args:
        pixels: (H, W) or (H, W, 3), as `read_image` returns them.

    Returns:
        (3, H, W): uint8 0..255, or float32 in [0, 1] (divided by the type's maximum) where the file had more than 8
        bits. A view of `pixels` where possible, not contiguous; grey is repeated without a copy: do not write into
        it.
    """
    if pixels.dtype != np.uint8:
        pixels = divide_by_type_maximum(pixels)
    plane = torch.from_numpy(pixels)
    return plane.expand(3, -1, -1) if plane.ndim == 2 else plane.permute(2, 0, 1)


def to_infrared(pixels: Pixels, thermal_range: ThermalRange = BY_TYPE) -> Tensor:
    """Decoded pixels as an infrared image.

    Args:
        pixels: (H, W) or (H, W, 3). Of three channels the first is taken if they are equal, else their luma.
        thermal_range: How more than 8 bits are scaled.

    Returns:
        (1, H, W): uint8 0..255 for 8-bit pixels, else float32 in [0, 1].
    """
    if pixels.ndim == 3:
        pixels = _reduce_channels(pixels)
    if pixels.dtype != np.uint8:
        pixels = thermal_range.apply(pixels)
    return torch.from_numpy(np.ascontiguousarray(pixels)).unsqueeze(0)


def _read_bytes(path: Path, max_pixels: int) -> bytes:
    file_status(path, max_pixels)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableFileError(path, reason(error)) from error
    if not data:
        raise UnreadableFileError(path, "the file is empty (0 bytes)")
    return data


def _digest(path: Path) -> bytes:
    key = file_key(path, MAX_PIXELS)
    if key not in _digests:
        _digests[key] = content_digest(_read_bytes(path, MAX_PIXELS))
    return _digests[key]


def _decode(path: Path, data: bytes, luma: bool, max_pixels: int, checked: bool = False) -> Pixels:
    if checked:
        with open_picture(path, data, max_pixels) as image:
            image.verify()
    with open_picture(path, data, max_pixels) as image:
        _refuse_several_frames(image)
        orientation = _orientation(image)
        deep = is_deep_color_png(image)
        if _is_grey(image):
            _coloured[file_key(path, max_pixels)] = False
        pixels = decode_deep_color(path, image, data, max_pixels) if deep else _pixels_of(image, luma)
    return pixels if orientation == 1 else _rotate(pixels, orientation)


def _refuse_several_frames(image: Image.Image) -> None:
    """Of an animation nobody knows which frame is meant; cameras' MPO is a photograph with a preview behind it."""
    if image.format != "MPO" and getattr(image, "is_animated", False):
        frames = getattr(image, "n_frames", "several")
        raise ValueError(f"it holds {frames} frames; store the one that is meant as a file of its own")


def _is_grey(image: Image.Image) -> bool:
    return image.mode in ("1", "L", "LA", "La", "F") or image.mode.startswith("I")


def _pixels_of(image: Image.Image, luma: bool) -> Pixels:
    """Decodes by PIL mode; the truncation check of PIL is part of it."""
    if luma and image.format == "JPEG":
        image.draft("L", None)
    if image.mode.startswith("I"):
        return _integers(image)
    if image.mode == "F":
        return _finite(np.array(image, dtype=np.float32))
    if _is_grey(image):
        return np.asarray(image if image.mode == "L" else image.convert("L"))
    if luma:
        if image.format == "TIFF" and max(getattr(image, "tag_v2", {}).get(_TIFF_BITS, (8,))) > 8:
            raise ValueError("infrared in a 16-bit colour TIFF would lose its low bits in PIL; store one channel")
        return np.asarray(image.convert("L"))
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _integers(image: Image.Image) -> NDArray[np.uint16]:
    """16-bit grey in its several PIL modes; `I` (32 bits) is how PIL hands out some 16-bit files."""
    values = np.array(image)
    if values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
        raise ValueError(f"it holds integers from {values.min()} to {values.max()}; 16 bits (0..65535) are supported")
    return values.astype(np.uint16)


def _finite(values: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(values).all():
        raise ValueError(
            "it holds floating-point values that are not finite (NaN or infinity); give those pixels a value"
        )
    return values


def _orientation(image: Image.Image) -> int:
    # PIL turns TIFFs upright by itself; it would decode a whole PNG in search of a late EXIF chunk
    if image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info):
        return 1
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # damaged notes about a picture leave its pixels whole
        return 1
    return orientation if orientation in range(1, 9) else 1


def _rotate(pixels: Pixels, orientation: int) -> Pixels:
    """Turns stored pixels upright: EXIF orientations 2..8."""
    if orientation in (5, 7):
        pixels = pixels.swapaxes(0, 1)
        orientation = 1 if orientation == 5 else 3
    quarter_turns = {3: 2, 6: 3, 8: 1}.get(orientation, 0)
    pixels = np.rot90(pixels, quarter_turns)
    if orientation == 2:
        pixels = pixels[:, ::-1]
    elif orientation == 4:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _reduce_channels(pixels: Pixels) -> Pixels:
    first = pixels[..., 0]
    if np.array_equal(first, pixels[..., 1]) and np.array_equal(first, pixels[..., 2]):
        return first
    weighted = pixels.astype(np.float32) @ np.array(LUMA_WEIGHTS, dtype=np.float32)
    return weighted if pixels.dtype.kind == "f" else np.rint(weighted).astype(pixels.dtype)
