"""Where real image pairs are, and what may lie beside them; tests that need them are skipped where they are missing."""

import os
from pathlib import Path

REAL_DATA = Path(os.environ.get("IVIF_REAL_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
"""M3FD, TNO, RoadScene, MSRS and LLVIP, in their official layouts."""

GOLDEN_TRIPLETS = REAL_DATA.parent / "golden"
"""Metric values of reference implementations, with the pictures they belong to."""

COCO_WEIGHTS = REAL_DATA.parent / "weights" / "yolov5n_coco.safetensors"
"""The original YOLOv5n of COCO."""
