"""From Text to Pixels: infrared-visible fusion guided by text, with a codebook (Li et al., arXiv 2401.00421)."""

from ivif.models.text_to_pixels.config import TextToPixelsConfig
from ivif.models.text_to_pixels.network import TextToPixelsNetwork, TextToPixelsOutput

__all__ = ["TextToPixelsConfig", "TextToPixelsNetwork", "TextToPixelsOutput"]
