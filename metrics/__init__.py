"""Fusion metrics: pure functions, named conventions, and `torchmetrics` classes around them.

The classes are imported at their first use: torchmetrics takes seconds, and functions and tables need none of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ivif.metrics.conventions import CONVENTIONS, Convention, suite
from ivif.metrics.registry import METRICS, MetricEntry

if TYPE_CHECKING:
    from ivif.metrics.fusion import FusionMetric, FusionMetrics
else:

    def __getattr__(name: str) -> Any:
        if name in ("FusionMetric", "FusionMetrics"):
            return getattr(import_module("ivif.metrics.fusion"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["CONVENTIONS", "METRICS", "Convention", "FusionMetric", "FusionMetrics", "MetricEntry", "suite"]
