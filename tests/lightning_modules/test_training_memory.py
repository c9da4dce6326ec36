"""What a step holds is known from tensors without content, and nothing is left behind."""

import gc
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from ivif.bilevel import BilevelConfig
from ivif.contracts.batch import Batch
from ivif.datamodules.synthetic import SyntheticDataModule
from ivif.image_ops.contourlet_filters import scale_filters
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.classic import ClassicFusionTask
from ivif.lightning_modules.detection import DetectionTask
from ivif.lightning_modules.detection_sources import DetectionSource
from ivif.lightning_modules.fake_tensor_memory import Use, imagined, measure
from ivif.lightning_modules.fusion_detection import FusionDetectionTask
from ivif.lightning_modules.level_batch import CropConfig, LevelBatch
from ivif.lightning_modules.mgfusion import MGFusionTask
from ivif.lightning_modules.prompt_learning import PromptsConfig
from ivif.lightning_modules.promptfusion import PromptFusionTask
from ivif.lightning_modules.promptfusion_config import PhaseConfig, PhaseName
from ivif.lightning_modules.text_to_pixels import TextToPixelsLoss, TextToPixelsTask
from ivif.lightning_modules.training_memory import (
    crop_size,
    detector_use,
    iteration_use,
    network_pixels,
    probe,
)
from ivif.models.detection import DetectorConfig
from ivif.models.mgfusion import MGFusionConfig
from ivif.models.promptfusion import PromptFusionConfig
from ivif.models.text_to_pixels import TextToPixelsConfig
from ivif.testing.batches import quiet_trainer
from tests.lightning_modules.tiny_bilevel import TinyBilevelTask

CPU = torch.device("cpu")
YOLO = DetectorConfig("yolov5n", image_size=None)
CLASSES = SyntheticDataModule().classes


def _task(kind: str, folder: Path, precision: str = "32-true", scheme: str = "joint", **network: Any) -> FusionTask:
    torch.manual_seed(0)
    levels: dict[str, Any] = {
        "detector": YOLO,
        "bilevel": BilevelConfig(scheme=scheme),
        "crops": CropConfig(96, 2),
        "classes": CLASSES,
    }
    if kind == "mgfusion":
        task: FusionTask = MGFusionTask("random-tiny", MGFusionConfig(channels=8, blocks=1, heads=2, **network))
    elif kind == "text_to_pixels":
        shape, loss = TextToPixelsConfig.preset("light", **network), TextToPixelsLoss(previous="none")
        task = TextToPixelsTask("random-tiny", shape, loss, **levels)
    elif kind == "promptfusion":
        task = PromptFusionTask(PromptFusionConfig(channels=8, **network), prompts=None, **levels)
    elif kind == "detection":
        task = DetectionTask(CLASSES, DetectionSource("laplacian_pyramid"), YOLO)
    else:
        task = ClassicFusionTask(kind)  # type: ignore[arg-type]
    task.trainer = quiet_trainer(folder, precision=precision, max_steps=10)
    return task


def _held(task: FusionTask, batch: Batch) -> int:
    """The most that a training step really has alive at once."""
    parameters = [own for own in task.parameters() if own.requires_grad]
    arithmetic = task.trainer.precision_plugin.forward_context
    if isinstance(task, FusionDetectionTask):
        levels = task.level_batch(batch)
        return measure(
            lambda: task.level_loss("lower", levels).value + task.level_loss("upper", levels).value,
            parameters,
            arithmetic,
        ).peak
    return measure(lambda: task.batch_loss(batch).value, parameters, arithmetic).peak


def _use(task: FusionTask, size: tuple[int, int, int], training: bool, monkeypatch: pytest.MonkeyPatch) -> int:
    """The estimate without what allocators and kernels take, without inputs and without Adam's moments."""
    for name, value in {
        "ivif.lightning_modules.memory_estimate.ALLOCATOR_SHARE": 1,
        "ivif.lightning_modules.memory_estimate.ALLOCATOR_BYTES": 0,
    }.items():
        monkeypatch.setattr(name, value)
    for name in ("_DETECTOR", "_TRAINED_DETECTOR"):
        monkeypatch.setattr(f"ivif.lightning_modules.training_memory.{name}", 1)
    trained = sum(own.nbytes for own in task.parameters() if own.requires_grad)
    needed = task.estimate_memory(size, training)
    assert needed is not None
    return needed - 2 * trained * training - size[0] * size[1] * size[2] * 16


def test_what_is_alive_is_counted_once_and_weights_and_views_are_not() -> None:
    layer, x = torch.nn.Linear(8, 8, bias=False), torch.rand(16, 8)

    def run() -> Tensor:
        hidden = layer(x).view(8, 16).relu_()  # 512 bytes
        return torch.sum(hidden * hidden)  # 512, and 4

    assert measure(run) == Use(4, 1028)
    found = measure(run, list(layer.parameters()))
    assert (found.kept, found.left) == (512 + 4, 4 * 8 * 8)


