"""PromptFusion as a task: who trains in which phase, prompts, resuming anywhere, checkpoints."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from ivif.bilevel import BilevelConfig, LevelLoss
from ivif.callbacks.run_checkpoint import RunCheckpoint
from ivif.contracts.batch import Batch, Targets
from ivif.datamodules.configuration import LoadingConfig, TransformConfig
from ivif.datamodules.synthetic import SyntheticDataModule
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.detector_training import DetectorTrainingConfig
from ivif.lightning_modules.level_batch import CropConfig, LevelBatch
from ivif.lightning_modules.non_finite import SKIPPED
from ivif.lightning_modules.optimization import AdamConfig, LevelConfig
from ivif.lightning_modules.prompt_learning import GuidanceConfig, PromptLearner, PromptsConfig, RefinementConfig
from ivif.lightning_modules.promptfusion import PromptFusionTask
from ivif.lightning_modules.promptfusion_config import PhaseConfig, PromptFusionLoss
from ivif.models.detection import DetectorConfig
from ivif.models.layers.frozen import FrozenPartMismatchError
from ivif.models.promptfusion import PromptFusionConfig
from ivif.testing import ProcessTests, TaskTests
from ivif.testing.batches import make_batch, quiet_trainer

TINY = PromptFusionConfig(channels=4, blocks=1, heads=2, detail_channels=(4, 4, 4, 4))
TWO_EACH = PhaseConfig(autoencoder=2, prompts=2, fusion=0, detector=2, bilevel=4)
"""Ten steps: phases begin at 0, 2, 4 and 6; with one round of half the phase, refinement at 8."""

GROUPS = {
    "encoder": "network.encoder.",
    "decoder": "network.decoder.",
    "fuse": "network.detail_fusion.",
    "value": "value_network.",
    "detector": "part.detector.",
    "prompts": "learner.prompts.",
    "teacher": "teacher.network.",
}


def _prompts(**changes: Any) -> PromptsConfig:
    options: dict[str, Any] = {"clip": "random-tiny", "length": 4, "refinement": RefinementConfig(1, 0.5)}
    return PromptsConfig(**(options | changes))


def _task(**changes: Any) -> PromptFusionTask:
    torch.manual_seed(5)
    options: dict[str, Any] = {
        "network": TINY,
        "prompts": _prompts(),
        "phases": TWO_EACH,
        "detector": DetectorConfig("yolov5n", image_size=None),
        "training": DetectorTrainingConfig(average_ramp=4.0),
        "bilevel": BilevelConfig(unit="step", lower_steps=1, value_steps=1),
        "crops": CropConfig(32, 1),
        "classes": SyntheticDataModule().classes,
    }
    return PromptFusionTask(**(options | changes))


def _data() -> SyntheticDataModule:
    return SyntheticDataModule(
        train_length=4,
        evaluation_length=1,
        size=(64, 64),
        loading=LoadingConfig(batch_size=2, num_workers=0),
        transforms=TransformConfig(crop=None, resize=(64, 64), flip=True, rotate90=False),
    )


def _fit(folder: Path, task: PromptFusionTask, resume: Path | None = None, **options: Any) -> Trainer:
    settings: dict[str, Any] = {"max_epochs": -1, "max_steps": 10, "limit_val_batches": 0}
    trainer = quiet_trainer(folder, **(settings | options))
    trainer.fit(task, _data(), ckpt_path=resume, weights_only=True)
    return trainer


def _frames(count: int = 2, size: tuple[int, int] = (64, 64)) -> Batch:
    batch = make_batch(count, size)
    targets: list[Targets] = [
        {"boxes": torch.tensor([[8.0, 8, 40, 56]]), "labels": torch.tensor([0])},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
    ]
    batch["targets"] = targets[:count]
    return batch


class _Changes(Callback):
    """Which groups of weights each step changed, the step's phase and its terms."""

    def __init__(self) -> None:
        self.changed: list[set[str]] = []
        self.phases: list[str] = []
        self.terms: list[set[str]] = []
        self.before: dict[str, Tensor] = {}

    def _state(self, task: LightningModule) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in task.named_parameters()}

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self.before = self._state(pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, PromptFusionTask)
        after = self._state(pl_module)
        moved = {name for name, value in after.items() if not torch.equal(value, self.before[name])}
        self.changed.append({group for group, start in GROUPS.items() if any(n.startswith(start) for n in moved)})
        self.phases.append(pl_module._phase.name)
        self.terms.append({name.removeprefix("train/") for name in pl_module._terms if not name.endswith("/loss")})


