"""`ivif data import`: files of cameras to a folder of pairs, with a report of what was left out."""

import glob
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import track

from ivif.commands.data.import_report import ImportReport, print_report
from ivif.commands.data.plane_files import save_plane
from ivif.commands.errors import UsageError
from ivif.commands.fuse_checks import have_other_proportions
from ivif.commands.train.run_folder import lock_run_folder, unlock_folder
from ivif.datamodules.cameras.frames import ImportConfig, Stored, stored_pairs
from ivif.datamodules.cameras.kinds import CameraFile, recognise
from ivif.datamodules.cameras.pairing import Partners, find_partners
from ivif.datamodules.datasets.io import IMAGE_SUFFIXES, image_size
from ivif.datamodules.datasets.pairs.names import Picture
from ivif.datamodules.datasets.pairs.picture_files import list_pictures
from ivif.datamodules.datasets.temperatures import SIDECAR, Unit, sidecar_text, unit_of
from ivif.files.errors import UnreadableFileError
from ivif.files.inside import read_inside
from ivif.files.libraries import MissingLibraryError
from ivif.files.names import UTF8_REMEDY, printable
from ivif.files.whole import remove_empty, remove_partial_files, write_whole

RECORD: Final = "import.json"
"""In the folder: what was imported, with which options, and what was left out."""

INFRARED: Final = "ir"
VISIBLE: Final = "vi"

_ENDINGS: Final = (".png", ".tif")


def import_cameras(source: Path, out: Path, config: ImportConfig, console: Console | None = None) -> int:
    """Imports a folder of camera files, or goes on with it; prints the report, and writes it into the folder.

    Args:
        source: A folder, or one file.
        out: Gets `ir/` and `vi/`, as the folder dataset reads them, and the report.
        config: How.
        console: Where to print; standard output by default.

    Returns:
        0, or 1 if not one pair came of it.

    Raises:
        UsageError: If there is no such folder, or `out` holds anything else.
    """
    console = console or Console()
    if not source.exists():
        raise UsageError(f"There is no file or folder '{printable(source)}'.")
    inside, around = out.resolve(), source.resolve()
    if inside.is_relative_to(around) or around.is_relative_to(inside):
        raise UsageError(f"--out {printable(out)}: choose a folder apart from '{printable(source)}', which is read.")
    claim = {"source": str(around), "options": asdict(config)}
    _refuse_others(out, claim)
    made = lock_run_folder(out, "import", "--out")
    try:
        remove_partial_files(out)
        if not (out / RECORD).exists():
            write_whole(out / RECORD, _text(claim))
        report = _import(source, out, config, console)
        if report.count:
            write_whole(out / RECORD, _text(claim | report.as_dict()))
        else:
            (out / RECORD).unlink()
    finally:
        unlock_folder(out)
        remove_empty(made)
    print_report(report, out, console)
    return 0 if report.count else 1


def _import(source: Path, out: Path, config: ImportConfig, console: Console) -> ImportReport:
    report = ImportReport()
    shown = partial(track, console=console, transient=True, disable=not console.is_terminal)
    listed = shown(list(_listed(source, report)), "looking")
    files = [file for picture in listed if (file := _recognised(picture, report))]
    partners, left = find_partners(files, config.seconds)
    for file, why in left.items():
        report.leave_out(file.path, why)
    measured = config.unit != "counts" or any(each.infrared.kind in ("flir", "dji") for each in partners)
    writer = _Writer(out, config.store if measured else "counts", report)
    for each in shown(partners, "importing"):
        writer.write(each, config)
    report.notes += _notes(out, report)
    return report


def _notes(out: Path, report: ImportReport) -> Iterator[str]:
    """What to know of the pairs that are there."""
    if any(unit_of(path) == "counts" for path in (out / INFRARED).rglob(SIDECAR)):
        yield (
            "infrared of more than 8 bits is stored as the sensor's numbers. If they are temperatures, say so with "
            "--unit, and import into another folder"
        )
    apart = sum(_other_proportions(out, entry) for entry in report.pairs)
    if apart:
        yield (
            f"{apart} of {len(report.pairs)} pairs have pictures of other proportions: the cameras see different parts "
            f"of the scene, and pixels do not lie on each other"
        )


