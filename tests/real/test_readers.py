"""Every pair of the real data is read; its counts are those of the copy's own description."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from datamodules.datasets.base import PairedDataset
from datamodules.datasets.llvip import LLVIP
from datamodules.datasets.m3fd import M3FD
from datamodules.datasets.msrs import MSRS
from datamodules.datasets.roadscene import RoadScene
from datamodules.datasets.tno import TNO

ROOT = Path(os.environ.get("IVIF_REAL_DATA", Path(__file__).resolve().parents[2] / ".." / "shared" / "data"))

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not ROOT.is_dir(), reason=f"no real data in '{ROOT}' (set IVIF_REAL_DATA)"),
]


@pytest.mark.parametrize(
    "build",
    [
        lambda: M3FD(ROOT),
        lambda: TNO(ROOT),
        lambda: RoadScene(ROOT),
        lambda: RoadScene(ROOT, aligned=False),
        lambda: MSRS(ROOT, "all"),
        lambda: LLVIP(ROOT, "all"),
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
    dataset = M3FD(ROOT)
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
        dataset = MSRS(ROOT, split)
        folder = dataset.records[0].visible.parents[2] / "detection_labels" / "fusion" / split
        lines = sum(1 for file in folder.glob("*.txt") for line in file.read_text().splitlines() if line.strip())
        assert sum(len(dataset.load_targets(index)["labels"]) for index in range(len(dataset))) == lines > 0
