from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ivif.image_ops.saliency import saliency_pair
from ivif.losses.content import content_loss, saliency_weights
from ivif.models.layers.attention import WindowAttention
from ivif.models.network_config import count_parameters
from ivif.models.text_to_pixels import TextToPixelsConfig, TextToPixelsNetwork
from ivif.testing import NetworkTests

WIDTH = 12
SMALL: dict[str, Any] = {
    "channels": 4,
    "dilations": (1, 1),
    "features": 8,
    "width": 16,
    "heads": 2,
    "blocks": 1,
    "codebook_entries": 8,
    "decoder_channels": (8, 4),
}
ATTENTIONS = pytest.mark.parametrize("attention", ["patch", "window", "channel"])


def _network(text_width: int | None = WIDTH, **changes: Any) -> TextToPixelsNetwork:
    torch.manual_seed(0)
    return TextToPixelsNetwork(TextToPixelsConfig(**{**SMALL, **changes}), text_width)


def _pair(batch: int = 1, height: int = 16, width: int = 24, seed: int = 1) -> tuple[Tensor, Tensor]:
    infrared, visible = torch.rand(2, batch, 1, height, width, generator=torch.Generator().manual_seed(seed))
    return infrared, visible


def _text(batch: int = 1, seed: int = 2) -> tuple[Tensor, Tensor]:
    text = torch.randn(batch, 5, WIDTH, generator=torch.Generator().manual_seed(seed))
    return text, (torch.arange(5) < 3).expand(batch, 5)


def _fused(network: TextToPixelsNetwork, *inputs: Tensor | None) -> Tensor:
    fused: Tensor = network(*inputs).fused
    return fused


class TestNetwork(NetworkTests):
    sized = tuple({"attention": attention, "blocks": 2} for attention in ("patch", "window", "channel"))
    halved = tuple({"attention": attention, "codebook": False} for attention in ("patch", "window", "channel"))
    variants = (
        {},
        {"dilations": (1, 2, 3)},
        {"attention": "window", "blocks": 2},
        {"attention": "channel"},
        {"codebook_update": "ema"},
        {"codebook": False},
        {"blocks": 0},
        {"self_attention": False},
        {"cross_attention": False},
        {"self_attention": False, "cross_attention": False},
    )
    recomputed = ({"checkpoint_blocks": True},)

    def network(self, **changes: Any) -> TextToPixelsNetwork:
        return _network(**changes)

    def inputs(self, count: int = 1, size: tuple[int, int] = (16, 24)) -> Sequence[Tensor]:
        return (*_pair(count, *size), *_text(count))

    def loss(self, network: nn.Module) -> Tensor:
        network(*_pair(2, seed=7), *_text(2))  # k-means leaves no gradient where it began: each entry is a mean
        text, mask = _text(2)
        fused, loss = network(*_pair(2), text, mask & torch.tensor([[True], [False]]))
        weights = torch.randn(fused.shape, generator=torch.Generator().manual_seed(5))
        total: Tensor = (weights * fused).sum() + loss
        return total


@pytest.mark.parametrize(("changes", "trained"), [({}, True), ({"codebook_update": "ema"}, False)])
def test_entries_are_parameters_where_gradients_train_them(changes: dict[str, Any], trained: bool) -> None:
    assert ("quantizer.codebook" in dict(_network(**changes).named_parameters())) is trained


def test_without_text_only_the_null_token_is_trained() -> None:
    network = _network()
    names, parameters = zip(*network.named_parameters(), strict=True)
    fused, loss = network(*_pair(2))
    gradients = torch.autograd.grad(fused.square().mean() + loss, parameters, allow_unused=True)
    unused = {name for name, gradient in zip(names, gradients, strict=True) if gradient is None}
    assert unused == {name for name in names if name.startswith("text.projection.")}
    reached = dict(zip(names, gradients, strict=True))["text.null_token"]
    assert reached.abs().sum() > 0
    # One key leaves nothing to choose: the softmax is 1 whatever the query.
    query = dict(zip(names, gradients, strict=True))["transformer.blocks.0.text_attention.to_query.weight"]
    assert query.abs().max() < 1e-7


def test_fused_image_trains_the_codebook_only_through_its_loss() -> None:
    network = _network()
    network(*_pair(2, seed=7), *_text(2))
    fused, loss = network(*_pair(2), *_text(2))
    assert network.quantizer is not None
    codebook = network.quantizer.codebook
    from_image = torch.autograd.grad(fused.sum(), codebook, allow_unused=True, retain_graph=True)
    assert [gradient is None for gradient in from_image] == [True]
    assert torch.autograd.grad(loss, codebook)[0].abs().sum() > 0


