"""Weights files of detectors: what of them fits, and what starts anew."""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ivif.contracts.class_synonyms import class_of
from ivif.files.archives import load_checked
from ivif.models.detection.base import Detector, DetectorWeightsError
from ivif.models.detection.yolov5 import YOLOv5Detector, read_checkpoint

logger = logging.getLogger(__name__)

COCO_STREET: Final = {0: "person", 1: "bicycle", 2: "car", 3: "motorcycle", 5: "bus", 7: "truck"}
"""Index in COCO's 80 classes of those that the suite's data sets have too."""

NAMES_KEYS: Final = ("names", "classes")
"""Entries of a safetensors header that name the classes: JSON, a list in the order of the rows."""

_PREFIXES: Final = ("module.", "detector.", "model.")

_CLASS_ROWS: Final = re.compile(r"\.(cv3\.\d+\.2|cls_logits|classification_head\.module_list\.\d+\.1)\.")
"""In the names of tensors whose first dimension counts classes: of YOLOv5u, of FCOS, of SSDlite."""


@dataclass(frozen=True)
class WeightsReport:
    """What of a weights file went into a detector.

    Args:
        matched: Tensors taken over.
        started_anew: Names of the detector's tensors that the file has not, or in another shape.
        unused: Names in the file that the detector has no place for.
        reused_classes: Classes whose row of the head was taken over.
    """

    matched: int
    started_anew: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    reused_classes: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        """One line."""
        classes = f", classes {', '.join(self.reused_classes)} from it" if self.reused_classes else ""
        return (
            f"{self.matched} tensors taken over{classes}; {len(self.started_anew)} start anew, "
            f"{len(self.unused)} of the file are not used"
        )


def load_weights(detector: Detector, path: Path, reuse_classes: bool = True) -> WeightsReport:
    """Starts a detector from a file, and logs what was taken over.

    Args:
        detector: Changed in place.
        path: `.safetensors` or `.pt`. The header of a safetensors file may name the classes (`NAMES_KEYS`).
        reuse_classes: As for `start_from`.

    Returns:
        What was taken over.

    Raises:
        DetectorWeightsError: If the file is missing, damaged, of another network, or names its classes wrongly.
    """
    state, names = _read(path, detector)
    state = _aligned(state, set(detector.state_dict()))
    report = start_from(detector, state, names, f"Detector weights '{path}'", reuse_classes)
    logger.info("Detector starts from '%s': %s.", path, report)
    return report


def start_from(
    detector: Detector, state: Mapping[str, Tensor], names: Sequence[str], origin: str, reuse_classes: bool = True
) -> WeightsReport:
    """Copies what fits into a detector. Its class rows start anew where the classes differ, its head where that does.

    Args:
        detector: Changed in place, unless something is refused. Its head takes the inner sizes of the state.
        state: Under the detector's own names.
        names: The classes of the state, in the order of its rows; empty where nobody knows.
        origin: Whose weights they are, as messages begin.
        reuse_classes: Take over the head's rows of classes of the same name.

    Returns:
        What was taken over.

    Raises:
        DetectorWeightsError: If the state is of another network or holds what is not finite.
    """
    _refuse_other_networks(detector, state, origin)
    detector.fit_head(state)
    own = detector.state_dict()
    fitting = {key: value for key, value in state.items() if key in own and own[key].shape == value.shape}
    # A class row means what its name says: equal counts of other classes must not be taken over.
    if _classes(names) != _classes(detector.class_names):
        fitting = {key: value for key, value in fitting.items() if not _CLASS_ROWS.search(key)}
    with torch.no_grad():
        for key, value in fitting.items():
            own[key].copy_(value)
        anew = tuple(key for key in own if key not in fitting)
        reused = _reuse_rows(detector, own, anew, state, names) if reuse_classes else ()
    return WeightsReport(len(own) - len(anew), anew, tuple(sorted(set(state) - set(own))), reused)


def _refuse_other_networks(detector: Detector, state: Mapping[str, Tensor], origin: str) -> None:
    own, head = detector.state_dict(), _head_prefix(detector)
    if broken := [key for key, value in state.items() if key in own and not torch.isfinite(value).all()]:
        raise DetectorWeightsError(
            f"{origin} hold NaN or infinity, first in {broken[0]}. Copy the file again, or take others."
        )
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    wrong = [key for key, value in own.items() if shapes.get(key) != value.shape and not key.startswith(head)]
    if wrong:
        raise DetectorWeightsError(
            f"{origin} are of another network than this one: {len(wrong)} of {len(own)} tensors do not fit, first "
            f"{wrong[0]} ({shapes.get(wrong[0], 'missing')} there, {tuple(own[wrong[0]].shape)} here). Choose the "
            f"architecture that they are of, or other weights."
        )


