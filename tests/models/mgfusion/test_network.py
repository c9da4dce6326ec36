from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ivif.image_ops.color import luma
from ivif.losses.gradient import gradient_max_loss
from ivif.losses.intensity import intensity_max_loss
from ivif.models.mgfusion.config import MGFusionConfig
from ivif.models.mgfusion.network import MGFusionNetwork
from ivif.models.network_config import count_parameters
from ivif.testing import NetworkTests

WIDTH = 16


def _network(**changes: Any) -> MGFusionNetwork:
    torch.manual_seed(0)
    return MGFusionNetwork(MGFusionConfig(**{"channels": 8, "blocks": 1, "heads": 2, **changes}), WIDTH)


def _inputs(batch: int = 1, height: int = 12, width: int = 10) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    planes = torch.rand(batch, 4, height, width, generator=generator)
    vectors = torch.randn(2, batch, WIDTH, generator=generator)
    return planes[:, :1], planes[:, 1:], vectors[0], vectors[1]


def _loss(fused: Tensor, infrared: Tensor, visible: Tensor) -> Tensor:
    brightness = luma(visible) if fused.shape[1] == 1 else visible
    return gradient_max_loss(fused, infrared, brightness) + 0.2 * intensity_max_loss(fused, infrared, brightness)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small steps do not gain by threads, and on a busy machine waiting for each other costs them twenty times more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class TestNetwork(NetworkTests):
    sized = ({}, {"out_channels": 3})
    variants = (
        {},
        {"gate": "sigmoid", "clip_norm": "l2", "sawp_channels": 8},
        {"out_channels": 3, "tanh_range": "raw"},
        {"checkpoint_blocks": True},
        {"use_cii": False},
        {"use_cff": False},
        {"use_cii": False, "use_cff": False},
        {"blocks": 0},
    )
    recomputed = ({"checkpoint_blocks": True},)

    def network(self, **changes: Any) -> MGFusionNetwork:
        return _network(**changes)

    def inputs(self, count: int = 1, size: tuple[int, int] = (12, 10)) -> Sequence[Tensor]:
        return _inputs(count, *size)

    def loss(self, network: nn.Module) -> Tensor:
        infrared, visible, *vectors = _inputs(2)
        return _loss(network(infrared, visible, *vectors), infrared, visible)


def test_named_parts_exist_and_both_injections_have_their_own_weights() -> None:
    names = {name for name, _ in _network().named_parameters()}
    for part in ("infrared_injection", "visible_injection"):
        assert {
            f"{part}.infrared_share",
            f"{part}.adapter.layers.0.weight",
            f"{part}.spatial_expansion.0.weight",
        } <= names
    assert {"fusion.infrared_adapter.layers.0.weight", "fusion.spatial_attention.2.weight"} <= names


def test_raw_tanh_is_clamped_in_evaluation_only() -> None:
    network = _network(tanh_range="raw")
    assert network(*_inputs(2)).min() < 0.0
    assert network.eval()(*_inputs(2)).min() >= 0.0


def test_without_both_no_vectors_are_needed() -> None:
    network = MGFusionNetwork(MGFusionConfig(channels=8, heads=2, use_cii=False, use_cff=False)).eval()
    infrared, visible, *_ = _inputs()
    assert not network.needs_clip
    assert network(infrared, visible).shape == infrared.shape
    assert not any("injection" in name or "adapter" in name for name, _ in network.named_parameters())


def test_unit_length_vectors_only_when_asked() -> None:
    infrared, visible, *vectors = _inputs()
    longer = [3.0 * vector for vector in vectors]
    for clip_norm, expected in (("l2", True), ("none", False)):
        network = _network(clip_norm=clip_norm).eval()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.normal_(std=0.3)
        same = torch.allclose(network(infrared, visible, *vectors), network(infrared, visible, *longer), atol=1e-5)
        assert same is expected


def test_vectors_get_no_gradient() -> None:
    infrared, visible, *vectors = _inputs()
    for vector in vectors:
        vector.requires_grad_()
    fused = _network()(infrared, visible, *vectors).sum()
    assert all(gradient is None for gradient in torch.autograd.grad(fused, vectors, allow_unused=True))


@pytest.mark.slow
def test_compiled_network_gives_equal_images() -> None:
    network = _network().eval()
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(network)(*_inputs()), network(*_inputs()), atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_overfits_one_pair(one_thread: None) -> None:
    network = _network()
    infrared, visible, *vectors = _inputs(1, 64, 64)
    smooth = torch.nn.functional.avg_pool2d
    infrared, visible = (smooth(smooth(x, 5, 1, 2), 5, 1, 2) * 2 - 0.5 for x in (infrared, visible))
    infrared, visible = infrared.clamp(0, 1), visible.clamp(0, 1)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(200):
        optimizer.zero_grad()
        loss = _loss(network(infrared, visible, *vectors), infrared, visible)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-10:]) < losses[0] / 5


def test_wrong_input_is_named() -> None:
    network = _network()
    infrared, visible, *vectors = _inputs()
    with pytest.raises(ValueError, match="same size"):
        network(infrared, visible[..., :-1], *vectors)
    with pytest.raises(ValueError, match=r"infrared \(B, 1, H, W\)"):
        network(visible, visible, *vectors)
    with pytest.raises(ValueError, match="clip_infrared and clip_visible"):
        network(infrared, visible)
    with pytest.raises(ValueError, match="clip_width"):
        MGFusionNetwork(MGFusionConfig())


@pytest.mark.parametrize(("preset", "expected"), [("light", 302_894), ("base", 432_506), ("large", 1_147_298)])
def test_sizes_of_the_presets_with_vit_b_32(preset: str, expected: int) -> None:
    assert count_parameters(MGFusionNetwork(MGFusionConfig.preset(preset), 512)) == expected
