"""IVIF-Lightning: infrared-visible image fusion and detection with PyTorch Lightning.

Every room of the repository is a package of this one: `ivif.metrics`, `ivif.models`, `ivif.lightning_modules`, ... In a
clone they lie beside this folder, in an installed package inside it.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # importing the package alone loads nothing
    from ivif.inference import Fuser

__version__ = "0.1.0"

_CLONE = Path(__file__).resolve().parent.parent
if (_CLONE / "pyproject.toml").is_file():
    __path__.append(str(_CLONE))


def load(name: str | Path, device: str = "auto", **options: Any) -> "Fuser":
    """A trained fusion, ready for use, as a function of two pictures.

    Args:
        name: A name (`ivif models list`), a checkpoint, a released file, the folder of a run, of which the last
            checkpoint is taken, or a repository of the hub, `hf://owner/name`.
        device: `cpu`, `cuda`, `cuda:1`, ...; `auto` takes a GPU where there is one.
        **options: `thermal_range`, how infrared of more than 8 bits is scaled
            (`ivif.datamodules.datasets.thermal.ThermalRange`), and `keep_memory`: with glibc, memory that is freed
            stays in the process for the next picture (`ivif.machine.allocator`), which can save a CPU half of its
            time; False leaves the C library as it is. `tile=512` fuses a picture that is too large for memory in
            squares of 512 pixels, with the whole picture's result and in more time; `tile="auto"` does so where
            memory is short.

    Returns:
        Call it with an infrared and a visible picture (`ivif.inference.Fuser`): files, PIL, NumPy or torch.

    Raises:
        ValueError: If there is no such checkpoint or device, or the file is none of a fusion task.

    Example:
        >>> import ivif
        >>> fuser = ivif.load("runs/quickstart/latest")  # doctest: +SKIP
        >>> fused = fuser("thermal.png", "camera.png")  # doctest: +SKIP
    """
    from ivif.inference import load_fuser

    return load_fuser(name, device, **options)


__all__ = ["__version__", "load"]
