"""Prompts that are learnt during a run: initialised on examples, followed by fusion, refined on its results."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ivif.contracts.batch import Batch
from ivif.image_ops.color import luma, recolor, split_luma_chroma
from ivif.lightning_modules.optimization import LevelConfig, WarmupDecayConfig
from ivif.losses.prompt import PROMPT_FORMS, PromptForm, margin_ranking_loss, prompt_cross_entropy, prompt_loss
from ivif.models.clip import ClipConfig, build_image_text_encoder
from ivif.models.learned_prompts import NEGATIVE_SENTENCE, POSITIVE_SENTENCE, LearnedPrompts
from ivif.models.prompt_examples import NEGATIVE_KINDS, DegradationConfig, negative_examples, positive_examples

When = Literal["always", "late"]

_LATE_START = 0.9
_GAP_DECAY = 0.9
_GAP_BATCHES = 5


@dataclass(frozen=True)
class GuidanceConfig:
    """The prompt term of the fusion loss.

    Args:
        form: `ce` -log p_pos, `prob` p_neg, `ratio` p_neg / p_pos, `positive` the distance to the positive prompt alone
            (`ivif.losses.prompt`).
        weight: w_p.
        when: `always`; `late`: with the probability 1 / (1 + exp(-steepness (r - 0.9))) at a share r of the phase, as
            the same group's later work has it (Liu et al., IEEE TCSVT 2026).
        steepness: Of `late`.

    Raises:
        ValueError: If a choice is unknown or a number out of range.
    """

    form: PromptForm = "ce"
    weight: float = 0.1
    when: When = "always"
    steepness: float = 10.0

    def __post_init__(self) -> None:
        if self.form not in PROMPT_FORMS or self.when not in get_args(When):
            raise ValueError(
                f"prompts.guidance: form '{self.form}' and when '{self.when}' must be of {', '.join(PROMPT_FORMS)} and "
                f"of {', '.join(get_args(When))}."
            )
        if self.weight < 0 or self.steepness <= 0:
            raise ValueError(f"prompts.guidance: weight must not be negative, steepness must be positive, got {self}.")

    def probability(self, fraction: float) -> float:
        """How likely the term is present in a step, at a share of the phase."""
        if self.when == "always":
            return 1.0
        return float(torch.sigmoid(torch.tensor(self.steepness * (fraction - _LATE_START))))


@dataclass(frozen=True)
class RefinementConfig:
    """P2: rounds in which fusion stands still and the prompts learn to rank its results.

    The last network phase is cut into `rounds` parts; the last `share` of each trains the prompts.

    Args:
        rounds: How many; 0 never refines.
        share: Share of the phase's steps that refine.
        margin_to_negative: By how much p_pos of a negative must lie below that of the others.
        margins_between: By how much neighbours in the chain must differ, in the first and in the second half.
        stop_gap: A round ends early when p_pos of positive examples exceeds that of fused images by less than this, in
            a moving average over at least five batches.

    Raises:
        ValueError: If a number is out of range.
    """

    rounds: int = 8
    share: float = 0.1
    margin_to_negative: float = 0.9
    margins_between: tuple[float, float] = (0.2, 0.1)
    stop_gap: float = 0.02

    def __post_init__(self) -> None:
        if self.rounds < 0 or not 0 < self.share < 1:
            raise ValueError(f"prompts.refinement: rounds must not be negative, share lies in (0, 1), got {self}.")
        if not all(0 <= margin <= 1 for margin in (self.margin_to_negative, *self.margins_between)):
            raise ValueError(f"prompts.refinement: margins lie in [0, 1], got {self}.")

    def round_at(self, fraction: float) -> tuple[int, bool]:
        """Which round a share of the phase belongs to, from 0, and whether its steps refine."""
        if not self.rounds:
            return 0, False
        number = min(int(fraction * self.rounds), self.rounds - 1)
        return number, fraction * self.rounds - number >= 1 - self.share


@dataclass(frozen=True)
class PromptsConfig:
    """The learnt prompts and how they are trained.

    Args:
        clip: The encoder: a name such as `openai/ViT-B-32`, `compact`, `random-tiny`, a weights file, or its
            configuration.
        length: Vectors per prompt.
        positive: Sentence that the positive prompt starts from, cut after `length` tokens; null: `X X ... X`.
        negative: The same for the negative prompt.
        file: Prompts that another run has exported, to start from in place of the sentences; P0 goes on with them,
            where it takes place.
        color: Whether CLIP sees candidates in the visible image's colours, as the fused picture has them; else in grey,
            as the released code shows them. The compact CLIP knows fused pictures in grey only.
        kinds: Negative examples (`ivif.models.prompt_examples`).
        degradation: How strong the degradations among them are.
        guidance: What the prompts do to fusion.
        refinement: How they follow it.
        level: Their optimiser and schedule.

    Raises:
        ValueError: If there is no such kind of negative example.
    """

    clip: str | ClipConfig = "openai/ViT-B-32"
    length: int = 16
    positive: str | None = POSITIVE_SENTENCE
    negative: str | None = NEGATIVE_SENTENCE
    file: str | None = None
    color: bool = False
    kinds: tuple[str, ...] = NEGATIVE_KINDS
    degradation: DegradationConfig = DegradationConfig()
    guidance: GuidanceConfig = GuidanceConfig()
    refinement: RefinementConfig = RefinementConfig()
    level: LevelConfig = LevelConfig(
        schedule=WarmupDecayConfig(1e-3, 1e-3, 1e-4, warmup_fraction=0.0, decay="exponential")
    )

    def __post_init__(self) -> None:
        if not self.kinds or not set(self.kinds) <= set(NEGATIVE_KINDS):
            known = ", ".join(NEGATIVE_KINDS)
            raise ValueError(f"prompts.kinds is {list(self.kinds)}; give one or more of {known}.")


class PromptLearner(nn.Module):
    """Learnt prompts with their three losses; `notes` tells how well they separate the images of the last one.

    Candidates are lumas of a batch's pairs. In grey, or all in the chroma of the visible image, so that prompts judge
    what fusion can change.

    Args:
        config: The prompts and their training.

    Raises:
        ValueError: If the encoder has no room for prompts of that length.
        PromptFileError: If `config.file` does not fit.
    """

    gap: Tensor
    gap_batches: Tensor

    def __init__(self, config: PromptsConfig) -> None:
        super().__init__()
        self.config = config
        self.prompts = LearnedPrompts(
            build_image_text_encoder(config.clip), config.positive, config.negative, config.length
        )
        if config.file is not None:
            self.prompts.import_file(Path(config.file))
        self.register_buffer("gap", torch.zeros(()))
        self.register_buffer("gap_batches", torch.zeros((), dtype=torch.int64))
        self.notes: dict[str, Tensor] = {}

    def classification_loss(self, crops: Batch, positives: Tensor, negatives: Tensor) -> Tensor:
        """P0: cross-entropy on positive and negative examples of the crops (CLIP-LIT, eq. 1); trains the prompts.

        Args:
            crops: The sources.
            positives: From `examples`, of the same crops.
            negatives: From there, too.
        """
        scores = self.prompts.feature_scores(self.features(crops, positives, negatives))
        labels = torch.arange(len(scores), device=scores.device) < len(positives)
        self._note(*scores.detach().softmax(dim=-1)[:, 0].chunk(2))
        return prompt_cross_entropy(scores, labels)

    def guidance_loss(self, fused: Tensor, crops: Batch) -> Tensor:
        """P1: how far fused images are from the positive prompt; trains the network, never the prompts.

        Args:
            fused: (B, 1, H, W) in [0, 1], with gradient.
            crops: Their sources.
        """
        features = self.prompts.encoder.encode_image(self._as_shown(fused, crops))
        scores = self.prompts.feature_scores(features, self.prompts.standing_text_features())
        self.notes = {"prompts/fused": scores.detach().softmax(dim=-1)[:, 0].mean()}
        return prompt_loss(scores, self.config.guidance.form, scale=self.prompts.encoder.logit_scale)

    def ranking_loss(
        self, crops: Batch, positives: Tensor, negatives: Tensor, results: Sequence[Tensor], late: bool
    ) -> Tensor:
        """P2: negative < earlier result < present result < positive, by margins (CLIP-LIT, sec. 3.3).

        Args:
            crops: The sources.
            positives: From `examples`, of the same crops.
            negatives: From there, too.
            results: Fused lumas (B, 1, H, W) from earlier to present, one or two.
            late: Whether the second margin between neighbours holds.
        """
        features = self.features(crops, negatives, *results, positives)
        chain = self.prompts.feature_scores(features).softmax(dim=-1)[:, 0].chunk(len(results) + 2)
        self._note(chain[-1].detach(), chain[0].detach())
        self.notes["prompts/fused"] = chain[-2].detach().mean()
        refinement = self.config.refinement
        return margin_ranking_loss(chain, refinement.margin_to_negative, refinement.margins_between[int(late)])

    def note_gap(self, gap: Tensor) -> None:
        """Takes a batch's gap into the moving average that ends a round.

        Args:
            gap: p_pos of positive examples above that of fused images, averaged over processes.
        """
        self.gap_batches += 1
        # Early on the plain mean, so that the first batch has no more weight than the next.
        weight = torch.clamp_min(1.0 / self.gap_batches, 1.0 - _GAP_DECAY)
        self.gap.copy_(torch.lerp(self.gap, gap.to(self.gap), weight.to(self.gap)))

    def begin_round(self) -> None:
        """Forgets the gap of the round before."""
        self.gap.zero_()
        self.gap_batches.zero_()

    def settled(self) -> bool:
        """Whether fused images are as near to the positive prompt as positive examples."""
        return bool((self.gap_batches >= _GAP_BATCHES) & (self.gap < self.config.refinement.stop_gap))

    @torch.no_grad()
    def examples(self, crops: Batch, kinds: Sequence[str] | None = None) -> tuple[Tensor, Tensor]:
        """Positive and negative lumas (B, 1, H, W) of the crops, drawn by torch's generator.

        Args:
            crops: The sources.
            kinds: Of negatives; None takes the configured ones.
        """
        infrared, visible, config = crops["infrared"], luma(crops["visible"]), self.config
        generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        with torch.autocast(infrared.device.type, enabled=False):  # half precision would be a degradation of its own
            positives = positive_examples(infrared, visible)
            return positives, negative_examples(
                infrared, visible, positives, generator, kinds or config.kinds, config.degradation
            )

    @torch.no_grad()
    def features(self, crops: Batch, *candidates: Tensor) -> Tensor:
        """CLIP features (n B, E) of several candidate lumas (B, 1, H, W) for each pair."""
        return self.prompts.encoder.encode_image(torch.cat([self._as_shown(image, crops) for image in candidates]))

    def _as_shown(self, image: Tensor, crops: Batch) -> Tensor:
        if not self.config.color:
            return image
        return recolor(image.float(), split_luma_chroma(crops["visible"])[1])

    def _note(self, positive: Tensor, negative: Tensor) -> None:
        self.notes = {
            "prompts/positive": positive.mean(),
            "prompts/negative": negative.mean(),
            "prompts/accuracy": (positive > negative).float().mean(),
        }
