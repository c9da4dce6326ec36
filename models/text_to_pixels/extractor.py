"""The multi-level extractor (eq. 1)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ivif.image_ops.padding import pad_planes
from ivif.models.layers.convolution import ReplicateConv2d

NEGATIVE_SLOPE = 0.2


class ConvolutionLayer(nn.Module):
    """Conv3x3 with replicated borders and without bias, batch normalisation, LeakyReLU(0.2).

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convolution = ReplicateConv2d(in_channels, out_channels, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, in, H, W) to (B, out, H, W)."""
        return F.leaky_relu(self.norm(self.convolution(x)), NEGATIVE_SLOPE, inplace=True)


class DensePath(nn.Module):
    """One 3x3 path: convolution of everything before it, batch normalisation, LeakyReLU(0.2).

    The input comes with its border already replicated, so that each map is padded once and not by every path.

    Args:
        in_channels: Channels of all maps before it.
        out_channels: Channels C of its own map.
        dilation: Of the convolution, >= 1.
        margin: How many pixels of border the input has on each side, >= dilation.
    """

    def __init__(self, in_channels: int, out_channels: int, dilation: int, margin: int) -> None:
        super().__init__()
        self.spare = margin - dilation
        self.convolution = nn.Conv2d(in_channels, out_channels, 3, dilation=dilation, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, padded: Tensor) -> Tensor:
        """Maps (B, in, H + 2 margin, W + 2 margin) to (B, C, H, W)."""
        spare, (height, width) = self.spare, padded.shape[2:]
        inside = padded[:, :, spare : height - spare, spare : width - spare]
        return F.leaky_relu(self.norm(self.convolution(inside)), NEGATIVE_SLOPE, inplace=True)


class MultiLevelExtractor(nn.Module):
    """f_in = Conv3x3(I), paths G_i of [f_in, G_1 .. G_{i-1}], f_out = ReLU(sum_i W_i * G_i + b_i) (eq. 1).

    W_i and b_i weigh each channel of each path; they start at 1 / paths and 0.

    Args:
        channels: Channels C of each path and of the result.
        dilations: Dilation of each path.
    """

    def __init__(self, channels: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        paths, self.margin = len(dilations), max(dilations)
        self.entry = ReplicateConv2d(1, channels, bias=False)  # the paths' normalisation would remove it
        self.paths = nn.ModuleList(
            DensePath(channels * (index + 1), channels, dilation, self.margin)
            for index, dilation in enumerate(dilations)
        )
        self.path_weights = nn.Parameter(torch.full((paths, channels, 1, 1), 1.0 / paths))
        self.path_biases = nn.Parameter(torch.zeros(paths, channels, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Extracts features.

        Args:
            image: (B, 1, H, W) in [0, 1], any size.

        Returns:
            (B, C, H, W), >= 0, channels_last memory.
        """
        # An image of one channel has no memory format of its own: from here on all is channels_last.
        maps = [self._pad(self.entry(image).contiguous(memory_format=torch.channels_last))]
        total = self.path_biases.sum(dim=0)
        for index, path in enumerate(self.paths):
            features = path(torch.cat(maps, dim=1))
            weight = self.path_weights[index].to(features.dtype)
            total = torch.addcmul(total.to(features.dtype), weight, features)
            if index + 1 < len(self.paths):
                maps.append(self._pad(features))
        return F.relu(total)

    def _pad(self, features: Tensor) -> Tensor:
        return pad_planes(features, (self.margin,) * 4)
