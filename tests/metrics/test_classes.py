"""The thin classes, and the data behind them."""

import pytest
import torch
from torchmetrics import MetricCollection

from ivif import metrics
from ivif.metrics import CONVENTIONS, METRICS, FusionMetrics, SingleMetric
from ivif.metrics.functional import Triplet, formula_triplet

CLASSES = [value for value in vars(metrics).values() if isinstance(value, type) and issubclass(value, SingleMetric)]
SINGLE = [single for single in CLASSES if single is not SingleMetric]


def test_there_is_one_class_per_metric_with_its_direction() -> None:
    assert sorted(single.metric for single in SINGLE) == sorted(METRICS)
    assert all(single.higher_is_better == METRICS[single.metric].higher_is_better for single in SINGLE)
    assert {name for name, entry in METRICS.items() if not entry.higher_is_better} == {"MSE", "Qcv", "Nabf", "CE"}


def test_classes_give_the_means_of_the_collection() -> None:
    together, alone = (
        FusionMetrics(),
        MetricCollection([single() for single in SINGLE if single.metric in ("EN", "SCD")]),
    )
    for fusion in ("average", "maximum", "visible"):
        fused, infrared, visible = (image / 255 for image in formula_triplet(fusion, 64, 72))
        together.update(fused, infrared, visible, dataset=["a"], name=[fusion])
        alone.update(fused, infrared, visible)
    expected = together.compute()
    got = alone.compute()
    assert got["Entropy"].item() == pytest.approx(expected["EN"].item())
    assert got["SumOfCorrelationsOfDifferences"].item() == pytest.approx(expected["SCD"].item())
    undefined = {single.metric: single for single in alone.values() if isinstance(single, SingleMetric)}[
        "SCD"
    ].undefined
    assert int(undefined) == 1


def test_integers_and_wrong_shapes_are_refused() -> None:
    image = torch.zeros(1, 1, 16, 16)
    with pytest.raises(ValueError, match="divide 8-bit images by 255"):
        metrics.Entropy().update(image.to(torch.uint8), image, image)
    with pytest.raises(ValueError, match="1 or 3"):
        metrics.Entropy().update(image.expand(1, 2, 16, 16), image, image)


@pytest.mark.parametrize(
    ("convention", "name", "ratio"),
    [("mgfusion", "VIF", 0.5), ("cddfuse", "MI", 0.6931471806), ("ivif_zoo", "MSE", 255.0**-2)],
)
def test_conventions_differ_as_documented(convention: str, name: str, ratio: float) -> None:
    triplet = Triplet(*formula_triplet("average"))
    standard, other = (CONVENTIONS[key].score(triplet, [name])[name].item() for key in ("standard", convention))
    assert other / standard == pytest.approx(ratio)


def test_psnr_of_ivif_zoo_is_48_decibels_higher() -> None:
    triplet = Triplet(*formula_triplet("average"))
    values = [CONVENTIONS[key].score(triplet, ["PSNR"])["PSNR"].item() for key in ("ivif_zoo", "standard")]
    assert values[0] - values[1] == pytest.approx(48.1308, abs=1e-4)
