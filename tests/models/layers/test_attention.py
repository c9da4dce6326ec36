import pytest
import torch
from torch import Tensor

from ivif.models.layers.attention import GridAttention, MultiHeadAttention, WindowAttention, sine_positions


def _plain(layer: MultiHeadAttention, queries: Tensor, states: Tensor, mask: Tensor | None = None) -> Tensor:
    query, (key, value) = layer.to_query(queries), layer.to_key_value(states).chunk(2, dim=-1)
    heads = []
    for q, k, v in zip(*(part.chunk(layer.heads, dim=-1) for part in (query, key, value)), strict=True):
        logits = q @ k.transpose(1, 2) / q.shape[-1] ** 0.5
        if mask is not None:
            logits = logits.masked_fill(~mask[:, None], float("-inf"))
        heads.append(logits.softmax(dim=-1) @ v)
    result: Tensor = layer.project_out(torch.cat(heads, dim=-1))
    return result


def test_equals_the_printed_formula() -> None:
    layer = MultiHeadAttention(12, 3).double()
    queries, states = torch.randn(2, 5, 12).double(), torch.randn(2, 7, 12).double()
    mask = torch.rand(2, 7) > 0.5
    mask[:, 0] = True
    torch.testing.assert_close(layer(queries, states), _plain(layer, queries, states))
    torch.testing.assert_close(layer(queries, states, mask), _plain(layer, queries, states, mask))


def test_masked_states_do_not_matter() -> None:
    layer = MultiHeadAttention(8, 2)
    queries, states = torch.randn(1, 4, 8), torch.randn(1, 6, 8)
    mask = torch.tensor([[True, False, True, False, False, False]])
    torch.testing.assert_close(layer(queries, states, mask), layer(queries, states[:, [0, 2]]))


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("size", [(8, 8), (5, 11), (1, 1), (3, 8)])
def test_windows_equal_attention_inside_each(size: tuple[int, int], shifted: bool) -> None:
    layer = WindowAttention(8, 2, window=4, shifted=shifted).double()
    tokens = torch.randn(2, *size, 8).double()
    begin = -2 if shifted else 0
    expected = torch.empty_like(tokens)
    for top in range(begin, size[0], 4):
        for left in range(begin, size[1], 4):
            place = (slice(None), slice(max(top, 0), top + 4), slice(max(left, 0), left + 4))
            part = tokens[place]
            flat = part.flatten(1, 2)
            expected[place] = _plain(layer.attention, flat, flat).view(part.shape)
    torch.testing.assert_close(layer(tokens), expected)


def test_grid_attention_reads_everything() -> None:
    layer, tokens = GridAttention(8, 2), torch.randn(1, 3, 5, 8)
    expected = _plain(layer.attention, tokens.flatten(1, 2), tokens.flatten(1, 2)).view(1, 3, 5, 8)
    torch.testing.assert_close(layer(tokens), expected)


def test_positions_are_fixed_distinct_and_independent_of_the_grid() -> None:
    positions = sine_positions(9, 13, 16, torch.device("cpu"))
    assert positions.shape == (9, 13, 16)
    assert torch.equal(sine_positions(4, 20, 16, torch.device("cpu"))[:, :13], positions[:4])
    distances = torch.cdist(positions.flatten(0, 1), positions.flatten(0, 1)) + 10 * torch.eye(117)
    assert distances.min() > 0.1
    torch.testing.assert_close(positions[3, 5, 0], torch.tensor(3.0).sin())
    torch.testing.assert_close(positions[3, 5, 8], torch.tensor(5.0).sin())
    torch.testing.assert_close(positions[3, 5, 1], torch.tensor(3.0 / 10.0).sin())
    torch.testing.assert_close(positions.square().sum(dim=2), torch.full((9, 13), 8.0))


def test_wrong_sizes_are_named() -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        sine_positions(2, 2, 6, torch.device("cpu"))
    with pytest.raises(ValueError, match=r"width \(8\)"):
        MultiHeadAttention(8, 3)
