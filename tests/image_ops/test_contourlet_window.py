"""Parts of a contourlet transform against the same parts of the whole one."""

import pytest
import torch
from torch import Tensor

from ivif.image_ops.contourlet import PAPER_LEVELS, ContourletBands, contourlet, size_multiple
from ivif.image_ops.contourlet_window import REACH, Picked, Span, contourlet_part, window_side
from ivif.image_ops.padding import pad_to_multiple

HEIGHT, WIDTH = 40, 1150


def picked_of(plane: Tensor) -> Picked:
    return lambda rows, columns: plane[..., rows, :][..., columns]


def bands_of(bands: ContourletBands, rows: Span, columns: Span) -> list[Tensor]:
    """Of each band of the whole plane, padded, what belongs to a part."""
    height, width = -(-HEIGHT // 16) * 16, -(-WIDTH // 16) * 16
    cut = []
    for band in all_of(bands):
        tall, wide = height // band.shape[-2], width // band.shape[-1]
        cut.append(band[..., rows[0] // tall : rows[1] // tall, columns[0] // wide : columns[1] // wide])
    return cut


def all_of(bands: ContourletBands) -> list[Tensor]:
    return [bands.lowpass, *(band for pair in bands.directional for band in pair)]


def distance(bands: list[Tensor], others: list[Tensor]) -> float:
    assert [band.shape for band in bands] == [band.shape for band in others]
    return max(float((one - other).abs().max()) for one, other in zip(bands, others, strict=True))


@pytest.mark.parametrize("margin", [0, 32])
@pytest.mark.parametrize("columns", [(0, 160), (448, 608), (1008, 1152)], ids=["left", "middle", "right"])
def test_a_part_is_that_of_the_whole(columns: Span, margin: int) -> None:
    plane = torch.rand(2, 1, HEIGHT, WIDTH, dtype=torch.float64)
    whole = contourlet(plane, margin=margin)
    rows, window = (16, 48), (window_side(48), window_side(160))
    assert window[1] < WIDTH
    part = contourlet_part(picked_of(plane), (HEIGHT, WIDTH), rows, columns, window, margin)
    assert distance(all_of(part), bands_of(whole, rows, columns)) < 1e-8


def test_the_reach_is_enough_and_half_of_it_is_not() -> None:
    plane = torch.rand(1, 1, HEIGHT, WIDTH, dtype=torch.float64)
    part = (0, 48), (512, 640)
    of_plane = bands_of(contourlet(plane), *part)
    for reach, nearer in ((REACH, True), (REACH // 2, False)):
        other, seen = 1 - plane, slice(512 - reach, 640 + reach)
        other[..., seen] = plane[..., seen]
        assert (distance(bands_of(contourlet(other), *part), of_plane) < 1e-8) == nearer


def test_a_window_that_holds_everything_is_the_whole_transform() -> None:
    plane = torch.rand(1, 2, 20, 50)
    whole = contourlet(pad_to_multiple(plane, size_multiple(), "reflect")[0], PAPER_LEVELS, margin=16)
    part = contourlet_part(picked_of(plane), (20, 50), (0, 32), (0, 64), (window_side(32), window_side(64)), 16)
    assert distance(all_of(part), all_of(whole)) == 0


@pytest.mark.parametrize(("columns", "window"), [((8, 160), 1024), ((0, 160), 1000), ((0, 544), 1024)])
def test_a_part_that_does_not_fit_is_refused(columns: Span, window: int) -> None:
    plane = torch.rand(1, 1, HEIGHT, WIDTH)
    with pytest.raises(ValueError, match=f"A window of {window} pixels has no part {columns[0]}..{columns[1]}"):
        contourlet_part(picked_of(plane), (HEIGHT, WIDTH), (0, 16), columns, (1024, window))
