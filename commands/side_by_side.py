"""Both pictures of a pair beside what was made of them, as one picture."""

from pathlib import Path

import numpy as np
from PIL import Image

from ivif.callbacks.images import panel, save_atomically
from ivif.contracts.batch import plane_to_float
from ivif.datamodules.datasets.pair_transforms import fit
from ivif.datamodules.datasets.palettes import palette_colours
from ivif.image_ops.pictures import to_picture
from ivif.inference import Fuser
from ivif.inference.pictures import Picture, infrared_of, visible_of


def write_panel(
    fuser: Fuser, infrared: Picture, visible: Path, fused: Image.Image, out: Path, colormap: str = "grey"
) -> None:
    """Writes infrared, visible and fused side by side.

    Args:
        fuser: What fused them.
        infrared: The infrared picture.
        visible: The visible picture.
        fused: What came of both.
        out: The PNG to write.
        colormap: How infrared is shown: `grey`, or the name of a palette.

    Raises:
        OSError: If it cannot be written.
    """
    seen = plane_to_float(visible_of(visible))
    warm = plane_to_float(infrared_of(infrared, fuser.thermal_range))
    shown = to_picture(fit(warm, (seen.shape[1], seen.shape[2])))
    if colormap != "grey":
        shown = Image.fromarray(palette_colours(colormap)[np.asarray(shown)])
    picture = panel({"infrared": shown, "visible": to_picture(seen), "fused": fused}, height=fused.height)
    save_atomically(picture, out)
    print(f"Side by side: {out}")
