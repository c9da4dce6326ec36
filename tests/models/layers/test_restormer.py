"""Restormer blocks against the plain form in which they are published."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ivif.models.layers.convolution import ReplicateConv2d
from ivif.models.layers.restormer import GatedFeedForward, RestormerBlock, RestormerStack, TransposedAttention


def _plain_norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    mean, variance = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=False)
    normalised = (x - mean) / torch.sqrt(variance + norm.eps)
    return normalised * norm.weight.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)


def _plain_attention(attention: TransposedAttention, x: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    mixed = attention.depthwise(attention.to_query_key_value(x))
    heads = (batch, attention.heads, channels // attention.heads, height * width)
    query, key, value = (part.reshape(heads) for part in mixed.chunk(3, dim=1))
    query, key = F.normalize(query, dim=-1), F.normalize(key, dim=-1)
    weights = (query @ key.transpose(-2, -1) * attention.temperature.view(-1, 1, 1)).softmax(dim=-1)
    result: Tensor = attention.project_out((weights @ value).reshape(batch, channels, height, width))
    return result


def _plain_feed_forward(feed_forward: GatedFeedForward, x: Tensor) -> Tensor:
    gate, content = feed_forward.depthwise(feed_forward.project_in(x)).chunk(2, dim=1)
    gelu = gate * 0.5 * (1.0 + torch.erf(gate / math.sqrt(2.0)))
    result: Tensor = feed_forward.project_out(gelu * content)
    return result


def _plain_block(block: RestormerBlock, x: Tensor) -> Tensor:
    x = x + _plain_attention(block.attention, _plain_norm(block.attention_norm.norm, x))
    return x + _plain_feed_forward(block.feed_forward, _plain_norm(block.feed_forward_norm.norm, x))


def _random_block(channels: int = 12, heads: int = 3, **options: Any) -> RestormerBlock:
    torch.manual_seed(0)
    block = RestormerBlock(channels, heads, expansion=1.5).to(**options)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return block


@pytest.mark.parametrize("size", [(1, 1), (5, 8), (16, 11)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_equals_the_plain_form_in_values_and_gradients(
    size: tuple[int, int], memory_format: torch.memory_format
) -> None:
    block = _random_block(dtype=torch.float64)
    x = torch.randn(2, 12, *size, dtype=torch.float64).contiguous(memory_format=memory_format).requires_grad_()
    weights = torch.randn_like(x)
    inputs = (x, *block.parameters())
    fast, plain = block(x), _plain_block(block, x)
    torch.testing.assert_close(fast, plain)
    fast_gradients = torch.autograd.grad((fast * weights).sum(), inputs)
    plain_gradients = torch.autograd.grad((plain * weights).sum(), inputs)
    for fast_gradient, plain_gradient in zip(fast_gradients, plain_gradients, strict=True):
        torch.testing.assert_close(fast_gradient, plain_gradient)


def test_equals_the_plain_form_in_float32() -> None:
    block, x = _random_block(), torch.randn(1, 12, 40, 30)
    torch.testing.assert_close(block(x), _plain_block(block, x), atol=1e-4, rtol=1e-4)


def test_queries_of_length_zero_give_even_attention() -> None:
    attention = TransposedAttention(4, 1)
    result = attention(torch.zeros(1, 4, 3, 3))
    assert result.isfinite().all()
    torch.testing.assert_close(attention._attention(torch.zeros(1, 9, 8), (3, 3)), torch.full((1, 1, 4, 4), 0.25))


def test_float16_sums_do_not_overflow() -> None:
    attention = TransposedAttention(4, 2)
    query_key = torch.full((1, 70_000, 8), 2.0, dtype=torch.float16)  # squares sum to 280,000 > 65,504
    torch.testing.assert_close(attention._attention(query_key, (1, query_key.shape[1])), torch.full((1, 2, 2, 2), 0.5))


def test_bfloat16_autocast_is_near_float32() -> None:
    block, x = _random_block(), torch.randn(1, 12, 24, 24)
    with torch.autocast("cpu", torch.bfloat16):
        half = block(x)
    assert (half - block(x)).abs().mean() < 0.02 * block(x).abs().mean()


def test_recomputing_changes_memory_but_no_gradient() -> None:
    stack = RestormerStack(8, blocks=2, heads=2, expansion=2.0)
    x = torch.randn(1, 8, 12, 12)
    gradients, kept_values = [], []
    for recompute in (False, True):
        kept: dict[int, int] = {}

        def note(tensor: Tensor, kept: dict[int, int] = kept) -> Tensor:
            kept[tensor.data_ptr()] = tensor.numel()
            return tensor.detach()  # an output would keep its own graph alive for good

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            result = stack(x, recompute)
        kept_values.append(sum(kept.values()))
        gradients.append(torch.autograd.grad(result.square().sum(), list(stack.parameters())))
    for kept_gradient, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(kept_gradient, recomputed)
    assert kept_values[1] < kept_values[0] / 5


def test_heads_must_divide_channels() -> None:
    with pytest.raises(ValueError, match="multiple of heads"):
        TransposedAttention(10, 4)


@pytest.mark.parametrize("bias", [False, True])
def test_replicate_convolution_is_pytorchs(bias: bool) -> None:
    ours = ReplicateConv2d(2, 3, bias=bias)
    reference = nn.Conv2d(2, 3, 3, padding=1, padding_mode="replicate", bias=bias)
    reference.load_state_dict(ours.state_dict())
    for size in ((1, 1), (6, 4)):
        x = torch.rand(1, 2, *size)
        torch.testing.assert_close(ours(x), reference(x))
