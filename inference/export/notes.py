"""What an exported file says of itself."""

import json
from typing import Final

from ivif.inference.export.comparison import MOST, SIZES
from ivif.inference.export.graph import THRESHOLD
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.detector_training import DetectorPart

INPUTS: Final = {"infrared": "uint8 (B, H, W)", "visible": "uint8 RGB (B, H, W, 3)"}
TOKENS: Final = {"tokens": "int64 (B, L), texts as the tokenizer of ivif.encoder makes them"}
OUTPUTS: Final = {"fused": "uint8 RGB (B, H, W, 3)"}
DETECTIONS: Final = {
    "boxes": "float32 (D, 4), left, top, right, bottom in pixels of the picture",
    "scores": "float32 (D,), of each picture the surest first",
    "labels": "int64 (D,), places in ivif.classes",
    "pictures": "int64 (D,), ascending: which of the batch",
}


def metadata(
    task: FusionTask, prompt: str | None, origin: str, prompt_input: bool, part: DetectorPart | None
) -> dict[str, str]:
    """What a file says of itself; all values are texts.

    Args:
        task: What it was made of.
        prompt: The text that it keeps.
        origin: Where that was.
        prompt_input: Whether texts are an input.
        part: The detector in it.
    """
    values = {
        "ivif.task": type(task).__name__,
        "ivif.origin": origin,
        "ivif.prompt": prompt or "",
        "ivif.inputs": json.dumps(INPUTS | (TOKENS if prompt_input else {})),
        "ivif.outputs": json.dumps(OUTPUTS | (DETECTIONS if part is not None else {})),
        "ivif.compared": f"{len(SIZES)} sizes, at most {MOST}/255",
        "ivif.license": "code Apache-2.0; weights under the terms of the data that they were trained on",
    }
    return values | _normalization(task) | ({} if part is None else _of_detector(part))


def _of_detector(part: DetectorPart) -> dict[str, str]:
    config = part.evaluated.config
    settings = ("architecture", "image_size", THRESHOLD, "iou_threshold", "max_detections")
    return {
        "ivif.classes": json.dumps(part.class_names),
        "ivif.detector": json.dumps({name: getattr(config, name) for name in settings}),
        "ivif.detector_license": "YOLOv5 of ultralytics: AGPL-3.0",
    }


def _normalization(task: FusionTask) -> dict[str, str]:
    from ivif.models.clip import ImageTextEncoder

    for part in task.modules():
        if isinstance(part, ImageTextEncoder):
            numbers = {name: getattr(part, name).flatten().tolist() for name in ("mean", "std")}
            return {"ivif.encoder": part.identity, "ivif.encoder_normalization_inside": json.dumps(numbers)}
    return {}
