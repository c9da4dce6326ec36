"""LLVIP as a datamodule."""

from typing import ClassVar

from ivif.datamodules.datasets.base import PairedDataset
from ivif.datamodules.datasets.llvip import LLVIP
from ivif.datamodules.paired import PairedDataModule


class LLVIPDataModule(PairedDataModule):
    """15,488 pairs of streets at night at 1280x1024, with boxes of persons; see `ivif.datamodules.datasets.llvip`."""

    dataset_class: ClassVar[type[PairedDataset]] = LLVIP
