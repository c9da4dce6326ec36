"""Reference values of the formula triplets, and where the real ones lie.

The values come from the field's own code: CDDFuse's Evaluator in float64, IVIF_ZOO, and the released MATLAB functions.
"""

import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ivif.metrics import functional as F
from ivif.metrics.functional import Triplet
from tests.real_data import GOLDEN_TRIPLETS

NAN = float("nan")
ORDER = ("average", "maximum", "visible", "constant")


@dataclass(frozen=True)
class Golden:
    """One reference value per formula triplet (`ORDER`), and where it stands in the golden file."""

    section: str
    key: str
    function: Callable[..., Tensor]
    options: dict[str, Any]
    values: tuple[float, float, float, float]
    relative: float = 1e-4
    absolute: float = 1e-7

    def __call__(self, triplet: Triplet) -> Tensor:
        return self.function(triplet, **self.options)


C, E, D, Z = "cddfuse_float64", "extra", "derived", "ivif_zoo"
GOLDEN = (
    Golden(C, "EN", F.entropy.of, {}, (6.901871, 7.47227011, 7.46742672, -0.0)),
    Golden(C, "SD", F.standard_deviation.of, {}, (30.671796, 48.9307634, 49.6359837, 0.0)),
    Golden(C, "SF", F.spatial_frequency.of, {}, (6.88442462, 12.8682574, 13.4237689, 0.0)),
    Golden(
        D, "SF_vifb", F.spatial_frequency.of, {"divide_by": "image_size"}, (6.86897967, 12.8392878, 13.3935426, 0.0)
    ),
    Golden(C, "AG", F.average_gradient.of, {}, (4.47602447, 8.19908889, 8.78989591, 0.0)),
    Golden(D, "AG_vifb", F.average_gradient.of, {"divide_by": "inner_size"}, (4.51710409, 8.27433769, 8.87056696, 0.0)),
    Golden(C, "MI", F.mutual_information.of, {"base": "nats"}, (2.13158777, 5.20248924, 5.47943793, 0.0)),
    Golden(D, "MI_bits_sum", F.mutual_information.of, {}, (3.0752311, 7.50560542, 7.90515793, 0.0)),
    Golden(C, "SCD", F.sum_of_correlations_of_differences.of, {}, (1.39659637, 1.5903199, NAN, -0.000251725926)),
    Golden(C, "CC", F.correlation_coefficient.of, {}, (0.698383159, 0.602623729, 0.500062931, NAN)),
    Golden(C, "MSE", F.mean_squared_error.of, {}, (2256.22614, 4512.20268, 4512.20268, 4549.00956)),
    Golden(Z, "zEN", F.entropy.of, {}, (6.90184307, 7.47223949, 7.46739769, -1.71982634e-07), absolute=1e-6),
    Golden(Z, "zSD", F.standard_deviation.of, {}, (30.6717968, 48.9307632, 49.6359863, 0.0), absolute=1e-6),
    Golden(Z, "zSF", F.spatial_frequency.of, {}, (6.88442469, 12.8682575, 13.423769, 0.0), absolute=1e-6),
    Golden(Z, "zAG", F.average_gradient.of, {}, (4.47602463, 8.19908905, 8.78989506, 0.0), absolute=1e-6),
    Golden(Z, "zMI", F.mutual_information.of, {}, (3.0752311, 7.50560542, 7.90515793, -8.8817842e-16), absolute=1e-6),
    Golden(Z, "zCC", F.correlation_coefficient.of, {}, (0.698383212, 0.602623701, 0.500062943, NAN), absolute=1e-6),
    Golden(
        Z,
        "zSCD",
        F.sum_of_correlations_of_differences.of,
        {},
        (1.39659631, 1.59031987, NAN, -0.000251726422),
        absolute=1e-6,
    ),
    Golden(Z, "zQabf", F.qabf.of, {}, (0.397924662, 0.76359543, 0.813080259, 0.0440710812), absolute=1e-6),
    Golden(Z, "zMSE", F.mean_squared_error.of, {"peak": 1.0}, (0.0346978232, 0.0693918169, 0.0693918243, 0.0699578673)),
    Golden(
        C,
        "PSNR",
        F.peak_signal_to_noise_ratio.of,
        {"variant": "fused_peak"},
        (13.2353036, 11.3100531, 10.5766312, 5.5650309),
    ),
    Golden(
        Z,
        "zPSNR",
        F.peak_signal_to_noise_ratio.of,
        {"variant": "mixed_range"},
        (62.7277794, 59.71772, 59.71772, 59.6824341),
    ),
    Golden(C, "VIFF", F.vif.of, {}, (0.607336046, 0.897470584, 1.05018026, 0.0)),
    Golden(D, "VIFF_mean", F.vif.of, {"reduction": "mean"}, (0.303668023, 0.448735292, 0.525090129, 0.0)),
    Golden(Z, "zVIF", F.vif.of, {"window": "zero_padded"}, (0.669888496, 0.959645212, 1.0910244, 0.123086676)),
    Golden(C, "Qabf", F.qabf.of, {}, (0.397924654, 0.763595413, 0.813080241, 0.0440710797)),
    Golden(
        E, "Qabf_xydeas_zl", F.qabf.of, {"variant": "xydeas"}, (0.414537585, 0.766831625, 0.817888155, 0.0133339608)
    ),
    Golden(
        C,
        "SSIM_legacy_dr2",
        F.ssim.of,
        {"window": "uniform", "data_range": 2.0},
        (0.812755255, 0.992716508, 1.00039685, 0.000187726403),
        relative=1e-3,
    ),
    Golden(C, "SSIM_dr255", F.ssim.of, {"window": "uniform"}, (1.03830837, 1.07023546, 1.06888545, 0.554027282)),
    Golden(
        D,
        "SSIM_mean_dr255",
        F.ssim.of,
        {"window": "uniform", "reduction": "mean"},
        (0.51915419, 0.535117728, 0.534442732, 0.277013636),
    ),
    Golden(E, "SSIM_gauss11_valid_sum", F.ssim.of, {}, (1.13623262, 1.114259, 1.11101154, 0.67063381)),
    Golden(
        E, "SSIM_matlab_same_sum", F.ssim.of, {"border": "replicate"}, (1.13757473, 1.1152937, 1.11197576, 0.672729001)
    ),
    Golden(
        Z,
        "zSSIM",
        F.ssim.of,
        {"data_range": 1.0},
        (0.814051509, 0.99132067, 1.00064957, 0.000200899667),
        relative=1e-3,
        absolute=2e-4,
    ),
    Golden(
        Z,
        "zMS_SSIM",
        F.ms_ssim.of,
        {"data_range": 1.0, "odd_sizes": "pad_zero"},
        (0.92880702, 0.992069483, 1.0, 3.3191769e-05),
        relative=1e-3,
        absolute=2e-4,
    ),
    Golden(E, "Qcv_vifb", F.qcv.of, {}, (432.804239, 21.3555766, 0.05718489, NAN)),
    Golden(E, "Qcv_nonorm", F.qcv.of, {"stretch": False}, (290.305129, 3.62408252, 1.55436714, 1089.50313)),
    Golden(E, "Qcv_nopad", F.qcv.of, {"partial_blocks": "drop"}, (432.804239, 21.3555766, 0.05718489, NAN)),
    Golden(Z, "zQcb", F.qcb.of, {"variant": "half_frequency"}, (0.510100333, 0.558754212, 0.635690004, NAN)),
    Golden(Z, "zQy", F.qy.of, {"variant": "summed_rows"}, (0.87769302, 0.992964855, 0.992800439, 0.878960803)),
    Golden(Z, "zNabf", F.nabf.of, {"background_weight": 0.0}, (3.53722874e-08, 0.0, 0.0, 0.0), absolute=1e-12),
    Golden(
        Z,
        "zNMI",
        F.normalized_mutual_information.of,
        {"variant": "sources"},
        (0.4656078, 1.13639213, 1.1968867, -1.34475357e-16),
    ),
    Golden(
        Z,
        "zCE",
        F.cross_entropy.of,
        {"variant": "sigmoid"},
        (2.01968965e-06, 2.01968965e-06, 2.01968965e-06, 2.01968965e-06),
    ),
    Golden(Z, "zEI", F.edge_intensity.of, {"border": "zero"}, (55.4221153, 99.4403, 106.05619, 9.29419422)),
)


