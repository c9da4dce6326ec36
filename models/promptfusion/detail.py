"""The detail branch: a U-shaped network that reads a contourlet transform at each of its scales."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ivif.image_ops.contourlet import size_multiple
from ivif.image_ops.padding import crop_to, pad_planes, pad_to_multiple
from ivif.models.layers.tiling import TILED_PICTURE
from ivif.models.promptfusion.config import PromptFusionConfig
from ivif.models.promptfusion.subbands import (
    LOWPASS_PLANES,
    SubbandStacks,
    directional_planes,
    subband_stacks,
    subband_stacks_of_part,
)

_SCALES: Final = 4


class ConvolutionLayer(nn.Module):
    """Conv3x3 with replicated borders, batch normalisation, ReLU.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: 1, or 2 to halve both sides, which must then be even.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(in_channels, out_channels, 3, stride, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, in, H, W) to (B, out, H / stride, W / stride), channels_last memory."""
        convolved = self.convolution(pad_planes(x, (1, 1, 1, 1)))
        # A plane of one channel has no memory format of its own: from here on all is channels_last.
        return F.relu(self.norm(convolved.contiguous(memory_format=torch.channels_last)), inplace=True)


class UpBlock(nn.Module):
    """Doubles the size, joins the skipped features of that size, two layers.

    Args:
        in_channels: Channels of the coarser features.
        skipped: Channels of the skipped features.
        out_channels: Channels of the result.
    """

    def __init__(self, in_channels: int, skipped: int, out_channels: int) -> None:
        super().__init__()
        self.enlarged = ConvolutionLayer(in_channels, skipped)
        self.layers = nn.Sequential(
            ConvolutionLayer(2 * skipped, out_channels), ConvolutionLayer(out_channels, out_channels)
        )

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        """Maps (B, in, H, W) and (B, skipped, 2H, 2W) to (B, out, 2H, 2W)."""
        enlarged = self.enlarged(F.interpolate(coarse, scale_factor=2.0, mode="nearest"))
        refined: Tensor = self.layers(torch.cat((skip, enlarged), dim=1))
        return refined


class DetailBranch(nn.Module):
    """Features to one plane, its contourlet subbands into a U-shaped network, half of the size, bilinearly enlarged.

    Works at the image's own size: planes are mirrored to a multiple of 16, results cropped. The plane has no bias,
    which neither subbands nor normalised layers would pass on.

    Args:
        config: Shape of the network.
    """

    def __init__(self, config: PromptFusionConfig) -> None:
        super().__init__()
        self.reads_subbands = config.detail == "contourlet"
        self.pairing, self.margin = config.pairing, config.margin
        planes = directional_planes(config.pairing) if self.reads_subbands else 0
        lowpass = LOWPASS_PLANES if self.reads_subbands else 0
        half, quarter, eighth, sixteenth = config.detail_channels
        self.projection = nn.Linear(config.channels, 1, bias=False)
        self.to_half = ConvolutionLayer(1, half, stride=2)
        self.to_quarter = ConvolutionLayer(half + planes, half, stride=2)
        self.at_quarter = ConvolutionLayer(half + planes, quarter)
        self.to_eighth = ConvolutionLayer(quarter, quarter, stride=2)
        self.at_eighth = ConvolutionLayer(quarter + planes, eighth)
        self.to_sixteenth = ConvolutionLayer(eighth, eighth, stride=2)
        self.at_sixteenth = ConvolutionLayer(eighth + lowpass, sixteenth)
        self.up_to_eighth = UpBlock(sixteenth, eighth, eighth)
        self.up_to_quarter = UpBlock(eighth, quarter, quarter)
        self.up_to_half = UpBlock(quarter, half, config.channels)

    def forward(self, features: Tensor) -> Tensor:
        """Extracts detail.

        Args:
            features: (B, C, H, W), any size.

        Returns:
            (B, C, H, W).
        """
        plane = self.projection(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        stacks = self._stacks(plane) if self.reads_subbands else [None] * _SCALES
        plane, size = pad_to_multiple(plane, size_multiple(), mode="reflect")
        detail = F.interpolate(self._at_half(plane, stacks), scale_factor=2.0, mode="bilinear")
        return crop_to(detail, size)

    def _stacks(self, plane: Tensor) -> Sequence[Tensor]:
        """The subbands of a plane; of a tile's, its part of the subbands of the whole picture's."""
        picture = TILED_PICTURE.get()
        if picture is None:
            padded, _ = pad_to_multiple(plane, size_multiple(), mode="reflect")
            stacks: SubbandStacks = subband_stacks(padded, self.pairing, self.margin)
            return stacks
        whole = picture.plane(self, plane)
        # The padded plane has as many cells as the tile's pixels rounded up to the coarsest.
        rows, columns = ((own.start, -(-own.stop // size_multiple()) * size_multiple()) for own in picture.tile.read)
        part: SubbandStacks = subband_stacks_of_part(
            whole.picked, picture.size, (rows, columns), picture.longest, self.pairing, self.margin
        )
        return part

    def _at_half(self, plane: Tensor, stacks: Sequence[Tensor | None]) -> Tensor:
        half = self.to_half(plane)
        quarter = self.at_quarter(_joined(self.to_quarter(_joined(half, stacks[0])), stacks[1]))
        eighth = self.at_eighth(_joined(self.to_eighth(quarter), stacks[2]))
        sixteenth = self.at_sixteenth(_joined(self.to_sixteenth(eighth), stacks[3]))
        result: Tensor = self.up_to_half(self.up_to_quarter(self.up_to_eighth(sixteenth, eighth), quarter), half)
        return result


def _joined(features: Tensor, stack: Tensor | None) -> Tensor:
    if stack is None:
        return features
    return torch.cat((features, stack.to(features.dtype, memory_format=torch.channels_last)), dim=1)
