"""A batch cut into parts, or joined from several, gives the gradients of the plain whole, for every loss."""

from pathlib import Path

import pytest
import torch
from _pytest.mark import ParameterSet

from ivif.lightning_modules.bilevel_task import BilevelTask
from ivif.lightning_modules.text_to_pixels import TextToPixelsTask
from ivif.testing.processes import run_python
from tests.lightning_modules.accumulated import UnevenScenes, difference, fit, make_task

SCRIPT = Path(__file__).parent / "accumulated_on_two_processes.py"
ROUNDING = 4e-6
"""Relative: in single precision the order of sums is worth 2e-6; a wrong divisor or share is worth 1e-2 and more."""

KINDS = {
    "text_to_pixels separate": 2,
    "text_to_pixels joint": 1,
    "text_to_pixels value_function": 1,
    "text_to_pixels rank1": 1,
    "promptfusion autoencoder": 1,
    "promptfusion prompts": 1,
    "promptfusion refinement": 2,
    "promptfusion detector": 1,
    "promptfusion bilevel": 1,
}
"""Method and scheme or phase -> epochs of one step each."""


def _parts(kind: str) -> list[ParameterSet]:
    # In four parts, frames and crops are 2, 1, 1 and 2, and some parts have no object.
    quick = {"text_to_pixels joint", "text_to_pixels value_function", "promptfusion prompts", "promptfusion bilevel"}
    marks = () if kind in quick else pytest.mark.slow
    return [pytest.param(kind, 4, marks=marks)] + [pytest.param(kind, n, marks=pytest.mark.slow) for n in (2, 3, 6)]


@pytest.mark.parametrize(("kind", "parts"), [case for kind in KINDS for case in _parts(kind)])
def test_parts_of_a_batch_give_the_gradients_of_the_whole(kind: str, parts: int, tmp_path: Path) -> None:
    tasks = [make_task(kind), make_task(kind, parts)]
    whole, cut = (fit(task, UnevenScenes(6), tmp_path, max_epochs=KINDS[kind]) for task in tasks)
    assert [level for level, _ in cut] == [level for level, _ in whole]
    assert len(whole) >= KINDS[kind]
    for (level, expected), (_, found) in zip(whole, cut, strict=True):
        assert expected.abs().max() > 0, level
        assert difference(found, expected) < ROUNDING, level
    first, second = tasks
    assert isinstance(first, BilevelTask)
    assert isinstance(second, BilevelTask)
    for name, value in first._terms.items():  # what is logged is the whole batch's, too
        assert torch.isclose(second._terms[name], value, rtol=1e-5), name
    for name in first.diagnostics:
        if name.startswith(("prompts/", "content/")):
            assert torch.isclose(second.diagnostics[name], first.diagnostics[name], rtol=1e-5, atol=1e-6), name


@pytest.mark.parametrize("scheme", ["joint", "value_function"])
def test_the_codebook_counts_every_part_and_both_kinds_of_pictures(scheme: str, tmp_path: Path) -> None:
    tasks = [make_task(f"text_to_pixels {scheme}", parts) for parts in (1, 4)]
    usages, sums = [], []
    for task in tasks:
        fit(task, UnevenScenes(6), tmp_path)
        assert isinstance(task, TextToPixelsTask)
        quantizer = task.network.get_submodule("quantizer")
        usages.append(quantizer.get_buffer("usage"))
        sums.append(quantizer.get_buffer("sums"))
    frames, crops = 6 * (64 // 8) ** 2, 6 * (32 // 8) ** 2  # a token for 8 x 8 pixels
    assert float(usages[0].sum()) == pytest.approx(0.01 * (frames + crops))
    torch.testing.assert_close(usages[1], usages[0], rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(sums[1], sums[0], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "kind",
    [
        "mgfusion",
        "detection yolov5n",
        pytest.param("detection fcos_resnet50", marks=pytest.mark.slow),
        pytest.param("detection ssdlite320", marks=pytest.mark.slow),
    ],
)
def test_accumulated_batches_give_the_gradient_of_their_joined_batch(kind: str, tmp_path: Path) -> None:
    """With two batches too few for a whole window, as at the end of an epoch, the same."""
    ((_, whole),) = fit(make_task(kind), UnevenScenes(6), tmp_path)
    for batches in (3, 5):
        ((_, joined),) = fit(make_task(kind), UnevenScenes(2), tmp_path, accumulate_grad_batches=batches)
        assert difference(joined, whole) < ROUNDING


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        "text_to_pixels joint",
        "text_to_pixels value_function",
        "promptfusion detector",
        "detection yolov5n",
        "mgfusion",
    ],
)
def test_parts_on_two_processes_give_the_gradients_of_the_joined_whole(kind: str, tmp_path: Path) -> None:
    for devices, batch_size, parts in ((1, 6, 1), (2, 3, 3)):
        run_python(SCRIPT, tmp_path, devices, batch_size, parts, kind)
    whole, *ranks = (torch.load(tmp_path / name, weights_only=True) for name in ("0_of_1.pt", "0_of_2.pt", "1_of_2.pt"))
    for seen in ranks:
        assert [level for level, _ in seen] == [level for level, _ in whole]
        for (level, expected), (_, found) in zip(whole, seen, strict=True):
            assert difference(found, expected) < ROUNDING, level
