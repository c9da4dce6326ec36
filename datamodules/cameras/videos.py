"""Frames of thermal and visible videos."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from ivif.datamodules.cameras.libraries import needed
from ivif.datamodules.datasets.thermal import Pixels
from ivif.files.errors import UnreadableFileError
from ivif.files.pictures import MAX_PIXELS, file_status

_DEEP: Final = ("gray16le", "gray16be")


class VideoFrame(NamedTuple):
    """A frame: when it is shown, in seconds, and (H, W) uint8 or uint16, or (H, W, 3) uint8."""

    seconds: float
    pixels: Pixels


def container_of(head: bytes) -> str | None:
    """What FFmpeg calls the container that a file begins as; None where it is none of those that are read.

    Playlists and the like, which name other files, are none.
    """
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "matroska"
    if head[4:8] == b"ftyp":
        return "mov"
    return "avi" if head.startswith(b"RIFF") and head[8:12] == b"AVI " else None


def is_deep_video(path: Path) -> bool:
    """Whether the frames of a video have 16 bits.

    Raises:
        UnreadableFileError: If it is none, or damaged.
        MissingLibraryError: If PyAV is not installed.
    """
    with _stream(path) as (_, stream):
        return stream.codec_context.pix_fmt in _DEEP


def video_frames(path: Path, every: int = 1, max_pixels: int = MAX_PIXELS) -> Iterator[VideoFrame]:
    """Every n-th frame, in the order in which they are shown: grey ones in one channel, of 16 bits where they have so.

    Raises:
        UnreadableFileError: If it is no video, its frames are too large, or it is damaged: what comes before is given.
        MissingLibraryError: If PyAV is not installed.
    """
    with _stream(path) as (container, stream):
        width, height = stream.codec_context.width, stream.codec_context.height
        if width * height > max_pixels:
            raise UnreadableFileError(path, f"its frames have {width}x{height} pixels; {max_pixels} are allowed")
        kind = stream.codec_context.pix_fmt or ""
        wanted = kind if kind in _DEEP else "gray" if kind == "gray" else "rgb24"
        if kind.startswith("gray") and kind not in ("gray", *_DEEP):
            raise UnreadableFileError(path, f"its frames are of {kind}; write them as gray16le (FFV1) or gray")
        stream.thread_type = "AUTO"
        for number, frame in enumerate(container.decode(stream)):
            if number % every == 0:
                seconds = float(number) if frame.time is None else float(frame.time)
                yield VideoFrame(seconds, frame.to_ndarray(format=wanted))


@contextmanager
def _stream(path: Path) -> Iterator[tuple[Any, Any]]:
    """The container and the first video stream of a file, whose every fault is an error that names it."""
    needed("av", "a video")
    import av

    file_status(path)
    try:
        with path.open("rb") as file:
            kind = container_of(file.read(16))
            if kind is None:
                raise UnreadableFileError(path, "it is no video in a Matroska, MP4 or AVI container")
            file.seek(0)
            with av.open(file, format=kind, metadata_errors="ignore") as container:  # FFmpeg opens no other file
                if not container.streams.video:
                    raise UnreadableFileError(path, "it holds no video stream")
                yield container, container.streams.video[0]
    except UnreadableFileError:
        raise
    except Exception as error:  # FFmpeg's dozens, and those of damaged values
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UnreadableFileError(path, f"it is damaged ({why.rstrip('.')})") from error
