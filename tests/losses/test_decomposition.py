import pytest
import torch
from torch import Tensor

from ivif.losses.decomposition import decomposition_loss, feature_correlation


def _channels(*rows: list[float]) -> Tensor:
    return torch.tensor(rows).view(1, len(rows), 1, -1)


def test_correlation_by_hand() -> None:
    first = _channels([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [0.0, 1.0, 2.0], [0.0, 0.0, 1.0])
    second = _channels([2.0, 4.0, 6.0], [5.0, 4.0, 3.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0])
    # Last: centred (-1/3, -1/3, 2/3) and (-2/3, 1/3, 1/3); product 1/3 over sqrt(2/3 * 2/3).
    expected = torch.tensor([[1.0, -1.0, 0.0, 0.5]])
    torch.testing.assert_close(feature_correlation(first, second), expected, atol=1e-5, rtol=0.0)


def test_correlation_does_not_see_scale_and_offset_but_sign() -> None:
    first, second = torch.randn(2, 2, 3, 8, 9, dtype=torch.float64)
    correlation = feature_correlation(first, second)
    reference = torch.stack(
        [
            torch.stack(
                [torch.corrcoef(torch.stack((a.flatten(), b.flatten())))[0, 1] for a, b in zip(x, y, strict=True)]
            )
            for x, y in zip(first, second, strict=True)
        ]
    )
    torch.testing.assert_close(correlation, reference, atol=1e-6, rtol=0.0)
    torch.testing.assert_close(feature_correlation(3 * first + 5, -second), -correlation, atol=1e-6, rtol=0.0)


def test_loss_by_hand() -> None:
    same, opposite = _channels([1.0, 2.0, 3.0]), _channels([3.0, 2.0, 1.0])
    unlike, half = _channels([1.0, 0.0, 1.0]), (_channels([0.0, 0.0, 1.0]), _channels([0.0, 1.0, 1.0]))
    assert decomposition_loss(same, same, same, same).item() == pytest.approx(1 / 2.01, abs=1e-5)
    assert decomposition_loss(same, same, same, opposite).item() == pytest.approx(1 / 2.01, abs=1e-5)
    assert decomposition_loss(same, opposite, same, same).item() == pytest.approx(100.0, rel=1e-4)
    assert decomposition_loss(same, same, *half).item() == pytest.approx(0.25 / 2.01, abs=1e-5)
    assert decomposition_loss(same, same, same, unlike).item() == pytest.approx(0.0, abs=1e-9)


def test_mean_over_pairs_and_channels() -> None:
    base, detail = torch.randn(2, 4, 6, 8, 8)
    base_other, detail_other = torch.randn(2, 4, 6, 8, 8)
    single = [decomposition_loss(*(x[i : i + 1] for x in (base, base_other, detail, detail_other))) for i in range(4)]
    whole = decomposition_loss(base, base_other, detail, detail_other)
    torch.testing.assert_close(whole, torch.stack(single).mean())
    repeated = [x.repeat(1, 2, 1, 1) for x in (base, base_other, detail, detail_other)]
    torch.testing.assert_close(decomposition_loss(*repeated), whole)


def test_constant_channels_have_finite_gradients() -> None:
    dead = torch.zeros(1, 2, 4, 4, requires_grad=True)
    live = torch.rand(1, 2, 4, 4)
    loss = decomposition_loss(dead, live, dead, live)
    (gradient,) = torch.autograd.grad(loss, dead)
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert gradient.isfinite().all()


def test_descent_makes_detail_unlike_and_base_alike() -> None:
    torch.manual_seed(0)
    shared = torch.randn(1, 2, 8, 8)
    planes = [(shared + torch.randn(1, 2, 8, 8)).requires_grad_() for _ in range(4)]
    optimizer = torch.optim.Adam(planes, lr=0.05)
    before = [feature_correlation(a, b).mean() for a, b in (planes[:2], planes[2:])]
    for _ in range(60):
        optimizer.zero_grad()
        decomposition_loss(*planes).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    base, detail = (feature_correlation(a, b).mean() for a, b in (planes[:2], planes[2:]))
    assert base > before[0]
    assert detail.abs() < 0.1 < before[1]


def test_half_precision_is_averaged_in_float32() -> None:
    features = torch.rand(4, 1, 2, 16, 16).bfloat16() + 8
    with torch.autocast("cpu", torch.bfloat16):
        result = decomposition_loss(*features)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, decomposition_loss(*features.float()))


def test_wrong_shapes_are_named() -> None:
    features = torch.rand(1, 2, 4, 4)
    with pytest.raises(ValueError, match="one shape"):
        decomposition_loss(features, features, features, features[:, :1])
    with pytest.raises(ValueError, match="B, C, H, W"):
        feature_correlation(features[0], features[0])
