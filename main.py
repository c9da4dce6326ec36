"""Entry point: `python main.py fit|validate|test|predict|data|report ...`; everything else is in `commands`."""

import os
import sys

# Before any import of torch, ultralytics or wandb: threads for workers and DDP children (ultralytics sets 1), no
# look-ups on the network, caches inside the working folder.
os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2))
os.environ.setdefault("YOLO_OFFLINE", "1")
os.environ.setdefault("YOLO_AUTOINSTALL", "0")
os.environ.setdefault("YOLO_CONFIG_DIR", ".cache/ultralytics")
os.environ.setdefault("HF_HUB_OFFLINE", "0" if os.environ.get("IVIF_DOWNLOAD") == "1" else "1")
os.environ.setdefault("WANDB_CACHE_DIR", ".cache/wandb")
os.environ.setdefault("WANDB_DATA_DIR", ".cache/wandb")
os.environ.setdefault("MPLCONFIGDIR", ".cache/matplotlib")

from commands.allocator import tune_malloc
from commands.cli import main

if __name__ == "__main__":
    tune_malloc()
    sys.exit(main())
