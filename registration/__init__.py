"""Brings infrared onto visible pictures of the same scene, or says why it leaves a pair as it is."""

from ivif.registration.estimate import DEFAULT_SETTINGS, Registration, RegistrationSettings, register
from ivif.registration.geometry import Motion, motion, move_boxes, stretch, warp
from ivif.registration.local import Bend, Local, bend, warp_bent
from ivif.registration.rig import RigError, common_transform
from ivif.registration.smoothing import SmoothedTransforms

__all__ = [
    "DEFAULT_SETTINGS",
    "Bend",
    "Local",
    "Motion",
    "Registration",
    "RegistrationSettings",
    "RigError",
    "SmoothedTransforms",
    "bend",
    "common_transform",
    "motion",
    "move_boxes",
    "register",
    "stretch",
    "warp",
    "warp_bent",
]
