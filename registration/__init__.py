"""Brings infrared onto visible pictures of the same scene, or says why it leaves a pair as it is."""

from ivif.registration.estimate import DEFAULT_SETTINGS, Registration, RegistrationSettings, register
from ivif.registration.geometry import Motion, motion, move_boxes, stretch, warp
from ivif.registration.rig import RigError, common_transform
from ivif.registration.smoothing import SmoothedTransforms

__all__ = [
    "DEFAULT_SETTINGS",
    "Motion",
    "Registration",
    "RegistrationSettings",
    "RigError",
    "SmoothedTransforms",
    "common_transform",
    "motion",
    "move_boxes",
    "register",
    "stretch",
    "warp",
]
