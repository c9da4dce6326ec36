"""Batches whose gradients make one step of one optimiser: the step of their joined batch."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ivif.machine.process_group import divisor


class Window:
    """The batches that Lightning accumulates before a step (`trainer.accumulate_grad_batches`).

    Lightning divides each batch's loss by their planned number. A joined batch would divide by how many there are (the
    last of an epoch may be fewer, and some may be left out), and numerators of quotients by the sum of their counts.
    """

    def __init__(self) -> None:
        self._planned = 1
        self._batches = 0
        self._totals: list[Tensor] = []

    def loss(self, value: Tensor, total: Tensor | None, planned: int) -> Tensor:
        """What a batch's backward pass starts from.

        Args:
            value: Its loss, or a numerator where there is a total.
            total: Count that numerators are divided by in the end, of all processes.
            planned: Batches per step. Of one nothing is left for `finish`.
        """
        if planned == 1:
            return value if total is None else value / divisor(total)
        self._planned = planned
        self._batches += 1
        if total is None:
            return value
        self._totals.append(total)
        return value / divisor(self._totals[0])  # keeps gradients in their size, as float16 needs

    @torch.no_grad()
    def finish(self, parameters: Sequence[nn.Parameter]) -> None:
        """Makes the gradients that were gathered those of the joined batch; before they are clipped.

        Args:
            parameters: Of the optimiser that is about to step.
        """
        planned, batches, totals = self._planned, self._batches, self._totals
        self._batches, self._totals = 0, []
        if not batches or (batches == planned and not totals):
            return
        factor: float | Tensor = planned / batches
        if totals:
            factor = planned * divisor(totals[0]) / divisor(torch.stack(totals).sum())
        gradients = [own.grad for own in parameters if own.grad is not None]
        if gradients:
            torch._foreach_mul_(gradients, factor)
