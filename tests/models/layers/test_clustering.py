import pytest
import torch
from torch import Tensor, nn

from ivif.models.layers import clustering
from ivif.models.layers.clustering import evenly_spaced, k_means, nearest_entries, totals


def test_nearest_in_slices_equals_all_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, entries = torch.randn(100, 6), torch.randn(17, 6)
    expected = torch.cdist(vectors, entries).argmin(dim=1)
    assert torch.equal(nearest_entries(vectors, entries), expected)
    monkeypatch.setattr(clustering, "_DISTANCES_AT_ONCE", 17 * 7)
    assert torch.equal(nearest_entries(vectors, entries), expected)


def test_distances_are_exact_under_autocast() -> None:
    entries = 100.0 + torch.arange(8.0)[:, None] / 64.0  # bfloat16 keeps steps of 0.5 here
    vectors = entries.flip(0)
    with torch.autocast("cpu", torch.bfloat16):
        assert nearest_entries(vectors, entries).tolist() == list(range(7, -1, -1))


def test_totals() -> None:
    counts, sums = totals(torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([2, 0, 2]), 4)
    assert counts.tolist() == [1, 0, 2, 0]
    assert sums.flatten().tolist() == [2, 0, 5, 0]


def test_finds_separate_groups_though_it_starts_in_one() -> None:
    truth = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
    sizes = [97, 1, 1, 1]
    vectors = torch.cat([place.expand(size, 2) for place, size in zip(truth, sizes, strict=True)])
    found = k_means(vectors, 4)
    assert torch.cdist(truth, found).min(dim=1).values.max() == 0.0


def test_draws_nothing_from_the_global_generator() -> None:
    vectors = torch.rand(40, 3)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = k_means(vectors, 8), k_means(vectors[:3], 8)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    again = k_means(vectors, 8), k_means(vectors[:3], 8)
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_fewer_vectors_than_entries() -> None:
    vectors = torch.tensor([[0.0, 1.0], [4.0, -1.0], [8.0, 0.0]])
    entries = k_means(vectors, 8)
    assert entries.shape == (8, 2)
    assert torch.equal(entries[:3], vectors)
    assert len(torch.unique(entries, dim=0)) == 8
    assert torch.cdist(entries, vectors).min(dim=1).values.max() < 0.3
    assert torch.equal(k_means(vectors[:1], 1), vectors[:1])


def test_evenly_spaced() -> None:
    device = torch.device("cpu")
    assert evenly_spaced(10, 4, device).tolist() == [0, 2, 5, 7]
    assert evenly_spaced(3, 4, device).tolist() == [0, 1, 2]


def test_an_export_takes_any_number_of_vectors() -> None:
    class Search(nn.Module):
        def forward(self, vectors: Tensor, entries: Tensor) -> Tensor:
            return nearest_entries(vectors, entries)

    entries = torch.rand(2**12, 2)
    sizes = {"vectors": {0: torch.export.Dim.DYNAMIC}, "entries": None}
    program = torch.export.export(Search(), (torch.rand(100, 2), entries), dynamic_shapes=sizes)
    vectors = torch.rand(2500, 2)  # more than are looked at in one slice
    assert torch.equal(program.module()(vectors, entries), nearest_entries(vectors, entries))
