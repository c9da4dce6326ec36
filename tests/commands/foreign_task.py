"""A task as another package has it: `fuse_images`, `losses`, and no word on anything else."""

from torch import Tensor, nn

from ivif.contracts.batch import Batch
from ivif.image_ops.color import luma
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.optimization import AdamConfig, WarmupDecayConfig


class PlainTask(FusionTask):
    """A weighted mean of both images; its one parameter is not in a child named `network`.

    Args:
        start: Weight of the infrared image before training.
    """

    def __init__(self, start: float = 0.9) -> None:
        super().__init__(AdamConfig(), WarmupDecayConfig())
        self.store_hyperparameters(start=start)
        self.mixture = nn.Conv2d(2, 1, 1, bias=False)
        nn.init.constant_(self.mixture.weight, start)
        self.loss_weights = {"mean": 1.0}

    def fuse_images(self, batch: Batch) -> Tensor:
        """The mean."""
        infrared, visible = batch["infrared"], luma(batch["visible"])
        share = self.mixture.weight.flatten()[:1].clamp(0, 1).view(1, 1, 1, 1)
        return share * infrared + (1 - share) * visible

    def losses(self, fused: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Distance to the plain mean."""
        return {"mean": (fused - (batch["infrared"] + luma(batch["visible"])) / 2).square().mean()}
