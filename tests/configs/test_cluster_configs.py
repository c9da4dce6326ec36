"""Overlays for clusters parse on top of every method, say what they mean, and run where there is no GPU."""

from datetime import timedelta
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch.strategies import DDPStrategy

from ivif.commands.cli import main
from ivif.commands.parsing.command_line import rewrite
from ivif.commands.train.lightning_cli import SuiteCLI
from ivif.configs import CONFIGS
from tests.configs.test_configs import SMALL, method_flags

OVERLAYS = sorted(path.name for path in (CONFIGS / "cluster").glob("*.yaml"))
ON_A_CPU = (
    "--trainer.devices=1",
    "--trainer.num_nodes=1",
    "--trainer.sync_batchnorm=false",  # PyTorch has it for GPUs alone
)


def _line(method: str, overlay: str, *options: str) -> list[str]:
    return ["fit", *method_flags((f"{method}.yaml", f"cluster/{overlay}")), *ON_A_CPU, *options]


def test_there_is_one_for_each_size() -> None:
    assert OVERLAYS == ["many_nodes.yaml", "one_gpu.yaml", "one_node.yaml"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_says_nothing_about_the_method(overlay: str) -> None:
    settings = yaml.safe_load((CONFIGS / "cluster" / overlay).read_text(encoding="utf-8"))
    assert set(settings) == {"trainer", "loading", "matmul_precision"}
    assert (settings["matmul_precision"], settings["trainer"]["benchmark"]) == ("high", True)
    assert set(settings["loading"]) == {"num_workers"}
    assert settings["trainer"]["accelerator"] == "gpu"
    assert settings["trainer"].get("sync_batchnorm", False) == (overlay != "one_gpu.yaml")


@pytest.mark.parametrize("method", sorted(SMALL))
def test_an_overlay_parses_after_every_method(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["fit", f"--config={method}.yaml", "--config=cluster/many_nodes.yaml", "--print_config"])
    assert stopped.value.code == 0
    assert yaml.safe_load(capsys.readouterr().out)["trainer"]["precision"] == "bf16-mixed"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_runs_with_one_process(overlay: str, tmp_path: Path) -> None:
    try:
        assert main(_line("mgfusion", overlay, f"--runs_dir={tmp_path}")) == 0
        assert torch.get_float32_matmul_precision() == "high"
        assert torch.backends.cudnn.benchmark
    finally:
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.benchmark = False


def test_equal_results_need_algorithms_that_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = _line("mgfusion", "one_gpu.yaml", f"--runs_dir={tmp_path}", "--trainer.deterministic=true")
    assert main(line) == 1
    assert "Add --trainer.benchmark false" in capsys.readouterr().err


@pytest.mark.parametrize(("method", "searches"), [("mgfusion", False), ("text_to_pixels", True)])
def test_processes_of_several_levels_need_not_use_every_parameter(method: str, searches: bool, tmp_path: Path) -> None:
    line = rewrite(_line(method, "one_node.yaml", f"--runs_dir={tmp_path}"))
    strategy = SuiteCLI.from_arguments(line).trainer.strategy
    assert isinstance(strategy, DDPStrategy)
    assert strategy._timeout == timedelta(hours=1)
    assert bool(strategy._ddp_kwargs.get("find_unused_parameters")) == searches
