"""Procedural road scenes seen by two registered cameras: what is where, its materials, drawing, and the two sensors."""

from ivif.scenes.palette import TIMES
from ivif.scenes.render import (
    CLASSES,
    RENDERER_VERSION,
    RenderedScene,
    annotate_scene,
    render_scene,
)

__all__ = ["CLASSES", "RENDERER_VERSION", "TIMES", "RenderedScene", "annotate_scene", "render_scene"]
