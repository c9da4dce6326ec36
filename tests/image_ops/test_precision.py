"""Single precision is that of the tensors: no autocast, no TensorFloat-32 inside, and all as before afterwards."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ivif.image_ops import precision, saliency
from ivif.image_ops.precision import single_precision
from ivif.models.layers import clustering

GPU, CPU = torch.device("cuda"), torch.device("cpu")
BACKENDS: Any = torch.backends  # whose stubs lack the newer settings


@pytest.fixture(params=[("tf32", "tf32"), ("none", "ieee"), ("ieee", "tf32")])
def allowed(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """What a run allows convolutions and matrix products; torch's own settings come back afterwards."""
    convolution, product = BACKENDS.cudnn.conv, BACKENDS.cuda.matmul
    before = convolution.fp32_precision, product.fp32_precision
    convolution.fp32_precision, product.fp32_precision = request.param
    yield request.param
    convolution.fp32_precision, product.fp32_precision = before


def _settings() -> tuple[str, str]:
    return BACKENDS.cudnn.conv.fp32_precision, BACKENDS.cuda.matmul.fp32_precision


@pytest.mark.filterwarnings("error")
@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="torch before 2.9 names the settings otherwise")
def test_a_gpu_rounds_nothing_inside_and_is_as_before_afterwards(allowed: tuple[str, str]) -> None:
    with single_precision(GPU):
        assert _settings() == ("ieee", "ieee")
    assert _settings() == allowed
    with pytest.raises(RuntimeError, match="in the middle"), single_precision(GPU):
        raise RuntimeError("in the middle")
    assert _settings() == allowed
    with single_precision(CPU):
        assert _settings() == allowed


def test_the_settings_that_everybody_else_asks_for_agree_afterwards() -> None:
    before = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    with single_precision(GPU):
        pass
    assert (torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()) == before
    torch.set_float32_matmul_precision("high")
    try:
        with single_precision(GPU):
            pass
        assert torch.get_float32_matmul_precision() == "high"
        assert torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.set_float32_matmul_precision("highest")


def test_settings_of_older_builds_have_other_names(monkeypatch: pytest.MonkeyPatch) -> None:
    older = SimpleNamespace(
        cudnn=SimpleNamespace(allow_tf32=True), cuda=SimpleNamespace(matmul=SimpleNamespace(allow_tf32=True))
    )
    monkeypatch.setattr(torch, "backends", older)
    switches = precision._switches()
    assert [(owner is older.cudnn, name, value) for owner, name, value in switches] == [
        (True, "allow_tf32", False),
        (False, "allow_tf32", False),
    ]
    assert switches[1][0] is older.cuda.matmul


def test_autocast_is_off_inside() -> None:
    a = torch.rand(4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert (a @ a).dtype == torch.bfloat16
        with single_precision(CPU):
            assert (a @ a).dtype == torch.float32


def test_what_looks_up_and_compares_by_products_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.device] = []

    def asking(device: torch.device) -> AbstractContextManager[None]:
        asked.append(device)
        return single_precision(device)

    for module in (saliency, clustering):
        monkeypatch.setattr(module, "single_precision", asking)
    saliency.saliency(torch.rand(1, 1, 4, 4))
    clustering.nearest_entries(torch.rand(3, 2), torch.rand(4, 2))
    assert asked == [CPU, CPU]
