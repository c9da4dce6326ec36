"""No task uses an operation that `--trainer.deterministic true` refuses on a GPU.

What a training run dispatches on a CPU is what it dispatches on a GPU, but for the places where code asks for the
device. Ours are told that they run on a GPU; PyTorch's are the exceptions, each with a test of its own.
"""

import inspect
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import torch
from lightning import LightningModule
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from ivif.bilevel import BilevelConfig
from ivif.callbacks.evaluator import Evaluator
from ivif.datamodules.configuration import LoadingConfig, TransformConfig
from ivif.datamodules.synthetic import SyntheticDataModule
from ivif.image_ops import padding, resize
from ivif.lightning_modules.detection import DetectionTask
from ivif.lightning_modules.level_batch import CropConfig
from ivif.lightning_modules.mgfusion import MGFusionTask
from ivif.lightning_modules.prompt_learning import PromptsConfig, RefinementConfig
from ivif.lightning_modules.promptfusion import PromptFusionTask
from ivif.lightning_modules.promptfusion_config import PhaseConfig
from ivif.lightning_modules.text_to_pixels import TextToPixelsTask
from ivif.models.detection import DetectorConfig
from ivif.models.mgfusion import MGFusionConfig
from ivif.models.promptfusion import PromptFusionConfig
from ivif.models.text_to_pixels import TextToPixelsConfig
from ivif.testing.batches import quiet_trainer

_REFUSED = """
    _adaptive_avg_pool2d_backward _adaptive_avg_pool3d_backward adaptive_max_pool2d_backward
    adaptive_max_pool3d_backward avg_pool3d_backward max_pool3d_with_indices_backward fractional_max_pool2d_backward
    fractional_max_pool3d_backward max_unpool2d max_unpool3d
    upsample_linear1d_backward upsample_bilinear2d_backward upsample_bicubic2d_backward upsample_trilinear3d_backward
    _upsample_bilinear2d_aa_backward _upsample_bicubic2d_aa_backward _upsample_lanczos2d_aa_backward
    reflection_pad1d_backward reflection_pad2d_backward reflection_pad3d_backward
    replication_pad1d_backward replication_pad2d_backward replication_pad3d_backward
    grid_sampler_2d_backward grid_sampler_3d_backward _grid_sampler_2d_cpu_fallback_backward
    nll_loss2d_forward nll_loss2d_backward _ctc_loss_backward _embedding_bag_dense_backward
    put put_ histc bincount median nanmedian kthvalue scatter_reduce scatter_reduce_ index_reduce index_reduce_
    _roi_align_backward _roi_pool_backward _ps_roi_align_backward _ps_roi_pool_backward _deform_conv2d_backward
"""
REFUSED: Final = frozenset(_REFUSED.split())
"""Operations that raise on CUDA in some release of PyTorch or torchvision that we support: the list in the docstring of
`torch.use_deterministic_algorithms`, and what PyTorch's CUDA sources warn of beyond it."""

OTHERWISE_ON_CUDA: Final = {"upsample_bilinear2d_backward"}
"""`interpolate` without antialiasing takes another form there under `deterministic`."""

