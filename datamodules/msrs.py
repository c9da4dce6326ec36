"""MSRS as a datamodule."""

from typing import Any, ClassVar, Literal

from ivif.datamodules.datasets.base import PairedDataset
from ivif.datamodules.datasets.msrs import MSRS
from ivif.datamodules.paired import PairedDataModule


class MSRSDataModule(PairedDataModule):
    """1,444 pairs of streets by day and night at 640x480, with boxes; see `ivif.datamodules.datasets.msrs`.

    Args:
        labels: Whose boxes count: those drawn on the `fusion`, `infrared` or `visible` images.
        **kwargs: Arguments of `PairedDataModule`.
    """

    dataset_class: ClassVar[type[PairedDataset]] = MSRS

    def __init__(self, labels: Literal["fusion", "infrared", "visible"] = "fusion", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.labels = labels

    def reader_options(self) -> dict[str, Any]:
        """Whose boxes count."""
        return {"labels": self.labels}
