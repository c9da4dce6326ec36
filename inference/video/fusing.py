"""From two videos to a fused one, a few frames at a time."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from ivif.contracts.batch import plane_to_float
from ivif.datamodules.datasets.io import to_infrared, to_visible
from ivif.datamodules.datasets.pair_transforms import fit
from ivif.datamodules.datasets.thermal import ThermalRange
from ivif.files.whole import whole_file
from ivif.image_ops.pictures import to_picture
from ivif.inference.fuser import Fuser
from ivif.inference.video.footage import Footage
from ivif.inference.video.matching import FramePair, check_common_time, paired
from ivif.inference.video.smoothing import GainSmoother
from ivif.inference.video.thermal import range_of_video
from ivif.inference.video.writing import VIDEO_FORMATS, VideoWriter

Watch = Callable[[float, Tensor, Tensor, Tensor], None]
"""Told of each frame: its time, fused (3, H, W), infrared (1, H, W), visible (3, H, W), all in [0, 1]."""

Prepare = Callable[[FramePair], FramePair]
"""Changes a pair of frames before it is fused."""

_ON_A_GPU: Final = 8
"""Frames that a GPU fuses at a time."""


@dataclass(frozen=True)
class VideoReport:
    """What was written.

    Attributes:
        frames: How many.
        first: Time of the first one in the visible video, in seconds.
        last: Time of the last one.
        has_sound: Whether there is sound.
    """

    frames: int
    first: float
    last: float
    has_sound: bool


def fuse_video(
    fuser: Fuser,
    infrared: Footage,
    visible: Footage,
    out: Path,
    prompt: str | None = None,
    temporal: float | None = None,
    delay: float = 0.0,
    batch_size: int | None = None,
    watch: Watch = lambda *_: None,
    prepare: Prepare | None = None,
) -> VideoReport:
    """Fuses two videos; memory does not grow with their length.

    Each visible frame is fused with the infrared frame nearest in time, at its own size and time. The sound of the
    visible video, or else that of the infrared one, is kept. The file has its name when it is complete, or not at all.

    Args:
        fuser: What fuses.
        infrared: The infrared frames.
        visible: The visible frames.
        out: The file, of an ending in `VIDEO_FORMATS`.
        prompt: Text for a network that takes one.
        temporal: Seconds over which brightness and contrast are smoothed (`GainSmoother`); None: not at all.
        delay: Seconds that are added to the times of the infrared frames.
        batch_size: Frames that are fused at a time; default: 8 on a GPU, else 1.
        watch: Told of each frame.
        prepare: Changes each pair of frames first, such as by registration; sizes of visible frames stay.

    Raises:
        NoCommonTimeError: If one video ends before the other begins.
        UnreadableFileError: If a frame cannot be read.
        ValueError: If the network takes no text, or an option is out of range.
        OSError: If the file cannot be written.
    """
    check_common_time(infrared, visible, delay)
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"--batch_size is {batch_size}: give 1 or more.")
    smooth = None if temporal is None else GainSmoother(temporal)
    sound = sound_of(infrared, visible)
    form = VIDEO_FORMATS[out.suffix.lower()]
    count, first, time = 0, 0.0, 0.0
    with whole_file(out) as stream, VideoWriter(stream, form, visible.size, visible.rate, sound) as writer:
        matches = paired(infrared, visible, delay)
        pairs = _batches(map(prepare, matches) if prepare else matches, batch_size or _usual_batch(fuser))
        for time, fused, warm, seen in _fused(fuser, pairs, range_of_video(infrared, fuser.thermal_range), prompt):
            shown = fused if smooth is None else smooth(fused, time)
            writer.write(np.asarray(to_picture(shown)), time)
            watch(time, shown, warm, seen)
            count, first = count + 1, first if count else time
    return VideoReport(count, first, time, sound is not None)


def sound_of(infrared: Footage, visible: Footage) -> Path | None:
    """The video whose sound is kept: the visible one's, or else that of the infrared one."""
    return next((one.path for one in (visible, infrared) if one.has_sound), None)


def _fused(
    fuser: Fuser, batches: Iterable[list[FramePair]], thermal_range: ThermalRange, prompt: str | None
) -> Iterator[tuple[float, Tensor, Tensor, Tensor]]:
    """Time, fused, infrared and visible picture of each pair, as `predict` would make them of the same pictures."""
    for pairs in batches:
        visible = [to_visible(pair.visible) for pair in pairs]
        size = (visible[0].shape[1], visible[0].shape[2])
        infrared = [fit(to_infrared(pair.infrared, thermal_range), size) for pair in pairs]
        planes = [plane_to_float(torch.stack(each)) for each in (infrared, visible)]
        fused = fuser.fuse_tensors(planes[0], planes[1], None if prompt is None else [prompt] * len(pairs)).cpu()
        yield from zip((pair.time for pair in pairs), fused, *planes, strict=True)


def _batches(pairs: Iterable[FramePair], size: int) -> Iterator[list[FramePair]]:
    batch = []
    for pair in pairs:
        batch.append(pair)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _usual_batch(fuser: Fuser) -> int:
    return 1 if fuser.device.type == "cpu" else _ON_A_GPU
