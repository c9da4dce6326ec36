"""PromptFusion: a contourlet autoencoder that fuses, guided by learnt prompts (Liu et al., IEEE/CAA JAS 2025)."""

from ivif.models.promptfusion.config import Phase, PromptFusionConfig
from ivif.models.promptfusion.encoder import Features
from ivif.models.promptfusion.network import PromptFusionNetwork, PromptFusionOutput

__all__ = ["Features", "Phase", "PromptFusionConfig", "PromptFusionNetwork", "PromptFusionOutput"]
