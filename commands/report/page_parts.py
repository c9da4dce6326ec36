"""What pages of reports are made of: templates, and pictures that are part of the page."""

import base64
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import jinja2

from ivif.callbacks.image_logger import FUSED
from ivif.commands.report.charts import short
from ivif.files.pictures import load_rgb
from ivif.files.text_tables import Best

TEMPLATES: Final = Path(__file__).parent / "templates"
MOST_PANELS: Final = 8
"""Panels of one validation or test that the page shows."""

MOST_STEPS: Final = 6
"""Validations of which it shows the first pair."""

PANEL_WIDTH: Final = 1200
"""Pixels of the widest panel."""


@dataclass(frozen=True)
class Picture:
    """An embedded picture, and what it shows."""

    source: str
    caption: str
    width: int
    height: int


def template(name: str) -> jinja2.Template:
    """A page's template; whatever is put into it is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["short"] = short
    environment.tests["best"] = lambda text: isinstance(text, Best)
    return environment.get_template(name)


def newest_panels(folder: Path) -> list[Picture]:
    """The panels of the last validation, and those of the test, of every dataset as many."""
    found = []
    for stage, name in (("val", "validation"), ("test", "test")):
        steps = _steps(folder / "panels" / stage)
        groups = _by_dataset(steps[-1]) if steps else []
        when = f"{name} after {_step(steps[-1])} steps" if groups and stage == "val" else name
        shown = [path for group in groups for path in group[: max(1, MOST_PANELS // len(groups))]]
        found += [embedded(path, f"{when}: {_pair(path, steps[-1])}") for path in shown]
    return found


def history(run: Path) -> list[Picture]:
    """The first pair of every dataset at up to `MOST_STEPS` validations, first and last among them."""
    steps = _steps(run / "panels" / "val")
    found = []
    for first in (group[0].relative_to(steps[0]) for group in (_by_dataset(steps[0]) if steps else [])):
        holding = [step for step in steps if (step / first).is_file()]
        count = min(MOST_STEPS, len(holding))
        chosen = [holding[round(index * (len(holding) - 1) / max(1, count - 1))] for index in range(count)]
        found += [
            embedded(step / first, f"{_pair(step / first, step)} after {_step(step)} steps") for step in chosen[:-1]
        ]
    return found


def _by_dataset(step: Path) -> list[list[Path]]:
    """The panels of a step, those of each dataset in order; runs of before these folders have them side by side."""
    folders = [step, *sorted(path for path in step.iterdir() if path.is_dir() and path.name != FUSED)]
    return [panels for folder in folders if (panels := sorted(folder.glob("*.png")))]


def _pair(panel: Path, step: Path) -> str:
    return str(panel.relative_to(step).with_suffix("")).replace("_", " ").replace("/", " ")


def _steps(panels: Path) -> list[Path]:
    """The folders of each validation's panels, in order."""
    return sorted(path for path in panels.glob("step*") if re.fullmatch(r"step[0-9]{7,19}", path.name))


def _step(folder: Path) -> str:
    return str(int(folder.name.removeprefix("step")))


def embedded(path: Path, caption: str) -> Picture:
    """A picture of a page, as JPEG.

    Raises:
        UnreadableFileError: If it is none.
    """
    picture = load_rgb(path, "Remove it, and write the report again.")
    picture.thumbnail((PANEL_WIDTH, PANEL_WIDTH))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=82)
    encoded = base64.b64encode(stream.getvalue()).decode()
    return Picture(f"data:image/jpeg;base64,{encoded}", caption, *picture.size)
