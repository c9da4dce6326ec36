from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import LightningModule
from torch import Tensor, nn

from ivif.models.layers.frozen import (
    FROZEN_PARTS_KEY,
    CheckpointMismatchError,
    FrozenModule,
    FrozenPartMismatchError,
    FrozenPartsMixin,
    freeze,
    frozen_parts,
    strip_frozen,
)


class Encoder(FrozenModule):
    def __init__(self, name: str = "clip-a@1") -> None:
        super().__init__()
        self.name = name
        self.layers = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
        freeze(self)

    @property
    def identity(self) -> str:
        return self.name

    def forward(self, inputs: Tensor) -> Tensor:
        output: Tensor = self.layers(inputs)
        return output


class Task(FrozenPartsMixin, LightningModule):
    def __init__(self, name: str = "clip-a@1") -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
        self.encoder = Encoder(name)


def saved(task: Task) -> dict[str, Any]:
    checkpoint: dict[str, Any] = {"state_dict": task.state_dict()}
    task.on_save_checkpoint(checkpoint)
    return checkpoint


def test_frozen_parts_stay_in_eval_mode_and_pass_gradients() -> None:
    task = Task().train()
    assert task.network.training
    assert not any(module.training for module in task.encoder.modules())
    inputs = torch.rand(5, 4, requires_grad=True)
    before = task.encoder.layers[1].running_mean
    task.encoder(inputs).sum().backward()
    assert inputs.grad is not None
    assert inputs.grad.abs().sum() > 0
    assert torch.equal(task.encoder.layers[1].running_mean, before)  # type: ignore[arg-type]
    assert all(parameter.grad is None for parameter in task.encoder.parameters())


def test_checkpoints_hold_trained_parts_only_also_inside_a_parent() -> None:
    task = Task()
    trained = {f"network.{name}" for name in task.network.state_dict()}
    assert set(task.state_dict()) == trained
    assert set(nn.ModuleDict({"module": task}).state_dict()) == {f"module.{name}" for name in trained}
    assert list(frozen_parts(task)) == ["encoder"]
    assert strip_frozen({"clip.a": 1, "clipper.a": 2}, ["clip."]) == {"clipper.a": 2}


def test_loading_restores_trained_weights_and_leaves_the_encoder_alone() -> None:
    source, target = Task(), Task()
    before = target.encoder.layers[0].weight.clone()  # type: ignore[operator]
    # A checkpoint from elsewhere that does hold encoder weights must not overwrite the encoder.
    state = source.state_dict() | {f"encoder.{k}": v for k, v in source.encoder.state_dict().items()}
    target.load_state_dict(state)
    assert torch.equal(target.network[0].weight, source.network[0].weight)  # type: ignore[arg-type]
    assert torch.equal(target.encoder.layers[0].weight, before)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("lost", "added", "message"),
    [
        ("network.0.weight", None, r"does not fit Task: it lacks network.0.weight. Load"),
        (None, "network.7.bias", r"Task: it has unknown network.7.bias. Load it .* in its run folder"),
    ],
)
def test_lost_and_unknown_weights_are_named_and_nothing_changes(
    lost: str | None, added: str | None, message: str
) -> None:
    state, target = Task().state_dict(), Task()
    state.pop(lost or "", None)
    if added:
        state[added] = torch.zeros(1)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    with pytest.raises(CheckpointMismatchError, match=message):
        target.load_state_dict(state)
    assert all(torch.equal(before[name], value) for name, value in target.state_dict().items())
    assert target.load_state_dict(state, strict=False).missing_keys == ([lost] if lost else [])


def test_a_checkpoint_of_another_encoder_is_refused_with_both_names() -> None:
    checkpoint = saved(Task("ViT-B-32-quickgelu:openai@40d365715913"))
    assert checkpoint[FROZEN_PARTS_KEY] == {"encoder": "ViT-B-32-quickgelu:openai@40d365715913"}
    Task("ViT-B-32-quickgelu:openai@40d365715913").on_load_checkpoint(checkpoint)
    with pytest.raises(
        FrozenPartMismatchError, match=r"encoder = ViT-B-32-quickgelu:openai@40d.*encoder = random-tiny@1"
    ):
        Task("random-tiny@1").on_load_checkpoint(checkpoint)
    with pytest.raises(FrozenPartMismatchError, match=r"trained with no frozen encoder, but this run has encoder ="):
        Task().on_load_checkpoint({"state_dict": {}})


def test_lightning_loads_such_a_checkpoint_with_weights_only(tmp_path: Path) -> None:
    task = Task()
    checkpoint = saved(task) | {"pytorch-lightning_version": "2.6.0"}
    torch.save(checkpoint, tmp_path / "last.ckpt")
    loaded = Task.load_from_checkpoint(tmp_path / "last.ckpt", map_location="cpu", weights_only=True)
    assert torch.equal(loaded.network[0].weight, task.network[0].weight)  # type: ignore[arg-type]
    with pytest.raises(FrozenPartMismatchError, match=r"clip-a@1.*clip-b@2"):
        Task.load_from_checkpoint(tmp_path / "last.ckpt", weights_only=True, name="clip-b@2")


def test_an_encoder_without_identity_says_so() -> None:
    with pytest.raises(NotImplementedError, match=r"FrozenModule must define `identity`"):
        _ = FrozenModule().identity
