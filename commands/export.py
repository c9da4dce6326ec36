"""`ivif export`: a trained fusion as one file that runs without this suite."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ivif.commands.errors import UsageError
from ivif.commands.parsing.command_line import rewrite
from ivif.commands.parsing.parser import SuiteParser
from ivif.commands.program import program
from ivif.files.names import printable

_FORMATS: Final = {"onnx": ".onnx", "torch": ".pt2"}


def main(arguments: Sequence[str]) -> int:
    """Runs `export` and returns the exit code.

    Raises:
        UsageError: If the command line is wrong.
        UserError: If the network cannot be exported so.
    """
    options = _parser(reads=False).parse_args(rewrite(arguments).arguments)
    out, suffix = Path(options.out), _FORMATS[options.format]
    if out.is_dir():
        raise UsageError(f"--out {printable(out)} is a folder: name the file to write, such as fuse{suffix}.")
    if out.suffix.lower() != suffix:
        raise UsageError(f"--out {printable(out)}: a file of --format {options.format} ends in {suffix}.")
    if out.exists() and not options.overwrite:
        raise UsageError(f"--out {printable(out)} is there already. Choose another name, or give --overwrite true.")
    from ivif.inference.export import export_fusion
    from ivif.lightning_modules.detection_sources import load_fusion
    from ivif.weights import find_weights

    task, origin = load_fusion(find_weights(options.ckpt_path, fetch=True))
    asked = (options.prompt, origin, options.int8, options.prompt_input, options.detector)
    found = export_fusion(task, out, options.format, *asked)
    loss = f"at most {found.difference} of 255 levels" if found.psnr is None else f"in 8 bits, {found.psnr:.1f} dB"
    print(f"Exported file: {out} ({loss} from predict)")
    if found.detections is not None:
        print(f"It fuses and detects; {found.detections} detections were compared with predict's.")
    elif task.class_names:
        print("It fuses; the detector of this network is no part of it. --detector true makes it one.")
    return 0


def _parser(reads: bool) -> SuiteParser:  # noqa: ARG001 - as all commands have it
    """The parser of `export`."""
    parser = SuiteParser(prog=f"{program()} export", description="Writes a trained fusion as one file.")
    parser.add_argument(
        "--ckpt_path", type=str, required=True, help="A checkpoint, a name, or the folder of a run: what to export."
    )
    parser.add_argument("--out", type=str, required=True, help="The file, NAME.onnx or NAME.pt2.")
    parser.add_argument("--format", choices=tuple(_FORMATS), default="onnx", help="onnx, or torch's ExportedProgram.")
    parser.add_argument(
        "--prompt", type=str | None, default=None, help="Text of every pair, for a network that takes one."
    )
    parser.add_argument(
        "--prompt_input", type=bool, default=False, help="Texts are a third input, as tokens, and not fixed."
    )
    parser.add_argument(
        "--detector", type=bool, default=False, help="The file also tells what the network's detector finds."
    )
    parser.add_argument("--int8", type=bool, default=False, help="In integers of 8 bits, with some loss (ONNX).")
    parser.add_argument("--overwrite", type=bool, default=False, help="Write over the file --out.")
    return parser
