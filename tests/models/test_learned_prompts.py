from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor
from torch.nn import functional as F

from ivif.losses.prompt import prompt_cross_entropy, prompt_loss
from ivif.models.clip import ImageTextEncoder, build_image_text_encoder
from ivif.models.learned_prompts import LearnedPrompts, PromptFileError


@pytest.fixture(scope="module")
def encoder() -> ImageTextEncoder:
    return build_image_text_encoder("random-tiny")


def images(count: int = 3) -> Tensor:
    return torch.rand(count, 1, 48, 80, generator=Generator().manual_seed(1))


def test_vectors_start_from_the_sentences_and_are_filled_or_cut(encoder: ImageTextEncoder) -> None:
    prompts = LearnedPrompts(encoder, positive="a clear image", negative="one two three four five six", length=4)
    clear, _ = encoder.token_embeddings(["a clear image x"])
    numbers, _ = encoder.token_embeddings(["one two three four"])
    torch.testing.assert_close(prompts.positive.detach(), clear[0, 1:5])
    torch.testing.assert_close(prompts.negative.detach(), numbers[0, 1:5])


def test_without_sentences_both_prompts_are_the_same_row_of_x(encoder: ImageTextEncoder) -> None:
    prompts = LearnedPrompts(encoder, positive=None, negative=None)
    assert prompts.positive.shape == prompts.negative.shape == (16, encoder.text_width)
    filler, _ = encoder.token_embeddings(["X"])
    torch.testing.assert_close(prompts.positive.detach(), filler[0, 1].expand(16, -1))
    assert torch.equal(prompts.probability(images()), torch.full((3,), 0.5))


def test_a_prompt_of_a_sentences_own_length_is_that_sentence(encoder: ImageTextEncoder) -> None:
    sentences = "a clear image of a road", "a dull image of two cars"
    prompts = LearnedPrompts(encoder, *sentences, length=6)
    torch.testing.assert_close(
        prompts.text_features().detach(), encoder.encode_text(list(sentences)), atol=1e-5, rtol=1e-4
    )


def test_probability_is_the_softmax_of_scaled_cosines(encoder: ImageTextEncoder) -> None:
    sentences = "a clear image of a road", "a dull image of two cars"
    prompts = LearnedPrompts(encoder, *sentences, length=6)
    features = F.normalize(encoder.encode_image(images()), dim=-1)
    cosines = float(encoder.logit_scale) * features @ F.normalize(encoder.encode_text(list(sentences)), dim=-1).T
    torch.testing.assert_close(prompts.scores(images()).detach(), cosines, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(prompts.probability(images()).detach(), cosines.softmax(1)[:, 0], atol=1e-4, rtol=1e-4)
    kept = prompts.feature_scores(encoder.encode_image(images()))
    torch.testing.assert_close(kept.detach(), cosines, atol=1e-4, rtol=1e-4)


def test_only_the_vectors_train_and_only_they_are_state(encoder: ImageTextEncoder) -> None:
    prompts = LearnedPrompts(encoder)
    assert {name for name, parameter in prompts.named_parameters() if parameter.requires_grad} == {
        "positive",
        "negative",
    }
    assert set(prompts.state_dict()) == {"positive", "negative"}
    assert not prompts.train().encoder.training


def test_prompts_change_under_their_own_loss_and_not_under_the_fusion_loss(encoder: ImageTextEncoder) -> None:
    prompts = LearnedPrompts(encoder)
    optimizer = torch.optim.Adam([p for p in prompts.parameters() if p.requires_grad], lr=1e-2)
    start = {name: value.clone() for name, value in prompts.state_dict().items()}
    towers = {name: value.clone() for name, value in encoder.state_dict().items()}
    for _ in range(2):
        optimizer.zero_grad()
        prompt_cross_entropy(prompts.scores(images(2)), torch.tensor([1, 0])).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    learnt = {name: value.clone() for name, value in prompts.state_dict().items()}
    assert all(bool((learnt[name] != start[name]).any(dim=1).all()) for name in start)

    prompts.requires_grad_(False)
    optimizer.zero_grad()
    fused = images(2).requires_grad_()
    prompt_loss(prompts.scores(fused)).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    assert fused.grad is not None
    assert float(fused.grad.abs().max()) > 0.0
    assert all(torch.equal(value, learnt[name]) for name, value in prompts.state_dict().items())
    assert all(torch.equal(value, towers[name]) for name, value in encoder.state_dict().items())


def test_swapping_the_prompts_turns_the_gradient_of_the_image(encoder: ImageTextEncoder) -> None:
    sentences = "a clear image of a road", "a dull image of two cars"
    gradients = []
    for positive, negative in (sentences, sentences[::-1]):
        image = images(1).requires_grad_()
        scores = LearnedPrompts(encoder, positive, negative).scores(image)
        gradients.append(torch.autograd.grad(scores[0, 0] - scores[0, 1], image)[0])
    assert float(gradients[0].abs().max()) > 0.0
    torch.testing.assert_close(gradients[0], -gradients[1])


def test_standing_features_are_computed_once_until_the_vectors_change(
    encoder: ImageTextEncoder, tmp_path: Path
) -> None:
    prompts, other, file = LearnedPrompts(encoder, length=4), LearnedPrompts(encoder, None, length=4), tmp_path / "file"
    prompts.export_file(file)
    seen: list[int] = []
    handle = encoder.clip.transformer.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))

    def step(**options: bool) -> None:
        optimizer = torch.optim.AdamW(prompts.parameters(), 1e-2, **options)  # type: ignore[arg-type]
        prompts.scores(images()).square().sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    changes: list[Callable[[], object]] = [
        lambda: None,
        step,
        lambda: step(foreach=True),
        lambda: step(fused=True),
        lambda: prompts.load_state_dict(other.state_dict()),
        lambda: prompts.import_file(file),
    ]
    last = torch.zeros(2, 64)
    for change in changes:
        change()
        seen.clear()
        with torch.inference_mode():
            first = prompts.standing_text_features()
        assert prompts.standing_text_features() is first
        assert seen == [2]
        assert not torch.equal(first, last)
        with torch.no_grad():
            assert torch.equal(first, prompts.text_features())
        last = first
    handle.remove()
    (first * torch.ones(2, 64, requires_grad=True)).sum().backward()  # type: ignore[no-untyped-call]