def test_copies_of_weights_in_half_precision_are_counted_once() -> None:
    layer = torch.nn.Linear(8, 8, bias=False)
    arithmetic = partial(torch.autocast, "cpu", torch.bfloat16)

    def kept(rows: int) -> int:
        with imagined():
            x = torch.rand(rows, 8, requires_grad=True)
            return measure(lambda: layer(x).sum(), list(layer.parameters()), arithmetic).kept

    copies = 2 * 8 * 8  # for the gradient of x
    assert [kept(rows) for rows in (10, 20)] == [copies + 2 * 8 * rows + 2 for rows in (10, 20)]


@pytest.mark.parametrize(
    ("kind", "precision", "network"),
    [
        pytest.param("mgfusion", "32-true", {"checkpoint_blocks": False}, marks=pytest.mark.slow),
        ("mgfusion", "bf16-mixed", {"checkpoint_blocks": False}),
        ("mgfusion", "32-true", {"checkpoint_blocks": True}),
        ("text_to_pixels", "32-true", {}),
        pytest.param("text_to_pixels", "bf16-mixed", {}, marks=pytest.mark.slow),
        pytest.param("text_to_pixels", "32-true", {"checkpoint_blocks": True}, marks=pytest.mark.slow),
        pytest.param("promptfusion", "32-true", {}, marks=pytest.mark.slow),
        pytest.param("promptfusion", "bf16-mixed", {"checkpoint_blocks": True}, marks=pytest.mark.slow),
        ("detection", "32-true", {}),
        ("detection", "bf16-mixed", {}),
    ],
)
def test_a_training_step_holds_what_was_estimated(
    kind: str, precision: str, network: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = _task(kind, tmp_path, precision, **network).train()
    if isinstance(task, PromptFusionTask):
        task._phase = task.phases.at(1.0)
        monkeypatch.setattr(task, "lower_losses", super(PromptFusionTask, task).lower_losses)
    # Large frames where a detector's activations are to outweigh its gradients: it is alone, or blocks are computed
    # again in the backward pass, when of the detector gradients are left.
    recomputed = network.get("checkpoint_blocks") and isinstance(task, FusionDetectionTask)
    size = (4, 192, 256) if recomputed or kind == "detection" else (3, 96, 128)
    estimated = _use(task, size, True, monkeypatch)
    _held(task, probe(1, 96, 96, CPU))
    held = _held(task, probe(*size, CPU))
    assert 0.94 < estimated / held < 1.06


@pytest.mark.parametrize(
    "kind",
    [
        *("mgfusion", "text_to_pixels", "detection", "laplacian_pyramid", "contourlet"),
        pytest.param("promptfusion", marks=pytest.mark.slow),
    ],
)
def test_a_step_of_evaluation_holds_what_was_estimated(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = _task(kind, tmp_path).eval()
    estimated = _use(task, (1, 192, 256), False, monkeypatch)
    task.fuse(probe(1, 192, 256, CPU))  # filters of this size are made once
    held = measure(lambda: task.fuse(probe(1, 192, 256, CPU))).peak - 4 * 192 * 256 * 4
    # The contourlet pads its grid, a small picture's more than a large one's.
    assert 0.9 < estimated / held < (1.5 if kind == "contourlet" else 1.1)


@pytest.mark.slow
def test_recomputed_blocks_and_half_precision_need_less(tmp_path: Path) -> None:
    task, size = _task("text_to_pixels", tmp_path).train(), (2, 128, 128)
    whole = task.estimate_memory(size, True) or 0
    assert 0 < (task.estimate_memory(size, True, recompute=True) or 0) < whole
    assert 0 < (task.estimate_memory(size, True, half=True) or 0) < whole
    assert task.estimate_memory(size, True) == whole  # neither switch stays


def test_an_estimate_leaves_no_trace(tmp_path: Path) -> None:
    task = cast("TextToPixelsTask", _task("text_to_pixels", tmp_path).eval())
    task.diagnostics["before"] = torch.zeros(())
    before = {name: value.clone() for name, value in task.state_dict().items()}
    generator = torch.get_rng_state()
    needed = [task.estimate_memory((pairs, 128, 128), True) or 0 for pairs in (1, 2, 3)]
    assert needed[2] - needed[1] == pytest.approx(needed[1] - needed[0], rel=0.02)
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())
    assert torch.equal(generator, torch.get_rng_state())
    assert list(task.diagnostics) == ["before"]
    assert not any(module.training for module in task.modules())
    assert cast("Any", task.network).quantizer._seen == []


@pytest.mark.parametrize(
    "phase",
    [
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("autoencoder", "prompts", "fusion")),
        "detector",
        "bilevel",
    ],
)
def test_a_phase_by_itself_is_estimated(phase: PhaseName, tmp_path: Path) -> None:
    torch.manual_seed(0)
    levels: dict[str, Any] = {"detector": YOLO, "crops": CropConfig(96, 2), "classes": CLASSES}
    prompts = PromptsConfig("random-tiny", length=4)
    phases = PhaseConfig(only=phase)
    task = PromptFusionTask(PromptFusionConfig(channels=8), prompts=prompts, phases=phases, **levels)
    task.trainer = quiet_trainer(tmp_path, max_steps=10)
    assert (task.estimate_memory((2, 96, 96), training=True) or 0) > 2**20


