"""RoadScene as a datamodule."""

from typing import Any, ClassVar

from ivif.datamodules.datasets.base import PairedDataset
from ivif.datamodules.datasets.roadscene import RoadScene
from ivif.datamodules.paired import PairedDataModule


class RoadSceneDataModule(PairedDataModule):
    """221 pairs of roads from FLIR video, without labels; see `ivif.datamodules.datasets.roadscene`.

    Args:
        aligned: Read the registered pairs (`cropinfrared`, `crop_LR_visible`); off reads the raw ones, whose sizes
            differ by design and whose infrared image is resized.
        **kwargs: Arguments of `PairedDataModule`.
    """

    dataset_class: ClassVar[type[PairedDataset]] = RoadScene

    def __init__(self, aligned: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.aligned = aligned

    def reader_options(self) -> dict[str, Any]:
        """Which of the two sets of files."""
        return {"aligned": self.aligned}
