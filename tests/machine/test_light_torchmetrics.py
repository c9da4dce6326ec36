"""Lightning starts with parts of torchmetrics; whoever asks for more has all of it."""

import subprocess
import sys

import pytest

WHOLE = """
import sys
from importlib.metadata import version
from ivif.machine.light_torchmetrics import load_parts_of_torchmetrics
assert load_parts_of_torchmetrics()
import lightning.pytorch.cli
import torchmetrics
assert not {"torchmetrics.functional", "scipy.signal", "torchvision"} & set(sys.modules)
assert torchmetrics.__version__ == version("torchmetrics") and not hasattr(torchmetrics, "__nothing__")
metric = torchmetrics.Metric
from torchmetrics.detection import MeanAveragePrecision
from torchmetrics.retrieval import RetrievalMAP
from torchmetrics.text import BLEUScore
kinds = (MeanAveragePrecision, RetrievalMAP, BLEUScore, torchmetrics.MeanMetric)
assert all(issubclass(kind, metric) for kind in kinds)
assert torchmetrics.Metric is metric is torchmetrics.metric.Metric
assert torchmetrics.functional.accuracy and not hasattr(torchmetrics, "nothing")
print(torchmetrics.MeanMetric()(3.0).item(), "Accuracy" in torchmetrics.__all__)
"""

OTHERWISE = """
import sys
from ivif.machine import light_torchmetrics
light_torchmetrics._PARTS["Metric"] = "torchmetrics.moved"
assert not light_torchmetrics.load_parts_of_torchmetrics()
assert not [name for name in sys.modules if name.startswith("torchmetrics")]
import torchmetrics
assert not light_torchmetrics.load_parts_of_torchmetrics()
print(torchmetrics.MeanMetric()(3.0).item())
"""


def run(script: str) -> str:
    return subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_the_rest_is_there_when_it_is_asked_for() -> None:
    assert run(WHOLE) == "3.0 True\n"


def test_a_package_that_is_built_otherwise_or_loaded_is_left_alone() -> None:
    assert run(OTHERWISE) == "3.0\n"
