"""docs/papers.md says what the configurations are, and why where a paper says otherwise; READMEs, what is ours."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from ivif.configs import CONFIGS
from tests.configs.test_protocols import resolved

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "papers.md"
README = ROOT / "models" / "text_to_pixels" / "README.md"
CONFIG_FILES = {
    "mgfusion.yaml": ["mgfusion.yaml"],
    "text_to_pixels.yaml": ["text_to_pixels.yaml"],
    "text_to_pixels_printed.yaml": ["text_to_pixels.yaml", "text_to_pixels_printed.yaml"],
    "promptfusion.yaml": ["promptfusion.yaml"],
}


class _Row(NamedTuple):
    option: str
    paper: str
    ours: dict[str, str]
    why: str


def _rows() -> Iterator[_Row]:
    files: list[str] = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if not line.startswith("| ") or line.startswith("| ---"):
            continue
        item, paper, *ours, why = (cell.strip() for cell in line.strip("|").split("|"))
        if item == "item":
            files = [name.strip("`") for name in ours]
        else:
            yield _Row(item.strip("`"), paper, dict(zip(files, ours, strict=True)), why)


def _value(cell: str) -> Any:
    """What a cell holds in code; the whole cell."""
    found = re.fullmatch(r"`([^`]+)`", cell)
    assert found, cell
    return yaml.safe_load(found[1])


def _option(config: dict[str, Any], name: str) -> Any:
    section, *rest = name.split(".")
    found = config[section]
    for part in ["init_args", *rest] if section in ("model", "data") else rest:
        found = found[part]
    return found


def _leaves(settings: dict[str, Any], name: str) -> Iterator[str]:
    for key, value in settings.items():
        yield from _leaves(value, f"{name}.{key}") if isinstance(value, dict) else [f"{name}.{key}"]


@pytest.mark.parametrize("file", CONFIG_FILES)
def test_the_page_says_what_a_configuration_is(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    config = resolved(capsys, *(f"--config={each}" for each in CONFIG_FILES[file]))
    rows = [row for row in _rows() if file in row.ours]
    assert len(rows) > 10
    for row in rows:
        assert _option(config, row.option) == _value(row.ours[file]), row.option


def test_every_departure_has_a_reason() -> None:
    for row in _rows():
        same = row.paper.startswith("`") and all(_value(cell) == _value(row.paper) for cell in row.ours.values())
        assert bool(row.why) != same, row.option


def test_no_paper_is_left_out() -> None:
    """Presets for other machines, and what compares with a paper, are no papers' settings."""
    methods = {path.name for path in CONFIGS.glob("*.yaml") if re.fullmatch(r"[a-z_]+fusion|.*pixels", path.stem)}
    assert methods | {"text_to_pixels_printed.yaml"} == {file for row in _rows() for file in row.ours}


def test_every_default_of_text_to_pixels_is_on_the_page_or_in_its_readme() -> None:
    """The README names an option in `code`, without `model.`."""
    config = yaml.safe_load((CONFIGS / "text_to_pixels.yaml").read_text(encoding="utf-8"))
    leaves = list(_leaves(config["model"]["init_args"], "model"))
    assert len(leaves) > 25
    named = {row.option for row in _rows() if "text_to_pixels.yaml" in row.ours}
    named |= {f"model.{code}" for code in re.findall(r"`([a-z0-9_.]+)`", README.read_text(encoding="utf-8"))}
    assert [leaf for leaf in leaves if leaf not in named] == []


def test_what_each_method_needs_of_a_card_is_what_the_page_on_speed_says() -> None:
    speed = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+\.yaml)`[^|]*\|[^|]*\| ([\d.]+) GiB \| ([\d.]+) GiB \|$", speed, re.MULTILINE)
    said = re.findall(r"needs ([\d.]+) GiB for a step in float32, ([\d.]+) in bf16", PAGE.read_text(encoding="utf-8"))
    needed = {file: tuple(gib) for file, *gib in rows}
    assert said == [needed[file] for file in ("mgfusion.yaml", "text_to_pixels.yaml", "promptfusion.yaml")]
