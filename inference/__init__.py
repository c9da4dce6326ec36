"""Using what was trained: pictures in, fused pictures out, without a trainer."""

from ivif.inference.fuser import Detections, Fuser, load_fuser

__all__ = ["Detections", "Fuser", "load_fuser"]
