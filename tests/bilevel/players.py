"""A fusion network and a detector small enough to check every gradient of a scheme by hand."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ivif.bilevel import BilevelConfig, Descent, Level, Problem, Progress, Solver, build_solver
from ivif.bilevel.level import copy_values


def _network(seed: int, channels: int) -> nn.Sequential:
    generator_state = torch.get_rng_state()
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1))
    torch.set_rng_state(generator_state)
    return network


@dataclass
class Players:
    """Two levels (and a third) over two networks; remembers every gradient that a step saw.

    `frozen` is a parameter of the detector that never requires a gradient.
    """

    rate: float = 0.05
    fusion: nn.Sequential = field(default_factory=lambda: _network(0, 2))
    detector: nn.Sequential = field(default_factory=lambda: _network(1, 1))
    steps: list[tuple[str, dict[str, list[Tensor | None]]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.value = deepcopy(self.fusion)
        self.frozen: Tensor = self.detector.get_parameter("0.bias")
        self.frozen.requires_grad_(False)
        self.modules = {"lower": self.fusion, "upper": self.detector, "value": self.value}

    def lower_loss(self, batch: Tensor, network: nn.Module | None = None) -> Tensor:
        """f: the fused image is the mean of both sources."""
        target = batch.mean(dim=1, keepdim=True)[..., 1:-1, 1:-1]
        loss: Tensor = ((network or self.fusion)(batch) - target).square().mean()
        return loss

    def upper_loss(self, batch: Tensor) -> Tensor:
        """F: the detector finds 0.3 everywhere."""
        loss: Tensor = (self.detector(self.fusion(batch)) - 0.3).square().mean()
        return loss

    def problem(self) -> Problem:
        """The levels, each with plain gradient descent."""
        lower, upper = self._level("lower", self.lower_loss), self._level("upper", self.upper_loss)
        value = self._level("value", lambda batch: self.lower_loss(batch, self.value))
        return Problem(
            upper,
            lower,
            value,
            synchronise=lambda: copy_values(self.fusion.parameters(), self.value.parameters()),
            descent=Descent([lower, upper, value], split=lambda batch, parts: batch.chunk(parts)),
        )

    def solver(self, config: BilevelConfig) -> Solver:
        """A scheme over these players."""
        return build_solver(self.problem(), config)

    def run(self, solver: Solver, iterations: int, start: int = 0, total: int = 10) -> list[dict[str, Tensor]]:
        """Some iterations on batches that depend on their number alone; two of them make an epoch."""
        return [
            solver.step(make_batch(number), torch.autograd.backward, Progress(number // 2, number, number / total))
            for number in range(start, start + iterations)
        ]

    def state(self) -> dict[str, Tensor]:
        """Every weight and statistic, copied."""
        return {
            f"{name}.{key}": value.clone()
            for name, module in self.modules.items()
            for key, value in module.state_dict().items()
        }

    def _level(self, name: str, loss: Callable[[Tensor], Tensor]) -> Level:
        parameters = [parameter for parameter in self.modules[name].parameters() if parameter.requires_grad]
        optimizer = torch.optim.SGD(parameters, self.rate)

        def step() -> None:
            seen = {
                level: [None if p.grad is None else p.grad.clone() for p in module.parameters()]
                for level, module in self.modules.items()
            }
            self.steps.append((name, seen))
            optimizer.step()

        return Level(name, parameters, loss, step, optimizer.zero_grad, self.modules[name], size=len)


def make_batch(number: int, count: int = 4) -> Tensor:
    """(count, 2, 8, 8), the same for the same number."""
    return torch.rand(count, 2, 8, 8, generator=torch.Generator().manual_seed(number))
