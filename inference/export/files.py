"""Writes an exported file, compares it with what it was made of, and keeps it if both agree."""

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal, NamedTuple

import torch
from torch import Tensor

from ivif.files.errors import UserError
from ivif.files.names import printable
from ivif.files.whole import write_whole
from ivif.inference.export.comparison import (
    MOST,
    SIZES,
    Bytes,
    Given,
    Size,
    largest_difference,
    onnx_function,
    torch_function,
    with_text,
)
from ivif.inference.export.detections import DetectingFile, compare, low_threshold
from ivif.inference.export.graph import THRESHOLD, ByteFusion, detector_part, takes_prompt, token_ids, trace
from ivif.inference.export.notes import metadata
from ivif.inference.export.quantization import LEAST_PSNR, add_notes, lowest_psnr, quantize
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.detector_training import DetectorPart
from ivif.models.detection.base import Detector, configured

ExportFormat = Literal["onnx", "torch"]

_SUFFIXES: Final[dict[ExportFormat, str]] = {"onnx": ".onnx", "torch": ".pt2"}
_PACKAGES: Final = ("onnx", "onnxscript", "onnxruntime")
_OPSET: Final = 20

_TEXTS: Final = ("", "two pedestrians in front of a car at night")
"""Prompts with which a file is compared that takes any."""


class ExportError(UserError):
    """A network that cannot be exported as asked, or whose file fuses otherwise than it."""


class Exported(NamedTuple):
    """How near the pictures of a file are to the task's.

    Attributes:
        difference: The most levels of 255 by which a pixel differs, before 8 bits.
        psnr: The lowest peak signal-to-noise ratio of a picture in decibels, of a file of 8 bits; else None.
        detections: How many were compared, of a file with a detector; else None.
    """

    difference: int
    psnr: float | None = None
    detections: int | None = None


def export_fusion(
    task: FusionTask,
    out: Path,
    kind: ExportFormat,
    prompt: str | None,
    origin: str,
    int8: bool = False,
    prompt_input: bool = False,
    detector: bool = False,
) -> Exported:
    """Writes what a task fuses as one file, and if asked for what its detector finds there.

    Args:
        task: In evaluation mode, on the CPU.
        out: The file; one that is there is replaced.
        kind: `onnx`, or `torch` for an `ExportedProgram`.
        prompt: The text of every pair, kept in the file; None: that of no text.
        origin: What the file says that it was made of.
        int8: Whether convolutions and matrix products compute in integers of 8 bits.
        prompt_input: Whether texts are a third input, `tokens`, with CLIP's text network in the file.
        detector: Whether the detector is part of it.

    Returns:
        How near its pictures are to the task's.

    Raises:
        ExportError: If a library is missing, the task takes no text or cannot be traced, or the file does not fuse
            and find alike: then nothing is written.
        OSError: If the file cannot be written.
    """
    check_request(task, kind, prompt, int8, prompt_input, detector)
    cases = _cases(task, prompt, prompt_input)
    part = detector_part(task) if detector else None
    threshold = None if part is None else low_threshold(cases[0].plain)
    notes = metadata(task, prompt, origin, prompt_input, part)
    with TemporaryDirectory() as folder:
        trial, small = Path(folder) / f"trial{_SUFFIXES[kind]}", Path(folder) / "small.onnx"
        _write(task, trial, kind, prompt, prompt_input, notes, threshold)
        if part is None or threshold is None:
            exported = _exported(trial, kind)
            found = Exported(_accepted(max(largest_difference(case.of(exported), case.plain) for case in cases), out))
        else:
            found = _compared(part.evaluated, trial, cases, notes, threshold, out)
        if int8:
            found = found._replace(psnr=_quantized(trial, small, cases, out))
        write_whole(out, (small if int8 else trial).read_bytes())
    return found


def _accepted(found: tuple[int, Size], out: Path) -> int:
    """The difference.

    Raises:
        ExportError: If it is too large.
    """
    difference, size = found
    if difference > MOST:
        raise ExportError(
            f"--out {printable(out)} was not kept: a picture of {size[2]}x{size[1]} pixels differs by {difference} "
            f"of 255 levels from what predict writes; {MOST} is allowed."
        )
    return difference


def _compared(
    detector: Detector, trial: Path, cases: Sequence["_Case"], notes: dict[str, str], threshold: float, out: Path
) -> Exported:
    """Compares a file whose detector looks for much, then gives it the task's own threshold, and looks once more.

    Raises:
        ExportError: If it differs.
    """
    file = DetectingFile(trial, notes)
    exported = file.outputs()
    with configured(detector, score_threshold=threshold):
        compared = [compare(case.of(exported), case.plain) for case in cases]
    file.set_threshold(json.loads(notes["ivif.detector"])[THRESHOLD])
    final = compare(cases[0].of(file.outputs()), cases[0].plain, SIZES[-1:])
    difference = _accepted(max((one.difference, one.size) for one in (*compared, final)), out)
    if wrong := next((one.wrong for one in (*compared, final) if one.wrong), ""):
        raise ExportError(f"--out {printable(out)} was not kept: its detections are not those of predict: {wrong}.")
    return Exported(difference, detections=sum(one.detections for one in compared))


