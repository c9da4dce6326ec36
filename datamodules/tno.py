"""TNO as a datamodule."""

from typing import ClassVar

from ivif.datamodules.datasets.base import PairedDataset
from ivif.datamodules.datasets.tno import TNO
from ivif.datamodules.paired import PairedDataModule


class TNODataModule(PairedDataModule):
    """Grey pairs of military scenes in many sizes, without labels; see `ivif.datamodules.datasets.tno`."""

    dataset_class: ClassVar[type[PairedDataset]] = TNO