KINDS: Final = ("mgfusion", "text_to_pixels", "promptfusion", "yolov5n", "fcos_resnet50", "ssdlite320")


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch's
    """The names of all operations, forward and backward, except those that are deterministic with their arguments."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, func.overloadpacket.__name__
        weights = kwargs.get("weights") if len(args) < 2 else args[1]
        without_indices = name in ("median", "nanmedian") and len(args) == 1
        if not (name == "bincount" and weights is None) and not without_indices:
            self.seen.add(name)
        return func(*args, **kwargs)

    @property
    def refused(self) -> set[str]:
        """What a GPU would refuse."""
        return (self.seen & REFUSED) - OTHERWISE_ON_CUDA


def _detection(architecture: str) -> DetectionTask:
    size = None if architecture == "yolov5n" else 64
    return DetectionTask(classes=SyntheticDataModule().classes, detector=DetectorConfig(architecture, image_size=size))


def _task(kind: str) -> LightningModule:
    levels = {
        # Smaller than the frames: detectors resize with antialiasing.
        "detector": DetectorConfig("yolov5n", image_size=64),
        "bilevel": BilevelConfig(unit="step", warmup=0, lower_steps=1, value_steps=1),
        "crops": CropConfig(32, 1),
        "classes": SyntheticDataModule().classes,
    }
    tasks: dict[str, Callable[[], LightningModule]] = {
        "mgfusion": lambda: MGFusionTask(clip="random-tiny", network=MGFusionConfig(8, 1, 2)),
        "text_to_pixels": lambda: TextToPixelsTask(
            clip="random-tiny",
            network=TextToPixelsConfig(4, (1,), 8, 16, 2, blocks=1, codebook_entries=8, decoder_channels=(8,)),
            **levels,  # type: ignore[arg-type]
        ),
        "promptfusion": lambda: PromptFusionTask(
            network=PromptFusionConfig(4, 1, 2, detail_channels=(4, 4, 4, 4)),
            prompts=PromptsConfig(clip="random-tiny", length=4, refinement=RefinementConfig(1, 0.5)),
            phases=PhaseConfig(autoencoder=1, prompts=1, fusion=0, detector=1, bilevel=3),
            **levels,  # type: ignore[arg-type]
        ),
    }
    return tasks[kind]() if kind in tasks else _detection(kind)


@pytest.fixture
def _as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(padding, "_beyond_cpu", lambda _: True)
    monkeypatch.setattr(resize, "_must_repeat", lambda _: torch.are_deterministic_algorithms_enabled())
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", os.environ.get("CUBLAS_WORKSPACE_CONFIG", ""))
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("_as_on_a_gpu")
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow if kind == "fcos_resnet50" else ()) for kind in KINDS]
)
def test_a_run_uses_nothing_that_is_refused(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = SyntheticDataModule(
        train_length=2,
        evaluation_length=1,
        size=(64, 96),
        loading=LoadingConfig(batch_size=2, num_workers=0),
        transforms=TransformConfig(crop=None, resize=(64, 96)),
    )
    steps = 6 if kind == "promptfusion" else 2
    trainer = quiet_trainer(
        tmp_path, deterministic=True, callbacks=[Evaluator()], max_epochs=-1, max_steps=steps, num_sanity_val_steps=1
    )
    recorder = _Recorder()
    with recorder:
        trainer.fit(_task(kind), data)
    assert "convolution_backward" in recorder.seen
    assert recorder.refused == set()


@pytest.mark.parametrize(
    ("use", "name"),
    [
        (lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"), "reflection_pad2d_backward"),
        (lambda x: F.interpolate(x, (3, 3), mode="bicubic", antialias=True), "_upsample_bicubic2d_aa_backward"),
        (lambda x: F.adaptive_avg_pool2d(x, 3), "_adaptive_avg_pool2d_backward"),
        (lambda x: x.median(dim=3).values, "median"),
        (lambda x: x * torch.bincount(torch.ones(2, dtype=torch.int64), torch.ones(2))[1], "bincount"),
    ],
)
def test_the_list_can_fail(use: Callable[[torch.Tensor], torch.Tensor], name: str) -> None:
    x = torch.rand(1, 2, 8, 8, requires_grad=True)
    with _Recorder() as recorder:
        torch.autograd.grad(use(x).sum(), x)
    assert recorder.refused == {name}


def test_pytorchs_plain_bilinear_resizing_is_another_beyond_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked on a device without values, as there may be no GPU."""
    if ".is_cuda" in inspect.getsource(F.interpolate):
        pytest.skip("this torch, as 2.8, takes the other form on CUDA alone")
    x = torch.empty(1, 2, 8, 8, device="meta", requires_grad=True)
    assert type(F.interpolate(x, (16, 16), mode="bilinear").grad_fn).__name__ == "UpsampleBilinear2DBackward0"
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    taken = F.interpolate(x, (16, 16), mode="bilinear").grad_fn
    assert type(taken).__name__ != "UpsampleBilinear2DBackward0"
