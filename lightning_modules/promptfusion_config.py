"""What a user can set about PromptFusion's phases and losses, as frozen dataclasses that YAML shows."""

from dataclasses import dataclass
from typing import Literal, get_args

from ivif.lightning_modules.phases import PhaseSchedule
from ivif.losses.preservation import PreservationWeights

PhaseName = Literal["autoencoder", "prompts", "fusion", "detector", "bilevel"]


@dataclass(frozen=True)
class PhaseConfig:
    """The phases of a run and their relative lengths.

    40 and 80 epochs of autoencoder and fusion are the released code's; here the first 20 of the 80 train fusion alone,
    so that the detector is not warmed up on a network whose fuse layers have seen nothing yet.

    `autoencoder` reconstructs each image (phase I). `prompts` learns them on examples (P0). `fusion` trains the network
    alone. `detector` warms the detector up on frozen fusion. `bilevel` trains both, by the scheme. Without prompts or
    detector their phases do not take place; without a detector, `fusion` gets the time of `bilevel` too.

    Args:
        autoencoder: Length of phase I.
        prompts: Of P0.
        fusion: Of fusion alone.
        detector: Of the detector's warm-up.
        bilevel: Of the last phase.
        only: One phase for the whole run, to be started from another run's weights with `--init_from`.

    Raises:
        ValueError: If `only` names no phase.
    """

    autoencoder: float = 40.0
    prompts: float = 4.0
    fusion: float = 20.0
    detector: float = 3.0
    bilevel: float = 60.0
    only: PhaseName | None = None

    def __post_init__(self) -> None:
        if self.only is not None and self.only not in get_args(PhaseName):
            raise ValueError(f"phases.only is '{self.only}'; known: {', '.join(get_args(PhaseName))}, or null.")

    def schedule(self, prompts: bool, detector: bool) -> PhaseSchedule:
        """The phases that take place.

        Raises:
            ValueError: If none does.
        """
        lengths: dict[str, float] = {name: getattr(self, name) for name in get_args(PhaseName)}
        if self.only is not None:
            lengths = {name: float(name == self.only) for name in lengths}
        if not prompts:
            lengths["prompts"] = 0.0
        if not detector:
            lengths |= {"fusion": lengths["fusion"] + lengths["bilevel"], "detector": 0.0, "bilevel": 0.0}
        return PhaseSchedule(lengths)


@dataclass(frozen=True)
class PromptFusionLoss:
    """Weights of the autoencoder's loss (phase I) and of the fusion loss L_F (phase II).

    Args:
        ssim: Phase I, of (1 - SSIM) / 2, both images.
        squared: Phase I, of the squared difference, both images.
        sobel: Phase I, of the visible image's Sobel derivatives.
        decomposition: Both phases, of L_dec (CDDFuse, eq. 9).
        intensity: Phase II, of |F - max(I, V)|.
        gradient: Phase II, of |grad F - max(grad I, grad V)|. The prompt term's weight is `prompts.guidance.weight`.
        preservation: Phase II, of terms that the paper has not.

    Raises:
        ValueError: If a weight is negative.
    """

    ssim: float = 5.0
    squared: float = 1.0
    sobel: float = 5.0
    decomposition: float = 2.0
    intensity: float = 1.0
    gradient: float = 10.0
    preservation: PreservationWeights = PreservationWeights()

    def __post_init__(self) -> None:
        values = (self.ssim, self.squared, self.sobel, self.decomposition, self.intensity, self.gradient)
        if min(values) < 0:
            raise ValueError(f"loss: weights must not be negative, got {self}.")
