from pathlib import Path
from typing import Any

import huggingface_hub.constants
import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ivif.models import clip_weights
from ivif.models.captioner import END, LONGEST, PADDING, SHORTEST, START, Captioner, build_captioner
from ivif.models.clip import TINY_ARCHITECTURE
from ivif.models.clip_encoder import OPENAI_MEAN, OPENAI_STD
from ivif.models.clip_weights import ClipWeightsError
from tests.inputs import brings
from tests.tiny_coca import ARCHITECTURE, HUB_FOLDER, TAG, register, tiny_coca, write_weights
from tests.web import serving


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny model beside the published ones; no weights of this machine, and no download."""
    register(monkeypatch)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("IVIF_WEIGHTS_DIR", str(tmp_path / "weights"))
    monkeypatch.delenv("IVIF_DOWNLOAD", raising=False)
    monkeypatch.setattr(clip_weights, "home", lambda: tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture(scope="module")
def captioner() -> Captioner:
    return Captioner(tiny_coca(), "coca_tiny:test")


def images(count: int) -> list[Tensor]:
    """Plain colours and greys with some noise, of different sizes."""
    generator = torch.Generator().manual_seed(0)
    sizes = [(32, 32), (40, 60), (20, 90), (64, 64)]
    made = []
    for number in range(count):
        channels = 1 if number % 2 else 3
        tone, noise = (
            torch.rand(channels, 1, 1, generator=generator),
            torch.rand(sizes[number % 4], generator=generator),
        )
        made.append(0.8 * tone + 0.2 * noise)
    return made


class _LogitsProcessors(list[Any]):
    def __call__(self, ids: Tensor, logits: Tensor) -> Tensor:
        for processor in self:
            logits = processor(ids, logits)
        return logits


def _minimum_length(minimum: int, end: Tensor) -> Any:
    def process(ids: Tensor, logits: Tensor) -> Tensor:
        logits = logits.clone()
        if ids.shape[-1] < minimum:
            logits[:, end] = -torch.inf
        return logits

    return process


def _top_k(count: int) -> Any:
    def process(ids: Tensor, logits: Tensor) -> Tensor:
        return logits.masked_fill(logits < logits.topk(count).values[:, -1:], -torch.inf)

    return process


def with_the_logic_of_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What open_clip's `generate` takes from the transformers package for top-k, by that package's documentation."""
    module = open_clip.coca_model
    monkeypatch.setattr(module, "_has_transformers", True)
    monkeypatch.setitem(module.GENERATION_TYPES, "top_k", _top_k)
    for name, stand_in in {
        "LogitsProcessorList": _LogitsProcessors,
        "MinLengthLogitsProcessor": _minimum_length,
        "RepetitionPenaltyLogitsProcessor": lambda _: lambda _, logits: logits,
        "MaxLengthCriteria": lambda max_length: lambda ids, _: [ids.shape[-1] >= max_length] * len(ids),
        "StoppingCriteriaList": lambda criteria: criteria[0],
    }.items():
        monkeypatch.setattr(module, name, stand_in, raising=False)


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_words_are_those_of_open_clips_generate(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with_the_logic_of_transformers(monkeypatch)
    coca = tiny_coca(seed)
    pixels = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    reference = coca.generate(pixels, generation_type="top_k", top_k=1, seq_len=LONGEST, min_seq_len=SHORTEST)
    with torch.inference_mode():
        ids = Captioner(coca, "tiny").generate(pixels)
    assert torch.equal(ids, reference)
    assert (ids[:, 0] == START).all()
    lengths = (ids != PADDING).sum(1)
    assert int(lengths.min()) >= SHORTEST
    assert int(lengths.max()) <= LONGEST
    assert ((ids == END).sum(1) == 1).all()


def test_captions_differ_between_images_and_do_not_depend_on_the_batch(captioner: Captioner) -> None:
    several = captioner.caption(images(8))
    assert len(set(several)) > 4
    assert len({len(sentence.split()) for sentence in several}) > 2
    assert several == [captioner.caption([image])[0] for image in images(8)]
    for sentence in several:
        assert sentence[0].isupper()
        assert sentence.endswith(".")
        assert not sentence.endswith(" .")
        assert "<" not in sentence
    assert captioner.caption([]) == []


def test_preparation_is_that_of_training_on_the_whole_frame(captioner: Captioner) -> None:
    image = torch.rand(3, 32, 32)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (OPENAI_MEAN, OPENAI_STD))
    torch.testing.assert_close(captioner._prepared(image)[0], (image - mean) / std)
    sides = torch.zeros(1, 64, 128)
    sides[..., :8] = 1.0  # a centre crop would not see it
    assert float((captioner._prepared(sides) * captioner.std + captioner.mean)[..., 0].min()) > 0.9
    with pytest.raises(ValueError, match=r"float images .* not torch.uint8 \(3, 8, 8\)"):
        captioner.caption([torch.zeros(3, 8, 8, dtype=torch.uint8)])


