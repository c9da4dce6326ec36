"""`ivif report score`: folders of fused images that anyone made, against their source pairs."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from ivif.commands.errors import UsageError
from ivif.commands.report.files import refuse_others
from ivif.commands.report.scored_files import UNPAIRED, ScoreInputs, collect
from ivif.commands.report.tables import COLUMNS, FILES, show_means, write_tables
from ivif.datamodules.datasets.io import read_image, to_infrared, to_visible
from ivif.datamodules.datasets.pair_transforms import fit
from ivif.files.errors import UnreadableFileError
from ivif.files.pictures import MAX_PIXELS
from ivif.files.text_output import cell
from ivif.image_ops.color import recolor, split_luma_chroma
from ivif.machine.devices import choose_device
from ivif.metrics.conventions import check_names, suite
from ivif.metrics.functional import Triplet
from ivif.metrics.preparation import grey_levels

Row = tuple[str, str, str, str, float]


def score(  # noqa: PLR0913 - one argument for each option
    infrared: Path,
    visible: Path,
    fused: Sequence[Path],
    convention: Sequence[str] = ("standard",),
    metrics: Sequence[str] | None = None,
    pair: str | None = None,
    out: Path = Path("runs/report"),
    classic: bool = True,
    device: str = "cpu",
    overwrite: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> int:
    """Scores every folder of fused images, prints the means, and writes tables and a figure into `out`.

    Files are per_image.csv (method, name, convention, metric, value), summary.csv, summary.md, summary.tex and
    figure.png. Whatever has no partner, another size, or cannot be read is named on the terminal and in summary.md.

    Args:
        infrared: Folder of infrared images.
        visible: Folder of visible images, grey or colour; colour is scored by its luma.
        fused: One folder per method.
        convention: Names of conventions.
        metrics: Names of metrics; each convention's own by default.
        pair: Regular expression whose first group in a file's stem names the pair; the stem by default.
        out: Folder for the results.
        classic: Whether to add the rows average, maximum, Laplacian pyramid and contourlet.
        device: Where to compute.
        overwrite: Whether other files of these names may be replaced.
        max_pixels: Most pixels of a picture.

    Returns:
        0.

    Raises:
        UsageError: If a folder is missing, a name is unknown, there is nothing to score, or other files have the names
            of the results.
    """
    try:
        names = {known: check_names(metrics or suite(known).names) for known in dict.fromkeys(convention)}
    except ValueError as error:
        raise UsageError(str(error)) from error
    refuse_others([out / name for name in FILES], overwrite)
    device = str(choose_device(device))
    inputs = collect(infrared, visible, fused, pair, max_pixels)
    rows: list[Row] = []
    with Progress(transient=True) as progress:
        for name in progress.track(inputs.pairs, description="scoring"):
            rows += _score_pair(name, inputs, names, classic, device)
    console = Console()
    for problem in inputs.problems:
        console.print(cell(f"warning: {problem}"), style="yellow", soft_wrap=True, highlight=False)
    empty = sorted(set(inputs.methods) - {str(row[0]) for row in rows})
    if empty or not rows:
        told = "".join(f"\n{problem}" for problem in inputs.problems if f": {UNPAIRED}" in problem)
        raise UsageError(
            f"Nothing of {', '.join(empty) or 'any method'} could be scored; the warnings above name every file.{told}"
        )
    summary = write_tables(pd.DataFrame(rows, columns=list(COLUMNS)), inputs.problems, out)
    show_means(summary, console)
    console.print(cell(f"Tables and figure: {out}"), soft_wrap=True, highlight=False)
    return 0


def _score_pair(
    name: str, inputs: ScoreInputs, names: dict[str, tuple[str, ...]], classic: bool, device: str
) -> Iterator[Row]:
    infrared_path, visible_path = inputs.pairs[name]
    visible = _read(visible_path, inputs, colour=True)
    infrared = None if visible is None else _read(infrared_path, inputs, size=tuple(visible.shape[2:]))
    if infrared is None or visible is None:
        return
    sources = grey_levels(infrared).to(device), grey_levels(visible).to(device)
    for method, fused in _results(name, inputs, (infrared, visible), classic):
        triplet = Triplet(fused.to(device), *sources)
        for convention, chosen in names.items():
            try:
                values = suite(convention).score(triplet, chosen)
            except ValueError as error:
                raise UsageError(f"'{name}' cannot be scored: {error} See --metrics.") from error
            for metric, value in values.items():
                number = float(value)
                yield method, name, convention, metric, number if abs(number) < float("inf") else float("nan")


def _results(
    name: str, inputs: ScoreInputs, sources: tuple[Tensor, Tensor], classic: bool
) -> Iterator[tuple[str, Tensor]]:
    for method, files in inputs.methods.items():
        fused = _read(files[name], inputs, colour=True) if name in files else None
        if fused is None:
            continue
        if fused.shape[2:] != sources[0].shape[2:]:
            inputs.problems.append(
                f"{files[name]} is {_size(fused)}, its pair is {_size(sources[0])}: {method} is not scored on '{name}'"
            )
            continue
        yield method, grey_levels(fused)
    if classic:
        from ivif.models.classic import CLASSIC_FUSIONS

        visible_luma, chroma = split_luma_chroma(sources[1])
        for method, fuse in CLASSIC_FUSIONS.items():
            label = f"{method} (classic)" if method in inputs.methods else method
            yield label, grey_levels(recolor(fuse(sources[0], visible_luma), chroma))


def _read(path: Path, inputs: ScoreInputs, colour: bool = False, size: tuple[int, ...] | None = None) -> Tensor | None:
    """The image (1, 1 or 3, H, W) in [0, 1], at a size if one is given; or None with a line among the problems."""
    try:
        pixels = read_image(path, max_pixels=inputs.max_pixels)
        image = to_visible(pixels) if colour else to_infrared(pixels)
    except (UnreadableFileError, ValueError) as error:
        inputs.problems.append(f"{path}: {error} Left out.")
        return None
    if size is not None and tuple(image.shape[1:]) != size:
        inputs.problems.append(
            f"{path} is {_size(image)}, its visible image {size[1]}x{size[0]}: it is resized to that"
        )
        image = fit(image, (size[0], size[1]))
    image = image.float() / 255.0 if image.dtype == torch.uint8 else image.float()
    return image.unsqueeze(0)


def _size(image: Tensor) -> str:
    return f"{image.shape[-1]}x{image.shape[-2]}"
