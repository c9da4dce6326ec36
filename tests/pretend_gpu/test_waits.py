"""How often the host waits for the device in a steady training step of each task. Fewer is better; none is more."""

import pytest
import torch

from benchmarks.gpu.tasks import PHASES
from tests.pretend_gpu.runs import fitted
from tests.pretend_gpu.waits import table

EXPECTED = {
    "mgfusion": 1,
    "mgfusion, cached features": 1,
    "detection": 14,
    "detection of a rule": 14,
    "text_to_pixels, separate": 16,  # its detector's first step, which makes the loss: 2 of them once a run
    "text_to_pixels, joint": 14,
    "text_to_pixels, alternate": 15,
    "text_to_pixels, value_function": 15,
    "text_to_pixels, rank1": 15,
    "promptfusion, autoencoder": 1,
    "promptfusion, prompts": 6,
    "promptfusion, fusion": 1,
    "promptfusion, detector": 14,
    "promptfusion, bilevel": 15,
    "promptfusion, refinement": 7,
}
"""Waits of one step that neither logs nor ends an epoch. Lower a number when a wait is gone."""

STEADY = 2
"""The first of two steps of the second epoch: there is a teacher, and texts and features are remembered."""

OF_PHASE = dict(zip(PHASES, (1, 3, 5, 7, 9, 12), strict=True))
"""A step of each phase, which does not begin it."""


SLOW = ("text_to_pixels, alternate", "text_to_pixels, rank1", "text_to_pixels, separate")
"""Schemes that wait where the two others do."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in EXPECTED]
)
def test_a_steady_step_waits_so_often(name: str, gpu: torch.device) -> None:
    kind, _, detail = name.partition(", ")
    fitted("detection")  # constants of boxes are made once in a process
    found = fitted(kind).steps[OF_PHASE[detail]] if kind == "promptfusion" else fitted(name).steps[STEADY]
    assert found.total() == EXPECTED[name], f"\n{table(found)}"