def real_items() -> dict[str, dict[str, dict[str, float | None]]]:
    """All items of the golden file; empty where it is missing."""
    path = GOLDEN_TRIPLETS / "golden_metrics.json"
    return json.loads(path.read_text())["items"] if path.is_file() else {}


def real_triplet(item: str) -> tuple[Tensor, Tensor, Tensor]:
    """Fused, infrared and visible of one golden item, (1, 1, H, W) 0..255."""
    images = [np.array(Image.open(GOLDEN_TRIPLETS / f"{item}_{kind}.png")) for kind in ("fused", "ir", "vis")]
    fused, infrared, visible = (torch.from_numpy(image).float()[None, None] for image in images)
    return fused, infrared, visible


def comparison() -> str:
    """A Markdown table of the largest errors over all golden triplets; `python -m tests.metrics.functional.golden`."""
    lines = ["| metric | options | reference | triplets | largest relative error |", "|---|---|---|---|---|"]
    triplets = {item: Triplet(*real_triplet(item)) for item in real_items()}
    for golden in GOLDEN:
        errors = []
        for item, triplet in triplets.items():
            section = real_items()[item][golden.section]
            if golden.key not in section:
                continue
            got, expected = golden(triplet).item(), section[golden.key]
            if expected is None:
                errors.append(0.0 if math.isnan(got) else math.inf)
            elif abs(got - expected) > golden.absolute:
                errors.append(abs(got / expected - 1))
            else:
                errors.append(0.0)
        options = ", ".join(f"{key} {value}" for key, value in golden.options.items()) or "-"
        name = getattr(golden.function, "__name__", golden.key)
        reference = f"{golden.section}: {golden.key}"
        lines.append(f"| {name} | {options} | {reference} | {len(errors)} | {max(errors):.0e} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(comparison())
