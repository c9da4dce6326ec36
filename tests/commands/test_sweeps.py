"""The sweeps are valid for W&B, and what its agent would run does run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sweeps
import yaml
from sweeps.config.cfg import schema_violations_from_proposed_config
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from ivif.callbacks.wandb_run import RUN_ID
from ivif.commands.cli import main
from ivif.configs import CONFIGS
from ivif.testing.configurations import SHORT
from tests.configs.test_configs import SMALL, clip_flags
from tests.wandb_records import config

PATHS = sorted((CONFIGS / "sweeps").glob("*.yaml"))
AGENT = ("${env}", "${interpreter}", "${program}")


def _sweep(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def test_every_method_has_a_sweep() -> None:
    assert {path.stem for path in PATHS} == set(SMALL) - {"quickstart"}


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_wandb_accepts_the_sweep(path: Path) -> None:
    found = _sweep(path)
    assert schema_violations_from_proposed_config(found) == []
    assert (CONFIGS.parent / found["program"]).is_file()
    assert found["command"][:3] == list(AGENT)
    assert found["metric"]["name"].startswith("val/")
    found["parameters"]["made"] = {"min": 1.0, "max": 0.0}
    assert schema_violations_from_proposed_config(found) != []


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=pytest.mark.slow if path.stem == "detection" else ()) for path in PATHS],
    ids=lambda path: path.stem,
)
def test_the_command_of_an_agent_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = _sweep(path)
    monkeypatch.setenv("WANDB_RUN_ID", "chosen12")  # as an agent does
    np.random.seed(0)  # what the sampler draws from
    drawn = sweeps.next_run(sweeps.config.SweepConfig(found), [])
    values = {name: {"value": own["value"]} for name, own in drawn.config.items()}
    sampled = create_sweep_command_args({"args": values})["args"]
    assert len(sampled) == len(found["parameters"])
    command = [part for part in found["command"] if part not in AGENT]
    index = command.index("${args}")
    common = [part for part in SHORT if "fast_dev_run" not in part]  # which takes the loggers away
    small = [*common, *SMALL[path.stem], *clip_flags(path.stem)]
    ending = ["--trainer.max_epochs=1", "--trainer.limit_val_batches=0", f"--runs_dir={tmp_path}", "--wandb=offline"]
    assert main([*command[:index], *small, *sampled, *command[index + 1 :], *ending]) == 0
    (run,) = (tmp_path / f"sweep-{path.stem}").glob("2*")
    assert (run / RUN_ID).read_text(encoding="utf-8").strip() == "chosen12"
    (written,) = (run / "wandb").glob("offline-run-*")
    held = config(written)
    for name, own in values.items():
        value: Any = held
        for part in name.split("."):
            value = value[part]
        assert value == pytest.approx(own["value"])
