"""`ivif fuse`: two pictures, videos, or folders of pictures, to fused ones."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from ivif.commands.errors import UsageError
from ivif.commands.flat_picture import tell_flat
from ivif.commands.fuse_checks import PANEL, check_out, panel_path, tell_proportions
from ivif.commands.fuse_large import fuse_parts, open_large, sizes_of
from ivif.commands.fuse_video import add_video_options, fuse_videos, is_video
from ivif.commands.parsing.parser import SuiteParser
from ivif.commands.program import program
from ivif.commands.train.options import TILE_HELP
from ivif.datamodules.datasets.io import IMAGE_SUFFIXES
from ivif.datamodules.datasets.palettes import palette_names
from ivif.datamodules.datasets.thermal import RangeMode, ThermalRange
from ivif.files.names import printable
from ivif.files.whole import whole_file
from ivif.image_ops.pictures import PNG
from ivif.weights import preferred_name

_FORMATS: Final[Mapping[str, Mapping[str, Any]]] = {
    ".png": PNG,
    ".jpg": {"format": "JPEG", "quality": 95},
    ".jpeg": {"format": "JPEG", "quality": 95},
    ".tif": {"format": "TIFF"},
    ".tiff": {"format": "TIFF"},
    ".bmp": {"format": "BMP"},
    ".webp": {"format": "WEBP"},
}
"""By a name's ending what Pillow is told."""


def fuse(arguments: Sequence[str]) -> list[str]:
    """Parses `fuse`, and fuses two pictures or videos.

    Returns:
        Of two folders the command line of `predict` that fuses them, with its pairing, records and resuming; else none.

    Raises:
        UsageError: If the command line is wrong, or a picture is not there.
    """
    options = _parser(reads=False).parse_args(list(arguments))
    infrared, visible, out = Path(options.infrared), Path(options.visible), Path(options.out)
    for path in (infrared, visible):
        if not path.exists():
            raise UsageError(f"There is no file or folder '{printable(path)}'.")
    model = options.model or preferred_name()
    if is_video(infrared, visible, out):
        fuse_videos(infrared, visible, out, model, options)
        return []
    if options.register == "each":
        raise UsageError("--register each is of videos: it follows their time. Of pictures give --register auto.")
    if infrared.is_dir() != visible.is_dir():
        raise UsageError(
            f"'{printable(infrared)}' and '{printable(visible)}': give two pictures, or two folders of pictures."
        )
    if infrared.is_dir():
        return _line_of_folders(infrared, visible, out, model, options)
    if options.shard or options.submit:
        raise UsageError("--shard and --submit are of two folders: they make parts of their pictures.")
    try:
        _fuse_files(infrared, visible, out, model, options)
    except TypeError as error:
        raise UsageError(str(error)) from error
    return []


def _fuse_files(infrared: Path, visible: Path, out: Path, model: str, options: Any) -> None:
    place = "picture", options.overwrite, (infrared, visible)
    check_out(out, _FORMATS, *place)
    beside = panel_path(out, ".png", *place) if options.side_by_side else None
    thermal_range = ThermalRange(options.thermal_range, options.low, options.high)
    pair = open_large((infrared, visible), out, thermal_range, options)
    if pair is None and not options.register:
        tell_proportions(infrared, visible, sizes_of((infrared, visible)))
    import ivif

    fuser = ivif.load(model, options.device, thermal_range=thermal_range, tile=options.tile)
    if pair is not None:
        with pair:
            done = fuse_parts(fuser, pair, out, options.prompt)
        if done:
            print(f"Fused image: {out}")
            return
    source: Any = infrared
    if options.register:
        from ivif.commands.fuse_registered import registered_picture

        source = registered_picture(infrared, visible)
    fused = fuser(source, visible, options.prompt)
    tell_flat(infrared, thermal_range)
    with whole_file(out, durable=False) as stream:
        fused.save(stream, **_FORMATS[out.suffix.lower()])
    print(f"Fused image: {out}")
    if beside:
        from ivif.commands.side_by_side import write_panel

        write_panel(fuser, source, visible, fused, beside, options.colormap)


