"""Devices by the names that people type."""

from typing import Final

import torch

NO_APPLE_GPU: Final = "Apple's GPU (mps) has no float64, in which metrics and filters are computed"


def choose_device(name: str) -> torch.device:
    """The device of that name; `auto` takes a GPU if there is one.

    Raises:
        ValueError: If there is no such device, or it cannot be used here.
    """
    if name.partition(":")[0] == "mps":
        raise ValueError(f"--device '{name}' cannot be used here ({NO_APPLE_GPU}). Choose auto or cpu.")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"--device '{name}' cannot be used here ({reason}). Choose auto, cpu, cuda or cuda:N."
        ) from error
