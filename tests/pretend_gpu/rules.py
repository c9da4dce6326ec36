"""What CUDA refuses, and what makes the host wait for it, by operation."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import torch
from torch import Tensor

_INDEXING: Final = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_")
_TAKES_NUMBERS: Final = ("aten::where", "aten::lerp", "aten::masked_fill", "aten::fill", "aten::_foreach_")
"""Beginnings of the names of other operations than pointwise ones that take a CPU tensor without dimensions."""

_WAITS: Final = {
    "aten::_local_scalar_dense": "item",
    "aten::is_nonzero": "item",
    "aten::equal": "equal",
    "aten::allclose": "equal",
    "aten::nonzero": "nonzero",
    "aten::masked_select": "mask index",
    "aten::bincount": "bincount",
    "aten::_unique2": "unique",
    "aten::unique_dim": "unique",
    "aten::unique_consecutive": "unique",
    "aten::_linalg_check_errors": "linalg check",
    "torchvision::nms": "nms",
}


def refuse(
    func: Any, args: Any, kwargs: dict[str, Any], here: Sequence[Tensor], elsewhere: Sequence[Tensor], name: str
) -> None:
    """Raises what CUDA raises.

    Raises:
        RuntimeError: If devices are mixed, a CPU tensor would be changed by device tensors, or the CPU's generator
            would draw on the device.
        NotImplementedError: If the pretend device cannot follow an operation, though CUDA can.
    """
    operation = func._schema.name
    generator = kwargs.get("generator")
    if isinstance(generator, torch.Generator) and generator.device.type != name:
        raise RuntimeError(f"Expected a '{name}' device type for generator but found '{generator.device.type}'")
    if torch.Tag.inplace_view in func.tags:
        raise NotImplementedError(f"{operation} changes a shape in place, which the pretend device cannot follow")
    if not here or not elsewhere:
        return
    both = f"Expected all tensors to be on the same device, but found at least two devices, {name}:0 and cpu!"
    first = args[0][0] if isinstance(args[0], list | tuple) else args[0]
    on_host = any(first is tensor for tensor in elsewhere)
    if on_host and operation in _INDEXING:
        raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
    if on_host and func._schema.is_mutable:
        raise RuntimeError(f"{both} ({operation} changes a CPU tensor)")
    if operation in _INDEXING:
        indices = [index for index in args[1] if index is not None]
        elsewhere = [own for own in elsewhere if own.dim() and not any(own is index for index in indices)]
    elif torch.Tag.pointwise in func.tags or operation.startswith(_TAKES_NUMBERS):
        elsewhere = [own for own in elsewhere if own.dim()]
    if elsewhere:
        raise RuntimeError(f"{both} ({operation} of {[tuple(own.shape) for own in elsewhere]} on cpu)")


def waits(func: Any, args: Any, kwargs: dict[str, Any], kind: type[Tensor]) -> Iterator[str]:
    """What the host waits for in one operation on the device.

    Each operation is one wait, though `bincount` looks at both ends of its values. A number of the host is set at a
    mask's places without a wait; other masks are turned into positions. Positions on the CPU are copied to the device.
    """
    operation = func._schema.name
    if operation in _WAITS:
        yield _WAITS[operation]
    if operation == "aten::repeat_interleave" and kwargs.get("output_size") is None:
        yield "repeats"
    if operation not in _INDEXING:
        return
    indices = [index for index in args[1] if index is not None]
    masks = [index for index in indices if index.dtype in (torch.bool, torch.uint8)]
    fills = operation != "aten::index" and len(indices) == 1 and args[2].numel() == 1 and not isinstance(args[2], kind)
    if masks and not fills:
        yield from ["mask index"] * len(masks)
    yield from ["copy to device" for index in indices if not isinstance(index, kind)]
