"""Every metric by its short name: the function, its direction, and what each convention changes about it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

from torch import Tensor

from ivif.contracts import plugins
from ivif.metrics import functional
from ivif.metrics.functional.triplet import FusedMetric, Triplet, TripletMetric

Option = str | float | bool


@dataclass(frozen=True)
class MetricEntry:
    """One metric, of the suite or of an installed package.

    Attributes:
        title: Full name.
        function: Values (B,) of a `Triplet`, with the options of a convention.
        higher_is_better: Direction.
        conventions: Options of the function by convention, where that one differs from the function's defaults.
    """

    title: str
    function: Callable[..., Tensor]
    higher_is_better: bool = True
    conventions: Mapping[str, Mapping[str, Option]] = field(default_factory=dict)

    def __call__(self, triplet: Triplet, **options: Option) -> Tensor:
        """Values (B,) float64, one per image.

        Raises:
            ValueError: If the images are too small for it, or its function gives another number of values.
        """
        values = self.function(triplet, **options).double()
        if values.shape != triplet.fused.shape[:1]:
            raise ValueError(
                f"The metric '{self.title}' gives a tensor of shape {tuple(values.shape)} for {len(triplet.fused)} "
                f"images; it must be one value per image."
            )
        return values


class Metrics(Mapping[str, MetricEntry]):
    """Metrics by name: those given, in their order, then those of installed packages (entry points `ivif.metrics`).

    A package is imported when one of its metrics is looked up. A name that is given is never taken from a package.
    """

    def __init__(self, entries: Mapping[str, MetricEntry]) -> None:
        self._entries = entries

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self._entries, *plugins.installed(plugins.METRICS))))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in plugins.installed(plugins.METRICS)

    def __getitem__(self, name: str) -> MetricEntry:
        """A metric.

        Raises:
            KeyError: If there is none of this name.
            PluginError: If it comes from a package that cannot be used.
        """
        if name in self._entries or name not in self:
            return self._entries[name]
        entry = plugins.loaded(plugins.METRICS, name)
        if not (isinstance(entry, MetricEntry) and name.isidentifier()):
            raise plugins.PluginError(
                f"The entry point '{name}' of {plugins.METRICS} gives {entry!r}. It must be a `MetricEntry` of "
                f"ivif.metrics, and its name letters, digits and underscores."
            )
        return entry

    def nearest(self, name: str) -> list[str]:
        """Up to three names that look like this one, the nearest first."""
        plain = {known.casefold(): known for known in self}
        return [plain[key] for key in get_close_matches(name.casefold(), plain)]


def _ours(
    title: str,
    function: FusedMetric[...] | TripletMetric[...],
    higher_is_better: bool = True,
    **conventions: Mapping[str, Option],
) -> MetricEntry:
    return MetricEntry(title, function.of, higher_is_better, conventions)


METRICS: Final = Metrics(
    {
        "EN": _ours("entropy", functional.entropy),
        "SD": _ours("standard deviation", functional.standard_deviation),
        "SF": _ours("spatial frequency", functional.spatial_frequency, vifb={"divide_by": "image_size"}),
        "AG": _ours("average gradient", functional.average_gradient, vifb={"divide_by": "inner_size"}),
        "MI": _ours(
            "mutual information",
            functional.mutual_information,
            cddfuse={"base": "nats"},
            vifb={"base": "nats", "stretch": True},
        ),
        "SCD": _ours("sum of the correlations of differences", functional.sum_of_correlations_of_differences),
        "CC": _ours("correlation coefficient", functional.correlation_coefficient),
        "MSE": _ours("mean squared error", functional.mean_squared_error, False, ivif_zoo={"peak": 1.0}),
        "PSNR": _ours(
            "peak signal-to-noise ratio",
            functional.peak_signal_to_noise_ratio,
            cddfuse={"variant": "fused_peak"},
            vifb={"variant": "root"},
            ivif_zoo={"variant": "mixed_range"},
        ),
        "VIF": _ours(
            "visual information fidelity",
            functional.vif,
            mgfusion={"reduction": "mean"},
            ivif_zoo={"window": "zero_padded"},
        ),
        "Qabf": _ours("edge preservation (Xydeas-Petrovic)", functional.qabf),
        "SSIM": _ours(
            "structural similarity",
            functional.ssim,
            cddfuse={"window": "uniform", "data_range": 2.0},
            ivif_zoo={"data_range": 1.0},
        ),
        "MS_SSIM": _ours(
            "multi-scale structural similarity",
            functional.ms_ssim,
            ivif_zoo={"data_range": 1.0, "odd_sizes": "pad_zero"},
        ),
        "Qcv": _ours("Chen-Varshney metric", functional.qcv, False),
        "Qcb": _ours("Chen-Blum metric", functional.qcb, ivif_zoo={"variant": "half_frequency"}),
        "Qy": _ours("Yang metric", functional.qy, ivif_zoo={"variant": "summed_rows"}),
        "Nabf": _ours("edge artefacts", functional.nabf, False, ivif_zoo={"background_weight": 0.0}),
        "FMI": _ours("feature mutual information (pixels)", functional.feature_mutual_information),
        "NMI": _ours(
            "normalised mutual information",
            functional.normalized_mutual_information,
            ivif_zoo={"variant": "sources"},
        ),
        "CE": _ours("cross entropy", functional.cross_entropy, False, ivif_zoo={"variant": "sigmoid"}),
        "EI": _ours("edge intensity", functional.edge_intensity, ivif_zoo={"border": "zero"}),
    }
)
"""All metrics, in the order of tables."""


def with_direction(metric: str) -> str:
    """A metric's name with an arrow that points to better."""
    return f"{metric} {'↑' if METRICS[metric].higher_is_better else '↓'}"
