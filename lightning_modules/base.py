"""What every fusion task shares: any image size, colour, logging, optimisation, refusals."""

from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Final

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from datamodules.datasets.batch import Batch, StepOutput, pair_names
from datamodules.seeds import run_seed
from image_ops.color import luma, recolor, split_luma_chroma
from lightning_modules.configuration import plain_dict
from lightning_modules.finite import FiniteStepsMixin
from lightning_modules.imagined import Use, imagined, undisturbed
from lightning_modules.logged_steps import logs_this_step
from lightning_modules.optimization import AdamConfig, WarmupDecayConfig
from lightning_modules.training_memory import (
    ALLOCATOR_BYTES,
    ALLOCATOR_SHARE,
    PROBE_SIDE,
    Arithmetic,
    compute_blocks_again,
    probe,
    synchronises_statistics,
    use_of,
)
from models.layers.frozen import FrozenPartsMixin

TASK_KEY: Final = "task"
"""Where a checkpoint names the class of its task."""

DIAGNOSTICS_KEY: Final = "diagnostics"
"""Where a checkpoint keeps a task's diagnostics."""


class FusionTask(FrozenPartsMixin, FiniteStepsMixin):
    """Batch in; named losses in training, `StepOutput` in validation, test and predict.

    A method implements `fuse_images` (its network) and `losses` (its terms), and sets `loss_weights`. Fusion works on
    luma, and colour is the visible image's chroma, unless the network fuses RGB. Frozen parts stay outside
    checkpoints (`models.layers.frozen`).

    Args:
        optimizer: Adam's numbers.
        schedule: Learning rate over the run.
    """

    needs_weights: ClassVar[bool] = True
    """Whether `test` and `predict` refuse to run without a checkpoint."""

    scores_detection: ClassVar[bool] = False
    """Whether the task's outputs hold detections, so that mAP is scored (and prompts must not tell the labels)."""

    loss_weights: Mapping[str, float]
    """Weight of each term that `losses` returns."""

    def __init__(self, optimizer: AdamConfig, schedule: WarmupDecayConfig) -> None:
        super().__init__()
        self.optimizer_config = optimizer
        self.schedule_config = schedule
        self.diagnostics: dict[str, Tensor] = {}
        self._names: list[str] = []

    def store_hyperparameters(self, **values: Any) -> None:
        """Stores constructor arguments as plain values, so that a task built in Python saves a loadable checkpoint."""
        self.save_hyperparameters(plain_dict(values), logger=False)

    @abstractmethod
    def fuse_images(self, batch: Batch) -> Tensor:
        """The method's network: fused luma (B, 1, H, W) or RGB (B, 3, H, W), in [0, 1], at the pair's own size."""

    @abstractmethod
    def losses(self, fused: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Unweighted scalar terms by name; their names are the keys of `loss_weights`."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Names the task, so that a checkpoint says how to rebuild it, and keeps what is still to be logged."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[TASK_KEY] = f"{type(self).__module__}.{type(self).__qualname__}"
        checkpoint[DIAGNOSTICS_KEY] = {name: torch.as_tensor(value).cpu() for name, value in self.diagnostics.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the diagnostics over: some are noted every so many steps, and logged with every row until then."""
        super().on_load_checkpoint(checkpoint)
        self.diagnostics = dict(checkpoint.get(DIAGNOSTICS_KEY, {}))

    def estimate_memory(
        self, size: tuple[int, int, int], training: bool, half: bool = False, recompute: bool = False
    ) -> int | None:
        """Bytes that a step needs beside the weights, or None where that is not known.

        Args:
            size: (pairs, height, width) of its batch.
            training: Whether it is a training step, else one of evaluation.
            half: Whether it runs under bfloat16 autocast; else as the trainer is set.
            recompute: Whether blocks are computed again in the backward pass; else as the network is set.
        """
        if synchronises_statistics(self):
            return None
        plugin = self.trainer.precision_plugin
        arithmetic = partial(torch.autocast, self.device.type, torch.bfloat16) if half else plugin.forward_context
        with torch.inference_mode(False), undisturbed(self):
            self.train(training)
            self.prepare_probe()
            if recompute:
                compute_blocks_again(self)
            small = plugin.convert_input(probe(1, PROBE_SIDE, PROBE_SIDE, self.device, self.probe_planes()))
            with imagined():
                use = (self.training_use if training else self.inference_use)(small, size, arithmetic)
        trained = sum(own.nbytes for own in self.parameters() if own.requires_grad) if training else 0
        pairs, height, width = size
        inputs = pairs * height * width * 4 * (4 + sum(self.probe_planes().values()))
        # Gradients are part of the peak; Adam has two moments.
        return round(ALLOCATOR_SHARE * (inputs + use.peak)) + 2 * trained + ALLOCATOR_BYTES

    def probe_planes(self) -> dict[str, int]:
        """Planes that batches have beside both pictures, and their channels."""
        return {}

    def prepare_probe(self) -> None:
        """Sets attributes aside that would act beyond a probe; all of them come back after it."""
        self.refuse_non_finite = _nothing  # type: ignore[method-assign, assignment]

    def training_use(self, small: Batch, size: tuple[int, int, int], arithmetic: Arithmetic) -> Use:
        """What a training step holds.

        Args:
            small: A batch that costs little.
            size: (pairs, height, width) of the batch that is meant.
            arithmetic: Precision.
        """
        return use_of(self._weighted_losses, small, size, arithmetic, self)

    def inference_use(self, small: Batch, size: tuple[int, int, int], arithmetic: Arithmetic) -> Use:
        """What a step of evaluation holds, as `training_use`."""
        return use_of(partial(FusionTask.fuse, self), small, size, arithmetic)

    def fuse(self, batch: Batch) -> StepOutput:
        """Fuses a batch, and gives a fused luma the visible image's colour."""
        fused = self.fuse_images(batch).float().clamp(0, 1)
        if fused.shape[1] == 3:
            return {"fused": fused, "fused_luma": luma(fused)}
        _, chroma = split_luma_chroma(batch["visible"])
        return {"fused": recolor(fused, chroma), "fused_luma": fused}

    def forward(self, batch: Batch) -> StepOutput:
        """Same as `fuse`."""
        return self.fuse(batch)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seeds dropout and noise by seed and position, not by history: a resumed step draws the same numbers."""
        place = (self.current_epoch * 100_003 + batch_idx) * 1_009 + self.global_rank
        seed = (run_seed() * 1_000_000_000_039 + place) % 2**63
        self.remember_buffers()
        # Not torch.manual_seed: for each kind of device that is not in use it formats the call stack, 0.4 ms a step.
        torch.default_generator.manual_seed(seed)
        if self.device.type != "cpu":
            torch.get_device_module(self.device).manual_seed(seed)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """One step of the weighted sum of the terms; without gradient where the batch is left out (`on_non_finite`)."""
        self._names = pair_names(batch)
        loss: Tensor | None = self.unless_skipped(lambda: self._training_loss(batch))
        return self.no_loss() if loss is None else loss

    def _weighted_losses(self, batch: Batch) -> Tensor:
        return self._sum(self.losses(self.fuse_images(batch), batch))

    def _sum(self, terms: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([self.loss_weights[name] * term for name, term in terms.items()]).sum()

    def _training_loss(self, batch: Batch) -> Tensor:
        terms = self.losses(self.fuse_images(batch), batch)
        loss = self._sum(terms)
        self.refuse_non_finite(loss, terms, self._names)
        self._log_terms(loss, terms)
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Makes no step along a gradient that is no number; a bilevel task looks at its levels itself.

        Raises:
            NonFiniteLossError: As `refuse_non_finite_gradients`.
        """
        if not self.automatic_optimization:
            return
        parameters = [own for group in optimizer.param_groups for own in group["params"]]
        if not self.may_step(parameters, self._names):
            for parameter in parameters:
                parameter.grad = None

    def on_validation_start(self) -> None:
        """Gives every process the statistics (BatchNorm's buffers) of the first, so that all evaluate one network.

        Under DDP each process has its own between two training steps.
        """
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            for buffer in self.buffers():
                torch.distributed.broadcast(buffer, 0)

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> StepOutput:
        """Fuses; the Evaluator callback scores."""
        return self.fuse(batch)

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> StepOutput:
        """Fuses; the Evaluator callback scores."""
        return self.fuse(batch)

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> StepOutput:
        """Fuses; the PredictionWriter callback saves."""
        return self.fuse(batch)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam over the trainable parameters, with the schedule stepped after every step.

        Raises:
            ValueError: If there is nothing to train, or the run's length is not known.
        """
        if not any(parameter.requires_grad for parameter in self.parameters()):
            raise ValueError(f"{type(self).__name__} is a fixed rule: there is nothing to fit. Use test or predict.")
        optimizer = self.optimizer_config.build(self.parameters(), self.schedule_config.peak)
        if self.trainer.max_epochs == -1 and self.trainer.max_steps == -1:
            raise ValueError("The learning-rate schedule needs the run's length: set trainer.max_epochs or max_steps.")
        scheduler = self.schedule_config.build(optimizer, lambda: int(self.trainer.estimated_stepping_batches))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step", "name": "train/learning_rate"},
        }

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips by the task's own number when it has one, else by the trainer's (the command line refuses both)."""
        own = self.optimizer_config.gradient_clip
        self.clip_gradients(optimizer, own or gradient_clip_val, gradient_clip_algorithm)

    def _log_terms(self, loss: Tensor, terms: Mapping[str, Tensor]) -> None:
        if logs_this_step(self.trainer):
            self.log("train/loss", loss.detach(), prog_bar=True)
            self.log_dict({f"train/{name}": term.detach() for name, term in terms.items()})


def _nothing(*_: Any) -> None:
    """In place of a look at values, of which a probe has none."""