UNREFINED = _prompts(refinement=RefinementConfig(0))


class TestTask(TaskTests, ProcessTests):
    not_always_reached = ("part.detector.",)  # the box branch of a scale that no object is assigned to

    def task(self) -> PromptFusionTask:
        return _task()

    def steady_task(self) -> PromptFusionTask:
        """Phases of fusion alone: for others each process draws examples of its own."""
        phases = PhaseConfig(autoencoder=1, prompts=0, fusion=1, bilevel=0)
        return _task(phases=phases, prompts=UNREFINED, detector=None, classes=None, crops=CropConfig(None))

    @pytest.mark.slow
    def test_two_processes_end_as_one_on_the_joined_batch(self, tmp_path: Path) -> None:
        super().test_two_processes_end_as_one_on_the_joined_batch(tmp_path)

    def batch(self, count: int = 2, size: tuple[int, int] = (64, 64)) -> Batch:
        return _frames(count, size)

    def data(self) -> SyntheticDataModule:
        return _data()

    def loss(self, task: FusionTask, batch: Batch) -> Tensor:
        """Of all levels, in the phase that fusion is trained in; prompts learn by examples."""
        assert isinstance(task, PromptFusionTask)
        assert task.learner is not None
        task._phase = task.phases.at(0.7)
        seen = task.level_batch(batch)
        positives, negatives = task.learner.examples(seen.crops)
        crops = {**seen.crops, "positives": positives, "negatives": negatives}
        seen = LevelBatch(seen.frames, crops)  # type: ignore[arg-type]
        return torch.stack([task.level_loss(level, seen).value for level in task.level_modules()]).sum()


@pytest.mark.slow
class TestLevelsInProcesses(ProcessTests):
    def steady_task(self) -> PromptFusionTask:
        phases = PhaseConfig(autoencoder=0, prompts=0, fusion=0, detector=1, bilevel=1)
        return _task(phases=phases, prompts=UNREFINED, crops=CropConfig(None))


def test_each_phase_trains_its_own_parts_and_nothing_else(tmp_path: Path) -> None:
    seen = _Changes()
    _fit(tmp_path, _task(), callbacks=[seen])
    assert seen.phases == ["autoencoder"] * 2 + ["prompts"] * 2 + ["detector"] * 2 + ["bilevel"] * 4
    assert seen.changed[:2] == [{"encoder", "decoder"}] * 2
    assert seen.changed[2:4] == [{"prompts"}] * 2
    assert seen.changed[4:6] == [{"detector"}] * 2
    assert seen.changed[6] == {"encoder", "decoder", "fuse", "value", "detector", "teacher"}
    assert seen.changed[7] == {"encoder", "decoder", "fuse", "value", "detector"}
    assert seen.changed[8:] == [{"prompts"}] * 2
    reconstruction = {"lower/ssim", "lower/squared", "lower/sobel", "lower/decomposition"}
    fusion = {
        f"{level}/{t}" for level in ("lower", "value") for t in ("intensity", "gradient", "decomposition", "prompt")
    }
    assert seen.terms[0] == reconstruction
    assert seen.terms[2] == {"prompts/classification"}
    assert fusion < seen.terms[6]
    assert seen.terms[8] == {"prompts/ranking"}


def test_without_a_detector_the_last_phase_is_fusion(tmp_path: Path) -> None:
    seen = _Changes()
    _fit(tmp_path, _task(detector=None, classes=None), callbacks=[seen])
    assert set(seen.phases) == {"autoencoder", "prompts", "fusion"}
    assert seen.changed[-1] == {"prompts"}
    assert {"encoder", "decoder", "fuse"} in seen.changed


