"""Learning prompts: their three losses, the rounds of refinement, and that the compact CLIP learns what is better."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ivif.contracts.batch import Batch, batch_to_float, collate
from ivif.datamodules.datasets.synthetic import SyntheticDataset
from ivif.image_ops.color import luma
from ivif.lightning_modules.prompt_learning import GuidanceConfig, PromptLearner, PromptsConfig, RefinementConfig
from ivif.models.learned_prompts import LearnedPrompts
from ivif.testing.batches import make_batch


def _learner(**changes: object) -> PromptLearner:
    torch.manual_seed(3)
    return PromptLearner(replace(PromptsConfig(clip="random-tiny", length=4), **changes))  # type: ignore[arg-type]


def test_rounds_divide_the_phase_and_end_with_refinement() -> None:
    config = RefinementConfig(rounds=4, share=0.25)
    steps = [config.round_at(step / 16) for step in range(16)]
    assert [number for number, _ in steps] == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4
    assert [refining for _, refining in steps] == [False, False, False, True] * 4
    assert config.round_at(1.0) == (3, True)
    assert RefinementConfig(rounds=0).round_at(0.99) == (0, False)


def test_a_late_term_becomes_likely_at_the_end() -> None:
    late = GuidanceConfig(when="late", steepness=20.0)
    assert late.probability(0.0) == pytest.approx(1 / (1 + 2.718281828 ** (20 * 0.9)), rel=1e-4)
    assert late.probability(0.9) == pytest.approx(0.5)
    assert late.probability(1.0) > 0.88
    assert GuidanceConfig().probability(0.0) == 1.0


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        (GuidanceConfig, {"form": "square"}, "form 'square'"),
        (GuidanceConfig, {"when": "never"}, "when 'never'"),
        (GuidanceConfig, {"weight": -1.0}, "must not be negative"),
        (RefinementConfig, {"share": 1.0}, "share lies in"),
        (RefinementConfig, {"rounds": -1}, "must not be negative"),
        (RefinementConfig, {"margin_to_negative": 1.5}, "margins lie in"),
    ],
)
def test_wrong_settings_are_refused(kind: type, change: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        kind(**change)


def test_examples_depend_on_torch_alone_and_have_both_kinds() -> None:
    learner, batch = _learner(), make_batch(2, (32, 32))
    torch.manual_seed(1)
    first = learner.classification_loss(batch, *learner.examples(batch))
    torch.manual_seed(1)
    assert torch.equal(first, learner.classification_loss(batch, *learner.examples(batch)))
    assert {"prompts/positive", "prompts/negative", "prompts/accuracy"} <= set(learner.notes)
    (gradient,) = torch.autograd.grad(first, learner.prompts.positive)
    assert gradient.abs().max() > 0


def test_standing_prompts_go_through_the_text_tower_once() -> None:
    learner, batch = _learner(), make_batch(2, (32, 32))
    seen: list[int] = []
    learner.prompts.encoder.clip.transformer.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    fused = luma(batch["visible"]).requires_grad_()
    losses = [learner.guidance_loss(fused, batch) for _ in range(3)]
    assert seen == [2]
    assert losses[0].item() == losses[2].item()
    torch.autograd.backward(learner.classification_loss(batch, *learner.examples(batch)))
    torch.optim.AdamW(learner.parameters(), 0.1, fused=True).step()
    changed = learner.guidance_loss(fused, batch)
    assert seen == [2, 2, 2]
    assert changed.item() != losses[0].item()


def test_candidates_are_grey_unless_colours_are_asked_for() -> None:
    batch = make_batch(2, (32, 32))
    image = luma(batch["visible"])
    worn = _learner(color=True)._as_shown(image, batch)
    torch.testing.assert_close(worn, batch["visible"], atol=0.01, rtol=0)
    assert torch.equal(_learner()._as_shown(image, batch), image)


def test_ranking_trains_the_prompts_and_measures_the_gap() -> None:
    learner, batch = _learner(), make_batch(2, (32, 32))
    fused = luma(batch["visible"]).requires_grad_()
    loss = learner.ranking_loss(batch, *learner.examples(batch), [batch["infrared"], fused], late=False)
    gradients = torch.autograd.grad(loss, [learner.prompts.positive, fused], allow_unused=True)
    assert [gradient is None for gradient in gradients] == [False, True]
    assert gradients[0].abs().max() > 0
    torch.manual_seed(2)
    examples = learner.examples(batch)
    early = learner.ranking_loss(batch, *examples, [fused], late=False)
    assert early > learner.ranking_loss(batch, *examples, [fused], late=True)  # a smaller margin between neighbours
    with torch.no_grad():
        shown = learner.prompts.probability(learner._as_shown(fused, batch)).mean()
    assert float(learner.notes["prompts/fused"]) == pytest.approx(float(shown), abs=1e-5)


def test_a_round_ends_when_fused_images_have_come_close() -> None:
    learner = _learner(refinement=RefinementConfig(stop_gap=0.1))
    states = []
    for gap in (0.02, 0.0, 0.02, 0.0, 0.02, 1.0, 1.0):
        learner.note_gap(torch.tensor(gap))
        states.append(learner.settled())
    assert states == [False] * 4 + [True] + [False] * 2  # not before five batches; then the average says it
    assert float(learner.gap) == pytest.approx((0.012 * 5 + 2.0) / 7)
    learner.begin_round()
    assert not learner.settled()


def test_exported_prompts_start_another_run(tmp_path: Path) -> None:
    path = tmp_path / "prompts.safetensors"
    learner = _learner()
    with torch.no_grad():
        learner.prompts.positive.add_(1.0)
    learner.prompts.export_file(path)
    again = _learner(file=str(path))
    assert torch.equal(again.prompts.positive, learner.prompts.positive)


def _scenes(first: int, count: int) -> Batch:
    """Generated pairs by day and night, some with haze and noise, 96 pixels square."""
    scenes = SyntheticDataset(length=first + count, size=(96, 96))
    return batch_to_float(collate([scenes[index] for index in range(first, first + count)]))


def _right(learner: PromptLearner, batch: Batch) -> Tensor:
    """On which pairs the positive example is nearer to the positive prompt than the negative one is."""
    torch.manual_seed(9)
    with torch.no_grad():
        positives, negatives = learner.examples(batch)
        good, bad = (learner.prompts.probability(learner._as_shown(image, batch)) for image in (positives, negatives))
    return good > bad


@pytest.mark.slow
def test_after_initialisation_the_compact_clip_prefers_positive_examples_of_unseen_scenes() -> None:
    """Held-out generated pairs: at least 90 % are ranked right; without P0, prompts of random vectors are not."""
    torch.manual_seed(0)
    learner = PromptLearner(PromptsConfig(clip="compact", positive=None, negative=None))
    unseen = _scenes(200, 48)
    with torch.no_grad():
        for vectors in (learner.prompts.positive, learner.prompts.negative):
            vectors.copy_(vectors.std() * torch.randn_like(vectors))
    before = _right(learner, unseen).float().mean()
    optimizer = torch.optim.Adam([learner.prompts.positive, learner.prompts.negative], 5e-3)
    seen = [_scenes(start, 16) for start in (0, 16, 32)]
    for step in range(30):
        optimizer.zero_grad()
        batch = seen[step % 3]
        torch.autograd.backward(learner.classification_loss(batch, *learner.examples(batch)))
        optimizer.step()
    assert _right(learner, unseen).float().mean() >= 0.9
    assert before < 0.8


def test_the_encoder_is_shared_and_never_trained() -> None:
    learner = _learner()
    assert isinstance(learner.prompts, LearnedPrompts)
    assert {name for name, p in learner.named_parameters() if p.requires_grad} == {
        "prompts.positive",
        "prompts.negative",
    }