def test_levels_that_say_nothing_of_themselves_are_not_estimated(tmp_path: Path) -> None:
    task = TinyBilevelTask(BilevelConfig(scheme="joint"))
    task.trainer = quiet_trainer(tmp_path, max_steps=10)
    assert task.estimate_memory((1, 256, 256), training=True) is None
    assert task.estimate_memory((1, 256, 256), training=False)


def test_filters_without_content_are_forgotten(tmp_path: Path) -> None:
    _task("promptfusion", tmp_path).estimate_memory((1, 64, 80), training=False)
    filters = scale_filters("analysis", "split", 2, (64, 80), 0, torch.float32, CPU)
    assert type(filters.lowpass) is Tensor


def test_nothing_outlives_the_count() -> None:
    layer, results = torch.nn.Linear(8, 8), []

    def run() -> Tensor:
        hidden = torch.sigmoid(layer(torch.rand(16, 8)))  # whose own result is kept
        results.append(weakref.ref(hidden))
        return hidden.sum()

    measure(run, list(layer.parameters()))
    gc.collect()
    assert results[0]() is None


def test_synchronised_statistics_need_what_plain_ones_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = _task("text_to_pixels", tmp_path).train()
    needed = [plain.estimate_memory((2, 64, 64), training) for training in (True, False)]
    task: FusionTask = torch.nn.SyncBatchNorm.convert_sync_batchnorm(plain)  # type: ignore[no-untyped-call]
    with monkeypatch.context() as patch:  # an exchange would wait for processes that estimate nothing
        patch.setattr(torch.nn.SyncBatchNorm, "forward", lambda *_: pytest.fail("statistics are exchanged"))
        assert [task.estimate_memory((2, 64, 64), training) for training in (True, False)] == needed
    found = [part for part in task.modules() if isinstance(part, torch.nn.SyncBatchNorm)]
    assert found
    assert not any("forward" in vars(part) for part in found)  # in training they exchange as before


@pytest.mark.parametrize(
    ("scheme", "whole", "in_parts"),
    [
        ("joint", 5 + 20 + 2, 20 + 2),
        ("value_function", 5 + 20 + 2, 20 + 2),
        ("rank1", 20 + 2, 20 + 2),
        ("alternate", 20, 20),
        ("separate", 20, 20),
    ],
)
def test_schemes_that_differentiate_both_losses_at_once_keep_both(scheme: str, whole: int, in_parts: int) -> None:
    for accumulate, held in ((1, whole), (2, in_parts)):
        config = BilevelConfig(scheme=scheme, accumulate=accumulate)
        assert iteration_use(config, Use(5, 6), Use(8, 20), Use(3, 7, 2)).peak == held
        assert iteration_use(config, Use(5, 60), Use(8, 20), Use(3, 7, 2)).peak >= 60


def test_crops_have_their_own_size() -> None:
    assert crop_size(CropConfig(64, 3), 2, 100, 80) == (6, 64, 64)
    assert crop_size(CropConfig(96, 3), 2, 100, 80) == (2, 100, 80)


def test_a_detector_is_scaled_to_the_pixels_that_its_network_sees(tmp_path: Path) -> None:
    part = cast("DetectionTask", _task("detection", tmp_path)).part
    assert network_pixels(DetectorConfig("yolov5n", image_size=640), 3000, 5000) == 384 * 640
    assert network_pixels(DetectorConfig("yolov5n", image_size=None), 100, 100) == 128 * 128
    assert network_pixels(DetectorConfig("ssdlite320"), 3000, 5000) == 320 * 320
    run: Callable[[Batch], Any] = lambda frames: part.detect(frames["visible"])  # noqa: E731
    uses = [detector_use(part.detector, run, (1, side, side), CPU, torch.no_grad, trains=False) for side in (256, 512)]
    assert uses[1].peak / uses[0].peak == pytest.approx(4, rel=0.15)


def test_accumulated_parts_and_several_crops_count(tmp_path: Path) -> None:
    task = cast("TextToPixelsTask", _task("text_to_pixels", tmp_path).train())
    whole = task.estimate_memory((4, 128, 128), True) or 0
    task.bilevel_config = BilevelConfig(scheme="joint", accumulate=2)
    assert (task.estimate_memory((4, 128, 128), True) or 0) < 0.7 * whole
    small = LevelBatch(probe(1, 64, 64, CPU), probe(1, 64, 64, CPU))
    assert small.frames["visible"].shape == (1, 3, 64, 64)
