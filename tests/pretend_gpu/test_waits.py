"""How often the host waits for the device in a steady training step of each task. Fewer is better; none is more."""

import pytest
import torch

from tests.pretend_gpu.runs import PHASES, fitted
from tests.pretend_gpu.waits import table

EXPECTED = {
    "mgfusion": 3,
    "mgfusion, cached features": 4,
    "detection": 22,
    "detection of a rule": 24,
    "text_to_pixels, separate": 28,
    "text_to_pixels, joint": 36,
    "text_to_pixels, alternate": 35,
    "text_to_pixels, value_function": 43,
    "text_to_pixels, rank1": 35,
    "promptfusion, autoencoder": 2,
    "promptfusion, prompts": 9,
    "promptfusion, fusion": 2,
    "promptfusion, detector": 22,
    "promptfusion, bilevel": 26,
    "promptfusion, refinement": 10,
}
"""Waits of one step that neither logs nor ends an epoch. Lower a number when a wait is gone."""

STEADY = 2
"""The first of two steps of the second epoch: there is a teacher, and texts and features are remembered."""

OF_PHASE = dict(zip(PHASES, (1, 3, 5, 7, 9, 12), strict=True))
"""A step of each phase, which does not begin it."""


@pytest.mark.parametrize("name", EXPECTED)
def test_a_steady_step_waits_so_often(name: str, gpu: torch.device) -> None:
    kind, _, detail = name.partition(", ")
    found = fitted(kind).steps[OF_PHASE[detail]] if kind == "promptfusion" else fitted(name).steps[STEADY]
    assert found.total() == EXPECTED[name], f"\n{table(found)}"
