"""LLVIP as a datamodule."""

from typing import ClassVar

from datamodules.base import PairedDataModule
from datamodules.datasets.base import PairedDataset
from datamodules.datasets.llvip import LLVIP


class LLVIPDataModule(PairedDataModule):
    """15,488 pairs of streets at night at 1280x1024, with boxes of persons; see `datamodules.datasets.llvip`."""

    dataset_class: ClassVar[type[PairedDataset]] = LLVIP
