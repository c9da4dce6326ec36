"""Pure fusion metrics: images (B, 1, H, W) with grey levels 0..255 in, one value per image (B,) out.

Every function takes floating point tensors on any device; half precision is promoted to float32. `function.of(triplet)`
takes a `Triplet` instead, so that several metrics share their intermediate results.
"""

from metrics.functional.edges import nabf, qabf
from metrics.functional.fidelity import vif
from metrics.functional.fmi import feature_mutual_information
from metrics.functional.formula_images import FORMULA_FUSIONS, formula_triplet
from metrics.functional.gradient import average_gradient, edge_intensity, spatial_frequency
from metrics.functional.information import cross_entropy, entropy, mutual_information, normalized_mutual_information
from metrics.functional.perceptual import qcb, qcv
from metrics.functional.similarity import ms_ssim, ssim
from metrics.functional.statistics import (
    correlation_coefficient,
    mean_squared_error,
    peak_signal_to_noise_ratio,
    standard_deviation,
    sum_of_correlations_of_differences,
)
from metrics.functional.triplet import Triplet
from metrics.functional.yang import qy

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
