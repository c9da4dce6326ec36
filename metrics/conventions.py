"""Named conventions: a family of published tables, and the metrics that it reports.

Which variant, range, base or reduction of a metric a convention means is said by the metric's entry in the registry.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ivif.metrics.functional.triplet import Triplet
from ivif.metrics.registry import METRICS


@dataclass(frozen=True)
class Convention:
    """How a family of tables computes its metrics.

    Attributes:
        name: Its name in tables and on the command line.
        summary: One sentence for users.
        names: The metrics that it reports unless told otherwise.
    """

    name: str
    summary: str
    names: tuple[str, ...]

    def score(self, triplet: Triplet, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Values of each metric, (B,) float64.

        Args:
            triplet: The images, grey levels 0..255.
            names: Which metrics; the convention's own by default.

        Raises:
            ValueError: If a name is unknown, or the images are too small for a metric.
        """
        chosen = check_names(names if names is not None else self.names)
        entries = {name: METRICS[name] for name in chosen}
        return {name: entry(triplet, **entry.conventions.get(self.name, {})) for name, entry in entries.items()}


_ELEVEN = ("EN", "SD", "SF", "AG", "MI", "SCD", "CC", "MSE", "PSNR", "VIF", "Qabf")

CONVENTIONS: dict[str, Convention] = {
    convention.name: convention
    for convention in (
        Convention(
            "standard",
            "Textbook definitions: MI in bits, PSNR with peak 255, SSIM with Gaussian windows and range 255, summed.",
            (*_ELEVEN, "SSIM", "Qcv"),
        ),
        Convention(
            "mgfusion",
            "The six metrics of the MGFusion tables: VIF is the mean of the two sources, SSIM their sum.",
            ("Qabf", "Qcv", "SSIM", "AG", "VIF", "SCD"),
        ),
        Convention(
            "cddfuse",
            "CDDFuse's Evaluator: MI in nats, PSNR against the fused maximum, SSIM uniform 7x7 with data range 2.",
            (*_ELEVEN, "SSIM"),
        ),
        Convention(
            "vifb",
            "VIFB's MATLAB code: MI in nats of stretched images, SF over H W, AG over (H-1)(W-1), PSNR of a root.",
            ("EN", "SD", "SF", "AG", "MI", "PSNR", "Qabf", "SSIM", "Qcv", "Qcb", "CE", "EI"),
        ),
        Convention(
            "ivif_zoo",
            "IVIF_ZOO's code: MSE on [0, 1] but PSNR with peak 255, zero-padded VIF, SSIM with a range of 1.",
            (*_ELEVEN, "SSIM", "MS_SSIM", "Qcb", "Qy", "Nabf", "NMI", "CE", "EI"),
        ),
    )
}
"""All conventions by name."""


def suite(convention: str) -> Convention:
    """The convention of that name.

    Raises:
        ValueError: If it is unknown; lists the known ones.
    """
    if convention not in CONVENTIONS:
        raise ValueError(f"Unknown convention '{convention}'; known: {', '.join(CONVENTIONS)}.")
    return CONVENTIONS[convention]


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names, if all of them are metrics and none is given twice.

    Raises:
        ValueError: Otherwise; lists the nearest and the known ones.
        PluginError: If one comes from a package that cannot be used.
    """
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        near = list(dict.fromkeys(close for name in unknown for close in METRICS.nearest(name)))
        hint = f" nearest: {', '.join(near)};" if near else ""
        raise ValueError(f"Unknown metrics {', '.join(unknown)};{hint} known: {', '.join(METRICS)}.")
    for name in names:
        METRICS[name]  # imports the package that it comes from
    if len(set(names)) < len(names):
        raise ValueError(f"Some metrics are named twice: {', '.join(names)}.")
    return tuple(names)
