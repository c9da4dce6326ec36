"""What a configuration may say about CLIP: a string such as `random-tiny`, or a mapping of architecture and weights."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

RANDOM: Final = "random"
"""The `pretrained` value that asks for weights drawn from the fixed private seed."""

DEFAULT_TAG: Final = "openai"
"""The weights of all three papers' methods: OpenAI's ViT-B/32."""

KNOWN_SPECS: Final = (
    "openai/ViT-B-32 (the papers' encoder; its weights are fetched once, see MODELS.md)",
    "<tag>/<architecture> for any pair that open_clip lists, such as laion2b_s34b_b79k/ViT-B-32",
    "<path of a weights file> (.pt, .pth, .bin, .ckpt or .safetensors)",
    "compact (part of this repository, trained on generated scenes; no substitute for ViT-B/32)",
    "random-tiny (1.7 M untrained parameters, for tests and for trying things out)",
    "random-<architecture>, such as random-ViT-B-32 (untrained)",
    "a mapping {architecture: ..., pretrained: ..., weights: ...}",
)
"""Every form that `resolve_clip` understands, for error messages and documentation."""

COMPACT: Final = "compact"
"""The architecture, and the spec, of the small CLIP that is part of this repository (`ivif.models.compact_clip`)."""

WEIGHT_SUFFIXES: Final = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")


@dataclass(frozen=True)
class ClipConfig:
    """One image-text encoder: which architecture, and where its weights come from.

    Args:
        architecture: An open_clip architecture, `compact` (ours, trained on generated scenes) or `tiny` (ours: 64 px,
            embedding width 64, untrained).
        pretrained: Whose weights: an open_clip tag such as `openai`, which also decides about QuickGELU and the image
            statistics, or `random`. None means `openai` without a weights file, and "unnamed" with one.
        weights: Local weights file. None searches the folders listed in MODELS.md for the tag's file.
        quick_gelu: Forces the activation; None follows the tag, the `-quickgelu` name or the OpenAI archive.
        trust_archive: On the command line alone: the weights may be a TorchScript archive whose sha256 is not one of
            OpenAI's published ones. In files, checkpoints and Python it counts for nothing
            (`ivif.files.trusted_archives`).
        precision: Arithmetic of the encoder. Features are float32 either way.
    """

    architecture: str = "ViT-B-32"
    pretrained: str | None = None
    weights: str | None = None
    quick_gelu: bool | None = None
    trust_archive: bool = False
    precision: Literal["fp32", "bf16"] = "fp32"

    @property
    def tag(self) -> str | None:
        """The tag in force: `pretrained`, or `openai` when neither a tag nor a file was given."""
        return DEFAULT_TAG if self.pretrained is None and self.weights is None else self.pretrained


def resolve_clip(spec: str | ClipConfig | Mapping[str, Any]) -> ClipConfig:
    """Reads what a configuration says about CLIP; touches neither the disk nor open_clip.

    Args:
        spec: One of `KNOWN_SPECS`. A path leaves `architecture` empty: the file decides (`clip_weights.identify_file`).

    Raises:
        ValueError: If a string has none of the known forms; lists them.
    """
    if isinstance(spec, ClipConfig):
        return _split_random(spec)
    if isinstance(spec, Mapping):
        return _split_random(ClipConfig(**spec))
    if spec == COMPACT or spec.startswith(f"{RANDOM}-"):
        return _split_random(ClipConfig(architecture=spec))
    if spec.endswith(WEIGHT_SUFFIXES) or Path(spec).is_file():
        return ClipConfig(architecture="", weights=spec)
    tag, separator, architecture = spec.partition("/")
    if separator and tag and architecture and not spec.startswith((".", "~")):
        return ClipConfig(architecture=architecture.replace("/", "-"), pretrained=tag)
    known = "\n  - ".join(KNOWN_SPECS)
    raise ValueError(f"'{spec}' names no CLIP encoder and no file. Known:\n  - {known}")


def _split_random(config: ClipConfig) -> ClipConfig:
    """`architecture: random-tiny` in a mapping means what the string `random-tiny` means."""
    if config.architecture == COMPACT and config.pretrained is not None:
        raise ValueError(
            f"CLIP architecture '{COMPACT}' comes with its own weights, but pretrained={config.pretrained!r} asks for "
            f"others. Leave `pretrained` out."
        )
    prefix = f"{RANDOM}-"
    if not config.architecture.startswith(prefix):
        return config
    if config.weights is not None or config.pretrained not in (None, RANDOM):
        raise ValueError(
            f"CLIP architecture '{config.architecture}' asks for random weights, but pretrained={config.pretrained!r} "
            f"and weights={config.weights!r} do not. Write architecture: {config.architecture.removeprefix(prefix)}."
        )
    return replace(config, architecture=config.architecture.removeprefix(prefix), pretrained=RANDOM)
