"""A fusion method in a package of its own: each pixel is a learnt mean of both sources."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from ivif.contracts.batch import Batch
from ivif.contracts.configuration import config_from
from ivif.image_ops.color import luma
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.optimization import AdamConfig, WarmupDecayConfig
from ivif.losses.gradient import gradient_max_loss
from ivif.losses.intensity import intensity_max_loss
from ivif.models.network_config import NetworkConfig


@dataclass(frozen=True)
class TinyConfig(NetworkConfig):
    """The shape of the network.

    Args:
        channels: Features of each pixel.
        layers: Convolutions between the first and the last.
    """

    channels: int = 8
    layers: int = 1


class TinyNetwork(nn.Module):
    """Convolutions that say how much of each pixel is infrared.

    Args:
        config: The shape.
    """

    def __init__(self, config: TinyConfig) -> None:
        super().__init__()
        widths = [2, *[config.channels] * (config.layers + 1)]
        convolutions = [nn.Conv2d(*pair, 3, padding=1) for pair in pairwise(widths)]
        self.features = nn.Sequential(*(part for layer in convolutions for part in (layer, nn.LeakyReLU())))
        self.share = nn.Conv2d(config.channels, 1, 1)

    def forward(self, infrared: Tensor, visible: Tensor) -> Tensor:
        """The fused luma (B, 1, H, W) of two of the same shape, all in [0, 1]."""
        share = self.share(self.features(torch.cat((infrared, visible), dim=1))).sigmoid().to(visible)
        return torch.lerp(visible, infrared, share)


class TinyFusionTask(FusionTask):
    """Edges as strong as the stronger ones of both sources, pixels as bright as the brighter ones.

    Args:
        network: The shape of the network.
        optimizer: Adam's numbers.
        schedule: Learning rate over the run.
    """

    def __init__(
        self,
        network: TinyConfig = TinyConfig(),
        optimizer: AdamConfig = AdamConfig(),
        schedule: WarmupDecayConfig = WarmupDecayConfig(),
    ) -> None:
        super().__init__(config_from(AdamConfig, optimizer), config_from(WarmupDecayConfig, schedule))
        self.store_hyperparameters(network=network, optimizer=optimizer, schedule=schedule)
        self.network = TinyNetwork(config_from(TinyConfig, network))
        self.loss_weights = {"gradient": 1.0, "intensity": 0.5}

    def fuse_images(self, batch: Batch) -> Tensor:
        """The network, on luma."""
        fused: Tensor = self.network(batch["infrared"], luma(batch["visible"]))
        return fused

    def losses(self, fused: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Both terms, against the visible image's luma."""
        images = (fused, batch["infrared"], luma(batch["visible"]))
        return {"gradient": gradient_max_loss(*images), "intensity": intensity_max_loss(*images)}