def _other_proportions(out: Path, entry: Mapping[str, Any]) -> bool:
    """Whether the first picture of two files has other proportions than its partner."""
    place = Path(entry["name"], "000000") if entry["frames"] else Path(entry["name"])
    sizes = []
    for folder in (INFRARED, VISIBLE):
        pictures = (out / folder / place).parent.glob(f"{glob.escape(place.name)}.*")
        sizes += [image_size(path) for path in pictures if path.suffix in IMAGE_SUFFIXES]
    return len(sizes) == 2 and have_other_proportions(sizes)


def _listed(source: Path, report: ImportReport) -> Iterator[Picture]:
    """All files below a folder."""
    listing = list_pictures(source, below=True)
    for path in listing.nameless:
        report.leave_out(path, f"its name is not UTF-8. {UTF8_REMEDY}")
    yield from listing.pictures
    for path in listing.others:
        yield Picture(path, path.relative_to(source).parts[:-1])


def _recognised(picture: Picture, report: ImportReport) -> CameraFile | None:
    try:
        return recognise(picture)
    except UnreadableFileError as error:
        report.leave_out(picture.path, error.reason)
    except MissingLibraryError as error:
        report.leave_out(picture.path, str(error))
    return None


@dataclass
class _Writer:
    """Writes pairs that are not there yet: the visible picture first, so that an infrared one says that both are.

    Args:
        out: The folder.
        unit: Of its infrared pictures of more than 8 bits.
        report: Gets what was written and what was left out.
    """

    out: Path
    unit: Unit
    report: ImportReport
    _stated: set[Path] = field(default_factory=set)

    def write(self, partners: Partners, config: ImportConfig) -> None:
        """Writes all pairs of two files; what cannot be read is left out."""
        count = 0
        try:
            if not partners.infrared.has_frames and self._done(partners.name):
                count = 1
            else:
                for pair in stored_pairs(partners, config):
                    self._write_pair(pair, partners)
                    count += 1
        except UnreadableFileError as error:
            self.report.leave_out(partners.infrared.path, self._reason(error, partners))
        except MissingLibraryError as error:
            self.report.leave_out(partners.infrared.path, str(error))
        if count:
            self.report.add(partners, count)

    def _reason(self, error: UnreadableFileError, partners: Partners) -> str:
        of_visible = printable(partners.visible.path) in str(error) and partners.visible is not partners.infrared
        return f"its visible partner '{partners.visible.path.name}': {error.reason}" if of_visible else error.reason

    def _done(self, name: str) -> bool:
        return any((self.out / INFRARED / f"{name}{ending}").is_file() for ending in _ENDINGS)

    def _write_pair(self, pair: Stored, partners: Partners) -> None:
        if pair.unit not in (None, self.unit):
            raise UnreadableFileError(
                partners.infrared.path,
                f"it holds {pair.unit}, where others hold {self.unit}: import it into a folder of its own, or say "
                f"with --unit what it holds",
            )
        if self._done(pair.name):
            return
        visible = self.out / VISIBLE / f"{pair.name}{pair.suffix}"
        if isinstance(pair.visible, Path):
            write_whole(visible, pair.visible.read_bytes(), durable=False)
        else:
            save_plane(pair.visible, visible)
        infrared = self.out / INFRARED / f"{pair.name}{'.tif' if pair.infrared.dtype.kind == 'f' else '.png'}"
        self._state_unit(infrared.parent, pair)
        save_plane(pair.infrared, infrared)

    def _state_unit(self, folder: Path, pair: Stored) -> None:
        if pair.unit is not None and folder not in self._stated:
            write_whole(folder / SIDECAR, sidecar_text(pair.unit))
            self._stated.add(folder)


def _refuse_others(out: Path, claim: Mapping[str, Any]) -> None:
    """Refuses a folder that holds anything but the same import.

    Raises:
        UsageError: Says what is there.
    """
    if not out.exists() or (out.is_dir() and not any(path.name != ".lock" for path in out.iterdir())):
        return
    if not out.is_dir() or not (out / RECORD).is_file():
        raise UsageError(f"--out {printable(out)} is there, and is no import of this command. Choose another folder.")
    try:
        content = json.loads(read_inside(out / RECORD, out))
        there = {key: content[key] for key in claim}
    except (OSError, ValueError, RecursionError, TypeError, KeyError) as error:
        raise UsageError(
            f"'{printable(out / RECORD)}' is damaged. Choose another --out, or remove the folder."
        ) from error
    if there != claim:
        before = f"'{printable(there['source'])}' with {json.dumps(there['options'])}"
        raise UsageError(
            f"--out {printable(out)} holds an import of {before}: give the same to go on, or another --out."
        )


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1) + "\n"
