"""The shape of an MGFusion network."""

from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Self


@dataclass(frozen=True)
class MGFusionConfig:
    """Everything that decides the shape of an MGFusion network; the defaults are the preset `base`.

    Attributes:
        channels: Feature channels C of both encoders and the decoder.
        blocks: Restormer blocks N in each encoder and in the decoder.
        heads: Attention heads; `channels` is a multiple.
        expansion: Width of the blocks' feed-forward paths, relative to `channels`.
        out_channels: 1 fuses luma, 3 fuses RGB.
        use_cii: Whether CLIP vectors are injected into the features (the ablation w/o CII sets false).
        use_cff: Whether CLIP vectors and gradients guide the fusion (the ablation w/o CFF sets false: a plain merge).
        gate: What becomes of the channel weights that IRA and VIA predict: `linear` leaves them (the paper names no
            activation), `sigmoid` bounds them to (0, 1).
        clip_norm: `l2` scales CLIP vectors to length one; `none` takes the projected vectors as they are.
        sawp_channels: Channels of the spatial weight that SAWP predicts: 1, or `channels` (one weight per feature).
        tanh_range: `unit` maps the final tanh to [0, 1] by (tanh + 1) / 2; `raw` takes it as it is, so that half of its
            range is unused, as some released codes do. Raw outputs are clamped to [0, 1] in evaluation only, lest the
            gradient of a dark pixel vanish.
        checkpoint_blocks: Whether the Restormer blocks' inside is computed again in the backward pass instead of kept:
            `auto` does so where a training step would otherwise take more than 8 GiB.
    """

    channels: int = 32
    blocks: int = 2
    heads: int = 4
    expansion: float = 2.0
    out_channels: Literal[1, 3] = 1
    use_cii: bool = True
    use_cff: bool = True
    gate: Literal["linear", "sigmoid"] = "linear"
    clip_norm: Literal["none", "l2"] = "none"
    sawp_channels: int = 1
    tanh_range: Literal["unit", "raw"] = "unit"
    checkpoint_blocks: Literal["auto"] | bool = "auto"

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ValueError: If one is out of range or two do not fit; says which and what would.
        """
        if min(self.channels, self.heads) < 1 or self.blocks < 0 or self.channels % self.heads:
            raise ValueError(
                f"MGFusion needs channels >= 1 that are a multiple of heads >= 1, and blocks >= 0; got "
                f"channels={self.channels}, heads={self.heads}, blocks={self.blocks}."
            )
        if int(self.channels * self.expansion) < 1:
            raise ValueError(f"expansion={self.expansion} leaves no feed-forward channels of {self.channels}; try 2.0.")
        choices: dict[str, tuple[object, ...]] = {
            "out_channels": (1, 3),
            "gate": ("linear", "sigmoid"),
            "clip_norm": ("none", "l2"),
            "sawp_channels": (1, self.channels),
            "tanh_range": ("unit", "raw"),
            "checkpoint_blocks": ("auto", True, False),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r} is none of {', '.join(map(repr, allowed))}.")

    @property
    def needs_clip(self) -> bool:
        """Whether the network reads CLIP vectors at all: not without both CII and CFF."""
        return self.use_cii or self.use_cff

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """A named configuration.

        Args:
            name: `light` (C=16, N=1), `base` (C=32, N=2) or `large` (C=64, N=4, block checkpointing).
            **changes: Fields that shall differ from the preset.

        Returns:
            The configuration.

        Raises:
            ValueError: If there is no such preset, or the changes do not fit.
            TypeError: If there is no such field.
        """
        if name not in PRESETS:
            raise ValueError(f"There is no MGFusion preset '{name}'; there are {', '.join(PRESETS)}.")
        return replace(cls(**PRESETS[name]), **changes)


PRESETS: Final[dict[str, dict[str, Any]]] = {
    "light": {"channels": 16, "blocks": 1, "heads": 2},
    "base": {},
    "large": {"channels": 64, "blocks": 4, "heads": 8, "checkpoint_blocks": True},
}
"""What each preset changes of the defaults. The paper states neither C nor N; `large` has CDDFuse's sizes."""