@ATTENTIONS
def test_text_changes_the_image_and_blank_text_equals_the_null_token(attention: str) -> None:
    network = _network(attention=attention, codebook=False).eval()
    pair, (text, mask) = _pair(2), _text(2)
    other, _ = _text(2, seed=3)
    one = _fused(network, *pair, text, mask)
    assert (one - _fused(network, *pair, other, mask)).abs().max() > 1e-5
    nothing = _fused(network, *pair)
    assert (one - nothing).abs().max() > 1e-5
    blank = torch.zeros_like(mask)
    torch.testing.assert_close(_fused(network, *pair, text, blank), nothing, atol=1e-6, rtol=0.0)
    mixed = _fused(network, *pair, text, mask & torch.tensor([[False], [True]]))
    torch.testing.assert_close(mixed[:1], nothing[:1], atol=1e-6, rtol=0.0)
    torch.testing.assert_close(mixed[1:], one[1:], atol=1e-6, rtol=0.0)


def test_text_acts_differently_at_different_places() -> None:
    network = _network().eval()
    attention = network.transformer.blocks[0].get_submodule("text_attention")
    assert network.text is not None
    states, mask = network.text(*_text(), 1)
    assert mask is not None
    tokens = torch.randn(1, 3, 4, 16)
    with_text = attention(tokens.flatten(1, 2), states, mask)
    assert with_text.std(dim=1).min() > 1e-3
    alone = attention(tokens.flatten(1, 2), states[:, :1])
    assert alone.std(dim=1).max() < 1e-6


def test_padding_of_the_text_does_not_matter() -> None:
    network = _network().eval()
    pair, (text, mask) = _pair(), _text()
    padded = torch.cat((text[:, :3], torch.full((1, 9, WIDTH), 7.0)), dim=1)
    fused = _fused(network, *pair, padded, (torch.arange(12) < 3)[None])
    torch.testing.assert_close(fused, _fused(network, *pair, text, mask), atol=1e-6, rtol=0.0)
    torch.testing.assert_close(fused, _fused(network, *pair, text[:, :3]), atol=1e-6, rtol=0.0)


@pytest.mark.parametrize("self_attention", [False, True])
@pytest.mark.parametrize("cross_attention", [False, True])
def test_ablations_m1_to_m4(self_attention: bool, cross_attention: bool) -> None:
    network = _network(self_attention=self_attention, cross_attention=cross_attention, codebook=False).eval()
    names = {name for name, _ in network.named_parameters()}
    assert any("self_attention" in name for name in names) is self_attention
    assert any("text" in name for name in names) is cross_attention
    assert network.needs_text is cross_attention
    assert any("feed_forward" in name for name in names)
    pair, (text, mask) = _pair(height=16, width=64), _text()
    fused = _fused(network, *pair, text, mask)
    assert torch.equal(fused, _fused(network, *pair)) is not cross_attention
    # Far beyond the reach of the convolutions only self-attention carries news.
    changed = pair[0].clone()
    changed[..., :4] = 1 - changed[..., :4]
    far = (fused - _fused(network, changed, pair[1], text, mask))[..., -8:].abs().max()
    assert bool(far > 0) is self_attention


def test_every_other_block_shifts_its_windows() -> None:
    windows = [
        module for module in _network(attention="window", blocks=3).modules() if isinstance(module, WindowAttention)
    ]
    assert [window.shift for window in windows] == [0, 4, 0]


def test_codebook_switch() -> None:
    on, off = _network(), _network(codebook=False)
    assert on.quantizer is not None
    assert off.quantizer is None
    assert on(*_pair(4)).codebook_loss > 0
    assert off(*_pair()).codebook_loss == 0.0
    assert (on.quantizer.beta, on.quantizer.entries, on.quantizer.revive_after) == (0.25, 8, 200)


def test_dilated_paths_see_further() -> None:
    image = torch.rand(1, 1, 33, 33)
    changed = image.clone()
    changed[..., 16, 16] += 1.0
    for dilations, reach in (((1, 1), 3), ((1, 3), 5)):
        extractor = _network(dilations=dilations).infrared_extractor.eval()
        with torch.no_grad():
            rows = (extractor(image) - extractor(changed)).abs().amax(dim=(0, 1, 3)).nonzero().flatten()
        assert (rows.min().item(), rows.max().item()) == (16 - reach, 16 + reach)


def test_extractor_equals_the_printed_equation() -> None:
    extractor = _network(dilations=(1, 1, 1)).infrared_extractor
    torch.nn.init.normal_(extractor.path_weights)
    torch.nn.init.normal_(extractor.path_biases)
    image = torch.rand(2, 1, 9, 7)

    def convolve(x: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), weight)

    maps = [convolve(image, extractor.entry.weight)]
    for path in extractor.paths:
        raw = convolve(torch.cat(maps, dim=1), path.get_parameter("convolution.weight"))
        maps.append(F.leaky_relu(F.batch_norm(raw, None, None, training=True), 0.2))
    pairs = zip(extractor.path_weights, extractor.path_biases, maps[1:], strict=True)
    expected = F.relu(torch.stack([weight * features + bias for weight, bias, features in pairs]).sum(dim=0))
    torch.testing.assert_close(extractor(image), expected, atol=1e-5, rtol=1e-4)