def _read(path: Path, detector: Detector) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    if not path.is_file():
        raise DetectorWeightsError(
            f"Detector weights '{path}': there is no such file, and none is downloaded. Fetch it yourself (yolov5nu.pt "
            f"from ultralytics' releases, for instance) and give its path, or leave weights out to start untrained."
        )
    if path.suffix == ".safetensors":
        state, header = _read_safetensors(path)
        named = _names_in_header(path, header, state)
        return state, _names_by_count(state) if named is None else named
    loaded, failure = None, None
    try:
        loaded = load_checked(path)
    except Exception as error:  # torch raises a dozen kinds for damaged files
        failure = error
    if isinstance(loaded, Mapping) and loaded and all(isinstance(value, Tensor) for value in loaded.values()):
        state = {key: value.float() for key, value in loaded.items()}
        return state, _names_by_count(state)
    if isinstance(detector, YOLOv5Detector):
        return read_checkpoint(path)
    raise DetectorWeightsError(
        f"Detector weights '{path}' are no state dict: the file is damaged, holds other things than tensors by name, "
        f"or code, which is never run. Save the network's state_dict() alone."
    ) from failure


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()  # an open file is no mapping: it cannot be iterated itself
            return {name: file.get_tensor(name).float() for name in names}, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise DetectorWeightsError(f"Detector weights '{path}' are damaged ({error}); copy them again.") from error


def _names_in_header(path: Path, header: Mapping[str, str], state: Mapping[str, Tensor]) -> tuple[str, ...] | None:
    """The classes that a safetensors file names, or None where it names none."""
    key = next((key for key in NAMES_KEYS if key in header), None)
    if key is None:
        return None
    try:
        names = json.loads(header[key])
    except ValueError:
        names = None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise DetectorWeightsError(
            f"Detector weights '{path}': '{key}' in the header is {header[key][:80]!r}; it must be a JSON list of "
            f'class names, such as ["person", "car"]. Write it so, or leave it out to start the class rows anew.'
        )
    rows = _rows_of_classes(state)
    if rows not in (None, len(names)):
        raise DetectorWeightsError(
            f"Detector weights '{path}': the header names {len(names)} classes ({', '.join(names[:8])}), but the head "
            f"has rows for {rows}. Name every row of the head in '{key}', in its order."
        )
    return tuple(names)


def _rows_of_classes(state: Mapping[str, Tensor]) -> int | None:
    """How many classes the class branch of a YOLOv5u head has; None for another head."""
    return next((value.shape[0] for key, value in state.items() if ".cv3.0.2.bias" in key), None)


def _names_by_count(state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """For a state dict without names: 80 rows in YOLOv5u's class branch are COCO's."""
    coco = _rows_of_classes(state) == 80
    return tuple(COCO_STREET.get(index, f"coco {index}") for index in range(80)) if coco else ()


def _aligned(state: Mapping[str, Tensor], own: set[str]) -> dict[str, Tensor]:
    """The state under the detector's own names: files differ in how often they say `model.`."""
    candidates = [dict(state)]
    stripped = dict(state)
    while stripped and any(all(key.startswith(prefix) for key in stripped) for prefix in _PREFIXES):
        prefix = next(prefix for prefix in _PREFIXES if all(key.startswith(prefix) for key in stripped))
        stripped = {key.removeprefix(prefix): value for key, value in stripped.items()}
        candidates.append(stripped)
    for prefix in ("model.", "model.model."):
        candidates += [{f"{prefix}{key}": value for key, value in entry.items()} for entry in candidates[:3]]
    return max(candidates, key=lambda entry: len(own & set(entry)))


def _head_prefix(detector: Detector) -> str:
    if isinstance(detector, YOLOv5Detector):
        return f"model.model.{detector.head.i}."
    return "model.head."


def _classes(names: Sequence[str]) -> list[str]:
    return [class_of(name.lower()) for name in names]


def _reuse_rows(
    detector: Detector,
    own: Mapping[str, Tensor],
    anew: Sequence[str],
    state: Mapping[str, Tensor],
    names: Sequence[str],
) -> tuple[str, ...]:
    """Copies the rows of classes that both know, where the layers before them fit."""
    known = {name: index for index, name in enumerate(_classes(names))}
    pairs = [(new, known[name]) for new, name in enumerate(_classes(detector.class_names)) if name in known]
    counts = detector.num_classes + detector.offset, len(names) + detector.offset
    for key in anew:
        rows = own[key].shape
        fits = (rows[:1].numel() // counts[0] * counts[1], *rows[1:])
        if not pairs or not _CLASS_ROWS.search(key) or key not in state or state[key].shape != fits:
            return ()
    for key in anew:
        # Rows of all classes (a background first, where there is one) for each anchor, one anchor after the other.
        ours, theirs = (
            each[key].view(-1, n, *own[key].shape[1:]) for each, n in zip((own, state), counts, strict=True)
        )
        for index in range(detector.offset):
            ours[:, index] = theirs[:, index]
        for new, old in pairs:
            ours[:, detector.offset + new] = theirs[:, detector.offset + old]
    return tuple(detector.class_names[new] for new, _ in pairs) if anew else ()
