"""The one door to open_clip: which encoder a configuration means, built with its weights.

The encoder itself is `ivif.models.clip_encoder`, the forms of a configuration are `ivif.models.clip_config`, files on
disk are `ivif.models.clip_weights` and their formats `ivif.models.clip_state`. open_clip takes more than two seconds to
import, so every import of it is inside a function.
"""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import nn

from ivif.models.clip_config import COMPACT, RANDOM, ClipConfig, resolve_clip
from ivif.models.clip_encoder import OPENAI_MEAN, OPENAI_STD, ImageTextEncoder
from ivif.models.clip_state import is_torchscript, load_weights, read_state_dict
from ivif.models.clip_weights import ClipWeightsError, identify_file, locate_weights
from ivif.models.compact_clip import COMPACT_WEIGHTS, compact_layout, compact_tokenizer, compare_checksums

__all__ = ["ClipConfig", "ClipWeightsError", "ImageTextEncoder", "build_image_text_encoder", "resolve_clip"]

TINY_ARCHITECTURE: Final[dict[str, Any]] = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 64, "patch_size": 16, "width": 64, "head_width": 32, "layers": 2},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
"""`tiny`: 1.7 M parameters, 1.6 M of them the token table; for tests, the quickstart, machines without weights."""

_CLIP_TEXT_KEYS: Final = {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio", "act_kwargs"}

RANDOM_SEED: Final = 20240522
"""Private seed of every `random-*` encoder, so that two processes have the same one."""


def build_image_text_encoder(spec: str | ClipConfig | Mapping[str, Any]) -> ImageTextEncoder:
    """Builds the encoder that a configuration names, with its weights; the global random state is left as it was.

    Args:
        spec: See `ivif.models.clip_config.KNOWN_SPECS`.

    Raises:
        ValueError: If the string has no known form.
        ClipWeightsError: If the weights are missing, damaged or of another architecture; says what to do.
    """
    config = resolve_clip(spec)
    if config.architecture == COMPACT:
        return _build_compact(config)
    if config.architecture == "" and config.weights is not None:
        architecture, tag = identify_file(Path(config.weights))
        config = ClipConfig(architecture, tag, config.weights)
    layout = _layout(config.architecture)
    if config.tag == RANDOM:
        layout["quick_gelu"] = bool(config.quick_gelu or layout.get("quick_gelu"))
        return ImageTextEncoder(instantiate(layout), f"random-{_base(config, layout)}", precision=config.precision)
    path = locate_weights(config)
    published = _published(config)
    layout["quick_gelu"] = _quick_gelu(config, layout, published, path)
    state = read_state_dict(path)
    clip = instantiate(layout)
    load_weights(clip, state, f"CLIP weights {path} and architecture '{config.architecture}'")
    mean, std = published.get("mean", OPENAI_MEAN), published.get("std", OPENAI_STD)
    name = f"{_base(config, layout)}:{config.tag or 'custom'}"
    return ImageTextEncoder(clip, name, mean, std, config.precision)


def _base(config: ClipConfig, layout: Mapping[str, Any]) -> str:
    """The architecture with its activation, which decides features although no weight shows it."""
    return config.architecture.removesuffix("-quickgelu") + ("-quickgelu" if layout["quick_gelu"] else "")


def _build_compact(config: ClipConfig) -> ImageTextEncoder:
    """Our own small CLIP: its weights and its vocabulary are part of the repository."""
    path = COMPACT_WEIGHTS if config.weights is None else locate_weights(config)
    tokenizer = compact_tokenizer(path)
    compare_checksums(path)
    clip = instantiate(compact_layout(tokenizer.size))
    load_weights(clip, read_state_dict(path), f"CLIP weights {path} and architecture '{COMPACT}'")
    name = f"{COMPACT}:{'synthetic' if config.weights is None else 'custom'}"
    return ImageTextEncoder(clip, name, precision=config.precision, tokenizer=tokenizer)


def _layout(architecture: str) -> dict[str, Any]:
    """The open_clip configuration of an architecture, or ours; a copy."""
    if architecture == "tiny":
        return deepcopy(TINY_ARCHITECTURE)
    from open_clip import get_model_config, list_models

    layout: dict[str, Any] | None = get_model_config(architecture)
    if layout is None:
        from difflib import get_close_matches

        close = ", ".join(get_close_matches(architecture, list_models(), n=5)) or ", ".join(list_models()[:8])
        raise ClipWeightsError(f"open_clip knows no architecture '{architecture}'. Did you mean: tiny, {close}?")
    if "multimodal_cfg" in layout or not set(layout["text_cfg"]) <= _CLIP_TEXT_KEYS:
        raise ClipWeightsError(
            f"'{architecture}' has a text tower of another kind than CLIP's (its own tokenizer, pooling or decoder). "
            f"Choose an architecture with CLIP's own, such as ViT-B-32 or ViT-L-14."
        )
    return layout


def _published(config: ClipConfig) -> dict[str, Any]:
    if config.tag is None:
        return {}
    from open_clip import get_pretrained_cfg

    return dict(get_pretrained_cfg(config.architecture, config.tag))


def _quick_gelu(config: ClipConfig, layout: dict[str, Any], published: dict[str, Any], path: Path) -> bool:
    """OpenAI's weights were trained with QuickGELU; with GELU they load without an error and give wrong features."""
    if config.quick_gelu is not None:
        return config.quick_gelu
    if published or layout.get("quick_gelu"):
        return bool(published.get("quick_gelu") or layout.get("quick_gelu"))
    if config.tag == "openai" or is_torchscript(path):
        return True
    raise ClipWeightsError(
        f"Whose weights are {path}? Their activation (GELU or QuickGELU) cannot be seen in the file. Set `pretrained` "
        f"to their open_clip tag, such as openai, or `quick_gelu` to true or false."
    )


def instantiate(layout: Mapping[str, Any]) -> nn.Module:
    """An open_clip model of an open_clip configuration: `CLIP`, `CustomTextCLIP` or, with a text decoder, `CoCa`.

    Initialised from the private seed without touching the global generator.
    """
    from open_clip import CLIP, CoCa, CustomTextCLIP

    layout = dict(layout)
    model_class = CustomTextCLIP if layout.pop("custom_text", False) else CLIP
    model_class = CoCa if "multimodal_cfg" in layout else model_class
    # Not fork_rng with manual_seed: that would reseed the generators of every GPU as well.
    before = torch.default_generator.get_state()
    try:
        torch.default_generator.manual_seed(RANDOM_SEED)
        with torch.device("cpu"):
            return cast("nn.Module", model_class(**layout))
    finally:
        torch.default_generator.set_state(before)
