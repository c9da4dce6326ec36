"""A compact CLIP of our own, trained on generated scenes; see README.md beside it for what it can and cannot do."""

import json
from pathlib import Path
from typing import Any, Final

from ivif.files.digests import file_digest
from ivif.models.clip_weights import ClipWeightsError
from ivif.models.compact_clip.tokenizer import ReducedTokenizer

__all__ = [
    "CHECKSUMS_NAME",
    "COMPACT_LAYOUT",
    "COMPACT_WEIGHTS",
    "VOCABULARY_NAME",
    "ReducedTokenizer",
    "checksums",
    "compact_layout",
    "compact_tokenizer",
    "compare_checksums",
]

COMPACT_WEIGHTS: Final = Path(__file__).resolve().parent / "weights.safetensors"
VOCABULARY_NAME: Final = "vocabulary.json"
CHECKSUMS_NAME: Final = "SHA256SUMS"
"""As `sha256sum` writes and checks it."""

COMPACT_LAYOUT: Final[dict[str, Any]] = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 64, "layers": (1, 1, 1, 1), "width": 16, "head_width": 64, "patch_size": None},
    "text_cfg": {"context_length": 77, "width": 64, "heads": 4, "layers": 3},
}
"""open_clip's modified ResNet at a quarter of the usual width beside a small text transformer, without `vocab_size`."""


def compact_layout(vocab_size: int) -> dict[str, Any]:
    """The open_clip configuration for a token table of so many rows; a copy."""
    return COMPACT_LAYOUT | {"text_cfg": COMPACT_LAYOUT["text_cfg"] | {"vocab_size": vocab_size}}


def compact_tokenizer(weights: Path = COMPACT_WEIGHTS) -> ReducedTokenizer:
    """The tokenizer over the vocabulary that lies beside a weights file.

    Raises:
        ClipWeightsError: If there is none, or it is no list of pieces of CLIP's vocabulary.
    """
    path = weights.with_name(VOCABULARY_NAME)
    try:
        pieces: list[str] = json.loads(path.read_text(encoding="utf-8"))
        return ReducedTokenizer(pieces, COMPACT_LAYOUT["text_cfg"]["context_length"])
    except (OSError, ValueError) as error:
        raise ClipWeightsError(
            f"The compact CLIP needs its vocabulary {path} beside its weights ({error}). Restore the file, or write "
            f"both again: python benchmarks/compact_clip.py."
        ) from error


def checksums(weights: Path) -> str:
    """The sha256 of a weights file and of its vocabulary, one line each."""
    files = (weights, weights.with_name(VOCABULARY_NAME))
    return "".join(f"{file_digest(path)}  {path.name}\n" for path in files)


def compare_checksums(weights: Path) -> None:
    """Refuses weights, or a vocabulary, that are not what was written; files without a list of checksums pass.

    Raises:
        ClipWeightsError: If one of the files is damaged, or the list itself.
    """
    path = weights.with_name(CHECKSUMS_NAME)
    if path.is_file() and path.read_bytes() != checksums(weights).encode():
        raise ClipWeightsError(
            f"{weights}, or the vocabulary beside it, is not the file that {CHECKSUMS_NAME} there was written for. "
            f"Restore them, or write all again: python benchmarks/compact_clip.py."
        )
