"""Ready studies: no two of their rows are trained with the same settings."""

from pathlib import Path

import pytest

from ivif.commands.study.grid import read_study
from ivif.configs import CONFIGS
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
