"""What every fusion task shares: any image size, colour, logging, optimisation, refusals."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from ivif.bilevel.level_loss import LevelLoss, detached
from ivif.contracts.batch import Batch, StepOutput, pair_names
from ivif.contracts.configuration import plain_dict
from ivif.contracts.seeds import run_seed
from ivif.contracts.trained_pictures import TRAINED_KEY, TrainedPictures
from ivif.lightning_modules.accumulation import Window
from ivif.lightning_modules.declaration import Declaration
from ivif.lightning_modules.memory_estimate import MemoryEstimateMixin
from ivif.lightning_modules.non_finite import FiniteStepsMixin
from ivif.lightning_modules.optimization import AdamConfig, WarmupDecayConfig
from ivif.lightning_modules.text_states import remember_prompts
from ivif.lightning_modules.tiles import TilesMixin
from ivif.machine.process_group import broadcast_first, divisor, gather_objects, total_count
from ivif.models.layers.frozen import FrozenPartsMixin
from ivif.running.logged_steps import logs_this_step

TASK_KEY: Final = "task"
"""Where a checkpoint names the class of its task."""

DIAGNOSTICS_KEY: Final = "diagnostics"
"""Where a checkpoint keeps a task's diagnostics."""


class FusionTask(FrozenPartsMixin, TilesMixin, MemoryEstimateMixin, FiniteStepsMixin, Declaration):
    """Batch in; named losses in training, `StepOutput` in validation, test and predict.

    A method implements `fuse_images` (its network) and `losses` (its terms), and sets `loss_weights`. Fusion works on
    luma, and colour is the visible image's chroma, unless the network fuses RGB. Frozen parts stay outside
    checkpoints (`ivif.models.layers.frozen`). What else a run must know of a method it declares (`Declaration`).

    Args:
        optimizer: Adam's numbers.
        schedule: Learning rate over the run.

    Attributes:
        trained_pictures: What its weights have learnt from; under DDP this process's share, until a checkpoint is made.
    """

    loss_weights: Mapping[str, float]
    """Weight of each term that `losses` returns."""

    def __init__(self, optimizer: AdamConfig, schedule: WarmupDecayConfig) -> None:
        super().__init__()
        self.optimizer_config = optimizer
        self.schedule_config = schedule
        self.diagnostics: dict[str, Tensor] = {}
        self.trained_pictures = TrainedPictures()
        self._names: list[str] = []
        self._window = Window()
        self._stepped = False

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
        """Names the task, so that a checkpoint says how to rebuild it; keeps what is to be logged, and the pictures."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[TASK_KEY] = f"{type(self).__module__}.{type(self).__qualname__}"
        checkpoint[DIAGNOSTICS_KEY] = {name: torch.as_tensor(value).cpu() for name, value in self.diagnostics.items()}
        for others in gather_objects(self.trained_pictures):
            self.trained_pictures.add(others)
        checkpoint[TRAINED_KEY] = self.trained_pictures.entry()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the diagnostics over: some are noted every so many steps, and logged with every row until then."""
        super().on_load_checkpoint(checkpoint)
        self.diagnostics = dict(checkpoint.get(DIAGNOSTICS_KEY, {}))
        self.trained_pictures = TrainedPictures.read(checkpoint)

    def learnt_from(self) -> TrainedPictures:
        """The pictures that its own weights, and those of a trained fusion within it, have learnt from."""
        found = TrainedPictures()
        for task in (part for part in self.modules() if isinstance(part, FusionTask)):
            found.add(task.trained_pictures)
        return found

    def fuse(self, batch: Batch) -> StepOutput:
        """What a step of evaluation gives: the picture, and with a detector what it finds."""
        return self.picture(batch)

    def picture(self, batch: Batch) -> StepOutput:
        """Fuses a batch, and gives a fused luma the visible image's colour."""
        return self.coloured(self.fuse_by_size(batch), batch["visible"])

    def efficiency(self, size: tuple[int, int]) -> dict[str, float | str]:
        """What fusing a picture of (width, height) costs where the task is: columns of a table."""
        from ivif.lightning_modules.efficiency import measure  # brings the counter, which is rarely asked for

        return measure(self, self.picture, size, self.device).row()

    def forward(self, batch: Batch) -> StepOutput:
        """Same as `fuse`."""
        return self.fuse(batch)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seeds dropout and noise by seed and position, not by history: a resumed step draws the same numbers."""
        place = (self.current_epoch * 100_003 + batch_idx) * 1_009 + self.global_rank
        seed = (run_seed() * 1_000_000_000_039 + place) % 2**63
        self.remember_buffers()
        self.trained_pictures.note(batch)
        # Not torch.manual_seed: for each kind of device that is not in use it formats the call stack, 0.4 ms a step.
        torch.default_generator.manual_seed(seed)
        if self.device.type != "cpu":
            torch.get_device_module(self.device).manual_seed(seed)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """One step of the weighted sum of the terms; without gradient where the batch is left out (`on_non_finite`)."""
        self._names = pair_names(batch)
        loss: Tensor | None = self.unless_skipped(lambda: self._training_loss(batch))
        return self.no_loss() if loss is None else loss

    def batch_loss(self, batch: Batch) -> LevelLoss:
        """The weighted sum of the terms; with a count where numerators of several batches are to be joined."""
        terms = self.losses(self.fuse_images(batch), batch)
        loss = torch.stack([self.loss_weights[name] * term for name, term in terms.items()]).sum()
        return LevelLoss(loss, terms={name: term.detach() for name, term in terms.items()})

    def _training_loss(self, batch: Batch) -> Tensor:
        loss = self.batch_loss(batch)
        total = None if loss.count is None else total_count(loss.count)
        shown = detached(loss, None if total is None else divisor(total))
        self.note_loss(shown, self._names)
        if self.on_non_finite == "skip":
            self.refuse_non_finite()  # now: of accumulated batches only this one is to be left out
        self._log_terms(shown)
        return self._window.loss(loss.value, total, self.trainer.accumulate_grad_batches)

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Any,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """The step of the joined batch, where several are accumulated; then `after_step`, if a step was made.

        Not in `on_train_batch_end`: callbacks have saved their checkpoint by then, and it would lack an average's last
        update.
        """
        if not self.automatic_optimization:
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
            return

        def closure() -> Any:
            result = optimizer_closure() if optimizer_closure is not None else None
            self._window.finish(_parameters(optimizer))
            return result

        joins = self.trainer.accumulate_grad_batches > 1
        self._stepped = False
        super().optimizer_step(epoch, batch_idx, optimizer, closure if joins else optimizer_closure)
        if self._stepped:
            self.after_step("")
        elif _has_gradient(optimizer):
            self.note_overflow()

    def after_step(self, level: str) -> None:
        """Called after each step that an optimiser made: codebook statistics, moving averages.

        Args:
            level: Whose, in a task with levels; else "".
        """

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Makes no step along a loss or gradient that is no number; a bilevel task looks at its levels itself.

        Raises:
            NonFiniteLossError: As `may_step`.
        """
        if not self.automatic_optimization:
            return
        parameters = _parameters(optimizer)
        kept, allowed = self.kept_any(), self.may_step({"": parameters}, self._names)
        if not (kept and allowed):
            for parameter in parameters:
                parameter.grad = None

    def remember_prompts(self) -> None:
        """Encodes the prompts of the run's pairs before its first step, where the task reads any."""
        data = getattr(self.trainer, "datamodule", None)
        stages = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}
        running = str(self.trainer.state.fn and self.trainer.state.fn.value)
        remember_prompts(self, data, stages.get(running) or (getattr(data, "predict_stage", "test"),))

    def on_fit_start(self) -> None:
        """Has each optimiser tell when it makes a step: float16's scaler leaves some out."""
        self.remember_prompts()
        for optimizer in self.trainer.optimizers if self.automatic_optimization else []:
            optimizer.register_step_post_hook(self._note_step)

    def on_test_start(self) -> None:
        """See `remember_prompts`."""
        self.remember_prompts()

    def on_predict_start(self) -> None:
        """See `remember_prompts`."""
        self.remember_prompts()

    def on_validation_start(self) -> None:
        """Gives every process the statistics (BatchNorm's buffers) of the first, so that all evaluate one network.

        Under DDP each process has its own between two training steps.
        """
        if self.trainer.state.fn == "validate":
            self.remember_prompts()
        for buffer in self.buffers():
            broadcast_first(buffer)

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

    def check_trainer(self, accumulate: int, clip: float | None) -> None:
        """Refuses a second number to clip by.

        Raises:
            ValueError: Names the option, and what to give in its place.
        """
        if clip and (chosen := self.optimizer_config.gradient_clip):
            raise ValueError(
                f"--trainer.gradient_clip_val {clip}: {type(self).__name__} clips by its own number already "
                f"({chosen}). Set --model.optimizer.gradient_clip {clip} instead."
            )

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips by the task's own number when it has one, else by the trainer's (the command line refuses both)."""
        own = self.optimizer_config.gradient_clip
        self.clip_gradients(optimizer, own or gradient_clip_val, gradient_clip_algorithm)

    def _note_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        self._stepped = _has_gradient(optimizer)

    def _log_terms(self, loss: LevelLoss) -> None:
        if logs_this_step(self.trainer):
            self.log("train/loss", loss.value, prog_bar=True)
            self.log_dict({f"train/{name}": term for name, term in loss.terms.items()})


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [own for group in optimizer.param_groups for own in group["params"]]


def _has_gradient(optimizer: torch.optim.Optimizer) -> bool:
    return any(own.grad is not None for group in optimizer.param_groups for own in group["params"])
