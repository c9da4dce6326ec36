"""LLVIP as a datamodule."""

from typing import ClassVar

from datamodules.datasets.base import PairedDataset
from datamodules.datasets.llvip import LLVIP
from datamodules.paired import PairedDataModule


class LLVIPDataModule(PairedDataModule):
    """15,488 pairs of streets at night at 1280x1024, with boxes of persons; see `datamodules.datasets.llvip`."""

    dataset_class: ClassVar[type[PairedDataset]] = LLVIP
