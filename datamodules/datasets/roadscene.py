"""RoadScene (Xu et al., AAAI 2020)."""

from collections.abc import Callable
from pathlib import Path

from ivif.contracts.batch import Sample
from ivif.datamodules.datasets.base import DEFAULT_READING, PairedDataset, ReadingConfig
from ivif.datamodules.datasets.pairs.records import FoundPairs


class RoadScene(PairedDataset):
    """Road scenes from FLIR video.

    Link: https://github.com/hanna-xu/RoadScene

    Features:
        * 221 pairs, most near 540x320, every pair of another size
        * no official split (`all`: splits come from manifests)

    Format:
        * aligned: `cropinfrared/*.jpg` (grey) and `crop_LR_visible/*.jpg` (RGB), registered and of one size
        * raw: `infrared/*.png` and `crop_HR_visible/*.jpg`, of different sizes by design; the infrared image is then
          resized to the visible one, which does not register them

    Classes: none.

    If you use it, cite: Xu et al., FusionDN: A Unified Densely Connected Network for Image Fusion, AAAI 2020.

    Args:
        root: The folder that holds these, or one a level above or below it.
        split: `all`.
        transforms: Applied to each sample.
        reading: How files are read.
        aligned: The registered crops (as the papers use), or the raw pairs.
    """

    dataset_name = "roadscene"
    url = "https://github.com/hanna-xu/RoadScene"
    license = "see the terms at the link"
    layouts = (
        "cropinfrared/*.jpg, crop_LR_visible/*.jpg",
        "infrared/*.png, crop_HR_visible/*.jpg (aligned: false)",
    )
    pair_options = ("aligned",)
    folder_names = ("RoadScene", "Road_Scene", "Road")
    inner_folders = ("cropinfrared", "crop_LR_visible", "infrared", "crop_HR_visible", "ir", "vi")

    def __init__(
        self,
        root: str | Path,
        split: str = "all",
        transforms: Callable[[Sample], Sample] | None = None,
        reading: ReadingConfig = DEFAULT_READING,
        aligned: bool = True,
    ) -> None:
        self.aligned = aligned
        super().__init__(root, split, transforms, reading)

    def _find_pairs(self) -> FoundPairs:
        # `infrared` is never taken for aligned: it holds the raw frames; repackaged copies use ir and vi
        if self.aligned:
            return self._match_first(("cropinfrared", "crop_infrared", "ir"), ("crop_LR_visible", "vi", "vis"))[1]
        return self._match_first(("infrared",), ("crop_HR_visible",))[1]
