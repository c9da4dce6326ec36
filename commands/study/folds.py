"""The folds of a study: split manifests in its folder, written once, which every run of a fold reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ivif.commands.errors import UsageError
from ivif.commands.parsing.command_line import rewrite
from ivif.commands.parsing.parser import SuiteParser
from ivif.files.names import printable

if TYPE_CHECKING:
    from ivif.datamodules.base import FusionDataModule  # with Lightning, which a listing does not need
    from ivif.datamodules.datasets.base import PairedDataset

FOLDS: Final = "{folds}"
"""In an option's value: the folder of the study's folds."""

FOLDER: Final = "folds"
"""That folder, in the study's."""


@dataclass(frozen=True)
class Division:
    """The folds of one entry of a study's data.

    Attributes:
        data: Name of the entry.
        options: Which data, as options of a command.
        count: How many folds.
        seed: Of what is drawn.
    """

    data: str
    options: tuple[str, ...]
    count: int
    seed: int

    @property
    def folder(self) -> str:
        """Where its manifests lie, below `FOLDER`."""
        return f"{self.data}-{self.count}-seed{self.seed}"

    def option(self, fold: int) -> str:
        """The option that chooses a fold, from 0."""
        return f"--data.manifest={FOLDS}/{self.folder}/fold{fold}.yaml"


def write_folds(study: Path, division: Division) -> None:
    """Divides the pairs of a study's data and writes a manifest for each fold; those that are there stay.

    Args:
        study: The study's folder.
        division: Of what, into how many.

    Raises:
        UsageError: If the data are no pairs on disk, or have other pairs than when the study was begun.
        SplitError: If there are too few pairs.
    """
    from ivif.datamodules.folds import divide, parts_of, units_of  # brings Lightning
    from ivif.datamodules.manifest_expansion import write_expansion
    from ivif.datamodules.manifests import Selection

    data = _opened(division.options)
    readers = _readers(data, division)
    paths = [study / FOLDER / division.folder / f"fold{fold}.yaml" for fold in range(division.count)]
    if all(path.is_file() for path in paths):
        _compare(paths, readers, division)
        return
    folds = {
        reader.dataset_name: divide(units_of(reader, data.manifest, division.seed), division.count)
        for reader in readers
    }
    for fold, path in enumerate(paths):
        chosen = [
            Selection(f"fold {fold} of {division.folder}", dataset, stage, "all", names, None, [], 0, "")
            for dataset, own in folds.items()
            for stage, names in parts_of(own, fold).items()
        ]
        write_expansion(path, chosen)


def _opened(options: Sequence[str]) -> "FusionDataModule":
    from ivif.datamodules.base import FusionDataModule

    parser = SuiteParser(prog="data")
    parser.add_subclass_arguments(FusionDataModule, "data", fail_untyped=False)
    data: FusionDataModule = parser.instantiate(parser.parse_args(rewrite(options).arguments)).data
    data.prompts = None  # their file may be elsewhere, and nothing of them is asked
    return data


def _readers(data: "FusionDataModule", division: Division) -> "list[PairedDataset]":
    from ivif.datamodules.start_checks import files_of

    readers = [files_of(reader) for reader in data.stage_readers("all")]
    found = [reader for reader in readers if reader is not None]
    if not found or len(found) < len(readers):
        raise UsageError(
            f"data.{division.data} has no pairs on disk that folds could divide. `ivif data scenes` writes generated "
            f"scenes as files; else leave out folds."
        )
    return found


def _compare(paths: Sequence[Path], readers: "Sequence[PairedDataset]", division: Division) -> None:
    """Refuses folds of other pairs than are on disk now."""
    from ivif.datamodules.manifests import Manifest

    manifests = [Manifest.load(path) for path in paths]
    for reader in readers:
        known = reader.dataset_name in manifests[0].datasets
        divided = [name for each in manifests if known for name in each.listed(reader.dataset_name, "test")]
        if other := sorted(set(divided) ^ set(reader.names)):
            raise UsageError(
                f"data.{division.data}: {reader.dataset_name} has other pairs than when its folds were drawn "
                f"({len(other)} came or went, such as '{printable(other[0])}'). Restore them, or give the study's "
                f"file another name."
            )
