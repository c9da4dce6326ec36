"""PromptFusion as a task: autoencoder, prompts, fusion and a detector in phases (Liu et al., IEEE/CAA JAS 2025)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

import torch
from lightning import Callback
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from ivif.bilevel import BilevelConfig, LevelLoss, Progress
from ivif.contracts.batch import Batch
from ivif.contracts.configuration import config_from
from ivif.image_ops.color import luma
from ivif.lightning_modules.detector_training import DetectorTrainingConfig
from ivif.lightning_modules.fusion_detection import FusionDetectionTask, without_weights
from ivif.lightning_modules.level_batch import CropConfig, LevelBatch
from ivif.lightning_modules.non_finite import OVERFLOWED, SKIPPED
from ivif.lightning_modules.optimization import LevelConfig
from ivif.lightning_modules.phases import Phase
from ivif.lightning_modules.prompt_learning import PromptLearner, PromptsConfig
from ivif.lightning_modules.prompt_record import PromptRecord
from ivif.lightning_modules.promptfusion_config import PhaseConfig, PromptFusionLoss
from ivif.lightning_modules.snapshot import Snapshot
from ivif.losses.decomposition import decomposition_loss
from ivif.losses.gradient import gradient_max_loss
from ivif.losses.intensity import intensity_max_loss
from ivif.losses.preservation import preservation_terms
from ivif.losses.reconstruction import reconstruction_terms
from ivif.machine.process_group import mean_over_processes
from ivif.models.detection import DetectorConfig
from ivif.models.promptfusion import PromptFusionConfig, PromptFusionNetwork, PromptFusionOutput


class PromptFusionTask(FusionDetectionTask):
    """Contourlet autoencoder, learnt prompts, and bilevel training with a detector, one phase after the other.

    Args:
        network: Sizes and options of the fusion network.
        loss: Weights of both phases' losses.
        prompts: The learnt prompts; null uses none (and no CLIP).
        phases: What is trained when.
        detector: Which detector; null trains fusion alone.
        training: Averaging and frozen layers of the detector.
        bilevel: The scheme of the last phase. Its own `warmup` is not used: the phase `detector` is the warm-up.
        lower: Optimiser and schedule of the fusion network, over all phases that train it. `gradient_clip` bounds
            encoder, decoder and each fuse layer on its own, as released code does.
        upper: Optimiser and schedule of the detector.
        crops: What autoencoder, prompts and fusion loss see of each frame.
        classes: Name of each label, in order; the command line takes them from the datamodule.

    Raises:
        ValueError: If a detector is asked for and there are no classes, or no phase takes place.
    """

    training_parts: ClassVar[tuple[str, ...]] = (*FusionDetectionTask.training_parts, "learner.")
    training_options: ClassVar[frozenset[str]] = FusionDetectionTask.training_options | {"phases", "prompts"}
    part_files: ClassVar[Mapping[str, str]] = {**FusionDetectionTask.part_files, "learner": "prompts.file"}
    round_number: Tensor

    def __init__(  # noqa: PLR0913 - one argument for each section of the configuration
        self,
        network: PromptFusionConfig = PromptFusionConfig(),
        loss: PromptFusionLoss = PromptFusionLoss(),
        prompts: PromptsConfig | None = PromptsConfig(),
        phases: PhaseConfig = PhaseConfig(),
        detector: DetectorConfig | None = DetectorConfig(),
        training: DetectorTrainingConfig = DetectorTrainingConfig(),
        bilevel: BilevelConfig = BilevelConfig(),
        lower: LevelConfig = LevelConfig(),
        upper: LevelConfig = LevelConfig(),
        crops: CropConfig = CropConfig(),
        classes: Sequence[str] | None = None,
    ) -> None:
        bilevel = replace(config_from(BilevelConfig, bilevel), warmup=0)
        super().__init__(bilevel, config_from(LevelConfig, lower), config_from(LevelConfig, upper))
        detector = None if detector is None else config_from(DetectorConfig, detector)
        prompts = None if prompts is None else config_from(PromptsConfig, prompts)
        self.store_hyperparameters(
            network=network,
            loss=loss,
            prompts=prompts and replace(prompts, file=None),  # a checkpoint has the prompts themselves
            phases=phases,
            detector=without_weights(detector),
            training=training,
            bilevel=bilevel,
            lower=lower,
            upper=upper,
            crops=crops,
            classes=list(classes or ()),
        )
        self.loss_config = config_from(PromptFusionLoss, loss)
        self.crops = config_from(CropConfig, crops)
        self.phases = config_from(PhaseConfig, phases).schedule(prompts is not None, detector is not None)
        fusion = PromptFusionNetwork(config_from(PromptFusionConfig, network))
        self.add_networks(fusion, detector, classes, config_from(DetectorTrainingConfig, training))
        self.learner = None if prompts is None else PromptLearner(prompts)
        refines = prompts is not None and prompts.refinement.rounds > 0
        self.teacher = Snapshot(fusion) if refines else None
        if prompts is not None:
            self.level_configs["prompts"] = prompts.level
        self.register_buffer("round_number", torch.full((), -1, dtype=torch.int64))
        self._phase = self.phases.at(0.0)
        self._announced = ""
        self._round = -1
        self._guided = True

    def configure_callbacks(self) -> Sequence[Callback]:
        """Writes the learnt prompts beside the checkpoints."""
        return [] if self.learner is None else [PromptRecord(self.learner.prompts)]

    def fused_luma(self, network: nn.Module, batch: Batch) -> Tensor:
        """Drawn of both images; prompts act in training alone."""
        return self._fused(network, batch).fused

    def level_modules(self) -> Mapping[str, nn.Module]:
        """The fusion network, the detector, the value function's copy, and the prompts as a level of their own."""
        prompts: dict[str, nn.Module] = {} if self.learner is None else {"prompts": self.learner}
        return {**super().level_modules(), **prompts}

    def clipped_parts(self, level: str) -> Sequence[nn.Module]:
        """Of a fusion network, each of its parts; otherwise the level as a whole."""
        module = self.level_modules()[level]
        if isinstance(module, PromptFusionNetwork):
            return list(module.phase_modules("fusion").values())
        return [module]

    def level_batch(self, batch: Batch) -> LevelBatch:
        """Frames for the detector, crops for everything else."""
        return LevelBatch(batch, self.crops.cut(batch, saliency=False))

    def level_loss(self, level: str, batch: LevelBatch) -> LevelLoss:
        """The loss of a level in the present phase."""
        if level == "prompts":
            return self._prompt_loss(batch.crops)
        return super().level_loss(level, batch)

    def fusion_loss(self, level: str, network: nn.Module, crops: Batch) -> LevelLoss:
        """Phase I reconstructs, every other phase fuses."""
        if self._phase.name == "autoencoder":
            return self._reconstruction_loss(cast("PromptFusionNetwork", network), crops)
        return self._fusion_loss(network, crops)

    def lower_losses(self) -> Sequence[Callable[[Batch], Tensor]]:
        """Phase I where it takes place, and fusion with the prompts' guidance; learning prompts alone needs less."""
        losses: list[Callable[[Batch], Tensor]] = []
        if "autoencoder" in self.phases.names:
            network = cast("PromptFusionNetwork", self.network)
            losses.append(lambda crops: self._reconstruction_loss(network, crops).value)
        if {"fusion", "bilevel", "prompts"} & set(self.phases.names):
            losses.append(lambda crops: self._fusion_loss(self.network, crops).value)
        return losses

    def on_fit_start(self) -> None:
        """Ties the levels to their optimisers.

        Raises:
            ValueError: If the run has no end, of which phases could be shares.
        """
        if self.trainer.max_epochs == -1 and self.trainer.max_steps == -1:
            raise ValueError("Phases are shares of a run: set trainer.max_epochs or trainer.max_steps.")
        super().on_fit_start()
        self._round = int(self.round_number)

    def iterate(self, batch: Batch, progress: Progress) -> None:
        """What the present phase does with one batch."""
        phase = self._phase = self.phases.at(progress.fraction)
        self._announce()
        self._forget_other_phases(progress)
        levels = self.level_batch(batch)
        if self.learner is not None:
            self._guided = bool(torch.rand(()) < self.learner.config.guidance.probability(phase.fraction))
        if phase.name == "prompts" or self._refines(phase):
            self._train_prompts(levels, phase)
        elif phase.name == "detector":
            self.descend_alone("upper", levels)
        elif phase.name == "bilevel":
            of_phase = Progress(progress.epoch, progress.iteration, phase.fraction)
            report = self.solver.step(levels, self.manual_backward, of_phase)
            self.diagnostics |= {f"bilevel/{name}": value for name, value in report.items()}
        else:
            self.descend_alone("lower", levels)
        self.diagnostics["phase"] = torch.tensor(float(phase.number))

    def level_fraction(self, level: str, fraction: float) -> float:
        """Share of the phases that train a level; the part of `separate` that trains it counts as its whole phase."""
        trains = {"upper": ("detector", "bilevel"), "prompts": ("prompts", "fusion", "bilevel")}
        names = trains.get(level, ("autoencoder", "fusion", "bilevel"))
        finished = {name: self.phases.fraction_of(name, fraction) for name in names}
        if level != "prompts" and self._solver is not None and "bilevel" in finished:
            fraction = self._solver.level_fraction(level, finished["bilevel"])
            finished["bilevel"] = min(max(fraction, 0.0), 1.0)
        return self.phases.share_done(finished)

    def _announce(self) -> None:
        """Says once that a phase has begun, and at which step it will end."""
        phase = self._phase
        if phase.name == self._announced:
            return
        self._announced = phase.name
        total = self.trainer.estimated_stepping_batches
        steps = f"steps {phase.start * total:.0f} to {phase.end * total:.0f} of {total:.0f}"
        rank_zero_info(f"Phase {phase.number} of {phase.count}: {phase.name} ({steps}).")

    def _forget_other_phases(self, progress: Progress) -> None:
        """Clears what the phase before has measured; what is of this step, or counts over the run, stays."""
        before = self.run_fraction(max(0, progress.iteration - 1))
        if self.phases.at(before).name == self._phase.name:
            return
        stays = {name for name in self.diagnostics if name.endswith((SKIPPED, OVERFLOWED, "/learning_rate"))}
        for name in self.diagnostics.keys() - stays:
            del self.diagnostics[name]

    def _refines(self, phase: Phase) -> bool:
        """Whether the present step is one of P2; begins a new round where the time has come."""
        learner, teacher = self.learner, self.teacher
        last = [name for name in self.phases.names if name in ("fusion", "bilevel")][-1:]
        if learner is None or teacher is None or phase.name not in last or self._network_is_done(phase):
            return False
        number, refining = learner.config.refinement.round_at(phase.fraction)
        if number != self._round:
            self._round = number
            self.round_number.fill_(number)
            teacher.take(self.network)
            learner.begin_round()
        return refining and not learner.settled()

    def _network_is_done(self, phase: Phase) -> bool:
        """Whether the scheme has turned to the detector for good: prompts have no fusion to follow any more."""
        return phase.name == "bilevel" and self.solver.level_fraction("lower", phase.fraction) >= 1

    def _train_prompts(self, levels: LevelBatch, phase: Phase) -> None:
        learner = cast("PromptLearner", self.learner)
        # Drawn here, so that the batch's parts share what the whole would draw.
        positives, negatives = learner.examples(levels.crops)
        crops = cast("Batch", {**levels.crops, "positives": positives, "negatives": negatives})
        self.descend_alone("prompts", replace(levels, crops=crops))
        if phase.name != "prompts":
            gap = self.diagnostics["prompts/positive"] - self.diagnostics["prompts/fused"]
            learner.note_gap(mean_over_processes(gap))

    def _prompt_loss(self, crops: Batch) -> LevelLoss:
        """P0 on examples; P2 on the results of the round's first network and of the present one."""
        learner, planes = cast("PromptLearner", self.learner), cast("dict[str, Tensor]", crops)
        examples = planes["positives"], planes["negatives"]
        if self._phase.name == "prompts":
            terms = {"classification": learner.classification_loss(crops, *examples)}
            return self.weighted(terms, {}, notes=learner.notes)
        with torch.no_grad():
            networks = [cast("Snapshot", self.teacher).network, self.network]
            results = [self.fused_luma(network, crops).float() for network in networks]
        ranking = learner.ranking_loss(crops, *examples, results, late=self._phase.fraction >= 0.5)
        return self.weighted({"ranking": ranking}, {}, notes=learner.notes)

    def _fused(self, network: nn.Module, batch: Batch) -> PromptFusionOutput:
        return cast("PromptFusionOutput", network(batch["infrared"], luma(batch["visible"])))

    def _reconstruction_loss(self, network: PromptFusionNetwork, crops: Batch) -> LevelLoss:
        """Phase I: 5 SSIM + MSE of both images, 5 Sobel of the visible one, 2 L_dec."""
        infrared, visible = crops["infrared"], luma(crops["visible"])
        drawn, features = network.reconstruct(torch.cat((infrared, visible)))
        pairs = zip(drawn.chunk(2), (infrared, visible), strict=True)
        of_infrared, of_visible = (reconstruction_terms(image, source) for image, source in pairs)
        (infrared_base, visible_base), (infrared_detail, visible_detail) = (part.chunk(2) for part in features)
        terms = {
            "ssim": of_infrared.ssim + of_visible.ssim,
            "squared": of_infrared.squared + of_visible.squared,
            "sobel": of_visible.gradient,
            "decomposition": decomposition_loss(infrared_base, visible_base, infrared_detail, visible_detail),
        }
        return self.weighted(terms, {name: getattr(self.loss_config, name) for name in terms})

    def _fusion_loss(self, network: nn.Module, crops: Batch) -> LevelLoss:
        """Phase II: L_F = |F - max(I, V)| + 10 |grad F - max(grad I, grad V)| + 2 L_dec + w_p L_prompt."""
        infrared, visible, output = crops["infrared"], luma(crops["visible"]), self._fused(network, crops)
        terms = {
            "intensity": intensity_max_loss(output.fused, infrared, visible),
            "gradient": gradient_max_loss(output.fused, infrared, visible),
            "decomposition": decomposition_loss(
                output.infrared.base, output.visible.base, output.infrared.detail, output.visible.detail
            ),
        }
        weights: dict[str, Any] = {name: getattr(self.loss_config, name) for name in terms}
        weights |= (chosen := self.loss_config.preservation.chosen())
        terms |= preservation_terms(output.fused, infrared, visible, chosen)
        notes: dict[str, Tensor] = {}
        if self.learner is not None and self._guided and self.learner.config.guidance.weight:
            terms["prompt"] = self.learner.guidance_loss(output.fused, crops)
            weights["prompt"], notes = self.learner.config.guidance.weight, self.learner.notes
        return self.weighted(terms, weights, notes=notes)
