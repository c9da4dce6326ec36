"""A video of both sources beside the fused one."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from torch import Tensor

from ivif.datamodules.datasets.palettes import palette_colours
from ivif.files.whole import whole_file
from ivif.image_ops.pictures import to_picture
from ivif.inference.video.footage import Footage
from ivif.inference.video.writing import VIDEO_FORMATS, VideoWriter


class PanelVideo:
    """Infrared, visible and fused side by side, each at the size of the visible one; a context.

    Args:
        path: The file, of an ending in `VIDEO_FORMATS`; it has its name when it is complete, or not at all.
        visible: The visible frames.
        sound: The video whose sound is copied; None: none.
        colormap: How infrared is shown: `grey`, or the name of a palette.

    Raises:
        OSError: At the end, if the file could not be written.
    """

    def __init__(self, path: Path, visible: Footage, sound: Path | None, colormap: str = "grey") -> None:
        height, width = visible.size
        form = VIDEO_FORMATS[path.suffix.lower()]
        self._colours = None if colormap == "grey" else palette_colours(colormap)
        with ExitStack() as files:
            stream = files.enter_context(whole_file(path))
            self._writer = files.enter_context(VideoWriter(stream, form, (height, 3 * width), visible.rate, sound))
            self._files = files.pop_all()

    def __enter__(self) -> Self:
        """The video itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the file, unless something went wrong."""
        self._files.__exit__(kind, error, trace)

    def watch(self, time: float, fused: Tensor, infrared: Tensor, visible: Tensor) -> None:
        """Adds a frame: what `Watch` is told of."""
        warm, seen, shown = (np.asarray(to_picture(planes)) for planes in (infrared, visible, fused))
        warm = np.stack([warm] * 3, axis=-1) if self._colours is None else self._colours[warm]
        self._writer.write(np.concatenate([warm, seen, shown], axis=1), time)
