"""One metric as a monitor, and the data behind all of them."""

import pytest
import torch
from torchmetrics import MetricCollection, MetricTracker

from ivif.metrics import CONVENTIONS, METRICS, FusionMetric, FusionMetrics
from ivif.metrics.functional import Triplet, formula_triplet


def test_directions_are_known() -> None:
    assert {name for name in METRICS if not FusionMetric(name).higher_is_better} == {"MSE", "Qcv", "Nabf", "CE"}


def test_options_belong_to_conventions() -> None:
    assert {key for entry in METRICS.values() for key in entry.conventions} == set(CONVENTIONS) - {"standard"}


def test_one_metric_gives_the_mean_of_the_table() -> None:
    names = ["EN", "SCD"]
    together, alone = FusionMetrics(names), MetricCollection({name: FusionMetric(name) for name in names})
    for fusion in ("average", "maximum", "visible"):
        fused, infrared, visible = (image / 255 for image in formula_triplet(fusion, 64, 72))
        together.update(fused, infrared, visible, dataset=["a"], name=[fusion])
        alone.update(fused, infrared, visible)
    torch.testing.assert_close(alone.compute(), together.compute())
    assert [alone[name].undefined for name in names] == [0, 1]


def test_metrics_of_a_collection_stay_apart_though_nothing_is_defined_at_first() -> None:
    collection = MetricCollection({name: FusionMetric(name) for name in ("SCD", "CC")})
    blank = torch.zeros(1, 1, 32, 32)
    collection.update(blank, blank, blank)
    collection.update(*(image / 255 for image in formula_triplet("average", 32, 32)))
    values = collection.compute()
    assert values["SCD"].item() == pytest.approx(1.3258579)
    assert values["CC"].item() == pytest.approx(0.4538468)


def test_a_tracker_knows_what_is_best() -> None:
    fused, infrared, visible = (image / 255 for image in formula_triplet("average", 64, 72))
    tracker = MetricTracker(FusionMetric("MSE"))
    for image in (fused, visible, fused.flip(-1)):
        tracker.increment()
        tracker.update(image, infrared, visible)
    values = tracker.compute_all().tolist()
    assert tracker.best_metric() == min(values) < max(values)


def test_integers_and_wrong_shapes_are_refused() -> None:
    image = torch.zeros(1, 1, 16, 16)
    with pytest.raises(ValueError, match="divide 8-bit images by 255"):
        FusionMetric("EN").update(image.to(torch.uint8), image, image)
    with pytest.raises(ValueError, match="1 or 3"):
        FusionMetric("EN").update(image.expand(1, 2, 16, 16), image, image)


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
