"""What a command asks of a machine's devices."""

import os
from pathlib import Path

import pytest
import torch

from commands.cli import main
from commands.devices import choose_device, settle_missing_gpu
from tests.commands.runs import tiny_run

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


def test_devices_go_by_their_names() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match=r"'tensor' cannot be used here .*Choose auto, cpu, cuda or cuda:N"):
        choose_device("tensor")
