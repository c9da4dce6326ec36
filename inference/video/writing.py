"""Frames and sound into one video file."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self, cast

from numpy.typing import NDArray

from ivif.files.videos import open_video

if TYPE_CHECKING:
    from av import AudioStream, Packet, VideoStream
    from av.container import OutputContainer

TICKS: Final = 90_000
"""Units of a second in which frames have their times: whole numbers for all usual rates, those of television too."""


@dataclass(frozen=True)
class VideoFormat:
    """How a file is stored.

    Attributes:
        title: What a user reads.
        container: FFmpeg's name of the container.
        codec: FFmpeg's name of the encoder.
        pixels: Its pixel format.
        odd_pixels: The same of frames with an odd side, which cannot share colours between two rows or columns.
        options: Of the encoder.
    """

    title: str
    container: str
    codec: str
    pixels: str
    odd_pixels: str
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_rgb(self) -> bool:
        """Whether frames are stored as RGB."""
        return self.pixels == "bgr0"


_H264: Final = {
    "title": "H.264, quality CRF 18",
    "codec": "libx264",
    "pixels": "yuv420p",
    "odd_pixels": "yuv444p",
    "options": {"crf": "18", "preset": "medium"},
}

VIDEO_FORMATS: Final[Mapping[str, VideoFormat]] = {
    ".mp4": VideoFormat(container="mp4", **_H264),  # type: ignore[arg-type]
    ".mov": VideoFormat(container="mov", **_H264),  # type: ignore[arg-type]
    ".mkv": VideoFormat("FFV1, without loss", "matroska", "ffv1", "bgr0", "bgr0", {"level": "3", "g": "1"}),
}
"""By a name's ending: what every player shows at a quality that the eye hardly tells from the frames, or all bits."""

_BT601: Final = 6
_BT709: Final = 1
_HD: Final = 720
"""Rows from which on players take BT.709 for granted."""

_LIMITED: Final = 1
"""FFmpeg's number of the range 16 to 235."""


_WRITE: Final = "w"
"""PyAV's mode of writing, which is no text."""

_SOUND_RATE: Final = 48_000
"""Samples per second of sound that is encoded."""


class VideoWriter:
    """Writes frames as they come, and the sound that belongs to them between them.

    Args:
        stream: An empty file that can be written and sought.
        form: How it is stored.
        size: Height and width.
        rate: Frames per second, as far as there is one rate.
        sound: The video whose sound is copied; None: none.
    """

    def __init__(
        self, stream: BinaryIO, form: VideoFormat, size: tuple[int, int], rate: Fraction, sound: Path | None
    ) -> None:
        import av

        self._form, self._size, self._rate = form, size, rate
        self._stack = ExitStack()
        self._sink = _Sink(stream)
        self._container: OutputContainer = self._stack.enter_context(av.open(self._sink, _WRITE, format=form.container))
        self._video = cast("VideoStream", self._container.add_stream(form.codec, rate=rate, options=dict(form.options)))
        context = self._video.codec_context
        self._video.height, self._video.width = size
        self._video.pix_fmt = form.odd_pixels if size[0] % 2 or size[1] % 2 else form.pixels
        context.time_base = Fraction(1, TICKS)
        if not form.is_rgb:
            context.colorspace, context.color_range = self._colours, _LIMITED
        self._sound = None if sound is None else _Sound(sound, self._container, self._stack)
        self._start: float | None = None
        self._time = 0.0

    def __enter__(self) -> Self:
        """The writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the file, unless something went wrong.

        Raises:
            OSError: If the file could not be written, whatever FFmpeg made of that.
        """
        try:
            with self._stack:
                if kind is None:
                    self._finish()
        finally:
            if self._sink.error is not None:
                raise self._sink.error

    def write(self, frame: NDArray[Any], time: float) -> None:
        """Adds a frame, (H, W, 3) uint8 RGB, that is shown at `time` seconds; the first one begins the video."""
        import av

        if self._start is None:
            self._start = time
        self._time = time
        picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
        if not self._form.is_rgb:
            picture = picture.reformat(format=self._video.pix_fmt, dst_colorspace=self._colours)
        picture.pts = round((time - self._start) * TICKS)
        picture.time_base = Fraction(1, TICKS)
        picture.duration = round(TICKS / self._rate)
        for packet in self._video.encode(picture):
            self._container.mux(packet)
        if self._sound is not None:
            self._sound.copy(self._start, time)

    @property
    def _colours(self) -> int:
        return _BT709 if self._size[0] >= _HD else _BT601

    def _finish(self) -> None:
        for packet in self._video.encode():
            self._container.mux(packet)
        if self._sound is not None and self._start is not None:
            self._sound.copy(self._start, self._time + float(1 / self._rate))
            self._sound.finish()


class _Sink:
    """A file that remembers why it could not be written: FFmpeg tells only that it could not.

    Args:
        stream: The file.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.seek, self.tell = stream.seek, stream.tell
        self.error: OSError | None = None
        self._stream = stream

    def write(self, data: bytes) -> int:
        """As of any file."""
        try:
            return self._stream.write(data)
        except OSError as error:
            self.error = self.error or error
            raise


class _Sound:
    """Copies a video's sound as it is stored, or as AAC where the container cannot hold that.

    Args:
        path: The video.
        container: Where it goes.
        stack: Closes the video.
    """

    def __init__(self, path: Path, container: "OutputContainer", stack: ExitStack) -> None:
        source = stack.enter_context(open_video(path))
        stream = source.streams.audio[0]
        self._container = container
        self._encodes = stream.codec_context.codec.canonical_name not in container.supported_codecs
        self._out: AudioStream
        if self._encodes:
            layout = "mono" if stream.codec_context.channels == 1 else "stereo"
            self._out = container.add_stream("aac", rate=_SOUND_RATE, layout=layout)
        else:
            self._out = container.add_stream_from_template(stream)
        self._packets = source.demux(stream)
        self._next: Packet[AudioStream] | None = None

    def copy(self, start: float, until: float) -> None:
        """Writes the sound from `start` on up to `until`, in seconds of its video, as far as it was not written yet."""
        while (packet := self._next or next(self._packets, None)) is not None:
            self._next = None
            if packet.pts is None:  # the last one, without content
                continue
            time = float(packet.pts * packet.time_base)
            if time >= until:
                self._next = packet
                return
            if time >= start:
                self._write(packet, packet.pts, round(start / packet.time_base))

    def finish(self) -> None:
        """Writes what an encoder still holds."""
        for packet in self._out.encode(None) if self._encodes else ():
            self._container.mux(packet)

    def _write(self, packet: "Packet[AudioStream]", shown: int, shift: int) -> None:
        if not self._encodes:
            packet.dts = (shown if packet.dts is None else packet.dts) - shift
            packet.pts = shown - shift
            packet.stream = self._out
            self._container.mux(packet)
            return
        for frame in packet.decode():
            frame.pts = None if frame.pts is None else frame.pts - shift
            for encoded in self._out.encode(frame):
                self._container.mux(encoded)
