"""What a run's configuration says about devices, settled before anything is built."""

import os
from typing import Any

import torch

from ivif.commands.errors import UsageError
from ivif.machine.devices import NO_APPLE_GPU


def settle_missing_gpu() -> None:
    """Spares each optimiser step on a machine without a GPU the search for one: 0.15 ms.

    Lightning sets a variable by which torch asks the driver's library anew each time, so that asking starts no CUDA in
    processes that fork later. Where there is no GPU there is nothing to start.
    """
    if not torch.cuda.is_available():
        os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)


def settle_devices(config: Any) -> None:
    """Settles what a run's configuration says about devices and their arithmetic, before anything is built.

    Args:
        config: Of the subcommand; `auto` becomes `cpu` in it where Lightning would choose Apple's GPU, and the number
            of machines is that which torchrun has at the moment.

    Raises:
        UsageError: If Apple's GPU is asked for, equal results of algorithms that are chosen by their speed, or FSDP.
    """
    _refuse_sharded_weights(config.trainer.strategy)
    deterministic = config.trainer.deterministic
    if deterministic and config.trainer.benchmark:
        raise UsageError(
            f"--trainer.deterministic {str(deterministic).lower()}: --trainer.benchmark true takes the algorithm that "
            f"is fastest at the moment, another in each run. Add --trainer.benchmark false (the overlays "
            f"cluster/*.yaml switch it on)."
        )
    config.trainer.accelerator = _without_apple_gpu(config.trainer.accelerator)
    if os.environ.get("TORCHELASTIC_RUN_ID"):  # of --nnodes 1:2 one machine may be left
        config.trainer.num_nodes = int(os.environ.get("GROUP_WORLD_SIZE", config.trainer.num_nodes))
    torch.set_float32_matmul_precision(config.matmul_precision)


def _refuse_sharded_weights(strategy: Any) -> None:
    name = strategy if isinstance(strategy, str) else getattr(strategy, "class_path", "")
    if str(name).rpartition(".")[2].lower().startswith(("fsdp", "modelparallel", "deepspeed")):
        raise UsageError(
            f"--trainer.strategy {name}: every network here fits one card, so nothing is gained by dividing its "
            f"weights; losses, solvers of two levels and checkpoints need them whole. Take --trainer.strategy ddp."
        )


def _without_apple_gpu(accelerator: Any) -> Any:
    chosen = accelerator if torch.backends.mps.is_available() and not torch.cuda.is_available() else None
    if accelerator == "mps" or chosen == "gpu":
        raise UsageError(
            f"--trainer.accelerator {accelerator}: {NO_APPLE_GPU}. Take --trainer.accelerator cpu, or a machine with "
            f"an NVIDIA GPU."
        )
    if chosen == "auto":
        from lightning.pytorch.utilities import rank_zero_info  # seconds, which commands without a trainer spare

        rank_zero_info(f"{NO_APPLE_GPU}: this run takes the CPU.")
        return "cpu"
    return accelerator
