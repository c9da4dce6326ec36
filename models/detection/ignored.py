"""What a detector's loss does not punish: to see a class where an ignored region of it is."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ivif.contracts.batch import Targets


def any_ignored(targets: Sequence[Targets]) -> bool:
    """Whether an image has ignored regions."""
    return any("ignored" in entry for entry in targets)


def ignored_cells(
    centers: Sequence[Tensor], targets: Sequence[Targets], classes: int, to_network: Callable[[Tensor], Tensor]
) -> Tensor:
    """Which outputs of a network lie in an ignored region of their class.

    Args:
        centers: Of each image: (A, 2) xy of its A places, in the network's pixels.
        targets: Of each image.
        classes: How many the network tells apart.
        to_network: Brings boxes (N, 4) from an image's pixels to the network's.

    Returns:
        (B, A, classes) bool.
    """
    cells = torch.zeros((len(targets), len(centers[0]), classes), dtype=torch.bool, device=centers[0].device)
    for index, entry in enumerate(targets):
        if "ignored" in entry:
            inside = _inside(centers[index], to_network(entry["ignored"]["boxes"]))
            of_class = entry["ignored"]["labels"][:, None] == torch.arange(classes, device=cells.device)
            cells[index] = (inside[:, :, None] & of_class).any(dim=1)
    return cells


def _inside(centers: Tensor, boxes: Tensor) -> Tensor:
    """(A, N) bool: whether each of A places lies in each of N boxes."""
    return ((centers[:, None] >= boxes[:, :2]) & (centers[:, None] <= boxes[:, 2:])).all(dim=2)
