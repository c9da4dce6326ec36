"""Released weights: a safetensors file whose header says what the network is built of and where it came from."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from ivif.files.whole import write_whole

_ENTRY: Final = "ivif"
_WEIGHTS: Final = "state_dict/"
_PICTURES: Final = "trained_pictures"


def write_released(path: Path, checkpoint: Mapping[str, Any], release: Mapping[str, Any]) -> None:
    """Writes a checkpoint's network and its provenance, whole or not at all; the same input gives the same bytes.

    Args:
        path: The file.
        checkpoint: `state_dict`, `trained_pictures`, and plain values that JSON holds.
        release: What the file says of itself, plain values too.

    Raises:
        OSError: If it cannot be written.
    """
    from safetensors.torch import save

    plain = {key: value for key, value in checkpoint.items() if key not in ("state_dict", _PICTURES)}
    plain[_PICTURES] = checkpoint[_PICTURES]["complete"]
    tensors = {f"{_WEIGHTS}{key}": value.detach().cpu().clone() for key, value in checkpoint["state_dict"].items()}
    tensors[_PICTURES] = checkpoint[_PICTURES]["pictures"]
    content = {"checkpoint": plain, "release": dict(release)}
    header = json.dumps({**content, "sha256": _checksum(content, tensors)}, sort_keys=True)
    write_whole(path, save(tensors, {_ENTRY: header}))


def read_released(path: Path) -> dict[str, Any]:
    """A released file as the checkpoint that it was made of, less what only training needs.

    Returns:
        `state_dict`, `hyper_parameters`, `trained_pictures`, ... and `release`: what the file says of itself.

    Raises:
        ValueError: If it is no such file, or not what was written.
        Exception: Of several kinds, as safetensors has them for damaged files.
    """
    from safetensors import safe_open
    from safetensors.torch import load_file

    with safe_open(path, "pt") as file:
        content = json.loads((file.metadata() or {}).get(_ENTRY, "null"))
    if not isinstance(content, dict) or not all(isinstance(content.get(k), dict) for k in ("checkpoint", "release")):
        raise ValueError("its header names no network of this suite")
    tensors = load_file(path)
    if content.pop("sha256", None) != _checksum(content, tensors):
        raise ValueError("its content does not fit its checksum")
    checkpoint: dict[str, Any] = content["checkpoint"] | {"release": content["release"]}
    pictures = {"pictures": tensors.pop(_PICTURES, None), "complete": checkpoint.get(_PICTURES)}
    return checkpoint | {_PICTURES: pictures, "state_dict": {k.removeprefix(_WEIGHTS): v for k, v in tensors.items()}}


def _checksum(content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    found = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        found.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
