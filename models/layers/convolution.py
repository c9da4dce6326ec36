"""Convolutions with replicated borders."""

from torch import Tensor, nn
from torch.nn import functional as F

from ivif.image_ops.padding import pad_planes


class ReplicateConv2d(nn.Conv2d):
    """A 3x3 convolution that repeats the border, so that images get no dark frame; keeps the size.

    The same as `nn.Conv2d(..., 3, padding=1, padding_mode="replicate")`, except that under autocast the padding stays
    in half precision.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        bias: Whether to add one.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 3, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """Maps (B, in, H, W) to (B, out, H, W), H and W >= 1."""
        return F.conv2d(pad_planes(input, (1, 1, 1, 1)), self.weight, self.bias)
