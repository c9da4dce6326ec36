"""`ivif report grid`: chosen pairs beside what methods make of them, with enlarged parts, as papers show them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import yaml
from torch import Tensor

import ivif
from ivif.commands.errors import UsageError
from ivif.commands.parsing.parser import SuiteParser
from ivif.commands.report.files import refuse_others, save_figure
from ivif.commands.report.grid_picture import COLORS, Row, draw
from ivif.commands.report.score_inputs import read_picture, size
from ivif.commands.report.scored_files import collect
from ivif.contracts.run_files import LAST
from ivif.files.names import printable
from ivif.files.pictures import MAX_PIXELS
from ivif.files.plain_yaml import load_plain
from ivif.weights import released_names

SOURCES: Final = ("Infrared", "Visible")
"""What the first columns are called."""

ENDINGS: Final = (".png", ".pdf")
"""Each figure is written as a picture and as a page for papers."""

EXAMPLE: Final = "docs/predict.md shows one."


@dataclass
class GridFigure:
    """What the YAML file of a figure says.

    Attributes:
        infrared: Folder of infrared pictures.
        visible: Folder of visible pictures.
        methods: Title -> folder of fused pictures, folder of a run, checkpoint, or name of a released network.
        pairs: Name of a pair -> boxes (left, top, right, bottom), in pixels of its visible picture; one row each.
        colors: Of the frames of the first, second, ... box, as matplotlib names them.
        pattern: Regular expression whose first group in a file's stem names the pair; the stem by default.
        width: Inches of the whole figure; 7 is a page of two columns.
    """

    infrared: str
    visible: str
    methods: dict[str, str]
    pairs: dict[str, list[tuple[int, int, int, int]]]
    colors: list[str] = field(default_factory=lambda: list(COLORS))
    pattern: str = ""
    width: float = 7.0


def report_grid(
    file: Path, out: Path | None = None, device: str = "auto", dpi: int = 300, overwrite: bool = False
) -> int:
    """Writes the figure as PNG and PDF.

    Args:
        file: Its YAML file (`GridFigure`).
        out: The figure without its ending; default: beside the YAML file, under its name.
        device: Where runs fuse.
        dpi: Pixels per inch of the PNG.
        overwrite: Whether these files may be replaced if they are no reports.

    Returns:
        The exit code, 0.

    Raises:
        UsageError: If the file says something wrong, a pair or picture is not there, or the figure's files are others.
    """
    figure = read_figure(file)
    stem = out.with_suffix("") if out is not None and out.suffix in ENDINGS else out or file.with_suffix("")
    paths = [stem.with_name(stem.name + ending) for ending in ENDINGS]
    refuse_others(paths, overwrite)
    drawn = draw([*SOURCES, *figure.methods], _rows(figure, device), figure.colors, figure.width)
    for path in paths:
        save_figure(drawn, path, dpi)
        print(f"Figure: {printable(path)}")
    return 0


def read_figure(file: Path) -> GridFigure:
    """What a figure's YAML file says.

    Raises:
        UsageError: If it is not there, no YAML, or says something that is not known.
    """
    try:
        plain = load_plain(file)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(
            f"'{file}' is no description of a figure: {' '.join(str(error).split())}. {EXAMPLE}"
        ) from error
    if not isinstance(plain, dict):
        raise UsageError(f"'{file}' is no description of a figure: it is no mapping. {EXAMPLE}")
    known = [each.name for each in fields(GridFigure)]
    for key in plain:
        if key not in known:
            raise UsageError(f"'{file}': a figure has no '{key}', but {', '.join(known)}.")
    for key in ("pairs", "methods"):
        _check_names(file, key, plain.get(key))
    parser = SuiteParser()
    parser.add_class_arguments(GridFigure)
    try:
        figure = GridFigure(**parser.parse_object(plain).as_dict())
    except UsageError as error:
        raise UsageError(f"'{file}': {error}") from error
    from matplotlib.colors import is_color_like

    for color in figure.colors:
        if not is_color_like(color):
            raise UsageError(f"'{file}': colors: '{color}' is no colour. Write one such as red or '#ff2d2d'.")
    most = max(map(len, figure.pairs.values()))
    if most > len(figure.colors):
        raise UsageError(f"'{file}': a pair has {most} boxes, and there are {len(figure.colors)} colors. Add some.")
    return figure


def _check_names(file: Path, key: str, names: Any) -> None:
    """Refuses names that YAML has made numbers of: `00012` is 10 there."""
    if not isinstance(names, dict) or not names:
        raise UsageError(f"'{file}': {key} must be a mapping that begins with a name. {EXAMPLE}")
    for name in names:
        if not isinstance(name, str):
            raise UsageError(f"'{file}': {key}: YAML takes a name for {name!r}. Write it in quotes, such as '00012'.")


def _rows(figure: GridFigure, device: str) -> list[Row]:
    """The pictures of each pair, in the order of the columns."""
    runs = {title: path for title, path in figure.methods.items() if _is_network(path)}
    folders = {title: Path(path) for title, path in figure.methods.items() if title not in runs}
    inputs = collect(Path(figure.infrared), Path(figure.visible), list(folders.values()), figure.pattern)
    for label, reason in inputs.unusable.items():
        raise UsageError(f"{label}: {reason}")
    files = dict(zip(folders, inputs.methods.values(), strict=True))
    for name in figure.pairs:
        if name not in inputs.pairs:
            known = ", ".join(list(inputs.pairs)[:5])
            raise UsageError(f"There is no pair '{name}' in '{figure.visible}'. Some that are there: {known}.")
    rows = []
    for name, boxes in figure.pairs.items():
        infrared, visible = inputs.pairs[name].read()
        rows.append(Row(name, [infrared, visible], boxes))
        for box in boxes:
            _check_box(name, box, visible)
    fused: dict[str, list[Tensor]] = {title: _of_network(path, rows, device) for title, path in runs.items()}
    fused |= {title: _of_folder(title, own, rows) for title, own in files.items()}
    for index, row in enumerate(rows):
        row.pictures += [fused[title][index] for title in figure.methods]
    return rows


def _of_network(name: str, rows: Sequence[Row], device: str) -> list[Tensor]:
    """What a trained network makes of the pairs, at their own size."""
    fuser = ivif.load(name, device)
    return [fuser.fuse_tensors(infrared, visible) for infrared, visible in (row.pictures for row in rows)]


def _of_folder(title: str, files: Mapping[str, Path], rows: Sequence[Row]) -> list[Tensor]:
    """A method's own pictures of the pairs."""
    found = []
    for row in rows:
        if row.name not in files:
            raise UsageError(f"{title} has no picture of '{row.name}'. Add it, or leave the pair or the method out.")
        picture = read_picture(files[row.name], MAX_PIXELS, colour=True)
        if picture.shape[2:] != row.pictures[1].shape[2:]:
            sizes = f"{size(picture)}, and its pair {size(row.pictures[1])}"
            raise UsageError(f"'{files[row.name]}' is {sizes}. Give pictures of the pair's size.")
        found.append(picture)
    return found


def _check_box(name: str, box: Sequence[int], visible: Tensor) -> None:
    left, top, right, bottom = box
    if not (0 <= left < right <= visible.shape[3] and 0 <= top < bottom <= visible.shape[2]):
        raise UsageError(
            f"{name}: the box {list(box)} does not lie in its picture of {size(visible)}. A box is left, top, right, "
            f"bottom in pixels."
        )


def _is_network(name: str) -> bool:
    """Whether it is a file of weights, the folder of a run, or the name of a released network."""
    path = Path(name)
    return path.is_file() or (path / LAST).exists() or (name in released_names() and not path.exists())
