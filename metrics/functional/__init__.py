"""Pure fusion metrics: images (B, 1, H, W) with grey levels 0..255 in, one value per image (B,) out.

Every function takes floating point tensors on any device; half precision is promoted to float32. `function.of(triplet)`
takes a `Triplet` instead, so that several metrics share their intermediate results.
"""

from ivif.metrics.functional.edges import nabf, qabf
from ivif.metrics.functional.fidelity import vif
from ivif.metrics.functional.fmi import feature_mutual_information
from ivif.metrics.functional.formula_images import FORMULA_FUSIONS, formula_triplet
from ivif.metrics.functional.gradient import average_gradient, edge_intensity, spatial_frequency
from ivif.metrics.functional.information import (
    cross_entropy,
    entropy,
    mutual_information,
    normalized_mutual_information,
)
from ivif.metrics.functional.perceptual import qcb, qcv
from ivif.metrics.functional.similarity import ms_ssim, ssim
from ivif.metrics.functional.statistics import (
    correlation_coefficient,
    mean_squared_error,
    peak_signal_to_noise_ratio,
    standard_deviation,
    sum_of_correlations_of_differences,
)
from ivif.metrics.functional.triplet import Triplet
from ivif.metrics.functional.yang import qy

__all__ = [
    "FORMULA_FUSIONS",
    "Triplet",
    "average_gradient",
    "correlation_coefficient",
    "cross_entropy",
    "edge_intensity",
    "entropy",
    "feature_mutual_information",
    "formula_triplet",
    "mean_squared_error",
    "ms_ssim",
    "mutual_information",
    "nabf",
    "normalized_mutual_information",
    "peak_signal_to_noise_ratio",
    "qabf",
    "qcb",
    "qcv",
    "qy",
    "spatial_frequency",
    "ssim",
    "standard_deviation",
    "sum_of_correlations_of_differences",
    "vif",
]
