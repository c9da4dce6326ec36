"""Ready studies: no two of their rows are trained with the same settings."""

from pathlib import Path

import pytest
import yaml

from ivif.commands.parsing.named_files import find_config
from ivif.commands.study.grid import read_study
from ivif.commands.study.planned import PlannedRun
from ivif.commands.study.published import read_published
from ivif.configs import CONFIGS
from ivif.files.plain_yaml import load_plain
from tests.configs.test_protocols import resolved

STUDIES = sorted(path.stem for path in (CONFIGS / "studies").glob("*.yaml"))
QUICK = ("promptfusion_ablation_cpu",)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in STUDIES]
)
def test_every_row_has_settings_of_its_own(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, runs = read_study(f"{name}.yaml", tmp_path)
    of_row = {run.row: run for run in reversed(runs)}
    seen: dict[str, str] = {}
    for row, run in of_row.items():
        words = [word for word in run.arguments if "{" not in word or word.startswith("--model")]
        settings = str({**resolved(capsys, *words), "run_name": ""})
        assert seen.setdefault(settings, row) == row
    assert len(seen) == len(of_row)


PRINTED = {"mgfusion_tables": ("mgfusion", (1, 2, 3))} | {
    f"text_to_pixels_table{number}": ("text_to_pixels", (number,)) for number in (1, 2, 3)
}
"""Studies of papers' tables -> the file of the paper's numbers, and which tables."""


@pytest.mark.parametrize("study", PRINTED)
def test_a_study_of_printed_tables_tests_on_their_datasets(study: str, tmp_path: Path) -> None:
    paper, numbers = PRINTED[study]
    wanted = {table.dataset for table in read_published([paper]) if table.table in numbers}
    assert wanted <= {name for run in read_study(f"{study}.yaml", tmp_path)[1] for name in _tested(run)}


def _tested(run: PlannedRun) -> set[str]:
    """The datasets that a run is tested on, as tables call them."""
    found = set()
    for test in run.tests:
        given = dict(word.split("=", 1) for word in (*run.arguments, *test.arguments) if "=" in word)
        if "--data" not in given:  # a protocol's configuration names it
            found.add(Path(given["--data.root"]).name.lower())
            continue
        data = load_plain(Path(find_config("--data", given["--data"])))
        listed = given.get("--data.datasets", data.get("init_args", {}).get("datasets", ""))
        kind = data["class_path"].removesuffix("DataModule").lower()
        found |= set(yaml.safe_load(listed) if isinstance(listed, str) and listed else listed or [kind])
    return found


@pytest.mark.parametrize(("study", "dataset"), [("text_to_pixels_table2", "tno"), ("text_to_pixels_table3", "m3fd")])
@pytest.mark.parametrize("size", ["", "_cpu"])
def test_ablations_of_a_paper_have_a_row_each(study: str, dataset: str, size: str, tmp_path: Path) -> None:
    (printed,) = [
        table
        for table in read_published(["text_to_pixels"])
        if study.endswith(str(table.table)) and table.dataset == dataset
    ]
    _, runs = read_study(f"{study}{size}.yaml", tmp_path)
    assert len({run.row for run in runs}) == len(printed.rows)
