import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from ivif.models.clip import ImageTextEncoder, build_image_text_encoder
from ivif.models.clip_encoder import OPENAI_MEAN, OPENAI_STD, TEXT_CACHE_ENTRIES


@pytest.fixture(scope="module")
def encoder() -> ImageTextEncoder:
    return build_image_text_encoder("random-tiny")


class Recorder:
    """Counts what reaches a module, by its first argument."""

    def __init__(self, module: nn.Module) -> None:
        self.inputs: list[Tensor] = []
        self.handle = module.register_forward_pre_hook(lambda _, arguments: self.inputs.append(arguments[0].detach()))

    def __enter__(self) -> list[Tensor]:
        return self.inputs

    def __exit__(self, *_: object) -> None:
        self.handle.remove()


def test_sizes(encoder: ImageTextEncoder) -> None:
    assert (encoder.image_size, encoder.embedding_width, encoder.text_width, encoder.context_length) == (64, 64, 32, 77)
    assert float(encoder.logit_scale) == pytest.approx(1 / 0.07, rel=1e-5)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (123, 77), (480, 640), (40, 50)])
def test_images_are_squashed_and_normalised_as_pillow_would(encoder: ImageTextEncoder, height: int, width: int) -> None:
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    with Recorder(encoder.clip.visual) as seen:
        encoder.encode_image(image)
    planes = [
        np.asarray(Image.fromarray(plane.numpy(), mode="F").resize((64, 64), Image.Resampling.BICUBIC))
        for plane in image[0]
    ]
    reference = (np.stack(planes, axis=-1).clip(0, 1) - np.array(OPENAI_MEAN)) / np.array(OPENAI_STD)
    np.testing.assert_allclose(seen[0][0].permute(1, 2, 0).numpy(), reference, atol=2e-4)


def test_grey_images_count_as_three_equal_channels(encoder: ImageTextEncoder) -> None:
    grey = torch.rand(2, 1, 80, 96)
    torch.testing.assert_close(encoder.encode_image(grey), encoder.encode_image(grey.repeat(1, 3, 1, 1)))


def test_a_pair_is_one_call_with_each_image_once(encoder: ImageTextEncoder) -> None:
    infrared, visible = torch.rand(3, 1, 70, 90), torch.rand(3, 3, 70, 90)
    with Recorder(encoder.clip.visual) as seen:
        of_infrared, of_visible = encoder.encode_pair(infrared, visible)
    assert [len(images) for images in seen] == [6]
    assert of_infrared.shape == of_visible.shape == (3, 64)
    torch.testing.assert_close(of_infrared, encoder.encode_image(infrared), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(of_visible, encoder.encode_image(visible), atol=1e-5, rtol=1e-4)


def test_gradient_reaches_the_image_but_no_parameter(encoder: ImageTextEncoder) -> None:
    image = torch.rand(1, 3, 96, 80, requires_grad=True)
    encoder.encode_image(image).square().sum().backward()  # type: ignore[no-untyped-call]
    assert image.grad is not None
    assert (image.grad.abs().sum(dim=1) > 0).float().mean() > 0.99
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in encoder.parameters())


def test_overshoot_keeps_its_gradient_and_is_cut_without(encoder: ImageTextEncoder) -> None:
    step = torch.zeros(1, 3, 32, 32)
    step[..., 16:] = 1.0
    with Recorder(encoder.clip.visual) as seen:
        encoder.encode_image(step)
        encoder.encode_image(step.clone().requires_grad_())
    brightest = (1.0 - OPENAI_MEAN[0]) / OPENAI_STD[0]
    assert float(seen[0][0, 0].max()) == pytest.approx(brightest, abs=1e-5)
    assert float(seen[1][0, 0].max()) > brightest + 0.05


def test_stays_frozen_under_a_training_parent(encoder: ImageTextEncoder) -> None:
    parent = nn.Sequential(nn.Linear(2, 2), encoder).train()
    assert parent.training
    assert not any(module.training for module in encoder.modules())