def _line_of_folders(infrared: Path, visible: Path, out: Path, model: str, options: Any) -> list[str]:
    if options.side_by_side:
        raise UsageError("--side_by_side is of two pictures. Leave it out for two folders.")
    if options.prompt:
        raise UsageError(
            "--prompt is of two pictures; for folders, `predict` takes a list of them: --data.prompts.path."
        )
    if out.suffix.lower() in IMAGE_SUFFIXES or out.is_file():
        raise UsageError(f"--out {printable(out)}: of two folders a folder is made. Give one.")
    if options.register:
        from ivif.commands.fuse_registered import registered_folders

        infrared, visible = registered_folders(infrared, visible, out)
    first, second = infrared.resolve(), visible.resolve()
    line = ["predict", f"--ckpt_path={model}", "--data=folder.yaml", f"--data.root={first.parent}"]
    line += [f"--data.layout.infrared={first}", f"--data.layout.visible={second}", f"--output_dir={out}"]
    line += [f"--{name}={options[name]}" for name in ("shard", "submit") if options[name]]
    line += ["--data.reading.labels=false", f"--data.reading.thermal_range.mode={options.thermal_range}"]
    line += [
        f"--data.reading.thermal_range.{name}={value}"
        for name in ("low", "high")
        if (value := options[name]) is not None
    ]
    line += [] if options.tile is None else [f"--tile={options.tile}"]
    line += [] if options.batch_size is None else [f"--loading.predict_batch={options.batch_size}"]
    return line if options.device == "auto" else [*line, f"--trainer.accelerator={options.device}"]


def _parser(reads: bool) -> SuiteParser:  # noqa: ARG001 - as all commands have it
    """The parser of `fuse`."""
    parser = SuiteParser(
        prog=f"{program()} fuse",
        description="Fuses an infrared and a visible picture, two videos, or two folders.",
    )
    parser.add_argument("infrared", type=str, help="The infrared picture or video, or a folder of pictures.")
    parser.add_argument("visible", type=str, help="The visible one of the same scene, or a folder of pictures.")
    parser.add_argument(
        "--out", type=str, required=True, help="The fused picture or video, or a folder for fused pictures."
    )
    parser.add_argument(
        "--model",
        type=str | None,
        default=None,
        help="A name (ivif models list), a checkpoint, or the folder of a run.",
    )
    parser.add_argument(
        "--register",
        type=Literal["auto", "each"] | None,
        default=None,
        help="auto: bring infrared onto the visible picture first, where that can be trusted; a line says so. Of "
        "videos one transform of the whole clip; each: one of each frame, smoothed, for cameras that are not fixed to "
        "each other.",
    )
    parser.add_argument("--prompt", type=str | None, default=None, help="Text, for a network that takes one.")
    parser.add_argument("--tile", type=int | Literal["auto"] | None, default=None, help=TILE_HELP)
    parser.add_argument("--shard", type=str | None, default=None, help="Of two folders: one part, such as 2/4.")
    parser.add_argument("--submit", type=str | None, default=None, help="Of two folders: a file of jobs (scale.md).")
    parser.add_argument("--device", type=str, default="auto", help="cpu, cuda, ...")
    parser.add_argument(
        "--thermal_range",
        type=RangeMode,
        default="auto",
        help="How infrared of more than 8 bits is scaled; auto: between percentiles of all pictures.",
    )
    parser.add_argument("--low", type=float | None, default=None, help="Of a range that is fixed, or of percentiles.")
    parser.add_argument("--high", type=float | None, default=None, help="The same at the other end.")
    _add_output_options(parser)
    add_video_options(parser)
    return parser


def _add_output_options(parser: SuiteParser) -> None:
    parser.add_argument(
        "--side_by_side",
        type=bool,
        default=False,
        help=f"Also write both pictures or videos beside the fused one, as NAME{PANEL}.",
    )
    parser.add_argument(
        "--colormap", choices=("grey", *palette_names()), default="grey", help="How infrared is shown there."
    )
    parser.add_argument("--overwrite", type=bool, default=False, help="Write over the file --out.")
