"""Where datasets can be had, under which terms, and how many pairs they have then."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

GITHUB: Final = "https://github.com"


@dataclass(frozen=True)
class Place:
    """One dataset.

    Args:
        folder: What its folder below `data/` is called.
        reader: Its reader, as a path of Python.
        page: Where its owners describe it.
        terms: What they say about its use.
        pairs: How many pairs a whole copy has, by split; empty where it depends on who chose them.
        repository: Owner and name of the GitHub repository that it is.
        commit: Which state of it.
        drive: Id of its archive on Google Drive.
        by_hand: What its page has, and what to fetch there, where no address is stable.
    """

    folder: str
    reader: str
    page: str
    terms: str
    pairs: Mapping[str, int] = field(default_factory=dict)
    repository: str = ""
    commit: str = ""
    drive: str = ""
    by_hand: str = ""

    @property
    def address(self) -> str:
        """Of its archive, for a program; empty where there is none."""
        return f"{GITHUB}/{self.repository}/archive/{self.commit}.zip" if self.repository else ""

    @property
    def link(self) -> str:
        """For a browser."""
        return f"https://drive.google.com/file/d/{self.drive}/view" if self.drive else self.address or self.page


PLACES: Final = {
    "roadscene": Place(
        folder="RoadScene",
        reader="ivif.datamodules.datasets.roadscene.RoadScene",
        page="https://github.com/hanna-xu/RoadScene",
        terms="No licence is stated. The pictures come from FLIR's videos, which have terms of their own. "
        "Cite Xu et al., FusionDN, AAAI 2020, or U2Fusion, TPAMI 2022.",
        pairs={"all": 221},
        repository="hanna-xu/RoadScene",
        commit="ab71420f8fc96396eeb97eecf3694909b3feb656",
    ),
    "msrs": Place(
        folder="MSRS",
        reader="ivif.datamodules.datasets.msrs.MSRS",
        page="https://github.com/Linfeng-Tang/MSRS",
        terms="No licence is stated. The pictures come from the MFNet dataset. "
        "Cite Tang et al., PIAFusion, Information Fusion 2022.",
        pairs={"train": 1083, "test": 361},
        repository="Linfeng-Tang/MSRS",
        commit="5fa66e33c5ba875eec4de4f5a5bf609bdcc566c5",
    ),
    "llvip": Place(
        folder="LLVIP",
        reader="ivif.datamodules.datasets.llvip.LLVIP",
        page="https://bupt-ai-cz.github.io/LLVIP",
        terms="Non-commercial use alone (research, teaching, publications, trying things out), with a reference to it; "
        "nobody in the pictures may be identified. The whole text: 'Term of Use and License.md' in "
        "https://github.com/bupt-ai-cz/LLVIP. Cite Jia et al., LLVIP, ICCV Workshops 2021.",
        pairs={"train": 12025, "test": 3463},
        drive="1VTlT3Y7e1h-Zsne4zahjx5q0TK2ClMVv",
    ),
    "m3fd": Place(
        folder="M3FD",
        reader="ivif.datamodules.datasets.m3fd.M3FD",
        page="https://github.com/JinyuanLiu-CV/TarDAL",
        terms="No licence of the pictures is stated. Cite Liu et al., TarDAL, CVPR 2022.",
        pairs={"all": 4200},
        by_hand="links a folder of several archives on Google Drive and Baidu: fetch M3FD_Detection.zip",
    ),
    "tno": Place(
        folder="TNO",
        reader="ivif.datamodules.datasets.tno.TNO",
        page="https://figshare.com/articles/dataset/TNO_Image_Fusion_Dataset/1008029",
        terms="See the page. Cite Toet, TNO Image Fusion Dataset, figshare 2014.",
        by_hand="has sequences of several cameras, of which papers use 42, 37 or 25 pairs: fetch one of these "
        "selections from a paper's repository, as a zip archive with the folders ir and vi",
    ),
}
"""Every dataset that `data download` knows."""