def test_is_frozen_and_named_by_its_weights(captioner: Captioner) -> None:
    assert not captioner.train().training
    assert not any(parameter.requires_grad for parameter in captioner.parameters())
    other = Captioner(tiny_coca(5), "coca_tiny:test")
    assert captioner.identity.startswith("coca_tiny:test@")
    assert captioner.identity != other.identity


@pytest.mark.parametrize("name", ["coca.safetensors", "open_clip_pytorch_model.bin", "epoch_1.pt"])
def test_every_format_gives_the_saved_model(name: str, captioner: Captioner, tmp_path: Path) -> None:
    built = build_captioner(str(write_weights(tmp_path / name)))
    assert built.identity.split("@")[1] == captioner.identity.split("@")[1]
    assert built.caption(images(4)) == captioner.caption(images(4))
    assert built.identity.startswith(f"{ARCHITECTURE}:custom@")


@pytest.mark.parametrize("spec", [f"{TAG}/{ARCHITECTURE}", f"{ARCHITECTURE}/{TAG}"])
@pytest.mark.parametrize("name", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"])
def test_weights_are_found_where_the_error_says_to_put_them(spec: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(ClipWeightsError) as caught:
        build_captioner(spec)
    assert f"FOLDER/{HUB_FOLDER}/{name}" in str(caught.value)
    write_weights(tmp_path / "weights" / HUB_FOLDER / name)
    assert build_captioner(spec).identity.startswith(f"{ARCHITECTURE}:{TAG}@")


@pytest.mark.parametrize(
    ("spec", "folder"),
    [
        ("coca_ViT-B-32", "mscoco_finetuned_CoCa-ViT-B-32-laion2B-s13B-b90k"),
        ("laion2b_s13b_b90k/coca_ViT-L-14", "CoCa-ViT-L-14-laion2B-s13B-b90k"),
    ],
)
def test_missing_weights_of_the_published_models(spec: str, folder: str) -> None:
    with pytest.raises(ClipWeightsError) as caught:
        build_captioner(spec)
    message = str(caught.value)
    assert f"https://huggingface.co/laion/{folder}/resolve/main/open_clip_pytorch_model.bin" in message
    assert "--coca FILE" in message
    assert "HF_HUB_OFFLINE=1 forbids downloads" in message
    assert "model.init_args" not in message


@brings("downloads", "`data prompts --by coca` without CoCa's weights", "works", "fetched once, like CLIP's")
def test_missing_weights_are_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "open_clip_model.safetensors"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_TELEMETRY", True)
    with serving({f"/laion/{HUB_FOLDER}/{name}": write_weights(tmp_path / name).read_bytes()}) as web:
        monkeypatch.setenv("HF_ENDPOINT", f"{web.address}/hub")
        identities = {build_captioner(f"{TAG}/{ARCHITECTURE}").identity for _ in range(2)}
        assert web.transfers() == [""]
    assert identities == {
        build_captioner(str(tmp_path / "weights" / HUB_FOLDER / name)).identity.replace("custom", TAG)
    }


def test_a_dead_network_is_given_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(ClipWeightsError, match=r"were not fetched:\s+http://127.0.0.1:9/laion/CoCa-tiny"):
        build_captioner(f"{TAG}/{ARCHITECTURE}")


@pytest.mark.parametrize("spec", ["ViT-B-32", "openai/ViT-B-32", "coca_ViT-B-32/openai", "coca_base", "random-tiny"])
def test_what_is_no_captioning_model_is_refused(spec: str) -> None:
    with pytest.raises(ClipWeightsError, match=rf"'{spec}' names no captioning model.*Known: .*/coca_ViT-L-14"):
        build_captioner(spec)


def test_wrong_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ClipWeightsError, match=r"'none.pt' are no file"):
        build_captioner("none.pt")
    torch.save(open_clip.CLIP(**TINY_ARCHITECTURE).state_dict(), tmp_path / "clip.pt")
    with pytest.raises(ClipWeightsError, match=r"clip.pt holds the weights of no captioning model.*text decoder"):
        build_captioner(str(tmp_path / "clip.pt"))
    whole = write_weights(tmp_path / "coca.safetensors")
    state = load_file(whole)
    del state["text_decoder.cross_attn.0.attn.in_proj_weight"]
    save_file(state, tmp_path / "part.safetensors")
    with pytest.raises(ClipWeightsError, match=r"coca_tiny' do not fit: text_decoder.cross_attn.* is missing \(1 diff"):
        build_captioner(str(tmp_path / "part.safetensors"))
    whole.write_bytes(whole.read_bytes()[:100_000])
    with pytest.raises(ClipWeightsError, match=r"coca.safetensors cannot be read.*Fetch the file again"):
        build_captioner(str(whole))
