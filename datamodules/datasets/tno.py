"""TNO Image Fusion Dataset (Toet, 2014)."""

from ivif.datamodules.datasets.base import PairedDataset
from ivif.datamodules.datasets.pairs.names import INFRARED_FOLDERS, VISIBLE_FOLDERS
from ivif.datamodules.datasets.pairs.records import FoundPairs


class TNO(PairedDataset):
    """Military and surveillance scenes at night; both images grey.

    Link: https://figshare.com/articles/dataset/TNO_Image_Fusion_Dataset/1008029

    Features:
        * 42, 37 or 25 registered pairs, by the selection of whoever prepared it; many odd sizes
        * no official split (`all`: splits come from manifests)

    Format:
        * `ir/*`, `vi/*`: partners by stem; grey, stored in one or three channels

    Classes: none.

    If you use it, cite: Toet, TNO Image Fusion Dataset, figshare, 2014.

    Args:
        root: The folder with `ir` and `vi`, or one a level above or below it.
        split: `all`.
        transforms: Applied to each sample.
        reading: How files are read.
    """

    dataset_name = "tno"
    url = "https://figshare.com/articles/dataset/TNO_Image_Fusion_Dataset/1008029"
    license = "see the terms at the link"
    layouts = ("ir/*.png, vi/*.png",)
    folder_names = ("TNO",)
    inner_folders = ("ir", "vi", "vis", "infrared", "visible")

    def _find_pairs(self) -> FoundPairs:
        return self._match_first(INFRARED_FOLDERS, VISIBLE_FOLDERS)[1]
