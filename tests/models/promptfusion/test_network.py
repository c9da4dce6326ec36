import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ivif.losses.decomposition import decomposition_loss
from ivif.losses.gradient import gradient_max_loss
from ivif.losses.intensity import intensity_max_loss
from ivif.losses.reconstruction import reconstruction_terms
from ivif.models.network_config import count_parameters
from ivif.models.promptfusion import Phase, PromptFusionConfig, PromptFusionNetwork, PromptFusionOutput
from ivif.models.promptfusion.fusion import AffineCoupling
from ivif.testing import NetworkTests

SMALL: dict[str, Any] = {"channels": 8, "blocks": 1, "heads": 2, "detail_channels": (8, 8, 12, 16)}
VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"detail": "convolution"},
    {"pairing": "splice", "margin": 0},
    {"residual": "logit", "coupling_nodes": 2},
    {"residual": "none"},
    {"checkpoint_blocks": True},
    {"blocks": 0},
)


def _network(**changes: Any) -> PromptFusionNetwork:
    torch.manual_seed(0)
    return PromptFusionNetwork(PromptFusionConfig(**{**SMALL, **changes}))


def _trained(network: PromptFusionNetwork, phase: Phase) -> list[nn.Parameter]:
    return [own for module in network.phase_modules(phase).values() for own in module.parameters()]


def _pair(batch: int = 1, height: int = 32, width: int = 24) -> tuple[Tensor, Tensor]:
    infrared, visible = torch.rand(2, batch, 1, height, width, generator=torch.Generator().manual_seed(1))
    return infrared, visible


def _autoencoder_loss(network: PromptFusionNetwork, infrared: Tensor, visible: Tensor) -> Tensor:
    images = torch.cat((infrared, visible))
    drawn, features = network.reconstruct(images)
    terms = reconstruction_terms(drawn, images)
    pairs = (*features.base.chunk(2), *features.detail.chunk(2))
    return 5.0 * terms.ssim + terms.squared + 5.0 * terms.gradient + 2.0 * decomposition_loss(*pairs)


def _fusion_loss(output: PromptFusionOutput, infrared: Tensor, visible: Tensor) -> Tensor:
    pairs = (output.infrared.base, output.visible.base, output.infrared.detail, output.visible.detail)
    images = (output.fused, infrared, visible)
    return intensity_max_loss(*images) + 10.0 * gradient_max_loss(*images) + 2.0 * decomposition_loss(*pairs)


def _loss(network: PromptFusionNetwork, phase: Phase) -> Tensor:
    pair = _pair(2)
    return _autoencoder_loss(network, *pair) if phase == "autoencoder" else _fusion_loss(network(*pair), *pair)


class TestNetwork(NetworkTests):
    sized = ({"detail": "contourlet"}, {"detail": "convolution"})
    variants = VARIANTS
    recomputed = ({"checkpoint_blocks": True},)

    def network(self, **changes: Any) -> PromptFusionNetwork:
        return _network(**changes)

    def inputs(self, count: int = 1, size: tuple[int, int] = (32, 24)) -> Sequence[Tensor]:
        return _pair(count, *size)

    def loss(self, network: nn.Module) -> Tensor:
        assert isinstance(network, PromptFusionNetwork)
        return _loss(network, "fusion")


@pytest.mark.parametrize("changes", VARIANTS)
def test_the_autoencoders_phase_reaches_its_parameters_and_no_others(changes: dict[str, Any]) -> None:
    network = _network(**changes)
    names, parameters = zip(*network.named_parameters(), strict=True)
    gradients = torch.autograd.grad(_loss(network, "autoencoder"), parameters, allow_unused=True)
    reached = {name for name, gradient in zip(names, gradients, strict=True) if gradient is not None and gradient.any()}
    trained = {id(parameter) for parameter in _trained(network, "autoencoder")}
    assert reached == {name for name, parameter in zip(names, parameters, strict=True) if id(parameter) in trained}
    assert reached < set(names)


def test_an_autoencoder_takes_any_size() -> None:
    network = _network().eval()
    for size in ((1, 1), (1, 9), (23, 37)):
        infrared, visible = _pair(2, *size)
        drawn, features = network.reconstruct(infrared)
        assert drawn.shape == (2, 1, *size)
        assert 0.0 <= drawn.min() <= drawn.max() <= 1.0
        _, *both = network(infrared, visible)
        assert {tensor.shape for each in (features, *both) for tensor in each} == {(2, 8, *size)}


def test_phases_name_their_modules() -> None:
    network = _network()
    assert list(network.phase_modules("autoencoder")) == ["encoder", "decoder"]
    assert list(network.phase_modules("fusion")) == ["encoder", "decoder", "base_fusion", "detail_fusion"]
    parameters = _trained(network, "fusion")
    assert len({id(parameter) for parameter in parameters}) == len(parameters) == len(list(network.parameters()))
    with pytest.raises(ValueError, match="autoencoder, fusion"):
        network.phase_modules("both")  # type: ignore[arg-type]


