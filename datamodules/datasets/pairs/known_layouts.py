"""Public datasets whose layouts the folder reader cannot pair as they are: what to say of them."""

from pathlib import Path
from typing import Final

_REMARKS: Final = (
    (
        ("normal_xml", "normal_json", "rotate_xml", "rotate_json"),
        "This is HIT-UAV, which has infrared pictures alone: there is nothing to fuse. Choose a dataset of pairs "
        "(DATASETS.md lists some).",
    ),
    (
        ("rgb_to_thermal_vid_map.json", "images_thermal_train", "video_thermal_test"),
        "This is FLIR ADAS v2, where only the pictures of its test videos are pairs, and rgb_to_thermal_vid_map.json "
        "says which: DATASETS.md (FLIR ADAS) has the command that makes a list of pairs of it.",
    ),
)
"""Names of files or folders, any of which tells a dataset, and the remark on it."""


def remark(root: Path) -> str:
    """What is known of the dataset under a root, or around it, that does not pair; an empty text for any other."""
    for place in (root, root.parent):
        for names, text in _REMARKS:
            if any((place / name).exists() for name in names):
                return text
    return ""
