"""TNO as a datamodule."""

from typing import ClassVar

from datamodules.datasets.base import PairedDataset
from datamodules.datasets.tno import TNO
from datamodules.paired import PairedDataModule


class TNODataModule(PairedDataModule):
    """Grey pairs of military scenes in many sizes, without labels; see `datamodules.datasets.tno`."""

    dataset_class: ClassVar[type[PairedDataset]] = TNO
