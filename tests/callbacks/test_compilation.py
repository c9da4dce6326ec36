"""Compiled networks give the same loss, gradients and checkpoints; what cannot be compiled says so."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from lightning import LightningModule
from torch import Tensor, nn

from ivif.bilevel import BilevelConfig
from ivif.callbacks.compilation import Compilation, compilable_parts
from ivif.lightning_modules.mgfusion import MGFusionTask
from ivif.lightning_modules.text_to_pixels import TextToPixelsTask
from ivif.models.mgfusion import MGFusionConfig, MGFusionNetwork
from ivif.models.promptfusion import PromptFusionConfig, PromptFusionNetwork
from ivif.models.text_to_pixels import TextToPixelsConfig, TextToPixelsNetwork
from ivif.testing.batches import MadeData, quiet_trainer

TOLERANCE = 1e-8
"""Of loss and gradients in float64, relative to the largest. Compiled sums are taken in another order, which batch
normalisation of a few pixels can enlarge: in float32 the same networks differ by up to 0.2 %."""


class _Holder(LightningModule):
    """Has a network, as tasks do."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def networks(self) -> list[nn.Module]:
        return [self.network]


def _mgfusion(network: nn.Module, infrared: Tensor, visible: Tensor) -> Tensor:
    fused: Tensor = network(
        infrared, visible.expand(-1, 3, -1, -1), *(torch.full((2, 8), 0.1 * n, dtype=torch.float64) for n in (1, 2))
    )
    return fused.square().mean()


def _text_to_pixels(network: nn.Module, infrared: Tensor, visible: Tensor) -> Tensor:
    output = network(infrared, visible, torch.linspace(-1, 1, 2 * 3 * 16, dtype=torch.float64).view(2, 3, 16))
    loss: Tensor = output.fused.square().mean() + output.codebook_loss
    return loss


def _promptfusion(network: nn.Module, infrared: Tensor, visible: Tensor) -> Tensor:
    output = network(infrared, visible)
    loss: Tensor = output.fused.square().mean() + output.infrared.detail.square().mean()
    return loss


def _small_text_to_pixels() -> TextToPixelsNetwork:
    config = TextToPixelsConfig(4, (1,), 8, 16, 2, blocks=1, codebook_entries=8, decoder_channels=(8,))
    return TextToPixelsNetwork(config, 16)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[..., Tensor]]] = {
    "mgfusion": (lambda: MGFusionNetwork(MGFusionConfig(8, 1, 2), 8), _mgfusion),
    "text_to_pixels": (_small_text_to_pixels, _text_to_pixels),
    "promptfusion": (
        lambda: PromptFusionNetwork(PromptFusionConfig(8, 1, 2, detail_channels=(8, 8, 8, 8))),
        _promptfusion,
    ),
}


def _gradients(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


@pytest.mark.slow  # half a minute to three: the compiler itself
@pytest.mark.parametrize("name", NETWORKS)
def test_compiled_equals_plain(name: str, tmp_path: Path) -> None:
    build, loss_of = NETWORKS[name]
    torch.manual_seed(0)
    plain = _Holder(build()).double().train()
    compiled = deepcopy(plain)
    Compilation(enabled=True).setup(quiet_trainer(tmp_path), compiled, "fit")
    for size in ((32, 32), (32, 48), (48, 32)):  # the second size makes a graph for any
        infrared, visible = torch.rand(2, 2, 1, *size, dtype=torch.float64).unbind()
        losses = []
        for holder in (plain, compiled):
            holder.zero_grad()
            losses.append(loss_of(holder.network, infrared, visible))
            torch.autograd.backward(losses[-1])
        torch.testing.assert_close(losses[1], losses[0], rtol=TOLERANCE, atol=TOLERANCE)
        expected, found = _gradients(plain), _gradients(compiled)
        assert list(found) == list(expected)
        largest = max(gradient.abs().max() for gradient in expected.values())
        for key, gradient in found.items():
            assert (gradient - expected[key]).abs().max() <= TOLERANCE * largest, key
    assert list(compiled.state_dict()) == list(plain.state_dict())


def _task() -> MGFusionTask:
    torch.manual_seed(0)
    return MGFusionTask(network=MGFusionConfig(8, 1, 2, use_cii=False, use_cff=False))


def test_every_network_of_a_task_is_taken_apart() -> None:
    plain = _task()
    assert list(compilable_parts(plain)) == list(plain.network.children())
    scheme, network = BilevelConfig(scheme="value_function"), _small_text_to_pixels().config
    task = TextToPixelsTask(clip=None, network=network, classes=["person"], bilevel=scheme)
    assert task.value_network is not None
    assert task.teacher is not None
    networks = (task.network, task.value_network, task.teacher.network)
    assert list(compilable_parts(task)) == [part for network in networks for part in network.children()]


def test_it_is_off_unless_asked_for_and_refuses_a_task_without_network(tmp_path: Path) -> None:
    task = _task()
    Compilation().setup(quiet_trainer(tmp_path), task, "fit")
    assert task.network.decoder._compiled_call_impl is None
    holder = _Holder(nn.Identity())
    with pytest.raises(ValueError, match=r"_Holder has no fusion network .*--compilation.enabled false"):
        Compilation(enabled=True).setup(quiet_trainer(tmp_path), holder, "fit")


@pytest.mark.parametrize("mode", ["reduce-overhead", "max-autotune", "fastest"])
def test_modes_that_record_cuda_graphs_are_refused(mode: str) -> None:
    with pytest.raises(ValueError, match=f"--compilation.mode {mode}: it can be default or max-autotune-no-cudagraphs"):
        Compilation(enabled=True, mode=mode)
    assert Compilation(enabled=True, mode="max-autotune-no-cudagraphs").mode == "max-autotune-no-cudagraphs"
    Compilation(mode=mode)


def test_validation_runs_as_written_and_checkpoints_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[bool, bool]] = []

    def compile_nothing(self: nn.Module, **_: object) -> None:
        self.register_forward_pre_hook(
            lambda module, _: calls.append((module.training, torch._dynamo.eval_frame._stance.stance == "default"))
        )

    monkeypatch.setattr(nn.Module, "compile", compile_nothing)
    task = _task()
    trainer = quiet_trainer(tmp_path, callbacks=[Compilation(enabled=True)], max_epochs=2)
    trainer.fit(task, MadeData())
    assert set(calls) == {(True, True), (False, False)}
    trainer.save_checkpoint(tmp_path / "compiled.ckpt")
    MGFusionTask.load_from_checkpoint(tmp_path / "compiled.ckpt", weights_only=True)
