import copy
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor

from ivif.models.layers.quantizer import VectorQuantizer
from tests.processes import own_lines

BOTH = pytest.mark.parametrize("update", ["grad", "ema"])
Update = Literal["grad", "ema"]


def _vectors(count: int = 60, seed: int = 0) -> Tensor:
    return torch.randn(2, count // 2, 4, generator=torch.Generator().manual_seed(seed))


def _started(update: Update = "grad", entries: int = 8, revive_after: int = 200) -> VectorQuantizer:
    quantizer = VectorQuantizer(entries, 4, update, revive_after=revive_after)
    quantizer(_vectors())
    quantizer.forget()
    return quantizer


@BOTH
def test_gives_the_nearest_entry_exactly(update: Update) -> None:
    quantizer = _started(update)
    vectors = _vectors(seed=1)
    result = quantizer(vectors)
    distances = (vectors[..., None, :] - quantizer.codebook).square().sum(dim=-1)
    assert torch.equal(result.indices, distances.argmin(dim=-1))
    assert torch.equal(result.vectors, quantizer.codebook[result.indices])


@BOTH
def test_idempotent_and_without_loss_inside_the_codebook(update: Update) -> None:
    quantizer = _started(update).eval()
    first = quantizer(_vectors(seed=1))
    second = quantizer(first.vectors)
    assert torch.equal(second.vectors, first.vectors)
    assert torch.equal(second.indices, first.indices)
    assert second.loss.item() == 0.0


def test_gradient_passes_straight_through() -> None:
    vectors = _vectors().requires_grad_()
    result = _started()(vectors)
    weights = torch.randn(vectors.shape)
    (gradient,) = torch.autograd.grad((weights * result.vectors).sum(), vectors)
    assert torch.equal(gradient, weights)


def test_loss_by_hand_and_its_gradients() -> None:
    quantizer = VectorQuantizer(2, 1, beta=0.25)
    quantizer.started.fill_(True)
    with torch.no_grad():
        quantizer.codebook.copy_(torch.tensor([[0.0], [10.0]]))
    vectors = torch.tensor([[1.0], [7.0], [2.0]], requires_grad=True)
    loss = quantizer(vectors).loss
    assert loss.item() == pytest.approx((1 + 9 + 4) / 3 * 1.25)
    to_vectors, to_codebook = torch.autograd.grad(loss, (vectors, quantizer.codebook))
    assert to_vectors.flatten().tolist() == pytest.approx([0.25 * 2 / 3, -0.25 * 6 / 3, 0.25 * 4 / 3])
    assert to_codebook.flatten().tolist() == pytest.approx([-2 * (1 + 2) / 3, 2 * 3 / 3])


def test_beta_one_times_the_numbers_of_a_vector_has_the_gradients_of_the_printed_loss() -> None:
    """Eq 11 sums over a vector's numbers, here 4, where ours takes their mean."""
    quantizer = VectorQuantizer(8, 4, beta=1.0)
    vectors = _vectors().requires_grad_()
    result = quantizer(vectors)
    printed = (vectors - quantizer.codebook[result.indices]).square().sum(dim=-1).mean()
    ours = torch.autograd.grad(4 * result.loss, (vectors, quantizer.codebook))
    theirs = torch.autograd.grad(printed, (vectors, quantizer.codebook))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_moving_averages_leave_no_parameter_and_only_the_commitment() -> None:
    quantizer = _started("ema")
    assert list(quantizer.parameters()) == []
    result = quantizer(_vectors(seed=1))
    expected = 0.25 * (_vectors(seed=1) - quantizer.codebook[result.indices]).square().mean()
    torch.testing.assert_close(result.loss, expected)


def test_moving_averages_move_entries_to_their_vectors() -> None:
    quantizer = VectorQuantizer(2, 1, "ema", decay=0.5)
    quantizer.started.fill_(True)
    quantizer.codebook.copy_(torch.tensor([[0.0], [10.0]]))
    quantizer(torch.tensor([[1.0], [3.0]]))
    quantizer.update_statistics()
    assert quantizer.codebook.flatten().tolist() == [2.0, 10.0]
    quantizer(torch.tensor([[5.0], [11.0]]))
    quantizer.update_statistics()
    # Averages of counts and sums: (0.5 * 1 + 0.5 * 1, 0.5 * 2 + 0.5 * 5) and (0.5, 5.5).
    assert quantizer.codebook.flatten().tolist() == pytest.approx([3.5, 11.0])


@BOTH
def test_forward_changes_nothing_but_the_start(update: Update) -> None:
    quantizer = VectorQuantizer(8, 4, update).eval()
    unstarted = copy.deepcopy(quantizer.state_dict())
    quantizer(_vectors())
    assert all(torch.equal(value, unstarted[key]) for key, value in quantizer.state_dict().items())
    quantizer.train()(_vectors())
    started = copy.deepcopy(quantizer.state_dict())
    assert not torch.equal(started["codebook"], unstarted["codebook"])
    quantizer(_vectors(seed=1))
    quantizer.eval()(_vectors(seed=2))
    assert all(torch.equal(value, started[key]) for key, value in quantizer.state_dict().items())


def test_statistics_are_of_all_training_forwards_since_the_last_and_applied_once() -> None:
    quantizer, other = _started(), _started()
    quantizer(_vectors(seed=4))
    quantizer.forget()
    quantizer(_vectors(seed=1))
    quantizer(_vectors(seed=2))
    quantizer.eval()(_vectors(seed=3))
    other(torch.cat([_vectors(seed=1), _vectors(seed=2)]))
    for each in (quantizer, other, quantizer):
        each.update_statistics()
    assert quantizer.updates == 1
    assert torch.equal(quantizer.usage, other.usage)


def test_start_reduces_the_error_and_uses_all_entries() -> None:
    quantizer = VectorQuantizer(8, 4, revive_after=0)
    vectors = _vectors(400) + 2.0
    at_random = quantizer.eval()(vectors).loss
    result = quantizer.train()(vectors)
    quantizer.update_statistics()
    assert result.loss < at_random / 2
    assert quantizer.dead_fraction == 0.0


@BOTH
def test_fewer_vectors_than_entries_and_a_single_entry(update: Update) -> None:
    quantizer = VectorQuantizer(16, 4, update)
    result = quantizer(_vectors(6))
    assert result.loss.item() < 1e-10
    single = VectorQuantizer(1, 4, update)
    torch.testing.assert_close(single(_vectors()).vectors[0, 0], _vectors().flatten(0, 1).mean(dim=0))
    single.update_statistics()
    assert single.perplexity.item() == pytest.approx(1.0)
    assert single.dead_fraction == 0.0


def test_perplexity_and_dead_fraction() -> None:
    quantizer = VectorQuantizer(4, 1)
    assert quantizer.dead_fraction == 1.0
    quantizer.started.fill_(True)
    with torch.no_grad():
        quantizer.codebook.copy_(torch.arange(4.0)[:, None])
    quantizer(torch.tensor([0.0, 0.0, 1.0, 1.0])[:, None])
    quantizer.update_statistics()
    assert quantizer.perplexity.item() == pytest.approx(2.0)
    assert quantizer.dead_fraction.item() == 0.5
    assert quantizer.perplexity.shape == quantizer.dead_fraction.shape == ()


@BOTH
def test_dead_entries_are_revived_after_waiting(update: Update) -> None:
    quantizer = _started(update, revive_after=5)
    with torch.no_grad():
        quantizer.codebook[2:4] = 1000.0
    batch = _vectors(seed=1)
    for step in range(5):
        assert (quantizer.codebook[2:4] == 1000.0).all(), step
        quantizer(batch)
        quantizer.update_statistics()
    flat = batch.flatten(0, 1)
    assert all((flat == entry).all(dim=1).any() for entry in quantizer.codebook[2:4])
    assert not torch.equal(quantizer.codebook[2], quantizer.codebook[3])
    assert quantizer.idle.max() == 0
    assert {2, 3} <= set(quantizer(batch).indices.flatten().tolist())


def test_without_revival_dead_entries_stay() -> None:
    quantizer = _started(revive_after=0)
    with torch.no_grad():
        quantizer.codebook[2] = 1000.0
    for _ in range(8):
        quantizer(_vectors(seed=1))
        quantizer.update_statistics()
    assert (quantizer.codebook[2] == 1000.0).all()


@BOTH
def test_state_continues_bit_for_bit(update: Update) -> None:
    quantizer = _started(update, entries=32, revive_after=3)

    def steps(target: VectorQuantizer, first: int) -> None:
        for seed in range(first, first + 4):
            target(_vectors(seed=seed))
            target.update_statistics()

    steps(quantizer, 1)
    resumed = VectorQuantizer(32, 4, update, revive_after=3)
    resumed.load_state_dict(quantizer.state_dict())
    steps(quantizer, 5)
    torch.rand(7)
    steps(resumed, 5)
    for key, value in quantizer.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


def test_half_precision_is_quantised_in_float32() -> None:
    quantizer = _started()
    vectors = _vectors(seed=1).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        result = quantizer(vectors)
    assert result.vectors.dtype == result.loss.dtype == torch.float32
    assert torch.equal(result.indices, quantizer(vectors.float()).indices)
    (gradient,) = torch.autograd.grad(result.vectors.sum() + result.loss, vectors)
    assert gradient.dtype == torch.bfloat16


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"\(\.\.\., 4\)"):
        _started()(torch.zeros(3, 5))
    with pytest.raises(ValueError, match="entries >= 1"):
        VectorQuantizer(0, 4)
    with pytest.raises(ValueError, match="'grad' or by 'ema'"):
        VectorQuantizer(4, 4, "other")  # type: ignore[arg-type]


@pytest.mark.slow
@BOTH
def test_two_processes_have_the_codebook_of_one(update: Update, tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    command = [sys.executable, "-m", "tests.models.layers.two_processes", update, str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=root, check=False)
    assert done.returncode == 0, done.stderr
    assert own_lines(done.stdout) == ["equal joined revived"]