def test_without_prompts_no_clip_is_built(tmp_path: Path) -> None:
    task = _task(prompts=None)
    seen = _Changes()
    _fit(tmp_path, task, callbacks=[seen])
    assert set(seen.phases) == {"autoencoder", "detector", "bilevel"}
    assert task.learner is None
    assert task.teacher is None
    assert not any("prompt" in term for terms in seen.terms for term in terms)


def test_prompts_are_in_exactly_one_optimiser(tmp_path: Path) -> None:
    task = _task()
    trainer = _fit(tmp_path, task, max_steps=1)
    assert task.learner is not None
    for vector in (task.learner.prompts.positive, task.learner.prompts.negative):
        owners = [o for o in trainer.optimizers for g in o.param_groups if any(p is vector for p in g["params"])]
        assert len(owners) == 1
    counted = [id(p) for optimizer in trainer.optimizers for group in optimizer.param_groups for p in group["params"]]
    trained = [id(p) for p in task.parameters() if p.requires_grad]
    assert sorted(counted) == sorted(trained)


def test_swapping_the_prompts_turns_the_gradient_of_fusion() -> None:
    learner = PromptLearner(_prompts(guidance=GuidanceConfig("prob")))
    crops, fused = make_batch(2, (32, 32)), torch.rand(2, 1, 32, 32).requires_grad_()
    prompts = learner.prompts
    with torch.no_grad():
        prompts.negative.add_(0.1 * torch.randn_like(prompts.negative))
    (gradient,) = torch.autograd.grad(learner.guidance_loss(fused, crops), fused)
    with torch.no_grad():
        positive = prompts.positive.clone()
        prompts.positive.copy_(prompts.negative)
        prompts.negative.copy_(positive)
    (swapped,) = torch.autograd.grad(learner.guidance_loss(fused, crops), fused)
    assert gradient.abs().max() > 0
    torch.testing.assert_close(swapped, -gradient)  # p_neg (1 - p_neg) is the same on both sides


def test_guidance_reaches_the_network_and_no_prompt() -> None:
    task = _task(phases=PhaseConfig(only="fusion"))
    torch.autograd.backward(task.level_loss("lower", task.level_batch(_frames())).value)
    assert task.learner is not None
    assert task.learner.prompts.positive.grad is None
    with_prompts = [p.grad.clone() for p in task.network.parameters() if p.grad is not None]
    plain = _task(phases=PhaseConfig(only="fusion"), prompts=_prompts(guidance=GuidanceConfig(weight=0.0)))
    torch.manual_seed(0)
    batch = plain.level_batch(_frames())
    plain.network.zero_grad()
    torch.autograd.backward(plain.level_loss("lower", batch).value)
    task.network.zero_grad()
    torch.autograd.backward(task.level_loss("lower", batch).value)
    pairs = zip(task.network.parameters(), plain.network.parameters(), strict=True)
    assert len(with_prompts) == len(list(task.network.parameters()))
    assert any(not torch.equal(a.grad, b.grad) for a, b in pairs if a.grad is not None and b.grad is not None)


def test_the_loss_is_the_weighted_sum_of_its_terms() -> None:
    task = _task(
        loss=PromptFusionLoss(intensity=3.0, gradient=0.0, decomposition=0.5), phases=PhaseConfig(only="fusion")
    )
    loss = task.level_loss("lower", task.level_batch(_frames()))
    expected = 3 * loss.terms["intensity"] + 0.5 * loss.terms["decomposition"]
    torch.testing.assert_close(loss.value.detach(), expected + 0.1 * loss.terms["prompt"])


