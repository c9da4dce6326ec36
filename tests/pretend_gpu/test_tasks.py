"""Every task on the pretend device: it trains as on the CPU, number for number, and then tests and predicts."""

from pathlib import Path

import pytest
import torch

from callbacks.evaluator import Evaluator
from callbacks.prediction_writer import PredictionWriter
from metrics.registry import METRICS
from tests.batches import quiet_trainer
from tests.pretend_gpu.runs import TASKS, data, fitted
from tests.pretend_gpu.trainers import gpu_trainer

SMALL_ENOUGH = [name for name in METRICS if name != "MS_SSIM"]
"""Those that pictures of 64 pixels are large enough for; test_metrics.py has all."""

ONE_OF_EACH = ("mgfusion, cached features", "detection", "text_to_pixels, value_function", "promptfusion")


@pytest.mark.parametrize("kind", TASKS)
def test_it_ends_with_the_very_weights_and_scores_of_the_cpu(kind: str, gpu: torch.device) -> None:
    run = fitted(kind)
    assert run.weights.keys() == run.reference.keys()
    different = [name for name, value in run.weights.items() if not torch.equal(value, run.reference[name])]
    assert different == []
    assert run.scores.keys() == run.reference_scores.keys()
    assert any(name.startswith("val/") for name in run.scores)
    assert run.scores == pytest.approx(run.reference_scores, nan_ok=True, rel=1e-6)


@pytest.mark.parametrize("kind", ONE_OF_EACH)
def test_it_tests_and_predicts_as_on_the_cpu(kind: str, gpu: torch.device, tmp_path: Path) -> None:
    run = fitted(kind)
    found = {}
    for place, trainer in (("device", gpu_trainer), ("host", quiet_trainer)):
        evaluator, writer = Evaluator(test_metrics=SMALL_ENOUGH, chunk=1), PredictionWriter(tmp_path / place / "out")
        (scores,) = trainer(tmp_path / place, callbacks=[evaluator]).test(run.task, data(run.task), verbose=False)
        predicting = trainer(tmp_path / place, callbacks=[writer])
        predicting.predict(run.task, data(run.task), return_predictions=False)
        files = {path.relative_to(writer.results[0].parent): path.read_bytes() for path in writer.results}
        found[place] = scores, files, sorted(path.name for path in (tmp_path / place).rglob("*.csv"))
    (on_device, files, tables), (on_host, host_files, host_tables) = found["device"], found["host"]
    assert set(SMALL_ENOUGH) <= {name.removeprefix("test/") for name in on_device}
    assert on_device == pytest.approx(on_host, nan_ok=True, rel=1e-6)
    assert files
    assert files == host_files
    assert tables == host_tables
