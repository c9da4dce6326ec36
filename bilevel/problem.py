"""The problem that a solver solves: which level is above, which below, and how steps are made."""

from collections.abc import Callable
from dataclasses import dataclass, field

from ivif.bilevel.descent import Descent
from ivif.bilevel.level import Level


@dataclass
class Problem:
    """min over x and y of F(x, y), where y minimises f(x, .).

    Args:
        upper: x and F.
        lower: y and f(x, y).
        value: z, a second copy of y, and f(x, z); only the value-function scheme needs it.
        lower_sees_upper: Whether f depends on x. A fusion loss does not depend on the detector.
        synchronise: Makes z equal y.
        descent: How steps are made; the default knows nothing of parts and processes.
    """

    upper: Level
    lower: Level
    value: Level | None = None
    lower_sees_upper: bool = False
    synchronise: Callable[[], None] = field(default=lambda: None)
    descent: Descent = field(default_factory=lambda: Descent([]))

    def __post_init__(self) -> None:
        if not self.descent.levels:
            self.descent.levels = [self.lower, self.upper, *([self.value] if self.value else [])]
