"""What fusing a picture costs, beside a network whose numbers can be counted by hand."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ivif.contracts.batch import Batch
from ivif.lightning_modules import efficiency
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.detection_sources import load_fusion
from ivif.lightning_modules.efficiency import COLUMNS
from ivif.lightning_modules.optimization import AdamConfig, WarmupDecayConfig
from ivif.weights import find_weights

WIDTH, HEIGHT = 64, 48


class _TwoConvolutions(FusionTask):
    """4 planes to 8 by 3x3, then to one by 1x1; and a layer that no picture runs through."""

    def __init__(self) -> None:
        super().__init__(AdamConfig(), WarmupDecayConfig())
        self.wide = nn.Conv2d(4, 8, 3, padding=1, bias=False)
        self.narrow = nn.Conv2d(8, 1, 1)
        self.unused = nn.Linear(1000, 1000)

    def fuse_images(self, batch: Batch) -> Tensor:
        pair = torch.cat((batch["infrared"], batch["visible"]), dim=1)
        assert pair.shape == (1, 4, HEIGHT, WIDTH)
        fused: Tensor = self.narrow(self.wide(pair).relu_())
        return fused

    def losses(self, fused: Tensor, batch: Batch) -> dict[str, Tensor]:
        return {}


def test_the_numbers_are_those_of_what_a_picture_runs_through() -> None:
    row = _TwoConvolutions().eval().efficiency((WIDTH, HEIGHT))
    assert tuple(row) == COLUMNS
    pixels, weights = WIDTH * HEIGHT, 4 * 8 * 9 + 8 + 1
    assert row["parameters (M)"] == pytest.approx(weights / 1e6)
    assert row["GFLOPs"] == pytest.approx(2 * pixels * (4 * 8 * 9 + 8) / 1e9)
    assert 0 < float(row["ms"]) < 1000
    # the pair of 4 planes and the 8 that are made of it are there at once; colours come after, and are fewer
    assert row["memory (MiB)"] == pytest.approx(4 * (weights + pixels * 12) / 2**20, rel=0.2)
    assert row["measured at"] == f"{WIDTH}x{HEIGHT}, CPU, {torch.get_num_threads()} threads, float32"


@pytest.mark.parametrize("name", ["mgfusion-light", "text-to-pixels-light", "promptfusion-light"])
def test_every_method_is_measured_within_a_test(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficiency, "_numbers", itertools.count(8))  # from one digit to two on the way
    task, _ = load_fusion(find_weights(name))
    outside = task.efficiency((48, 40))
    with torch.inference_mode():  # as the trainer tests
        row = task.efficiency((48, 40))
    assert row["GFLOPs"] == outside["GFLOPs"]
    assert float(row["GFLOPs"]) > 0.01
    assert any(each.requires_grad for each in task.parameters())


def test_a_network_that_reads_text_is_measured_while_it_reads() -> None:
    task: Any = load_fusion(find_weights("text-to-pixels-light"))[0]
    read, passes = list[int](), list[int]()
    (words,) = [module for module in task.modules() if isinstance(module, nn.Embedding)]
    words.register_forward_hook(lambda *_: read.append(1))
    task.network.register_forward_hook(lambda *_: passes.append(1))
    row = task.efficiency((48, 40))
    assert len(read) == len(passes) > 2  # a new sentence in each pass
    network = sum(each.numel() for each in task.network.parameters())
    assert row["parameters (M)"] > network / 1e6