class _Case(NamedTuple):
    """A text with which a file is compared; `tokens` (1, L) where it is an input."""

    plain: ByteFusion
    tokens: Tensor | None = None

    def of(self, exported: Callable[..., Given]) -> Callable[..., Given]:
        """The file's function of two pictures."""
        return exported if self.tokens is None else with_text(exported, self.tokens)


def _cases(task: FusionTask, prompt: str | None, prompt_input: bool) -> list[_Case]:
    if not prompt_input:
        return [_Case(ByteFusion(task, prompt))]
    return [_Case(ByteFusion(task, text), token_ids(task, [text])) for text in _TEXTS]


def _exported(path: Path, kind: ExportFormat) -> Bytes:
    return onnx_function(path) if kind == "onnx" else torch_function(path)


def _quantized(trial: Path, small: Path, cases: Sequence[_Case], out: Path) -> float:
    """Writes the file of 8 bits, and returns its lowest PSNR, which it states.

    Raises:
        ExportError: If that is too low, or onnxruntime cannot quantise the file.
    """
    try:
        quantize(trial, small)
    except Exception as error:  # its tool raises several kinds for what it does not know
        reason = str(error).strip().partition("\n")[0][:200]
        raise ExportError(f"onnxruntime cannot make 8 bits of this network ({reason}): leave --int8 out.") from error
    exported = onnx_function(small)
    psnr = min(lowest_psnr(case.of(exported), case.plain) for case in cases)
    if psnr < LEAST_PSNR:
        raise ExportError(
            f"--out {printable(out)} was not kept: in 8 bits a picture reaches {psnr:.1f} dB against what predict "
            f"writes, and {LEAST_PSNR:g} is the least. Leave --int8 out."
        )
    loss = f"8 bits, dynamic: at least {psnr:.1f} dB PSNR from predict on {len(SIZES)} sizes"
    add_notes(small, dict.fromkeys(("ivif.int8", "ivif.compared"), loss))
    return psnr


def check_request(
    task: FusionTask,
    kind: ExportFormat,
    prompt: str | None,
    int8: bool = False,
    prompt_input: bool = False,
    detector: bool = False,
) -> None:
    """Refuses what no file can be made of, before any work.

    Raises:
        ExportError: If a library is missing, the network takes no text, has no detector or one that cannot be
            exported, or the format has no 8 bits.
    """
    if int8 and kind != "onnx":
        raise ExportError("--int8 is for --format onnx: onnxruntime's quantiser makes it.")
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if kind == "onnx" and missing:
        raise ExportError(f"--format onnx needs {', '.join(missing)}: pip install 'ivif-lightning[export]'.")
    name = type(task).__name__.removesuffix("Task")
    if prompt_input and prompt is not None:
        raise ExportError("--prompt fixes a text, and --prompt_input makes it an input: give one of the two.")
    if (prompt_input or prompt is not None) and not takes_prompt(task):
        raise ExportError(f"{name} takes no text: leave {'--prompt_input' if prompt_input else '--prompt'} out.")
    if detector:
        _check_detector(detector_part(task), name, int8)


def _check_detector(part: DetectorPart | None, name: str, int8: bool) -> None:
    if part is None:
        raise ExportError(f"{name} has no detector: leave --detector out.")
    if not part.evaluated.can_be_traced:
        raise ExportError(
            f"--detector true: {part.evaluated.config.architecture} cannot be exported; yolov5n, yolov5s, yolov5m, "
            f"yolov5l and yolov5x can. Leave --detector out for a file that fuses."
        )
    if int8:
        raise ExportError(
            "--int8 is judged by its pictures, which says nothing of boxes: leave --int8 out, or --detector."
        )


def _write(
    task: FusionTask,
    path: Path,
    kind: ExportFormat,
    prompt: str | None,
    prompt_input: bool,
    notes: dict[str, str],
    threshold: float | None,
) -> None:
    try:
        with _quiet("onnxscript", "torch.onnx"):  # tell what they do not fold, and of what the graph does not use
            program = trace(task, prompt, prompt_input, threshold)
            _write_program(program, path, kind, notes)
    except Exception as error:  # torch raises a dozen kinds for what it cannot trace
        reason = str(error).strip().partition("\n")[0][:200]
        raise ExportError(f"{type(task).__name__} cannot be exported ({type(error).__name__}: {reason}).") from error


def _write_program(
    program: torch.export.ExportedProgram, path: Path, kind: ExportFormat, notes: dict[str, str]
) -> None:
    if kind == "torch":
        # What holds of the example alone, such as that a side is no multiple of 8: it decides no result, as `compare`
        # shows, and would refuse most pictures.
        program._guards_code = []
        torch.export.save(program, path, extra_files=notes)
        return
    names: dict[str, Any] = {f"{key}_names": list(json.loads(notes[f"ivif.{key}s"])) for key in ("input", "output")}
    # Not optimised here: torch's own pass stops at PromptFusion, and onnxruntime optimises what it loads.
    written = torch.onnx.export(program, dynamo=True, opset_version=_OPSET, verbose=False, optimize=False, **names)
    if written is None:
        raise RuntimeError("torch.onnx.export returned nothing")
    written.model.metadata_props.update(notes)
    written.save(path)


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Without what libraries tell of each other."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`create_unbacked_symint` is deprecated", FutureWarning)  # torchvision's
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
