"""MGFusion: infrared-visible fusion guided by CLIP's image vectors (Yang et al., Front. Neurorobot. 2024)."""

from ivif.models.mgfusion.config import MGFusionConfig
from ivif.models.mgfusion.network import MGFusionNetwork

__all__ = ["MGFusionConfig", "MGFusionNetwork"]
