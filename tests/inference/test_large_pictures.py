"""Large pictures in tiles: no seam, and in little memory."""

import subprocess
import sys
from typing import Final

import pytest
import torch
from torch import Tensor

import ivif
from ivif.models.promptfusion import PromptFusionConfig, PromptFusionNetwork
from tests.models.tiled import difference

pytestmark = pytest.mark.slow

ONE_LEVEL: Final = 1 / 255
GIB: Final = 2**30

FUSE: Final = """
import torch, ivif
from ivif.machine.peak_memory import peak_resident
infrared = torch.linspace(0, 255, 4096).byte().expand(3072, -1)
fused = ivif.load("mgfusion-light", "cpu", tile=1024)(infrared, infrared.flip(0, 1).expand(3, -1, -1))
assert fused.shape == (3, 3072, 4096), fused.shape
print(peak_resident())
"""


@pytest.mark.parametrize("name", ["mgfusion-light", "text-to-pixels-light", "promptfusion-light"])
def test_trained_networks_leave_no_seam(name: str) -> None:
    torch.manual_seed(0)
    ramp = torch.linspace(0, 0.7, 1024)
    infrared, visible = ramp + 0.3 * torch.rand(1, 1, 768, 1024), ramp.flip(0) + 0.3 * torch.rand(1, 3, 768, 1024)
    tiled = ivif.load(name, "cpu", tile=256).fuse_tensors(infrared, visible)
    whole = ivif.load(name, "cpu").fuse_tensors(infrared, visible)
    assert (tiled - whole).abs().max() < ONE_LEVEL


def test_promptfusion_leaves_no_seam() -> None:
    torch.manual_seed(0)
    network = PromptFusionNetwork(PromptFusionConfig.preset("light")).eval().double()

    def fusion(infrared: Tensor, luma: Tensor) -> Tensor:
        fused: Tensor = network(infrared, luma).fused
        return fused

    assert difference(fusion, network.tiling, (768, 1024), 512) < ONE_LEVEL


def test_twelve_megapixels_take_less_than_four_gigabytes() -> None:
    done = subprocess.run([sys.executable, "-c", FUSE], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 4 * GIB
