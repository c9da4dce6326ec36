"""What a task does about losses and gradients that are no numbers: stop, or leave the batch out and count it."""

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import torch
from lightning import LightningModule
from torch import Tensor, nn

logger = logging.getLogger(__name__)

SKIPPED: Final = "skipped_batches"
"""Name of the count among a task's diagnostics."""

OnNonFinite = Literal["stop", "skip"]


class NonFiniteLossError(RuntimeError):
    """A loss or a gradient became NaN or infinite; names the term, the level, the step and the pairs."""


class SkippedBatchError(Exception):
    """A batch is left out, on every process alike; never leaves the training step."""


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

    def remember_buffers(self) -> None:
        """Keeps what a batch that is left out must not change; call it before each batch."""
        self._skipped_in_a_row = self._skipped_in_a_row + 1 if self._skipped_now else 0
        self._skipped_now = False
        if self.on_non_finite == "skip":
            self.diagnostics.setdefault(SKIPPED, torch.tensor(0.0))
            self._before = [(buffer, buffer.clone()) for buffer in self.buffers()]

    def refuse_non_finite(
        self, loss: Tensor, terms: Mapping[str, Tensor], pairs: Sequence[str], level: str = ""
    ) -> None:
        """Stops before a loss that is no number reaches a weight.

        Args:
            loss: The sum.
            terms: What it is the sum of.
            pairs: Names of the batch's pairs.
            level: Which level of a bilevel scheme, where there is one.

        Raises:
            NonFiniteLossError: If the loss is NaN or infinite, here or on another process: one that went on alone would
                wait for the others' gradients.
            SkippedBatchError: If it is, and such batches are left out.
        """
        finite = math.isfinite(loss.item())
        if not self._anywhere(finite):
            return
        values = ", ".join(f"{name}={term.item():g}" for name, term in terms.items())
        where = "on another process" if finite else f"({values}) for the pairs {', '.join(pairs)}"
        what = f"The {f'{level} level' if level else 'training'} loss is not finite"
        self._report(f"{what} at step {self.global_step} {where}.", level, finite)
        raise SkippedBatchError

    def refuse_non_finite_gradients(
        self, parameters: Iterable[nn.Parameter], pairs: Sequence[str], level: str = ""
    ) -> bool:
        """Looks at gradients just before a step; returns whether the step may be made.

        Under float16 the scaler leaves out such steps itself, as it must to find its factor; when that has fallen below
        1, the factor was not the reason. Processes hold the same gradients, so they decide alike.

        Args:
            parameters: What the step would change.
            pairs: Names of the batch's pairs.
            level: Which level of a bilevel scheme, where there is one.

        Raises:
            NonFiniteLossError: If a gradient is NaN or infinite, and such batches are not left out.
        """
        gradients = [own.grad for own in parameters if own.grad is not None]
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        if not gradients or (scaler is not None and scaler.get_scale() >= 1):
            return True
        # What torch's own clipping calls; the public function around it takes 0.05 ms more, here at every step.
        if math.isfinite(torch.stack(torch._foreach_norm(gradients)).sum().item()):
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

    def may_step(self, parameters: Iterable[nn.Parameter], pairs: Sequence[str]) -> bool:
        """Whether the step of a batch may be made: it was not left out, and its gradient is a number.

        Of accumulated batches, those that were left out add nothing, and the others make the step; without any, none is
        made.

        Raises:
            NonFiniteLossError: As `refuse_non_finite_gradients`.
        """
        kept, self._kept_since_step = self._kept_since_step, 0
        return kept > 0 and self.refuse_non_finite_gradients(parameters, pairs)

    def _anywhere(self, finite: bool) -> bool:
        """Whether the batch must be refused, by this process or another."""
        if self._trainer is None or self.trainer.world_size == 1:
            return not finite
        return bool(self.trainer.strategy.reduce_boolean_decision(not finite, all=False))

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
