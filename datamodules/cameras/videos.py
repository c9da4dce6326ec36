"""Frames of thermal and visible videos."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from ivif.datamodules.datasets.thermal import Pixels
from ivif.files.errors import UnreadableFileError
from ivif.files.videos import as_shown, open_video, picture_stream, rgb_pixels

if TYPE_CHECKING:
    from av import VideoStream
    from av.container import InputContainer

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
        MissingVideoLibraryError: If PyAV is not installed.
    """
    with _stream(path) as (_, stream):
        return stream.codec_context.pix_fmt in _DEEP


def video_frames(path: Path, every: int = 1) -> Iterator[VideoFrame]:
    """Every n-th frame, as a player shows it: grey ones in one channel, of 16 bits where they have so.

    Raises:
        UnreadableFileError: If it is no video, its frames are too large, or it is damaged: what comes before is given.
        MissingVideoLibraryError: If PyAV is not installed.
    """
    with _stream(path) as (container, stream):
        kind = stream.codec_context.pix_fmt or ""
        grey = kind in ("gray", *_DEEP)
        if kind.startswith("gray") and not grey:
            raise UnreadableFileError(path, f"its frames are of {kind}; write them as gray16le (FFV1) or gray")
        stream.thread_type = "AUTO"
        for number, frame in enumerate(container.decode(stream)):
            if number % every == 0:
                seconds = float(number) if frame.time is None else float(frame.time)
                yield VideoFrame(seconds, as_shown(frame, frame.to_ndarray() if grey else rgb_pixels(frame)))


@contextmanager
def _stream(path: Path) -> Iterator[tuple["InputContainer", "VideoStream"]]:
    """A video and the stream that holds its pictures."""
    with open_video(path) as container:
        yield container, picture_stream(path, container)
