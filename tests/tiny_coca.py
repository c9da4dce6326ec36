"""A captioning model of open_clip's own class and key layout, small enough for tests, known to open_clip by name."""

from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

ARCHITECTURE: Final = "coca_tiny"
TAG: Final = "invented"
HUB_FOLDER: Final = "CoCa-tiny-invented"
"""Where a weights folder keeps the file, as with the published models: the name of the hub's repository."""

WORDS: Final = ("a", "man", "car", "street", "dark", "road", "two", "trees", "bright", "field", "with", "near")

LAYOUT: Final[dict[str, Any]] = {
    "embed_dim": 32,
    "vision_cfg": {
        "image_size": 32,
        "layers": 1,
        "width": 64,
        "patch_size": 8,
        "attentional_pool": True,
        "attn_pooler_heads": 2,
        "output_tokens": True,
    },
    "text_cfg": {
        "context_length": 76,
        "vocab_size": 49408,
        "width": 32,
        "heads": 2,
        "layers": 1,
        "embed_cls": True,
        "output_tokens": True,
    },
    "multimodal_cfg": {
        "context_length": 76,
        "vocab_size": 49408,
        "width": 32,
        "heads": 2,
        "layers": 1,
        "attn_pooler_heads": 2,
    },
    "custom_text": True,
}
"""`coca_ViT-B-32` of open_clip with other numbers."""


def register(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes architecture and tag known to open_clip for one test, and hides this machine's weights."""
    published = dict(open_clip.get_pretrained_cfg("coca_ViT-B-32", "laion2b_s13b_b90k"))
    published["hf_hub"] = f"laion/{HUB_FOLDER}/"
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, ARCHITECTURE, LAYOUT)
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, ARCHITECTURE, {TAG: published})


def tiny_coca(seed: int = 4) -> Any:
    """Random weights that say a few words, differing between images, and end after a while."""
    generator = torch.Generator().manual_seed(seed)
    layout = deepcopy(LAYOUT)
    layout.pop("custom_text")
    coca: Any = open_clip.CoCa(**layout).eval()
    for parameter in coca.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    spoken = [int(open_clip.tokenize(word)[0, 1]) for word in WORDS]
    projection = coca.text_decoder.text_projection.data
    projection *= 0.01
    projection[:, [*spoken, 49407]] = torch.randn(32, len(WORDS) + 1, generator=generator)
    projection[:, 49407] *= 4  # often enough that captions differ in length
    return coca


def write_weights(path: Path, seed: int = 4) -> Path:
    """Saves `tiny_coca` as open_clip does: a state dict (.bin, .safetensors), or a training checkpoint (.pt)."""
    state: dict[str, Tensor] = {name: value.clone() for name, value in tiny_coca(seed).state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file(state, path)
    elif path.suffix == ".pt":
        weights = {f"module.{name}": value for name, value in state.items()}
        torch.save({"epoch": 1, "name": "run", "state_dict": weights, "optimizer": {"state": {}}}, path)
    else:
        torch.save(state, path)
    return path