def test_autocast_changes_nothing(encoder: ImageTextEncoder) -> None:
    prompts = LearnedPrompts(encoder)
    plain = prompts.scores(images())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = prompts.scores(images())
    assert under.dtype == torch.float32
    assert torch.equal(under, plain)


def test_the_file_gives_the_same_prompts_back_in_place(encoder: ImageTextEncoder, tmp_path: Path) -> None:
    path = tmp_path / "new" / "prompts.safetensors"
    source, target = LearnedPrompts(encoder, length=8), LearnedPrompts(encoder, None, None, length=8)
    source.export_file(path)
    vectors = target.positive
    target.import_file(path)
    assert target.positive is vectors
    assert target.positive.requires_grad
    torch.testing.assert_close(target.probability(images()), source.probability(images()))
    assert path.stat().st_size < 5000


def test_files_of_another_encoder_length_or_kind_are_refused(encoder: ImageTextEncoder, tmp_path: Path) -> None:
    path = tmp_path / "prompts.safetensors"
    prompts = LearnedPrompts(encoder, length=8)
    prompts.export_file(path)
    other = build_image_text_encoder({"architecture": "random-tiny", "precision": "bf16"})
    with pytest.raises(PromptFileError, match=r"random-tiny@[0-9a-f]{12}, but this run has random-tiny@.*\+bf16"):
        LearnedPrompts(other, length=8).import_file(path)
    with pytest.raises(PromptFileError, match="length to 8"):
        LearnedPrompts(encoder, length=9).import_file(path)
    save_file(load_file(path), path)
    with pytest.raises(PromptFileError, match="holds no learnt prompts"):
        prompts.import_file(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(PromptFileError, match="cannot be read"):
        prompts.import_file(path)
    with pytest.raises(PromptFileError, match="cannot be read"):
        prompts.import_file(tmp_path / "missing.safetensors")


def test_nearest_words_of_a_sentence_are_its_words(encoder: ImageTextEncoder) -> None:
    near = LearnedPrompts(encoder, "clear road", "dull night", length=2).nearest_words(2)
    assert [words[0].word for words in near["positive"]] == ["clear", "road"]
    assert [words[0].word for words in near["negative"]] == ["dull", "night"]
    assert near["positive"][0][0].cosine == pytest.approx(1.0, abs=1e-5)
    assert near["positive"][0][1].cosine < 0.99
    assert [len(words) for words in near["positive"]] == [2, 2]


@pytest.mark.parametrize("length", [0, 76])
def test_a_length_without_room_is_refused(encoder: ImageTextEncoder, length: int) -> None:
    with pytest.raises(ValueError, match=rf"A prompt of {length} vectors: random-tiny@.* has room for 1 to 75"):
        LearnedPrompts(encoder, length=length)
