"""The non-learned baselines as a task, so that `test` and `predict` treat them like any method."""

from typing import Final, Literal

from torch import Tensor

from ivif.contracts.batch import Batch
from ivif.image_ops.color import luma
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.fake_tensor_memory import Use, measure, really
from ivif.lightning_modules.optimization import AdamConfig, WarmupDecayConfig
from ivif.lightning_modules.training_memory import Arithmetic, probe
from ivif.models.classic import CLASSIC_FUSIONS

_PROBE_SIDE: Final = 128


class ClassicFusionTask(FusionTask):
    """Fuses by a fixed rule of `ivif.models.classic`; has nothing to train and needs no checkpoint.

    Args:
        method: The rule.

    Raises:
        ValueError: If the rule is unknown.
    """

    needs_weights = False

    def __init__(
        self, method: Literal["average", "maximum", "laplacian_pyramid", "contourlet"] = "laplacian_pyramid"
    ) -> None:
        super().__init__(AdamConfig(), WarmupDecayConfig())
        self.store_hyperparameters(method=method)
        if method not in CLASSIC_FUSIONS:
            raise ValueError(f"Unknown classic fusion '{method}'; known are {', '.join(CLASSIC_FUSIONS)}.")
        self.method = method
        self.loss_weights = {}

    def fuse_images(self, batch: Batch) -> Tensor:
        """The rule, on luma."""
        return CLASSIC_FUSIONS[self.method](batch["infrared"], luma(batch["visible"]))

    def inference_use(self, small: Batch, size: tuple[int, int, int], arithmetic: Arithmetic) -> Use:
        """Measured on small pictures: a rule takes the same of each pixel."""
        with really():
            frame = probe(1, _PROBE_SIDE, _PROBE_SIDE, self.device)
            self.fuse(frame)  # filters are made once
            use = measure(lambda: self.fuse(frame))
        pairs, height, width = size
        return use.times(pairs * height * width / _PROBE_SIDE**2)

    def losses(self, fused: Tensor, batch: Batch) -> dict[str, Tensor]:
        """None: a fixed rule has no loss (`configure_optimizers` refuses `fit`)."""
        return {}
