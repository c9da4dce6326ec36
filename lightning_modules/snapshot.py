"""A frozen copy of a network, kept from one epoch to the next."""

from copy import deepcopy
from typing import ClassVar, Self

from torch import nn

from ivif.lightning_modules.host_counts import HostCountsMixin
from ivif.models.layers.frozen import freeze


class Snapshot(HostCountsMixin, nn.Module):
    """The network of an earlier moment, in eval mode and without gradients; checkpoints keep it.

    Args:
        network: What to copy, now and at each `take`.
    """

    host_counts: ClassVar[tuple[str, ...]] = ("count",)

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = freeze(deepcopy(network))
        self.count = 0

    @property
    def taken(self) -> bool:
        """Whether a network has been taken since the run began."""
        return self.count > 0

    def take(self, network: nn.Module) -> None:
        """Replaces the copy by the present network."""
        self.network.load_state_dict(network.state_dict())
        self.count += 1

    def train(self, mode: bool = True) -> Self:
        """Stays in eval mode."""
        return super().train(False)
