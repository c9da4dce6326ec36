"""Entry point of `ivif`, `python -m ivif` and `python main.py`; everything else is in `ivif.commands`."""

import os
import sys

from ivif.files.places import home

_CACHE = home() / ".cache"

# Before any import of torch, ultralytics or wandb: threads for workers and DDP children (ultralytics sets 1), no
# look-ups on the network, caches where ours lie.
os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2))
os.environ.setdefault("YOLO_OFFLINE", "1")
os.environ.setdefault("YOLO_AUTOINSTALL", "0")
os.environ.setdefault("YOLO_CONFIG_DIR", str(_CACHE / "ultralytics"))
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("WANDB_CACHE_DIR", str(_CACHE / "wandb"))
os.environ.setdefault("WANDB_DATA_DIR", str(_CACHE / "wandb"))
os.environ.setdefault("MPLCONFIGDIR", str(_CACHE / "matplotlib"))


def main() -> int:
    """Runs the command line of this process and returns its exit code."""
    from ivif.commands.cli import main as run
    from ivif.machine.allocator import tune_malloc

    tune_malloc()
    return run()


if __name__ == "__main__":
    sys.exit(main())
