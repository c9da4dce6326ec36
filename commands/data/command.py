"""`ivif data ...`: get a dataset, look at it before training on it, and write its prompts."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from ivif.commands.data.places import PLACES
from ivif.commands.errors import UsageError
from ivif.commands.parsing.command_line import rewrite
from ivif.commands.parsing.parser import SuiteParser
from ivif.commands.program import program
from ivif.commands.report.files import OVERWRITE

if TYPE_CHECKING:
    from ivif.datamodules.base import FusionDataModule  # with Lightning: seconds, which only what reads data needs

STAGES = ("train", "val", "test")
"""Stages in the order of reports."""

DOWNLOAD: Final = (
    "Fetches a dataset from its owners into a folder below data/, or says where to click. Their terms are shown first. "
    "What broke goes on where it was, what is there is never written over, and a folder has its name only when the "
    "archive's checksums and the number of pairs are right."
)

PROMPTS: Final = (
    "Writes one prompt per pair as JSONL (dataset, name, prompt, source), for --data.prompts.source auto or file. "
    "What the file already has is kept, so an interrupted run goes on where it was stopped. `source` says how each "
    "prompt was made: template (from boxes: never for test pairs while mAP is scored), brightness (time of day alone, "
    "because the pair has no labels), pictures, dataset, caption; write human where you correct one."
)

IMPORT: Final = (
    "Makes a folder of pairs of what thermal cameras write: radiometric JPEG of FLIR and DJI, TIFF of 16 and 32 bits, "
    "videos, pictures in false colours. Files are paired by name, else by the time and place in their EXIF. What was "
    "left out, and why, is printed and written to import.json. The same command goes on where it was stopped."
)

BY: Final = (
    "auto: what both pictures tell (time of day, fog, contrast, warm spots and those that the visible one lacks); "
    "template: the objects of the boxes and the time of day; dataset: the data set's own sentence for every pair; "
    "coca: a caption of each image by open_clip's CoCa, as 'Infrared: ... Visible: ...' (needs no labels, but weights)."
)

REGISTER: Final = (
    "Writes a copy of a dataset in which each infrared picture lies on its visible one. A pair stays as it is, and a "
    "line says why, where no transform deserves belief: pictures that lie well, of different scenes, or with too "
    "little in common. Transforms are kept as JSON."
)

ALIGNMENT: Final = (
    "Also estimates how far infrared lies from the visible picture in each pair, as `register` would (seconds a pair): "
    "a table, worst first, alignment.csv, and alignment.png with edges laid over each other."
)

PACK: Final = (
    "Writes a dataset as a few large files (shards of litdata): pictures, labels, splits, prompts, digests of files. "
    "--data.root DIR or s3://bucket/prefix then reads it like the files. A call that was stopped is given again."
)

COCA: Final = (
    "coca: TAG/ARCHITECTURE as open_clip lists them, such as laion2b_s13b_b90k/coca_ViT-B-32, an architecture alone, "
    "or the path of a weights file. Weights that are not there are fetched once, or an error says where to put them "
    "(MODELS.md)."
)


def main(arguments: Sequence[str]) -> int:
    """Parses and runs one of the `data` commands; returns the exit code.

    Raises:
        UsageError: If the command line is wrong.
        DatasetError: If the data are not there.
    """
    arguments = rewrite(arguments).arguments
    parser = _parser(reads=bool({"check", "prompts", "register", "pack"} & {*arguments}))
    config = parser.parse_args(arguments)
    options = config[config.subcommand]
    if config.subcommand == "manifests":
        return _manifests(options.write)
    if config.subcommand == "scenes":
        from ivif.commands.data.scenes import run as write_scenes

        return write_scenes(options.out, options.count, options.size, options.seed)
    if config.subcommand == "import":
        return _import(options)
    if config.subcommand == "download":
        from ivif.commands.data.download import download

        archive = None if options.archive is None else Path(options.archive)
        return download(options.name, Path(options.out), options.accept_terms, archive)
    datamodule = parser.instantiate(config)[config.subcommand].data
    if config.subcommand == "register":
        from ivif.commands.data.register import Options, pairs_of, register_dataset
        from ivif.registration import RegistrationSettings

        chosen = Options(options.rig, options.boxes, RegistrationSettings(options.model), options.refine)
        return register_dataset(pairs_of(datamodule.stage_readers("all")), Path(options.out), chosen)
    if config.subcommand == "pack":
        from ivif.commands.data.pack import pack

        return pack(datamodule, options.out, options.shard_megabytes)
    return _check(datamodule, options) if config.subcommand == "check" else _prompts(datamodule, options)


def _parser(reads: bool) -> SuiteParser:
    """The parser of all `data` commands; only where one `reads` data, those that do have all their options."""
    parser = SuiteParser(
        prog=f"{program()} data", description="Gets a dataset, looks at it before training, and writes its prompts."
    )
    check, prompts = _checking(), _prompting()
    register, packing = _registering(), _packing()
    if reads:
        _add_data(prompts, check, register, packing)
    manifests = SuiteParser(description="Compares the committed name lists with their rules.")
    manifests.add_argument("--write", action="store_true", help="Write the lists anew.")
    scenes = SuiteParser(description="Writes generated scenes as folders ir/, vi/ and labels/, to try things out on.")
    scenes.add_argument("--out", type=str, required=True, help="The folder.")
    scenes.add_argument("--count", type=int, default=24, help="How many pairs.")
    scenes.add_argument("--size", type=tuple[int, int], default=(240, 320), help="[height, width] in pixels.")
    scenes.add_argument("--seed", type=int, default=0, help="Other seeds give other scenes.")
    commands = {
        "download": _download(),
        "import": _importing(),
        "check": check,
        "register": register,
        "pack": packing,
        "prompts": prompts,
        "manifests": manifests,
        "scenes": scenes,
    }
    parser.add_described(commands)
    return parser


def _checking() -> SuiteParser:
    check = SuiteParser(description="Opens every file; reports counts, sizes, labels, leakage; draws a contact sheet.")
    check.add_argument("--out", type=str, default="runs/data-check", help="Folder of the report and the contact sheet.")
    check.add_argument("--overwrite", type=bool, default=False, help=OVERWRITE)
    check.add_argument("--alignment", action="store_true", help=ALIGNMENT)
    check.add_argument(
        "--alignment_pairs",
        type=int | None,
        default=None,
        help="Pairs of each dataset whose alignment is estimated, spread evenly; default: all.",
    )
    return check


def _prompting() -> SuiteParser:
    prompts = SuiteParser(description=PROMPTS)
    prompts.add_argument("--out", type=str, required=True, help="The JSONL file; one that exists is continued.")
    prompts.add_argument("--by", type=Literal["auto", "template", "dataset", "coca"], default="template", help=BY)
    prompts.add_argument("--stage", type=Literal["all", "train", "val", "test"], default="all", help="Which pairs.")
    prompts.add_argument("--batch_size", type=int, default=16, help="coca: pairs at once; lower it if memory is short.")
    prompts.add_argument("--device", type=str, default="auto", help="coca: auto (a GPU if there is one), cpu, cuda:1.")
    return prompts


def _registering() -> SuiteParser:
    register = SuiteParser(description=REGISTER)
    register.add_argument("--out", type=str, required=True, help="The folder; one that was begun is continued.")
    register.add_argument(
        "--rig", type=bool, default=False, help="All pairs are of one rig: one transform for them all."
    )
    register.add_argument(
        "--model",
        type=Literal["similarity", "affine", "homography"],
        default="similarity",
        help="What a transform may do; similarity (shift, turn, scale) is the most exact on most pairs.",
    )
    register.add_argument(
        "--boxes",
        type=Literal["auto", "infrared", "visible"],
        default="auto",
        help="Which picture's objects the labels mark: infrared ones move with their picture.",
    )
    register.add_argument(
        "--refine",
        type=Literal["none", "spline"],
        default="none",
        help="spline: after the transform infrared is bent a little, if edges that were held out then agree better.",
    )
    return register


def _packing() -> SuiteParser:
    packing = SuiteParser(description=PACK)
    packing.add_argument("--out", type=str, required=True, help="A folder, or s3://bucket/prefix.")
    packing.add_argument("--shard_megabytes", type=float, default=64.0, help="Size of a shard, roughly.")
    return packing


def _download() -> SuiteParser:
    download = SuiteParser(description=DOWNLOAD)
    download.add_argument("name", type=str, choices=list(PLACES), help="Which dataset.")
    download.add_argument("--out", type=str, default="data", help="Where its folder goes.")
    download.add_argument("--accept_terms", "--accept-terms", action="store_true", help="Accepts the owners' terms.")
    download.add_argument("--archive", type=str, default=None, help="A zip archive that you have fetched; it stays.")
    return download


def _importing() -> SuiteParser:
    importing = SuiteParser(description=IMPORT)
    importing.add_argument("source", type=str, help="A folder, such as that of a memory card, or one file.")
    importing.add_argument("--out", type=str, required=True, help="The folder; the same one goes on.")
    importing.add_argument(
        "--unit",
        type=Literal["counts", "celsius", "kelvin", "centikelvin"],
        default="counts",
        help="What numbers of more than 8 bits are where no file says it: counts of a sensor, or temperatures.",
    )
    importing.add_argument(
        "--store",
        type=Literal["centikelvin", "celsius"],
        default="centikelvin",
        help="How temperatures are stored: 16-bit PNG (up to 382 degrees Celsius), or TIFF of floats.",
    )
    importing.add_argument(
        "--infrared_color",
        type=Literal["invert", "luma", "refuse"],
        default="invert",
        help="Infrared in false colours: turned back into intensities, taken by its luma, or left out.",
    )
    importing.add_argument("--every", type=int, default=1, help="Of videos and TIFF of many pages, every n-th picture.")
    importing.add_argument("--seconds", type=float, default=2.0, help="Most seconds between partners found by time.")
    return importing


def _import(options: Any) -> int:
    from ivif.commands.data.import_cameras import import_cameras
    from ivif.datamodules.cameras.frames import ImportConfig

    given = (options.unit, options.store, options.infrared_color, options.every, options.seconds)
    return import_cameras(Path(options.source), Path(options.out), ImportConfig(*given))


def _add_data(prompts: SuiteParser, *others: SuiteParser) -> None:
    from ivif.datamodules.base import FusionDataModule  # brings Lightning
    from ivif.models.captioner import DEFAULT_COCA

    prompts.add_argument("--coca", type=str, default=DEFAULT_COCA, help=COCA)
    for subcommand in (prompts, *others):
        subcommand.add_argument("--config", action="config")
        subcommand.add_subclass_arguments(FusionDataModule, "data", required=True, fail_untyped=False)


def _manifests(write: bool) -> int:
    """Compares the committed name lists with their rules, or writes them; 1 if they differ."""
    from ivif.datamodules.manifest_expansion import outdated, write_committed

    old = [] if write else outdated()
    if write:
        print(f"Written: {', '.join(write_committed())}.")
    elif old:
        print(f"Lists differ from their rule: {', '.join(old)}. Write them with --write, or restore the files.")
    else:
        print("Every list is what its rule gives.")
    return 1 if old else 0


def _check(datamodule: "FusionDataModule", options: Any) -> int:
    from ivif.commands.data.check import check

    stages = {stage: readers for stage in STAGES if (readers := datamodule.stage_readers(stage))}
    out = Path(options.out)
    if not options.alignment:
        if options.alignment_pairs is not None:
            raise UsageError("--alignment_pairs is of --alignment: give both, or neither.")
        return check(stages, out, overwrite=options.overwrite)
    from ivif.commands.data.alignment import check_alignment, refuse_alignment_files

    if options.alignment_pairs is not None and options.alignment_pairs < 1:
        raise UsageError(f"--alignment_pairs {options.alignment_pairs}: give 1 or more.")
    refuse_alignment_files(out, options.overwrite)
    code = check(stages, out, overwrite=options.overwrite)
    check_alignment(stages, out, options.alignment_pairs)
    return code


def _prompts(datamodule: "FusionDataModule", options: Any) -> int:
    from ivif.commands.data.prompts import CaptionConfig, write_prompts

    datamodule.prompts = None  # a configuration that reads the file to be written would stop for the lack of it
    captions = CaptionConfig(options.coca, options.batch_size, options.device)
    return write_prompts(datamodule.stage_readers(options.stage), Path(options.out), options.by, captions)
