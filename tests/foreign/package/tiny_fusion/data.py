"""A dataset in a package of its own."""

from pathlib import Path
from typing import Any, ClassVar

from ivif.datamodules.datasets.base import PairedDataset
from ivif.datamodules.datasets.pairs.matching import match_folders
from ivif.datamodules.datasets.pairs.records import FoundPairs
from ivif.datamodules.paired import PairedDataModule


class TinyPairs(PairedDataset):
    """Pairs in two folders, `warm` and `seen`, one split."""

    dataset_name = "tiny_pairs"
    url = "tests/foreign"
    license = "Apache-2.0"
    layouts = ("warm/*.png, seen/*.png",)

    def _find_pairs(self) -> FoundPairs:
        return match_folders(self.root / "warm", self.root / "seen")


class TinyPairsDataModule(PairedDataModule):
    """TinyPairs, split by the rule that lies beside this file."""

    dataset_class: ClassVar[type[PairedDataset]] = TinyPairs

    def __init__(self, root: Path, manifest: str = str(Path(__file__).with_name("split.yaml")), **kwargs: Any) -> None:
        super().__init__(root, manifest=manifest, **kwargs)
