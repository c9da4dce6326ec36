"""`ivif fuse` of two videos."""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ivif.commands.errors import UsageError, is_user_error
from ivif.commands.fuse_checks import check_out, panel_path, tell_proportions
from ivif.commands.parsing.parser import SuiteParser
from ivif.files.names import printable
from ivif.files.videos import VIDEO_SUFFIXES, check_video_library
from ivif.files.whole import remove_partial_files

if TYPE_CHECKING:
    from torch import Tensor

    from ivif.commands.fuse_registered_video import RegisteredPairs
    from ivif.inference.video import Footage, VideoReport


def is_video(infrared: Path, visible: Path, out: Path) -> bool:
    """Whether a command line is about videos: by the endings of its files, or because a video is to be made."""
    return any(path.suffix.lower() in VIDEO_SUFFIXES and not path.is_dir() for path in (infrared, visible, out))


def fuse_videos(infrared: Path, visible: Path, out: Path, model: str, options: Any) -> None:
    """Fuses two videos, of which one or both may be folders of frames.

    Raises:
        UsageError: If the options do not fit.
        UserError: If a video cannot be read, or both have no common time.
        OSError: If the fused one cannot be written.
    """
    check_video_library()
    from ivif.inference.video import VIDEO_FORMATS, footage_of
    from ivif.inference.video.matching import check_common_time

    if options.shard:
        raise UsageError("--shard is of two folders. Leave it out for videos.")
    if not options.frame_rate > 0:
        raise UsageError(f"--frame_rate {options.frame_rate}: give frames per second above 0.")
    place = "video", options.overwrite, (infrared, visible)
    check_out(out, VIDEO_FORMATS, *place)
    beside = panel_path(out, out.suffix, *place) if options.side_by_side else None
    warm, seen = footage_of(infrared, True, options.frame_rate), footage_of(visible, False, options.frame_rate)
    if infrared.is_dir() and visible.is_dir() and warm.count != seen.count:
        raise UsageError(
            f"'{printable(infrared)}' holds {warm.count} frames and '{printable(visible)}' {seen.count}: "
            f"frames of two folders belong together by their place, so give as many of each."
        )
    check_common_time(warm, seen, options.infrared_delay)
    if not options.register:
        tell_proportions(infrared, visible, (warm.size, seen.size))
    print(f"Infrared: {_described(warm)}; visible: {_described(seen)}")
    for file in (out, beside):
        for left in remove_partial_files(file.parent, below=False, of=file.name) if file else ():
            print(f"Removed what a stopped command had left of it: {left}")
    try:
        _write(warm, seen, out, beside, model, options)
    except KeyboardInterrupt:
        print(f"'{printable(out)}' was not written: the same command begins anew.", file=sys.stderr)
        raise
    except (TypeError, ValueError) as error:
        if is_user_error(error):
            raise
        raise UsageError(str(error)) from error


def _write(infrared: "Footage", visible: "Footage", out: Path, beside: Path | None, model: str, options: Any) -> None:
    from rich.console import Console
    from rich.progress import Progress

    import ivif
    from ivif.datamodules.datasets.thermal import ThermalRange
    from ivif.inference.video import PanelVideo, fuse_video, sound_of
    from ivif.metrics.temporal import TemporalScores

    thermal_range = ThermalRange(options.thermal_range, options.low, options.high)
    fuser = ivif.load(model, options.device, thermal_range=thermal_range, tile=options.tile)
    scores = TemporalScores() if options.scores else None
    prepare = _registering(infrared, visible, options)
    panel = PanelVideo(beside, visible, sound_of(infrared, visible), options.colormap) if beside else None

    def watch(time: float, fused: "Tensor", warm: "Tensor", seen: "Tensor") -> None:
        bar.advance(task)
        if panel is not None:
            panel.watch(time, fused, warm, seen)
        if scores is not None:
            scores.update(fused, warm, seen)

    with Progress(console=Console(stderr=True), transient=True) as bar, panel or nullcontext():
        task = bar.add_task("fusing", total=visible.count)
        given = options.prompt, options.temporal, options.infrared_delay, options.batch_size
        report = fuse_video(fuser, infrared, visible, out, *given, watch, prepare)
    print(_told(report, visible.size, out))
    if beside:
        print(f"Side by side: {beside}")
    if prepare and (told := prepare.told()):
        print(told)
    if scores is not None:
        print(", ".join(f"{name} {value:.3f}" for name, value in scores.compute().items()) + " (lower is better)")


def _registering(infrared: "Footage", visible: "Footage", options: Any) -> "RegisteredPairs | None":
    if options.register is None:
        return None
    from ivif.commands.fuse_registered_video import registering

    return registering(options.register, infrared, visible, options.infrared_delay)


def _told(report: "VideoReport", size: tuple[int, int], out: Path) -> str:
    from ivif.inference.video import VIDEO_FORMATS

    sound = "with sound" if report.has_sound else "no sound"
    return (
        f"Fused video: {out} ({report.frames} frames of {size[1]}x{size[0]}, from {report.first:.2f} to "
        f"{report.last:.2f} s of the visible one, {VIDEO_FORMATS[out.suffix.lower()].title}, {sound})"
    )


def add_video_options(parser: SuiteParser) -> None:
    """The options of `fuse` that are of videos."""
    parser.add_argument(
        "--temporal",
        type=float | None,
        default=None,
        help="Of videos: smooth brightness and contrast over so many seconds, against flicker; 0.5 is usual.",
    )
    parser.add_argument(
        "--infrared_delay", type=float, default=0.0, help="Of videos: seconds that are added to the infrared times."
    )
    parser.add_argument(
        "--scores", type=bool, default=False, help="Of videos: print BiSWE and MS2R, which measure flicker and jerks."
    )
    parser.add_argument("--frame_rate", type=float, default=25.0, help="Frames per second of folders that are a video.")
    parser.add_argument(
        "--batch_size",
        type=int | None,
        default=None,
        help="Frames, or pictures of one size in two folders, that are fused at a time; frames 8 on a GPU, else 1.",
    )


def _described(footage: "Footage") -> str:
    height, width = footage.size
    return f"{width}x{height}, {float(footage.rate):.4g} frames per second from {footage.start:.2f} s"
