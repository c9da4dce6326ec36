"""A metric in a package of its own."""

from torch import Tensor

from ivif.metrics import MetricEntry
from ivif.metrics.functional import Triplet


def darkness(triplet: Triplet) -> Tensor:
    """The share (B,) by which a fused image, in grey levels 0..255, falls short of white."""
    return 1 - triplet.fused.mean(dim=(1, 2, 3)) / 255


DARKNESS = MetricEntry("darkness", darkness, higher_is_better=False)
