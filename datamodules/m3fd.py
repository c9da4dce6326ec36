"""M3FD as a datamodule."""

from typing import Any, ClassVar, Literal

from ivif.datamodules.base import Source
from ivif.datamodules.datasets.base import PairedDataset
from ivif.datamodules.datasets.m3fd import M3FD
from ivif.datamodules.paired import PairedDataModule


class M3FDDataModule(PairedDataModule):
    """4,200 pairs of roads, campuses and seaside with six classes of objects; see `ivif.datamodules.datasets.m3fd`.

    Args:
        subset: `detection` (4,200 pairs, labelled) or `fusion` (300 pairs, without labels).
        **kwargs: Arguments of `PairedDataModule`.
    """

    dataset_class: ClassVar[type[PairedDataset]] = M3FD

    def __init__(self, subset: Literal["detection", "fusion"] = "detection", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.subset = subset

    def sources(self) -> list[Source]:
        """The subset, which manifests and tables know by a name of its own: `m3fd` or `m3fd_fusion`."""
        if self.subset == "fusion":
            return [Source("m3fd_fusion", self._open_split)]
        return super().sources()

    def reader_options(self) -> dict[str, Any]:
        """The subset."""
        return {"subset": self.subset}
