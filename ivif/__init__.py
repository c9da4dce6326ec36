"""IVIF-Lightning: infrared-visible image fusion and detection with PyTorch Lightning.

Every room of the repository is a package of this one: `ivif.metrics`, `ivif.models`, `ivif.lightning_modules`, ... In a
clone they lie beside this folder, in an installed package inside it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # importing the package alone loads nothing
    from ivif.lightning_modules.base import FusionTask

__version__ = "0.1.0"

_CLONE = Path(__file__).resolve().parent.parent
if (_CLONE / "pyproject.toml").is_file():
    __path__.append(str(_CLONE))


def load(path: str | Path, device: str = "auto") -> "FusionTask":
    """A trained fusion, ready for use: in evaluation mode, on a device, with nothing left to train.

    Args:
        path: A name (`ivif models list`), a checkpoint, a released file, the folder of a run, of which the last
            checkpoint is taken, or a repository of the hub, `hf://owner/name`.
        device: `cpu`, `cuda`, `cuda:1`, ...; `auto` takes a GPU where there is one.

    Returns:
        The task; its `fuse(batch)` gives `fused` (B, 3, H, W) in [0, 1] for a batch of pairs.

    Raises:
        ValueError: If there is no such checkpoint or device, or the file is none of a fusion task.

    Example:
        >>> import ivif
        >>> fusion = ivif.load("runs/quickstart/latest")  # doctest: +SKIP
    """
    from ivif.lightning_modules.detection_sources import load_fusion
    from ivif.machine.devices import choose_device
    from ivif.models.layers.frozen import freeze
    from ivif.weights import find_weights

    place = choose_device(device)
    task, _ = load_fusion(find_weights(path, fetch=True))
    freeze(task)
    return task.to(place)


__all__ = ["__version__", "load"]
