"""Every task on the pretend device: it trains as on the CPU, number for number, and then tests and predicts."""

from pathlib import Path

import pytest
import torch

from ivif.callbacks.evaluator import Evaluator
from ivif.callbacks.prediction_writer import PredictionWriter
from ivif.metrics.registry import METRICS
from ivif.testing.batches import quiet_trainer
from tests.pretend_gpu.runs import TASKS, data, fitted
from tests.pretend_gpu.trainers import gpu_trainer

SMALL_ENOUGH = [name for name in METRICS if name != "MS_SSIM"]
"""Those that pictures of 64 pixels are large enough for; test_metrics.py has all."""

_SLOW = pytest.mark.slow

ONE_OF_EACH = (
    "mgfusion, cached features",
    "detection",
    "text_to_pixels, value_function",
    pytest.param("promptfusion", marks=_SLOW),
)

LONG = ("text_to_pixels, alternate", "text_to_pixels, rank1", "text_to_pixels, separate", "promptfusion")
"""Tasks that do nothing on a device that none of the others does, and the one that takes longest."""


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=_SLOW if kind in LONG else ()) for kind in TASKS])
def test_it_ends_with_the_very_weights_and_scores_of_the_cpu(kind: str, gpu: torch.device) -> None:
    run = fitted(kind)
    assert run.weights.keys() == run.reference.keys()
    different = [name for name, value in run.weights.items() if not torch.equal(value, run.reference[name])]
    assert different == []
    assert run.scores.keys() == run.reference_scores.keys()
    assert any(name.startswith("val/") for name in run.scores)
    assert run.scores == pytest.approx(run.reference_scores, nan_ok=True, rel=1e-6)


@pytest.mark.parametrize("kind", ONE_OF_EACH)
def test_it_tests_with_every_metric(kind: str, gpu: torch.device, tmp_path: Path) -> None:
    run = fitted(kind)
    trainer = gpu_trainer(tmp_path, callbacks=[Evaluator(test_metrics=SMALL_ENOUGH)])
    (scores,) = trainer.test(run.task, data(run.task), verbose=False)
    assert set(SMALL_ENOUGH) <= {name.removeprefix("test/") for name in scores}
    assert ("test/mAP50" in scores) == run.task.scores_detection
    assert (tmp_path / "tables" / "test.md").read_text().count("contourlet") > 0


@pytest.mark.parametrize("kind", ONE_OF_EACH)
def test_it_predicts_the_very_pictures_of_the_cpu(kind: str, gpu: torch.device, tmp_path: Path) -> None:
    run, pictures = fitted(kind), []
    for name, trainer in (("device", gpu_trainer), ("host", quiet_trainer)):
        writing = trainer(tmp_path, callbacks=[PredictionWriter(tmp_path / name)])
        writing.predict(run.task, data(run.task), return_predictions=False)
        pictures.append({path.name: path.read_bytes() for path in (tmp_path / name).rglob("*.png")})
    assert pictures[0]
    assert pictures[0] == pictures[1]
