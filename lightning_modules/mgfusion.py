"""MGFusion as a task: CLIP-guided fusion (Yang et al., Front. Neurorobot. 2024, doi 10.3389/fnbot.2024.1521603)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ivif.contracts.batch import Batch
from ivif.contracts.configuration import config_from
from ivif.files.places import home
from ivif.image_ops.color import luma
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.declaration import DataNeeds
from ivif.lightning_modules.feature_cache import FeatureCache
from ivif.lightning_modules.optimization import AdamConfig, WarmupDecayConfig
from ivif.lightning_modules.weight_average import AverageConfig, WeightAverage
from ivif.losses.gradient import gradient_max_loss
from ivif.losses.intensity import intensity_max_loss
from ivif.losses.preservation import PreservationWeights, preservation_terms
from ivif.models.clip import ClipConfig, ImageTextEncoder, build_image_text_encoder
from ivif.models.layers.tiling import Tiling
from ivif.models.mgfusion import MGFusionConfig, MGFusionNetwork


@dataclass(frozen=True)
class MGFusionWeights:
    """Weights of eq 6: l_f = l_g + lambda l_i, with lambda = 0.2 for un-normalised Sobel kernels.

    Args:
        gradient: Weight of l_g (eq 7).
        intensity: Weight of l_i (eq 8), the paper's lambda.
        preservation: Weights of terms that the paper has not.
    """

    gradient: float = 1.0
    intensity: float = 0.2
    preservation: PreservationWeights = PreservationWeights()


class MGFusionTask(FusionTask):
    """Encode both images, ask frozen CLIP about the scene, inject, fuse, decode (MGFusion, figure 1).

    Args:
        clip: Which CLIP: a name such as `openai/ViT-B-32`, `random-tiny`, a weights file, or its configuration. Not
            built at all when the network uses neither CII nor CFF.
        network: Sizes and options of the network.
        loss: Weights of the two loss terms.
        optimizer: Adam's numbers.
        schedule: Learning rate over the run.
        clip_view: What CLIP sees. `crop`: the same crop as the network (the paper's). `full`: the whole frame, once per
            image and then from the cache; needs the datamodule's `clip_view_*` planes.
        feature_cache: Folder of the disk cache that `clip_view: full` uses; a relative one
            lies where all caches do (`ivif.files.places`).
        average: Running average of the network's weights, with which it is evaluated; none in the paper.
    """

    training_options: ClassVar[frozenset[str]] = FusionTask.training_options | {"feature_cache"}
    recompute_option: ClassVar[str | None] = "network.checkpoint_blocks"
    averaged_part: ClassVar[str] = "network"
    """What `average` is an average of: a released file has the average in its place."""

    def __init__(
        self,
        clip: str | ClipConfig = "openai/ViT-B-32",
        network: MGFusionConfig = MGFusionConfig(),
        loss: MGFusionWeights = MGFusionWeights(),
        optimizer: AdamConfig = AdamConfig(),
        schedule: WarmupDecayConfig = WarmupDecayConfig(),
        clip_view: Literal["crop", "full"] = "crop",
        feature_cache: Path = Path(".cache/clip_features"),
        average: AverageConfig = AverageConfig(),
    ) -> None:
        super().__init__(config_from(AdamConfig, optimizer), config_from(WarmupDecayConfig, schedule))
        self.store_hyperparameters(
            clip=clip,
            network=network,
            loss=loss,
            optimizer=optimizer,
            schedule=schedule,
            clip_view=clip_view,
            feature_cache=feature_cache,
            average=average,
        )
        network = config_from(MGFusionConfig, network)
        weights = config_from(MGFusionWeights, loss)
        self.preservation = config_from(PreservationWeights, weights.preservation).chosen()
        self.loss_weights = {"gradient": weights.gradient, "intensity": weights.intensity, **self.preservation}
        self.network_config = network
        self.clip_view = clip_view
        self.encoder: ImageTextEncoder | None = build_image_text_encoder(clip) if network.needs_clip else None
        self.network = MGFusionNetwork(network, self.encoder.embedding_width if self.encoder else None)
        self.average: WeightAverage | None = config_from(AverageConfig, average).of(self.network)
        self.features: FeatureCache | None = None
        if self.encoder is not None and clip_view == "full":
            self.features = FeatureCache.for_pairs(home() / feature_cache, self.encoder)

    @property
    def data_needs(self) -> DataNeeds:
        """Whole frames for CLIP, where it looks at such."""
        if self.encoder is None or self.clip_view != "full":
            return DataNeeds()
        return DataNeeds(clip_size=self.encoder.image_size)

    @property
    def tiling(self) -> Tiling:
        """The network's."""
        return self.network.tiling

    @property
    def glance(self) -> int | None:
        """CLIP's."""
        return None if self.encoder is None else self.encoder.image_size

    def fuse_images(self, batch: Batch) -> Tensor:
        """Figure 1: I_f from I_i, I_v and CLIP's two vectors."""
        return self.fusion_of(batch)(batch["infrared"], batch["visible"])

    def fusion_of(self, batch: Batch) -> Callable[[Tensor, Tensor], Tensor]:
        """CLIP looks at the whole pictures, once."""
        vectors = self._clip_vectors(batch)
        network = self.network if self.training or self.average is None else self.average.module

        def fused(infrared: Tensor, visible: Tensor) -> Tensor:
            result: Tensor = network(infrared, visible, *vectors)
            return result

        return fused

    def losses(self, fused: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Equations 7 and 8, against the visible image's luma; per channel where the network fuses RGB."""
        infrared, visible = batch["infrared"], batch["visible"]
        visible = visible if fused.shape[1] == 3 else luma(visible)
        return {
            "gradient": gradient_max_loss(fused, infrared.expand_as(visible), visible),
            "intensity": intensity_max_loss(fused, infrared.expand_as(visible), visible),
            **preservation_terms(fused, infrared, visible, self.preservation),
        }

    def after_step(self, level: str) -> None:
        """Takes the step into the average."""
        if self.average is not None:
            self.average.update_parameters(self.network)

    def prepare_probe(self) -> None:
        """Features of a probe are not kept: CLIP sees its crop."""
        super().prepare_probe()
        self.features = None

    @torch.no_grad()
    def _clip_vectors(self, batch: Batch) -> tuple[Tensor | None, Tensor | None]:
        if self.encoder is None:
            return None, None
        if self.features is None:
            return self.encoder.encode_pair(batch["infrared"], batch["visible"])
        if "clip_view_infrared" not in batch or "clip_view_visible" not in batch:
            raise ValueError(
                "clip_view 'full' needs the whole frames: set transforms.clip_size to "
                f"{self.encoder.image_size} in the datamodule, or use clip_view 'crop'."
            )
        encoder, infrared, visible = self.encoder, batch["clip_view_infrared"], batch["clip_view_visible"]

        def compute(missing: list[int]) -> Tensor:
            return torch.stack(encoder.encode_pair(infrared[missing], visible[missing]), dim=1)

        view = f"full-{infrared.shape[-2]}x{infrared.shape[-1]}-{visible.shape[-2]}x{visible.shape[-1]}"
        both = self.features.get_or_compute(batch["content_id"], view, compute).to(infrared.device, non_blocking=True)
        return both[:, 0], both[:, 1]
