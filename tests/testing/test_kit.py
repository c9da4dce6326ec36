"""The inherited tests fail where a method is wrong; that they pass where it is right, each method's tests show."""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ivif.contracts.batch import Batch
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.mgfusion import MGFusionTask
from ivif.models.mgfusion import MGFusionConfig
from ivif.testing import ConfigurationTests, NetworkTests, TaskTests


class _Network(nn.Module):
    """A mean of both sources, with whatever fault a test asks for."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault
        self.share, self.unused = nn.Parameter(torch.tensor(0.5)), nn.Parameter(torch.tensor(0.5))
        self.unused.requires_grad_(fault == "a parameter without use")
        self.calls: Tensor
        self.register_buffer("calls", torch.tensor(0.0), persistent=fault != "a buffer that is not stored")

    def forward(self, infrared: Tensor, visible: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
        fused = torch.lerp(visible, infrared, self.share)
        if self.fault == "a size that is cut":
            return fused[..., : fused.shape[-2] // 2 * 2, :]
        if self.fault == "a batch that is normalised":
            return fused - fused.mean() + 0.5
        return fused + 0.1 * self.calls if self.fault == "a buffer that is not stored" else fused


class _NetworkTests(NetworkTests):
    def __init__(self, fault: str) -> None:
        self.fault = fault

    def network(self, **changes: Any) -> nn.Module:
        return _Network(self.fault)

    def inputs(self, count: int = 1, size: tuple[int, int] = (16, 24)) -> Sequence[Tensor]:
        return tuple(torch.rand(2, count, 1, *size, generator=torch.Generator().manual_seed(1)))

    def loss(self, network: nn.Module) -> Tensor:
        loss: Tensor = network(*self.inputs(2)).square().mean()
        return loss


CATCHES: dict[str, Callable[[_NetworkTests], None]] = {
    "a parameter without use": lambda tests: tests.test_a_gradient_reaches_every_parameter({}),
    "a size that is cut": lambda tests: tests.test_takes_any_size_and_stays_in_range({}, (1, 9)),
    "a batch that is normalised": lambda tests: tests.test_evaluates_each_pair_by_itself(),
    "a buffer that is not stored": lambda tests: tests.test_a_stored_state_gives_equal_pictures(),
}


@pytest.mark.parametrize("fault", CATCHES)
def test_a_fault_of_a_network_is_caught(fault: str) -> None:
    CATCHES[fault](_NetworkTests("none"))
    with pytest.raises(AssertionError):
        CATCHES[fault](_NetworkTests(fault))


class _Forgetful(MGFusionTask):
    """Reads an option that its checkpoints do not keep, and trains something that no loss sees."""

    def __init__(self, brightness: float = 0.0, **options: Any) -> None:
        super().__init__(clip="random-tiny", network=MGFusionConfig(8, 1, 2, use_cii=False, use_cff=False))
        self.brightness = brightness
        self.lost = nn.Parameter(torch.zeros(1))

    def fuse_images(self, batch: Batch) -> Tensor:
        return (super().fuse_images(batch) + self.brightness).clamp(0, 1)


class _ForgetfulTests(TaskTests):
    def task(self) -> FusionTask:
        torch.manual_seed(0)
        return _Forgetful(0.2)


def test_faults_of_a_task_are_caught(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="lost"):
        _ForgetfulTests().test_a_gradient_reaches_what_is_trained_and_nothing_else()
    with pytest.raises(AssertionError):
        _ForgetfulTests().test_a_checkpoint_alone_gives_equal_pictures(tmp_path)


def test_a_configuration_goes_before_those_that_change_it() -> None:
    class _Tests(ConfigurationTests):
        config = "mgfusion.yaml"

    first, *others = _Tests.combinations()
    assert first == ("mgfusion.yaml",)
    assert ("mgfusion.yaml", "mgfusion_cpu.yaml") in others
    assert ("mgfusion.yaml", "ablations/mgfusion_without_cii.yaml") in others


def test_without_pytest_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytest", None)
    monkeypatch.delitem(sys.modules, "ivif.testing")
    with pytest.raises(ModuleNotFoundError, match="python -m pip install pytest"):
        import_module("ivif.testing")
