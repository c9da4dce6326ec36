import pytest
import torch

from ivif.image_ops.pyramid import collapse, expand_plane, gaussian_pyramid, laplacian_pyramid, reduce_plane


@pytest.mark.parametrize("size", [(1, 1), (2, 7), (33, 20), (64, 64)])
@pytest.mark.parametrize("levels", [0, 1, 5])
def test_collapse_inverts(size: tuple[int, int], levels: int) -> None:
    image = torch.rand(1, 2, *size)
    pyramid = laplacian_pyramid(image, levels)
    assert len(pyramid) == levels + 1
    torch.testing.assert_close(collapse(pyramid), image)


def test_reduce_is_the_binomial_filter() -> None:
    impulse = torch.zeros(1, 1, 9, 9)
    impulse[..., 4, 4] = 256.0
    assert reduce_plane(impulse)[0, 0, 1:4, 2].tolist() == [6.0, 36.0, 6.0]
    assert reduce_plane(impulse)[0, 0, 2, 1:4].tolist() == [6.0, 36.0, 6.0]


def test_expand_interpolates() -> None:
    step = torch.tensor([0.0, 8.0]).view(1, 1, 2, 1)
    assert expand_plane(step, (4, 1)).flatten().tolist() == [1.0, 4.0, 7.0, 8.0]
    assert expand_plane(step, (3, 1)).flatten().tolist() == [1.0, 4.0, 7.0]


def test_a_flat_image_has_no_detail() -> None:
    *details, base = laplacian_pyramid(torch.full((1, 1, 21, 30), 0.4), 3)
    assert max(detail.abs().max().item() for detail in details) < 1e-6
    torch.testing.assert_close(base, torch.full((1, 1, 3, 4), 0.4))


def test_sizes_halve_rounding_up() -> None:
    assert [tuple(plane.shape[-2:]) for plane in gaussian_pyramid(torch.rand(1, 1, 13, 6), 3)] == [
        (13, 6),
        (7, 3),
        (4, 2),
        (2, 1),
    ]


def test_expand_refuses_other_sizes() -> None:
    with pytest.raises(ValueError, match="cannot be doubled"):
        expand_plane(torch.zeros(1, 1, 4, 4), (9, 8))