def test_gradient_passes_through_the_subbands_alone() -> None:
    branch = _network().encoder.detail
    with torch.no_grad():
        branch.to_half.convolution.weight.zero_()  # what does not come by the transform
    features = torch.rand(2, 8, 32, 32, requires_grad=True)
    weights = torch.randn(2, 8, 32, 32, generator=torch.Generator().manual_seed(3))
    (gradient,) = torch.autograd.grad((weights * branch(features)).sum(), features)
    assert gradient.abs().max() > 1e-5


def test_without_contourlet_only_the_subbands_are_gone() -> None:
    with_it, without = (dict(_network(detail=kind).named_parameters()) for kind in ("contourlet", "convolution"))
    assert with_it.keys() == without.keys()
    changed = {
        name: with_it[name].shape[1] - without[name].shape[1] for name in with_it if _differs(with_it, without, name)
    }
    prefix = "encoder.detail."
    assert changed == {
        f"{prefix}to_quarter.convolution.weight": 8,
        f"{prefix}at_quarter.convolution.weight": 8,
        f"{prefix}at_eighth.convolution.weight": 8,
        f"{prefix}at_sixteenth.convolution.weight": 4,
    }


def _differs(first: dict[str, nn.Parameter], second: dict[str, nn.Parameter], name: str) -> bool:
    return first[name].shape != second[name].shape


def test_every_subband_stack_is_read() -> None:
    network = _network().encoder.detail.eval()
    features = torch.rand(1, 8, 32, 32)
    whole = network(features)
    for layer, own in (
        (network.to_quarter, 8),
        (network.at_quarter, 8),
        (network.at_eighth, 12 - 4),
        (network.at_sixteenth, 12),
    ):
        blind = copy.deepcopy(layer.convolution.weight)
        with torch.no_grad():
            layer.convolution.weight[:, own:] = 0.0
        assert (network(features) - whole).abs().max() > 1e-7
        with torch.no_grad():
            layer.convolution.weight.copy_(blind)


@pytest.mark.parametrize(("residual", "starts_at"), [("added", "sigmoid"), ("logit", "image"), ("none", "half")])
def test_residual_is_where_the_decoder_starts(residual: str, starts_at: str) -> None:
    network = _network(residual=residual).eval()
    nn.init.zeros_(network.decoder.reconstruction.weight)
    bias = network.decoder.reconstruction.bias
    assert bias is not None
    nn.init.zeros_(bias)
    infrared, visible = _pair()
    expected = {"sigmoid": visible.sigmoid(), "image": visible, "half": torch.full_like(visible, 0.5)}[starts_at]
    torch.testing.assert_close(network(infrared, visible).fused, expected, atol=0.003, rtol=0.0)


def test_coupling_by_hand_and_its_inverse() -> None:
    torch.manual_seed(0)
    node = AffineCoupling(8).double()
    x = torch.randn(1, 4, 5, 8, dtype=torch.float64)
    first, second = node(x).chunk(2, dim=-1)
    before = (first - node.eta(second)) * (-node.rho(second)).exp()
    mixed = torch.cat((before, second - node.phi(before)), dim=-1)
    torch.testing.assert_close(mixed, F.linear(x, node.mix.weight, node.mix.bias))
    back = (mixed - node.mix.bias) @ torch.linalg.inv(node.mix.weight).T
    torch.testing.assert_close(back, x)


def test_features_of_a_pair_are_those_of_each_image() -> None:
    network = _network().eval()
    infrared, visible = _pair(2)
    output = network(infrared, visible)
    for image, features in ((infrared, output.infrared), (visible, output.visible)):
        alone = network.encode(image[:1])
        torch.testing.assert_close(alone.base, features.base[:1], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(alone.detail, features.detail[:1], atol=1e-5, rtol=1e-4)
    fused = network.decode(
        network.base_fusion(output.infrared.base + output.visible.base),
        network.detail_fusion(output.infrared.detail + output.visible.detail),
        visible,
    )
    torch.testing.assert_close(fused, output.fused)


def test_recomputing_gives_the_autoencoder_equal_gradients() -> None:
    networks = _network(), _network(checkpoint_blocks=True)
    kept, recomputed = (
        torch.autograd.grad(_loss(network, "autoencoder"), _trained(network, "autoencoder")) for network in networks
    )
    for first, second in zip(kept, recomputed, strict=True):
        torch.testing.assert_close(first, second)


@pytest.mark.slow
def test_phase_one_overfits_one_pair() -> None:
    network = _network()
    infrared, visible = (F.avg_pool2d(image, 5, 1, 2) for image in _pair(1, 64, 64))
    optimizer = torch.optim.Adam(_trained(network, "autoencoder"), lr=3e-3)
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = _autoencoder_loss(network, infrared, visible)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-10:]) < losses[0] / 5


def test_wrong_input_is_named() -> None:
    network, (infrared, visible) = _network(), _pair()
    with pytest.raises(ValueError, match="same size"):
        network(infrared, visible[..., :-1])
    with pytest.raises(ValueError, match="luma"):
        network.reconstruct(visible.expand(-1, 3, -1, -1))


def test_sizes_of_the_presets() -> None:
    sizes = {name: PromptFusionNetwork(PromptFusionConfig.preset(name)) for name in ("light", "base")}
    assert count_parameters(sizes["base"].encoder.detail) == 6_249_984
    assert {name: count_parameters(network) for name, network in sizes.items()} == {"light": 124_065, "base": 6_721_361}
