"""The compact CLIP as it is committed: what it is, that it knows generated scenes, and that prompts learn on it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors import safe_open
from torch import Generator, Tensor
from torch.nn import functional as F

from ivif.datamodules.datasets.synthetic import SyntheticDataset
from ivif.image_ops.color import luma
from ivif.losses.prompt import prompt_cross_entropy, prompt_loss
from ivif.models.clip import ClipWeightsError, ImageTextEncoder, build_image_text_encoder
from ivif.models.compact_clip import COMPACT_WEIGHTS
from ivif.models.learned_prompts import NEGATIVE_SENTENCE, POSITIVE_SENTENCE, LearnedPrompts
from ivif.models.prompt_examples import negative_examples, positive_examples
from ivif.scenes import TIMES

SIDE = 96
UNSEEN = 60
LEARNT = 90


class Pairs(NamedTuple):
    """Generated scenes: sources and captions."""

    infrared: Tensor
    visible: Tensor
    captions: list[str]


class Examples(NamedTuple):
    """Good fusions and one worse image of each."""

    positives: Tensor
    negatives: Tensor


@pytest.fixture(scope="module")
def encoder() -> ImageTextEncoder:
    return build_image_text_encoder("compact")


def draw(split: str, count: int) -> Pairs:
    samples = [SyntheticDataset(count, (SIDE, SIDE), split=split)[index] for index in range(count)]
    infrared = torch.stack([sample["infrared"] for sample in samples]) / 255.0
    visible = torch.stack([sample["visible"] for sample in samples]) / 255.0
    return Pairs(infrared, visible, [sample["prompt"] for sample in samples])


def examples_of(pairs: Pairs, seed: int) -> Examples:
    bright = luma(pairs.visible)
    positives = positive_examples(pairs.infrared, bright)
    return Examples(positives, negative_examples(pairs.infrared, bright, positives, Generator().manual_seed(seed)))


@pytest.fixture(scope="module")
def unseen() -> Pairs:
    return draw("test", UNSEEN)


@pytest.fixture(scope="module")
def held_out(unseen: Pairs) -> Examples:
    return examples_of(unseen, seed=2)


@pytest.fixture(scope="module")
def learn(encoder: ImageTextEncoder) -> Callable[[LearnedPrompts], LearnedPrompts]:
    """P0: cross-entropy on other scenes than those that prompts are tested on."""
    examples = examples_of(draw("train", LEARNT), seed=0)
    with torch.no_grad():
        features = torch.cat([encoder.encode_image(images) for images in examples])
    labels = torch.cat([torch.ones(LEARNT), torch.zeros(LEARNT)])

    def learnt(prompts: LearnedPrompts) -> LearnedPrompts:
        optimizer = torch.optim.Adam([prompts.positive, prompts.negative], lr=1e-2)
        for _ in range(150):
            optimizer.zero_grad()
            prompt_cross_entropy(prompts.feature_scores(features), labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return prompts

    return learnt


@pytest.fixture(scope="module")
def initialised(encoder: ImageTextEncoder, learn: Callable[[LearnedPrompts], LearnedPrompts]) -> LearnedPrompts:
    return learn(LearnedPrompts(encoder, positive=None, negative=None))


def share_in_order(prompts: LearnedPrompts, examples: Examples) -> float:
    with torch.no_grad():
        return float((prompts.probability(examples.positives) > prompts.probability(examples.negatives)).float().mean())


def test_it_comes_with_the_repository(encoder: ImageTextEncoder) -> None:
    assert encoder.identity == "compact:synthetic@5b06b58a71c3"
    assert (encoder.text_width, encoder.embedding_width, encoder.image_size) == (64, 64, 64)
    assert COMPACT_WEIGHTS.stat().st_size <= 4_000_000
    with safe_open(COMPACT_WEIGHTS, framework="pt") as file:
        kinds = {file.get_tensor(name).dtype for name in file.keys()}  # noqa: SIM118 - no mapping
    assert kinds == {torch.float16, torch.int64}
    assert build_image_text_encoder({"architecture": "compact"}).identity == encoder.identity


def test_other_weights_are_asked_for_by_file_only() -> None:
    with pytest.raises(ValueError, match="comes with its own weights"):
        build_image_text_encoder({"architecture": "compact", "pretrained": "openai"})
    with pytest.raises(ClipWeightsError, match="are no file"):
        build_image_text_encoder({"architecture": "compact", "weights": "missing.safetensors"})
    named = build_image_text_encoder({"architecture": "compact", "weights": str(COMPACT_WEIGHTS)})
    assert named.identity.startswith("compact:custom@")


def test_words_without_a_row_share_one_and_change_nothing_else(encoder: ImageTextEncoder) -> None:
    first, second, known = encoder.encode_text(["a zebra at night", "a violin at night", "a car at night"])
    assert torch.equal(first, second)
    assert not torch.allclose(first, known)
    states, mask = encoder.encode_text_tokens(["", "kwyjibo " * 100])
    assert torch.isfinite(states).all()
    assert mask.sum(dim=1).tolist() == [2, 77]


def test_words_of_the_captions_have_rows(encoder: ImageTextEncoder, unseen: Pairs) -> None:
    words, table = encoder.word_embeddings()
    assert table.shape == (len(words), 64)
    assert {"road", "night", "foggy", "people", "left", "blurred", "infrared", "fused"} <= set(words)
    spoken = {word.strip(",.").lower() for caption in unseen.captions for word in caption.split()}
    assert spoken <= set(words)


@pytest.mark.parametrize("picture", [lambda pairs: pairs.visible, lambda pairs: pairs.infrared])
def test_it_finds_captions_of_unseen_scenes(
    encoder: ImageTextEncoder, unseen: Pairs, picture: Callable[[Pairs], Tensor]
) -> None:
    texts = F.normalize(encoder.encode_text(unseen.captions), dim=-1)
    similarity = F.normalize(encoder.encode_image(picture(unseen)), dim=-1) @ texts.T
    rank = 1 + (similarity > similarity.diag()[:, None]).sum(dim=1)
    assert float(rank.float().mean()) < 0.2 * UNSEEN  # chance: half of them
    times = torch.arange(UNSEEN) % len(TIMES)
    assert float((times[similarity.argmax(dim=1)] == times).float().mean()) > 0.9  # chance: a quarter


@pytest.mark.slow
def test_learnt_prompts_tell_good_fusions_from_worse_pictures(initialised: LearnedPrompts, held_out: Examples) -> None:
    assert share_in_order(initialised, held_out) >= 0.9


def test_prompts_that_have_not_learnt_do_not(encoder: ImageTextEncoder, held_out: Examples) -> None:
    assert share_in_order(LearnedPrompts(encoder, positive=None, negative=None), held_out) == 0.0
    beside_the_point = LearnedPrompts(encoder, "two cars on the left", "one person on the right")
    assert 0.2 < share_in_order(beside_the_point, held_out) < 0.8


def test_sentences_of_known_words_order_most_pairs(encoder: ImageTextEncoder, held_out: Examples) -> None:
    assert share_in_order(LearnedPrompts(encoder), held_out) > 0.85


@pytest.mark.slow
def test_learning_turns_prompts_that_start_the_wrong_way_round(
    encoder: ImageTextEncoder, learn: Callable[[LearnedPrompts], LearnedPrompts], held_out: Examples
) -> None:
    prompts = LearnedPrompts(encoder, positive=NEGATIVE_SENTENCE, negative=POSITIVE_SENTENCE)
    assert share_in_order(prompts, held_out) < 0.2
    assert share_in_order(learn(prompts), held_out) >= 0.9


def test_weights_without_their_vocabulary_are_refused(tmp_path: Path) -> None:
    copied = Path(shutil.copy(COMPACT_WEIGHTS, tmp_path))
    with pytest.raises(ClipWeightsError, match=r"vocabulary\.json beside its weights"):
        build_image_text_encoder({"architecture": "compact", "weights": str(copied)})
    (tmp_path / "vocabulary.json").write_text('["road</w>", "kwyjibo</w>"]')
    with pytest.raises(ClipWeightsError, match="given twice: kwyjibo</w>"):
        build_image_text_encoder({"architecture": "compact", "weights": str(copied)})


@pytest.mark.parametrize("damaged", ["weights.safetensors", "vocabulary.json"])
def test_damaged_weights_and_vocabularies_are_refused(damaged: str, tmp_path: Path) -> None:
    for name in ("weights.safetensors", "vocabulary.json", "SHA256SUMS"):
        shutil.copy(COMPACT_WEIGHTS.with_name(name), tmp_path)
    options = {"architecture": "compact", "weights": str(tmp_path / COMPACT_WEIGHTS.name)}
    build_image_text_encoder(options)
    whole = (tmp_path / damaged).read_bytes()
    # the last bit of the last weight; another word of the same length
    other = whole[:-1] + bytes([whole[-1] ^ 1]) if damaged.endswith("safetensors") else whole.replace(b"road", b"cats")
    (tmp_path / damaged).write_bytes(other)
    with pytest.raises(ClipWeightsError, match="is not the file that SHA256SUMS there was written for"):
        build_image_text_encoder(options)


def test_the_prompt_loss_pulls_away_from_a_worse_picture(initialised: LearnedPrompts, held_out: Examples) -> None:
    """A step along the gradient raises p_pos; with the prompts swapped the gradient points the other way."""
    image = held_out.negatives[:8].clone().requires_grad_()
    before = initialised.scores(image)
    (gradient,) = torch.autograd.grad(prompt_loss(before, "prob"), image, retain_graph=True)
    (swapped,) = torch.autograd.grad(prompt_loss(before.flip(1), "prob"), image)
    torch.testing.assert_close(swapped, -gradient)
    step = image.detach() - 1e-2 * gradient.sign()
    with torch.no_grad():
        assert float(initialised.probability(step).mean()) > float(before.softmax(1)[:, 0].mean())
