"""From Text to Pixels as a task: text-guided fusion and a detector on two levels (Li et al., arXiv 2401.00421)."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
from lightning import Callback
from torch import Tensor, nn

from ivif.bilevel import BilevelConfig, LevelLoss
from ivif.contracts.batch import Batch
from ivif.contracts.configuration import config_from
from ivif.image_ops.color import luma
from ivif.lightning_modules.declaration import DataNeeds
from ivif.lightning_modules.detector_training import DetectorTrainingConfig
from ivif.lightning_modules.fusion_detection import FusionDetectionTask, without_weights
from ivif.lightning_modules.level_batch import CropConfig, LevelBatch
from ivif.lightning_modules.optimization import LevelConfig
from ivif.lightning_modules.previous_results import PreviousResults
from ivif.lightning_modules.snapshot import Snapshot
from ivif.lightning_modules.text_states import PromptEncoder
from ivif.losses.content import ContentLoss, content_loss, saliency_weights
from ivif.losses.preservation import PreservationWeights, preservation_terms
from ivif.losses.structure import fidelity, structure_loss
from ivif.models.clip import ClipConfig
from ivif.models.detection import DetectorConfig
from ivif.models.text_to_pixels import TextToPixelsConfig, TextToPixelsNetwork, TextToPixelsOutput

logger = logging.getLogger(__name__)

Previous = Literal["teacher", "memory", "none"]


@dataclass(frozen=True)
class TextToPixelsLoss:
    """Weights and readings of L_f = a1 L_str + a2 L_cc + lambda_g g (eq 6 and 8 to 11).

    Args:
        structure: Factor on a1 L_str; 0 is the ablation without it.
        content: Factor on a2 L_cc; 0 is the ablation without it, which keeps L_cc in the first epoch, when there is no
            earlier result yet and nothing else would tie the fused image to its sources.
        codebook: lambda_g.
        saliency: How saliencies become weights: `ratio`, `softmax5` (IRFS), `printed` (eq 9, singular where equal).
        mode: What the weights do: `weighted_loss` weighs losses, `composite` weighs images first, `literal` compares
            with attenuated images (eq 9 to the letter: equal inputs come out half as bright).
        previous: Where z', the result of the epoch before, comes from: `teacher`, a frozen copy of the network on the
            same crop; `memory`, stored results that the datamodule reads; `none`: no structure loss.
        preservation: Weights of terms that the paper has not.

    Raises:
        ValueError: If a choice is unknown or a weight negative.
    """

    structure: float = 1.0
    content: float = 1.0
    codebook: float = 1.0
    saliency: Literal["ratio", "softmax5", "printed"] = "ratio"
    mode: Literal["weighted_loss", "composite", "literal"] = "weighted_loss"
    previous: Previous = "teacher"
    preservation: PreservationWeights = PreservationWeights()

    def __post_init__(self) -> None:
        if min(self.structure, self.content, self.codebook) < 0:
            raise ValueError(f"loss: weights must not be negative, got {self}.")
        if not self.content and (not self.structure or self.previous == "none"):
            raise ValueError("loss: without the content term, the structure term and an earlier result are needed.")
        if self.previous not in get_args(Previous):
            raise ValueError(f"loss.previous is '{self.previous}'; known: {', '.join(get_args(Previous))}.")


class TextToPixelsTask(FusionDetectionTask):
    """Extract, attend to the words, quantise, decode; a detector on the result (From Text to Pixels, figure 2).

    Args:
        clip: Text tower: a name such as `openai/ViT-B-32`, `random-tiny`, a weights file, or its configuration;
            null uses no text at all.
        network: Sizes and options of the fusion network.
        loss: Weights and readings of the fusion loss.
        detector: Which detector; null trains fusion alone.
        training: Averaging and frozen layers of the detector.
        bilevel: The scheme that trains both.
        lower: Optimiser and schedule of fusion.
        upper: Optimiser and schedule of the detector.
        crops: What the fusion loss sees of each frame.
        classes: Name of each label, in order; the command line takes them from the datamodule.

    Raises:
        ValueError: If a detector is asked for and there are no classes.
    """

    def __init__(
        self,
        clip: str | ClipConfig | None = "openai/ViT-B-32",
        network: TextToPixelsConfig = TextToPixelsConfig(),
        loss: TextToPixelsLoss = TextToPixelsLoss(),
        detector: DetectorConfig | None = DetectorConfig(),
        training: DetectorTrainingConfig = DetectorTrainingConfig(),
        bilevel: BilevelConfig = BilevelConfig(),
        lower: LevelConfig = LevelConfig(),
        upper: LevelConfig = LevelConfig(),
        crops: CropConfig = CropConfig(),
        classes: Sequence[str] | None = None,
    ) -> None:
        super().__init__(
            config_from(BilevelConfig, bilevel), config_from(LevelConfig, lower), config_from(LevelConfig, upper)
        )
        detector = None if detector is None else config_from(DetectorConfig, detector)
        self.store_hyperparameters(
            clip=clip,
            network=network,
            loss=loss,
            detector=without_weights(detector),
            training=training,
            bilevel=bilevel,
            lower=lower,
            upper=upper,
            crops=crops,
            classes=list(classes or ()),
        )
        self.loss_config = config_from(TextToPixelsLoss, loss)
        self.crops = config_from(CropConfig, crops)
        self.prompts = PromptEncoder(clip)
        fusion = TextToPixelsNetwork(config_from(TextToPixelsConfig, network), self.prompts.width)
        self.add_networks(fusion, detector, classes, config_from(DetectorTrainingConfig, training))
        self._warned_epoch = 0
        self.teacher = Snapshot(fusion) if self.loss_config.previous == "teacher" else None

    @property
    def data_needs(self) -> DataNeeds:
        """Whole frames' saliency, and the store of the last epoch's results where `previous` is `memory`."""
        return DataNeeds(saliency=True, previous_results=self.loss_config.previous == "memory")

    def configure_callbacks(self) -> Sequence[Callback]:
        """Writes the store that the data read."""
        folder = getattr(getattr(self.trainer, "datamodule", None), "previous_dir", None)
        if not self.data_needs.previous_results or folder is None:
            return []
        return [PreviousResults(folder, lambda frames: self.fused_luma(self.undisturbed_network(), frames))]

    def fused_luma(self, network: nn.Module, batch: Batch) -> Tensor:
        """Drawn by the words of each pair's prompt."""
        return self._run(network, batch).fused

    def level_batch(self, batch: Batch) -> LevelBatch:
        """Frames for the detector and crops for fusion; z' on the crops where it comes from the teacher."""
        pieces = self.crops.cut(batch)
        lacks_results = self.loss_config.previous == "memory" and self.current_epoch and "previous" not in pieces
        if lacks_results and self._warned_epoch != self.current_epoch:
            self._warned_epoch = self.current_epoch
            logger.warning("Epoch %d has no stored results to be held near to; it does without.", self.current_epoch)
        if self.teacher is not None and self.teacher.taken:
            with torch.no_grad():
                pieces["previous"] = self._run(self.teacher.network, pieces).fused.float()
        return LevelBatch(batch, pieces)

    def forget(self, level: str) -> None:
        """What the codebook saw."""
        module = self.level_modules()[level]
        if isinstance(module, TextToPixelsNetwork) and module.quantizer is not None:
            module.quantizer.forget()

    def crop_planes(self) -> dict[str, int]:
        """The earlier result z' comes from the second epoch on."""
        return {"previous": 1} if self.loss_config.previous != "none" and self.loss_config.structure else {}

    def after_step(self, level: str) -> None:
        """Codebook statistics after a fusion step, the detector's average after one of its own."""
        super().after_step(level)
        if level == "upper":
            return
        quantizer = cast("TextToPixelsNetwork", self.level_modules()[level]).quantizer
        if quantizer is not None:
            quantizer.update_statistics()
        if level == "lower" and quantizer is not None:
            self.diagnostics["codebook/perplexity"] = quantizer.perplexity
            self.diagnostics["codebook/dead_fraction"] = quantizer.dead_fraction

    def on_train_epoch_end(self) -> None:
        """This epoch's network is the teacher of the next.

        f must be one function of fusion alone for f(y) - f(z) to be a gap: both are held near to what z drew, which
        the detector has not moved.
        """
        if self.teacher is not None:
            self.teacher.take(self.undisturbed_network())

    def _run(self, network: nn.Module, batch: Batch) -> TextToPixelsOutput:
        states, mask = self.prompts(batch)
        output: TextToPixelsOutput = network(batch["infrared"], luma(batch["visible"]), states, mask)
        return output

    def fusion_loss(self, level: str, network: nn.Module, crops: Batch) -> LevelLoss:
        """L_f + lambda_g g (eq 10 and 11), with a1 and a2 of each sample."""
        config, output = self.loss_config, self._run(network, crops)
        infrared, visible = crops["infrared"], luma(crops["visible"])
        weights = saliency_weights(crops["saliency"], config.saliency)
        content = content_loss(output.fused, infrared, visible, weights, config.mode)
        terms = {"content": (content.fidelity * content.terms.total).mean()}
        factors = {"structure": config.structure, "content": config.content, "codebook": config.codebook}
        if "previous" in crops and config.structure:
            kept = fidelity(crops["previous"], infrared, visible)
            terms["structure"] = (kept * structure_loss(output.fused, crops["previous"]).total).mean()
        elif not config.content:
            factors["content"] = 1.0  # nothing else ties the fused image to its sources yet
        if cast("TextToPixelsNetwork", network).quantizer is not None:
            terms["codebook"] = output.codebook_loss
        factors |= (chosen := config.preservation.chosen())
        terms |= preservation_terms(output.fused, infrared, visible, chosen)
        return self.weighted(terms, factors, notes=_content_notes(content) if level == "lower" else {})


def _content_notes(content: ContentLoss) -> dict[str, Tensor]:
    """The content term's parts, and how much of both sources is kept."""
    parts = content.terms.means()
    named = {"ssim": parts.ssim, "pixel": parts.pixel, "gradient": parts.gradient, "fidelity": content.fidelity.mean()}
    return {f"content/{name}": value for name, value in named.items()}
