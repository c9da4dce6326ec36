"""Small videos in the formats that cameras store, and what is read back of one."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal

import av
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]
Kind = Literal["lossless", "gray16", "h264"]

_CODECS: Final = {"lossless": "ffv1", "gray16": "ffv1", "h264": "libx264"}
_TICKS: Final = Fraction(1, 90_000)
_SAMPLES: Final = 16_000


def write_video(
    path: Path,
    frames: Iterable[Pixels],
    rate: float = 25,
    kind: Kind = "lossless",
    start: float = 0.0,
    sound: str = "",
    turned: int = 0,
) -> Path:
    """Writes (H, W) or (H, W, 3) uint8, or (H, W) uint16 frames.

    Args:
        path: The file; its ending chooses the container.
        frames: At least one.
        rate: Frames per second.
        kind: How they are stored.
        start: Time of the first one, in seconds.
        sound: Codec of a tone as long as the pictures; empty: none.
        turned: Degrees by which a player turns the pictures.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w") as container:
        stream = container.add_stream(_CODECS[kind], rate=Fraction(rate).limit_denominator(1001))
        assert isinstance(stream, av.VideoStream)
        tone = container.add_stream(sound, rate=_SAMPLES, layout="mono") if sound else None
        count = 0
        for count, pixels in enumerate(frames, 1):
            form = "gray16le" if pixels.dtype == np.uint16 else "gray" if pixels.ndim == 2 else "rgb24"
            if count == 1:
                stream.height, stream.width = pixels.shape[:2]
                stream.pix_fmt = "yuv420p" if kind == "h264" else "bgr0" if form == "rgb24" else form
                stream.codec_context.time_base = _TICKS
                if turned:
                    stream.set_display_rotation(turned)
            frame = av.VideoFrame.from_ndarray(pixels, format=form)
            frame.pts, frame.time_base = round((start + (count - 1) / rate) / _TICKS), _TICKS
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if tone is not None:
            _write_tone(container, tone, count / rate)
    return path


def _write_tone(container: Any, stream: Any, seconds: float) -> None:
    wave = np.sin(np.arange(round(seconds * _SAMPLES)) * 2 * np.pi * 440 / _SAMPLES) * 8000
    frame = av.AudioFrame.from_ndarray(wave.astype(np.int16)[None], format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = _SAMPLES, 0, Fraction(1, _SAMPLES)
    container.mux(stream.encode(frame))
    container.mux(stream.encode())


def read_video(path: Path) -> tuple[list[float], list[Pixels]]:
    """Times in seconds, and (H, W, 3) uint8 frames."""
    with av.open(path) as container:
        frames = [(frame.time or 0.0, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    return [time for time, _ in frames], [pixels for _, pixels in frames]


def read_sound(path: Path) -> tuple[str, float, Pixels]:
    """Codec, length in seconds, and samples of the first channel in [-1, 1]; empty without sound."""
    with av.open(path) as container:
        if not container.streams.audio:
            return "", 0.0, np.zeros(0)
        samples = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
        context = container.streams.audio[0].codec_context
        return context.codec.canonical_name, samples.size / context.sample_rate, samples


def grey_frames(levels: Sequence[int], size: tuple[int, int] = (16, 24), deep: bool = False) -> list[Pixels]:
    """Frames of one level each."""
    return [np.full(size, level, np.uint16 if deep else np.uint8) for level in levels]


def colour_frames(count: int, size: tuple[int, int] = (32, 48), seed: int = 0) -> list[Pixels]:
    """RGB noise."""
    generator = np.random.default_rng(seed)
    return [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(count)]
