"""CLIP weights in every format they come in, as one open_clip state dict, and the fingerprint that names them."""

import hashlib
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from ivif.files.archives import load_checked
from ivif.files.digests import file_digest
from ivif.files.trusted_archives import TRUST_VARIABLE, is_trusted
from ivif.models.clip_weights import ClipWeightsError

_NOT_WEIGHTS: Final = ("input_resolution", "context_length", "vocab_size", "attn_mask")
"""What TorchScript archives hold besides weights: sizes, and the causal mask, which every model builds itself."""

_PREFIXES: Final = ("module.", "_orig_mod.")


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive, as OpenAI's releases are: a zip with a `constants.pkl` and code."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Reads a safetensors file, a state dict, a training checkpoint or an OpenAI TorchScript archive.

    Pickles are read with `weights_only=True`. A TorchScript archive holds code, so only OpenAI's published files, known
    by their sha256, are opened, and those that the user vouches for (`ivif.files.trusted_archives`).

    Raises:
        ClipWeightsError: If the file is damaged, not trusted, or holds no open_clip weights.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(path)
        elif is_torchscript(path):
            content = _read_archive(path)
        else:
            content = load_checked(path)
    except ClipWeightsError:
        raise
    except Exception as error:  # every reader has exceptions of its own for a truncated file
        reason = "holds pickled code or is damaged" if isinstance(error, pickle.UnpicklingError) else "cannot be read"
        detail = (str(error).splitlines() or [""])[0][:160]
        raise ClipWeightsError(
            f"{path} {reason} ({type(error).__name__}: {detail}). "
            f"Fetch the file again; .safetensors is the safest format. See MODELS.md."
        ) from error
    return _plain_state_dict(content, path)


def _read_archive(path: Path) -> dict[str, Tensor]:
    if not is_trusted(path) and file_digest(path) not in _openai_digests():
        raise ClipWeightsError(
            f"{path} is a TorchScript archive, which holds code, and its sha256 is none of OpenAI's published ones. "
            f"Fetch the original or its .safetensors form (MODELS.md). If the file is your own, say so in the "
            f"environment, {TRUST_VARIABLE}='{path}', or where a command builds the encoder as "
            f"--model.clip.trust_archive=true; in a file or checkpoint that counts for nothing."
        )
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # torch advises torch.export to authors
        archive = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    state: dict[str, Tensor] = archive.state_dict()
    return state


def _openai_digests() -> set[str]:
    from open_clip import get_pretrained_url, list_pretrained_models_by_tag

    urls = [get_pretrained_url(name, "openai") for name in list_pretrained_models_by_tag("openai")]
    return {url.split("/")[-2] for url in urls if url}


def _plain_state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    state = content.get("state_dict", content) if isinstance(content, Mapping) else content
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ClipWeightsError(f"{path} holds no state dict of tensors (found {type(state).__name__}). See MODELS.md.")
    plain = {str(key): value for key, value in state.items() if key not in _NOT_WEIGHTS}
    for prefix in _PREFIXES:
        if plain and all(key.startswith(prefix) for key in plain):
            plain = {key.removeprefix(prefix): value for key, value in plain.items()}
    if any(key.startswith("vision_model.") for key in plain):
        raise ClipWeightsError(
            f"{path} has the layout of the `transformers` library. Fetch the same weights in open_clip's layout "
            f"(open_clip_model.safetensors of timm/vit_base_patch32_clip_224.openai for OpenAI's ViT-B/32; MODELS.md)."
        )
    return plain


def load_weights(clip: nn.Module, state: dict[str, Tensor], description: str) -> None:
    """Copies weights into an open_clip model; every name and every shape must agree (no position table is resized).

    Args:
        clip: The model, float32.
        state: From `read_state_dict`, of any floating type.
        description: Names file and architecture in the error.

    Raises:
        ClipWeightsError: If names or shapes disagree; shows the first few.
    """
    if "positional_embedding" in state and not hasattr(clip, "positional_embedding"):
        from open_clip.model import convert_to_custom_text_state_dict

        state = convert_to_custom_text_state_dict(state)
    expected = clip.state_dict()
    if "logit_scale" in state and state["logit_scale"].numel() == 1 and "logit_scale" in expected:
        state = state | {"logit_scale": state["logit_scale"].reshape(expected["logit_scale"].shape)}
    shapes = {key: (tuple(state[key].shape), tuple(expected[key].shape)) for key in expected if key in state}
    problems = [f"{key} is {found}, not {wanted}" for key, (found, wanted) in shapes.items() if found != wanted]
    problems += [f"{key} is missing" for key in expected if key not in state]
    problems += [f"{key} is unknown" for key in state if key not in expected]
    if broken := [key for key in expected if key in state and not torch.isfinite(state[key]).all()]:
        raise ClipWeightsError(f"{description}: {', '.join(broken[:4])} hold NaN or infinity. Fetch the file again.")
    if problems:
        raise ClipWeightsError(
            f"{description} do not fit: {'; '.join(problems[:4])} ({len(problems)} differences). "
            f"Set `architecture` to the one that these weights were trained with."
        )
    clip.load_state_dict(state)


def fingerprint(module: nn.Module) -> str:
    """The sha256 over all parameters as float32, independent of file format (0.4 s for ViT-B/32)."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().to("cpu", torch.float32).contiguous().numpy().reshape(-1).data)
    return digest.hexdigest()
