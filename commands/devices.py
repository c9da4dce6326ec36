"""Devices by the names that people type."""

import os

import torch


def choose_device(name: str) -> torch.device:
    """The device of that name; `auto` takes a GPU if there is one.

    Raises:
        ValueError: If there is no such device, or it cannot be used here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"--device '{name}' cannot be used here ({reason}). Choose auto, cpu, cuda or cuda:N."
        ) from error


def settle_missing_gpu() -> None:
    """Spares each optimiser step on a machine without a GPU the search for one: 0.15 ms.

    Lightning sets a variable by which torch asks the driver's library anew each time, so that asking starts no CUDA in
    processes that fork later. Where there is no GPU there is nothing to start.
    """
    if not torch.cuda.is_available():
        os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
