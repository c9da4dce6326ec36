"""Every metric by its short name: the function, its direction, and what its options are called in a table."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ivif.metrics import functional
from ivif.metrics.functional.triplet import Triplet

Option = str | float | bool


@dataclass(frozen=True)
class MetricEntry:
    """One metric of the suite.

    Attributes:
        title: Full name.
        function: Values (B,) of a `Triplet`, with the options of a convention.
        higher_is_better: Direction.
    """

    title: str
    function: Callable[..., Tensor]
    higher_is_better: bool = True

    def __call__(self, triplet: Triplet, **options: Option) -> Tensor:
        """Values (B,) float64, one per image."""
        return self.function(triplet, **options).double()


METRICS: dict[str, MetricEntry] = {
    "EN": MetricEntry("entropy", functional.entropy.of),
    "SD": MetricEntry("standard deviation", functional.standard_deviation.of),
    "SF": MetricEntry("spatial frequency", functional.spatial_frequency.of),
    "AG": MetricEntry("average gradient", functional.average_gradient.of),
    "MI": MetricEntry("mutual information", functional.mutual_information.of),
    "SCD": MetricEntry("sum of the correlations of differences", functional.sum_of_correlations_of_differences.of),
    "CC": MetricEntry("correlation coefficient", functional.correlation_coefficient.of),
    "MSE": MetricEntry("mean squared error", functional.mean_squared_error.of, higher_is_better=False),
    "PSNR": MetricEntry("peak signal-to-noise ratio", functional.peak_signal_to_noise_ratio.of),
    "VIF": MetricEntry("visual information fidelity", functional.vif.of),
    "Qabf": MetricEntry("edge preservation (Xydeas-Petrovic)", functional.qabf.of),
    "SSIM": MetricEntry("structural similarity", functional.ssim.of),
    "MS_SSIM": MetricEntry("multi-scale structural similarity", functional.ms_ssim.of),
    "Qcv": MetricEntry("Chen-Varshney metric", functional.qcv.of, higher_is_better=False),
    "Qcb": MetricEntry("Chen-Blum metric", functional.qcb.of),
    "Qy": MetricEntry("Yang metric", functional.qy.of),
    "Nabf": MetricEntry("edge artefacts", functional.nabf.of, higher_is_better=False),
    "FMI": MetricEntry("feature mutual information (pixels)", functional.feature_mutual_information.of),
    "NMI": MetricEntry("normalised mutual information", functional.normalized_mutual_information.of),
    "CE": MetricEntry("cross entropy", functional.cross_entropy.of, higher_is_better=False),
    "EI": MetricEntry("edge intensity", functional.edge_intensity.of),
}
"""All metrics, in the order of tables."""
