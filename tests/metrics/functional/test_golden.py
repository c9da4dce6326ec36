"""Every metric against the values of the reference implementations."""

import math

import pytest
import torch

from ivif.metrics.functional import Triplet, formula_triplet
from tests.metrics.functional.golden import GOLDEN, ORDER, Golden, real_items, real_triplet
from tests.real_data import GOLDEN_TRIPLETS

IDS = [golden.key for golden in GOLDEN]
REAL_ITEMS = [item for item in real_items() if not item.startswith("synth")]


def _agrees(golden: Golden, got: float, expected: float | None) -> bool:
    if expected is None or math.isnan(expected):
        return math.isnan(got)
    return got == pytest.approx(expected, rel=golden.relative, abs=golden.absolute)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("golden", GOLDEN, ids=IDS)
def test_formula_images_give_the_reference_values(golden: Golden, dtype: torch.dtype) -> None:
    for fusion, expected in zip(ORDER, golden.values, strict=True):
        got = golden(Triplet(*(image.to(dtype) for image in formula_triplet(fusion))))
        assert got.shape == (1,)
        assert _agrees(golden, got.item(), expected), f"{golden.key} of {fusion}: {got.item()} instead of {expected}"


@pytest.mark.parametrize("golden", GOLDEN, ids=IDS)
def test_a_batch_gives_the_values_of_its_images(golden: Golden) -> None:
    triplets = [formula_triplet(fusion) for fusion in ORDER]
    got = golden(Triplet(*(torch.cat(images) for images in zip(*triplets, strict=True))))
    for value, expected in zip(got.tolist(), golden.values, strict=True):
        assert _agrees(golden, value, expected)


@pytest.mark.real
@pytest.mark.skipif(not REAL_ITEMS, reason=f"no golden triplets in {GOLDEN_TRIPLETS}")
@pytest.mark.parametrize("item", REAL_ITEMS)
def test_real_images_give_the_reference_values(item: str) -> None:
    sections = real_items()[item]
    triplet = Triplet(*real_triplet(item))
    wrong = {}
    for golden in GOLDEN:
        if golden.key not in sections[golden.section]:
            continue
        got, expected = golden(triplet).item(), sections[golden.section][golden.key]
        if not _agrees(golden, got, expected):
            wrong[golden.key] = (got, expected)
    assert not wrong


def test_nan_marks_what_is_undefined() -> None:
    undefined = {golden.key for golden in GOLDEN if any(math.isnan(value) for value in golden.values)}
    assert {"SCD", "CC", "Qcv_vifb", "zQcb"} <= undefined
