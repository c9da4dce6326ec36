"""Every pair of the real data is read; its counts are those of the copy's own description."""

from collections import Counter
from collections.abc import Callable

import pytest
import torch

from ivif.datamodules.datasets.base import PairedDataset
from ivif.datamodules.datasets.llvip import LLVIP
from ivif.datamodules.datasets.m3fd import M3FD
from ivif.datamodules.datasets.msrs import MSRS
from ivif.datamodules.datasets.roadscene import RoadScene
from ivif.datamodules.datasets.tno import TNO
from tests.real_data import REAL_DATA

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not REAL_DATA.is_dir(), reason=f"no real data in '{REAL_DATA}' (set IVIF_REAL_DATA)"),
]


@pytest.mark.parametrize(
    "build",
    [
        lambda: M3FD(REAL_DATA),
        lambda: TNO(REAL_DATA),
        lambda: RoadScene(REAL_DATA),
        lambda: RoadScene(REAL_DATA, aligned=False),
        lambda: MSRS(REAL_DATA, "all"),
        lambda: LLVIP(REAL_DATA, "all"),
    ],
    ids=["m3fd", "tno", "roadscene", "roadscene-raw", "msrs", "llvip"],
)
def test_every_pair_is_read(build: Callable[[], PairedDataset]) -> None:
    dataset = build()
    assert len(dataset) > 0
    assert dataset.pairing.complete
    identities = set()
    for index in range(len(dataset)):
        sample = dataset[index]
        height, width = dataset.image_size(index)
        assert sample["infrared"].shape == (1, height, width)
        assert sample["visible"].shape == (3, height, width)
        assert sample["infrared"].dtype == sample["visible"].dtype == torch.uint8
        assert sample["infrared"].float().std() > 1, sample["name"]
        identities.add(sample["content_id"])
        if dataset.has_labels:
            boxes = sample["targets"]["boxes"]
            assert bool((boxes >= 0).all() and (boxes <= torch.tensor([width, height, width, height])).all())
    assert len(identities) == len(dataset)


def test_voc_and_yolo_of_m3fd_agree() -> None:
    dataset = M3FD(REAL_DATA)
    counts: Counter[str] = Counter()
    for index, record in enumerate(dataset.records):
        size = dataset.image_size(index)
        folder = record.visible.parents[1] / "labels"
        yolo = dataset.label_reader.read(folder / f"{record.name}.txt", record.name, size)
        voc = dataset.load_targets(index)
        assert voc["labels"].tolist() == yolo["labels"].tolist()
        torch.testing.assert_close(voc["boxes"], yolo["boxes"], atol=1e-3, rtol=0)
        counts.update(dataset.classes[label] for label in voc["labels"].tolist())
    assert counts["People"] > counts["Car"] > counts["Truck"] > 0


def test_msrs_boxes_are_those_of_the_files() -> None:
    for split in ("train", "test"):
        dataset = MSRS(REAL_DATA, split)
        folder = dataset.records[0].visible.parents[2] / "detection_labels" / "fusion" / split
        lines = sum(1 for file in folder.glob("*.txt") for line in file.read_text().splitlines() if line.strip())
        assert sum(len(dataset.load_targets(index)["labels"]) for index in range(len(dataset))) == lines > 0
