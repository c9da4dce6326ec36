"""Runs of version 0.1, whose rooms were packages of the top level: their files go on working."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import ivif
from ivif.commands.cli import main
from ivif.lightning_modules.detection_sources import DetectionSource, build_source
from ivif.testing import make_batch
from tests.commands.runs import newest_run, tiny_run

LAST = Path("checkpoints") / "last.ckpt"


def _old(value: Any) -> Any:
    """The same with class paths as they were."""
    if isinstance(value, str):
        return value.replace("ivif.", "")
    if isinstance(value, dict):
        return {key: _old(entry) for key, entry in value.items()}
    return [_old(entry) for entry in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("IVIF_RUN_FOLDER", raising=False)
        assert main(tiny_run("fit", folder)) == 0
    return newest_run(folder)


@pytest.fixture
def old(new: Path, tmp_path: Path) -> Path:
    """The folder of the run, with the old names in its configuration and its checkpoint."""
    folder = shutil.copytree(new, tmp_path / "old")
    config, checkpoint = folder / "config.yaml", torch.load(folder / LAST, weights_only=True)
    config.write_text(_old(config.read_text(encoding="utf-8")), encoding="utf-8")
    torch.save(_old(checkpoint), folder / LAST)
    assert "class_path: lightning_modules.mgfusion.MGFusionTask" in config.read_text(encoding="utf-8")
    assert "class_path: datamodules.synthetic.SyntheticDataModule" in config.read_text(encoding="utf-8")
    assert torch.load(folder / LAST, weights_only=True)["task"] == "lightning_modules.mgfusion.MGFusionTask"
    return folder


def _state(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(folder / LAST, weights_only=True)
    return state


def test_a_run_of_old_is_resumed(old: Path, new: Path, tmp_path: Path) -> None:
    both = old, shutil.copytree(new, tmp_path / "new")
    for folder in both:
        assert main(["fit", "--resume", str(folder), "--trainer.max_epochs=2"]) == 0
    first, second = map(_state, both)
    assert first["global_step"] == second["global_step"] == 2 * _state(new)["global_step"]
    assert first["task"] == "ivif.lightning_modules.mgfusion.MGFusionTask"
    assert all(torch.equal(value, second["state_dict"][name]) for name, value in first["state_dict"].items())


def test_an_old_configuration_starts_from_old_weights(old: Path, tmp_path: Path) -> None:
    line = ["fit", f"--config={old / 'config.yaml'}", f"--init_from={old / LAST}", f"--runs_dir={tmp_path / 'runs'}"]
    still = "--model.init_args.schedule={start: 0, peak: 1.0e-30, end: 0}"
    assert main([*line, still, "--trainer.limit_val_batches=0", "--model.init_args.optimizer.weight_decay=0"]) == 0
    run = newest_run(tmp_path / "runs")
    first, second = _state(old)["state_dict"], _state(run)["state_dict"]
    trained = [name for name, value in first.items() if value.is_floating_point() and "running" not in name]
    assert [name for name in trained if not torch.allclose(first[name], second[name])] == []
    assert "class_path: ivif.lightning_modules.mgfusion.MGFusionTask" in (run / "config.yaml").read_text("utf-8")


def test_an_old_checkpoint_is_tested_loaded_and_a_source(old: Path, new: Path, tmp_path: Path) -> None:
    assert main(tiny_run("test", tmp_path / "runs", f"--ckpt_path={old / LAST}")) == 0
    assert list(tmp_path.rglob("tables/test.csv"))
    batch = make_batch()
    pictures = [build_source(DetectionSource("checkpoint", folder / LAST))(batch) for folder in (old, new)]
    assert torch.equal(*pictures)
    with torch.no_grad():
        assert torch.equal(ivif.load(old, "cpu").fuse(batch)["fused"], pictures[0])
