"""What a command asks of a machine's devices."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ivif.commands.cli import main
from ivif.commands.train.devices import settle_devices, settle_missing_gpu
from ivif.machine.devices import choose_device
from tests.commands.runs import newest_run, tiny_run

ASKS_EACH_TIME = "PYTORCH_NVML_BASED_CUDA_CHECK"
"""What Lightning's import sets."""


@pytest.mark.parametrize("present", [False, True])
def test_only_where_there_is_no_gpu_its_search_ends(present: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ASKS_EACH_TIME, "1")
    monkeypatch.setattr("torch.cuda.is_available", lambda: present)
    settle_missing_gpu()
    assert (ASKS_EACH_TIME in os.environ) == present


def test_a_run_on_a_machine_without_a_gpu_does_not_search_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ASKS_EACH_TIME, "1")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(tiny_run("fit", tmp_path, "--trainer.max_steps=1")) == 0
    assert ASKS_EACH_TIME not in os.environ


@pytest.fixture
def _a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


@pytest.mark.usefixtures("_a_mac")
@pytest.mark.parametrize("name", ["mps", "gpu"])
@pytest.mark.parametrize("command", ["fit", "test", "predict"])
def test_apples_gpu_is_refused(name: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(tiny_run(command, tmp_path, f"--trainer.accelerator={name}")) == 1
    message = capsys.readouterr().err
    assert f"--trainer.accelerator {name}: Apple's GPU (mps) has no float64" in message
    assert "Take --trainer.accelerator cpu" in message
    assert "Traceback" not in message


@pytest.mark.usefixtures("_a_mac")
def test_auto_takes_the_cpu_of_a_mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("lightning.pytorch.utilities.rank_zero_info", said.append)
    line = tiny_run("fit", tmp_path, "--trainer.accelerator=auto", "--trainer.max_steps=1")
    assert main(line) == 0
    assert said == [
        "Apple's GPU (mps) has no float64, in which metrics and filters are computed: this run takes the CPU."
    ]
    assert "accelerator: cpu" in (newest_run(tmp_path) / "config.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(("accelerator", "cuda"), [("auto", True), ("gpu", True), ("cpu", False), ("auto", False)])
def test_other_accelerators_stay_as_they_are(accelerator: str, cuda: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: cuda)
    monkeypatch.setattr("torch.cuda.is_available", lambda: cuda)
    trainer = SimpleNamespace(accelerator=accelerator, deterministic=None, benchmark=None, strategy="auto")
    config = SimpleNamespace(trainer=trainer, matmul_precision="highest")
    settle_devices(config)
    assert config.trainer.accelerator == accelerator


def test_devices_go_by_their_names() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match=r"'tensor' cannot be used here .*Choose auto, cpu, cuda or cuda:N"):
        choose_device("tensor")
    with pytest.raises(ValueError, match=r"'mps:0' cannot be used here \(Apple's GPU .*Choose auto or cpu"):
        choose_device("mps:0")


@pytest.mark.parametrize("strategy", ["fsdp", "deepspeed_stage_2", "lightning.pytorch.strategies.FSDPStrategy"])
def test_divided_weights_are_refused_with_the_reason(
    strategy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(tiny_run("fit", tmp_path, f"--trainer.strategy={strategy}")) == 1
    assert "every network here fits one card" in capsys.readouterr().err


def test_torchrun_says_how_many_machines_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = SimpleNamespace(deterministic=None, benchmark=None, accelerator="cpu", strategy="ddp", num_nodes=2)
    config = SimpleNamespace(trainer=trainer, matmul_precision="highest")
    settle_devices(config)
    assert trainer.num_nodes == 2
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "id")
    monkeypatch.setenv("GROUP_WORLD_SIZE", "1")
    settle_devices(config)
    assert trainer.num_nodes == 1
