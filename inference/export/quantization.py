"""An exported file in integers of 8 bits, and what that costs."""

import logging
from pathlib import Path
from typing import Any, Final

import torch

from ivif.inference.export.comparison import SIZES, Bytes, pair_of_bytes
from ivif.inference.export.graph import ByteFusion

LEAST_PSNR: Final = 30.0
"""Decibels that each picture of a file of 8 bits must reach against what `predict` writes."""

_MOST_DECIBELS: Final = 99.0
"""Of equal pictures."""


def quantize(path: Path, out: Path) -> None:
    """Writes an ONNX file again with integers of 8 bits in its convolutions and matrix products.

    By onnxruntime's dynamic quantiser: each picture gives the ranges of its own activations, so that no pictures to
    calibrate with are needed.

    Args:
        path: The file.
        out: The new one, which says of itself what the file says.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = _read(path)
    stored = {entry.name for entry in model.graph.initializer}
    computed = [
        node.name for node in model.graph.node if node.op_type == "Conv" and not stored.issuperset(node.input[1:])
    ]
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # advises a preparation that stops at sizes that are free
    try:
        # uint8: onnxruntime's convolution on a CPU takes no signed weights
        # Weights that the graph computes stay as they are.
        quantize_dynamic(path, out, weight_type=QuantType.QUInt8, nodes_to_exclude=computed)
    finally:
        root.setLevel(level)
    add_notes(out, {entry.key: entry.value for entry in model.metadata_props})


def add_notes(path: Path, notes: dict[str, str]) -> None:
    """Has an ONNX file say more of itself."""
    import onnx

    model = _read(path)
    onnx.helper.set_model_props(model, {entry.key: entry.value for entry in model.metadata_props} | notes)
    onnx.save(model, path)


def _read(path: Path) -> Any:
    import onnx

    return onnx.load(path)


def lowest_psnr(exported: Bytes, plain: ByteFusion) -> float:
    """The lowest peak signal-to-noise ratio, in decibels, of the pictures of `SIZES`, all batches' whole."""
    ratios = []
    for index, size in enumerate(SIZES):
        infrared, visible = pair_of_bytes(size, index)
        with torch.no_grad():
            expected = plain(infrared, visible).float()
        error = (exported(infrared, visible).float() - expected).square().mean().item()
        ratios.append(10.0 * torch.tensor(255.0**2 / error).log10().item() if error else _MOST_DECIBELS)
    return min(ratios)
