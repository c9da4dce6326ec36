"""What a task does about losses and gradients that are no numbers: stop, or leave the batch out and count it."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from lightning import LightningModule
from torch import Tensor, nn

from ivif.bilevel.level_loss import LevelLoss
from ivif.files.errors import NotFiniteError
from ivif.running.internals import trainer_of

logger = logging.getLogger(__name__)

SKIPPED: Final = "skipped_batches"
"""Name of the count among a task's diagnostics."""

OVERFLOWED: Final = "overflowed_steps"
"""Name of the count of steps that float16's scaler left out, among a task's diagnostics."""

OnNonFinite = Literal["stop", "skip"]


class NonFiniteLossError(NotFiniteError, RuntimeError):
    """A loss or a gradient became NaN or infinite; names the term, the level, the step and the pairs."""


class SkippedBatchError(Exception):
    """A batch is left out, on every process alike; never leaves the training step."""


@dataclass(frozen=True)
class _SeenLoss:
    """A loss whose value has not been looked at yet."""

    loss: LevelLoss
    pairs: Sequence[str]
    level: str


class FiniteStepsMixin(LightningModule):
    """Keeps what is no number away from weights.

    With `on_non_finite = "stop"` the run ends with a message. With `"skip"` the batch is left out: weights stay as they
    are, buffers (BatchNorm's statistics, codebooks) go back to what they were before it, and it is counted in
    `diagnostics`. Where several levels step on one batch, what a level did before the failing one stays done. All
    processes of a run leave out the same batches.
    """

    on_non_finite: OnNonFinite = "stop"
    """What to do; the command line sets it (`--on_non_finite`)."""

    skips_allowed: int = 10
    """How many batches in a row may be left out before the run ends all the same."""

    diagnostics: dict[str, Tensor]

    def __init__(self) -> None:
        super().__init__()
        self._skipped_in_a_row = 0
        self._skipped_now = False
        self._kept_since_step = 0
        self._before: list[tuple[Tensor, Tensor]] = []
        self._unseen: list[_SeenLoss] = []

    def remember_buffers(self) -> None:
        """Keeps what a batch that is left out must not change; call it before each batch."""
        self._skipped_in_a_row = self._skipped_in_a_row + 1 if self._skipped_now else 0
        self._skipped_now = False
        self._unseen = []
        if self.on_non_finite == "skip":
            self.diagnostics.setdefault(SKIPPED, torch.tensor(0.0))
            self._before = [(buffer, buffer.clone()) for buffer in self.buffers()]

    def note_loss(self, loss: LevelLoss, pairs: Sequence[str], level: str = "") -> None:
        """Keeps a loss to be looked at by `may_step`: each look makes the processor wait for the device.

        Args:
            loss: Detached.
            pairs: Names of the batch's pairs.
            level: Which level of a bilevel scheme, where there is one.
        """
        self._unseen.append(_SeenLoss(loss, pairs, level))

    def refuse_non_finite(self) -> None:
        """Looks at the losses that were noted.

        Raises:
            NonFiniteLossError: If one is NaN or infinite, here or on another process: one that went on alone would wait
                for the others' gradients.
            SkippedBatchError: If one is, and such batches are left out.
        """
        if self._unseen:
            self._refuse_losses(torch.stack([seen.loss.value.float() for seen in self._unseen]).tolist())

    def may_step(self, parameters: Mapping[str, Sequence[nn.Parameter]], pairs: Sequence[str]) -> list[str]:
        """Looks at the noted losses and at gradients just before a step; returns the levels that may step.

        Under float16 the scaler leaves out steps itself, as it must to find its factor; when that has fallen below 1,
        the factor was not the reason. Processes hold the same gradients, so they decide alike.

        Args:
            parameters: What the step would change, by level ("" where there are none).
            pairs: Names of the batch's pairs.

        Raises:
            NonFiniteLossError: If a loss or gradient is NaN or infinite, and such batches are not left out.
            SkippedBatchError: If a loss is, and such batches are left out.
        """
        gradients = {level: [own.grad for own in group if own.grad is not None] for level, group in parameters.items()}
        gradients = {level: group for level, group in gradients.items() if group}
        # What torch's `get_total_norm` calls; the public function around it sorts by device first, 0.1 ms a step.
        norms = [torch.stack(torch._foreach_norm(group)).sum() for group in gradients.values()]
        numbers = [seen.loss.value for seen in self._unseen] + norms
        if not numbers:
            return []
        read = torch.stack([number.float() for number in numbers]).tolist()  # the one word from the device
        if self._unseen:
            self._refuse_losses(read[: len(self._unseen)])
        finite = dict(zip(gradients, map(math.isfinite, read[-len(norms) :] if norms else []), strict=True))
        return [level for level in gradients if finite[level] or self._tolerable(level, gradients[level], pairs)]

    def _refuse_losses(self, values: Sequence[float]) -> None:
        unseen, self._unseen = self._unseen, []
        bad = next((seen for seen, value in zip(unseen, values, strict=True) if not math.isfinite(value)), None)
        if not self._anywhere(bad is None):
            return
        seen = bad or unseen[0]
        terms = ", ".join(f"{name}={term.item():g}" for name, term in seen.loss.terms.items())
        where = f"({terms}) for the pairs {', '.join(seen.pairs)}" if bad else "on another process"
        what = f"The {f'{seen.level} level' if seen.level else 'training'} loss is not finite"
        self._report(f"{what} at step {self.global_step} {where}.", seen.level, bad is None)
        raise SkippedBatchError

    def _tolerable(self, level: str, gradients: Sequence[Tensor], pairs: Sequence[str]) -> bool:
        """Whether a gradient whose norm is no number may still be used."""
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        if scaler is not None and scaler.get_scale() >= 1:
            return True
        stepped = {id(gradient) for gradient in gradients}
        broken = [
            name
            for name, own in self.named_parameters()  # looked up here only: walking a network takes a millisecond
            if own.grad is not None and id(own.grad) in stepped and not torch.isfinite(own.grad).all()
        ]
        if not broken:
            return True  # every value is a number, only their squares leave the range: clipping is for that
        more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
        self._report(
            f"The {f'{level} level' if level else 'training'} gradient is not finite at step {self.global_step} for "
            f"{', '.join(broken[:3])}{more}, with the pairs {', '.join(pairs)}.",
            level,
            finite=False,
        )
        return False

    def unless_skipped(self, step: Callable[[], Any]) -> Any:
        """What a step returns, or None if its batch is left out."""
        try:
            result = step()
        except SkippedBatchError:
            return None
        self._kept_since_step += 1
        return result

    def no_loss(self) -> Tensor:
        """A loss of zero that every parameter is part of: DDP waits for each, Lightning takes no step without one."""
        return torch.stack([own.reshape(-1)[:1].sum() for own in self.parameters() if own.requires_grad]).sum() * 0.0

    def kept_any(self) -> bool:
        """Whether a batch has been kept since the last call.

        Of accumulated batches, those that were left out add nothing, and the others make the step; without any, none is
        made.
        """
        kept, self._kept_since_step = self._kept_since_step, 0
        return kept > 0

    def note_overflow(self, level: str = "") -> None:
        """Counts a step that float16's scaler left out."""
        name = f"{level}/{OVERFLOWED}" if level else OVERFLOWED
        self.diagnostics[name] = self.diagnostics.get(name, torch.tensor(0.0)) + 1

    def _anywhere(self, finite: bool) -> bool:
        """Whether the batch must be refused, by this process or another."""
        trainer = trainer_of(self)
        if trainer is None or trainer.world_size == 1:
            return not finite
        return bool(trainer.strategy.reduce_boolean_decision(not finite, all=False))

    def _report(self, problem: str, level: str, finite: bool) -> None:
        where = f"{level}." if level else ""
        remedy = (
            f"Lower {where}schedule.peak, set {where}optimizer.gradient_clip (for instance 1.0), or train in float32; "
            f"--on_non_finite skip leaves such batches out. The last checkpoint is untouched."
        )
        if self.on_non_finite == "stop":
            raise NonFiniteLossError(f"{problem} {remedy}")
        if self._skipped_in_a_row >= self.skips_allowed:
            raise NonFiniteLossError(f"{problem} {self.skips_allowed} batches before it were left out. {remedy}")
        if not finite:
            logger.warning("%s The batch is left out.", problem)
        if not self._skipped_now:
            self.diagnostics[SKIPPED] = self.diagnostics[SKIPPED] + 1
        self._skipped_now = True
        with torch.no_grad():
            for buffer, before in self._before:
                buffer.copy_(before)
