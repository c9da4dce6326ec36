"""A scheme as another package brings one: one file, with settings that `BilevelConfig` does not have."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any

from torch import Tensor

from ivif.bilevel import Backward, Objective, Progress, Solver, SolverConfig
from ivif.contracts import plugins


@dataclass(frozen=True, kw_only=True)
class TradeConfig(SolverConfig):
    """Its numbers.

    Args:
        share: Weight of F; f has the rest.
        name: For the log.
    """

    share: float
    name: str = "trade"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share < 1:
            raise ValueError(f"bilevel.options.share is {self.share}; it must lie between 0 and 1.")


class TradeSolver(Solver):
    """One weighted sum, as `joint`."""

    config_class = TradeConfig
    config: TradeConfig

    def _iterate(self, batch: Any, backward: Backward, progress: Progress) -> dict[str, Tensor]:
        lower, upper, share = self.problem.lower, self.problem.upper, self.config.share
        objective = Objective([(upper, share), (lower, 1 - share)], [lower, upper])
        values = self.problem.descent.descend(objective, batch, backward)
        return {f"{self.config.name}_loss": values[0]}


def installed(group: str) -> Mapping[str, EntryPoint]:
    """What `ivif.contracts.plugins.installed` finds where this scheme, and one that is none, are installed."""
    if group != plugins.SCHEMES:
        return {}
    values = {"trade": f"{__name__}:TradeSolver", "odd": f"{__name__}:TradeConfig", "lost": f"{__name__}:Nothing"}
    return {name: EntryPoint(name, value, group) for name, value in values.items()}
