"""Writes an exported file, compares it with what it was made of, and keeps it if both agree."""

import json
import logging
from collections.abc import Iterable, Sequence
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
    largest_difference,
    onnx_function,
    torch_function,
    with_text,
)
from ivif.inference.export.graph import ByteFusion, takes_prompt, token_ids, trace
from ivif.inference.export.quantization import LEAST_PSNR, add_notes, lowest_psnr, quantize
from ivif.lightning_modules.base import FusionTask

ExportFormat = Literal["onnx", "torch"]

_SUFFIXES: Final[dict[ExportFormat, str]] = {"onnx": ".onnx", "torch": ".pt2"}
_PACKAGES: Final = ("onnx", "onnxscript", "onnxruntime")
_OPSET: Final = 20

_INPUTS: Final = {"infrared": "uint8 (B, H, W)", "visible": "uint8 RGB (B, H, W, 3)"}
_TOKENS: Final = {"tokens": "int64 (B, L), texts as the tokenizer of ivif.encoder makes them"}

_TEXTS: Final = ("", "two pedestrians in front of a car at night")
"""Prompts with which a file is compared that takes any."""


class ExportError(UserError):
    """A network that cannot be exported as asked, or whose file fuses otherwise than it."""


class Exported(NamedTuple):
    """How near the pictures of a file are to the task's.

    Attributes:
        difference: The most levels of 255 by which a pixel differs, before 8 bits.
        psnr: The lowest peak signal-to-noise ratio of a picture in decibels, of a file of 8 bits; else None.
    """

    difference: int
    psnr: float | None = None


def export_fusion(
    task: FusionTask,
    out: Path,
    kind: ExportFormat,
    prompt: str | None,
    origin: str,
    int8: bool = False,
    prompt_input: bool = False,
) -> Exported:
    """Writes what a task fuses as one file; the detector, where there is one, is no part of it.

    Args:
        task: In evaluation mode, on the CPU.
        out: The file; one that is there is replaced.
        kind: `onnx`, or `torch` for an `ExportedProgram`.
        prompt: The text of every pair, kept in the file; None: that of no text.
        origin: What the file says that it was made of.
        int8: Whether convolutions and matrix products compute in integers of 8 bits.
        prompt_input: Whether texts are a third input, `tokens`, with CLIP's text network in the file.

    Returns:
        How near its pictures are to the task's.

    Raises:
        ExportError: If a library is missing, the task takes no text or cannot be traced, or the file does not fuse
            alike: then nothing is written.
        OSError: If the file cannot be written.
    """
    check_request(task, kind, prompt, int8, prompt_input)
    with TemporaryDirectory() as folder:
        trial = Path(folder) / f"trial{_SUFFIXES[kind]}"
        inputs = _INPUTS | (_TOKENS if prompt_input else {})
        notes = _metadata(task, prompt, origin) | {"ivif.inputs": json.dumps(inputs)}
        _write(task, trial, kind, prompt, inputs, notes)
        exported = _exported(trial, kind)
        cases = _cases(task, prompt, prompt_input)
        difference, size = max(largest_difference(case.of(exported), case.plain) for case in cases)
        if difference > MOST:
            raise ExportError(
                f"--out {printable(out)} was not kept: a picture of {size[2]}x{size[1]} pixels differs by {difference} "
                f"of 255 levels from what predict writes; {MOST} is allowed."
            )
        if not int8:
            write_whole(out, trial.read_bytes())
            return Exported(difference)
        small = Path(folder) / "small.onnx"
        psnr = _quantized(trial, small, cases, out)
        write_whole(out, small.read_bytes())
    return Exported(difference, psnr)


class _Case(NamedTuple):
    """A text with which a file is compared; `tokens` (1, L) where it is an input."""

    plain: ByteFusion
    tokens: Tensor | None = None

    def of(self, exported: Bytes) -> Bytes:
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
    task: FusionTask, kind: ExportFormat, prompt: str | None, int8: bool = False, prompt_input: bool = False
) -> None:
    """Refuses what no file can be made of, before any work.

    Raises:
        ExportError: If a library is missing, the network takes no text, or the format has no 8 bits.
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


def _write(
    task: FusionTask, path: Path, kind: ExportFormat, prompt: str | None, inputs: Iterable[str], notes: dict[str, str]
) -> None:
    level = logging.getLogger("onnxscript").level
    logging.getLogger("onnxscript").setLevel(logging.ERROR)  # tells what it does not fold
    try:
        program = trace(task, prompt, "tokens" in inputs)
        if kind == "torch":
            torch.export.save(program, path, extra_files=notes)
            return
        names: dict[str, Any] = {"input_names": list(inputs), "output_names": ["fused"]}
        # Not optimised here: torch's own pass stops at PromptFusion, and onnxruntime optimises what it loads.
        written = torch.onnx.export(program, dynamo=True, opset_version=_OPSET, verbose=False, optimize=False, **names)
        if written is None:
            raise RuntimeError("torch.onnx.export returned nothing")
        written.model.metadata_props.update(notes)
        written.save(path)
    except Exception as error:  # torch raises a dozen kinds for what it cannot trace
        reason = str(error).strip().partition("\n")[0][:200]
        raise ExportError(f"{type(task).__name__} cannot be exported ({type(error).__name__}: {reason}).") from error
    finally:
        logging.getLogger("onnxscript").setLevel(level)


def _metadata(task: FusionTask, prompt: str | None, origin: str) -> dict[str, str]:
    """What a file says of itself; all values are texts."""
    values = {
        "ivif.task": type(task).__name__,
        "ivif.origin": origin,
        "ivif.prompt": prompt or "",
        "ivif.outputs": json.dumps({"fused": "uint8 RGB (B, H, W, 3)"}),
        "ivif.compared": f"{len(SIZES)} sizes, at most {MOST}/255",
        "ivif.license": "code Apache-2.0; weights under the terms of the data that they were trained on",
    }
    return values | _normalization(task)


def _normalization(task: FusionTask) -> dict[str, str]:
    from ivif.models.clip import ImageTextEncoder

    for part in task.modules():
        if isinstance(part, ImageTextEncoder):
            numbers = {name: getattr(part, name).flatten().tolist() for name in ("mean", "std")}
            return {"ivif.encoder": part.identity, "ivif.encoder_normalization_inside": json.dumps(numbers)}
    return {}
