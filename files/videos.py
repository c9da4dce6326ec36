"""The one door to video files: known containers, nothing beside the file, every fault as one error with its file.

FFmpeg would also read play lists, which name other files and addresses, and take a name such as `http://...` for one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ivif.files.errors import UnreadableFileError
from ivif.files.libraries import MissingLibraryError
from ivif.files.pictures import MAX_PIXELS

if TYPE_CHECKING:
    from av import VideoFrame, VideoStream
    from av.container import InputContainer

VIDEO_SUFFIXES: Final = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".wmv", ".flv"),
)
"""Endings of names that mean a video (any case)."""

_CONTAINERS: Final = "mov,matroska,avi,mpegts,mpeg,asf,flv"
"""What FFmpeg may take a file for, whatever its ending."""

_HD: Final = 720
_BT709: Final = 1
_UNSAID: Final = 2
"""FFmpeg's numbers of colour spaces; what does not say its own is BT.709 from 720 rows on, else BT.601."""

_REMEDY: Final = "Is it whole, and does a player show it? Then store it anew: ffmpeg -i VIDEO -c:v ffv1 COPY.mkv"


class MissingVideoLibraryError(MissingLibraryError):
    """PyAV is not installed."""

    def __init__(self) -> None:
        super().__init__("Videos need PyAV: pip install 'ivif-lightning[video]'.")


def check_video_library() -> None:
    """Refuses what needs PyAV where it is missing.

    Raises:
        MissingVideoLibraryError: If it is.
    """
    if find_spec("av") is None:
        raise MissingVideoLibraryError


@contextmanager
def open_video(path: Path, remedy: str = _REMEDY) -> Iterator["InputContainer"]:
    """A video file, opened; whatever its decoding raises within the block names the file.

    Args:
        path: The file.
        remedy: What to do about a file that cannot be read.

    Raises:
        MissingVideoLibraryError: If PyAV is not installed.
        UnreadableFileError: If the file is missing, of no known container or damaged.
    """
    check_video_library()
    import av

    if not path.is_file():
        raise UnreadableFileError(path, "it is no regular file" if path.exists() else "it does not exist", remedy)
    options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
    try:
        with av.open(f"file:{path.resolve()}", options=options, metadata_errors="replace") as container:
            yield container
    except av.FFmpegError as error:
        raise UnreadableFileError(path, f"it is damaged, or no video ({_words(error)})", remedy) from error


def picture_stream(path: Path, container: "InputContainer", remedy: str = _REMEDY) -> "VideoStream":
    """The stream that holds the moving pictures.

    Raises:
        UnreadableFileError: If there is none, or its pictures are too large.
    """
    streams = [stream for stream in container.streams.video if not stream.disposition & _still()]
    if not streams:
        what = "it holds sound alone" if container.streams.audio else "it holds no pictures"
        raise UnreadableFileError(path, what, "Give the video that the camera stored.")
    stream = streams[0]
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > MAX_PIXELS:
        raise UnreadableFileError(path, f"its pictures have {width}x{height} pixels, {MAX_PIXELS} are allowed", remedy)
    if not width * height:
        raise UnreadableFileError(path, "it does not say how large its pictures are", remedy)
    return stream


def rgb_pixels(frame: "VideoFrame") -> Any:
    """(H, W, 3) uint8 RGB of a frame, as it is stored."""
    unsaid = frame.colorspace == _UNSAID and frame.height >= _HD
    return frame.reformat(format="rgb24", src_colorspace=_BT709 if unsaid else None).to_ndarray()


def as_shown(frame: "VideoFrame", pixels: Any) -> Any:
    """(H, W, ...) pixels of a frame as a player shows them: telephones store portraits lying on their side."""
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


def _still() -> int:
    """The mark of a cover, as music files have."""
    from av.stream import Disposition

    return Disposition.attached_pic


def _words(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or type(error).__name__)
