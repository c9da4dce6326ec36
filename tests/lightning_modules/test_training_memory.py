"""A small step tells what a large one needs, and leaves no trace."""

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules.synthetic import SyntheticDataModule
from lightning_modules.bilevel import BilevelConfig
from lightning_modules.level_batch import CropConfig
from lightning_modules.text_to_pixels import TextToPixelsTask
from lightning_modules.training_memory import crop_pixels, kept_bytes, peak_bytes
from models.detection import DetectorConfig
from models.text_to_pixels import TextToPixelsConfig
from tests.batches import quiet_trainer


def _task(tmp_path: Path, detector: bool = True, **network: Any) -> TextToPixelsTask:
    torch.manual_seed(0)
    task = TextToPixelsTask(
        clip=None,
        network=TextToPixelsConfig.preset("light", **network),
        detector=DetectorConfig("yolov5n", image_size=None) if detector else None,
        bilevel=BilevelConfig(scheme="joint"),
        crops=CropConfig(None),
        classes=SyntheticDataModule().classes,
    )
    task.trainer = quiet_trainer(tmp_path)
    return task.train()


def test_what_is_kept_is_counted_once_and_weights_are_not() -> None:
    layer, x = torch.nn.Linear(8, 8, bias=False), torch.rand(16, 8, requires_grad=True)

    def run() -> torch.Tensor:
        hidden = layer(x)  # keeps x, and the weight
        return torch.sum(hidden * hidden)  # keeps the product's factor, twice

    assert kept_bytes(run, [layer]) == 2 * 16 * 8 * 4
    assert kept_bytes(run, []) == 2 * 16 * 8 * 4 + 8 * 8 * 4


def test_nothing_outlives_the_count() -> None:
    layer, results = torch.nn.Linear(8, 8), []

    def run() -> torch.Tensor:
        hidden = torch.sigmoid(layer(torch.rand(16, 8)))  # whose own result is kept
        results.append(weakref.ref(hidden))
        return hidden.sum()

    kept_bytes(run, [layer])
    gc.collect()
    assert results[0]() is None


def test_the_estimate_grows_with_the_batch_and_leaves_no_trace(tmp_path: Path) -> None:
    task = _task(tmp_path)
    task.diagnostics["before"] = torch.zeros(())
    before = {name: value.clone() for name, value in task.state_dict().items()}
    generator = torch.get_rng_state()
    needed = [task.estimate_training_memory(batch, 128, 128) or 0 for batch in (1, 2, 3)]
    assert needed[2] - needed[1] == pytest.approx(needed[1] - needed[0], abs=2)
    assert 80 * 2**20 < needed[1] - needed[0] < 95 * 2**20  # a batch of 4 was measured at 345 MiB in all
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())
    assert torch.equal(generator, torch.get_rng_state())
    assert list(task.diagnostics) == ["before"]


def test_fusion_alone_needs_less_and_recomputed_blocks_are_not_known(tmp_path: Path) -> None:
    both = _task(tmp_path).estimate_training_memory(2, 64, 64) or 0
    assert 0 < (_task(tmp_path, detector=False).estimate_training_memory(2, 64, 64) or 0) < both / 2
    assert _task(tmp_path, checkpoint_blocks=True).estimate_training_memory(2, 64, 64) is None


@pytest.mark.parametrize(
    ("scheme", "kept"), [("joint", 16), ("value_function", 16), ("rank1", 11), ("alternate", 5), ("separate", 5)]
)
def test_schemes_that_differentiate_both_losses_at_once_keep_both(scheme: str, kept: float) -> None:
    config = BilevelConfig(scheme=scheme, accumulate=2)  # type: ignore[arg-type]
    assert peak_bytes(config, 5, 8, 3) == pytest.approx(1.25 * kept / 2)


def test_crops_count_their_own_pixels() -> None:
    assert crop_pixels(CropConfig(64, 3), 2, 100, 80) == 2 * 3 * 64 * 64
    assert crop_pixels(CropConfig(96, 3), 2, 100, 80) == 2 * 100 * 80
