"""What the page does with two pictures: fuses them, and scores the result beside the plain rules."""

from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from ivif.commands.data.scenes import write_scenes
from ivif.commands.models.scores import METRICS, score_rows
from ivif.datamodules.datasets.synthetic import SyntheticDataset
from ivif.files.errors import UserError
from ivif.image_ops.pictures import to_picture
from ivif.inference.fuser import Fuser, load_fuser

MOST_SCORED: Final = 16_000_000
"""Pixels of the largest picture that is scored: scores take some hundred bytes a pixel."""

_EXAMPLES: Final = 4
_SIZE: Final = (240, 320)


class Result(NamedTuple):
    """What the page shows of a pair.

    Attributes:
        visible: The visible picture, as 8-bit PNG.
        fused: The fused one, as `fuse` would write it.
        scores: Rows of the network and the plain rules: name, and a value for each of `METRICS`; none of a picture of
            more than `MOST_SCORED` pixels.
    """

    visible: Path
    fused: Path
    scores: list[list[str]]


@lru_cache(maxsize=4)
def loaded(model: str) -> Fuser:
    """A network by name, kept.

    Raises:
        UserError: If it is none that fuses.
    """
    return load_fuser(model, tile="auto")


def fuse_pair(infrared: str | None, visible: str | None, model: str, prompt: str, folder: Path) -> Result:
    """Fuses two files.

    Args:
        infrared: A file, None where none was given.
        visible: The same.
        model: What fuses, by name.
        prompt: Text for a network that takes one; empty: none.
        folder: Where the pictures are written.

    Raises:
        UserError: If a picture is missing or cannot be read.
        ValueError: If a picture is none, or the network takes no text.
    """
    if infrared is None or visible is None:
        raise UserError("Two pictures are needed: infrared on the left, visible on the right.")
    fuser = loaded(model)
    batch = fuser.batch(infrared, visible, prompt or None)
    fused = fuser.fuse_tensors(batch["infrared"], batch["visible"], [prompt] if prompt else None)
    seen, shown = folder / "visible.png", folder / "fused.png"
    to_picture(batch["visible"][0]).save(seen)
    to_picture(fused[0]).save(shown)
    if fused[0, 0].numel() > MOST_SCORED:
        return Result(seen, shown, [])
    rows = score_rows([("pair", batch)], lambda _: fused)
    return Result(seen, shown, [[name, *(f"{row[metric]:.3f}" for metric in METRICS)] for name, row in rows.items()])


def write_examples(folder: Path) -> list[list[str]]:
    """Generated scenes as files: pairs of paths, infrared first, of each time of day."""
    scenes = SyntheticDataset(_EXAMPLES, _SIZE, seed=0, split="test")
    root = write_scenes(scenes, folder)
    return [[str(root / kind / f"{name}.png") for kind in ("ir", "vi")] for name in scenes.names]