def test_constant_images_give_constant_results_without_grid() -> None:
    network = _network(codebook=False).eval()
    flat = torch.full((1, 1, 32, 32), 0.4)
    with torch.no_grad():
        network.transformer.embedding.weight.zero_()  # leaves positions, the smoothest token map there is
        fused = _fused(network, flat, flat)
    rows = fused[0, 0].diff(dim=0).abs()
    inside = rows[4:-4]
    assert inside[3::8].max() < 4 * inside.mean() + 1e-6


def test_quantised_under_bfloat16_autocast() -> None:
    network = _network()
    with torch.autocast("cpu", torch.bfloat16):
        fused, loss = network(*_pair(2), *_text(2))
    assert fused.dtype == loss.dtype == torch.float32
    gradients = torch.autograd.grad(fused.square().mean() + loss, list(network.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.slow
def test_overfits_one_pair() -> None:
    network = _network(channels=8, features=16, decoder_channels=(16, 8))
    assert network.quantizer is not None
    infrared, visible = (F.avg_pool2d(image, 5, 1, 2) for image in _pair(1, 64, 64))
    weights = saliency_weights(saliency_pair(infrared, visible))
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(150):
        optimizer.zero_grad()
        fused, codebook_loss = network(infrared, visible, *_text())
        content = content_loss(fused, infrared, visible, weights, "composite").terms.means().total
        (content + codebook_loss).backward()
        optimizer.step()
        network.quantizer.update_statistics()
        losses.append(content.item())
    assert min(losses[-10:]) < losses[0] / 5


def test_wrong_input_is_named() -> None:
    network, (infrared, visible), (text, mask) = _network(), _pair(), _text()
    with pytest.raises(ValueError, match="same shape"):
        network(infrared, visible[..., :-1])
    with pytest.raises(ValueError, match="luma"):
        network(infrared, visible.expand(-1, 3, -1, -1))
    with pytest.raises(ValueError, match=r"\(1, L, 12\)"):
        network(infrared, visible, text[..., :-1], mask)
    with pytest.raises(ValueError, match="text mask"):
        network(infrared, visible, text, mask[:, :-1])
    with pytest.raises(ValueError, match="text_width"):
        _network(None)(infrared, visible, text, mask)


def test_without_text_width_there_is_no_projection() -> None:
    network = _network(None)
    assert not any("projection" in name for name, _ in network.named_parameters())
    assert _fused(network, *_pair()).shape == (1, 1, 16, 24)


@pytest.mark.parametrize(("preset", "expected"), [("light", 195_753), ("base", 4_094_321)])
def test_sizes_of_the_presets_with_vit_b_32(preset: str, expected: int) -> None:
    assert count_parameters(TextToPixelsNetwork(TextToPixelsConfig.preset(preset), 512)) == expected


def test_the_residual_decoder_starts_near_the_mean_of_both_sources() -> None:
    torch.manual_seed(0)
    infrared, visible = torch.rand(2, 1, 32, 32), torch.rand(2, 1, 32, 32)
    infrared[0], visible[0] = 0.0, 0.0
    distances = []
    for residual in (True, False):
        network = TextToPixelsNetwork(TextToPixelsConfig.preset("light", residual=residual)).eval()
        fused = network(infrared, visible).fused
        assert torch.isfinite(fused).all()
        distances.append((fused - (infrared + visible) / 2).abs().mean().item())
    assert distances[0] < 0.05 < distances[1]


@pytest.mark.parametrize("update", ["grad", "ema"])
def test_recomputed_blocks_give_equal_gradients_and_count_the_batch_once(update: str) -> None:
    networks = _network(codebook_update=update), _network(codebook_update=update, checkpoint_blocks=True)
    kept: list[int] = []
    for network in networks:
        kept.append(0)

        def count(tensor: Tensor) -> Tensor:
            kept[-1] += tensor.numel()
            return tensor.detach()  # an output would keep its own graph alive for good

        for _ in range(2):
            with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
                fused, loss = network.train()(*_pair(2, 32, 32), *_text(2))
            torch.autograd.backward(fused.square().mean() + loss)
            network.quantizer.update_statistics()  # type: ignore[union-attr]
    plain, again = networks
    assert kept[1] < kept[0] / 3
    for name, parameter in again.named_parameters():
        torch.testing.assert_close(parameter.grad, plain.get_parameter(name).grad, msg=name)
    for name, buffer in again.named_buffers():
        assert torch.equal(buffer, plain.get_buffer(name)), name
    assert plain.infrared_extractor.get_buffer("paths.0.norm.num_batches_tracked") == 2
