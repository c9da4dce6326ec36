"""One `torchmetrics.Metric` per fusion metric, for use in a `MetricCollection` or as a single monitor."""

from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from ivif.metrics.conventions import suite
from ivif.metrics.functional.triplet import Triplet
from ivif.metrics.preparation import grey_levels
from ivif.metrics.registry import METRICS


class SingleMetric(Metric):
    """The mean of one metric over images, undefined values left out. `FusionMetrics` computes several for less.

    A repeated image counts twice here; where processes share a data set, use `FusionMetrics`.

    Args:
        convention: Name of a convention in `ivif.metrics.conventions.CONVENTIONS`.
        eight_bit: Whether images are scored as the 8-bit files that they would be saved as.
        **kwargs: Options of `torchmetrics.Metric`.

    Example:
        >>> from ivif.metrics.functional import formula_triplet
        >>> metric = Qabf()
        >>> metric.update(*(image / 255 for image in formula_triplet("average")))
        >>> round(metric.compute().item(), 4)
        0.3979
    """

    metric: ClassVar[str] = ""
    is_differentiable = False
    full_state_update = False

    total: Tensor
    defined: Tensor
    undefined: Tensor

    def __init__(self, convention: str = "standard", eight_bit: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.convention = suite(convention)
        self.eight_bit = eight_bit
        self.add_state("total", default=torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("defined", default=torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("undefined", default=torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Takes the direction from the registry."""
        super().__init_subclass__(**kwargs)
        cls.higher_is_better = METRICS[cls.metric].higher_is_better

    def update(self, fused: Tensor, infrared: Tensor, visible: Tensor) -> None:
        """Scores a batch.

        Args:
            fused: (B, 1 or 3, H, W) in [0, 1].
            infrared: (B, 1 or 3, H, W) in [0, 1].
            visible: (B, 1 or 3, H, W) in [0, 1].
        """
        with torch.no_grad():
            triplet = Triplet(*(grey_levels(image, self.eight_bit) for image in (fused, infrared, visible)))
            values = self.convention.score(triplet, [self.metric])[self.metric]
        defined = torch.isfinite(values)
        self.total += values[defined].sum()
        self.defined += defined.sum()
        self.undefined += (~defined).sum()

    def compute(self) -> Tensor:
        """The mean, NaN if it is undefined for every image."""
        return self.total / self.defined


class Entropy(SingleMetric):
    """EN: see `ivif.metrics.functional.entropy`."""

    metric = "EN"


class StandardDeviation(SingleMetric):
    """SD: see `ivif.metrics.functional.standard_deviation`."""

    metric = "SD"


class SpatialFrequency(SingleMetric):
    """SF: see `ivif.metrics.functional.spatial_frequency`."""

    metric = "SF"


class AverageGradient(SingleMetric):
    """AG: see `ivif.metrics.functional.average_gradient`."""

    metric = "AG"


class MutualInformation(SingleMetric):
    """MI: see `ivif.metrics.functional.mutual_information`."""

    metric = "MI"


class SumOfCorrelationsOfDifferences(SingleMetric):
    """SCD: see `ivif.metrics.functional.sum_of_correlations_of_differences`."""

    metric = "SCD"


class CorrelationCoefficient(SingleMetric):
    """CC: see `ivif.metrics.functional.correlation_coefficient`."""

    metric = "CC"


class MeanSquaredError(SingleMetric):
    """MSE: see `ivif.metrics.functional.mean_squared_error`."""

    metric = "MSE"


class PeakSignalToNoiseRatio(SingleMetric):
    """PSNR: see `ivif.metrics.functional.peak_signal_to_noise_ratio`."""

    metric = "PSNR"


class VisualInformationFidelity(SingleMetric):
    """VIF: see `ivif.metrics.functional.vif`."""

    metric = "VIF"


class Qabf(SingleMetric):
    """Qabf: see `ivif.metrics.functional.qabf`."""

    metric = "Qabf"


class StructuralSimilarity(SingleMetric):
    """SSIM: see `ivif.metrics.functional.ssim`."""

    metric = "SSIM"


class MultiScaleStructuralSimilarity(SingleMetric):
    """MS_SSIM: see `ivif.metrics.functional.ms_ssim`."""

    metric = "MS_SSIM"


class Qcv(SingleMetric):
    """Qcv: see `ivif.metrics.functional.qcv`."""

    metric = "Qcv"


class Qcb(SingleMetric):
    """Qcb: see `ivif.metrics.functional.qcb`."""

    metric = "Qcb"


class Qy(SingleMetric):
    """Qy: see `ivif.metrics.functional.qy`."""

    metric = "Qy"


class Nabf(SingleMetric):
    """Nabf: see `ivif.metrics.functional.nabf`."""

    metric = "Nabf"


class FeatureMutualInformation(SingleMetric):
    """FMI: see `ivif.metrics.functional.feature_mutual_information`."""

    metric = "FMI"


class NormalizedMutualInformation(SingleMetric):
    """NMI: see `ivif.metrics.functional.normalized_mutual_information`."""

    metric = "NMI"


class CrossEntropy(SingleMetric):
    """CE: see `ivif.metrics.functional.cross_entropy`."""

    metric = "CE"


class EdgeIntensity(SingleMetric):
    """EI: see `ivif.metrics.functional.edge_intensity`."""

    metric = "EI"