def test_each_part_of_the_network_is_clipped_on_its_own(tmp_path: Path) -> None:
    norms: list[float] = []

    class _Task(PromptFusionTask):
        def after_step(self, level: str) -> None:
            super().after_step(level)
            for part in self.clipped_parts("lower") if level == "lower" else ():
                grads = [p.grad.norm() for p in part.parameters() if p.grad is not None]
                norms.append(torch.stack(grads).norm().item())

    clipped = LevelConfig(optimizer=AdamConfig(gradient_clip=1e-4))
    task = _Task(TINY, prompts=None, phases=PhaseConfig(only="fusion"), detector=None, lower=clipped)
    _fit(tmp_path, task, max_steps=1)
    assert norms == pytest.approx([1e-4] * 4, rel=1e-2)


def test_learning_rates_follow_the_phases_that_train_a_level() -> None:
    task = _task()
    at = {
        step: {level: task.level_fraction(level, step / 10) for level in ("lower", "upper", "prompts")}
        for step in range(11)
    }
    assert at[1]["lower"] == pytest.approx(1 / 6)
    assert at[5]["lower"] == pytest.approx(2 / 6)  # stands still while prompts and detector train
    assert at[4]["upper"] == 0.0
    assert at[6]["upper"] == pytest.approx(2 / 6)
    assert at[3]["prompts"] == pytest.approx(1 / 6)
    assert all(at[10][level] == pytest.approx(1.0) for level in at[10])


class _StopError(Exception):
    """Stands for whatever ends a process."""