def test_autocast_does_not_reach_the_encoder(encoder: ImageTextEncoder) -> None:
    image = torch.rand(1, 3, 64, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = encoder.encode_image(image.bfloat16().float())
    assert features.dtype == torch.float32
    torch.testing.assert_close(features, encoder.encode_image(image.bfloat16().float()), atol=0, rtol=0)


def test_bfloat16_is_close_and_has_an_identity_of_its_own(encoder: ImageTextEncoder) -> None:
    half = ImageTextEncoder(encoder.clip, "random-tiny", precision="bf16")
    image = torch.rand(2, 3, 64, 64)
    features, reference = half.encode_image(image), encoder.encode_image(image)
    assert features.dtype == torch.float32
    assert 0 < float((features - reference).norm() / reference.norm()) < 0.03
    assert half.identity == f"{encoder.identity}+bf16"


@pytest.mark.parametrize("images", [torch.zeros(3, 8, 8), torch.zeros(1, 2, 8, 8), torch.zeros(1, 3, 8, 8).byte()])
def test_refuses_what_is_no_image_batch(encoder: ImageTextEncoder, images: Tensor) -> None:
    with pytest.raises(ValueError, match=r"CLIP takes float images"):
        encoder.encode_image(images)


TEXTS = ["a road at night with two cars", "people", "an infrared image of a bus, left, near; three persons, right, far"]


def test_text_features_equal_open_clips_own(encoder: ImageTextEncoder) -> None:
    reference = encoder.clip.encode_text(encoder.tokenizer(TEXTS))
    torch.testing.assert_close(encoder.encode_text(TEXTS), reference, atol=1e-5, rtol=1e-4)
    embeddings, ends = encoder.token_embeddings(TEXTS)
    assert embeddings.shape == (3, 77, 32)
    torch.testing.assert_close(encoder.encode_text_embeddings(embeddings, ends), reference, atol=1e-5, rtol=1e-4)


def test_token_states_are_those_before_the_projection(encoder: ImageTextEncoder) -> None:
    states, mask = encoder.encode_text_tokens(TEXTS)
    lengths = (encoder.tokenizer(TEXTS) != 0).sum(dim=1)
    assert states.shape == (3, 77, 32)
    assert torch.equal(mask.sum(dim=1), lengths)
    assert torch.equal(mask[:, 0], torch.ones(3, dtype=torch.bool))
    assert not states[~mask].any()
    at_end = states[torch.arange(3), lengths - 1] @ encoder.clip.text_projection
    torch.testing.assert_close(at_end, encoder.encode_text(TEXTS))


def test_each_prompt_is_encoded_once_even_from_inference_mode() -> None:
    encoder = build_image_text_encoder("random-tiny")
    with Recorder(encoder.clip.transformer) as seen:
        with torch.inference_mode():
            encoder.encode_text([TEXTS[0], TEXTS[1], TEXTS[0]])
        features = encoder.encode_text(TEXTS[::-1])
        encoder.encode_text_tokens(TEXTS)
    assert [len(batch) for batch in seen] == [1, 1, 1]
    scale = torch.ones(64, requires_grad=True)
    # Refused for tensors that were made in inference mode.
    (features * scale).sum().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(scale.grad, features.sum(dim=0))
    encoder.double().float()
    with Recorder(encoder.clip.transformer) as seen:
        encoder.encode_text(TEXTS[:1])
    assert len(seen) == 1


def _many(count: int) -> list[str]:
    return [f"{'very ' * (index % 5)}dark scene {index} with {index % 7} cars" for index in range(count)]


def test_texts_remembered_in_batches_are_those_encoded_alone(encoder: ImageTextEncoder) -> None:
    texts = [*_many(300), "", "car " * 200]
    alone, batched = build_image_text_encoder("random-tiny"), build_image_text_encoder("random-tiny")
    with Recorder(batched.clip.transformer) as seen, torch.inference_mode():
        size = batched.remember_texts(reversed(texts + texts))
    assert sum(map(len, seen)) == 302
    assert len(seen) < 20
    for start in range(0, len(texts), 50):
        (states, mask), (expected, tokens) = (e.encode_text_tokens(texts[start : start + 50]) for e in (batched, alone))
        torch.testing.assert_close(states, expected, rtol=0, atol=2e-6)
        assert torch.equal(mask, tokens)
    torch.testing.assert_close(batched.encode_text(texts), alone.encode_text(texts), rtol=0, atol=2e-6)
    assert sum(map(len, seen)) == 302
    assert size == sum(4 * (32 * int(own.sum()) + 64) for own in alone.encode_text_tokens(texts)[1])


def test_room_for_more_texts_than_known_is_made_and_no_more_is_kept() -> None:
    encoder = build_image_text_encoder("random-tiny")
    encoder.remember_texts([], room=100)
    texts = _many(TEXT_CACHE_ENTRIES + 101)
    with Recorder(encoder.clip.transformer) as seen:
        for _ in range(2):
            encoder.encode_text(texts[1:])
        assert len(seen) == TEXT_CACHE_ENTRIES + 100
        encoder.encode_text(texts[:1])
        encoder.encode_text(texts[2:])  # the text used longest ago has gone
        assert len(seen) == TEXT_CACHE_ENTRIES + 101
        encoder.encode_text(texts[1:2])
        assert len(seen) == TEXT_CACHE_ENTRIES + 102


def test_learnt_prompts_get_gradient(encoder: ImageTextEncoder) -> None:
    embeddings, ends = encoder.token_embeddings(TEXTS[:2])
    prompts = embeddings.clone().requires_grad_()
    similarity = F.cosine_similarity(encoder.encode_text_embeddings(prompts, ends), torch.ones(1, 64))
    similarity.sum().backward()  # type: ignore[no-untyped-call]
    assert prompts.grad is not None
    touched = prompts.grad.abs().sum(dim=-1) > 0
    assert [int(row.sum()) for row in touched] == [int(end) + 1 for end in ends]


def test_a_prompt_that_is_too_long_is_reported(encoder: ImageTextEncoder, caplog: pytest.LogCaptureFixture) -> None:
    encoder.encode_text(["car " * 200])
    assert "fills all 77 tokens" in caplog.text
