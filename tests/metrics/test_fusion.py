"""`FusionMetrics`: tables over batches, datasets and processes."""

import copy
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ivif.metrics import FusionMetrics
from ivif.metrics.functional import FORMULA_FUSIONS, Triplet, entropy, formula_triplet, qabf
from tests.processes import own_lines

NAMES = ["EN", "SCD", "Qabf"]


def _unit(fusion: str, height: int = 48, width: int = 64) -> tuple[Tensor, Tensor, Tensor]:
    fused, infrared, visible = (image / 255 for image in formula_triplet(fusion, height, width))
    return fused, infrared, visible


def _filled(fusions: tuple[str, ...] = FORMULA_FUSIONS, chunk: int | None = None) -> FusionMetrics:
    metrics = FusionMetrics(NAMES, chunk=chunk)
    for fusion in fusions:
        metrics.update(*_unit(fusion), dataset=["formula"], name=[fusion])
    return metrics


@pytest.mark.parametrize("chunk", [None, 1, 3, 8])
def test_one_batch_is_the_sum_of_single_updates(chunk: int | None) -> None:
    metrics = FusionMetrics(NAMES, chunk=chunk)
    images = [torch.cat(parts) for parts in zip(*(_unit(fusion) for fusion in FORMULA_FUSIONS), strict=True)]
    metrics.update(images[0], images[1], images[2], dataset=["formula"] * 4, name=list(FORMULA_FUSIONS))
    whole, parts = metrics.per_image(), _filled().per_image()
    assert [row["name"] for row in whole] == sorted(FORMULA_FUSIONS)
    for one, other in zip(whole, parts, strict=True):
        assert [one[name] for name in NAMES] == pytest.approx([other[name] for name in NAMES], rel=1e-6, nan_ok=True)


def test_undefined_values_are_left_out_and_counted() -> None:
    metrics = _filled()
    rows = {row["name"]: row for row in metrics.per_image()}
    assert math.isnan(float(str(rows["visible"]["SCD"])))
    assert metrics.counts() == {"formula": {"images": 4, "EN": 4, "SCD": 3, "Qabf": 4}}
    defined = [float(str(rows[name]["SCD"])) for name in ("average", "maximum", "constant")]
    assert metrics.compute()["SCD"].item() == pytest.approx(sum(defined) / 3)
    assert math.isnan(_filled(("visible",)).compute()["SCD"].item())


def test_repeated_images_count_once_and_datasets_are_kept_apart() -> None:
    metrics = _filled(("average", "maximum", "average"))
    metrics.update(*_unit("maximum", 40, 44), dataset=["other"], name=["average"])
    tables = metrics.per_dataset()
    first, second = (entropy(formula_triplet(fusion, 48, 64)[0]).item() for fusion in ("average", "maximum"))
    assert tables["formula"]["EN"] == pytest.approx((first + second) / 2)
    assert tables["other"]["EN"] == pytest.approx(entropy(formula_triplet("maximum", 40, 44)[0]).item())
    assert metrics.counts()["formula"]["images"] == 2
    assert metrics.compute()["EN"].item() == pytest.approx((first + second + tables["other"]["EN"]) / 3)


def test_colour_is_scored_as_the_luma_of_its_8_bit_file() -> None:
    generator = torch.Generator().manual_seed(0)
    fused, visible = torch.rand(2, 1, 3, 40, 40, generator=generator)
    infrared = torch.rand(1, 1, 40, 40, generator=generator)
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64).view(1, 3, 1, 1)
    stored = [(image.double() * 255).round() for image in (fused, infrared, visible)]
    grey = [(image * weights).sum(1, keepdim=True).round() if image.shape[1] == 3 else image for image in stored]
    metrics = FusionMetrics(["Qabf"])
    metrics.update(fused, infrared, visible, dataset=["a"], name=["b"])
    assert metrics.compute()["Qabf"].item() == pytest.approx(qabf.of(Triplet(*grey)).item(), rel=1e-6)
    monitor = FusionMetrics(["Qabf"], eight_bit=False)
    monitor.update(fused, infrared, visible, dataset=["a"], name=["b"])
    assert monitor.compute()["Qabf"].item() == pytest.approx(metrics.compute()["Qabf"].item(), rel=1e-2)
    assert monitor.compute()["Qabf"].item() != metrics.compute()["Qabf"].item()


def test_reset_pickling_and_long_or_unicode_names() -> None:
    metrics = _filled()
    metrics.update(*_unit("maximum"), dataset=["Größe"], name=["日本/01"])
    again = copy.deepcopy(metrics)
    assert {row["name"] for row in again.per_image()} == {*FORMULA_FUSIONS, "日本/01"}
    metrics.reset()
    assert metrics.per_image() == []
    with pytest.raises(ValueError, match="longer than"):
        metrics.update(*_unit("maximum"), dataset=["a"], name=["b" * 600])


def test_mistakes_are_explained() -> None:
    with pytest.raises(ValueError, match="known: standard, mgfusion, cddfuse, vifb, ivif_zoo"):
        FusionMetrics(convention="textbook")
    with pytest.raises(ValueError, match="Qxy"):
        FusionMetrics(["EN", "Qxy"])
    with pytest.raises(ValueError, match="twice"):
        FusionMetrics(["EN", "EN"])
    with pytest.raises(ValueError, match="chunk"):
        FusionMetrics(["EN"], chunk=0)
    with pytest.raises(ValueError, match="2 names"):
        FusionMetrics(["EN"]).update(*_unit("average"), dataset=["a"], name=["a", "b"])
    with pytest.raises(ValueError, match="vif needs images of at least 41x41"):
        FusionMetrics(["VIF"]).update(*_unit("average", 40, 64), dataset=["a"], name=["a"])


@pytest.mark.slow
@pytest.mark.parametrize("images", [5, 1])
def test_two_processes_give_the_table_of_one(images: int, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.metrics.two_processes", str(images), str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=root, check=False)
    assert done.returncode == 0, done.stderr
    assert own_lines(done.stdout) == [f"same {images}"]