class _StopAfter(Callback):
    """Ends a run one step after the one whose checkpoint is wanted: it is written before the next batch."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.step + 1:
            raise _StopError


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    task = _task()
    checkpoint = RunCheckpoint(every_n_train_steps=1)
    _fit(tmp_path_factory.mktemp("complete"), task, callbacks=[checkpoint], enable_checkpointing=True)
    return {name: value.clone() for name, value in task.state_dict().items()}


@pytest.mark.parametrize("step", [1, *(pytest.param(step, marks=pytest.mark.slow) for step in (2, 3, 4, 7, 8)), 6])
def test_resumed_in_any_phase_and_at_every_change_equals_undisturbed(
    step: int, complete: dict[str, Tensor], tmp_path: Path
) -> None:
    callbacks = [_StopAfter(step), RunCheckpoint(every_n_train_steps=1)]
    with pytest.raises(_StopError):
        _fit(tmp_path / "stopped", _task(), callbacks=callbacks, enable_checkpointing=True)
    resumed = _task()
    checkpoint = tmp_path / "stopped" / "checkpoints" / "last.ckpt"
    _fit(tmp_path / "again", resumed, checkpoint, callbacks=[RunCheckpoint()], enable_checkpointing=True)
    state = resumed.state_dict()
    assert set(state) == set(complete)
    assert [name for name, value in complete.items() if not torch.equal(value, state[name])] == []


def test_a_checkpoint_rebuilds_its_task_and_needs_no_prompts_to_fuse(tmp_path: Path) -> None:
    task = _task()
    trainer = _fit(tmp_path, task)
    trainer.save_checkpoint(tmp_path / "task.ckpt")
    again = PromptFusionTask.load_from_checkpoint(tmp_path / "task.ckpt", weights_only=True).eval()
    without = PromptFusionTask.load_from_checkpoint(tmp_path / "task.ckpt", weights_only=True, prompts=None).eval()
    assert task.learner is not None
    assert again.learner is not None
    assert torch.equal(task.learner.prompts.positive, again.learner.prompts.positive)
    fused = task.eval().fuse(_frames())["fused"]
    assert torch.equal(fused, again.fuse(_frames())["fused"])
    assert torch.equal(fused, without.fuse(_frames())["fused"])
    stored = torch.load(tmp_path / "task.ckpt", weights_only=True)
    assert {name for name in stored["state_dict"] if name.startswith("learner")} == {
        "learner.gap",
        "learner.gap_batches",
        "learner.prompts.positive",
        "learner.prompts.negative",
    }


def test_training_goes_on_with_its_own_encoder_only(tmp_path: Path) -> None:
    trainer = _fit(tmp_path, _task(), max_steps=2)
    trainer.save_checkpoint(tmp_path / "task.ckpt")
    other = _task(prompts=_prompts(clip={"architecture": "tiny", "pretrained": "random", "precision": "bf16"}))
    with pytest.raises(FrozenPartMismatchError, match=r"learner\.prompts\.encoder"):
        _fit(tmp_path, other, tmp_path / "task.ckpt")


def test_bfloat16_trains_every_phase(tmp_path: Path) -> None:
    task, seen = _task(), _Changes()
    _fit(tmp_path, task, precision="bf16-mixed", callbacks=[seen])
    assert all(torch.isfinite(value).all() for value in task.state_dict().values())
    assert set().union(*seen.changed) == set(GROUPS)


NETWORK = {"encoder", "decoder", "fuse"}


@pytest.mark.parametrize(
    ("scheme", "first", "last"),
    [
        ("separate", NETWORK, {"detector"}),
        ("joint", NETWORK | {"detector"}, NETWORK | {"detector"}),
        ("alternate", NETWORK | {"detector"}, NETWORK | {"detector"}),
        ("rank1", NETWORK | {"detector"}, NETWORK | {"detector"}),
    ],
)
def test_every_scheme_trains_the_last_phase(scheme: str, first: set[str], last: set[str], tmp_path: Path) -> None:
    bilevel = BilevelConfig(scheme=scheme, unit="step", lower_steps=1)
    task = _task(bilevel=bilevel, phases=PhaseConfig(only="bilevel"), prompts=_prompts(refinement=RefinementConfig(0)))
    seen = _Changes()
    _fit(tmp_path, task, callbacks=[seen], max_steps=4)
    assert seen.changed[0] == first
    assert seen.changed[-1] == last


@pytest.mark.parametrize(
    ("phases", "scheme", "refined"),
    [
        (PhaseConfig(0, 0, 6, 2, 0), "joint", [3, 4, 5]),  # fusion is the last phase of the network
        (PhaseConfig(0, 0, 2, 0, 6), "joint", [5, 6, 7]),
        (PhaseConfig(0, 0, 0, 0, 8), "separate", []),  # in its second half fusion stands still
    ],
)
def test_prompts_follow_fusion_and_nothing_else(
    phases: PhaseConfig, scheme: str, refined: list[int], tmp_path: Path
) -> None:
    task, seen = _task(phases=phases, bilevel=BilevelConfig(scheme=scheme, unit="step", lower_steps=1)), _Changes()
    _fit(tmp_path, task, callbacks=[seen], max_steps=8)
    assert [step for step, changed in enumerate(seen.changed) if "prompts" in changed] == refined


def test_what_a_phase_has_measured_is_not_logged_in_the_next(tmp_path: Path) -> None:
    task, seen = _task(), _Diagnostics()
    _fit(tmp_path, task, callbacks=[seen])
    assert ["prompts/accuracy" in names for names in seen.names] == [False] * 2 + [True] * 2 + [False] * 4 + [True] * 2


class _Diagnostics(Callback):
    def __init__(self) -> None:
        self.names: list[set[str]] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, PromptFusionTask)
        self.names.append(set(pl_module.diagnostics))


def test_batches_left_out_are_counted_over_all_phases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    level_loss = PromptFusionTask.level_loss

    def poisoned(self: PromptFusionTask, level: str, batch: Any) -> LevelLoss:
        loss = level_loss(self, level, batch)
        return replace(loss, value=loss.value * torch.inf) if self.global_step in (1, 4) else loss

    monkeypatch.setattr(PromptFusionTask, "level_loss", poisoned)
    task = _task()
    task.on_non_finite = "skip"
    _fit(tmp_path, task)
    assert float(task.diagnostics[SKIPPED]) == 2  # the second one is the first batch of a phase


def test_a_run_without_an_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Phases are shares of a run"):
        _fit(tmp_path, _task(), max_steps=-1, max_epochs=-1)


@pytest.mark.parametrize("change", [{"ssim": -1.0}, {"gradient": -0.1}])
def test_negative_weights_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        PromptFusionLoss(**change)
